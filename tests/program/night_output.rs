//! Output that cannot be written does not decide how a run ends: the exit code is that of the work.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::support::compare;
use crate::support::paused::Paused;
use crate::support::place;
use crate::support::project::{Outlet, Project};
use crate::support::server::Server;

const OUTLETS: [Outlet; 2] = [Outlet::GonePipe, Outlet::FullDisk];

fn servers() -> (Server, Server) {
    let (source, target) = (Server::start(16), Server::of(18).durable().start());
    source.psql("postgres", "CREATE DATABASE erp");
    source.psql(
        "erp",
        "CREATE TABLE t AS SELECT generate_series(1, 100) AS id",
    );
    (source, target)
}

/// Ctrl-C reaches `tee` as well, which ends first.
#[test]
fn ctrl_c_ends_in_order_though_nothing_can_be_printed() {
    for outlet in OUTLETS {
        let (source, target) = servers();
        let project = Project::between(&source, &target).printing_to(outlet);
        let (project, dump) = Paused::of(project, "pg_dump", "/test/erp ");
        let mut running = project.start(&["run"]);
        dump.until_reached(&mut running);
        running.interrupt();
        running.wait().expect_code(130);
        assert_eq!(project.report()["exit_code"], 130, "{outlet:?}");
        assert_eq!(target.psql("postgres", "SHOW fsync"), "on");
        dump.go();
        project.run(&["run"]).expect_code(0);
        compare::assert_same(&source, &target, "erp");
    }
}

/// What was compared, and what was sealed, is so whether or not it could be shown.
#[test]
fn what_was_found_and_done_counts_though_it_cannot_be_printed() {
    let (source, target) = servers();
    let project = Project::between(&source, &target).printing_to(Outlet::FullDisk);
    project.run(&["check"]).expect_code(0);
    project.run(&["plan"]).expect_code(0);
    let stored = fs::read_to_string(project.state_directory().join("plan.json")).unwrap();
    assert!(stored.contains("\"sealed\": true"), "{stored}");
    project.run(&["run"]).expect_code(0);
    project.run(&["verify"]).expect_code(0);
    target.psql("erp", "DELETE FROM t WHERE id = 1");
    project.run(&["verify"]).expect_code(5);
}

/// The report is made of the journal, at any time.
#[test]
fn a_report_that_cannot_be_written_is_said_and_changes_no_exit_code() {
    let (source, target) = servers();
    let project = Project::between(&source, &target);
    let in_the_way = project.state_directory().join("report.json");
    fs::create_dir_all(&in_the_way).unwrap();
    let words = ["the report could not be written"];

    let point = "journal step-done erp/create synced:1";
    project.killed_at(point);
    assert_eq!(target.psql("postgres", "SHOW fsync"), "off");
    project.run(&["revert"]).expect_code(0).expect_words(&words);
    assert_eq!(target.psql("postgres", "SHOW fsync"), "on");

    for _ in ["does it", "has nothing to do"] {
        project.run(&["run"]).expect_code(0).expect_words(&words);
        compare::assert_same(&source, &target, "erp");
    }
    fs::remove_dir(&in_the_way).unwrap();
    let report = project.run(&["report"]).expect_code(0);
    assert!(report.stdout.contains("completed"), "{}", report.stdout);
}

/// Neither our own nor those of the client programs.
#[test]
fn a_log_that_cannot_be_written_is_said_and_stops_nothing() {
    let (source, target) = servers();
    let project = Project::between(&source, &target);
    fs::create_dir_all(project.state_directory()).unwrap();
    fs::write(project.state_directory().join("log"), "in the way").unwrap();
    project
        .run(&["run"])
        .expect_code(0)
        .expect_words(&["warning: there is no log in "]);
    compare::assert_same(&source, &target, "erp");
}

/// The library that reads it complains by itself.
#[test]
fn settings_are_restored_though_no_word_about_the_log_can_be_printed() {
    for outlet in OUTLETS {
        let (source, target) = servers();
        let project = Project::between(&source, &target)
            .printing_to(outlet)
            .variable("RUST_LOG", "no=such=filter");
        let point = "journal step-done erp/create synced:1";
        let killed = project.start_with(&["run"], &[("PG_MIGRATE_FAILPOINT", point.as_ref())]);
        assert_eq!(killed.wait().signal, Some(9), "{outlet:?}");
        assert_eq!(target.psql("postgres", "SHOW fsync"), "off");
        project.run(&["run"]).expect_code(0);
        assert_eq!(target.psql("postgres", "SHOW fsync"), "on");
        compare::assert_same(&source, &target, "erp");
    }
}

/// Client programs say why they ended in their last lines.
#[test]
fn the_cause_of_an_error_is_shown() {
    let (source, target) = servers();
    let project = Project::between(&source, &target);
    let directory = project.directory().join("failing");
    fs::create_dir(&directory).unwrap();
    let (file, clients) = (directory.join("pg_dump"), place::clients(18));
    let script = format!(
        "#!/bin/sh\ncase \" $* \" in *'/test/erp '*)\n  for i in $(seq 40); do echo \"pg_dump: detail: line $i\" >&2; done\n  \
         echo 'pg_dump: error: the cause of it' >&2; exit 1;;\nesac\nexec '{}' \"$@\"\n",
        clients.join("pg_dump").display()
    );
    fs::write(&file, script).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
    let path = place::path_with(&[directory, clients]);
    let project = project.variable("PATH", path);
    project.run(&["run"]).expect_code(4).expect_words(&[
        "erp/dump FAILED",
        "pg_dump ended with exit status 1",
        "pg_dump: error: the cause of it",
    ]);
}
