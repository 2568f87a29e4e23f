//! The trials played, one or some at a time, and what came of them.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::support::proxy::Proxy;

use super::MEASURED;
use super::check::{leftovers, nothing_lives_on};
use super::faults::{Disk, Fault, Scene, Side, SmallDisk, told};
use super::hands;
use super::results::Results;
use super::stage::{Stage, Variant};
use super::trials::Trial;

/// Runs after the fault, until one ends with 0.
const MOST_RESUMES: u32 = 4;

/// What came of a trial.
#[derive(Default)]
pub struct Verdict {
    pub resumes: u32,
    /// What should not be, a line or more each.
    pub wrong: Vec<String>,
    /// Failpoints that the resuming runs reached.
    pub seen: BTreeSet<String>,
    /// Clients of the source wrote after a snapshot of the run and before its end.
    pub wrote_meanwhile: bool,
    /// Hands of the night that found what they need.
    pub struck: Vec<String>,
}

/// What came of all of them.
#[derive(Default)]
pub struct Tally {
    pub trials: usize,
    pub resumes: u32,
    /// Labels with what was wrong.
    pub failed: BTreeMap<String, Vec<String>>,
    pub seen: BTreeMap<String, String>,
}

/// An undisturbed run: how long it takes, and the failpoints that it reaches, by name with their count.
pub fn record(stage: &Stage, variant: Variant) -> (Duration, BTreeMap<String, u32>) {
    let target = stage.target();
    let project = stage.plan(
        "record",
        variant,
        (&stage.source, stage.source.port()),
        (&target, target.port()),
    );
    let seen = project.directory().join("seen");
    let begun = Instant::now();
    project
        .start_with(
            &["run"],
            &[("PG_MIGRATE_FAILPOINTS_SEEN", seen.as_os_str())],
        )
        .wait()
        .expect_code(0);
    let took = begun.elapsed();
    MEASURED.store(took.as_millis() as u64, Ordering::Relaxed);
    let wrong = leftovers(&project, "record", &stage.source, &target, &stage.before);
    assert!(wrong.is_empty(), "without any fault: {wrong:#?}");
    let differences = stage.differences(&target);
    assert!(
        differences.is_empty(),
        "without any fault: {differences:#?}"
    );
    let mut points = BTreeMap::new();
    for line in std::fs::read_to_string(seen).unwrap().lines() {
        let (name, count) = line.rsplit_once(':').expect("NAME:COUNT");
        points.insert(name.to_owned(), count.parse().unwrap());
    }
    (took, points)
}

/// How trials are conducted.
pub struct Campaign<'a> {
    pub stage: &'a Stage,
    /// So many at a time.
    pub workers: usize,
    /// Where it is kept what came of them.
    pub results: Option<&'a Results>,
    /// Also what went right before.
    pub again: bool,
    /// No trial begins later.
    pub until: Option<Instant>,
    /// What failpoints an undisturbed run reaches.
    pub usual: &'a BTreeMap<String, u32>,
}

/// Conducts the trials of a sample.
pub fn conduct(stage: &Stage, trials: Vec<Trial>, workers: usize) -> Tally {
    let campaign = Campaign {
        stage,
        workers,
        results: None,
        again: false,
        until: None,
        usual: &BTreeMap::new(),
    };
    campaign.conduct(trials)
}

impl Campaign<'_> {
    /// Conducts the trials, and tells about each.
    pub fn conduct(&self, trials: Vec<Trial>) -> Tally {
        let mut tally = Tally::default();
        let all = trials.len();
        let mut queue: Vec<(usize, Trial)> = trials.into_iter().enumerate().collect();
        queue.retain(|(_, trial)| {
            let results = self.results.filter(|_| !self.again);
            let known = results.and_then(|results| results.right(trial));
            if let Some(known) = &known {
                let seen = known.seen.iter().cloned().collect();
                tally.add(
                    trial,
                    Verdict {
                        seen,
                        ..Verdict::default()
                    },
                );
            }
            known.is_none()
        });
        if queue.len() < all {
            println!(
                "torture: {} of {all} trials went right before",
                all - queue.len()
            );
        }
        let queue = Mutex::new(queue.into_iter());
        let tally = Mutex::new(tally);
        std::thread::scope(|scope| {
            for _ in 0..self.workers {
                scope.spawn(|| {
                    while self.until.is_none_or(|until| Instant::now() < until) {
                        let Some((number, trial)) = queue.lock().unwrap().next() else {
                            break;
                        };
                        let verdict = self.conduct_one(number, all, &trial);
                        tally.lock().unwrap().add(&trial, verdict);
                    }
                });
            }
        });
        tally.into_inner().unwrap()
    }

    fn conduct_one(&self, number: usize, all: usize, trial: &Trial) -> Verdict {
        let begun = Instant::now();
        let verdict = survive(self.stage, number, trial);
        let seconds = begun.elapsed().as_secs_f64();
        let word = match verdict.wrong.is_empty() {
            true => "ok",
            false => "WRONG",
        };
        println!(
            "{word:5} {}/{all} {} ({} resumes, {seconds:.1} s) {:?} {}",
            number + 1,
            trial.label,
            verdict.resumes,
            trial.variant,
            trial.fault
        );
        for line in &verdict.wrong {
            println!("      {}", line.replace('\n', "\n      "));
        }
        if let Some(results) = self.results {
            results.add(trial, &verdict, seconds, self.usual);
        }
        verdict
    }
}

/// A trial whose tools fail has failed.
fn survive(stage: &Stage, number: usize, trial: &Trial) -> Verdict {
    catch_unwind(AssertUnwindSafe(|| play(stage, number, trial))).unwrap_or_else(|panic| {
        let why = panic
            .downcast_ref::<String>()
            .cloned()
            .or_else(|| panic.downcast_ref::<&str>().map(|&why| why.to_owned()));
        Verdict {
            wrong: vec![why.unwrap_or_else(|| "panicked".to_owned())],
            ..Verdict::default()
        }
    })
}

fn play(stage: &Stage, number: usize, trial: &Trial) -> Verdict {
    let name = format!("t{number}");
    if let Fault::Hands(script) = &trial.fault {
        return hands::play(stage, &name, trial.variant, script);
    }
    let (mut target, target_disk) = match trial.fault {
        Fault::Full {
            what: Disk::Target,
            room,
        } => {
            let (target, disk) = stage.target_on_a_small_disk(room);
            (target, Some(disk))
        }
        _ => (stage.target(), None),
    };
    let restarts_source = matches!(
        trial.fault,
        Fault::Restart {
            side: Side::Source,
            ..
        }
    );
    let mut own_source = restarts_source.then(|| stage.own_source());
    let cuts = matches!(trial.fault, Fault::Cut { .. });
    let source = own_source.as_ref().unwrap_or(&stage.source);
    let source_proxy = cuts.then(|| Proxy::to(source.port()));
    let target_proxy = cuts.then(|| Proxy::to(target.port()));
    let port = |proxy: &Option<Proxy>, direct| proxy.as_ref().map_or(direct, Proxy::port);
    let project = stage.plan(
        &name,
        trial.variant,
        (source, port(&source_proxy, source.port())),
        (&target, port(&target_proxy, target.port())),
    );
    let disk = match trial.fault {
        Fault::Full {
            what: Disk::DumpRoot,
            room,
        } => Some(SmallDisk::mount(
            &project.directory().join("pg_dumps"),
            room.into(),
        )),
        Fault::Full {
            what: Disk::State,
            room,
        } => Some(SmallDisk::mount(
            &project.directory().join(".pg-migrate"),
            room.into(),
        )),
        _ => target_disk,
    };
    let mut scene = Scene {
        project,
        source: &mut own_source,
        target: &mut target,
        source_proxy,
        target_proxy,
        disk,
    };
    let mut wrong = trial.fault.strike(&mut scene);
    let Scene {
        project,
        source_proxy: _source_proxy,
        target_proxy: _target_proxy,
        disk: _disk,
        ..
    } = scene;
    let source = own_source.as_ref().unwrap_or(&stage.source);
    if trial.fault.kills() {
        wrong.extend(nothing_lives_on(&project, &[source, &target], &name));
    }

    let seen = project.directory().join("seen");
    let mut resumes = 0;
    let last = loop {
        resumes += 1;
        let finished = project
            .start_with(
                &["run"],
                &[("PG_MIGRATE_FAILPOINTS_SEEN", seen.as_os_str())],
            )
            .wait();
        if finished.code == Some(0) || resumes == MOST_RESUMES {
            break finished;
        }
        wrong.push(format!(
            "run {resumes} after the fault ended: {}",
            told(&finished)
        ));
    };
    if last.code == Some(0) {
        wrong.extend(stage.differences(&target));
        wrong.extend(leftovers(&project, &name, source, &target, &stage.before));
    } else {
        wrong.push(format!("it does not end well: {}", told(&last)));
    }
    let seen = std::fs::read_to_string(seen).unwrap_or_default();
    Verdict {
        resumes,
        wrong,
        seen: seen.lines().map(str::to_owned).collect(),
        ..Verdict::default()
    }
}

impl Tally {
    fn add(&mut self, trial: &Trial, verdict: Verdict) {
        self.trials += 1;
        self.resumes += verdict.resumes;
        for point in verdict.seen {
            self.seen
                .entry(point)
                .or_insert_with(|| trial.label.clone());
        }
        if !verdict.wrong.is_empty() {
            self.failed.insert(trial.label.clone(), verdict.wrong);
        }
    }

    pub fn join(&mut self, other: Tally) {
        self.trials += other.trials;
        self.resumes += other.resumes;
        self.failed.extend(other.failed);
        self.seen.extend(other.seen);
    }

    /// Fails the test when anything was wrong in any trial. All of it was printed when it happened.
    pub fn settle(self) {
        println!(
            "torture: {} trials, {} resumes, {} differences",
            self.trials,
            self.resumes,
            self.failed.len()
        );
        let failed: Vec<String> = self
            .failed
            .iter()
            .map(|(label, wrong)| format!("--- {label}\n{}", wrong[0]))
            .collect();
        assert!(
            failed.is_empty(),
            "{} of {} trials failed:\n{}",
            failed.len(),
            self.trials,
            failed.join("\n\n")
        );
    }
}
