//! Stopped, killed, started twice: the journal knows where it was.

use std::time::Duration;

use serde_json::Value;

use crate::support::project::{Project, Running};
use crate::support::proxy::Proxy;
use crate::support::server::Server;
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
