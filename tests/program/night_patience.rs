//! Servers that are away for a while, in the middle of a night.

use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::support::compare;
use crate::support::paused::Paused;
use crate::support::project::{Project, Running};
use crate::support::server::{Mode, Server};

const IMPATIENT: &str = "[retry]\nattempts = 2\nbackoff = \"100ms\"\nmax_backoff = \"200ms\"\n";
const STILL_SET: &str = "The target still has its settings for the load";

fn servers() -> (Server, Server) {
    let (source, target) = (Server::start(16), Server::of(18).durable().start());
    source.psql("postgres", "CREATE DATABASE erp");
    source.psql(
        "erp",
        "CREATE TABLE t AS SELECT generate_series(1, 100) AS id; CREATE INDEX ON t (id)",
    );
    (source, target)
}

/// A run that is about to restore.
fn about_to_restore(project: Project) -> (Project, Paused, Running) {
    let (project, restore) = Paused::of(project, "pg_restore", "--dbname=");
    let mut running = project.start(&["run"]);
    restore.until_reached(&mut running);
    (project, restore, running)
}

fn fsync(server: &Server) -> String {
    server.psql("postgres", "SHOW fsync")
}

/// By the journal, the step was started.
fn until_started(project: &Project, running: &mut Running, step: &str) {
    running.until("the step", || {
        project
            .journal_steps("step-started")
            .contains(&step.to_owned())
    });
}

/// A fail-over, or a restart for an update.
#[test]
fn a_target_that_is_away_for_half_a_minute_is_waited_for() {
    let (source, mut target) = servers();
    let project = Project::between(&source, &target);
    let (_project, restore, running) = about_to_restore(project);
    target.stop(Mode::Fast);
    restore.go();
    sleep(Duration::from_secs(25));
    target.start_again();
    running.wait().expect_code(0);
    assert_eq!(fsync(&target), "on");
    compare::assert_same(&source, &target, "erp");
}

/// A step is given up before the target is back, and restoring its settings is not.
#[test]
fn restoring_settings_is_tried_for_longer_than_a_step() {
    let (source, mut target) = servers();
    let project = Project::between(&source, &target).with(IMPATIENT);
    let (project, restore, mut running) = about_to_restore(project);
    target.stop(Mode::Fast);
    restore.go();
    until_started(&project, &mut running, "restore-settings");
    sleep(Duration::from_secs(4));
    assert!(running.is_running(), "it does not wait");
    target.start_again();
    let finished = running.wait().expect_code(4);
    assert!(!finished.stdout.contains(STILL_SET), "{}", finished.stdout);
    assert_eq!(fsync(&target), "on");
    project.run(&["run"]).expect_code(0);
    compare::assert_same(&source, &target, "erp");
}

#[test]
fn the_patience_for_settings_is_the_plans_and_its_end_is_said_first() {
    let (source, mut target) = servers();
    let plan = format!("{IMPATIENT}restore_settings = \"1s\"\n");
    let project = Project::between(&source, &target).with(&plan);
    let (project, restore, running) = about_to_restore(project);
    target.stop(Mode::Fast);
    restore.go();
    let finished = running.wait().expect_code(4);
    assert!(
        finished.stdout.starts_with(STILL_SET),
        "{}",
        finished.stdout
    );
    assert!(
        finished.stdout.contains("retry.restore_settings"),
        "{}",
        finished.stdout
    );
    let refused = project.run(&["revert"]).expect_code(3);
    assert!(
        refused.stderr.contains("still has its settings"),
        "{}",
        refused.stderr
    );
    target.start_again();
    assert_eq!(fsync(&target), "off");
    project.run(&["revert"]).expect_code(0);
    assert_eq!(fsync(&target), "on");
}

/// Whoever wants to go home is let go, and told.
#[test]
fn a_second_signal_gives_restoring_up() {
    let (source, mut target) = servers();
    let project = Project::between(&source, &target).with(IMPATIENT);
    let (project, restore, mut running) = about_to_restore(project);
    target.stop(Mode::Fast);
    restore.go();
    until_started(&project, &mut running, "restore-settings");
    running.interrupt();
    sleep(Duration::from_secs(2));
    assert!(running.is_running(), "one signal gave it up");
    let asked = Instant::now();
    running.interrupt();
    let finished = running.wait().expect_code(130);
    assert!(asked.elapsed() < Duration::from_secs(20));
    assert!(
        finished.stdout.starts_with(STILL_SET),
        "{}",
        finished.stdout
    );
    for verb in ["revert", "run"] {
        let running = project.start(&[verb]);
        sleep(Duration::from_secs(2));
        let asked = Instant::now();
        running.interrupt();
        let finished = running.wait().expect_code(130);
        assert!(asked.elapsed() < Duration::from_secs(20));
        finished.expect_words(&["not yet", "SIGINT received", "still those for the load"]);
    }
    target.start_again();
    project.run(&["run"]).expect_code(0);
    assert_eq!(fsync(&target), "on");
    compare::assert_same(&source, &target, "erp");
}

#[test]
fn a_target_that_is_away_is_waited_for_before_anything_else() {
    for verb in ["revert", "run"] {
        let (source, mut target) = servers();
        let project = Project::between(&source, &target).with(IMPATIENT);
        let (project, restore, running) = about_to_restore(project);
        running.kill9();
        running.wait();
        restore.go();
        target.stop(Mode::Fast);
        let mut running = project.start(&[verb]);
        sleep(Duration::from_secs(4));
        assert!(running.is_running(), "{verb} does not wait");
        target.start_again();
        running.wait().expect_code(0);
        assert_eq!(fsync(&target), "on", "{verb}");
    }
}
