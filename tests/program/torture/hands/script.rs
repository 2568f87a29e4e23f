//! What is done in a trial, and when: made up in full before it begins.

use std::fmt;

use super::crossing;
use super::hand::{BETWEEN, DURING, Hand, NIGHT};
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

/// So many trials, or so many in which one of the hands takes part.
pub fn of_hands(seed: u64, trials: usize, hands: Option<&str>) -> Vec<Trial> {
    const MOST: usize = 50_000;
    let takes_part = |trial: &Trial| hands.is_none_or(|hands| trial.has_one_of(hands));
    let all = (0..MOST).map(|number| of_number(seed, number));
    all.filter(takes_part).take(trials).collect()
}

/// The trial that has this label, if it is one with hands.
pub fn of_label(seed: u64, label: &str) -> Option<Trial> {
    let number = label.strip_prefix("hands ")?.parse().ok()?;
    Some(of_number(seed, number))
}

/// Of those that anybody may play and that do not take long: the first, and one with a hand of the night.
pub fn a_few(seed: u64, trials: usize) -> Vec<Trial> {
    let (mut night, mut day) = (Vec::new(), Vec::new());
    for number in 0.. {
        let trial = of_number(seed, number);
        let Fault::Hands(script) = &trial.fault else {
            unreachable!("it is a trial of hands");
        };
        if script
            .acts()
            .any(|act| act.hand.needs_root() || act.hand == Hand::AwayLong)
        {
            continue;
        }
        match script.is_of_the_night() {
            true => night.push(trial),
            false => day.push(trial),
        }
        if !night.is_empty() && day.len() + 1 >= trials {
            break;
        }
    }
    night.truncate(1);
    day.truncate(trials - 1);
    day.extend(night);
    day
}

fn of_number(seed: u64, number: usize) -> Trial {
    const VARIANTS: [Variant; 3] = [Variant::Same, Variant::Same, Variant::Later];
    let mut chance = Chance::of(seed, "hands", number);
    let mut variant = *chance.pick(&VARIANTS);
    let rounds = 1 + chance.below(3);
    let rounds = (0..rounds).map(|_| round(&mut chance));
    let mut rounds = rounds.collect();
    night(&mut Chance::of(seed, "night", number), &mut rounds);
    let mut chance = Chance::of(seed, "crossing", number);
    crossing::put(&mut chance, &mut rounds, &mut variant);
    Trial {
        scope: "hands",
        label: format!("hands {number}"),
        variant,
        fault: Fault::Hands(Script { rounds }),
    }
}

/// In two of five trials something happens around the runs, in a few of a hundred both servers are away for long.
fn night(chance: &mut Chance, rounds: &mut Vec<Round>) {
    if chance.percent(3) {
        put(chance, rounds, Hand::AwayLong);
    } else if chance.percent(40) {
        let first = *chance.pick(NIGHT);
        put(chance, rounds, first);
        let second = *chance.pick(NIGHT);
        if chance.percent(15) && second != first {
            put(chance, rounds, second);
        }
    }
}

fn put(chance: &mut Chance, rounds: &mut Vec<Round>, hand: Hand) {
    // Enough for something to be done before and after.
    rounds.truncate(2);
    // What is to be earlier than the hand.
    let before = match hand {
        Hand::FailOverSource => Some(Hand::SourceLags),
        Hand::FailOverTarget => Some(Hand::TargetLags),
        Hand::OlderState => Some(Hand::SaveState),
        _ => None,
    };
    let between_only = matches!(
        hand,
        Hand::OlderState | Hand::LoseState | Hand::ClosedOutput
    );
    let during_only = matches!(hand, Hand::Away | Hand::AwayLong);
    // Something was done before.
    let needs_run = !matches!(
        hand,
        Hand::ClosedOutput | Hand::NewPassword | Hand::FullDumpRoot | Hand::FullState
    );
    let is_during = during_only || !between_only && chance.percent(60);
    let first = usize::from(needs_run && !is_during);
    if rounds.len() <= first {
        let end = End::Killed(when(chance));
        rounds[0].end = end;
        rounds.push(Round {
            before: Vec::new(),
            during: Vec::new(),
            end: End::ByItself,
        });
    }
    let at = first + chance.below(rounds.len() - first);
    let mut one = |hand| Act {
        hand,
        pick: chance.next(),
    };
    let (act, earlier) = (one(hand), before.map(one));
    let its = match during_only {
        // While there is a run.
        true => When::After(chance.below(600) as u32),
        false => when(chance),
    };
    match is_during {
        true => rounds[at].during.push((its, act)),
        false => rounds[at].before.push(act),
    }
    if let Some(earlier) = earlier {
        let latest = if is_during { at } else { at - 1 };
        let its = chance.below(latest + 1);
        match chance.percent(70) && (its < at || !is_during) {
            true => rounds[its].during.push((when(chance), earlier)),
            false => rounds[its].before.insert(0, earlier),
        }
    }
}

impl Script {
    pub fn acts(&self) -> impl Iterator<Item = &Act> {
        self.rounds.iter().flat_map(|round| {
            let during = round.during.iter().map(|(_, act)| act);
            round.before.iter().chain(during)
        })
    }

    /// What takes part of this hand's, if it does.
    pub fn pick_of(&self, hand: Hand) -> Option<u64> {
        self.acts().find(|act| act.hand == hand).map(|act| act.pick)
    }

    pub fn is_of_the_night(&self) -> bool {
        self.acts().any(|act| act.hand.is_of_the_night())
    }
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
