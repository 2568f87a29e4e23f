//! What must hold after a trial, beside the data: settings, processes, sessions, locks, files, journal.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::project::Project;
use crate::support::server::{Server, literal};

/// How long children and sessions of a killed run may take to notice.
const NOTICE: Duration = Duration::from_secs(5);

/// Why a run may do again what is done, by the words in its journal.
const REASONS: [&str; 9] = [
    "the target is counted by the run that verifies it",
    "its restore did not end",
    "the target is counted again after a difference",
    "its archive is gone or damaged",
    "the snapshot that it shared is gone",
    "the snapshot of its delayed tables is gone",
    "the snapshot that they shared was lost",
    "every run that loads tunes the target, and restores its settings",
    "every run that moves something brings along what changed of roles since",
];

/// What must come back.
#[derive(Debug, Clone, PartialEq)]
pub struct Configuration {
    /// The lines of `postgresql.auto.conf`, sorted.
    file: Vec<String>,
    /// Every setting that a new session has, but for what tells one server from its twin.
    in_force: Vec<String>,
}

impl Configuration {
    pub fn of(server: &Server) -> Configuration {
        let path = server.data_directory().join("postgresql.auto.conf");
        let text = fs::read_to_string(path).unwrap();
        let mut file: Vec<String> = text.lines().map(str::to_owned).collect();
        file.sort();
        let settings = server.psql(
            "postgres",
            "SELECT name, setting, pending_restart FROM pg_settings
             WHERE source <> 'client' AND source <> 'override' AND name <> 'port'
               AND name NOT LIKE '%\\_directory' AND name NOT LIKE '%\\_directories'
               AND name NOT LIKE '%\\_file' ORDER BY name",
        );
        Configuration {
            file,
            in_force: settings.lines().map(str::to_owned).collect(),
        }
    }

    /// As after ALTER SYSTEM SET; `in_force`: how pg_settings spells the value.
    pub fn set(&mut self, name: &str, value: &str, in_force: &str) {
        let line = format!("{name} = ");
        self.file.retain(|other| !other.starts_with(&line));
        self.file.push(format!("{line}'{value}'"));
        self.file.sort();
        let row = format!("{name}|");
        for other in &mut self.in_force {
            if other.starts_with(&row) {
                *other = format!("{row}{in_force}|f");
            }
        }
    }

    pub fn differences(&self, before: &Configuration) -> Vec<String> {
        let mut differences = Vec::new();
        if self.file != before.file {
            differences.push(format!(
                "postgresql.auto.conf: before {:?}, now {:?}",
                before.file, self.file
            ));
        }
        let only = |a: &[String], b: &[String]| -> Vec<String> {
            a.iter().filter(|line| !b.contains(line)).cloned().collect()
        };
        let (was, is) = (
            only(&before.in_force, &self.in_force),
            only(&self.in_force, &before.in_force),
        );
        if !was.is_empty() || !is.is_empty() {
            differences.push(format!("settings in force: before {was:?}, now {is:?}"));
        }
        differences
    }
}

/// The processes that inherited the project's environment, with their names.
pub fn processes(project: &Project) -> BTreeMap<u32, String> {
    let home = format!("HOME={}/home", project.directory().display());
    let entries = fs::read_dir("/proc").expect("/proc is mounted");
    entries
        .flatten()
        .filter_map(|entry| {
            let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
            let environment = fs::read(entry.path().join("environ")).ok()?;
            let ours = environment
                .split(|byte| *byte == 0)
                .any(|variable| variable == home.as_bytes());
            let name = fs::read_to_string(entry.path().join("comm")).ok()?;
            ours.then(|| (pid, name.trim_end().to_owned()))
        })
        .collect()
}

/// Of a run that has ended: its processes and sessions go by themselves.
pub fn nothing_lives_on(project: &Project, servers: &[&Server], name: &str) -> Vec<String> {
    let deadline = Instant::now() + NOTICE;
    loop {
        let mut left: Vec<String> = processes(project)
            .into_iter()
            .map(|(pid, name)| format!("the process {name} ({pid}) lives on"))
            .collect();
        left.extend(servers.iter().flat_map(|server| sessions(server, name)));
        if left.is_empty() || Instant::now() > deadline {
            return left;
        }
        sleep(Duration::from_millis(20));
    }
}

/// Sessions of the plan on the server.
fn sessions(server: &Server, plan: &str) -> Vec<String> {
    let rows = server.psql(
        "postgres",
        &format!(
            "SELECT application_name, state, wait_event, left(query, 60) FROM pg_stat_activity
             WHERE starts_with(application_name, {})",
            literal(&format!("pg-migrate/{plan}/"))
        ),
    );
    rows.lines()
        .map(|row| {
            format!(
                "a session lives on, on the {} server: {row}",
                server.major()
            )
        })
        .collect()
}

/// Everything but the data, after a run that ended well.
pub fn leftovers(
    project: &Project,
    name: &str,
    source: &Server,
    target: &Server,
    before: &Configuration,
) -> Vec<String> {
    let mut left = ended(project, name, source, target);
    left.extend(Configuration::of(target).differences(before));
    left.extend(repetitions(project));
    left
}

/// What no completed run leaves, whatever was done before it.
pub fn ended(project: &Project, name: &str, source: &Server, target: &Server) -> Vec<String> {
    let mut left = nothing_lives_on(project, &[source, target], name);
    let locks = target.psql(
        "postgres",
        "SELECT locktype, classid, objid FROM pg_locks WHERE locktype = 'advisory'",
    );
    left.extend(locks.lines().map(|lock| format!("a lock is left: {lock}")));
    left.extend(files(project));
    let report = project.report();
    if report["outcome"] != "completed" || report["settings_restored"] != true {
        left.push(format!(
            "the report says {} and settings_restored {}",
            report["outcome"], report["settings_restored"]
        ));
    }
    left
}

fn files(project: &Project) -> Vec<String> {
    let mut left = Vec::new();
    for directory in ["pg_dumps", "home", "tmp"] {
        for path in below(&project.directory().join(directory)) {
            // The plan's own directory in dump.root may stay, empty.
            if !path.is_dir() {
                left.push(format!("a file is left: {}", path.display()));
            }
        }
    }
    let state = project.state_directory();
    for path in below(&state) {
        let inside = path.strip_prefix(&state).expect("it is below");
        let expected = inside.starts_with("log")
            || ["lock", "journal.jsonl", "plan.json", "report.json"]
                .iter()
                .any(|name| inside == Path::new(name));
        if !expected {
            left.push(format!("a file is left: {}", path.display()));
        }
        let metadata = fs::metadata(&path).unwrap();
        let mode = metadata.permissions().mode() & 0o777;
        if mode != if metadata.is_dir() { 0o700 } else { 0o600 } {
            left.push(format!("{} has mode {mode:o}", path.display()));
        }
    }
    left
}

pub fn below(directory: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        let linked = path.is_symlink();
        found.push(path.clone());
        if path.is_dir() && !linked {
            found.extend(below(&path));
        }
    }
    found.sort_by(|a, b| a.as_os_str().as_bytes().cmp(b.as_os_str().as_bytes()));
    found
}

/// Steps that were done and started again without a reason on record.
fn repetitions(project: &Project) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut done: BTreeMap<String, bool> = BTreeMap::new();
    for record in project.journal() {
        let entry = &record["entry"];
        let step = |kind: &str| entry[kind]["step"].as_str().map(str::to_owned);
        if let Some(step) = step("step-started")
            && done.insert(step.clone(), false) == Some(true)
        {
            wrong.push(format!("{step} was done, and was done again"));
        }
        if let Some(step) = step("step-done") {
            done.insert(step, true);
        }
        if let Some(forgotten) = entry.get("forgotten") {
            let reason = forgotten["reason"].as_str().unwrap_or_default();
            if !REASONS.iter().any(|known| reason.starts_with(known)) {
                wrong.push(format!("steps were forgotten: {forgotten}"));
            }
            for step in forgotten["steps"].as_array().into_iter().flatten() {
                done.remove(step.as_str().unwrap_or_default());
            }
        }
    }
    let ended = project.journal().iter().rev().find_map(|record| {
        let ended = &record["entry"]["run-ended"];
        (!ended.is_null()).then(|| ended["outcome"].clone())
    });
    if ended != Some(Value::from("completed")) {
        wrong.push(format!("the last run ended {ended:?} by the journal"));
    }
    wrong
}
