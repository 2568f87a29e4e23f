//! "Completed" says that the databases are there: what is on record is looked for.

use crate::support::compare;
use crate::support::held::Held;
use crate::support::project::Project;
use crate::support::server::Server;

const DELAYED: &str = "[delay]\ntable_data = [\"erp.public.later\"]\n";

fn erp() -> (Server, Server) {
    let (source, target) = (Server::start(16), Server::start(18));
    source.psql("postgres", "CREATE DATABASE erp");
    source.psql(
        "erp",
        "CREATE TABLE t AS SELECT n AS id FROM generate_series(1, 100) n;
         CREATE TABLE later AS SELECT n AS id FROM generate_series(1, 100) n",
    );
    (source, target)
}

fn completed() -> (Server, Server, Project) {
    let (source, target) = erp();
    let project = Project::between(&source, &target).with("[target.tuning]\nmode = \"off\"\n");
    project.run(&["run"]).expect_code(0);
    (source, target, project)
}

/// What the refusal says leads to a target that has it again.
fn made_again(source: &Server, target: &Server, project: &Project) {
    project
        .run(&["reset", "--database", "erp", "--drop", "erp"])
        .expect_code(0);
    project.run(&["run"]).expect_code(0);
    compare::assert_same(source, target, "erp");
}

#[test]
fn a_verified_database_that_was_dropped_is_missed() {
    let (source, target, project) = completed();
    target.psql("postgres", "DROP DATABASE erp");
    let said = ["target/database-gone", "\"erp\"", "it was dropped"];
    let finished = project.run(&["run"]).expect_code(3);
    finished.says(&said);
    finished.says(&["pg-migrate reset PLAN --database \"erp\" --drop \"erp\""]);
    project.run(&["check"]).expect_code(3);
    project.run(&["verify"]).expect_code(5);
    // By itself it is not made again.
    project.run(&["run"]).expect_code(3);
    made_again(&source, &target, &project);
    project.run(&["verify"]).expect_code(0);
}

#[test]
fn a_verified_database_that_was_renamed_is_missed_until_it_has_its_name_back() {
    let (source, target, project) = completed();
    target.psql("postgres", "ALTER DATABASE erp RENAME TO away");
    let finished = project.run(&["run"]).expect_code(3);
    finished.says(&["it was renamed to \"away\"", "RENAME TO \"erp\""]);
    target.psql("postgres", "ALTER DATABASE away RENAME TO erp");
    let finished = project.run(&["run"]).expect_code(0);
    finished.says(&["already completed"]);
    compare::assert_same(&source, &target, "erp");
}

/// Whatever it holds: nobody verified it.
#[test]
fn another_database_of_the_name_is_not_taken_for_ours() {
    let (source, target, project) = completed();
    target.psql("postgres", "ALTER DATABASE erp RENAME TO away");
    target.psql("postgres", "CREATE DATABASE erp TEMPLATE away");
    let finished = project.run(&["run"]).expect_code(3);
    finished.says(&["it was renamed to \"away\", and another database has its name"]);
    let finished = project.run(&["verify"]).expect_code(5);
    finished.says(&["another database has its name"]);
    // Asked for, ours is to be made again: the other is left as it is.
    project
        .run(&["reset", "--database", "erp", "--drop", "erp"])
        .expect_code(0);
    let finished = project.run(&["run"]).expect_code(3);
    finished.says(&["it is not empty"]);
    assert_eq!(target.psql("erp", "SELECT count(*) FROM t"), "100");
    target.psql("postgres", "DROP DATABASE erp");
    project.run(&["run"]).expect_code(0);
    compare::assert_same(&source, &target, "erp");
    assert_eq!(target.psql("away", "SELECT count(*) FROM t"), "100");
}

#[test]
fn a_database_that_is_excluded_is_not_missed() {
    let (_source, target, project) = completed();
    target.psql("postgres", "DROP DATABASE erp");
    let without = project.text() + "\n[databases]\nexclude = [\"erp\"]\n";
    project.plan_text(&without).run(&["run"]).expect_code(0);
}

#[test]
fn a_verified_database_whose_drop_was_interrupted_is_missed() {
    let (source, target, project) = completed();
    target.psql(
        "postgres",
        "UPDATE pg_database SET datconnlimit = -2 WHERE datname = 'erp'",
    );
    project.run(&["run"]).expect_code(3);
    made_again(&source, &target, &project);
}

/// The run goes on with others, and does not say that all is well.
#[test]
fn a_database_that_is_dropped_after_its_verification_fails_the_run() {
    let (source, target) = erp();
    source.psql("postgres", "CREATE DATABASE waits");
    source.psql("waits", "CREATE TABLE t AS SELECT 1 AS id");
    let project = Project::between(&source, &target)
        .source("lock_timeout", "\"60s\"")
        .with("[target.tuning]\nmode = \"off\"\n");
    let mut running = project.start(&["run"]);
    let has = |kind: &str, step: &str| {
        project.state_directory().join("journal.jsonl").exists()
            && project.journal_steps(kind).contains(&step.to_owned())
    };
    running.until("the globals", || has("step-started", "globals"));
    let application = Held::begin(&source, "waits", "LOCK TABLE t IN ACCESS EXCLUSIVE MODE");
    running.until("the verification", || has("step-done", "erp/verify"));
    target.psql("postgres", "DROP DATABASE erp WITH (FORCE)");
    application.commit();
    let finished = running.wait().expect_code(4);
    finished.says(&["gone from the target: it was dropped"]);
    let finished = project.run(&["report"]);
    finished.says(&["it was dropped"]);
    project.run(&["run"]).expect_code(3);
    made_again(&source, &target, &project);
}

/// What nobody could use is made again without being asked for.
#[test]
fn a_database_that_was_not_verified_is_made_again() {
    for at in [
        "journal step-done erp/create synced:1",
        "journal step-done erp/restore synced:1",
        "journal step-done erp/target-counts synced:1",
    ] {
        for sql in ["DROP DATABASE erp", "ALTER DATABASE erp RENAME TO away"] {
            let (source, target) = erp();
            let project =
                Project::between(&source, &target).with("[target.tuning]\nshared_target = true\n");
            let killed = project
                .start_with(&["run"], &[("PG_MIGRATE_FAILPOINT", at.as_ref())])
                .wait();
            assert_eq!(killed.signal, Some(9));
            target.psql("postgres", sql);
            let finished = project.run(&["check"]);
            finished.says(&["target/database-gone", "the next run creates it again"]);
            project.run(&["run"]).expect_code(0);
            compare::assert_same(&source, &target, "erp");
            project.run(&["run"]).expect_code(0);
        }
    }
}

/// It was verified, so that clients may have used it; its delayed tables were still to come.
#[test]
fn a_database_that_is_gone_before_its_delayed_tables_came_is_missed() {
    let (source, target) = erp();
    let project = Project::between(&source, &target).with(DELAYED);
    let at = "journal step-started erp/delayed-restore synced:1";
    let killed = project
        .start_with(&["run"], &[("PG_MIGRATE_FAILPOINT", at.as_ref())])
        .wait();
    assert_eq!(killed.signal, Some(9));
    target.psql("postgres", "DROP DATABASE erp");
    let finished = project.run(&["run"]).expect_code(3);
    finished.says(&["it was dropped"]);
    made_again(&source, &target, &project);
}
