//! Stopped, killed, started twice: the journal knows where it was.

use std::thread::sleep;
use std::time::Duration;

use serde_json::Value;

use crate::support::project::{Project, Running};
use crate::support::proxy::Proxy;
use crate::support::server::{Mode, Server};
use crate::support::watch::command_lines;
use crate::support::{compare, fill};

/// A migration that takes long enough to be interrupted: its source is far away.
struct Slow {
    source: Server,
    target: Server,
    proxy: Proxy,
    project: Project,
    databases: Vec<String>,
}

fn slow() -> Slow {
    let (source, target) = (Server::start(14), Server::start(18));
    let databases = fill::plain(&source, 5, 500);
    let proxy = Proxy::to(source.port());
    proxy.set_delay(Duration::from_millis(15));
    let project = Project::between(&source, &target).source("port", &proxy.port().to_string());
    Slow {
        source,
        target,
        proxy,
        project,
        databases,
    }
}

impl Slow {
    /// Starts the run and waits until a first restore is done and a dump is under way.
    fn half_way(&self) -> Running {
        let mut running = self.project.start(&["run"]);
        let journal = self.project.state_directory().join("journal.jsonl");
        running.until("a restore", || {
            std::fs::read_to_string(&journal).is_ok_and(|text| {
                text.lines()
                    .filter_map(|line| serde_json::from_str::<Value>(line).ok())
                    .filter_map(|record| {
                        let step = record["entry"]["step-done"]["step"].as_str();
                        step.map(str::to_owned)
                    })
                    .any(|step| step.ends_with("/restore"))
            })
        });
        running.until("a dump", || !self.children().is_empty());
        running
    }

    /// Client programs that work for this project.
    fn children(&self) -> Vec<String> {
        let directory = self.project.directory().display().to_string();
        let mut lines = command_lines();
        lines.retain(|line| line.contains("pg_dump") && line.contains(&directory));
        lines
    }

    fn assert_quiet(&self) {
        for _ in 0..100 {
            let sessions = self.source.connections() + self.target.connections();
            if self.children().is_empty() && sessions == 0 {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("left behind: {:#?}", self.children());
    }

    /// A further run ends well and does not do again what was done.
    fn assert_resumes(&self) {
        self.proxy.set_delay(Duration::ZERO);
        let done = self.project.journal_steps("step-done");
        self.project.run(&["run"]).expect_code(0);
        let report = self.project.report();
        assert_eq!(report["outcome"], "completed");
        assert_eq!(report["resumed"], true);
        for database in &self.databases {
            compare::assert_same(&self.source, &self.target, database);
        }
        let all = self.project.journal_steps("step-done");
        for step in done.iter().filter(|step| step.ends_with("/restore")) {
            let times = all.iter().filter(|other| *other == step).count();
            assert_eq!(times, 1, "{step} was done again");
        }
    }
}

#[test]
fn ctrl_c_stops_in_order_and_a_second_run_goes_on() {
    let slow = slow();
    let running = slow.half_way();
    running.interrupt();
    running.wait().expect_code(130);
    slow.assert_quiet();
    let report = slow.project.report();
    assert_eq!(report["outcome"], "interrupted");
    assert_eq!(report["exit_code"], 130);
    slow.assert_resumes();
}

#[test]
fn a_killed_run_leaves_no_children_and_a_second_run_goes_on() {
    let slow = slow();
    let running = slow.half_way();
    running.kill9();
    assert_eq!(running.wait().signal, Some(9));
    slow.assert_quiet();
    slow.assert_resumes();
}

#[test]
fn two_runs_never_share_a_state() {
    let slow = slow();
    let mut running = slow.half_way();
    slow.project.run(&["run"]).expect_code(6);
    assert!(running.is_running());
    // Reading is for everybody, at any time.
    let status = slow
        .project
        .run(&["status", "--format", "json"])
        .expect_code(0);
    let status: Value = serde_json::from_str(&status.stdout).expect("status is JSON");
    assert!(status.to_string().contains("restore"), "{status:#}");
    slow.proxy.set_delay(Duration::ZERO);
    running.wait().expect_code(0);
}

/// A client program that is stopped gets the signal of its parent's death when it is continued.
#[test]
fn client_programs_that_were_stopped_when_their_run_was_killed_are_ended_by_the_next() {
    // Where no process of its session could let a process group go on any more, the kernel does it, and it ends (setpgid(2)):
    // not so below a shell of a container, or here.
    nix::sys::prctl::set_child_subreaper(true).unwrap();
    let slow = slow();
    let mut running = slow.half_way();
    let directory = slow.project.directory().display().to_string();
    let mut stopped = Vec::new();
    // One that was found may end before the signal reaches it.
    running.until("a stopped program", || {
        stopped = stop_processes(&["pg_dump", &directory]);
        sleep(Duration::from_millis(100));
        stopped.retain(|pid| state(*pid) == Some('T'));
        !stopped.is_empty()
    });
    running.kill9();
    assert_eq!(running.wait().signal, Some(9));
    sleep(Duration::from_millis(300));
    assert!(stopped.iter().all(|pid| state(*pid) == Some('T')));
    slow.assert_resumes();
    for pid in stopped {
        // A zombie has ended, and waits for its parent to notice.
        assert!(matches!(state(pid), None | Some('Z')), "{pid} lives on");
    }
}

/// The run's own connections end as well, that which holds the target among them.
#[test]
fn a_restart_of_the_target_is_waited_for() {
    for mode in [Mode::Fast, Mode::Immediate] {
        let mut slow = slow();
        let running = slow.half_way();
        slow.target.restart(mode);
        slow.proxy.set_delay(Duration::ZERO);
        running.wait().expect_code(0);
        for database in &slow.databases {
            compare::assert_same(&slow.source, &slow.target, database);
        }
    }
}

#[test]
fn a_restart_of_the_source_is_waited_for() {
    let mut slow = slow();
    let running = slow.half_way();
    slow.source.restart(Mode::Fast);
    slow.proxy.set_delay(Duration::ZERO);
    running.wait().expect_code(0);
    for database in &slow.databases {
        compare::assert_same(&slow.source, &slow.target, database);
    }
}

/// A server that does not notice that its client is gone keeps the session, with its locks.
#[test]
fn sessions_that_a_killed_run_left_are_ended_and_no_others() {
    let slow = slow();
    let running = slow.half_way();
    running.kill9();
    assert_eq!(running.wait().signal, Some(9));
    slow.assert_quiet();
    let id = std::fs::read_to_string(slow.project.state_directory().join("lock")).unwrap();
    let id = id.trim();
    assert_eq!(id.len(), 8, "{id}");
    let ours = format!("pg-migrate/test/db1/restore#{id}");
    let control = format!("pg-migrate/test/control#{id}");
    let others = "pg-migrate/test/db1/restore#00000000";
    let sessions = [
        linger(&slow.target, "postgres", &ours, "SELECT 1"),
        linger(
            &slow.target,
            "postgres",
            &control,
            "SELECT pg_advisory_lock(1885810029, 1768387169)",
        ),
        linger(&slow.source, "postgres", &ours, "SELECT 1"),
        linger(&slow.target, "template1", others, "SELECT 1"),
        linger(&slow.source, "postgres", others, "SELECT 1"),
    ];
    slow.assert_resumes();
    let alive = sessions.map(|mut session| session.try_wait().unwrap().is_none());
    assert_eq!(alive, [false, false, false, true, true]);
}

/// Stops the processes whose command line holds all of the texts.
fn stop_processes(texts: &[&str]) -> Vec<u32> {
    let mut stopped = Vec::new();
    for entry in std::fs::read_dir("/proc")
        .expect("/proc is mounted")
        .flatten()
    {
        let Some(pid) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        else {
            continue;
        };
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).into_owned();
        if texts.iter().all(|text| line.contains(text)) {
            let process = nix::unistd::Pid::from_raw(i32::try_from(pid).unwrap());
            nix::sys::signal::kill(process, nix::sys::signal::Signal::SIGSTOP).ok();
            stopped.push(pid);
        }
    }
    stopped
}

/// What the process is doing, in the letters of ps; `None`: it is gone.
fn state(process: u32) -> Option<char> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.chars().next()
}

/// A session of this name that has run the statement and is busy.
fn linger(server: &Server, database: &str, name: &str, sql: &str) -> Lingering {
    let session = Lingering(
        server
            .client("psql", database)
            .env("PGAPPNAME", name)
            .args(["-q", "-c", sql, "-c", "SELECT pg_sleep(600)"])
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap(),
    );
    let asleep = format!(
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = '{name}' AND query LIKE '%sleep%'"
    );
    for _ in 0..200 {
        if server.psql("postgres", &asleep) == "1" {
            return session;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("no session {name}");
}

/// Ended with the test.
struct Lingering(std::process::Child);

impl Lingering {
    fn try_wait(&mut self) -> std::io::Result<Option<std::process::ExitStatus>> {
        self.0.try_wait()
    }
}

impl Drop for Lingering {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_cut_connection_is_tried_again() {
    let slow = slow();
    let running = slow.half_way();
    slow.proxy.cut();
    slow.proxy.set_delay(Duration::ZERO);
    running.wait().expect_code(0);
    for database in &slow.databases {
        compare::assert_same(&slow.source, &slow.target, database);
    }
}
