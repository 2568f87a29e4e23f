//! What is done to the plan, and with the program itself.

use super::hand::Hand;
use super::people::People;
use crate::support::project::Project;
use crate::torture::chance::Chance;
use crate::torture::faults::told;
use crate::torture::stage::{DATABASES, Variant};

impl People<'_> {
    /// Whether the hand is one of these.
    pub fn with_program(&mut self, hand: Hand, database: &str, chance: &mut Chance) -> bool {
        let before = self.keys.clone();
        match hand {
            Hand::Jobs => self.keys.jobs = 1 + chance.below(4) as u32,
            Hand::Compression => self.keys.compression = *chance.pick(&["none", "gzip:1", "auto"]),
            Hand::VerifyMode => self.keys.fast = !self.keys.fast,
            Hand::Tuning => self.keys.tuning = *chance.pick(&["fast", "safe", "off"]),
            Hand::Exclude => _ = self.keys.exclude.insert(database.to_owned()),
            Hand::DelayLess => {
                let away =
                    *chance.pick(&["events.parts", "shop.public.later*", "events.public.later*"]);
                self.keys.delayed.retain(|pattern| *pattern != away);
            }
            Hand::SnapshotLater => self.keys.variant = Variant::Later,
            Hand::Reset => self.verb(&["reset"]),
            Hand::ResetDatabase => self.verb(&["reset", "--database", database]),
            Hand::ResetGlobals => self.verb(&["reset", "--step", "globals"]),
            Hand::Revert => self.verb(&["revert"]),
            Hand::Report => self.verb(&["report"]),
            Hand::Status => self.verb(&["status"]),
            Hand::Verify => self.verb(&["verify"]),
            Hand::Check => self.verb(&["check"]),
            Hand::OtherPlan => self.other_plan(),
            _ => return false,
        }
        if self.keys != before {
            self.tell(format!("the plan: {:?}", self.keys));
            self.write_plan();
        }
        true
    }

    fn verb(&mut self, arguments: &[&str]) {
        let finished = self.project.run(arguments);
        self.heard(&arguments.join(" "), &finished);
        // Never expected is a panic; the rest shows in what the run says next.
        if !matches!(finished.code, Some(0 | 2 | 3 | 4 | 5 | 6)) {
            self.wrong(format!("{arguments:?}: {}", told(&finished)));
        }
        if self.is_running && matches!(arguments[0], "reset" | "revert") && finished.code == Some(0)
        {
            // It may have ended a moment ago.
            self.tell(format!(
                "{} while a run is under way succeeds",
                arguments[0]
            ));
        }
    }

    /// Another plan wants the same target, once ours has made its databases.
    fn other_plan(&mut self) {
        if !DATABASES
            .iter()
            .all(|database| self.oid(database).is_some())
        {
            return;
        }
        let other = Project::between(&self.source, &self.target).named("other");
        let finished = other.run(&["run"]);
        self.heard("run of another plan", &finished);
        if !self.is_running && finished.code == Some(0) {
            // Ours were empty yet, and now they are the other plan's.
            for database in DATABASES {
                let print = self.print_of(database);
                self.foreign.insert(database.to_owned(), print);
            }
        } else if !matches!(finished.code, Some(3 | 6)) {
            self.wrong(format!(
                "another plan runs on our target: {}",
                told(&finished)
            ));
        }
    }
}
