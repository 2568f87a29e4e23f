//! The target's machine went down while it did not wait for the disk, and the state directory that knew of it is lost.

use std::fs;

use crate::support::compare;
use crate::support::project::{Project, waiver};
use crate::support::server::Server;

const DATABASES: &str =
    "SELECT string_agg(datname, ' ' ORDER BY datname) FROM pg_database WHERE NOT datistemplate";

/// As after a reboot of the machine with fsync off; the state directory and the archives are gone.
fn crashed() -> (Server, Server, Project) {
    let (source, target, project) = rebooted();
    lose_state(&project);
    (source, target, project)
}

fn lose_state(project: &Project) {
    fs::remove_dir_all(project.state_directory()).unwrap();
    fs::remove_dir_all(project.directory().join("pg_dumps")).unwrap();
}

/// Another machine's name, in the mark and in the journal.
fn rebooted() -> (Server, Server, Project) {
    let (source, target) = (Server::start(16), Server::of(18).durable().start());
    source.psql("postgres", "CREATE DATABASE erp");
    source.psql("erp", "CREATE TABLE plain AS SELECT 1 AS id");
    let project = Project::between(&source, &target);
    project.killed_at("journal step-started erp/target-counts synced:1");
    target.psql(
        "pg_migrate_mark",
        "UPDATE mark.setting SET machine = '11111111-1111-1111-1111-111111111111', server = '1'",
    );
    let journal = project.state_directory().join("journal.jsonl");
    let text = fs::read_to_string(&journal).unwrap();
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    assert!(text.contains(boot.trim()), "no boot id is on record");
    let other = "11111111-1111-1111-1111-111111111111";
    fs::write(&journal, text.replace(boot.trim(), other)).unwrap();
    (source, target, project)
}

#[test]
fn damage_is_kept_in_the_mark_until_a_person_says_that_the_cluster_is_sound() {
    let (source, target, mut project) = crashed();
    // Before anybody looked.
    let told = project.run(&["check"]).expect_code(3);
    told.says(&["target/crashed-unsafe", "machine was started again"]);
    let told = project.run(&["revert"]).expect_code(4);
    told.says(&["may be damaged", "initdb"]);
    assert_eq!(target.psql("postgres", "SHOW fsync"), "on");
    let told = project.run(&["revert"]).expect_code(3);
    told.says(&["may be damaged", "initdb"]);
    for verb in ["check", "run"] {
        let told = project.run(&[verb]).expect_code(3);
        told.says(&["target/crashed-unsafe", "machine was started again"]);
    }
    let told = project.run(&["discard"]).expect_code(0);
    told.says(&["may be damaged", "initdb"]);
    let told = project.run(&["discard", "--all", "--drop", "erp", "--yes"]);
    let told = told.expect_code(0);
    told.says(&["may be damaged", "initdb"]);
    told.says(&["\"pg_migrate_mark\" stays", "target/crashed-unsafe"]);
    let told = project.run(&["run"]).expect_code(3);
    told.says(&["target/crashed-unsafe", "machine was started again"]);
    // Another plan is on the same cluster.
    let other = Project::between(&source, &target).named("other");
    let told = other.run(&["run"]).expect_code(3);
    told.says(&["target/crashed-unsafe"]);

    project.set_rest(&waiver("target/crashed-unsafe"));
    project.run(&["run"]).expect_code(0);
    compare::assert_same(&source, &target, "erp");
    project.run(&["revert"]).expect_code(0);
    project.run(&["discard", "--all", "--yes"]).expect_code(0);
    assert_eq!(target.psql("postgres", DATABASES), "postgres");
}

/// A person switched the settings back by hand, so that nothing was left to restore.
#[test]
fn settings_that_were_switched_back_by_hand_do_not_hide_the_crash() {
    let (source, target, project) = crashed();
    target.psql("postgres", "ALTER SYSTEM RESET ALL");
    target.psql("postgres", "SELECT pg_reload_conf()");
    let other = Project::between(&source, &target).named("other");
    let told = other.run(&["run"]).expect_code(3);
    told.says(&["target/crashed-unsafe", "machine was started again"]);
    let told = project.run(&["run"]).expect_code(3);
    told.says(&["target/crashed-unsafe", "machine was started again"]);
}

/// What was seen while the mark could not be written to.
#[test]
fn a_mark_that_was_closed_to_revert_is_told_later() {
    for state_is_lost in [true, false] {
        let (source, target, mut project) = rebooted();
        let lets_in = |allowed: bool| {
            let sql = format!("ALTER DATABASE pg_migrate_mark ALLOW_CONNECTIONS {allowed}");
            target.psql("postgres", &sql);
        };
        lets_in(false);
        let told = project.run(&["revert"]).expect_code(4);
        told.says(&["may be damaged", "initdb"]);
        lets_in(true);
        if state_is_lost {
            lose_state(&project);
        } else {
            // The plan goes on, and the others are told.
            project.set_rest(&waiver("target/crashed-unsafe"));
            project.run(&["run"]).expect_code(0);
        }
        let other = Project::between(&source, &target).named("other");
        let told = other.run(&["run"]).expect_code(3);
        told.says(&["target/crashed-unsafe", "machine was started again"]);
    }
}
