//! A run that dies while it opens a database: what is closed is looked at as before, and what is open is its clients'.

use crate::support::compare;
use crate::support::project::Project;
use crate::support::server::Server;

const UNTUNED: &str = "[target.tuning]\nmode = \"off\"\n";

/// What the owner's and the source's differ in from what people make of it on the target.
fn servers(from: u32) -> (Server, Server, Project) {
    let (source, target) = (Server::start(from), Server::start(18));
    for sql in [
        "CREATE ROLE app LOGIN PASSWORD 'of the app'",
        "CREATE ROLE own; CREATE ROLE new",
        "CREATE DATABASE erp OWNER own",
        "ALTER DATABASE erp SET work_mem = '4MB'",
        "ALTER ROLE app IN DATABASE erp SET statement_timeout = '1min'",
        "GRANT CREATE ON DATABASE erp TO app",
    ] {
        source.psql("postgres", sql);
    }
    source.psql(
        "erp",
        "CREATE TABLE t AS SELECT generate_series(1, 100) AS id",
    );
    let project = Project::between(&source, &target);
    (source, target, project)
}

/// What people do once a database is open.
fn harden(target: &Server) -> String {
    for sql in [
        "REVOKE CONNECT, TEMPORARY ON DATABASE erp FROM PUBLIC",
        "REVOKE CREATE ON DATABASE erp FROM app",
        "ALTER DATABASE erp SET work_mem = '256MB'",
        "ALTER ROLE app IN DATABASE erp SET statement_timeout = '5s'",
        "ALTER DATABASE erp CONNECTION LIMIT 50",
        "ALTER DATABASE erp OWNER TO new",
    ] {
        target.psql("postgres", sql);
    }
    properties(target)
}

fn properties(target: &Server) -> String {
    target.psql(
        "postgres",
        "SELECT pg_get_userbyid(datdba), (SELECT array_agg(a::text ORDER BY a::text) FROM unnest(datacl) a), datconnlimit, \
             (SELECT string_agg(setrole::regrole || ' ' || setconfig::text, ' ' ORDER BY setrole) \
              FROM pg_db_role_setting WHERE setdatabase = d.oid) \
         FROM pg_database d WHERE datname = 'erp'",
    )
}

fn opened(target: &Server) -> bool {
    target.lets_in("erp", "app", "of the app")
}

#[test]
fn what_people_set_of_an_open_database_stays_where_its_verification_is_done_again() {
    for point in ["erp/verify opened:1", "erp let in:1"] {
        let (_source, target, project) = servers(16);
        let project = project.with(UNTUNED);
        project.killed_at(point);
        assert!(opened(&target), "{point}");
        let hardened = harden(&target);
        target.psql("erp", "INSERT INTO t VALUES (101)");
        project.run(&["run"]).expect_code(0);
        assert_eq!(properties(&target), hardened, "{point}");
    }
}

/// The same where it was opened last of all, when the settings for the load were taken back.
#[test]
fn what_people_set_of_an_open_database_stays_where_its_opening_is_not_on_record() {
    let (_source, target, project) = servers(16);
    project.killed_at("erp let in:1");
    assert!(opened(&target));
    let hardened = harden(&target);
    target.psql("erp", "DELETE FROM t WHERE id < 10");
    project.run(&["run"]).expect_code(0);
    assert_eq!(properties(&target), hardened);
}

#[test]
fn what_people_set_of_an_open_database_stays_where_a_person_has_it_verified_again() {
    let (_source, target, project) = servers(16);
    let project = project.with(UNTUNED);
    project.run(&["run"]).expect_code(0);
    let hardened = harden(&target);
    let reset = ["reset", "--database", "erp", "--step", "verify"];
    project.run(&reset).expect_code(0);
    project.run(&["run"]).expect_code(0);
    assert_eq!(properties(&target), hardened);
}

/// A value that 14 and later do not take.
#[test]
fn what_the_target_refused_at_the_opening_is_told_by_the_run_that_completes() {
    for point in ["erp/verify opened:1", "erp let in:1"] {
        let (source, _target, project) = servers(12);
        let sql = "ALTER ROLE app IN DATABASE erp SET password_encryption = 'on'";
        source.psql("postgres", sql);
        let project = project.with(UNTUNED);
        project.killed_at(point);
        let told = project.run(&["run"]).expect_code(0);
        told.says(&["setting password_encryption of role app is left out on the target"]);
    }
}

/// On record as about to be committed, and not committed.
const NOT_COMMITTED: &str = "journal let-in-database erp synced:1";

#[test]
fn what_is_written_to_a_database_whose_opening_was_not_committed_is_a_difference() {
    for (tuning, code, why) in [
        (
            UNTUNED,
            5,
            "tables differ between source and target: public.t",
        ),
        ("", 4, "another session wrote to it on the target"),
    ] {
        let (_source, target, project) = servers(16);
        let project = project.with(tuning);
        project.killed_at(NOT_COMMITTED);
        assert!(!opened(&target));
        target.psql("erp", "DELETE FROM t WHERE id <= 40");
        for _ in 0..2 {
            let told = project.run(&["run"]).expect_code(code);
            told.says(&[why]);
            assert!(!opened(&target), "{why}");
        }
    }
}

/// Nor does a change that leaves the counts as they were pass.
#[test]
fn rows_that_are_changed_in_a_database_whose_opening_was_not_committed_are_a_difference() {
    let (_source, target, project) = servers(16);
    let project = project.with(UNTUNED);
    project.killed_at(NOT_COMMITTED);
    target.psql("erp", "UPDATE t SET id = id + 1000 WHERE id > 90");
    project.run(&["run"]).expect_code(5);
    assert!(!opened(&target));
}

#[test]
fn a_database_whose_opening_was_not_committed_is_opened_by_the_next_run() {
    for tuning in [UNTUNED, ""] {
        let (source, target, project) = servers(16);
        let project = project.with(tuning);
        project.killed_at(NOT_COMMITTED);
        project.killed_at(r#"set ALTER DATABASE \"erp\" OWNER TO \"own\":1"#);
        project.killed_at(NOT_COMMITTED);
        assert!(!opened(&target));
        project.run(&["run"]).expect_code(0);
        assert!(opened(&target));
        compare::assert_same(&source, &target, "erp");
        let of_source = properties(&source);
        assert_eq!(properties(&target), of_source);
    }
}
