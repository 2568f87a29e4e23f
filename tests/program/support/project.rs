//! A plan file in a directory of its own, and the real program run on it.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::Value;

use super::child;
use super::place::{self, Scratch};
use super::server::Server;

/// No run of a test takes longer than this, unless it hangs.
const PATIENCE: Duration = Duration::from_secs(240);

/// A plan between two servers, with what the program needs around it.
pub struct Project {
    scratch: Scratch,
    name: String,
    /// Keys of the two server tables, with their TOML values.
    source: BTreeMap<String, String>,
    target: BTreeMap<String, String>,
    parallelism: BTreeMap<String, String>,
    rest: String,
    /// The target's `fsync` is off, for the tests' speed.
    keeps_unsafe: bool,
    literal: Option<String>,
    environment: BTreeMap<String, OsString>,
    umask: Option<u32>,
    ignores_hangup: bool,
    outlet: Outlet,
}

/// Where stdout and stderr of the program lead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outlet {
    Files,
    /// A pipe whose reader has gone, as of a terminal or `tee` that ended.
    GonePipe,
    /// A disk without room.
    FullDisk,
}

impl Project {
    /// A plan from one server to the other over TCP, passwords from the environment, clients 18.
    pub fn between(source: &Server, target: &Server) -> Project {
        let keys = |server: &Server, variable: &str| {
            let password = format!("{{ env = \"{variable}\" }}");
            BTreeMap::from([
                ("host".to_owned(), string("127.0.0.1")),
                ("port".to_owned(), server.port().to_string()),
                ("password".to_owned(), password),
            ])
        };
        let number = |name: &str, value: u32| (name.to_owned(), value.to_string());
        let scratch = Scratch::new();
        let home = scratch.path().join("home");
        fs::create_dir(&home).unwrap();
        Project {
            name: "test".to_owned(),
            source: keys(source, "SOURCE_PASSWORD"),
            target: keys(target, "TARGET_PASSWORD"),
            parallelism: BTreeMap::from([
                number("max_parallel", 2),
                number("dump_jobs", 2),
                number("restore_jobs", 2),
                number("verify_concurrency", 4),
            ]),
            rest: String::new(),
            keeps_unsafe: !target.is_durable(),
            literal: None,
            environment: BTreeMap::from([
                ("HOME".to_owned(), home.into()),
                ("SOURCE_PASSWORD".to_owned(), source.password().into()),
                ("TARGET_PASSWORD".to_owned(), target.password().into()),
            ]),
            scratch,
            umask: None,
            ignores_hangup: false,
            outlet: Outlet::Files,
        }
        .clients(18)
    }

    /// What is printed from here on goes there.
    pub fn printing_to(mut self, outlet: Outlet) -> Project {
        self.outlet = outlet;
        self
    }

    /// As [`Project::printing_to`], of a plan that is in use.
    pub fn print_to(&mut self, outlet: Outlet) {
        self.outlet = outlet;
    }

    pub fn outlet(&self) -> Outlet {
        self.outlet
    }

    /// As [`Project::variable`], of a plan that is in use. `false`: it was so before.
    pub fn set_variable(&mut self, name: &str, value: impl Into<OsString>) -> bool {
        let value = value.into();
        let before = self.environment.insert(name.to_owned(), value.clone());
        before != Some(value)
    }

    /// The plan's name; "test" unless it is set.
    pub fn named(mut self, name: &str) -> Project {
        name.clone_into(&mut self.name);
        self
    }

    /// A key of `[source]`; the value is TOML.
    pub fn source(mut self, key: &str, value: &str) -> Project {
        self.source.insert(key.to_owned(), value.to_owned());
        self
    }

    /// A key of `[target]`; the value is TOML.
    pub fn target(mut self, key: &str, value: &str) -> Project {
        self.target.insert(key.to_owned(), value.to_owned());
        self
    }

    pub fn without_source(mut self, key: &str) -> Project {
        self.source.remove(key);
        self
    }

    pub fn without_target(mut self, key: &str) -> Project {
        self.target.remove(key);
        self
    }

    /// A key of `[parallelism]`.
    pub fn parallelism(mut self, key: &str, value: u32) -> Project {
        self.parallelism.insert(key.to_owned(), value.to_string());
        self
    }

    /// More of the plan file, for its end.
    pub fn with(mut self, toml: &str) -> Project {
        self.rest.push_str(toml);
        self.rest.push('\n');
        self
    }

    /// As [`Project::parallelism`], of a plan that is in use.
    pub fn set_parallelism(&mut self, key: &str, value: u32) {
        self.parallelism.insert(key.to_owned(), value.to_string());
    }

    /// As [`Project::with`], of a plan that is in use: instead of what was added so far.
    pub fn set_rest(&mut self, toml: &str) {
        toml.clone_into(&mut self.rest);
    }

    /// This text and nothing else as the plan file.
    pub fn plan_text(mut self, text: &str) -> Project {
        self.literal = Some(text.to_owned());
        self
    }

    /// The text of the plan file.
    pub fn text(&self) -> String {
        if let Some(text) = &self.literal {
            return text.clone();
        }
        let table = |name: &str, keys: &BTreeMap<String, String>| {
            let lines: String = keys
                .iter()
                .map(|(key, value)| format!("{key} = {value}\n"))
                .collect();
            format!("[{name}]\n{lines}\n")
        };
        let text = [
            format!("name = {}\n\n", string(&self.name)),
            table("source", &self.source),
            table("target", &self.target),
            table("parallelism", &self.parallelism),
            self.rest.clone(),
        ]
        .concat();
        self.accept_unsafe(text)
    }

    /// Accepts that the target's `fsync` is off, in the text of the plan.
    fn accept_unsafe(&self, mut text: String) -> String {
        const TABLE: &str = "[target.tuning]\n";
        if self.keeps_unsafe && !text.contains("found_unsafe") {
            let at = text.find(TABLE).unwrap_or_else(|| {
                text.push_str(&format!("\n{TABLE}"));
                text.len() - TABLE.len()
            });
            text.insert_str(at + TABLE.len(), "found_unsafe = \"keep\"\n");
        }
        text
    }

    pub fn variable(mut self, name: &str, value: impl Into<OsString>) -> Project {
        self.environment.insert(name.to_owned(), value.into());
        self
    }

    pub fn without_variable(mut self, name: &str) -> Project {
        self.environment.remove(name);
        self
    }

    /// The program is started with this file mode creation mask.
    pub fn umask(mut self, mask: u32) -> Project {
        self.umask = Some(mask);
        self
    }

    /// The program is started by `nohup`.
    pub fn under_nohup(mut self) -> Project {
        self.ignores_hangup = true;
        self
    }

    /// The clients of this major version first on PATH.
    pub fn clients(self, major: u32) -> Project {
        let path = place::path_with(&[place::clients(major)]);
        self.variable("PATH", path)
    }

    pub fn directory(&self) -> &Path {
        self.scratch.path()
    }

    pub fn plan_file(&self) -> PathBuf {
        self.directory().join("plan.toml")
    }

    pub fn state_directory(&self) -> PathBuf {
        self.directory().join(".pg-migrate").join(&self.name)
    }

    /// What the journal holds, a record a line. One that a run is about to write to its end is not there yet.
    pub fn journal(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.state_directory().join("journal.jsonl")).unwrap();
        let whole = text.rfind('\n').map_or(0, |end| end + 1);
        text[..whole]
            .lines()
            .map(|line| serde_json::from_str(line).expect("a journal line is JSON"))
            .collect()
    }

    /// Whether the journal, if there is one yet, has a record of this kind (`step-done`) about the step.
    pub fn has(&self, kind: &str, step: &str) -> bool {
        self.state_directory().join("journal.jsonl").exists()
            && self.journal_steps(kind).iter().any(|one| one == step)
    }

    /// The steps that the journal has records of this kind about (`step-started`), in its order.
    pub fn journal_steps(&self, kind: &str) -> Vec<String> {
        let journal = self.journal();
        journal
            .iter()
            .filter_map(|record| record["entry"][kind]["step"].as_str())
            .map(str::to_owned)
            .collect()
    }

    /// What report.json holds.
    pub fn report(&self) -> Value {
        let text = fs::read_to_string(self.state_directory().join("report.json"))
            .expect("a run leaves a report");
        serde_json::from_str(&text).expect("the report is JSON")
    }

    /// Runs `pg-migrate VERB PLAN ARGS…` to its end.
    pub fn run(&self, verb: &[&str]) -> Finished {
        self.start(verb).wait()
    }

    /// Runs it on whatever lies at the plan file's place.
    pub fn run_as_is(&self, verb: &[&str]) -> Finished {
        self.launch(self.with_plan(verb), &[]).wait()
    }

    /// Runs `pg-migrate ARGS…` in the project's directory, to its end.
    pub fn run_without_plan(&self, arguments: &[&str]) -> Finished {
        self.launch(arguments.iter().map(OsString::from).collect(), &[])
            .wait()
    }

    /// Starts `pg-migrate VERB PLAN ARGS…`, without a terminal.
    pub fn start(&self, verb: &[&str]) -> Running {
        self.start_with(verb, &[])
    }

    /// Runs the plan, and sees that it is killed when it reaches the failpoint.
    #[track_caller]
    pub fn killed_at(&self, point: &str) {
        let variables = [("PG_MIGRATE_FAILPOINT", point.as_ref())];
        let killed = self.start_with(&["run"], &variables).wait();
        assert_eq!(killed.signal, Some(9), "{point}: {killed:?}");
    }

    /// As [`Project::start`], with more variables in this run's environment.
    pub fn start_with(&self, verb: &[&str], variables: &[(&str, &OsStr)]) -> Running {
        fs::write(self.plan_file(), self.text()).unwrap();
        self.launch(self.with_plan(verb), variables)
    }

    fn with_plan(&self, verb: &[&str]) -> Vec<OsString> {
        let mut arguments: Vec<OsString> = verb.iter().map(OsString::from).collect();
        arguments.insert(1, self.plan_file().into());
        arguments
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "the tests start the program itself"
    )]
    fn launch(&self, arguments: Vec<OsString>, variables: &[(&str, &OsStr)]) -> Running {
        let output = tempfile::tempdir_in(self.directory()).unwrap();
        let program = env!("CARGO_BIN_EXE_pg-migrate");
        let mut first = Vec::new();
        if let Some(mask) = self.umask {
            first.push(format!("umask {mask:03o}"));
        }
        if self.ignores_hangup {
            first.push("trap '' HUP".to_owned());
        }
        let mut command = if first.is_empty() {
            Command::new(program)
        } else {
            let mut shell = Command::new("sh");
            let script = format!(r#"{}; exec "$0" "$@""#, first.join("; "));
            shell.args(["-c", &script, program]);
            shell
        };
        command
            .args(arguments)
            .current_dir(self.directory())
            .env_clear()
            .envs(&self.environment)
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stdout(File::create(output.path().join("stdout")).unwrap())
            .stderr(File::create(output.path().join("stderr")).unwrap());
        match self.outlet {
            Outlet::Files => {}
            Outlet::GonePipe => {
                let (_, stdout) = std::io::pipe().unwrap();
                let (_, stderr) = std::io::pipe().unwrap();
                command.stdout(stdout).stderr(stderr);
            }
            Outlet::FullDisk => {
                let full = || File::options().write(true).open("/dev/full").unwrap();
                command.stdout(full()).stderr(full());
            }
        }
        Running {
            child: child::spawn(command, Signal::SIGKILL).expect("pg-migrate can be started"),
            output,
        }
    }
}

/// A run under way. Killed when dropped before its end.
pub struct Running {
    child: Child,
    output: tempfile::TempDir,
}

impl Running {
    /// What a terminal sends on Ctrl-C, to the program alone.
    pub fn interrupt(&self) {
        child::send(&self.child, Signal::SIGINT);
    }

    pub fn send(&self, signal: Signal) {
        child::send(&self.child, signal);
    }

    pub fn kill9(&self) {
        child::send(&self.child, Signal::SIGKILL);
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Waits until the condition holds, as long as the run is under way.
    pub fn until(&mut self, what: &str, mut condition: impl FnMut() -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !condition() {
            assert!(
                Instant::now() < deadline && self.is_running(),
                "{what} did not happen while the run was under way:\n{}",
                self.read("stderr")
            );
            sleep(Duration::from_millis(10));
        }
    }

    pub fn wait(mut self) -> Finished {
        let deadline = Instant::now() + PATIENCE;
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(
                Instant::now() < deadline,
                "the run hangs:\n{}",
                self.read("stderr")
            );
            sleep(Duration::from_millis(10));
        };
        Finished {
            code: status.code(),
            signal: status.signal(),
            stdout: self.read("stdout"),
            stderr: self.read("stderr"),
        }
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.output.path().join(name)).expect("output is UTF-8")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// How a run ended and what it said.
#[derive(Debug)]
pub struct Finished {
    /// `None` when a signal ended it.
    pub code: Option<i32>,
    pub signal: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Finished {
    /// Fails the test unless the run ended with this exit code.
    #[track_caller]
    pub fn expect_code(self, code: i32) -> Finished {
        assert_eq!(
            self.code,
            Some(code),
            "exit code (signal {:?})\n--- stdout\n{}\n--- stderr\n{}",
            self.signal,
            self.stdout,
            self.stderr
        );
        self
    }

    /// What it printed anywhere, by [`words`].
    pub fn said(&self) -> String {
        words(&format!("{} {}", self.stdout, self.stderr))
    }

    /// Fails the test unless it said each of these sentences.
    #[track_caller]
    pub fn says(&self, sentences: &[&str]) {
        let said = self.said();
        for sentence in sentences {
            assert!(said.contains(sentence), "{sentence:?} is not in: {said}");
        }
    }

    /// Fails the test unless stderr holds each of these.
    #[track_caller]
    pub fn expect_words(self, words: &[&str]) -> Finished {
        for word in words {
            assert!(
                self.stderr.contains(word),
                "stderr does not mention {word:?}:\n{}",
                self.stderr
            );
        }
        self
    }
}

/// The words of a text, whatever the width of the terminal that it was wrapped for.
pub fn words(text: &str) -> String {
    let words = text.split_whitespace().filter(|word| *word != "│");
    words.collect::<Vec<_>>().join(" ")
}

/// A TOML string.
pub fn string(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

/// A waiver of every finding with the code, for the plan file.
pub fn waiver(code: &str) -> String {
    format!(
        "[[waive]]\ncode = \"{code}\"\nobject = \"*\"\nuntil = 2999-12-31\nreason = \"looked at\"\n"
    )
}

/// As a person copies a state directory, with all that is in it.
#[expect(
    clippy::disallowed_methods,
    reason = "no child of pg-migrate: a person copies the directory"
)]
pub fn copy_directory(from: &Path, to: &Path) {
    fs::create_dir_all(to.parent().unwrap()).unwrap();
    let status = Command::new("cp").arg("-a").args([from, to]).status();
    assert!(status.unwrap().success());
}
