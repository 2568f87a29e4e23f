//! A campaign that has hands: what people and applications do between and during runs, and whether the migration ends
//! well all the same, or says what to do, and doing that leads to its end.

mod advice;
mod crossing;
mod directories;
mod hand;
mod night;
mod outcome;
mod people;
mod program;
mod script;
mod source;
mod target;
mod watch;
mod worker;

pub use script::{Script, a_few, of_hands, of_label};

use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::support::project::{Finished, Outlet};

use super::campaign::Verdict;
use super::check::nothing_lives_on;
use super::faults::told;
use super::run_takes;
use super::stage::{Stage, Variant};
use people::People;
use script::{End, Round, When};
use watch::Event;

/// Runs after everybody has left the servers alone, until one ends with 0.
const MOST_RUNS: u32 = 7;

/// An advice that is followed so often and does not help is none.
const MOST_OF_THE_SAME: usize = 2;

pub fn play(stage: &Stage, name: &str, variant: Variant, script: &Script) -> Verdict {
    let mut people = People::new(stage, name, variant, script);
    for round in &script.rounds {
        people.round(round);
    }
    let resumes = people.go_on_to_the_end();
    let mut wrong = std::mem::take(&mut people.wrong);
    if !wrong.is_empty() {
        wrong.push(people.story.join("\n"));
    } else if std::env::var_os("TORTURE_ONLY").is_some_and(|label| !label.is_empty()) {
        println!("{}", people.story.join("\n"));
    }
    Verdict {
        resumes,
        wrong,
        wrote_meanwhile: people.wrote_meanwhile,
        struck: people
            .struck
            .iter()
            .map(|hand| format!("{hand:?}"))
            .collect(),
        ..Verdict::default()
    }
}

/// Whether something is due.
struct Clock {
    begun: Instant,
    new: Vec<Event>,
}

impl Clock {
    /// The database that it is about, where it is about one.
    fn strikes(&self, when: When) -> Option<Option<String>> {
        match when {
            When::After(permille) => {
                (self.begun.elapsed() >= run_takes() * permille / 1000).then_some(None)
            }
            When::Seen(kind, step) => self
                .new
                .iter()
                .find(|event| event.kind == kind && event.step.ends_with(step))
                .map(|event| event.database.clone()),
        }
    }
}

impl People<'_> {
    fn round(&mut self, round: &Round) {
        for act in &round.before {
            self.act(*act, None);
        }
        self.settle_clients();
        self.mind_clones();
        let known = watch::records(&self.project).len();
        let mut due = round.during.clone();
        let mut end = round.end;
        self.tell("run");
        let outlet = self.project.outlet();
        let mut running = self.project.start(&["run"]);
        self.is_running = true;
        let mut clock = Clock {
            begun: Instant::now(),
            new: Vec::new(),
        };
        let mut read = 0;
        let mut seen = Rc::default();
        while running.is_running() {
            let records = watch::records(&self.project);
            if !Rc::ptr_eq(&records, &seen) {
                let new = records.iter().skip(known);
                clock.new = new.filter_map(watch::event).collect();
                seen = records;
            }
            for event in clock.new.iter().skip(read) {
                if let (Some(snapshot), Some(database)) = (&event.snapshot, &event.database)
                    && event.kind == "hold-snapshot"
                    && watch::is_of_stage(database)
                {
                    self.under_snapshot.insert(database.clone());
                    self.snapshots.read(&self.source, database, snapshot);
                }
            }
            read = clock.new.len();
            let (now, later): (Vec<_>, Vec<_>) = due
                .into_iter()
                .partition(|(when, _)| clock.strikes(*when).is_some());
            due = later;
            for (when, act) in now {
                let about = clock.strikes(when).flatten();
                self.act(act, about.as_deref());
            }
            match end {
                End::Killed(when) if clock.strikes(when).is_some() => {
                    self.tell("the run is killed");
                    running.kill9();
                    end = End::ByItself;
                }
                End::Interrupted(when) if clock.strikes(when).is_some() => {
                    self.tell("the run is interrupted");
                    running.interrupt();
                    end = End::ByItself;
                }
                _ => {}
            }
            std::thread::sleep(Duration::from_millis(3));
        }
        let finished = running.wait();
        self.is_running = false;
        self.project.print_to(Outlet::Files);
        self.under_snapshot.clear();
        self.heard("run", &finished);
        self.settle_clients();
        self.look_at(&finished, outlet);
        // The night has its way, whether or not the moment came that was meant for it.
        for (_, act) in due {
            if act.hand.is_of_the_night() {
                self.act(act, None);
            }
        }
    }

    /// What holds after any run.
    fn look_at(&mut self, finished: &Finished, outlet: Outlet) {
        // A journal that cannot be written is nothing that a plan foresees.
        let is_full = self.night.is_tight && finished.code == Some(1);
        let expected = finished.signal == Some(9)
            || matches!(finished.code, Some(0 | 2 | 3 | 4 | 5 | 6 | 130))
            || is_full && finished.said().contains("No space left on device");
        if !expected || finished.stderr.contains("panicked at") {
            self.wrong(format!("no run may end so: {}", told(finished)));
        }
        let mut wrong = nothing_lives_on(&self.project, &[&self.source, &self.target], &self.name);
        wrong.extend(self.changes_of_foreign());
        wrong.extend(self.made_a_difference(finished));
        if finished.signal.is_none() && outlet == Outlet::Files {
            wrong.extend(self.left_unsafe_untold(finished));
        }
        for line in wrong {
            self.wrong(line);
        }
    }

    /// A run that ended by itself leaves the target safe, or says that it is not.
    fn left_unsafe_untold(&self, finished: &Finished) -> Option<String> {
        let off = self.target.psql(
            "postgres",
            "SELECT string_agg(name, ' ') FROM pg_settings WHERE reset_val = 'off'
             AND name IN ('fsync', 'full_page_writes', 'autovacuum', 'synchronous_commit')",
        );
        let said = finished.said();
        let is_told = [
            "still has its settings for the load",
            "still those for the load",
            "the settings for the load are still set",
            "target/left-unsafe",
        ];
        let is_told = is_told.iter().any(|words| said.contains(words));
        (!off.is_empty() && !is_told).then(|| {
            format!(
                "{off} are off, and the run does not say so: {}",
                told(finished)
            )
        })
    }

    /// From here on users do only what the runs ask for. Returns how many runs it took.
    fn go_on_to_the_end(&mut self) -> u32 {
        let mut followed: Vec<&str> = Vec::new();
        for resumes in 1..=MOST_RUNS {
            let known = watch::records(&self.project).len();
            let finished = self.run_quietly(known);
            self.heard("run", &finished);
            self.look_at(&finished, Outlet::Files);
            if finished.code == Some(0) {
                self.judge();
                return resumes;
            }
            let advice = advice::follow(self, &finished);
            let times = followed.iter().filter(|one| Some(**one) == advice).count();
            match advice {
                None => {
                    self.wrong(format!("no advice is known: {}", told(&finished)));
                    return resumes;
                }
                Some(advice) if times >= MOST_OF_THE_SAME => {
                    self.wrong(format!("{advice:?} does not help: {}", told(&finished)));
                    return resumes;
                }
                Some(advice) => followed.push(advice),
            }
        }
        self.wrong("it does not come to an end");
        MOST_RUNS
    }

    /// A run that is only looked at.
    fn run_quietly(&mut self, known: usize) -> Finished {
        let mut running = self.project.start(&["run"]);
        let mut read = known;
        while running.is_running() {
            let records = watch::records(&self.project);
            for event in records.iter().skip(read).filter_map(watch::event) {
                if let (Some(snapshot), Some(database)) = (&event.snapshot, &event.database)
                    && event.kind == "hold-snapshot"
                    && watch::is_of_stage(database)
                {
                    self.snapshots.read(&self.source, database, snapshot);
                }
            }
            read = read.max(records.len());
            std::thread::sleep(Duration::from_millis(3));
        }
        running.wait()
    }
}
