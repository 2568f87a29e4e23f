//! What is done is not done again, unless the user says so.

use std::fs;

use serde_json::Value;

use crate::support::held::Held;
use crate::support::project::Project;
use crate::support::server::Server;
use crate::support::{compare, fill};

/// How often the step ended well.
fn times(project: &Project, step: &str) -> usize {
    let steps = project.journal_steps("step-done");
    steps.iter().filter(|done| *done == step).count()
}

/// A source whose `db2` cannot be restored until it is fixed.
fn broken() -> (Server, Server) {
    let (source, target) = (Server::start(16), Server::start(18));
    fill::plain(&source, 2, 100);
    source.psql("postgres", "CREATE ROLE absent");
    source.psql("db2", "GRANT SELECT ON table1 TO absent");
    (source, target)
}

const WITHOUT_ROLES: &str = "[globals]\nmigrate = false\n";

#[test]
fn a_resumed_run_counts_nothing_twice() {
    let (source, target) = broken();
    let project = Project::between(&source, &target).with(WITHOUT_ROLES);
    project.run(&["run"]).expect_code(4);
    target.psql("postgres", "CREATE ROLE absent");
    project.run(&["run"]).expect_code(0);
    for database in ["db1", "db2"] {
        for step in ["dump", "source-counts", "target-counts", "verify"] {
            let step = format!("{database}/{step}");
            assert_eq!(times(&project, &step), 1, "{step}");
        }
        compare::assert_same(&source, &target, database);
    }
}

#[test]
fn counts_of_one_mode_are_never_compared_with_those_of_another() {
    let (source, target) = broken();
    source.psql("db2", "ANALYZE; DELETE FROM table1 WHERE id > 40");
    let fast = Project::between(&source, &target)
        .with(WITHOUT_ROLES)
        .with("[verify]\nmode = \"fast\"\n");
    fast.run(&["run"]).expect_code(4);
    target.psql("postgres", "CREATE ROLE absent");
    let text = fast.text().replace("\"fast\"", "\"exact\"");
    let exact = fast.plan_text(&text);
    exact.run(&["run"]).expect_code(0);
    // db2 was not restored, so it was counted again; db1 was complete.
    assert_eq!(times(&exact, "db1/source-counts"), 1);
    assert_eq!(times(&exact, "db2/source-counts"), 2);
    let report = exact.report();
    let databases = report["databases"].as_array().unwrap();
    let db2 = databases
        .iter()
        .find(|database| database["name"] == "db2")
        .unwrap();
    let tables = db2["tables"].as_array().unwrap();
    let table1 = tables
        .iter()
        .find(|table| table["table"] == "table1")
        .unwrap();
    assert_eq!(table1["source_rows"], 40);
    assert_eq!(table1["target_rows"], 40);
}

/// As a full disk leaves one of ours: DROP DATABASE began and did not end.
#[test]
fn our_invalid_database_is_dropped_again() {
    let (source, target) = broken();
    let project = Project::between(&source, &target).with(WITHOUT_ROLES);
    project.run(&["run"]).expect_code(4);
    target.psql(
        "postgres",
        "UPDATE pg_database SET datconnlimit = -2 WHERE datname = 'db2'; CREATE ROLE absent",
    );
    project.run(&["run"]).expect_code(0);
    compare::assert_same(&source, &target, "db2");
}

/// The run failed, and then a user created the database by hand.
#[test]
fn a_database_that_was_made_in_place_of_ours_is_left_alone() {
    let (source, target) = broken();
    let project = Project::between(&source, &target).with(WITHOUT_ROLES);
    project.run(&["run"]).expect_code(4);
    target.psql("postgres", "CREATE ROLE absent");
    target.psql("postgres", "DROP DATABASE db2");
    target.psql("postgres", "CREATE DATABASE db2");
    target.psql("db2", "CREATE TABLE by_hand AS SELECT 7 AS number");
    project
        .run(&["run"])
        .expect_code(3)
        .expect_words(&["target/database-not-empty", "it is not empty"]);
    assert_eq!(target.psql("db2", "SELECT number FROM by_hand"), "7");
    target.psql("postgres", "DROP DATABASE db2");
    project.run(&["run"]).expect_code(0);
    compare::assert_same(&source, &target, "db2");
}

#[test]
fn a_database_that_was_there_before_us_is_left_alone() {
    let (source, target) = (Server::start(14), Server::start(18));
    fill::plain(&source, 1, 100);
    let project = Project::between(&source, &target);
    let point = "journal create-database db1 synced:1".as_ref();
    let killed = project.start_with(&["run"], &[("PG_MIGRATE_FAILPOINT", point)]);
    assert_eq!(killed.wait().signal, Some(9));
    target.psql("postgres", "CREATE DATABASE db1");
    target.psql("db1", "CREATE TABLE by_hand AS SELECT 7 AS number");
    project.run(&["run"]).expect_code(4);
    assert_eq!(target.psql("db1", "SELECT number FROM by_hand"), "7");
    target.psql("postgres", "DROP DATABASE db1");
    project.run(&["run"]).expect_code(0);
    compare::assert_same(&source, &target, "db1");
}

/// Neither a plan that was sealed again nor one whose `plan.json` is gone makes another server ours.
#[test]
fn another_target_is_refused_whatever_was_sealed() {
    let (source, target) = broken();
    let project = Project::between(&source, &target).with(WITHOUT_ROLES);
    project.run(&["run"]).expect_code(4);
    // Of the same version, it would be a copy of the same cluster.
    let other = Server::start(17);
    other.psql("postgres", "CREATE DATABASE db2");
    other.psql("db2", "CREATE TABLE theirs AS SELECT 7 AS number");
    let right = project.text();
    let text = right.replace(&target.port().to_string(), &other.port().to_string());
    let project = project
        .plan_text(&text)
        .variable("TARGET_PASSWORD", other.password());
    let state = project.state_directory();
    let refused = |verb: &str| {
        let finished = project.run(&[verb]).expect_code(3);
        let said = "this plan was started with other servers";
        assert!(finished.stderr.contains(said), "{}", finished.stderr);
    };
    refused("run");
    refused("plan");
    fs::remove_file(state.join("plan.json")).unwrap();
    refused("run");
    assert_eq!(other.psql("db2", "SELECT number FROM theirs"), "7");
    let databases = "SELECT count(*) FROM pg_database WHERE datname LIKE 'db%'";
    assert_eq!(other.psql("postgres", databases), "1");

    let project = project
        .plan_text(&right)
        .variable("TARGET_PASSWORD", target.password());
    target.psql("postgres", "CREATE ROLE absent");
    project.run(&["run"]).expect_code(0);
}

#[test]
fn reset_has_steps_done_again() {
    let (source, target) = (Server::start(14), Server::start(18));
    fill::plain(&source, 2, 100);
    let project = Project::between(&source, &target);
    project.run(&["run"]).expect_code(0);
    project
        .run(&["reset", "--step", "globals"])
        .expect_code(0)
        .expect_words(&["globals"]);
    project.run(&["reset", "--database", "db9"]).expect_code(2);
    project.run(&["run"]).expect_code(0);
    assert_eq!(times(&project, "globals"), 2);
}

/// Old counts would say that the rows are there which were lost since.
#[test]
fn a_verification_that_is_reset_counts_the_target_again() {
    let (source, target) = (Server::start(14), Server::start(18));
    fill::plain(&source, 1, 100);
    let project = Project::between(&source, &target);
    project.run(&["run"]).expect_code(0);
    target.psql("db1", "DROP TABLE table1; DELETE FROM table2 WHERE id > 10");
    project
        .run(&["reset", "--step", "verify"])
        .expect_code(0)
        .expect_words(&["db1/target-counts", "db1/verify"]);
    project
        .run(&["run"])
        .expect_code(5)
        .expect_words(&["public.table1", "public.table2"]);
    // It stays one.
    project.run(&["run"]).expect_code(5);
    assert_eq!(times(&project, "db1/restore"), 1);
}

#[test]
fn a_database_that_is_reset_is_moved_again_and_the_others_stay() {
    let (source, target) = (Server::start(14), Server::start(18));
    fill::plain(&source, 2, 100);
    let project = Project::between(&source, &target);
    project.run(&["run"]).expect_code(0);
    source.psql("db2", "INSERT INTO table2 VALUES (777, 'new')");
    target.psql("db1", "COMMENT ON TABLE table1 IS 'still the same'");
    project
        .run(&["reset", "--database", "db2", "--drop", "db2"])
        .expect_code(0);
    project.run(&["run"]).expect_code(0);
    for step in [
        "create",
        "dump",
        "source-counts",
        "restore",
        "target-counts",
        "verify",
    ] {
        assert_eq!(times(&project, &format!("db1/{step}")), 1, "{step}");
        assert_eq!(times(&project, &format!("db2/{step}")), 2, "{step}");
    }
    compare::assert_same(&source, &target, "db2");
    let comment = "SELECT obj_description('table1'::regclass)";
    assert_eq!(target.psql("db1", comment), "still the same");
}

#[test]
fn archives_stay_where_the_plan_keeps_them_and_the_log_is_in_the_state_directory() {
    let (source, target) = (Server::start(16), Server::start(18));
    fill::plain(&source, 1, 100);
    let project = Project::between(&source, &target)
        .with("[dump]\nroot = \"elsewhere\"\nkeep = true\n")
        .variable("RUST_LOG", "debug");
    let finished = project.run(&["run"]).expect_code(0);
    let archive = project.directory().join("elsewhere/test/db1");
    assert!(archive.join("toc.dat").exists());
    // RUST_LOG asked for it on the terminal; without it, the log is in its directory alone.
    assert!(finished.stderr.contains("DEBUG"), "{}", finished.stderr);
    let quiet = Project::between(&source, &target).with("[databases]\nexclude = [\"*\"]\n");
    let quiet = quiet.run(&["run"]);
    assert!(!quiet.stderr.contains("DEBUG"), "{}", quiet.stderr);
    let log = project.state_directory().join("log");
    let logged = fs::read_dir(log).unwrap().flatten();
    let names: Vec<String> = logged
        .map(|entry| entry.file_name().to_string_lossy().into())
        .collect();
    assert!(names.iter().any(|name| name == "db1.dump.log"), "{names:?}");
    // Nothing is kept in the home directory.
    let home = fs::read_dir(project.directory().join("home")).unwrap();
    assert_eq!(home.count(), 0);
    let status = project.run(&["status", "--format", "json"]).expect_code(0);
    let status: Value = serde_json::from_str(&status.stdout).unwrap();
    assert_eq!(status["steps_done"], status["steps_total"]);
}

/// A dump that is done ages: what the source got since is on no target, and the run says so.
#[test]
fn a_run_that_goes_on_with_an_old_dump_says_of_when_it_is() {
    let (source, target) = (Server::start(16), Server::start(18));
    fill::plain(&source, 2, 100);
    let project = Project::between(&source, &target);
    project.killed_at("db2/restore start:1");
    source.psql("db2", "INSERT INTO table1 VALUES (777, 'later')");
    let told = [
        "source/dump-of-earlier-run",
        "and the run goes on with what the source had then",
        "\"db2\" (2",
        "reset PLAN --database DB --step dump",
    ];
    project.run(&["check"]).expect_code(0).says(&told);
    project.run(&["run"]).expect_code(0).says(&told[..3]);
    let report = project.report().to_string();
    assert!(report.contains("an earlier run dumped"), "{report}");
    let silent = project.run(&["check"]).expect_code(0);
    assert!(!silent.said().contains("earlier run"), "{silent:?}");
    project
        .run(&["run"])
        .expect_code(0)
        .says(&["already completed, nothing to do (its first dump is of 2"]);

    // Of what is verified as well, as long as something is left to do.
    source.psql("postgres", "CREATE DATABASE db3");
    let told = [
        "earlier runs verified these, by dumps the first of which is of 2",
        "\"db1\" (2",
        "reset PLAN --database DB --drop DB",
    ];
    project.run(&["run"]).expect_code(0).says(&told[..2]);
    source.psql("postgres", "CREATE DATABASE db4");
    project.run(&["check"]).expect_code(0).says(&told);

    // And where nothing is left but to say that it is completed, also by a plan that gave up what failed.
    project.killed_at("run over:1");
    project.run(&["run"]).expect_code(0).says(&told[..2]);
    source.psql("postgres", "CREATE DATABASE db5");
    project.killed_at("db5/restore start:1");
    let project = project.with("[databases]\nexclude = [\"db5\"]\n");
    project.run(&["run"]).expect_code(0).says(&told[..2]);
}

/// Tables that were left out of the dump would never arrive, or those of the archive would arrive twice.
#[test]
fn other_delayed_tables_begin_a_database_again_and_never_one_that_may_be_used() {
    let (source, target) = broken();
    let project = Project::between(&source, &target).with(WITHOUT_ROLES);
    project.run(&["run"]).expect_code(4);
    target.psql("postgres", "CREATE ROLE absent");
    let project = project.with("[delay]\ntable_data = [\"db2.table1\"]\n");
    project
        .run(&["run"])
        .expect_code(0)
        .expect_words(&["delay.table_data was not set, now it is [\"db2.table1\"]"]);
    for (step, dumps) in [("db1/dump", 1), ("db2/dump", 2), ("db2/delayed-restore", 1)] {
        assert_eq!(times(&project, step), dumps, "{step}");
    }
    compare::assert_same(&source, &target, "db2");

    // It was verified and is in use before the user delays a table.
    target.psql("db1", "INSERT INTO table1 VALUES (777, 'by a client')");
    let text = project.text().replace("db2.table1", "db?.table1");
    let project = project.plan_text(&text);
    project.run(&["run"]).expect_code(3).expect_words(&[
        "db1",
        "[public.table1]",
        "--database NAME",
    ]);
    let kept = "SELECT word FROM table1 WHERE id = 777";
    assert_eq!(target.psql("db1", kept), "by a client");
}

/// As a nightly refresh does: the new one is made beside the old one and takes its name.
#[test]
fn a_database_of_the_source_that_another_one_replaces_during_a_run_is_not_mixed_with_it() {
    let (source, target) = (Server::start(16), Server::start(18));
    source.psql(
        "postgres",
        "CREATE DATABASE erp TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'",
    );
    source.psql("erp", "CREATE TABLE t AS SELECT 1 AS n");
    source.psql("postgres", "CREATE DATABASE fresh");
    source.psql(
        "fresh",
        "CREATE TABLE t AS SELECT n FROM generate_series(1, 2) n",
    );
    source.psql("postgres", "CREATE DATABASE first");
    source.psql(
        "first",
        "CREATE TABLE t AS SELECT n FROM generate_series(1, 100000) n",
    );
    let project = Project::between(&source, &target)
        .parallelism("max_parallel", 1)
        .source("lock_timeout", "\"60s\"")
        .with("[databases]\ninclude = [\"erp\", \"first\"]\n");
    let swap = || {
        source.psql("postgres", "ALTER DATABASE erp RENAME TO old");
        source.psql("postgres", "ALTER DATABASE fresh RENAME TO erp");
    };
    let encoding = "SELECT pg_encoding_to_char(encoding) FROM pg_database WHERE datname = 'erp'";
    let held = Held::begin(&source, "first", "LOCK TABLE t");
    let mut run = project.start(&["run"]);
    let waits = "SELECT count(*) FROM pg_locks WHERE NOT granted";
    run.until("the run waits", || source.psql("first", waits) != "0");
    swap();
    held.commit();
    run.wait().expect_code(4).says(&[
        "another database got this name after this run looked at it",
        "run again: what this run made of it is made again",
    ]);
    project.run(&["run"]).expect_code(0);
    assert_eq!(target.psql("postgres", encoding), "UTF8");
    assert_eq!(target.psql("erp", "SELECT count(*) FROM t"), "2");
}

/// As above, where the run that made the target's was killed before it read anything.
#[test]
fn a_database_of_the_source_that_another_one_replaces_between_two_runs_is_made_again() {
    let (source, target) = (Server::start(16), Server::start(18));
    source.psql(
        "postgres",
        "CREATE DATABASE erp TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'",
    );
    let project = Project::between(&source, &target);
    project.killed_at("journal step-done erp/create synced:1");
    source.psql("postgres", "ALTER DATABASE erp RENAME TO old");
    source.psql("postgres", "CREATE DATABASE erp");
    project.run(&["run"]).expect_code(0);
    let encoding = "SELECT pg_encoding_to_char(encoding) FROM pg_database WHERE datname = 'erp'";
    assert_eq!(target.psql("postgres", encoding), "UTF8");

    // Once it is verified, it stays, and that is told by the run as well as by check.
    source.psql("postgres", "DROP DATABASE erp");
    source.psql("postgres", "CREATE DATABASE erp");
    let told = ["is not the one that was"];
    project.run(&["check"]).says(&told);
    project.run(&["run"]).expect_code(0).says(&told);
}
