//! The mark as a witness: a target in an older state, a mark that is gone or another role's, a database that is open too early.

use std::fs;

use crate::support::compare;
use crate::support::fill::slow_index;
use crate::support::paused::Paused;
use crate::support::project::{Project, copy_directory, waiver};
use crate::support::server::{Mode, Server};

const UNTUNED: &str = "[target.tuning]\nmode = \"off\"\n";

fn source() -> Server {
    source_of(16)
}

fn source_of(major: u32) -> Server {
    let source = Server::start(major);
    source.psql("postgres", "CREATE DATABASE erp");
    source.psql(
        "erp",
        "CREATE TABLE plain AS SELECT n AS id FROM generate_series(1, 100) n",
    );
    source
}

/// The target is put back to before the restore, and then others write more to it than it lost: its WAL is ahead of what was seen.
#[test]
fn a_target_that_was_put_back_and_written_to_since_is_noticed_by_its_mark() {
    let (source, mut target) = (source(), Server::start(18));
    let mut project = Project::between(&source, &target).with(UNTUNED);
    project.killed_at("journal step-started erp/restore synced:1");
    target.stop(Mode::Fast);
    let earlier = target.copied();
    target.start_again();
    project.run(&["run"]).expect_code(0);
    target.stop(Mode::Fast);
    target.take_data_of(&earlier);
    target.start_again();
    for _ in 0..3 {
        target.psql("postgres", "CREATE TABLE more (); DROP TABLE more");
        target.psql("postgres", "SELECT pg_switch_wal()");
    }
    for verb in ["check", "run"] {
        let told = project.run(&[verb]).expect_code(3);
        told.says(&["target/went-back", "its mark ends with change"]);
    }
    // As advised, where it was meant so.
    project
        .run(&["reset", "--database", "erp", "--drop", "erp"])
        .expect_code(0);
    project.set_rest(&format!("{UNTUNED}{}", waiver("target/went-back")));
    target.psql("postgres", "DROP DATABASE erp");
    project.run(&["run"]).expect_code(0);
    compare::assert_same(&source, &target, "erp");
    project.set_rest(UNTUNED);
    source.psql("postgres", "CREATE DATABASE crm");
    project.run(&["run"]).expect_code(0);
}

/// A person drops the mark, and the state directory is put back to before the restore: what clients wrote is not dropped.
#[test]
fn without_its_mark_an_older_state_directory_drops_nothing() {
    let (source, target) = (source(), Server::start(18));
    source.psql("erp", &slow_index(200));
    let mut project = Project::between(&source, &target).with(UNTUNED);
    let mut run = project.start(&["run"]);
    run.until("the restore", || project.has("step-started", "erp/restore"));
    let saved = project.directory().join("saved");
    copy_directory(&project.state_directory(), &saved);
    run.wait().expect_code(0);
    target.psql("erp", "INSERT INTO plain VALUES (1000)");
    target.psql("postgres", "DROP DATABASE pg_migrate_mark");
    fs::remove_dir_all(project.state_directory()).unwrap();
    copy_directory(&saved, &project.state_directory());
    let told = project.run(&["run"]).expect_code(3);
    told.says(&["target/mark-gone", "target/opened"]);
    project.set_rest(&format!("{UNTUNED}{}", waiver("target/mark-gone")));
    let told = project.run(&["run"]).expect_code(3);
    told.says(&["target/opened"]);
    assert_eq!(target.psql("erp", "SELECT count(*) FROM plain"), "101");
}

/// A person lets others in before the database is done, and takes that back.
#[test]
fn a_database_that_a_person_opened_too_early_is_told() {
    let (source, target) = (source(), Server::start(18));
    let project = Project::between(&source, &target).with(UNTUNED);
    project.killed_at("journal step-started erp/restore synced:1");
    target.psql("postgres", "GRANT CONNECT ON DATABASE erp TO PUBLIC");
    for verb in ["check", "run"] {
        project.run(&[verb]).expect_code(3).says(&["target/opened"]);
    }
    target.psql("postgres", "REVOKE CONNECT ON DATABASE erp FROM PUBLIC");
    project.run(&["run"]).expect_code(0);
    compare::assert_same(&source, &target, "erp");
}

/// Killed before the object id of what it created was on record; a person makes another of the name, and lets nobody in yet.
#[test]
fn what_a_person_made_in_place_of_ours_and_closed_is_not_dropped() {
    for (from, to) in [(12, 12), (16, 18)] {
        let (source, target) = (source_of(from), Server::start(to));
        let project = Project::between(&source, &target).with(UNTUNED);
        project.killed_at("journal created-database erp before:1");
        // As it was left, it is this plan's.
        project.killed_at("journal created-database erp before:1");
        target.psql("postgres", "DROP DATABASE erp");
        target.psql("postgres", "CREATE DATABASE erp");
        target.psql(
            "erp",
            "CREATE TABLE theirs AS SELECT generate_series(1, 20) AS id",
        );
        target.psql("postgres", "ALTER DATABASE erp ALLOW_CONNECTIONS false");
        let told = project.run(&["run"]).expect_code(4);
        told.says(&["nobody may connect to it", "it was left as it is"]);
        target.psql("postgres", "ALTER DATABASE erp ALLOW_CONNECTIONS true");
        assert_eq!(target.psql("erp", "SELECT count(*) FROM theirs"), "20");
        // As advised.
        target.psql("postgres", "ALTER DATABASE erp RENAME TO theirs");
        project.run(&["run"]).expect_code(0);
        compare::assert_same(&source, &target, "erp");
    }
}

/// A server that does not tell its history to our role: nobody but the target's mark would notice that it was put back.
#[test]
fn a_server_that_does_not_tell_its_history_is_told() {
    let (source, target) = (source(), Server::start(18));
    for server in [&source, &target] {
        server.psql(
            "postgres",
            "CREATE ROLE mover LOGIN PASSWORD 'of the mover' NOSUPERUSER CREATEDB IN ROLE pg_monitor; \
             REVOKE EXECUTE ON FUNCTION pg_current_wal_flush_lsn() FROM PUBLIC",
        );
    }
    // Privileges on functions are those of each database.
    let function = "ON FUNCTION pg_current_wal_flush_lsn()";
    for database in ["erp", "template1"] {
        source.psql(database, &format!("REVOKE EXECUTE {function} FROM PUBLIC"));
    }
    let project = Project::between(&source, &target)
        .source("user", "\"mover\"")
        .target("user", "\"mover\"")
        .variable("SOURCE_PASSWORD", "of the mover")
        .variable("TARGET_PASSWORD", "of the mover")
        .with("[globals]\nmigrate = false\n[target.tuning]\nmode = \"off\"\n");
    let told = project.run(&["check"]);
    told.says(&[
        "source/no-history",
        "target/no-history",
        "GRANT EXECUTE ON FUNCTION",
    ]);
    for server in [&source, &target] {
        server.psql(
            "postgres",
            "GRANT EXECUTE ON FUNCTION pg_current_wal_flush_lsn() TO mover",
        );
    }
    source.psql("erp", &format!("GRANT EXECUTE {function} TO mover"));
    let told = project.run(&["check"]);
    assert!(!told.said().contains("no-history"), "{}", told.said());
}

/// The standby that took over is another machine: it waited for its disk.
#[test]
fn a_standby_that_took_over_is_not_called_damaged() {
    let (source, mut target) = (source(), Server::of(18).durable().start());
    let standby = target.standby();
    let project = Project::between(&source, &target)
        .with("[retry]\nattempts = 2\nbackoff = \"100ms\"\nrestore_settings = \"5s\"\n");
    project.killed_at("journal step-started erp/restore synced:1");
    standby.catch_up(&target);
    target.stop(Mode::Fast);
    standby.promote();
    // All servers of the tests are on one machine: as the old one's was recorded.
    let journal = project.state_directory().join("journal.jsonl");
    let text = fs::read_to_string(&journal).unwrap();
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    assert!(text.contains(boot.trim()), "no boot id is on record");
    let other = "00000000-0000-0000-0000-000000000000";
    fs::write(&journal, text.replace(boot.trim(), other)).unwrap();
    let project = project.target("port", &standby.port().to_string());
    let told = project.run(&["revert"]).expect_code(0);
    told.says(&["the server that was the target before still has them"]);
    assert!(!told.said().contains("initdb"), "{}", told.said());
    let told = project.run(&["run"]);
    assert!(!told.said().contains("crashed-unsafe"), "{}", told.said());
}

/// Every command says that the target is unsafe, and `revert` needs no mark to make it safe.
#[test]
fn what_is_unsafe_is_said_by_every_command_and_restored_without_the_mark() {
    let (source, target) = (source(), Server::of(18).durable().start());
    let project = Project::between(&source, &target);
    project.killed_at("journal step-started erp/target-counts synced:1");
    let told = project.run(&["verify"]);
    told.says(&["target/still-tuned", "fsync"]);
    let told = project.run(&["reset", "--step", "target-counts"]);
    told.says(&["still has its settings for the load", "fsync"]);
    target.psql(
        "postgres",
        "ALTER DATABASE pg_migrate_mark ALLOW_CONNECTIONS false",
    );
    project.run(&["revert"]).expect_code(0);
    assert_eq!(target.psql("postgres", "SHOW fsync"), "on");
    target.psql(
        "postgres",
        "ALTER DATABASE pg_migrate_mark ALLOW_CONNECTIONS true",
    );
    // The mark learns of it.
    project.run(&["revert"]).expect_code(0);
    // Not by this plan, as far as anything says.
    target.psql("postgres", "ALTER SYSTEM SET fsync = off");
    target.psql("postgres", "SELECT pg_reload_conf()");
    let told = project.run(&["revert"]).expect_code(3);
    told.says(&["nothing on record to restore", "fsync"]);
    target.psql("postgres", "ALTER SYSTEM RESET fsync");
    target.psql("postgres", "SELECT pg_reload_conf()");
    project.run(&["revert"]).expect_code(0);
    project.run(&["run"]).expect_code(0);
    compare::assert_same(&source, &target, "erp");
}

/// What the mark has of settings that were restored while it was closed is not believed any more.
#[test]
fn settings_that_were_restored_without_the_mark_are_the_owners() {
    let (source, target) = (source(), Server::of(18).durable().start());
    let project = Project::between(&source, &target);
    project.killed_at("journal step-started erp/target-counts synced:1");
    let lets_in = |allowed: bool| {
        let sql = format!("ALTER DATABASE pg_migrate_mark ALLOW_CONNECTIONS {allowed}");
        target.psql("postgres", &sql);
    };
    lets_in(false);
    project.run(&["revert"]).expect_code(0);
    lets_in(true);
    let rows = "SELECT count(*) FROM mark.setting";
    assert_ne!(target.psql("pg_migrate_mark", rows), "0");
    for setting in ["fsync = off", "checkpoint_timeout = '1h'"] {
        target.psql("postgres", &format!("ALTER SYSTEM SET {setting}"));
    }
    target.psql("postgres", "SELECT pg_reload_conf()");
    let told = project.run(&["revert"]).expect_code(3);
    told.says(&["nothing on record to restore", "fsync"]);
    assert_eq!(target.psql("postgres", "SHOW fsync"), "off");
    assert_eq!(target.psql("postgres", "SHOW checkpoint_timeout"), "1h");
    // Nor does the next run leave them there for one whose state directory is lost.
    target.psql("postgres", "ALTER SYSTEM RESET fsync");
    target.psql("postgres", "SELECT pg_reload_conf()");
    project.killed_at("journal step-started erp/target-counts synced:1");
    fs::remove_dir_all(project.state_directory()).unwrap();
    project.run(&["revert"]).expect_code(0);
    assert_eq!(target.psql("postgres", "SHOW checkpoint_timeout"), "1h");
    assert_eq!(target.psql("postgres", "SHOW fsync"), "on");
}

/// A job drops databases that it does not know. What that means is for a person, now and not before the next run.
#[test]
fn a_mark_that_is_dropped_during_the_run_fails_it() {
    let (source, target) = (Server::start(16), Server::start(18));
    source.psql("postgres", "CREATE DATABASE erp");
    source.psql("erp", "CREATE TABLE t AS SELECT 1 AS id");
    let project = Project::between(&source, &target).with(UNTUNED);
    let (mut project, restore) = Paused::of(project, "pg_restore", "erp");
    let mut running = project.start(&["run"]);
    restore.until_reached(&mut running);
    target.psql("postgres", "DROP DATABASE pg_migrate_mark WITH (FORCE)");
    restore.go();
    let told = running.wait().expect_code(4);
    told.says(&["the target's mark (database pg_migrate_mark) was dropped during the run"]);
    let warnings = project.report()["server"]["warnings"].to_string();
    assert!(warnings.contains("pg_migrate_mark"), "{warnings}");
    // All else was done, and is told to be without a witness.
    compare::assert_same(&source, &target, "erp");
    project
        .run(&["run"])
        .expect_code(3)
        .says(&["target/mark-gone"]);
    project.set_rest(&format!("{UNTUNED}{}", waiver("target/mark-gone")));
    project.run(&["run"]).expect_code(0);
    project.set_rest(UNTUNED);
    project.run(&["run"]).expect_code(0);
}
