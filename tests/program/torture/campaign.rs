//! Which trials there are, two at a time, and what came of them.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::support::proxy::Proxy;
use crate::support::server::Mode;

use super::check::{leftovers, nothing_lives_on};
use super::faults::{Disk, Fault, Scene, Side, SmallDisk, told};
use super::stage::{Stage, Variant};

/// Runs after the fault, until one ends with 0.
const MOST_RESUMES: u32 = 4;

/// A point that is reached more often is tried at its first, last and these many times between.
const SAMPLES: u32 = 4;

#[derive(Debug, Clone)]
pub struct Trial {
    /// By which it is asked for alone.
    pub label: String,
    pub variant: Variant,
    pub fault: Fault,
}

/// What came of a trial.
pub struct Verdict {
    pub resumes: u32,
    /// What should not be, a line or more each.
    pub wrong: Vec<String>,
    /// Failpoints that the resuming runs reached.
    pub seen: BTreeSet<String>,
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

/// splitmix64: the same numbers for the same seed, everywhere.
pub struct Chance(u64);

impl Chance {
    pub fn new(seed: u64) -> Chance {
        Chance(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }

    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            let other = self.below(last + 1);
            items.swap(last, other);
        }
    }

    /// Some moment of a run of this length, or shortly after it.
    fn moment(&mut self, run: Duration) -> Duration {
        let millis = run.as_millis() as usize * 11 / 10;
        Duration::from_millis(self.below(millis) as u64)
    }
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

/// A trial for each point; for one that is reached very often, for some of the times.
pub fn at_points(points: &BTreeMap<String, u32>, variant: Variant) -> Vec<Trial> {
    let mut trials = Vec::new();
    for (name, count) in points {
        let mut times: Vec<u32> = (1..=*count).collect();
        if *count > 2 * SAMPLES {
            times = (0..=SAMPLES + 1)
                .map(|sample| 1 + (count - 1) * sample / (SAMPLES + 1))
                .collect();
        }
        let mut at: Vec<String> = times.iter().map(|time| format!("{name}:{time}")).collect();
        if name.starts_with("pg_") {
            // Its start is one moment, and the middle of its work others.
            at.extend([30, 90, 200].map(|delay| format!("{name}:1+{delay}")));
        }
        trials.extend(at.into_iter().map(|at| Trial {
            label: format!("point {variant:?} {at}"),
            variant,
            fault: Fault::Point { at, then: None },
        }));
    }
    trials
}

/// A trial for each point that only resuming runs come to: killed on the way there, then at it.
pub fn at_points_of_resumes(tally: &Tally, known: &BTreeMap<String, u32>) -> Vec<Trial> {
    let mut trials = Vec::new();
    for (then, first) in &tally.seen {
        let name = then.rsplit_once(':').expect("NAME:COUNT").0;
        let Some(at) = first.strip_prefix("point Same ") else {
            continue;
        };
        if !known.contains_key(name) {
            trials.push(twice(at, then));
        }
    }
    trials
}

/// Killed at one point, and the run that resumes at another.
pub fn twice(at: &str, then: &str) -> Trial {
    Trial {
        label: format!("points {at} then {then}"),
        variant: Variant::Same,
        fault: Fault::Point {
            at: at.to_owned(),
            then: Some(then.to_owned()),
        },
    }
}

const VARIANTS: [Variant; 3] = [Variant::Same, Variant::SameReadOnly, Variant::Later];

pub fn at_random(chance: &mut Chance, run: Duration, trials: usize) -> Vec<Trial> {
    (0..trials)
        .map(|number| Trial {
            label: format!("random {number}"),
            variant: *chance.pick(&VARIANTS),
            fault: Fault::Kill {
                after: chance.moment(run),
                then: (chance.below(3) == 0).then(|| chance.moment(run)),
            },
        })
        .collect()
}

/// At points after which a journal or a target has to remember something, both die.
pub fn of_crashes(points: &BTreeMap<String, u32>) -> Vec<Trial> {
    let remembers = |name: &&String| {
        let journal = name.starts_with("journal ") && name.ends_with(" synced");
        journal || name.starts_with("committed ") || name.starts_with("copied ")
    };
    points
        .keys()
        .filter(remembers)
        .map(|name| Trial {
            label: format!("crash {name}:1"),
            variant: Variant::Same,
            fault: Fault::Crash {
                at: format!("{name}:1"),
            },
        })
        .collect()
}

pub fn of_connections(chance: &mut Chance, run: Duration, trials: usize) -> Vec<Trial> {
    (0..trials)
        .map(|number| {
            let side = [Side::Source, Side::Target][number % 2];
            let times = 1 + chance.below(3);
            let mut at: Vec<Duration> = (0..times).map(|_| chance.moment(run)).collect();
            at.sort();
            Trial {
                label: format!("cut {number}"),
                variant: *chance.pick(&VARIANTS),
                fault: Fault::Cut { side, at },
            }
        })
        .collect()
}

pub fn of_servers(chance: &mut Chance, run: Duration, trials: usize) -> Vec<Trial> {
    (0..trials)
        .map(|number| Trial {
            label: format!("restart {number}"),
            variant: *chance.pick(&VARIANTS),
            fault: Fault::Restart {
                side: [Side::Source, Side::Target][number % 2],
                mode: [Mode::Fast, Mode::Immediate][number / 2 % 2],
                after: chance.moment(run),
            },
        })
        .collect()
}

pub fn of_disks(chance: &mut Chance, trials: usize) -> Vec<Trial> {
    (0..trials)
        .map(|number| {
            let (what, most) = [
                (Disk::DumpRoot, 2_000),
                (Disk::State, 120),
                (Disk::Target, 50_000),
            ][number % 3];
            Trial {
                label: format!("disk {number}"),
                variant: *chance.pick(&VARIANTS),
                fault: Fault::Full {
                    what,
                    room: 4 + chance.below(most) as u32,
                },
            }
        })
        .collect()
}

pub fn of_children(chance: &mut Chance, run: Duration, trials: usize) -> Vec<Trial> {
    (0..trials)
        .map(|number| {
            let after = chance.moment(run);
            let fault = match number % 3 {
                0 => Fault::Child { after },
                sort => Fault::Stop {
                    after,
                    kill_runner: sort == 1,
                },
            };
            Trial {
                label: format!("child {number}"),
                variant: *chance.pick(&VARIANTS),
                fault,
            }
        })
        .collect()
}

/// Conducts the trials, so many at a time, and tells about each.
pub fn conduct(stage: &Stage, trials: Vec<Trial>, at_a_time: usize) -> Tally {
    let all = trials.len();
    let queue = Mutex::new(trials.into_iter().enumerate());
    let tally = Mutex::new(Tally::default());
    std::thread::scope(|scope| {
        for _ in 0..at_a_time {
            scope.spawn(|| {
                loop {
                    let next = queue.lock().unwrap().next();
                    let Some((number, trial)) = next else {
                        break;
                    };
                    let begun = Instant::now();
                    let verdict = survive(stage, number, &trial);
                    let seconds = begun.elapsed().as_secs_f64();
                    let word = if verdict.wrong.is_empty() {
                        "ok"
                    } else {
                        "WRONG"
                    };
                    println!(
                        "{word:5} {}/{all} {} ({} resumes, {seconds:.1} s) {:?}",
                        number + 1,
                        trial.label,
                        verdict.resumes,
                        trial.fault
                    );
                    tally.lock().unwrap().add(&trial, verdict);
                }
            });
        }
    });
    tally.into_inner().unwrap()
}

/// A trial whose tools fail has failed.
fn survive(stage: &Stage, number: usize, trial: &Trial) -> Verdict {
    catch_unwind(AssertUnwindSafe(|| play(stage, number, trial))).unwrap_or_else(|panic| {
        let why = panic
            .downcast_ref::<String>()
            .cloned()
            .or_else(|| panic.downcast_ref::<&str>().map(|&why| why.to_owned()));
        Verdict {
            resumes: 0,
            wrong: vec![why.unwrap_or_else(|| "panicked".to_owned())],
            seen: BTreeSet::new(),
        }
    })
}

fn play(stage: &Stage, number: usize, trial: &Trial) -> Verdict {
    let name = format!("t{number}");
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

    /// Fails the test when anything was wrong in any trial.
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
            .map(|(label, wrong)| format!("--- {label}\n{}", wrong.join("\n")))
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
