//! What a run says at its end of the source: what was made, or written, there while it was under way.

use crate::support::compare;
use crate::support::held::Held;
use crate::support::paused::Paused;
use crate::support::project::Project;
use crate::support::server::{Mode, Server};

fn servers() -> (Server, Server) {
    let (source, target) = (Server::start(16), Server::start(18));
    source.psql("postgres", "CREATE DATABASE erp");
    source.psql(
        "erp",
        "CREATE TABLE t AS SELECT n AS id, n % 7 AS rest FROM generate_series(1, 100) n",
    );
    (source, target)
}

/// A database that was made meanwhile would stay behind, and nothing else would say so.
#[test]
fn a_source_that_is_away_at_the_end_is_no_completed_run() {
    let (mut source, target) = servers();
    let project = Project::between(&source, &target)
        .with("[retry]\nattempts = 2\nbackoff = \"100ms\"\nmax_backoff = \"100ms\"\n");
    let (project, restore) = Paused::of(project, "pg_restore", "--dbname=");
    let mut run = project.start(&["run"]);
    restore.until_reached(&mut run);
    source.psql("postgres", "CREATE DATABASE crm");
    source.stop(Mode::Fast);
    restore.go();
    let ended = run.wait().expect_code(4);
    ended.says(&[
        "it could not be seen whether the source has databases that were made during the run",
        "run again when both servers answer",
    ]);
    source.start_again();
    project.run(&["run"]).expect_code(0);
    for database in ["crm", "erp"] {
        compare::assert_same(&source, &target, database);
    }
}

/// The snapshot shows it as not valid, so pg_dump leaves it out, or does not show it at all.
#[test]
fn an_index_that_becomes_valid_during_a_run_is_told() {
    let (source, target) = servers();
    source.psql("erp", "CREATE TABLE other AS SELECT 1 AS id");
    // Waits for this to end.
    let held = Held::begin(&source, "erp", "INSERT INTO t VALUES (101, 1)");
    let building = {
        let mut psql = source.client("psql", "erp");
        let sql = "CREATE INDEX CONCURRENTLY by_rest ON t (rest)";
        psql.args(["-c", sql]).spawn().unwrap()
    };
    let project = Project::between(&source, &target);
    // The dump is made, and its snapshot, for which the build waits as well, is given up.
    let (project, restore) = Paused::of(project, "pg_restore", "--dbname=");
    let invalid = "SELECT count(*) FROM pg_index WHERE NOT indisvalid";
    while source.psql("erp", invalid) == "0" {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let mut run = project.start(&["run"]);
    restore.until_reached(&mut run);
    source.psql("erp", "CREATE INDEX by_id ON other (id)");
    held.commit();
    assert!({ building }.wait().unwrap().success());
    restore.go();
    let ended = run.wait().expect_code(0);
    ended.says(&[
        "the source has valid indexes that the target lacks",
        "by_id of public.other",
    ]);
    ended.says(&["by_rest of public.t"]);
    target.psql(
        "erp",
        "CREATE INDEX by_rest ON t (rest); CREATE INDEX by_id ON other (id)",
    );
    let again = project.run(&["run"]).expect_code(0).said();
    assert!(!again.contains("valid indexes"), "{again}");
}

/// That the source is read-only holds for sessions that begin afterwards.
#[test]
fn a_session_that_writes_on_to_a_read_only_source_is_told() {
    let (source, target) = servers();
    let mut before = Held::begin(&source, "erp", "COMMIT");
    source.psql(
        "postgres",
        "ALTER DATABASE erp SET default_transaction_read_only = on",
    );
    let mut project = Project::between(&source, &target).source("read_only", "true");
    let quiet = project.run(&["run"]).expect_code(0).said();
    assert!(!quiet.contains("nobody writes"), "{quiet}");
    project
        .run(&["reset", "--database", "erp", "--drop", "erp"])
        .expect_code(0);
    let paused;
    (project, paused) = Paused::of(project, "pg_restore", "--dbname=");
    let mut run = project.start(&["run"]);
    paused.until_reached(&mut run);
    before.run("INSERT INTO t VALUES (101, 1)");
    drop(before);
    paused.go();
    let ended = run.wait().expect_code(0);
    ended.says(&[
        "the plan says that nobody writes to the source (source.read_only), and it was written to since the run that dumped it began",
    ]);
}

/// A run that was killed is gone on with, and does not dump again.
#[test]
fn a_write_to_a_read_only_source_between_two_runs_is_told() {
    let (source, target) = servers();
    let project = Project::between(&source, &target).source("read_only", "true");
    project.killed_at("journal step-done erp/dump synced:1");
    source.psql("erp", "INSERT INTO t VALUES (101, 1)");
    let ended = project.run(&["run"]).expect_code(0);
    ended.says(&["it was written to since the run that dumped it began"]);
    // As advised.
    project
        .run(&["reset", "--database", "erp", "--drop", "erp"])
        .expect_code(0);
    let quiet = project.run(&["run"]).expect_code(0).said();
    assert!(!quiet.contains("nobody writes"), "{quiet}");
    compare::assert_same(&source, &target, "erp");
}

/// As at the cut-over: the clients are stopped, the plan says so from then on, and what the run before dumped is older.
#[test]
fn a_dump_of_before_the_plan_said_that_the_source_is_read_only_is_told() {
    let (source, target) = servers();
    source.psql("postgres", "CREATE DATABASE crm");
    let project = Project::between(&source, &target);
    project.killed_at("erp/restore start:1");
    source.psql("erp", "INSERT INTO t VALUES (101, 1)");
    let project = project.source("read_only", "true");
    let ended = project.run(&["run"]).expect_code(0);
    ended.says(&["source/dump-of-earlier-run", "\"erp\" (2"]);
    // Of what is verified as well, and nothing is said twice.
    for database in ["hr", "shop"] {
        source.psql("postgres", &format!("CREATE DATABASE {database}"));
        let said = project.run(&["run"]).expect_code(0).said();
        assert!(said.contains("earlier runs verified these"), "{said}");
        assert!(said.contains("\"erp\" (2"), "{said}");
        assert!(!said.contains("\"hr\" (2"), "{said}");
        assert!(!said.contains("nobody writes"), "{said}");
    }
}
