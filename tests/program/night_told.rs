//! What is told before a night, because nobody sees it in time during one.

use std::process::Stdio;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::support::project::Project;
use crate::support::server::{Mode, Server};

fn source() -> Server {
    let source = Server::start(16);
    source.psql("postgres", "CREATE DATABASE erp");
    source
}

/// WAL that cannot be archived stays, and fills the disk of `pg_wal`.
#[test]
fn a_target_that_does_not_archive_its_wal_is_told() {
    let source = source();
    for (command, why) in [
        ("false", "archiving fails, last with the WAL file 0000"),
        ("", "archive_command is empty"),
    ] {
        let target = Server::of(18)
            .set("archive_mode", "on")
            .set("archive_command", command)
            .start();
        target.psql("postgres", "CREATE TABLE t (); DROP TABLE t");
        target.psql("postgres", "SELECT pg_switch_wal()");
        let failed = "SELECT failed_count > 0 FROM pg_stat_archiver";
        let deadline = Instant::now() + Duration::from_secs(60);
        while !command.is_empty() && target.psql("postgres", failed) != "t" {
            assert!(Instant::now() < deadline);
            sleep(Duration::from_millis(100));
        }
        let project = Project::between(&source, &target);
        project
            .run(&["check"])
            .says(&["target/archiver-fails", why]);
        target.psql("postgres", "ALTER SYSTEM SET archive_command = 'true'");
        target.psql("postgres", "SELECT pg_reload_conf()");
        let archived = "SELECT last_archived_time > coalesce(last_failed_time, '-infinity') FROM pg_stat_archiver";
        target.psql("postgres", "CREATE TABLE t (); DROP TABLE t");
        target.psql("postgres", "SELECT pg_switch_wal()");
        while target.psql("postgres", archived) != "t" {
            assert!(Instant::now() < deadline + Duration::from_secs(60));
            sleep(Duration::from_millis(100));
        }
        let said = project.run(&["check"]).expect_code(0).said();
        assert!(!said.contains("archiver"), "{said}");
    }
}

/// Their hashes arrive, and the target's pg_hba.conf does not take them.
#[test]
fn roles_with_md5_passwords_are_told() {
    let (source, target) = (source(), Server::start(18));
    source.psql(
        "postgres",
        "SET password_encryption = 'md5'; CREATE ROLE app LOGIN PASSWORD 'of the app';
         SET password_encryption = 'scram-sha-256'; CREATE ROLE other LOGIN PASSWORD 'of the other'",
    );
    let project = Project::between(&source, &target);
    project.run(&["check"]).says(&[
        "source/md5-passwords",
        "these roles cannot log in where the target's pg_hba.conf asks for scram-sha-256, as lines of it do: \"app\"",
    ]);
    project.run(&["run"]).expect_code(0);
    // What it is about.
    assert!(!target.lets_in("erp", "app", "of the app"));
    assert!(target.lets_in("erp", "other", "of the other"));
    // As advised.
    source.psql("postgres", "ALTER ROLE app PASSWORD 'of the app'");
    let said = project.run(&["check"]).said();
    assert!(!said.contains("md5"), "{said}");
    project.run(&["reset", "--step", "globals"]).expect_code(0);
    project.run(&["run"]).expect_code(0);
    assert!(target.lets_in("erp", "app", "of the app"));
}

/// It may copy the settings for the load.
#[test]
fn a_base_backup_of_the_target_is_told() {
    let source = source();
    let mut target = Server::of(18).durable().start();
    target.stop(Mode::Fast);
    let access = target.data_directory().join("pg_hba.conf");
    let rules = std::fs::read_to_string(&access).unwrap();
    std::fs::write(
        &access,
        format!("{rules}local replication postgres trust\n"),
    )
    .unwrap();
    target.start_again();
    let project = Project::between(&source, &target);
    let directory = project.directory().join("backup");
    let mut backup = target
        .client_of(18, "pg_basebackup", "postgres")
        .arg("--pgdata")
        .arg(&directory)
        .args(["--max-rate=32k", "--checkpoint=fast", "--wal-method=none"])
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let taken = "SELECT count(*) FROM pg_stat_replication WHERE state = 'backup'";
    let deadline = Instant::now() + Duration::from_secs(60);
    while target.psql("postgres", taken) == "0" {
        assert!(Instant::now() < deadline);
        sleep(Duration::from_millis(50));
    }
    project.run(&["check"]).says(&[
        "target/base-backup",
        "a base backup of the target is being taken: a server that is started from it may have what ALTER SYSTEM sets for the load (fsync = off",
    ]);
    backup.kill().unwrap();
    backup.wait().unwrap();
}
