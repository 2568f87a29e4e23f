//! Which trials there are.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::support::server::Mode;

use super::campaign::Tally;
use super::chance::Chance;
use super::faults::{Disk, Fault, Side, Strike};
use super::stage::Variant;

/// A point that is reached more often is tried at its first, last and these many times between.
const SAMPLES: u32 = 4;

/// Kills of one migration, at most.
const MOST_KILLS: usize = 8;

#[derive(Debug, Clone)]
pub struct Trial {
    /// The word of its kind in `TORTURE_SCOPE`.
    pub scope: &'static str,
    /// By which it is asked for alone.
    pub label: String,
    pub variant: Variant,
    pub fault: Fault,
}

impl Trial {
    /// What happens in it, where no clock of this machine has a say in that.
    pub fn script(&self) -> String {
        match &self.fault {
            Fault::Hands(script) => script.to_string(),
            _ => String::new(),
        }
    }

    /// Whether one of these hands, separated by blanks, takes part in it.
    pub fn has_one_of(&self, hands: &str) -> bool {
        let script = self.script();
        let mut hands = hands.split_whitespace();
        hands.any(|hand| script.contains(&format!(" {hand}#")))
    }
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
            scope: "points",
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
        scope: "points",
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
            scope: "random",
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
            scope: "crash",
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
                scope: "cut",
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
            scope: "restart",
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
                scope: "disk",
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
                scope: "child",
                label: format!("child {number}"),
                variant: *chance.pick(&VARIANTS),
                fault,
            }
        })
        .collect()
}

/// Each attempt is killed with a chance, at some moment or at a point, until one is left alone.
pub fn of_kills(seed: u64, points: &BTreeMap<String, u32>, trials: usize) -> Vec<Trial> {
    let names: Vec<&String> = points.keys().collect();
    (0..trials)
        .map(|number| {
            let mut chance = Chance::of(seed, "kills", number);
            let mut strikes = Vec::new();
            while strikes.len() < 2 || strikes.len() < MOST_KILLS && chance.percent(75) {
                strikes.push(match chance.below(5) {
                    0 | 1 => Strike::At {
                        point: format!("{}:{}", chance.pick(&names), 1 + chance.below(2)),
                        crash: chance.percent(15),
                    },
                    // Early ones leave something to do for those that follow.
                    _ => Strike::After {
                        permille: chance.below(900) as u32,
                        crash: chance.percent(15),
                    },
                });
            }
            Trial {
                scope: "kills",
                label: format!("kills {number}"),
                variant: *chance.pick(&VARIANTS),
                fault: Fault::Kills { strikes },
            }
        })
        .collect()
}
