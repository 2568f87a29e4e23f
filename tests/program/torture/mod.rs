//! The crash campaign: whatever happens to a run, the next one ends with the same verified target.
//!
//! The tests here are short samples with a fixed seed. `make torture` runs the whole of it, which
//! [`the_whole_campaign`] is; these variables of the environment choose what:
//!
//! - `TORTURE_SCOPE`: some of `points crash random cut restart disk child kills hands`, separated by blanks; all of them
//!   otherwise. `kills` are several in one migration, `hands` what people and applications do between and during runs.
//! - `TORTURE_TRIALS`: how many random instants, `kills` and `hands`; 200 in `make torture`. Of the other faults there are
//!   less. A label means the same trial whatever this says.
//! - `TORTURE_SEED`: a number, for other instants; 1 otherwise.
//! - `TORTURE_WORKERS`: trials at a time; 2 otherwise.
//! - `TORTURE_ONLY`: the label of one trial, as printed where one failed, to repeat it alone. One with hands then
//!   says what they did, also where all is right.
//! - `TORTURE_HAND`: of `hands`, as many trials in which this one takes part, or one of these, as `hands/hand.rs` calls them.
//! - `TORTURE_MINUTES`: no trial begins later. The next campaign goes on where this one stopped.
//!
//! What came of each trial is kept in `target/torture/`, in a file for each state of `src/`: those that went right there
//! are not played again.

mod campaign;
mod chance;
pub mod check;
pub mod faults;
mod hands;
mod results;
mod stage;
mod trials;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use campaign::{Campaign, conduct, record};
use chance::Chance;
use results::Results;
use stage::{DATABASES, Stage, Variant};
use trials::Trial;

/// About what a run takes, where it was not measured.
const RUN: Duration = Duration::from_millis(2500);

/// What an undisturbed run took on this machine, in milliseconds; 0: not measured.
static MEASURED: AtomicU64 = AtomicU64::new(0);

/// What a run takes.
fn run_takes() -> Duration {
    match MEASURED.load(Ordering::Relaxed) {
        0 => RUN,
        millis => Duration::from_millis(millis),
    }
}

/// Trials of [`the_whole_campaign`] in `make test`.
const SAMPLE: usize = 4;

const SEED: u64 = 20_261_122;

#[test]
fn killed_at_failpoints_and_at_random_a_run_goes_on() {
    let stage = Stage::build();
    let (run, points) = record(&stage, Variant::Same);
    let mut chance = Chance::new(SEED);
    let all = trials::at_points(&points, Variant::Same);
    // The figure is a floor: a refactoring that loses the points would make the campaign say nothing.
    assert!(
        all.len() > 150,
        "only {} failpoints were reached",
        all.len()
    );
    let crashes = trials::of_crashes(&points);
    let mut trials: Vec<Trial> = (0..5).map(|_| chance.pick(&all).clone()).collect();
    // What a sample is not left to miss: the report's last moments, and commits that were not waited for.
    let always = [
        "point Same report written:1",
        "crash journal step-done shop/create synced:1",
    ];
    let of_both = all.iter().chain(&crashes);
    trials.extend(
        of_both
            .filter(|trial| always.contains(&trial.label.as_str()))
            .cloned(),
    );
    assert_eq!(trials.len(), 7, "a failpoint has another name now");
    trials.push(chance.pick(&crashes).clone());
    trials.extend(trials::at_random(&mut chance, run, 4));
    conduct(&stage, trials, 2).settle();
}

#[test]
fn lost_connections_servers_disks_and_children_are_survived() {
    let stage = Stage::build();
    let mut chance = Chance::new(SEED);
    let mut trials = trials::of_connections(&mut chance, RUN, 2);
    trials.extend(trials::of_servers(&mut chance, RUN, 4));
    trials.extend(trials::of_disks(&mut chance, 3));
    trials.extend(trials::of_children(&mut chance, RUN, 3));
    conduct(&stage, trials, 2).settle();
}

#[test]
fn a_resumed_run_reads_nothing_again_of_what_is_done() {
    let stage = Stage::build();
    let target = stage.target();
    let project = stage.plan(
        "reads",
        Variant::Later,
        (&stage.source, stage.source.port()),
        (&target, target.port()),
    );
    let at = "journal step-started events/recreate-indexes synced:1";
    let killed = project
        .start_with(&["run"], &[("PG_MIGRATE_FAILPOINT", at.as_ref())])
        .wait();
    assert_eq!(killed.signal, Some(9), "{}", killed.stderr);
    let left = check::nothing_lives_on(&project, &[&stage.source, &target], "reads");
    assert!(left.is_empty(), "{left:#?}");

    let done = project.journal_steps("step-done");
    let odd = DATABASES[2];
    assert!(done.contains(&format!("{odd}/verify")), "{done:?}");
    assert!(done.contains(&"events/delayed-dump".to_owned()), "{done:?}");
    // Rows that were read of tables, also by COPY; what the catalogs were asked is not in it.
    let reads = |database: &str| {
        stage.source.psql(
            database,
            "SELECT relname, seq_scan, seq_tup_read, idx_scan, idx_tup_fetch
             FROM pg_stat_user_tables ORDER BY relid",
        )
    };
    let before = [reads(odd), reads("events")];
    project.run(&["run"]).expect_code(0);
    let left = check::leftovers(&project, "reads", &stage.source, &target, &stage.before);
    assert!(left.is_empty(), "{left:#?}");
    assert_eq!([reads(odd), reads("events")], before);
    let differences = stage.differences(&target);
    assert!(differences.is_empty(), "{differences:#?}");
}

#[test]
fn several_kills_in_a_row_and_what_people_do_are_survived() {
    let stage = Stage::build();
    let (_, points) = record(&stage, Variant::Same);
    let mut trials = trials::of_kills(SEED, &points, 2);
    trials.extend(hands::a_few(SEED, 4));
    conduct(&stage, trials, 2).settle();
}

/// Without `TORTURE_TRIALS` a sample of all the others, in `make test`; with it, hours.
#[test]
fn the_whole_campaign() {
    let wishes = Wishes::of_the_environment();
    let stage = Stage::build();
    let (run, points) = record(&stage, Variant::Same);
    let (_, later) = record(&stage, Variant::Later);
    println!("torture: a run takes {run:?}; seed {}", wishes.seed);
    let results = (!wishes.is_sample).then(|| Results::open(wishes.seed));
    let all = wishes.trials(run, &points, &later);
    let campaign = Campaign {
        stage: &stage,
        workers: wishes.workers,
        results: results.as_ref(),
        again: wishes.only.is_some(),
        until: wishes.until,
        usual: &points,
    };
    let is_of_points = all.iter().any(|trial| trial.scope == "points");
    let mut tally = campaign.conduct(all);
    if !wishes.is_sample && wishes.only.is_none() && is_of_points {
        let twice = trials::at_points_of_resumes(&tally, &points);
        tally.join(campaign.conduct(twice));
    }
    if let Some(results) = &results {
        print!("{}", results.table());
    }
    tally.settle();
    if let Some(results) = &results {
        results.assert_that_clients_write();
    }
}

/// What the variables of the environment ask for.
struct Wishes {
    scope: Option<BTreeSet<String>>,
    is_sample: bool,
    trials: usize,
    seed: u64,
    workers: usize,
    only: Option<String>,
    hand: Option<String>,
    until: Option<Instant>,
}

impl Wishes {
    fn of_the_environment() -> Wishes {
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let number = |name: &str| variable(name).map(|value| value.parse().expect("a number"));
        Wishes {
            scope: variable("TORTURE_SCOPE")
                .map(|scope| scope.split_whitespace().map(str::to_owned).collect()),
            is_sample: variable("TORTURE_TRIALS").is_none(),
            trials: number("TORTURE_TRIALS").unwrap_or(20) as usize,
            seed: number("TORTURE_SEED").unwrap_or(1),
            workers: number("TORTURE_WORKERS").unwrap_or(2) as usize,
            only: variable("TORTURE_ONLY"),
            hand: variable("TORTURE_HAND"),
            until: number("TORTURE_MINUTES")
                .map(|minutes| Instant::now() + Duration::from_secs(60 * minutes)),
        }
    }

    fn trials(
        &self,
        run: Duration,
        points: &BTreeMap<String, u32>,
        later: &BTreeMap<String, u32>,
    ) -> Vec<Trial> {
        let wants = |word: &str| self.scope.as_ref().is_none_or(|scope| scope.contains(word));
        let chance = |word: &str| Chance::of(self.seed, word, 0);
        let trials = self.trials;
        let mut all = trials::at_points(points, Variant::Same);
        let delayed = trials::at_points(later, Variant::Later);
        all.extend(
            delayed
                .into_iter()
                .filter(|trial| trial.label.contains("delayed")),
        );
        all.extend(trials::of_crashes(points));
        all.extend(trials::at_random(&mut chance("random"), run, trials));
        all.extend(trials::of_connections(&mut chance("cut"), run, trials / 5));
        all.extend(trials::of_servers(&mut chance("restart"), run, trials / 5));
        all.extend(trials::of_disks(&mut chance("disk"), trials / 10));
        all.extend(trials::of_children(&mut chance("child"), run, trials / 8));
        all.extend(trials::of_kills(self.seed, points, trials));
        all.extend(hands::of_hands(self.seed, trials, self.hand.as_deref()));
        if let Some(only) = &self.only {
            let twice = only
                .strip_prefix("points ")
                .and_then(|points| points.split_once(" then "))
                .map(|(at, then)| trials::twice(at, then));
            all.extend(twice);
            all.retain(|trial| trial.scope != "hands");
            all.extend(hands::of_label(self.seed, only));
            all.retain(|trial| trial.label == *only);
            assert!(!all.is_empty(), "no trial has the label {only:?}");
            return all;
        }
        all.retain(|trial| wants(trial.scope));
        if let Some(hand) = &self.hand {
            all.retain(|trial| trial.has_one_of(hand));
        }
        // A campaign that is stopped early has tried some of everything.
        Chance::of(self.seed, "order", 0).shuffle(&mut all);
        if self.is_sample {
            // Hands have a sample of their own.
            all.retain(|trial| trial.scope != "hands");
            all.truncate(SAMPLE);
        }
        all
    }
}
