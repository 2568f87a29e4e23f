//! What is done in a trial, and when: made up in full before it begins.

use std::fmt;

use super::hand::{BETWEEN, DURING, Hand};
use crate::torture::chance::Chance;
use crate::torture::faults::Fault;
use crate::torture::stage::Variant;
use crate::torture::trials::Trial;

/// Rounds are runs that hands have their way with. Then everybody leaves the servers alone.
#[derive(Debug, Clone)]
pub struct Script {
    pub rounds: Vec<Round>,
}

#[derive(Debug, Clone)]
pub struct Round {
    /// Before the run.
    pub before: Vec<Act>,
    pub during: Vec<(When, Act)>,
    pub end: End,
}

#[derive(Debug, Clone, Copy)]
pub struct Act {
    pub hand: Hand,
    /// From which chance chooses what it is done to.
    pub pick: u64,
}

#[derive(Debug, Clone, Copy)]
pub enum When {
    /// After this part of what a run takes.
    After(u32),
    /// As soon as the journal has a record of this kind, about a step that ends so.
    Seen(&'static str, &'static str),
}

/// How the run ends.
#[derive(Debug, Clone, Copy)]
pub enum End {
    ByItself,
    Killed(When),
    Interrupted(When),
}

const MOMENTS: &[(&str, &str)] = &[
    ("hold-snapshot", ""),
    ("hold-snapshot", ""),
    ("step-done", "globals"),
    ("created-database", ""),
    ("step-done", "/create"),
    ("step-started", "/dump"),
    ("step-done", "/dump"),
    ("step-done", "/source-counts"),
    ("step-started", "/restore"),
    ("step-done", "/restore"),
    ("step-done", "/target-counts"),
    ("step-done", "/verify"),
    ("step-done", "/verify"),
    ("step-started", "/delayed-dump"),
    ("step-done", "/delayed-dump"),
    ("step-started", "/delayed-restore"),
    ("step-done", "/delayed-restore"),
    ("step-started", "/recreate-indexes"),
];

fn when(chance: &mut Chance) -> When {
    match chance.percent(65) {
        true => {
            let (kind, step) = *chance.pick(MOMENTS);
            When::Seen(kind, step)
        }
        false => When::After(chance.below(1000) as u32),
    }
}

fn act(chance: &mut Chance, from: &[Hand]) -> Act {
    Act {
        hand: *chance.pick(from),
        pick: chance.next(),
    }
}

pub fn of_hands(seed: u64, trials: usize) -> Vec<Trial> {
    const VARIANTS: [Variant; 3] = [Variant::Same, Variant::Same, Variant::Later];
    (0..trials)
        .map(|number| {
            let mut chance = Chance::of(seed, "hands", number);
            let variant = *chance.pick(&VARIANTS);
            let rounds = 1 + chance.below(3);
            let rounds = (0..rounds).map(|_| round(&mut chance));
            let rounds = rounds.collect();
            Trial {
                scope: "hands",
                label: format!("hands {number}"),
                variant,
                fault: Fault::Hands(Script { rounds }),
            }
        })
        .collect()
}

fn round(chance: &mut Chance) -> Round {
    let before = chance.below(3);
    let before = (0..before).map(|_| act(chance, BETWEEN)).collect();
    let during = 1 + chance.below(3);
    let mut during: Vec<(When, Act)> = (0..during)
        .map(|_| (when(chance), act(chance, DURING)))
        .collect();
    // A client writes as soon as there is a snapshot that must not show it.
    let hand = *chance.pick(&[Hand::Write, Hand::WriteDelayed]);
    let pick = chance.next();
    if chance.percent(75) {
        let act = Act { hand, pick };
        during.push((When::Seen("hold-snapshot", ""), act));
    }
    let end = match chance.below(5) {
        0 | 1 => End::Killed(when(chance)),
        2 => End::Interrupted(when(chance)),
        _ => End::ByItself,
    };
    Round {
        before,
        during,
        end,
    }
}

impl fmt::Display for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            When::After(permille) => write!(f, "{permille}‰"),
            When::Seen(kind, step) => write!(f, "{kind}{step}"),
        }
    }
}

impl fmt::Display for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for round in &self.rounds {
            f.write_str("[ ")?;
            for act in &round.before {
                write!(f, "{:?}#{:x} ", act.hand, act.pick & 0xfff)?;
            }
            f.write_str("run")?;
            for (when, act) in &round.during {
                write!(f, ", {when}: {:?}#{:x}", act.hand, act.pick & 0xfff)?;
            }
            match round.end {
                End::ByItself => {}
                End::Killed(when) => write!(f, ", {when}: killed")?,
                End::Interrupted(when) => write!(f, ", {when}: interrupted")?,
            }
            f.write_str("]")?;
        }
        Ok(())
    }
}
