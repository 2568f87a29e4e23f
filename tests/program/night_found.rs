//! A database that was made before, empty, and that a plan filled, is the plan's as far as going on is concerned.

use crate::support::compare;
use crate::support::project::Project;
use crate::support::server::Server;

const OID: &str = "SELECT oid FROM pg_database WHERE datname = 'erp'";
const OWN: &str = "SELECT datconnlimit || ' ' || shobj_description(d.oid, 'pg_database') || ' ' || array_to_string(setconfig, ',') \
     FROM pg_database d JOIN pg_db_role_setting s ON setdatabase = d.oid WHERE datname = 'erp' AND setrole = 0";
const SET_BEFORE: &str = "7 made by hand work_mem=5MB";

fn servers() -> (Server, Server) {
    let (source, target) = (Server::start(16), Server::start(18));
    source.psql("postgres", "CREATE ROLE app LOGIN PASSWORD 'of the app'");
    source.psql("postgres", "CREATE DATABASE erp OWNER app");
    source.psql(
        "erp",
        "CREATE TABLE t AS SELECT generate_series(1, 100) AS id",
    );
    for sql in [
        "CREATE DATABASE erp CONNECTION LIMIT 7",
        "ALTER DATABASE erp SET work_mem = '5MB'",
        "COMMENT ON DATABASE erp IS 'made by hand'",
    ] {
        target.psql("postgres", sql);
    }
    (source, target)
}

/// Wherever a run is killed, the next ones go on, and what the owner had set for the database stays.
#[test]
fn a_run_that_was_killed_while_it_filled_a_database_goes_on() {
    let (source, target) = servers();
    let project = Project::between(&source, &target);
    let first = target.psql("postgres", OID);
    for point in [
        "journal fill-database erp synced:1",
        "journal step-done erp/create before:1",
        "journal step-done erp/restore before:1",
        // It is to be dropped from here on.
        "journal remake-database erp synced:1",
        "erp/create dropped:1",
        "erp/create made:1",
        "journal created-database erp synced:1",
        "journal step-done erp/restore before:1",
        "journal step-done erp/verify before:1",
    ] {
        project.killed_at(point);
        project.run(&["check"]).expect_code(0);
    }
    project.run(&["run"]).expect_code(0);
    compare::assert_same(&source, &target, "erp");
    assert_ne!(target.psql("postgres", OID), first);
    assert_eq!(target.psql("postgres", OWN), SET_BEFORE);
    let owner = "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = 'erp'";
    assert_eq!(target.psql("postgres", owner), "app");
}

/// What is not the plan's to make again is not dropped, and what it says to do leads to the end.
#[test]
fn what_would_be_lost_keeps_a_half_filled_database() {
    for prepare in [
        "CREATE COLLATION c (provider = libc, locale = 'C')",
        "COMMENT ON SCHEMA public IS 'of ours'",
    ] {
        let (source, target) = servers();
        target.psql("erp", prepare);
        let project = Project::between(&source, &target);
        project.run(&["check"]).expect_code(0);
        project.killed_at("journal step-done erp/restore before:1");
        let first = target.psql("postgres", OID);
        project.run(&["run"]).expect_code(3).expect_words(&[
            "target/database-not-empty",
            "is to fill it again",
            "it would lose what it had",
            "DROP DATABASE on the",
        ]);
        assert_eq!(target.psql("postgres", OID), first, "{prepare}");
        target.psql("postgres", "DROP DATABASE erp");
        target.psql("postgres", "CREATE DATABASE erp");
        target.psql("erp", prepare);
        project.run(&["run"]).expect_code(0);
    }
}

/// Infrastructure as code made them, for a role that is not a superuser.
#[test]
fn a_role_that_is_not_a_superuser_goes_on_as_well() {
    let (source, target) = servers();
    for sql in [
        "CREATE ROLE mover LOGIN CREATEDB PASSWORD 'of the mover'",
        "CREATE ROLE app LOGIN",
        "GRANT app TO mover",
        "ALTER DATABASE erp OWNER TO mover",
        "ALTER DATABASE erp CONNECTION LIMIT -1",
    ] {
        target.psql("postgres", sql);
    }
    source.psql("erp", "ALTER TABLE t OWNER TO app");
    let project = Project::between(&source, &target)
        .target("user", "\"mover\"")
        .target("password", "{ env = \"MOVER\" }")
        .variable("MOVER", "of the mover")
        .with("[globals]\nmigrate = false\n[target.tuning]\nmode = \"off\"");
    project.killed_at("journal step-done erp/restore before:1");
    project.killed_at("erp/create dropped:1");
    project.run(&["run"]).expect_code(0);
    assert_eq!(target.psql("erp", "SELECT count(*) FROM t"), "100");
    let own = OWN.replace("datconnlimit || ' ' || ", "");
    assert_eq!(target.psql("postgres", &own), &SET_BEFORE[2..]);
}

/// It is complete, and nothing about it is found any more; what is new on the source comes with the next run.
#[test]
fn a_completed_plan_is_silent_and_takes_what_is_new() {
    let (source, target) = servers();
    let project = Project::between(&source, &target);
    project.run(&["run"]).expect_code(0);
    let check = project.run(&["check"]).expect_code(0).stdout;
    assert!(!check.contains("target/database"), "{check}");
    let first = target.psql("postgres", OID);
    source.psql("postgres", "CREATE DATABASE crm");
    source.psql("crm", "CREATE TABLE c AS SELECT 1 AS id");
    target.psql("postgres", "CREATE DATABASE crm");
    project.run(&["run"]).expect_code(0);
    compare::assert_same(&source, &target, "crm");
    compare::assert_same(&source, &target, "erp");
    assert_eq!(target.psql("postgres", OID), first);
    assert!(target.lets_in("erp", "app", "of the app"));
}

/// Named to be dropped, it is made again as it was found; but not with what clients wrote.
#[test]
fn a_reset_makes_a_database_again_as_it_was_found() {
    let (source, target) = servers();
    let project = Project::between(&source, &target);
    project.run(&["run"]).expect_code(0);
    let first = target.psql("postgres", OID);
    source.psql("erp", "INSERT INTO t VALUES (101)");
    let reset = ["reset", "--database", "erp", "--drop", "erp"];
    project
        .run(&reset)
        .expect_code(0)
        .expect_words(&["drops and recreates", "unless it was written to"]);
    let check = project.run(&["check"]).expect_code(0).stdout;
    assert!(check.contains("target/database-recreated"), "{check}");
    project.run(&["run"]).expect_code(0);
    compare::assert_same(&source, &target, "erp");
    assert_ne!(target.psql("postgres", OID), first);
    assert_eq!(target.psql("postgres", OWN), SET_BEFORE);

    target.psql("erp", "INSERT INTO t VALUES (102)");
    project.run(&reset).expect_code(0);
    project.run(&["run"]);
    let rows = "SELECT count(*) FROM t";
    assert_eq!(target.psql("erp", rows), "102");
}
