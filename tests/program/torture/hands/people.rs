//! Everybody who does something in a trial, and what they remember.

use std::collections::{BTreeMap, BTreeSet};
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::hand::Hand;
use super::night::Night;
use super::script::{Act, Script};
use super::watch::{self, Snapshots};
use super::worker::{Ended, Log, Transaction, Worker};
use crate::support::project::{Finished, Project, string, waiver};
use crate::support::server::{Mode, Server, literal};
use crate::torture::chance::Chance;
use crate::torture::check::Configuration;
use crate::torture::faults::SmallDisk;
use crate::torture::stage::{DATABASES, Stage, Variant};

/// Rows that clients insert on the target have numbers from here on.
pub const CLIENTS: u32 = 1_000_000;

pub struct People<'a> {
    pub stage: &'a Stage,
    pub source: Server,
    pub target: Server,
    /// Before the project: disks are mounted in it.
    pub night: Night,
    pub project: Project,
    pub name: String,
    pub keys: Keys,
    pub log: Log,
    /// By the database and what the worker is for: those of an application wait for no batch.
    workers: BTreeMap<(String, bool), Worker>,
    pub snapshots: Snapshots,
    /// Databases that were made on the source.
    pub made: Vec<String>,
    /// How the target was when its owner left it to the migration.
    pub before: Configuration,
    /// Settings of the target that a user made, with the line's value and the server's.
    pub settings: BTreeMap<String, (String, String)>,
    /// What belongs to others on the target: the database's name with what it has to hold.
    pub foreign: BTreeMap<String, String>,
    /// Roles of the target that are not the migration's.
    pub foreign_roles: BTreeSet<String>,
    /// Rows of clients by database: of `hand_log` or of `later_hand`.
    pub client_rows: BTreeSet<(String, &'static str, u32)>,
    /// Databases of ours that a user dropped, renamed or filled: that user knows.
    pub disturbed: BTreeSet<String>,
    /// Databases of the target in which a person deleted the rows that a run had named, whose parents are not there.
    pub orphans_deleted: BTreeSet<String>,
    /// Tables that were newer than the dump of their database, which had that object id, and that a person brought.
    pub brought: BTreeSet<(&'static str, Option<String>, String)>,
    pub sessions: Vec<Child>,
    /// A client of the source wrote under a run's snapshot.
    pub wrote_meanwhile: bool,
    /// Databases of which the run under way has taken its snapshot.
    pub under_snapshot: BTreeSet<String>,
    pub is_running: bool,
    /// Of the hands of the night, and of those that cross a run: which found what they need.
    pub struck: BTreeSet<Hand>,
    begun: Instant,
    pub story: Vec<String>,
    pub wrong: Vec<String>,
    /// What all runs said.
    pub said: String,
    numbers: u32,
}

/// What the plan says beside its servers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keys {
    pub variant: Variant,
    pub delayed: Vec<&'static str>,
    pub exclude: BTreeSet<String>,
    pub jobs: u32,
    pub compression: &'static str,
    pub fast: bool,
    pub tuning: &'static str,
    pub shared_target: bool,
    /// The program's own patience with servers that are away.
    pub is_patient: bool,
    /// Findings that a person looked at and waived.
    pub waived: BTreeSet<&'static str>,
}

impl Keys {
    pub fn of(variant: Variant) -> Keys {
        Keys {
            variant,
            delayed: vec![
                "events.public.events*",
                "events.parts",
                "events.hollow",
                "events.public.later*",
                "shop.sales.payments",
                "shop.public.later*",
            ],
            exclude: BTreeSet::new(),
            jobs: 2,
            compression: "auto",
            fast: false,
            tuning: "fast",
            shared_target: false,
            is_patient: false,
            waived: BTreeSet::new(),
        }
    }

    /// Some of the tables that one transaction writes are delayed to a snapshot of their own, and some are not any more.
    pub fn is_split(&self, database: &str) -> bool {
        let all = Keys::of(self.variant).delayed;
        let gone = all.iter().filter(|pattern| !self.delayed.contains(pattern));
        self.variant == Variant::Later
            && gone
                .into_iter()
                .any(|pattern| pattern.starts_with(database))
    }

    pub fn text(&self) -> String {
        let list = |names: &mut dyn Iterator<Item = &str>| {
            let names: Vec<String> = names.map(string).collect();
            format!("[{}]", names.join(", "))
        };
        let retry = match self.is_patient {
            true => "",
            false => {
                "[retry]\nattempts = 4\nbackoff = \"100ms\"\nmax_backoff = \"500ms\"\nrestore_settings = \"15s\"\n\n"
            }
        };
        let mut text = format!(
            "[delay]\ntable_data = {}\nsnapshot = {}\n\n{retry}\
             [dump]\ncompression = {}\n\n[target.tuning]\nmode = {}\n",
            list(&mut self.delayed.iter().copied()),
            string(match self.variant {
                Variant::Later => "later",
                Variant::Same | Variant::SameReadOnly => "same",
            }),
            string(self.compression),
            string(self.tuning),
        );
        if self.shared_target && self.tuning == "fast" {
            text.push_str("shared_target = true\n");
        }
        if self.fast {
            text.push_str("\n[verify]\nmode = \"fast\"\n");
        }
        if !self.exclude.is_empty() {
            let globs: Vec<String> = self.exclude.iter().map(|name| glob(name)).collect();
            let names = list(&mut globs.iter().map(String::as_str));
            text.push_str(&format!("\n[databases]\nexclude = {names}\n"));
        }
        for code in &self.waived {
            text.push_str(&format!("\n{}", waiver(code)));
        }
        text
    }
}

/// What matches this name alone.
fn glob(name: &str) -> String {
    name.chars()
        .flat_map(|char| {
            let escape = matches!(char, '\\' | '*' | '?' | '[' | ']' | '{' | '}').then_some('\\');
            escape.into_iter().chain([char])
        })
        .collect()
}

impl<'a> People<'a> {
    pub fn new(stage: &'a Stage, name: &str, variant: Variant, script: &Script) -> People<'a> {
        let (mut source, mut target) = (stage.own_source(), stage.target());
        let mut night = Night::of(script, &mut source, &mut target);
        let mut project = Project::between(&source, &target).named(name);
        if script.is_of_the_night() {
            let [source, target] = night.ports();
            project = project
                .source("port", &source.to_string())
                .target("port", &target.to_string());
        }
        let disk = |hand, name| {
            let directory = project.directory().join(name);
            script
                .pick_of(hand)
                .map(|_| SmallDisk::mount(&directory, 2 << 20))
        };
        night.dump_root = disk(Hand::FullDumpRoot, "pg_dumps");
        night.state = disk(Hand::FullState, ".pg-migrate");
        let mut keys = Keys::of(variant);
        keys.is_patient = script.pick_of(Hand::AwayLong).is_some();
        let temporary = project.directory().join("tmp");
        std::fs::create_dir(&temporary).unwrap();
        let mut people = People {
            stage,
            source,
            target,
            night,
            project: project.variable("TMPDIR", temporary),
            name: name.to_owned(),
            keys,
            log: Arc::new(Mutex::new(Vec::new())),
            workers: BTreeMap::new(),
            snapshots: Snapshots::default(),
            made: Vec::new(),
            before: stage.before.clone(),
            settings: BTreeMap::new(),
            foreign: BTreeMap::new(),
            foreign_roles: BTreeSet::new(),
            client_rows: BTreeSet::new(),
            disturbed: BTreeSet::new(),
            orphans_deleted: BTreeSet::new(),
            brought: BTreeSet::new(),
            sessions: Vec::new(),
            wrote_meanwhile: false,
            under_snapshot: BTreeSet::new(),
            is_running: false,
            struck: BTreeSet::new(),
            begun: Instant::now(),
            story: Vec::new(),
            wrong: Vec::new(),
            said: String::new(),
            numbers: 0,
        };
        people.write_plan();
        people
    }

    /// The plan file with the keys as they are now.
    pub fn write_plan(&mut self) {
        let jobs = self.keys.jobs;
        self.project.set_parallelism("dump_jobs", jobs);
        self.project.set_parallelism("restore_jobs", jobs);
        self.project.set_rest(&self.keys.text());
    }

    pub fn tell(&mut self, what: impl Into<String>) {
        let at = self.begun.elapsed().as_secs_f64();
        self.story.push(format!("{at:6.2} {}", what.into()));
    }

    pub fn wrong(&mut self, what: impl Into<String>) {
        self.tell("WRONG");
        self.wrong.push(what.into());
    }

    /// A run or another verb ended: what it said is remembered.
    pub fn heard(&mut self, verb: &str, finished: &Finished) {
        self.said.push_str(&finished.stdout);
        self.said.push_str(&finished.stderr);
        let last = finished
            .stderr
            .lines()
            .filter(|line| {
                ["×", "failed", "FAILED"]
                    .iter()
                    .any(|word| line.contains(word))
            })
            .take(3)
            .collect::<Vec<_>>()
            .join(" / ");
        self.tell(format!(
            "{verb} ended with code {:?}, signal {:?} {last}",
            finished.code, finished.signal
        ));
    }

    pub fn number(&mut self) -> u32 {
        self.numbers += 1;
        self.numbers
    }

    /// Sends a transaction to the source and goes on. `open`: it stays open for so many seconds.
    pub fn transact(&mut self, batch: bool, mut transaction: Transaction, what: &str, open: f64) {
        let (number, database) = (transaction.number, transaction.database.clone());
        transaction.regular = format!(
            "{}\nINSERT INTO public.hand_log VALUES ({number}, {});",
            transaction.regular,
            literal(what)
        );
        if !transaction.delayed.is_empty() {
            // Transactions that wait for locks come out of turn: the sequence only goes on.
            transaction.delayed.push_str(&format!(
                "\nINSERT INTO public.later_hand VALUES ({0}, {number});
                 SELECT setval('public.later_hand_id_seq', {0}) FROM public.later_hand_id_seq WHERE last_value < {0};",
                number * 10,
            ));
        }
        let sql = format!(
            "SET default_transaction_read_only = off; SET lock_timeout = '30s'; BEGIN;\n{}\n{}\n{}\n\
             SELECT pg_sleep({open}); COMMIT;",
            transaction.globals, transaction.regular, transaction.delayed
        );
        self.tell(format!("source {database:?}: {what} ({number})"));
        self.log.lock().unwrap().push(transaction);
        self.send(batch, &database, sql, Some(number));
    }

    pub fn send(&mut self, batch: bool, database: &str, sql: String, number: Option<u32>) {
        let log = &self.log;
        let worker = self
            .workers
            .entry((database.to_owned(), batch))
            .or_insert_with(|| Worker::start(log));
        worker.run(&self.source, database, sql, number);
    }

    pub fn transaction(&mut self, database: &str) -> Transaction {
        Transaction {
            number: self.number(),
            database: database.to_owned(),
            globals: String::new(),
            regular: String::new(),
            delayed: String::new(),
            sent: Timestamp::now(),
            ended: Ended::NotYet,
            lost: None,
        }
    }

    /// Whatever clients of the source are doing, they get done.
    pub fn settle_clients(&mut self) {
        self.workers.clear();
    }

    pub fn end_sessions(&mut self) {
        for mut session in self.sessions.drain(..) {
            session.kill().ok();
            session.wait().ok();
        }
        self.target
            .try_psql(
                "postgres",
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'somebody'",
            )
            .ok();
    }

    /// A client that sits on a database of the target.
    pub fn open_session(&mut self, database: &str) {
        let mut psql = self.target.client("psql", database);
        let session = psql
            .env("PGAPPNAME", "somebody")
            .args(["-q", "-c", "SELECT pg_sleep(600)"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("psql can be started");
        self.sessions.push(session);
        std::thread::sleep(Duration::from_millis(100));
    }

    pub fn is_done(&self, step: &str) -> bool {
        watch::done(&self.project).contains_key(step)
    }

    /// The object id of the target's database of this name.
    pub fn oid(&self, database: &str) -> Option<String> {
        let sql = format!(
            "SELECT oid FROM pg_database WHERE datname = {}",
            literal(database)
        );
        let oid = self.target.try_psql("postgres", &sql).ok()?;
        (!oid.is_empty()).then_some(oid)
    }

    /// Whether the target's database of this name is not the one that the journal has on record.
    pub fn is_replaced(&self, database: &str) -> bool {
        let recorded = watch::object_id(&self.project, database);
        recorded.is_some() && self.oid(database).is_some_and(|oid| Some(oid) != recorded)
    }

    /// Does what the act says; `about`: the database that was the reason.
    pub fn act(&mut self, act: Act, about: Option<&str>) {
        let mut chance = Chance::new(act.pick);
        let about = about.filter(|database| watch::is_of_stage(database));
        let chosen = *chance.pick(&DATABASES);
        let database = about.unwrap_or(chosen).to_owned();
        match act.hand {
            Hand::EndBackend => self.end_backend(&mut chance),
            Hand::RestartSource => {
                self.tell("the source is restarted");
                self.source.restart(Mode::Fast);
            }
            Hand::RestartTarget => {
                self.tell("the target is restarted");
                self.target.restart(Mode::Fast);
            }
            Hand::CrashTarget => {
                self.tell("the target crashes");
                self.target.restart(Mode::Immediate);
            }
            hand => {
                let _ = self.on_source(hand, &database, &mut chance)
                    || self.on_target(hand, &database, &mut chance)
                    || self.with_program(hand, &database, &mut chance)
                    || self.crossing(hand, &mut chance)
                    || self.at_night(hand, &mut chance);
            }
        }
    }

    /// One of the run's sessions on either server.
    fn end_backend(&mut self, chance: &mut Chance) {
        let on_source = chance.percent(50);
        let server = if on_source {
            &self.source
        } else {
            &self.target
        };
        let ended = server.try_psql(
            "postgres",
            &format!(
                "SELECT application_name, pg_terminate_backend(pid) FROM
                   (SELECT pid, application_name, count(*) OVER () AS n,
                           row_number() OVER (ORDER BY pid) AS i FROM pg_stat_activity
                    WHERE application_name LIKE 'pg-migrate/%') s
                 WHERE i = 1 + {} % n",
                chance.below(1000)
            ),
        );
        let side = if on_source { "source" } else { "target" };
        self.tell(format!("a backend of the {side} is ended: {ended:?}"));
    }
}

impl Drop for People<'_> {
    fn drop(&mut self) {
        self.end_sessions();
    }
}
