//! Terminals that are closed over night.

use std::thread::sleep;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::support::compare;
use crate::support::paused::Paused;
use crate::support::project::{Project, Running};
use crate::support::server::Server;

/// A migration in the middle of a dump.
struct Waiting {
    source: Server,
    target: Server,
    project: Project,
    dump: Paused,
}

fn waiting(prepare: impl FnOnce(Project) -> Project) -> (Waiting, Running) {
    let (source, target) = (Server::start(16), Server::of(18).durable().start());
    source.psql("postgres", "CREATE DATABASE erp");
    source.psql(
        "erp",
        "CREATE TABLE t AS SELECT generate_series(1, 100) AS id",
    );
    let project = prepare(Project::between(&source, &target));
    let (project, dump) = Paused::of(project, "pg_dump", "/test/erp ");
    let mut running = project.start(&["run"]);
    dump.until_reached(&mut running);
    let waiting = Waiting {
        source,
        target,
        project,
        dump,
    };
    (waiting, running)
}

/// Whoever starts a load with `nohup` wants it to outlive the terminal.
#[test]
fn a_hang_up_that_was_ignored_at_the_start_stays_ignored() {
    let (waiting, mut running) = waiting(Project::under_nohup);
    running.send(Signal::SIGHUP);
    sleep(Duration::from_secs(1));
    assert!(running.is_running(), "the run ended with its terminal");
    waiting.dump.go();
    let finished = running.wait().expect_code(0);
    assert!(!finished.stderr.contains("stopping"), "{}", finished.stderr);
    compare::assert_same(&waiting.source, &waiting.target, "erp");
}

/// It still ends by the other signals.
#[test]
fn what_nohup_started_ends_by_other_signals() {
    let (waiting, running) = waiting(Project::under_nohup);
    running.send(Signal::SIGHUP);
    running.send(Signal::SIGTERM);
    running
        .wait()
        .expect_code(143)
        .expect_words(&["SIGTERM received"]);
    assert_eq!(waiting.target.psql("postgres", "SHOW fsync"), "on");
}

#[test]
fn a_hang_up_is_called_by_its_name() {
    let (waiting, running) = waiting(|project| project);
    running.send(Signal::SIGHUP);
    let finished = running
        .wait()
        .expect_code(143)
        .expect_words(&["SIGHUP received"]);
    assert!(!finished.stderr.contains("SIGTERM"), "{}", finished.stderr);
    assert_eq!(waiting.target.psql("postgres", "SHOW fsync"), "on");
    waiting.dump.go();
    waiting.project.run(&["run"]).expect_code(0);
    compare::assert_same(&waiting.source, &waiting.target, "erp");
}
