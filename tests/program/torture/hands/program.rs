//! What is done to the plan, and with the program itself.

use super::hand::Hand;
use super::people::People;
use crate::support::project::Project;
use crate::support::server::literal;
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

    pub fn verb(&mut self, arguments: &[&str]) {
        let finished = self.project.run(arguments);
        self.heard(&arguments.join(" "), &finished);
        // What these print is their work: it failed where the disk of their output is full.
        let is_unprinted = finished.code == Some(1)
            && matches!(arguments[0], "report" | "status")
            && self.struck.contains(&Hand::ClosedOutput);
        // A journal that cannot be written is nothing that a plan foresees.
        let is_full = self.night.is_tight
            && finished.code == Some(1)
            && finished.said().contains("No space left on device");
        // Never expected is a panic; the rest shows in what the run says next.
        if !is_unprinted && !is_full && !matches!(finished.code, Some(0 | 2 | 3 | 4 | 5 | 6)) {
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
        let all_are_there = |people: &People<'_>| {
            let mut all = DATABASES.iter();
            all.all(|database| people.oid(database).is_some())
        };
        if !all_are_there(self) {
            return;
        }
        let other = Project::between(&self.source, &self.target).named("other");
        let before = self.others_find();
        // It fills what is not ours, and ends as the rest lets it.
        let made_by_people = "SELECT 1 FROM pg_database WHERE datname LIKE 'hand_db_%' LIMIT 1";
        if before.is_mixed()
            || self.source.try_psql("postgres", made_by_people).as_deref() == Ok("1")
        {
            return;
        }
        let finished = other.run(&["run"]);
        self.heard("run of another plan", &finished);
        let after = self.others_find();
        let code = finished.code.unwrap_or(-1);
        let said = finished.said();
        // A run of ours that ends, or begins, meanwhile leaves both.
        let mut expected = before.expected(self.is_running);
        expected.extend(after.expected(self.is_running));
        let is_expected = expected
            .iter()
            .any(|(one, words)| *one == code && words.iter().any(|words| said.contains(words)));
        if !is_expected {
            self.wrong(format!(
                "another plan on our target, where {before:?} and then {after:?}, may end {expected:?}: {}",
                told(&finished)
            ));
        }
        if code == 0 {
            // Ours were empty yet, and now they are the other plan's.
            for database in DATABASES {
                let print = self.print_of(database);
                self.foreign.insert(database.to_owned(), print);
            }
        } else if !self.is_running && before != after {
            self.wrong(format!(
                "another plan changed our target: before {before:?}, now {after:?}: {}",
                told(&finished)
            ));
        }
    }

    /// What another plan comes upon on our target.
    fn others_find(&self) -> Found {
        let mut found = Found::default();
        for database in DATABASES {
            let Some(oid) = self.oid(database) else {
                continue;
            };
            let sql = "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace";
            let objects = self.target.try_psql(database, sql);
            found.is_filled |= objects.as_deref() != Ok("0");
            let marked = format!("SELECT 1 FROM mark.database WHERE oid = {oid}");
            let marked = self.target.try_psql("pg_migrate_mark", &marked);
            found.ours += u32::from(marked.as_deref() == Ok("1"));
            found.oids.push(oid);
        }
        let names: Vec<String> = DATABASES.iter().map(|name| literal(name)).collect();
        let sql = format!(
            "SELECT 1 FROM pg_database WHERE NOT datistemplate AND datname NOT IN ('postgres', 'pg_migrate_mark', {})
             LIMIT 1",
            names.join(", ")
        );
        found.is_shared = self.target.try_psql("postgres", &sql).as_deref() == Ok("1");
        let sql = "SELECT 1 FROM pg_settings WHERE reset_val = 'off'
                   AND name IN ('fsync', 'full_page_writes', 'autovacuum', 'synchronous_commit')";
        found.is_unsafe = self.target.try_psql("postgres", sql) != Ok(String::new());
        found
    }
}

/// How our databases are, on the target.
#[derive(Debug, Default, PartialEq, Eq)]
struct Found {
    oids: Vec<String>,
    /// One holds something.
    is_filled: bool,
    /// How many were made by us, by the mark.
    ours: u32,
    /// The settings are those for our load.
    is_unsafe: bool,
    /// There are databases of others, too.
    is_shared: bool,
}

impl Found {
    /// Some were made by us, and others by a person.
    fn is_mixed(&self) -> bool {
        self.ours > 0 && self.ours as usize != self.oids.len()
    }

    /// How a run of another plan may end, with what it says, one of the words.
    fn expected(&self, is_running: bool) -> Vec<(i32, &'static [&'static str])> {
        let mut expected: Vec<(i32, &[&str])> = Vec::new();
        if is_running {
            expected.push((6, &["another run holds the"]));
            // It looks into one that our run drops.
            expected.push((3, &["It seems to have just been dropped or renamed"]));
        }
        match self {
            _ if self.is_unsafe => expected.push((3, &["target/left-unsafe"])),
            _ if self.is_shared => {
                expected.push((3, &["target/shared", "target/database-not-empty"]))
            }
            _ if self.is_filled => expected.push((3, &["target/database-not-empty"])),
            _ if self.ours > 0 => expected.push((4, &["was made by the plan"])),
            // A person made them, empty.
            _ => expected.push((0, &[""])),
        }
        expected
    }
}
