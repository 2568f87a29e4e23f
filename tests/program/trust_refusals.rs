//! What cannot go well is told before anything is done, and what can go well is not refused.

use std::fs::File;

use crate::support::compare;
use crate::support::data::give_to_server;
use crate::support::held::Held;
use crate::support::project::{Project, string};
use crate::support::server::{Mode, Server};

fn erp(schema: &str) -> (Server, Server) {
    let (source, target) = (Server::start(16), Server::start(18));
    source.psql("postgres", "CREATE DATABASE erp");
    source.psql("erp", schema);
    (source, target)
}

/// Told by `check`, and then not the reason for a failure after the load.
fn told_and_no_failure(project: &Project, words: &[&str]) {
    let check = project.run(&["check"]);
    let check = [check.stdout, check.stderr].concat();
    for word in words {
        assert!(
            check.contains(word),
            "check is silent about {word}:\n{check}"
        );
    }
    let ended = project.run(&["run"]);
    assert!(
        matches!(ended.code, Some(0 | 3)),
        "exit {:?}: {}",
        ended.code,
        ended.stdout
    );
    for word in words {
        let report = project.run(&["report"]).stdout;
        assert!(report.contains(word), "the report is silent: {report}");
    }
}

#[test]
fn a_setting_that_the_targets_role_may_not_make_is_told() {
    let (source, target) = erp("CREATE TABLE t AS SELECT generate_series(1, 10) AS id");
    source.psql(
        "postgres",
        "ALTER DATABASE erp SET log_min_duration_statement = '1s'; CREATE ROLE app; ALTER DATABASE erp OWNER TO app",
    );
    source.psql("erp", "ALTER TABLE t OWNER TO app");
    target.psql(
        "postgres",
        "CREATE ROLE mover LOGIN CREATEDB CREATEROLE PASSWORD 'of the mover'",
    );
    let project = Project::between(&source, &target)
        .target("user", &string("mover"))
        .variable("TARGET_PASSWORD", "of the mover");
    told_and_no_failure(&project, &["log_min_duration_statement"]);
}

#[test]
fn a_setting_of_a_role_that_does_not_migrate_is_told() {
    let (source, target) = erp("CREATE TABLE t AS SELECT generate_series(1, 10) AS id");
    source.psql(
        "postgres",
        "CREATE ROLE absent; ALTER ROLE absent IN DATABASE erp SET work_mem = '7MB';
         CREATE ROLE guest; GRANT CREATE ON DATABASE erp TO guest",
    );
    let project = Project::between(&source, &target).with("[globals]\nmigrate = false\n");
    told_and_no_failure(&project, &["absent", "guest"]);
}

/// A standby reads no unlogged table: there is none of its rows there.
#[test]
fn a_standby_with_an_unlogged_table_migrates() {
    let (mut primary, target) = erp("CREATE TABLE t AS SELECT generate_series(1, 100) AS id;
         CREATE UNLOGGED TABLE cache AS SELECT generate_series(1, 100) AS id");
    primary.stop(Mode::Fast);
    let standby = primary.twin_after(|data| {
        let signal = data.join("standby.signal");
        File::create(&signal).unwrap();
        give_to_server(&signal);
    });
    // It follows by nothing, as one that is fed from an archive between two files.
    let project = Project::between(&standby, &target).with(
        "[[waive]]\ncode = \"source/stale\"\nobject = \"*\"\nuntil = 2999-12-31\nreason = \"follows by archive\"\n",
    );
    project.run(&["run"]).expect_code(0);
    let rows = |table: &str| target.psql("erp", &format!("SELECT count(*) FROM {table}"));
    assert_eq!(rows("t"), "100");
    assert_eq!(rows("cache"), "0");
}

/// No role may connect to `postgres` and `template1`: everything goes over the database that the plan names.
#[test]
fn a_source_whose_maintenance_databases_are_closed_migrates() {
    let (source, target) = erp("CREATE TABLE t AS SELECT generate_series(1, 10) AS id");
    let close = |allowed: bool| {
        for database in ["postgres", "template1"] {
            let sql = format!("ALTER DATABASE {database} ALLOW_CONNECTIONS {allowed}");
            source.psql("erp", &sql);
        }
    };
    close(false);
    let project = Project::between(&source, &target).source("database", &string("erp"));
    project.run(&["run"]).expect_code(0);
    close(true);
    compare::assert_same(&source, &target, "erp");
}

/// The roles of both sides may not connect to `postgres`: everything goes over the database that the plan names.
#[test]
fn roles_that_may_not_connect_to_postgres_migrate() {
    let (source, target) = erp("CREATE TABLE t AS SELECT generate_series(1, 10) AS id");
    for (server, attributes) in [(&source, ""), (&target, "CREATEDB CREATEROLE")] {
        server.psql(
            "postgres",
            &format!("CREATE ROLE mover LOGIN {attributes} PASSWORD 'moves'"),
        );
        for database in ["postgres", "template1"] {
            let sql = format!("REVOKE CONNECT ON DATABASE {database} FROM PUBLIC");
            server.psql("postgres", &sql);
        }
    }
    source.psql(
        "erp",
        "GRANT pg_read_all_data TO mover; ALTER TABLE t OWNER TO mover",
    );
    source.psql("postgres", "ALTER DATABASE erp OWNER TO mover");
    target.psql("postgres", "CREATE DATABASE hall");
    let project = Project::between(&source, &target)
        .source("database", &string("erp"))
        .source("user", &string("mover"))
        .target("database", &string("hall"))
        .target("user", &string("mover"))
        .variable("SOURCE_PASSWORD", "moves")
        .variable("TARGET_PASSWORD", "moves");
    for command in ["check", "run", "verify"] {
        project.run(&[command]).expect_code(0);
    }
    assert_eq!(target.psql("erp", "SELECT count(*) FROM t"), "10");
    for server in [&source, &target] {
        let log = server.log();
        assert!(!log.contains("permission denied for database"), "{log}");
    }
}

/// One transaction of pg_dump locks every table.
#[test]
fn a_lock_table_that_is_too_small_is_told() {
    let source = Server::of(16)
        .set("max_connections", "20")
        .set("max_locks_per_transaction", "10")
        .start();
    let target = Server::start(18);
    source.psql("postgres", "CREATE DATABASE erp");
    for part in 0..20 {
        source.psql(
            "erp",
            &format!(
                "SET client_min_messages = warning;
                 DO $$ BEGIN FOR i IN 1..100 LOOP EXECUTE format('CREATE TABLE t{part}_%s (id int)', i); END LOOP; END $$"
            ),
        );
    }
    let check = Project::between(&source, &target).run(&["check"]);
    let said = [check.stdout, check.stderr].concat();
    assert!(
        said.contains("max_locks_per_transaction"),
        "check is silent: {said}"
    );
}

#[test]
fn a_plan_with_a_blocker_is_printed_and_ends_with_3() {
    let (source, target) = erp("CREATE TABLE customers (id int PRIMARY KEY);
         CREATE TABLE orders (id int PRIMARY KEY, customer int REFERENCES customers)");
    let project =
        Project::between(&source, &target).with("[delay]\ntable_data = [\"erp.customers\"]\n");
    let plan = project.run(&["plan", "--dry-run"]).expect_code(3);
    assert!(plan.stdout.contains("erp/create"), "{}", plan.stdout);
}

#[test]
fn a_source_role_that_may_read_nothing_is_refused() {
    let (source, target) = erp("CREATE TABLE t AS SELECT generate_series(1, 10) AS id;
         CREATE SCHEMA hidden; CREATE TABLE hidden.h (id serial); GRANT SELECT ON hidden.h TO PUBLIC;
         CREATE TABLE open (id serial); GRANT SELECT ON open, open_id_seq TO PUBLIC;
         SELECT lo_create(4711)");
    source.psql("postgres", "CREATE ROLE reader LOGIN PASSWORD 'reads'");
    let project = Project::between(&source, &target)
        .source("user", &string("reader"))
        .variable("SOURCE_PASSWORD", "reads")
        .with("[globals]\nmigrate = false\n");
    let check = project.run(&["check"]).expect_code(3);
    let said = [check.stdout, check.stderr].concat();
    assert!(
        said.contains(
            "3 tables or sequences (hidden.h, hidden.h_id_seq, public.t) and 1 large object"
        ),
        "{said}"
    );
    // What is advised helps. Privileges go along, so the target needs the role.
    target.psql("postgres", "CREATE ROLE reader");
    source.psql(
        "erp",
        "GRANT pg_read_all_data TO reader; GRANT SELECT ON LARGE OBJECT 4711 TO reader",
    );
    project.run(&["run"]).expect_code(0);
    assert_eq!(target.psql("erp", "SELECT count(*) FROM t"), "10");
    assert_eq!(
        target.psql("erp", "SELECT count(*) FROM pg_largeobject_metadata"),
        "1"
    );
}

#[test]
fn a_report_during_a_run_tells_of_no_kill() {
    let (source, target) = erp("CREATE TABLE t AS SELECT generate_series(1, 10) AS id");
    let project = Project::between(&source, &target).source("lock_timeout", "\"60s\"");
    let mut running = project.start(&["run"]);
    running.until("the globals", || {
        project.state_directory().join("journal.jsonl").exists()
            && project
                .journal_steps("step-started")
                .contains(&"globals".to_owned())
    });
    let application = Held::begin(&source, "erp", "LOCK TABLE t IN ACCESS EXCLUSIVE MODE");
    running.until("a lock that the dump waits for", || {
        source.psql("erp", "SELECT count(*) FROM pg_locks WHERE NOT granted") != "0"
    });
    let report = project.run(&["report"]);
    let json = project.run(&["report", "--format", "json"]);
    application.commit();
    running.wait().expect_code(0);
    let said = [report.stdout, report.stderr].concat();
    assert!(!said.contains("killed"), "{said}");
    assert!(!said.contains("What to do next"), "{said}");
    assert!(said.contains("this is how far the run is"), "{said}");
    assert!(json.stdout.contains("\"without_end\": \"under-way\""));
}
