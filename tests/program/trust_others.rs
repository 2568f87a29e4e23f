//! Other sessions in a database of the target while it is this plan's alone.

use serde_json::Value;

use crate::support::compare;
use crate::support::held::Held;
use crate::support::paused::Paused;
use crate::support::project::{Project, waiver, words};
use crate::support::server::{Server, literal};

fn servers() -> (Server, Server, Project) {
    let (source, target) = (Server::start(16), Server::start(18));
    source.psql("postgres", "CREATE ROLE app LOGIN PASSWORD 'of the app'");
    source.psql("postgres", "CREATE DATABASE erp OWNER app");
    source.psql(
        "erp",
        "CREATE TABLE jobs AS SELECT id, 'running' AS state FROM generate_series(1, 1000) id;
         ALTER TABLE jobs OWNER TO app; ALTER TABLE jobs ADD PRIMARY KEY (id)",
    );
    let project = Project::between(&source, &target).with("[target.tuning]\nmode = \"off\"\n");
    (source, target, project)
}

const ABORT: &str = "UPDATE jobs SET state = 'aborted'";
const ABORTED: &str = "SELECT count(*) FROM jobs WHERE state = 'aborted'";

/// REVOKE ends nobody: a pool that is in the database already would go on when its tables come.
#[test]
fn what_was_made_before_is_not_filled_while_an_application_is_in_it() {
    let (source, target, project) = servers();
    target.psql("postgres", "CREATE ROLE app LOGIN");
    target.psql("postgres", "CREATE DATABASE erp OWNER app");
    let password = "SELECT rolpassword FROM pg_authid WHERE rolname = 'app'";
    let password = literal(&source.psql("postgres", password));
    target.psql("postgres", &format!("ALTER ROLE app PASSWORD {password}"));
    let mut client = target.client("psql", "erp");
    client
        .env("PGUSER", "app")
        .env("PGPASSWORD", "of the app")
        .env("PGAPPNAME", "a pool")
        .args(["-Xq", "-c", "SELECT pg_sleep(600)"]);
    let mut client = client.spawn().unwrap();
    let sessions = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'a pool'";
    while target.psql("postgres", sessions) == "0" {}
    project.run(&["run"]).expect_code(4).expect_words(&[
        "is not filled: 1 other session is connected",
        "role \"app\", application \"a pool\"",
        "pg_terminate_backend",
    ]);
    let public = "SELECT has_database_privilege('app', 'erp', 'CONNECT')";
    assert_eq!(target.psql("postgres", public), "t");
    client.kill().unwrap();
    client.wait().unwrap();
    let end =
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'a pool'";
    target.psql("postgres", end);
    project.run(&["run"]).expect_code(0);
    compare::assert_same(&source, &target, "erp");
}

/// No privilege keeps a superuser out. That rows are as many as on the source does not say that they are the same.
#[test]
fn rows_that_a_superuser_changed_are_a_failure_and_who_is_there_is_told() {
    let (source, target, project) = servers();
    let (project, paused) = Paused::of(project, "pg_restore", "post-data.list");
    let mut running = project.start(&["run"]);
    paused.until_reached(&mut running);
    target.psql("erp", ABORT);
    let agent = Held::begin(&target, "erp", "SET application_name = 'an agent'");
    paused.go();
    running.wait().expect_code(5).expect_words(&[
        "rows were updated or deleted on the target by another session",
        "public.jobs (1000 updated, 0 deleted)",
        "--step create",
    ]);
    let report = project.report().to_string();
    assert!(report.contains("application \\\"an agent\\\""), "{report}");
    agent.commit();
    project
        .run(&["reset", "--database", "erp", "--step", "create"])
        .expect_code(0);
    project.run(&["run"]).expect_code(0);
    assert_eq!(target.psql("erp", ABORTED), "0");
    compare::assert_same(&source, &target, "erp");
}

/// A loop that runs again knows nothing of the change; a person who does, and wants it, says so in the plan.
#[test]
fn rows_that_a_superuser_changed_are_a_difference_until_the_plan_waives_it() {
    let (_source, target, project) = servers();
    let (project, paused) = Paused::of(project, "pg_restore", "post-data.list");
    let mut running = project.start(&["run"]);
    paused.until_reached(&mut running);
    target.psql("erp", ABORT);
    paused.go();
    running.wait().expect_code(5);
    project.run(&["run"]).expect_code(5);
    // Whatever the counters say by then.
    target.psql("erp", "SELECT pg_stat_reset()");
    let before = "an earlier verification found differences in these tables";
    let told = project.run(&["run"]).expect_code(5);
    told.says(&[before, "public.jobs"]);
    let project = project.with(&waiver("target/differed"));
    project.run(&["run"]).expect_code(0);
    assert_eq!(target.psql("erp", ABORTED), "1000");
    let report = project.report().to_string();
    assert!(report.contains(before), "{report}");
    project.run(&["run"]).expect_code(0);
}

/// What makes up for rows that were lost is not those rows.
#[test]
fn a_difference_stays_one_until_the_database_is_made_again_or_the_plan_waives_it() {
    for is_waived in [true, false] {
        let (source, target, project) = servers();
        project.killed_at("journal step-done erp/restore synced:1");
        target.psql("erp", "TRUNCATE jobs");
        let told = project.run(&["run"]).expect_code(5);
        told.says(&["1 of 1 tables differ", "a waiver for target/differed"]);
        target.psql(
            "erp",
            "INSERT INTO jobs SELECT -id, 'other' FROM generate_series(1, 1000) id; SELECT pg_stat_reset()",
        );
        project
            .run(&["run"])
            .expect_code(5)
            .expect_words(&["public.jobs"]);
        let check = project.run(&["check"]).expect_code(0);
        check.says(&["target/differed", "public.jobs"]);
        if is_waived {
            let project = project.with(&waiver("target/differed"));
            target.psql("erp", "DELETE FROM jobs WHERE id = -7");
            project.run(&["run"]).expect_code(5).expect_words(&["999"]);
            target.psql("erp", "INSERT INTO jobs VALUES (-7, 'other')");
            project.run(&["run"]).expect_code(0);
        } else {
            project
                .run(&["reset", "--database", "erp", "--step", "create"])
                .expect_code(0);
            project.run(&["run"]).expect_code(0);
            compare::assert_same(&source, &target, "erp");
        }
    }
}

/// An agent only looks.
#[test]
fn an_agent_is_told_and_fails_nothing() {
    let (source, target, project) = servers();
    let (project, paused) = Paused::of(project, "pg_restore", "post-data.list");
    let mut running = project.start(&["run"]);
    paused.until_reached(&mut running);
    let agent = Held::begin(&target, "erp", "SET application_name = 'an agent'");
    paused.go();
    running.wait().expect_code(0);
    let report = project.report().to_string();
    assert!(report.contains("application \\\"an agent\\\""), "{report}");
    agent.commit();
    compare::assert_same(&source, &target, "erp");
}

/// A restore that failed: a row does not keep to its constraint, which the source does not know.
fn failed() -> (Server, Server, Project) {
    let (source, target, project) = servers();
    source.psql(
        "erp",
        "CREATE TABLE checked AS SELECT -1 AS id; ALTER TABLE checked ADD CONSTRAINT c CHECK (id > 0) NOT VALID;
         UPDATE pg_constraint SET convalidated = true WHERE conname = 'c'",
    );
    project.run(&["run"]).expect_code(4);
    (source, target, project)
}

/// Its restore failed, a person completed it by hand, and an application works in it as a superuser.
#[test]
fn what_a_superuser_wrote_after_a_failed_restore_is_not_dropped() {
    let (source, target, project) = failed();
    let again = ["reset", "--database", "erp", "--step", "dump"];
    target.psql(
        "erp",
        "INSERT INTO jobs SELECT n, 'of a client' FROM generate_series(2001, 2500) n",
    );
    source.psql("erp", "DELETE FROM checked");
    let client = Held::begin(&target, "erp", "SET application_name = 'a client'");
    project.run(&again).expect_code(0);
    project.run(&["run"]).expect_code(4).expect_words(&[
        "it was not verified, and it was written to since a step in it failed",
        "application \"a client\"",
        "DROP DATABASE",
    ]);
    client.commit();
    let count = "SELECT count(*) FROM jobs WHERE state = 'of a client'";
    assert_eq!(target.psql("erp", count), "500");
    target.psql("postgres", "DROP DATABASE erp");
    project.run(&["run"]).expect_code(0);
    compare::assert_same(&source, &target, "erp");
}

/// As [`what_a_superuser_wrote_after_a_failed_restore_is_not_dropped`], where they only look.
#[test]
fn sessions_that_a_drop_ends_are_told() {
    let (source, target, project) = failed();
    source.psql("erp", "DELETE FROM checked");
    let agent = Held::begin(&target, "erp", "SET application_name = 'an agent'");
    project
        .run(&["reset", "--database", "erp", "--step", "dump"])
        .expect_code(0);
    project.run(&["run"]).expect_code(0);
    drop(agent);
    let report = project.report().to_string();
    assert!(
        report.contains("when it was dropped to be made again"),
        "{report}"
    );
    compare::assert_same(&source, &target, "erp");
}

/// A value that the new type rounds would arrive as another, without an error.
#[test]
fn delayed_rows_are_not_rounded_by_another_type() {
    let (source, target, project) = servers();
    source.psql(
        "erp",
        "CREATE TABLE big AS SELECT id, id + 0.1234::numeric(12,4) AS amount FROM generate_series(1, 10) id;
         ALTER TABLE big ALTER amount TYPE numeric(12,4)",
    );
    let project = project.with("[delay]\ntable_data = [\"erp.big\"]\n");
    let point = "journal step-done erp/verify before:1";
    project.killed_at(point);
    target.psql("erp", "ALTER TABLE big ALTER amount TYPE numeric(12,2)");
    project.run(&["run"]).expect_code(4).expect_words(&[
        "the column amount is numeric(12,2) on the target and numeric(12,4) on the source",
        "ALTER COLUMN \"amount\" TYPE numeric(12,4)",
    ]);
    target.psql("erp", "ALTER TABLE big ALTER amount TYPE numeric(12,4)");
    project.run(&["run"]).expect_code(0);
    compare::assert_same(&source, &target, "erp");
}

/// Each table that is restored would get them, and the archive says nothing of it. What is advised leads to the end.
#[test]
fn an_empty_database_with_what_changes_a_restore_is_not_filled() {
    let (source, target, project) = servers();
    target.psql("postgres", "CREATE DATABASE erp");
    for sql in [
        "CREATE ROLE reader",
        "ALTER DEFAULT PRIVILEGES GRANT SELECT, UPDATE ON TABLES TO reader",
        "ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT USAGE ON SEQUENCES TO reader",
        "ALTER DEFAULT PRIVILEGES GRANT EXECUTE ON FUNCTIONS TO reader",
        "ALTER DEFAULT PRIVILEGES REVOKE USAGE ON TYPES FROM PUBLIC",
        "CREATE PUBLICATION feed FOR ALL TABLES",
        "GRANT CREATE ON SCHEMA public TO reader",
    ] {
        target.psql("erp", sql);
    }
    source.psql("postgres", "CREATE ROLE reader");
    let told = [
        "it holds what would change what is restored into it: default privileges, other privileges on the \
         schema public, publications",
        "REVOKE ALL ON TABLES FROM reader;",
        "IN SCHEMA public REVOKE ALL ON SEQUENCES FROM reader;",
    ];
    project.run(&["check"]).expect_code(3).says(&told);
    let refused = project.run(&["run"]).expect_code(3);
    refused.says(&told);
    let said = words(&refused.stderr);
    let (_, statements) = said.split_once("out of it: ").unwrap();
    let (statements, _) = statements.split_once(" help: ").unwrap();
    let statements: Vec<&str> = statements.split("; ").collect();
    assert_eq!(statements.len(), 4, "{}", refused.stderr);
    for sql in statements {
        target.psql("erp", sql);
    }
    let left = "SELECT count(*) FROM pg_default_acl";
    assert_eq!(target.psql("erp", left), "0");
    target.psql("erp", "DROP PUBLICATION feed");
    target.psql("erp", "REVOKE CREATE ON SCHEMA public FROM reader");
    project.run(&["run"]).expect_code(0);
    compare::assert_same(&source, &target, "erp");
}

/// Between the restore and the verification no step writes: as many other rows, or an object less, show in no count.
#[test]
fn what_another_session_wrote_after_the_restore_is_a_failure() {
    let (source, target, project) = servers();
    for sql in [
        "TRUNCATE jobs; INSERT INTO jobs SELECT id, 'other' FROM generate_series(1, 1000) id",
        "ALTER TABLE jobs DROP CONSTRAINT jobs_pkey",
    ] {
        project.killed_at("erp/target-counts start:1");
        target.psql("erp", sql);
        project.run(&["run"]).expect_code(5).expect_words(&[
            "another session wrote to it on the target between its restore and its verification",
            "--step create",
        ]);
        let told = project.run(&["run"]).expect_code(5);
        told.says(&[
            "another session wrote to it on the target between its restore and its verification",
        ]);
        project
            .run(&["reset", "--database", "erp", "--step", "create"])
            .expect_code(0);
    }
    // What an analysis writes is nothing of a client's.
    project.killed_at("erp/target-counts start:1");
    target.psql("erp", "ANALYZE; VACUUM FREEZE");
    project.run(&["run"]).expect_code(0);
    compare::assert_same(&source, &target, "erp");
}

/// Where the server cannot tell, the run says so.
#[test]
fn statistics_that_were_reset_after_the_restore_are_told() {
    let (_source, target, project) = servers();
    project.killed_at("erp/target-counts start:1");
    target.psql("erp", "SELECT pg_stat_reset()");
    project.run(&["run"]).expect_code(0);
    let report = project.report().to_string();
    assert!(
        report.contains("whether another session wrote to it on the target between its restore and its verification is not known"),
        "{report}"
    );
}

/// A killed run's database is made again by the next one, but not where a superuser's application works in it already.
#[test]
fn what_a_superuser_wrote_after_a_restore_is_not_dropped() {
    let (source, target, project) = servers();
    project.killed_at("erp/target-counts start:1");
    target.psql("erp", "CREATE TABLE orders AS SELECT 1 AS id");
    project
        .run(&["reset", "--database", "erp", "--step", "restore"])
        .expect_code(0);
    project
        .run(&["run"])
        .expect_code(4)
        .expect_words(&["is not dropped: it was not verified, and it was written to since"]);
    assert_eq!(target.psql("erp", "SELECT count(*) FROM orders"), "1");
    // What it says.
    target.psql("postgres", "DROP DATABASE erp");
    project.run(&["run"]).expect_code(0);
    compare::assert_same(&source, &target, "erp");
}

/// Between its verification and its opening a database may be closed for long, and nothing looks at it again.
#[test]
fn what_another_session_wrote_before_a_database_is_opened_is_a_failure() {
    let (source, target, _) = servers();
    let project = Project::between(&source, &target);
    project.killed_at("journal step-done erp/verify synced:1");
    target.psql("erp", "DELETE FROM jobs WHERE id > 900");
    for why in [
        "another session wrote to it on the target between its verification and its opening",
        "another session wrote to it on the target while it was closed, as was found before",
    ] {
        project.run(&["run"]).expect_code(4).expect_words(&[
            why,
            "it stays closed",
            "reset PLAN --database erp --drop erp",
            "DROP DATABASE on the target",
        ]);
        assert!(!target.lets_in("erp", "app", "of the app"));
        assert_eq!(target.psql("postgres", "SHOW full_page_writes"), "on");
        // What was found is on record.
        target.psql("erp", "SELECT pg_stat_reset()");
    }
    let journal = project.journal();
    let is_found =
        |record: &&Value| record["entry"]["change"]["change"]["change"] == "find-difference";
    assert_eq!(journal.iter().filter(is_found).count(), 1);
    project.run(&["verify"]).expect_code(5);
    project
        .run(&["reset", "--database", "erp", "--drop", "erp"])
        .expect_code(0);
    target.psql("postgres", "DROP DATABASE erp");
    project.run(&["run"]).expect_code(0);
    assert!(target.lets_in("erp", "app", "of the app"));
    compare::assert_same(&source, &target, "erp");
}

/// The delayed phase writes as well, and nothing else may. A person who stands for what was written says so in the plan.
#[test]
fn what_another_session_wrote_after_the_delayed_load_is_a_failure() {
    let (source, target, _) = servers();
    source.psql(
        "erp",
        "CREATE TABLE old AS SELECT generate_series(1, 100) AS id; CREATE INDEX ON old (id)",
    );
    let project = Project::between(&source, &target).with("[delay]\ntable_data = [\"erp.old\"]\n");
    project.killed_at("journal step-done erp/delayed-verify synced:1");
    target.psql("erp", "INSERT INTO old VALUES (101)");
    let told = ["between its verification and its opening"];
    project.run(&["run"]).expect_code(4).expect_words(&told);
    project.run(&["check"]).says(&["target/differed"]);
    let project = project.with(&waiver("target/differed"));
    project.run(&["run"]).expect_code(0);
    assert!(project.report().to_string().contains(told[0]));
    assert!(target.lets_in("erp", "app", "of the app"));
    // It is open, and that is over.
    let told = ["the waiver of target/differed for \"*\" matches no finding"];
    project.run(&["check"]).says(&told);
    // Where nobody writes, nothing is said.
    target.psql("postgres", "DROP DATABASE erp");
    let project = project.named("again");
    project.run(&["run"]).expect_code(0);
    assert!(!project.report().to_string().contains("another session"));
}

/// What catalogs and sequences hold needs no statistics; where nobody counts rows, that is told.
#[test]
fn where_the_target_does_not_count_what_is_written_it_is_seen_or_told() {
    for (sql, code) in [
        ("CREATE VIEW by_hand AS SELECT * FROM jobs", 5),
        ("SELECT setval('numbers', 3)", 5),
        (
            "DELETE FROM jobs WHERE id <= 50; INSERT INTO jobs SELECT id, 'other' FROM generate_series(1, 50) id",
            0,
        ),
    ] {
        let (source, target, project) = servers();
        source.psql(
            "erp",
            "CREATE SEQUENCE numbers; SELECT setval('numbers', 700)",
        );
        let off = "ALTER SYSTEM SET track_counts = off";
        target.psql("postgres", off);
        target.psql("postgres", "SELECT pg_reload_conf()");
        project.killed_at("journal step-done erp/restore synced:1");
        target.psql("erp", sql);
        let finished = project.run(&["run"]).expect_code(code);
        let said = match code {
            5 => {
                "another session wrote to it on the target between its restore and its verification"
            }
            _ => "do not count everything (track_counts)",
        };
        let report = words(&project.report().to_string());
        assert!(
            report.contains(said),
            "{sql}: {report}\n{}",
            finished.stderr
        );
    }
}

/// A setting of a role that counts as all do.
#[test]
fn a_setting_that_leaves_counting_on_hides_nothing() {
    let (source, target, project) = servers();
    source.psql("postgres", "ALTER ROLE app SET track_counts = 'yes'");
    project.killed_at("journal step-done erp/restore synced:1");
    let set = "SELECT count(*) FROM pg_db_role_setting WHERE setconfig::text LIKE '%track_counts%'";
    assert_eq!(target.psql("postgres", set), "1");
    target.psql(
        "erp",
        "TRUNCATE jobs; INSERT INTO jobs SELECT id, 'other' FROM generate_series(1, 1000) id",
    );
    let said = "another session wrote to it on the target between its restore and its verification";
    project.run(&["run"]).expect_code(5).says(&[said]);
}
