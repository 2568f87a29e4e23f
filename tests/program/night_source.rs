//! The night around a run, on the side of the source: what a snapshot is worth there.

use std::thread::sleep;
use std::time::Duration;

use crate::support::compare;
use crate::support::held::Held;
use crate::support::paused::Paused;
use crate::support::project::{Project, Running, words};
use crate::support::server::{Server, literal};

fn fill(source: &Server) {
    source.psql("postgres", "CREATE DATABASE erp");
    source.psql(
        "erp",
        "CREATE TABLE t AS SELECT generate_series(1, 100) AS id",
    );
}

/// Sessions that imported a snapshot read what vacuum left, and are told nothing.
#[test]
fn a_source_that_gives_up_old_snapshots_is_refused_unless_nobody_writes_to_it() {
    let target = Server::start(18);
    for major in [10, 16] {
        let source = Server::of(major)
            .set("old_snapshot_threshold", "1min")
            .start();
        fill(&source);
        let project = Project::between(&source, &target).named(&format!("from{major}"));
        let said = words(&project.run(&["run"]).expect_code(3).stderr);
        assert!(said.contains("source/old-snapshots"), "{said}");
        assert!(said.contains("old_snapshot_threshold is 1 min"), "{said}");
        assert!(said.contains("/postgresql.conf, line "), "{said}");
        assert!(said.contains("source.read_only = true"), "{said}");
        // What it says.
        let project = project.source("read_only", "true");
        project.run(&["run"]).expect_code(0);
        compare::assert_same(&source, &target, "erp");
        target.psql("postgres", "DROP DATABASE erp");
    }
}

/// A standby that stopped replaying shows yesterday, and everything agrees about it.
#[test]
fn a_standby_that_does_not_follow_is_refused() {
    let mut primary = Server::start(16);
    fill(&primary);
    let standby = primary.standby();
    let target = Server::start(18);
    standby.psql("postgres", "SELECT pg_wal_replay_pause()");
    primary.psql("erp", "INSERT INTO t VALUES (101)");
    let project = Project::between(&standby, &target).with("[globals]\nmigrate = true\n");
    let said = words(&project.run(&["run"]).expect_code(3).stderr);
    assert!(
        said.contains("source/stale") && said.contains("its replay is paused"),
        "{said}"
    );
    // What it says.
    standby.psql("postgres", "SELECT pg_wal_replay_resume()");
    standby.catch_up(&primary);
    project.run(&["run"]).expect_code(0);
    assert_eq!(target.psql("erp", "SELECT count(*) FROM t"), "101");
}

/// It streams, and a report keeps it from replaying, for as long as it likes.
#[test]
fn a_standby_whose_replay_waits_for_a_query_is_refused() {
    let mut primary = Server::start(16);
    fill(&primary);
    let standby = primary.standby();
    let target = Server::start(18);
    standby.psql(
        "postgres",
        "ALTER SYSTEM SET max_standby_streaming_delay = -1",
    );
    standby.psql("postgres", "SELECT pg_reload_conf()");
    let report = Held::begin(
        &standby,
        "erp",
        "DECLARE report CURSOR FOR TABLE t; MOVE FORWARD 1 IN report",
    );
    // What the report may still read.
    primary.psql("erp", "DELETE FROM t");
    primary.psql("erp", "VACUUM (TRUNCATE off) t");
    primary.psql("erp", "INSERT INTO t VALUES (101)");
    let project = Project::between(&standby, &target);
    let said = words(&project.run(&["run"]).expect_code(3).stderr);
    assert!(
        said.contains("source/stale") && said.contains("its replay stands still, and "),
        "{said}"
    );
    // What it says.
    drop(report);
    standby.catch_up(&primary);
    project.run(&["run"]).expect_code(0);
    assert_eq!(
        target.psql("erp", "SELECT string_agg(id::text, ' ') FROM t"),
        "101"
    );
}

/// A run from a standby that waits before its first snapshot.
fn before_the_snapshot(standby: &Server, target: &Server) -> (Project, Running, Paused) {
    let (project, globals) = Paused::of(
        Project::between(standby, target),
        "pg_dumpall",
        "--globals-only",
    );
    let mut running = project.start(&["run"]);
    globals.until_reached(&mut running);
    (project, running, globals)
}

/// Lets it go on, and sees that it takes no snapshot.
fn takes_none(project: &Project, running: &mut Running, globals: &Paused) {
    globals.go();
    running.until("the globals", || project.has("step-done", "globals"));
    sleep(Duration::from_secs(3));
    assert!(!project.has("step-done", "erp/source-counts"));
    assert!(!project.has("step-done", "erp/dump"));
}

/// It followed when the run began. What the primary committed before a snapshot is in it.
#[test]
fn a_snapshot_waits_until_the_standby_has_replayed() {
    let mut primary = Server::start(16);
    fill(&primary);
    let standby = primary.standby();
    let target = Server::start(18);
    let (project, mut running, globals) = before_the_snapshot(&standby, &target);
    standby.psql("postgres", "SELECT pg_wal_replay_pause()");
    primary.psql("erp", "INSERT INTO t VALUES (101)");
    takes_none(&project, &mut running, &globals);
    standby.psql("postgres", "SELECT pg_wal_replay_resume()");
    running.wait().expect_code(0);
    assert_eq!(target.psql("erp", "SELECT count(*) FROM t"), "101");
}

/// The line to the primary breaks after the first look; the snapshot would be of then.
#[test]
fn a_snapshot_waits_until_the_standby_streams_again() {
    let mut primary = Server::start(16);
    fill(&primary);
    let standby = primary.standby();
    let target = Server::start(18);
    let (project, mut running, globals) = before_the_snapshot(&standby, &target);
    let line = standby.psql("postgres", "SHOW primary_conninfo");
    standby.stop_following();
    primary.psql("erp", "INSERT INTO t VALUES (101)");
    takes_none(&project, &mut running, &globals);
    let set = format!("ALTER SYSTEM SET primary_conninfo = {}", literal(&line));
    standby.psql("postgres", &set);
    standby.psql("postgres", "SELECT pg_reload_conf()");
    running.wait().expect_code(0);
    assert_eq!(target.psql("erp", "SELECT count(*) FROM t"), "101");
}

/// A standby counts nothing that its primary writes.
#[test]
fn writes_to_the_primary_of_a_read_only_standby_are_told() {
    let mut primary = Server::start(16);
    fill(&primary);
    let standby = primary.standby();
    let target = Server::start(18);
    let project = Project::between(&standby, &target).source("read_only", "true");
    project.killed_at("journal step-done erp/dump synced:1");
    primary.psql("erp", "INSERT INTO t VALUES (101)");
    standby.catch_up(&primary);
    let told = project.run(&["run"]).expect_code(0);
    told.says(&["transactions were committed on the primary since the run that dumped it began"]);
}

/// Pages that cannot be read are left out by dump and counts alike.
#[test]
fn a_source_that_passes_over_damage_is_refused() {
    let (source, target) = (Server::start(16), Server::start(18));
    fill(&source);
    source.psql("postgres", "ALTER SYSTEM SET zero_damaged_pages = on");
    source.psql("postgres", "SELECT pg_reload_conf()");
    let project = Project::between(&source, &target);
    let said = words(&project.run(&["run"]).expect_code(3).stderr);
    assert!(said.contains("source/hides-damage"), "{said}");
    assert!(
        said.contains("zero_damaged_pages (by ALTER SYSTEM"),
        "{said}"
    );
    source.psql("postgres", "ALTER SYSTEM RESET zero_damaged_pages");
    source.psql("postgres", "SELECT pg_reload_conf()");
    // A database's or a role's own are those of our sessions.
    for whose in [
        "DATABASE erp",
        "ROLE postgres",
        "ROLE postgres IN DATABASE erp",
    ] {
        source.psql(
            "postgres",
            &format!("ALTER {whose} SET ignore_checksum_failure = on"),
        );
        let said = words(&project.run(&["check"]).expect_code(3).stdout);
        assert!(
            said.contains("source/hides-damage")
                && said.contains("ignore_checksum_failure (by ALTER "),
            "{said}"
        );
        source.psql(
            "postgres",
            &format!("ALTER {whose} RESET ignore_checksum_failure"),
        );
    }
    project.run(&["run"]).expect_code(0);
    compare::assert_same(&source, &target, "erp");
}

/// Their rows are in no snapshot.
#[test]
fn prepared_transactions_are_told() {
    let (source, target) = (
        Server::of(16)
            .set("max_prepared_transactions", "10")
            .start(),
        Server::start(18),
    );
    fill(&source);
    source.psql(
        "erp",
        "BEGIN; INSERT INTO t VALUES (101); PREPARE TRANSACTION 'of the coordinator'",
    );
    let project = Project::between(&source, &target);
    let said = words(&project.run(&["check"]).stdout);
    assert!(said.contains("source/prepared-transactions"), "{said}");
    assert!(
        said.contains("\"of the coordinator\" of postgres in \"erp\""),
        "{said}"
    );
    source.psql("erp", "COMMIT PREPARED 'of the coordinator'");
    let said = project.run(&["check"]).expect_code(0).stdout;
    assert!(!said.contains("source/prepared"), "{said}");
    project.run(&["run"]).expect_code(0);
    compare::assert_same(&source, &target, "erp");
}
