//! What is not ours, or not ours any more, is left as it is.

use std::time::Duration;

use crate::support::compare;
use crate::support::held::Held;
use crate::support::project::Project;
use crate::support::proxy::Proxy;
use crate::support::server::{Mode, Server};

fn erp() -> (Server, Server) {
    let (source, target) = (Server::start(16), Server::start(18));
    source.psql("postgres", "CREATE DATABASE erp");
    source.psql("erp", "CREATE TABLE t (id int, word text)");
    source.psql(
        "erp",
        "INSERT INTO t SELECT n, 'w' FROM generate_series(1, 100) n",
    );
    (source, target)
}

const CLIENTS_ROW: &str = "SELECT count(*) FROM t WHERE word = 'of a client'";

/// Whatever the run says, the row that a client wrote is there.
fn kept_after(reset: &[&str]) {
    let (source, target) = erp();
    let project = Project::between(&source, &target);
    project.run(&["run"]).expect_code(0);
    compare::assert_same(&source, &target, "erp");
    target.psql("erp", "INSERT INTO t VALUES (101, 'of a client')");
    project.run(reset);
    project.run(&["run"]);
    let kept = target.psql("erp", CLIENTS_ROW);
    assert_eq!(kept, "1", "the client's row is gone");
}

#[test]
fn a_reset_of_the_globals_keeps_what_clients_wrote() {
    kept_after(&["reset", "--step", "globals"]);
}

#[test]
fn a_reset_of_everything_keeps_what_clients_wrote() {
    kept_after(&["reset"]);
}

#[test]
fn a_reset_of_a_database_keeps_what_clients_wrote() {
    kept_after(&["reset", "--database", "erp"]);
}

#[test]
fn a_reset_that_names_the_database_keeps_what_clients_wrote() {
    kept_after(&["reset", "--database", "erp", "--drop", "erp"]);
}

/// A refusal forgets nothing, and says what to name.
#[test]
fn a_reset_that_does_not_name_what_to_drop_forgets_nothing() {
    let (source, target) = erp();
    let project = Project::between(&source, &target);
    project.run(&["run"]).expect_code(0);
    let records = project.journal().len();
    for reset in [
        &["reset"][..],
        &["reset", "--database", "erp"],
        &["reset", "--step", "create"],
        &["reset", "--step", "dump"],
        &["reset", "--step", "restore"],
    ] {
        project.run(reset).expect_code(2).expect_words(&[
            "nothing was forgotten",
            "- erp",
            "--drop DB",
        ]);
    }
    project
        .run(&["reset", "--step", "globals", "--drop", "erp"])
        .expect_code(2)
        .expect_words(&["--drop names databases", "- erp"]);
    assert_eq!(project.journal().len(), records);
    project.run(&["run"]).expect_code(0);
}

/// What a client did since, and that it is not dropped for it.
#[test]
fn whatever_clients_write_keeps_a_database_that_is_to_be_dropped() {
    let (source, target) = erp();
    for write in [
        "UPDATE t SET word = 'changed' WHERE id = 7",
        "DELETE FROM t WHERE id = 7",
        "TRUNCATE t",
        "ALTER TABLE t ADD COLUMN more int",
        "CREATE FUNCTION of_a_client() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "SELECT lo_from_bytea(0, 'of a client')",
        "SELECT pg_stat_reset()",
    ] {
        target.psql("postgres", "DROP DATABASE IF EXISTS erp");
        let project = Project::between(&source, &target);
        project.run(&["run"]).expect_code(0);
        let made = "SELECT oid FROM pg_database WHERE datname = 'erp'";
        let first = target.psql("postgres", made);
        target.psql("erp", write);
        project
            .run(&["reset", "--database", "erp", "--drop", "erp"])
            .expect_code(0);
        let refused = project.run(&["run"]).expect_code(3);
        refused.expect_words(&["\"erp\" is not dropped", "DROP DATABASE"]);
        assert_eq!(target.psql("postgres", made), first, "{write}");
        // What the refusal says leads on.
        target.psql("postgres", "DROP DATABASE erp");
        project.run(&["run"]).expect_code(0);
        compare::assert_same(&source, &target, "erp");
    }
}

/// Statistics are lost in a crash: nobody knows what was written before it.
#[test]
fn a_database_is_kept_whose_writes_cannot_be_known() {
    let (source, mut target) = (Server::start(16), Server::of(18).durable().start());
    source.psql("postgres", "CREATE DATABASE erp");
    source.psql(
        "erp",
        "CREATE TABLE t AS SELECT generate_series(1, 10) AS id",
    );
    let project = Project::between(&source, &target);
    project.run(&["run"]).expect_code(0);
    target.kill9();
    target.start_again();
    project
        .run(&["reset", "--database", "erp", "--drop", "erp"])
        .expect_code(0);
    project
        .run(&["run"])
        .expect_code(3)
        .expect_words(&["cannot be known"]);
    assert_eq!(target.psql("erp", "SELECT count(*) FROM t"), "10");
}

/// Asked for by name, a verified database is made again, unless somebody wrote to it since: an ANALYZE, a read and an
/// orderly restart are no writes.
#[test]
fn a_reset_that_names_what_to_drop_does_it() {
    for major in [14, 18] {
        let source = Server::start(14);
        source.psql("postgres", "CREATE DATABASE erp");
        source.psql(
            "erp",
            "CREATE TABLE t AS SELECT n AS id, 'w' AS word FROM generate_series(1, 100) n",
        );
        let mut target = Server::of(major).durable().start();
        let project = Project::between(&source, &target);
        project.run(&["run"]).expect_code(0);
        let made = "SELECT oid FROM pg_database WHERE datname = 'erp'";
        let first = target.psql("postgres", made);
        target.psql("erp", "VACUUM ANALYZE");
        target.psql("erp", "SELECT count(*) FROM t");
        target.restart(Mode::Fast);
        project
            .run(&["reset", "--database", "erp", "--drop", "erp"])
            .expect_code(0);
        let plan = project.run(&["plan", "--dry-run"]).expect_code(0).stdout;
        assert!(
            plan.contains("drop and recreate") && plan.contains("target/database-recreated"),
            "{plan}"
        );
        project.run(&["run"]).expect_code(0);
        assert_ne!(target.psql("postgres", made), first);
        compare::assert_same(&source, &target, "erp");
    }
}

/// Between `create` and `restore`, while the dump waits for a lock, ours is dropped and another made.
fn replaced_before_the_restore(theirs: &str) -> (Server, Server) {
    let (source, target) = erp();
    let project = Project::between(&source, &target).source("lock_timeout", "\"60s\"");
    let mut running = project.start(&["run"]);
    let started = |step: &str| {
        project.state_directory().join("journal.jsonl").exists()
            && project
                .journal_steps("step-started")
                .contains(&step.to_owned())
    };
    running.until("the globals", || started("globals"));
    let application = Held::begin(&source, "erp", "LOCK TABLE t IN ACCESS EXCLUSIVE MODE");
    running.until("the database and the dump that waits", || {
        project
            .journal_steps("step-done")
            .contains(&"erp/create".to_owned())
            && source.psql("erp", "SELECT count(*) FROM pg_locks WHERE NOT granted") != "0"
    });
    target.psql("postgres", "DROP DATABASE erp");
    target.psql("postgres", "CREATE DATABASE erp");
    if !theirs.is_empty() {
        target.psql("erp", theirs);
    }
    application.commit();
    let ended = running.wait();
    assert_ne!(
        ended.code,
        Some(0),
        "exit 0 with a database that is not ours"
    );
    (source, target)
}

#[test]
fn a_restore_writes_nothing_into_a_database_that_took_the_place_of_ours() {
    let (_source, target) = replaced_before_the_restore("");
    let tables = "SELECT count(*) FROM pg_class WHERE relname = 't'";
    assert_eq!(target.psql("erp", tables), "0");
}

#[test]
fn a_restore_doubles_no_rows_of_a_database_that_took_the_place_of_ours() {
    let (_source, target) = replaced_before_the_restore(
        "CREATE TABLE t (id int, word text); INSERT INTO t VALUES (1, 'theirs')",
    );
    let rows = target.psql("erp", "SELECT count(*) FROM t");
    assert_eq!(rows, "1", "written into");
}

/// Completed, and its database named to be dropped; the program reaches the target over a network that can be made slow.
fn to_be_dropped() -> (Server, Server, Proxy, Project) {
    let (source, target) = erp();
    let proxy = Proxy::to(target.port());
    let project = Project::between(&source, &target).target("port", &proxy.port().to_string());
    project.run(&["run"]).expect_code(0);
    project
        .run(&["reset", "--database", "erp", "--drop", "erp"])
        .expect_code(0)
        .expect_words(&["drops and recreates", "\"erp\""]);
    (source, target, proxy, project)
}

const OID: &str = "SELECT oid FROM pg_database WHERE datname = 'erp'";

/// A client comes when the run has looked, and has not dropped the database yet.
#[test]
fn what_a_client_writes_after_the_last_look_is_not_dropped() {
    let (source, target, proxy, project) = to_be_dropped();
    let first = target.psql("postgres", OID);
    let mut running = project.start(&["run"]);
    running.until("the step", || {
        let state =
            "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE '%erp/create%'";
        target.psql("postgres", state) != "0"
    });
    proxy.set_delay(Duration::from_millis(500));
    running.until("the last look", || {
        let looked = "SELECT count(*) FROM pg_stat_activity WHERE datname = 'erp' AND query LIKE '%pg_subscription%'";
        target.psql("postgres", looked) != "0"
    });
    let write = target
        .client("psql", "erp")
        .args(["-Xqc", "INSERT INTO t VALUES (101, 'of a client')"])
        .output()
        .unwrap();
    proxy.set_delay(Duration::ZERO);
    let ended = running.wait();
    if write.status.success() {
        assert_eq!(target.psql("postgres", OID), first, "it was dropped");
        assert_eq!(target.psql("erp", CLIENTS_ROW), "1");
    } else {
        // Nobody was let in.
        ended.expect_code(0);
        assert_ne!(target.psql("postgres", OID), first);
        compare::assert_same(&source, &target, "erp");
    }
}

#[test]
fn a_database_with_a_client_in_it_is_not_dropped_and_lets_others_in_again() {
    let (source, target, _proxy, project) = to_be_dropped();
    let first = target.psql("postgres", OID);
    let client = Held::begin(&target, "erp", "INSERT INTO t VALUES (101, 'of a client')");
    project
        .run(&["run"])
        .expect_code(4)
        .expect_words(&["\"erp\" is not dropped", "pg_stat_activity"]);
    client.commit();
    assert_eq!(target.psql("postgres", OID), first);
    assert_eq!(target.psql("erp", CLIENTS_ROW), "1");
    // It was written to now.
    project
        .run(&["run"])
        .expect_code(3)
        .expect_words(&["\"erp\" is not dropped", "DROP DATABASE"]);
    target.psql("erp", "SELECT 1");
    target.psql("postgres", "DROP DATABASE erp");
    project.run(&["run"]).expect_code(0);
    compare::assert_same(&source, &target, "erp");
}

/// Killed when it has let nobody in any more.
#[test]
fn a_run_that_is_killed_before_it_drops_a_database_can_go_on() {
    for write in [false, true] {
        let (source, target, _proxy, project) = to_be_dropped();
        let first = target.psql("postgres", OID);
        let project = project.variable("PG_MIGRATE_FAILPOINT", "erp/create shut:1");
        project.run(&["run"]);
        let project = project.without_variable("PG_MIGRATE_FAILPOINT");
        let allowed = "SELECT datallowconn FROM pg_database WHERE datname = 'erp'";
        assert_eq!(target.psql("postgres", allowed), "f");
        if write {
            target.psql("postgres", "ALTER DATABASE erp ALLOW_CONNECTIONS true");
            target.psql("erp", "INSERT INTO t VALUES (101, 'of a client')");
            project
                .run(&["run"])
                .expect_code(4)
                .expect_words(&["\"erp\" is not dropped", "DROP DATABASE"]);
            assert_eq!(target.psql("postgres", OID), first);
            assert_eq!(target.psql("erp", CLIENTS_ROW), "1");
        } else {
            project.run(&["run"]).expect_code(0);
            assert_ne!(target.psql("postgres", OID), first);
            compare::assert_same(&source, &target, "erp");
        }
    }
}

/// What it said of a database that was there, empty, and held something that cannot be made again, is what the run does.
#[test]
fn a_database_that_was_prepared_is_not_dropped_and_the_reset_says_so() {
    let (source, target) = erp();
    target.psql("postgres", "CREATE DATABASE erp");
    target.psql("erp", "CREATE COLLATION c (provider = libc, locale = 'C')");
    let project = Project::between(&source, &target);
    project.run(&["run"]).expect_code(0);
    let reset = ["reset", "--database", "erp", "--drop", "erp"];
    project.run(&reset).expect_code(0).expect_words(&[
        "does not drop",
        "it was there before",
        "DROP DATABASE",
    ]);
    let plan = project.run(&["plan", "--dry-run"]).expect_code(3).stdout;
    assert!(!plan.contains("drop and recreate"), "{plan}");
    project
        .run(&["run"])
        .expect_code(3)
        .expect_words(&["is to fill it again"]);
    target.psql("postgres", "DROP DATABASE erp");
    project.run(&["run"]).expect_code(0);
    compare::assert_same(&source, &target, "erp");
}
