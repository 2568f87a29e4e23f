//! What is half done, or made meanwhile, on the source: told, and never left out in silence.

use crate::support::compare;
use crate::support::fill::slow_index;
use crate::support::held::Held;
use crate::support::project::{Project, string};
use crate::support::server::{Server, literal};

#[test]
fn a_database_that_is_made_during_a_run_is_told_and_moved_by_the_next() {
    let (source, target) = (Server::start(16), Server::start(18));
    source.psql("postgres", "CREATE DATABASE erp");
    source.psql("erp", &slow_index(200));
    let project = Project::between(&source, &target);
    let mut run = project.start(&["run"]);
    run.until("the restore", || project.has("step-started", "erp/restore"));
    source.psql("postgres", "CREATE DATABASE late");
    source.psql("late", "CREATE TABLE t AS SELECT 1 AS id");
    let told = run.wait().expect_code(4);
    told.says(&["a database \"late\" that the plan takes", "run again"]);
    project.run(&["run"]).expect_code(0);
    compare::assert_same(&source, &target, "erp");
    compare::assert_same(&source, &target, "late");
}

/// A detach that was cancelled, an index that was never built to its end, a foreign key that nobody enforces.
#[test]
fn what_is_half_done_on_the_source_is_told_before() {
    let (source, target) = (Server::start(16), Server::start(18));
    source.psql("postgres", "CREATE DATABASE erp");
    source.psql(
        "erp",
        "CREATE TABLE parts (id int) PARTITION BY RANGE (id);
         CREATE TABLE low PARTITION OF parts FOR VALUES FROM (0) TO (50);
         CREATE TABLE high PARTITION OF parts FOR VALUES FROM (50) TO (100);
         INSERT INTO parts SELECT generate_series(0, 99);
         CREATE TABLE twice AS SELECT 1 AS id FROM generate_series(1, 2);
         CREATE TABLE parents (id int PRIMARY KEY);
         CREATE TABLE children (parent int CONSTRAINT of_parent REFERENCES parents);
         ALTER TABLE children DISABLE TRIGGER ALL",
    );
    let duplicate = source.try_psql("erp", "CREATE UNIQUE INDEX CONCURRENTLY once ON twice (id)");
    assert!(duplicate.is_err(), "{duplicate:?}");
    // It waits for the reader, and is cancelled.
    let reader = Held::begin(&source, "erp", "SELECT count(*) FROM parts");
    let cancelled = source.try_psql(
        "erp",
        "SET statement_timeout = '300ms'; ALTER TABLE parts DETACH PARTITION low CONCURRENTLY",
    );
    let pending = "SELECT count(*) FROM pg_inherits WHERE inhdetachpending";
    if source.psql("erp", pending) == "0" {
        // Several statements in one message are a transaction block, in which it may not be run.
        assert!(cancelled.is_err(), "{cancelled:?}");
        source.psql(
            "postgres",
            "ALTER DATABASE erp SET statement_timeout = '300ms'",
        );
        let detach = "ALTER TABLE parts DETACH PARTITION low CONCURRENTLY";
        assert!(source.try_psql("erp", detach).is_err());
        source.psql("postgres", "ALTER DATABASE erp RESET statement_timeout");
    }
    reader.commit();
    assert_eq!(source.psql("erp", pending), "1");
    let project = Project::between(&source, &target);
    for verb in ["check", "run"] {
        let told = project.run(&[verb]).expect_code(3);
        told.says(&["source/detach-pending", "public.low", "FINALIZE"]);
    }
    let told = project.run(&["check"]).expect_code(3);
    told.says(&[
        "source/index-invalid",
        "public.once",
        "the unique index is not valid",
        "source/reference-disabled",
        "of_parent",
    ]);
    // As advised.
    source.psql("erp", "ALTER TABLE parts DETACH PARTITION low FINALIZE");
    source.psql("erp", "DROP INDEX once");
    source.psql("erp", "ALTER TABLE children ENABLE TRIGGER ALL");
    let told = project.run(&["check"]).expect_code(0);
    for code in ["source/index-invalid", "source/reference-disabled"] {
        assert!(!told.said().contains(code), "{}", told.said());
    }
    project.run(&["run"]).expect_code(0);
    compare::assert_same(&source, &target, "erp");
    assert_eq!(target.psql("erp", "SELECT count(*) FROM parts"), "50");
}

/// CREATE EXTENSION makes it on the target.
#[test]
fn an_index_of_an_extension_that_is_not_valid_is_not_told() {
    let (source, target) = (Server::start(16), Server::start(18));
    source.psql("postgres", "CREATE DATABASE erp");
    source.psql(
        "erp",
        "CREATE EXTENSION postgres_fdw; CREATE TABLE member (id int); CREATE INDEX by_id ON member (id);
         CREATE TABLE own (id int); CREATE INDEX by_own ON own (id);
         ALTER EXTENSION postgres_fdw ADD TABLE member",
    );
    source.psql(
        "erp",
        "UPDATE pg_index SET indisvalid = false WHERE indexrelid IN ('by_id'::regclass, 'by_own'::regclass)",
    );
    let told = Project::between(&source, &target).run(&["check"]).said();
    assert!(told.contains("public.by_own"), "{told}");
    assert!(!told.contains("public.by_id"), "{told}");
}

/// An empty table is a good table, and both servers would agree on it. As a role that is no superuser reads it, too.
#[test]
fn a_subscription_that_has_not_copied_its_tables_stops_the_run() {
    for major in [10, 16] {
        let source = Server::of(major).set("wal_level", "logical").start();
        let target = Server::start(18);
        source.psql("postgres", "CREATE DATABASE shop");
        source.psql(
            "shop",
            "CREATE TABLE big AS SELECT generate_series(1, 100) AS id; CREATE TABLE small (id int);
             CREATE PUBLICATION sales FOR ALL TABLES",
        );
        source.psql("postgres", "CREATE DATABASE erp");
        // Nothing copies while it is not enabled: as where the copy waits, or takes hours.
        let password = source.password().replace('\\', r"\\").replace('\'', r"\'");
        let connection = format!(
            "host={} port={} dbname=shop user=postgres password='{password}'",
            source.socket_directory().display(),
            source.port(),
        );
        source.psql(
            "erp",
            "CREATE TABLE big (id int); CREATE TABLE small (id int)",
        );
        source.psql(
            "erp",
            &format!(
                "CREATE SUBSCRIPTION sub CONNECTION {} PUBLICATION sales
                 WITH (enabled = false, create_slot = false, slot_name = NONE)",
                literal(&connection)
            ),
        );
        source.psql("postgres", "CREATE ROLE mover LOGIN PASSWORD 'moves'");
        source.psql("erp", "GRANT SELECT ON big, small TO mover");
        source.psql("shop", "GRANT SELECT ON big, small TO mover");
        let told = [
            "source/subscription-copying: database \"erp\", sub: ",
            "the target would have no more: public.big, public.small",
        ];
        let by_mover = Project::between(&source, &target)
            .source("user", &string("mover"))
            .variable("SOURCE_PASSWORD", "moves");
        by_mover.run(&["check"]).expect_code(3).says(&told);
        let project = Project::between(&source, &target);
        project.run(&["run"]).expect_code(3).says(&told);
        source.psql("erp", "DROP SUBSCRIPTION sub");
        project.run(&["run"]).expect_code(0);
        compare::assert_same(&source, &target, "erp");
    }
}

/// What keeps applications from the source during the night arrives, and is taken away as advised.
#[test]
fn what_keeps_clients_from_the_source_is_told_since_it_arrives() {
    let (source, target) = (Server::start(16), Server::start(18));
    source.psql("postgres", "CREATE DATABASE erp CONNECTION LIMIT 0");
    source.psql("erp", "CREATE TABLE orders AS SELECT 1 AS id");
    for sql in [
        "CREATE ROLE app LOGIN PASSWORD 'application'",
        "ALTER DATABASE erp SET default_transaction_read_only = on",
        "ALTER ROLE app SET default_transaction_read_only = on",
        "ALTER ROLE app NOLOGIN",
        "CREATE ROLE readers",
    ] {
        source.psql("postgres", sql);
    }
    let project = Project::between(&source, &target);
    let told = project.run(&["run"]).expect_code(0);
    told.says(&[
        "source/database-keeps-out: database \"erp\"",
        "CONNECTION LIMIT 0 and default_transaction_read_only = on on the source",
        "source/role-kept-out: ROLE app",
        "NOLOGIN, with a password and default_transaction_read_only = on on the source",
        "ALTER ROLE … LOGIN; ALTER ROLE … RESET default_transaction_read_only",
    ]);
    assert!(!told.said().contains("ROLE readers"), "{}", told.said());
    assert!(!target.lets_in("erp", "app", "application"));
    for sql in [
        "ALTER DATABASE erp CONNECTION LIMIT -1",
        "ALTER DATABASE erp RESET default_transaction_read_only",
        "ALTER ROLE app LOGIN",
        "ALTER ROLE app RESET default_transaction_read_only",
    ] {
        target.psql("postgres", sql);
    }
    assert!(target.lets_in("erp", "app", "application"));
}

/// Without a column of its types, errors that are accepted bring the rest along.
#[test]
fn an_extension_that_the_target_lacks_is_told_before_the_run() {
    let (source, target) = (Server::start(16), Server::start(18));
    let sql = "SELECT setting FROM pg_config WHERE name = 'SHAREDIR'";
    let directory = std::path::PathBuf::from(source.psql("postgres", sql)).join("extension");
    let write = |file: &str, text: &str| std::fs::write(directory.join(file), text).unwrap();
    write(
        "pg_migrate_lacked.control",
        "default_version = '1.0'\nrelocatable = true\n",
    );
    write(
        "pg_migrate_lacked--1.0.sql",
        "CREATE TYPE mood AS ENUM ('good', 'bad');\n",
    );
    source.psql("postgres", "CREATE DATABASE erp");
    source.psql(
        "erp",
        "CREATE EXTENSION pg_migrate_lacked;
         CREATE TABLE plain AS SELECT 1 AS id;
         CREATE TABLE moods AS SELECT ARRAY['good'::mood] AS felt",
    );
    let project = Project::between(&source, &target);
    for verb in ["check", "run"] {
        let told = project.run(&[verb]).expect_code(3);
        told.says(&[
            "target/extension-missing",
            "pg_migrate_lacked",
            "no table with a column of one of its types is, nor its rows",
        ]);
    }
    source.psql("erp", "DROP TABLE moods");
    let told = project.run(&["check"]).expect_code(0);
    told.says(&["nothing is that needs it", "DROP EXTENSION"]);
    // As advised.
    source.psql("erp", "DROP EXTENSION pg_migrate_lacked");
    project.run(&["run"]).expect_code(0);
    compare::assert_same(&source, &target, "erp");
}
