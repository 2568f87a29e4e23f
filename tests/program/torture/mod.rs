//! The crash campaign: whatever happens to a run, the next one ends with the same verified target.
//!
//! The tests here are short samples with a fixed seed. `make torture` runs the whole of it, which
//! [`the_whole_campaign`] is; these variables of the environment choose what:
//!
//! - `TORTURE_SCOPE`: some of `points crash random cut restart disk child`, separated by blanks; all of them otherwise.
//! - `TORTURE_TRIALS`: how many random instants; 200 in `make torture`. Of the other faults there are less.
//! - `TORTURE_SEED`: a number, for other instants; 1 otherwise.
//! - `TORTURE_WORKERS`: trials at a time; 2 otherwise.
//! - `TORTURE_ONLY`: the label of one trial, as printed where one failed, to repeat it alone.

mod campaign;
pub mod check;
mod faults;
mod stage;

use std::collections::BTreeSet;
use std::time::Duration;

use campaign::{Chance, Tally, Trial, conduct, record};
use stage::{DATABASES, Stage, Variant};

/// About what a run takes, where it was not measured.
const RUN: Duration = Duration::from_millis(2500);

/// Trials of [`the_whole_campaign`] in `make test`.
const SAMPLE: usize = 4;

const SEED: u64 = 20_261_122;

#[test]
fn killed_at_failpoints_and_at_random_a_run_goes_on() {
    let stage = Stage::build();
    let (run, points) = record(&stage, Variant::Same);
    let mut chance = Chance::new(SEED);
    let all = campaign::at_points(&points, Variant::Same);
    // The figure is a floor: a refactoring that loses the points would make the campaign say nothing.
    assert!(
        all.len() > 150,
        "only {} failpoints were reached",
        all.len()
    );
    let crashes = campaign::of_crashes(&points);
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
    trials.extend(campaign::at_random(&mut chance, run, 4));
    conduct(&stage, trials, 2).settle();
}

#[test]
fn lost_connections_servers_disks_and_children_are_survived() {
    let stage = Stage::build();
    let mut chance = Chance::new(SEED);
    let mut trials = campaign::of_connections(&mut chance, RUN, 2);
    trials.extend(campaign::of_servers(&mut chance, RUN, 4));
    trials.extend(campaign::of_disks(&mut chance, 3));
    trials.extend(campaign::of_children(&mut chance, RUN, 3));
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

/// Without `TORTURE_TRIALS` a sample of all the others, in `make test`; with it, an hour.
#[test]
fn the_whole_campaign() {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let number = |name: &str, default: u64| {
        variable(name).map_or(default, |value| value.parse().expect("a number"))
    };
    let scope: Option<BTreeSet<String>> = variable("TORTURE_SCOPE")
        .map(|scope| scope.split_whitespace().map(str::to_owned).collect());
    let wants = |word: &str| scope.as_ref().is_none_or(|scope| scope.contains(word));
    let is_sample = variable("TORTURE_TRIALS").is_none();
    let trials = number("TORTURE_TRIALS", 20) as usize;
    let seed = number("TORTURE_SEED", 1);
    let workers = number("TORTURE_WORKERS", 2) as usize;
    let only = variable("TORTURE_ONLY");

    let stage = Stage::build();
    let (run, points) = record(&stage, Variant::Same);
    let (_, later) = record(&stage, Variant::Later);
    println!("torture: a run takes {run:?}; seed {seed}");
    let mut chance = Chance::new(seed);
    let mut all = Vec::new();
    // Made whether wanted or not, so that a label means the same trial in every scope.
    for (word, made) in [
        ("points", campaign::at_points(&points, Variant::Same)),
        ("points", {
            let mut made = campaign::at_points(&later, Variant::Later);
            made.retain(|trial| trial.label.contains("delayed"));
            made
        }),
        ("crash", campaign::of_crashes(&points)),
        ("random", campaign::at_random(&mut chance, run, trials)),
        (
            "cut",
            campaign::of_connections(&mut chance, run, trials / 5),
        ),
        (
            "restart",
            campaign::of_servers(&mut chance, run, trials / 5),
        ),
        ("disk", campaign::of_disks(&mut chance, trials / 10)),
        ("child", campaign::of_children(&mut chance, run, trials / 8)),
    ] {
        if wants(word) {
            all.extend(made);
        }
    }
    // A campaign that is stopped early has tried some of everything.
    chance.shuffle(&mut all);
    if is_sample {
        all.truncate(SAMPLE);
    }
    let mut tally = Tally::default();
    match only {
        Some(only) => {
            all.retain(|trial| trial.label == only);
            if let Some((at, then)) = only
                .strip_prefix("points ")
                .and_then(|points| points.split_once(" then "))
            {
                all.push(campaign::twice(at, then));
            }
            assert!(!all.is_empty(), "no trial has the label {only:?}");
            tally.join(conduct(&stage, all, workers));
        }
        None if is_sample => tally.join(conduct(&stage, all, workers)),
        None => {
            tally.join(conduct(&stage, all, workers));
            let twice = campaign::at_points_of_resumes(&tally, &points);
            tally.join(conduct(&stage, twice, workers));
        }
    }
    tally.settle();
}
