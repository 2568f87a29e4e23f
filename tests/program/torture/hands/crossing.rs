//! What meets a run in the one moment that matters, and would seldom do so by chance.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::hand::{CROSSING, Hand};
use super::people::People;
use super::script::{Act, End, Round, When};
use super::watch::{self, has_delayed};
use crate::support::project::Finished;
use crate::torture::chance::Chance;
use crate::torture::check::processes;
use crate::torture::faults::told;
use crate::torture::run_takes;
use crate::torture::stage::{DATABASES, Variant};

/// In a third of the trials.
pub fn put(chance: &mut Chance, rounds: &mut Vec<Round>, variant: &mut Variant) {
    if !chance.percent(35) {
        return;
    }
    let hand = *chance.pick(CROSSING);
    let act = |chance: &mut Chance| Act {
        hand,
        pick: chance.next(),
    };
    let mut during = Vec::new();
    // Mostly the run is left to what it meets.
    if chance.percent(70) {
        rounds[0].end = End::ByItself;
    }
    match hand {
        // Some begin before the run has taken a snapshot, whatever that takes here.
        Hand::LongReload => {
            for _ in 0..3 {
                during.push((When::After(chance.below(300) as u32), act(chance)));
            }
        }
        Hand::WriteLate => {
            *variant = Variant::Later;
            for step in ["/dump", "/restore", "/verify"] {
                during.push((When::Seen("step-done", step), act(chance)));
            }
        }
        Hand::Supplant => {
            let moments = [
                ("step-done", "/create"),
                ("step-started", "/dump"),
                ("step-done", "/dump"),
            ];
            let (kind, step) = *chance.pick(&moments);
            during.push((When::Seen(kind, step), act(chance)));
        }
        Hand::OutOfMemory => {
            for _ in 0..1 + chance.below(2) {
                during.push((When::Seen("step-started", "/restore"), act(chance)));
            }
        }
        // Between runs, the first of which has verified something.
        _ => {
            if rounds.len() < 2 {
                rounds.push(Round {
                    before: Vec::new(),
                    during: Vec::new(),
                    end: End::ByItself,
                });
            }
            rounds[0].end = match chance.percent(50) {
                true => End::ByItself,
                false => End::Killed(When::Seen("step-done", "/delayed-verify")),
            };
            let its = act(chance);
            rounds[1].before.push(its);
        }
    }
    rounds[0].during.extend(during);
}

impl People<'_> {
    /// Whether the hand is one of these.
    pub fn crossing(&mut self, hand: Hand, chance: &mut Chance) -> bool {
        match hand {
            Hand::RedoUsed => self.redo_used(chance),
            Hand::OutOfMemory => self.out_of_memory(chance),
            _ => return false,
        }
        true
    }

    /// Clients begin before or after somebody has asked for it to be made again: before, nobody told him.
    fn redo_used(&mut self, chance: &mut Chance) {
        let last = |database: &str| match has_delayed(database) {
            true => format!("{database}/delayed-verify"),
            false => format!("{database}/verify"),
        };
        let ready: Vec<&str> = DATABASES
            .into_iter()
            .filter(|database| {
                let is_open = watch::is_open(&self.project, database);
                let is_ours = self.oid(database).is_some()
                    && !self.foreign.contains_key(*database)
                    && !self.is_replaced(database);
                is_open && is_ours && self.is_done(&last(database))
            })
            .collect();
        if ready.is_empty() {
            return;
        }
        let database = *chance.pick(&ready);
        let is_before = chance.percent(50);
        if is_before {
            self.client_writes(database);
        }
        self.verb(&["reset", "--database", database, "--drop", database]);
        if !is_before {
            self.client_writes(database);
        }
        self.struck.insert(Hand::RedoUsed);
    }

    /// The kernel takes the process that has the most memory: the pg_restore that knows the archive, and no worker of it. Of those
    /// that the run starts from here on, one after the other, any.
    fn out_of_memory(&mut self, chance: &mut Chance) {
        let deadline = Instant::now() + run_takes() / 2;
        let number = 1 + chance.below(4);
        let pause = run_takes() * chance.below(40) as u32 / 1000;
        let mut seen = BTreeSet::new();
        while Instant::now() < deadline {
            let found = self.restoring();
            if found.is_empty() && seen.len() >= 2 && processes(&self.project).is_empty() {
                // The run has ended.
                return;
            }
            seen.extend(found.keys().copied());
            if seen.len() >= number && !found.is_empty() {
                break;
            }
            sleep(Duration::from_millis(5));
        }
        sleep(pause);
        let restoring = self.restoring();
        let Some((victim, arguments)) = restoring.iter().next_back() else {
            return;
        };
        kill(Pid::from_raw(victim.cast_signed()), Signal::SIGKILL).ok();
        self.tell(format!("the kernel kills {victim}: {arguments}"));
        self.struck.insert(Hand::OutOfMemory);
    }

    /// The client programs that restore something, with their arguments.
    fn restoring(&self) -> BTreeMap<u32, String> {
        let of_run = processes(&self.project);
        let restores = of_run.iter().filter(|(_, name)| *name == "pg_restore");
        restores
            .filter_map(|(pid, _)| {
                let parent = parent_of(*pid).and_then(|parent| of_run.get(&parent));
                let arguments = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
                let arguments = String::from_utf8_lossy(&arguments).replace('\0', " ");
                let is_leader = parent.is_none_or(|name| name != "pg_restore");
                // Neither a list of what is in an archive nor the making of tables takes memory.
                let is_large = arguments.contains("--dbname") && !arguments.contains("/pre-data.");
                (is_leader && is_large).then_some((*pid, arguments))
            })
            .collect()
    }

    /// A run found other rows in a database than the source has, to which nobody but the run had written.
    pub fn made_a_difference(&self, finished: &Finished) -> Option<String> {
        let others = [Hand::FailOverTarget, Hand::CloneTarget];
        if others.iter().any(|hand| self.struck.contains(hand)) {
            return None;
        }
        let said = finished.said();
        let is_ours = |database: &str| {
            !self.disturbed.contains(database)
                && !self.foreign.contains_key(database)
                && !self.orphans_deleted.contains(database)
                && !self.client_rows.iter().any(|(of, _, _)| of == database)
        };
        let differs = |database: &str| {
            let start = format!("database \"{database}\": ");
            let mut told = said.split(&start).skip(1);
            told.any(|told| {
                let words: Vec<&str> = told.split_whitespace().skip(1).take(5).collect();
                matches!(words[..], ["of", _, "tables", "differ", "between"])
            })
        };
        let mut databases = DATABASES.into_iter();
        let database = databases.find(|database| is_ours(database) && differs(database))?;
        Some(format!(
            "{database:?}: nobody touched it, and it differs from the source: {}",
            told(finished)
        ))
    }
}

fn parent_of(pid: u32) -> Option<u32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let parent = status.lines().find_map(|line| line.strip_prefix("PPid:"))?;
    parent.trim().parse().ok()
}
