//! The journal of a run under way, as the hands read it, and what the run's snapshots show.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::SystemTime;

use jiff::Timestamp;
use serde_json::Value;

use crate::support::project::Project;
use crate::support::server::{Server, run_with_input};
use crate::torture::stage::DATABASES;

/// What a snapshot shows: numbers of transactions, of the regular tables and of the delayed ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    pub regular: BTreeSet<u32>,
    pub delayed: BTreeSet<u32>,
}

/// A record, as far as hands care.
#[derive(Debug, Clone)]
pub struct Event {
    pub kind: String,
    pub step: String,
    pub database: Option<String>,
    pub snapshot: Option<String>,
}

/// A journal as it was read last.
struct Journal {
    path: PathBuf,
    bytes: u64,
    changed: SystemTime,
    records: Rc<Vec<Value>>,
}

thread_local! {
    /// A hand looks every few milliseconds, and mostly sees what it saw before.
    static LAST: RefCell<Option<Journal>> = const { RefCell::new(None) };
}

/// Every whole record of the journal; none where there is no journal yet.
pub fn records(project: &Project) -> Rc<Vec<Value>> {
    let path = project.state_directory().join("journal.jsonl");
    let found = fs::metadata(&path).and_then(|found| Ok((found.len(), found.modified()?)));
    let Ok((bytes, changed)) = found else {
        return Rc::default();
    };
    LAST.with_borrow_mut(|last| {
        if let Some(last) = last
            && last.path == path
            && (last.bytes, last.changed) == (bytes, changed)
        {
            return Rc::clone(&last.records);
        }
        let text = fs::read(&path).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let records = text
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok());
        let records = Rc::new(records.collect());
        *last = Some(Journal {
            path,
            bytes,
            changed,
            records: Rc::clone(&records),
        });
        records
    })
}

pub fn event(record: &Value) -> Option<Event> {
    let (kind, body) = record["entry"].as_object()?.iter().next()?;
    let text = |value: &Value| value.as_str().map(str::to_owned);
    if kind == "change" {
        let change = &body["change"];
        return Some(Event {
            kind: text(&change["change"])?,
            step: String::new(),
            database: text(&change["database"]),
            snapshot: text(&change["snapshot"]),
        });
    }
    let step = text(&body["step"])?;
    let database = step
        .rsplit_once('/')
        .map(|(database, _)| database.to_owned());
    Some(Event {
        kind: kind.clone(),
        step,
        database,
        snapshot: text(&body["output"]["snapshot"]),
    })
}

/// The steps that are done and not forgotten, with the snapshot of each where it has one.
pub fn done(project: &Project) -> BTreeMap<String, Option<String>> {
    let mut done = BTreeMap::new();
    for record in records(project).iter() {
        for step in record["entry"]["forgotten"]["steps"]
            .as_array()
            .into_iter()
            .flatten()
        {
            done.remove(step.as_str().unwrap_or_default());
        }
        match event(record) {
            Some(event) if event.kind == "step-done" => {
                done.insert(event.step, event.snapshot);
            }
            Some(event) if event.kind == "step-started" => {
                done.remove(&event.step);
            }
            _ => {}
        }
    }
    done
}

/// The object id of the target's database that was made, or filled, last.
pub fn object_id(project: &Project, database: &str) -> Option<String> {
    records(project)
        .iter()
        .map(|record| &record["entry"]["change"]["change"])
        .filter(|change| change["database"] == database)
        .filter_map(|change| change["oid"].as_u64())
        .next_back()
        .map(|oid| oid.to_string())
}

/// Whether clients may connect to the target's database, by the journal.
pub fn is_open(project: &Project, database: &str) -> bool {
    let records = records(project);
    let mut changes = records
        .iter()
        .map(|record| &record["entry"]["change"]["change"])
        .filter(|change| change["database"] == database)
        .filter_map(|change| change["change"].as_str())
        .filter(|kind| matches!(*kind, "open-database" | "close-database"));
    changes.next_back() == Some("open-database")
}

/// Between which moments the snapshot of the step that counts was taken: when its run began, and when the step was done.
pub fn taken_between(project: &Project, step: &str) -> Option<(Timestamp, Timestamp)> {
    let mut between = None;
    let mut begun = None;
    for record in records(project).iter() {
        let at: Option<Timestamp> = record["at"].as_str().and_then(|at| at.parse().ok());
        if !record["entry"]["run-started"].is_null() {
            begun = at;
        }
        if record["entry"]["step-done"]["step"] == step {
            between = begun.zip(at);
        }
    }
    between
}

/// What the snapshots of all runs show, read under each while its run holds it.
#[derive(Default)]
pub struct Snapshots {
    /// By the database and the snapshot: another server gives out the same names.
    shown: Arc<Mutex<BTreeMap<(String, String), Shown>>>,
    readers: Vec<JoinHandle<()>>,
}

impl Snapshots {
    /// Reads under the snapshot, if it is still there.
    pub fn read(&mut self, source: &Server, database: &str, snapshot: &str) {
        let shown = Arc::clone(&self.shown);
        let key = (database.to_owned(), snapshot.to_owned());
        let mut psql = source.client("psql", database);
        psql.args(["-XqAt", "-v", "ON_ERROR_STOP=1", "-f", "-"]);
        let sql = format!(
            "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET TRANSACTION SNAPSHOT '{snapshot}';
             SELECT 'r', n FROM public.hand_log; SELECT 'd', n FROM public.later_hand"
        );
        self.readers.push(std::thread::spawn(move || {
            if let Ok(rows) = run_with_input(psql, &sql) {
                let numbers = |side: &str| {
                    rows.lines()
                        .filter_map(|row| row.strip_prefix(side)?.parse().ok())
                        .collect()
                };
                let seen = Shown {
                    regular: numbers("r|"),
                    delayed: numbers("d|"),
                };
                shown.lock().unwrap().insert(key, seen);
            }
        }));
    }

    pub fn shown(&mut self, database: &str, snapshot: &str) -> Option<Shown> {
        for reader in self.readers.drain(..) {
            reader.join().expect("a reader panics at nothing");
        }
        let key = (database.to_owned(), snapshot.to_owned());
        self.shown.lock().unwrap().get(&key).cloned()
    }
}

/// Whether the database is one that every source of the campaign has.
pub fn is_of_stage(database: &str) -> bool {
    DATABASES.contains(&database)
}

/// Whether delayed tables are among its own.
pub fn has_delayed(database: &str) -> bool {
    matches!(database, "events" | "shop")
}
