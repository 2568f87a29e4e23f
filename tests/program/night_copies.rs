//! The target is backed up while its settings are those for the load: the copy has them for good.

use std::fs::File;
use std::io::Write;
use std::process::{Child, Stdio};
use std::thread::sleep;
use std::time::Duration;

use crate::support::compare;
use crate::support::held::Held;
use crate::support::paused::Paused;
use crate::support::project::{Finished, Project, waiver};
use crate::support::server::Server;

/// A base backup that is sent slowly, as by an agent of this name. The server is let send any.
fn base_backup(server: &Server, agent: &str) -> Child {
    let file = server.data_directory().join("pg_hba.conf");
    let mut access = File::options().append(true).open(file).unwrap();
    writeln!(access, "local replication postgres trust").unwrap();
    server.psql("postgres", "SELECT pg_reload_conf()");
    let connection = format!("dbname=postgres replication=true application_name={agent}");
    server
        .client("psql", "postgres")
        .args(["-XqAt", "-d", &connection, "-c"])
        .arg("BASE_BACKUP (LABEL 'nightly', CHECKPOINT 'fast', MAX_RATE 1024)")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

/// A run that waits before its restore, while a base backup is sent for some looks.
fn backed_up_during(project: Project, target: &Server) -> (Project, Finished) {
    let (project, restore) = Paused::of(project, "pg_restore", "shop");
    let mut running = project.start(&["run"]);
    restore.until_reached(&mut running);
    let mut backup = base_backup(target, "nightly");
    let sending = "SELECT count(*) FROM pg_stat_replication WHERE state = 'backup'";
    running.until("the backup", || target.psql("postgres", sending) == "1");
    sleep(Duration::from_secs(3));
    backup.kill().unwrap();
    backup.wait().unwrap();
    restore.go();
    let finished = running.wait().expect_code(0);
    (project, finished)
}

fn servers() -> (Server, Server) {
    let source = Server::start(16);
    source.psql("postgres", "CREATE DATABASE shop");
    source.psql("shop", "CREATE TABLE stock AS SELECT 1 AS n");
    (source, Server::of(18).durable().start())
}

#[test]
fn a_copy_of_the_target_that_is_begun_during_the_load_is_told() {
    let (source, target) = servers();
    let (project, told) = backed_up_during(Project::between(&source, &target), &target);
    told.says(&[
        "a copy of the target was begun at ",
        "(nightly) while autovacuum, fsync, full_page_writes were off",
        "ALTER SYSTEM RESET what was set for the load",
    ]);
    let warnings = project.report()["server"]["warnings"].to_string();
    assert_eq!(
        warnings.matches("a copy of the target").count(),
        1,
        "{warnings}"
    );
    compare::assert_same(&source, &target, "shop");
}

/// Its `postgresql.auto.conf` is as its owner left it.
#[test]
fn a_copy_of_a_target_whose_settings_stay_is_none_of_ours() {
    let (source, target) = servers();
    let project = Project::between(&source, &target).with("[target.tuning]\nmode = \"off\"\n");
    let (_, finished) = backed_up_during(project, &target);
    assert!(
        !finished.said().contains("a copy of the target"),
        "{}",
        finished.said()
    );
}

/// Takes what an agent calls a backup, without the replication protocol.
fn backup_by_statements(target: &Server, label: &str) {
    target.psql(
        "postgres",
        &format!(
            "SELECT pg_backup_start('{label}', fast => true); SELECT pg_backup_stop(wait_for_archive => false)"
        ),
    );
}

#[test]
fn a_backup_that_a_program_takes_by_statements_is_told() {
    let source = servers().0;
    let target = Server::of(18)
        .durable()
        .set("archive_mode", "on")
        .set("archive_command", "'exit 1'")
        .start();
    backup_by_statements(&target, "evening");
    sleep(Duration::from_secs(1));
    let waived = waiver("target/archiver-fails");
    let (project, restore) = Paused::of(
        Project::between(&source, &target).with(&waived),
        "pg_restore",
        "shop",
    );
    let mut running = project.start(&["run"]);
    restore.until_reached(&mut running);
    backup_by_statements(&target, "midnight");
    let longer = Held::begin(
        &target,
        "postgres",
        "COMMIT; SELECT pg_backup_start('longer', true)",
    );
    restore.go();
    let finished = running.wait().expect_code(0);
    finished.says(&[
        "a backup of the target ended while fsync or full_page_writes was off for the load (\"midnight\", begun at ",
        "a backup of the target is under way that began with its settings for the load",
    ]);
    drop(longer);
    assert!(!finished.said().contains("evening"), "{}", finished.said());
    compare::assert_same(&source, &target, "shop");
}

/// Nobody looks for copies after a run that was killed.
#[test]
fn settings_that_a_killed_run_left_are_told_for_what_was_copied_meanwhile() {
    let (source, target) = servers();
    let project = Project::between(&source, &target);
    project.killed_at("journal step-started shop/restore synced:1");
    let finished = project.run(&["run"]).expect_code(0);
    finished.says(&[
        "the target was left with its settings for the load by a run that did not end (fsync, full_page_writes, autovacuum off)",
    ]);
    let warnings = project.report()["server"]["warnings"].to_string();
    assert!(warnings.contains("a snapshot of its disks"), "{warnings}");
    compare::assert_same(&source, &target, "shop");
    let finished = project.run(&["run"]).expect_code(0);
    assert!(
        !finished.said().contains("was left with"),
        "{}",
        finished.said()
    );
}
