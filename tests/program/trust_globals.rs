//! Roles, and the properties of databases: what changed on the source since, and what existed on the target before.

use crate::support::compare;
use crate::support::open::still_open;
use crate::support::project::Project;
use crate::support::server::Server;

/// A run that was killed when the globals were done; then the source's roles changed.
#[test]
fn what_changed_after_the_globals_arrives_or_is_told() {
    still_open("differs silently", || {
        let (source, target) = (Server::start(16), Server::start(18));
        source.psql("postgres", "CREATE ROLE app LOGIN PASSWORD 'first'");
        source.psql("postgres", "CREATE DATABASE erp OWNER app");
        source.psql(
            "erp",
            "CREATE TABLE t AS SELECT generate_series(1, 10) AS id",
        );
        let project = Project::between(&source, &target);
        let point = "journal step-done globals synced:1";
        let killed = project.start_with(&["run"], &[("PG_MIGRATE_FAILPOINT", point.as_ref())]);
        assert_eq!(killed.wait().signal, Some(9));
        source.psql(
            "postgres",
            "ALTER ROLE app PASSWORD 'second'; CREATE ROLE late_role LOGIN; GRANT late_role TO app;
             ALTER ROLE app SET work_mem = '7MB'",
        );
        let ended = project.run(&["run"]);
        let said = [ended.stdout.as_str(), &ended.stderr].concat();
        for difference in compare::globals(&source, &target) {
            let role = if difference.contains("late_role") {
                "late_role"
            } else {
                "app"
            };
            assert!(
                said.contains(&format!("\"{role}\"")),
                "differs silently: {difference}"
            );
        }
    });
}

#[test]
fn a_database_added_later_gets_its_new_owner() {
    still_open("late_owner", || {
        let (source, target) = (Server::start(16), Server::start(18));
        source.psql("postgres", "CREATE DATABASE erp");
        let project = Project::between(&source, &target);
        project.run(&["run"]).expect_code(0);
        source.psql("postgres", "CREATE ROLE late_owner");
        source.psql("postgres", "CREATE DATABASE crm OWNER late_owner");
        source.psql(
            "crm",
            "CREATE TABLE t AS SELECT generate_series(1, 10) AS id",
        );
        project.run(&["run"]).expect_code(0);
        compare::assert_same(&source, &target, "crm");
        assert_eq!(compare::globals(&source, &target), Vec::<String>::new());
    });
}

/// The target's database is there already, empty, and made in another way.
#[test]
fn an_empty_database_of_the_target_becomes_like_the_source_or_is_told() {
    still_open("differs silently", || {
        let (source, target) = (Server::start(16), Server::start(18));
        source.psql("postgres", "CREATE ROLE app");
        source.psql("postgres", "CREATE DATABASE erp OWNER app");
        source.psql(
            "erp",
            "CREATE TABLE t AS SELECT generate_series(1, 10) AS id",
        );
        target.psql("postgres", "CREATE ROLE other");
        target.psql(
            "postgres",
            "CREATE DATABASE erp OWNER other TEMPLATE template0 LOCALE 'C' ENCODING 'UTF8'",
        );
        let project = Project::between(&source, &target);
        let ended = project.run(&["run"]);
        let said = [ended.stdout.as_str(), &ended.stderr].concat();
        let differences: Vec<String> = compare::globals(&source, &target)
            .into_iter()
            .filter(|difference| difference.contains("erp"))
            .collect();
        assert!(
            differences.is_empty() || said.contains("locale"),
            "differs silently: {differences:?}"
        );
    });
}

/// What a maintenance database holds besides tables.
#[test]
fn settings_and_privileges_of_the_database_postgres_are_told() {
    still_open("is silent about", || {
        let (source, target) = (Server::start(16), Server::start(18));
        source.psql("postgres", "CREATE ROLE backup");
        source.psql("postgres", "CREATE DATABASE erp");
        source.psql(
            "postgres",
            "ALTER DATABASE postgres SET work_mem = '7MB';
             REVOKE CONNECT ON DATABASE postgres FROM PUBLIC;
             GRANT EXECUTE ON FUNCTION pg_switch_wal() TO backup;
             ALTER DATABASE template1 SET statement_timeout = '1h'",
        );
        let project = Project::between(&source, &target);
        let check = project.run(&["check"]).stdout;
        for word in ["work_mem", "CONNECT", "pg_switch_wal", "statement_timeout"] {
            assert!(
                check.contains(word),
                "check is silent about {word}:\n{check}"
            );
        }
    });
}

/// A role that is no superuser reads neither subscriptions nor the options of user mappings.
#[test]
fn what_a_limited_source_role_cannot_read_is_told() {
    still_open("is silent about", || {
        let (source, target) = (Server::start(16), Server::start(18));
        source.psql(
            "postgres",
            "CREATE ROLE reader LOGIN PASSWORD 'reads' IN ROLE pg_read_all_data",
        );
        source.psql("postgres", "CREATE DATABASE erp");
        source.psql(
            "erp",
            "CREATE EXTENSION postgres_fdw;
             CREATE SERVER far FOREIGN DATA WRAPPER postgres_fdw;
             CREATE USER MAPPING FOR postgres SERVER far OPTIONS (user 'someone', password 'hidden');",
        );
        source.psql(
            "erp",
            "CREATE SUBSCRIPTION orders CONNECTION 'host=localhost port=1 dbname=none' PUBLICATION p
             WITH (connect = false, slot_name = NONE)",
        );
        let project = Project::between(&source, &target)
            .source("user", "\"reader\"")
            .variable("SOURCE_PASSWORD", "reads")
            .with("[globals]\nmigrate = false\n");
        let check = project.run(&["check"]).stdout;
        for word in ["orders", "far"] {
            assert!(
                check.contains(word),
                "check is silent about {word}:\n{check}"
            );
        }
    });
}

/// pg_dump writes no privileges of what CREATE TYPE makes by itself.
#[test]
fn privileges_of_a_range_types_functions_arrive_or_are_told() {
    still_open("is silent about", || {
        let (source, target) = (Server::start(16), Server::start(18));
        source.psql("postgres", "CREATE ROLE app");
        source.psql("postgres", "CREATE DATABASE erp");
        source.psql(
            "erp",
            "CREATE TYPE span AS RANGE (subtype = float8);
             REVOKE EXECUTE ON FUNCTION span(float8, float8) FROM PUBLIC",
        );
        let project = Project::between(&source, &target);
        let check = project.run(&["check"]).stdout;
        project.run(&["run"]);
        let may = "SELECT has_function_privilege('app', 'span(float8, float8)', 'EXECUTE')";
        assert!(
            target.psql("erp", may) == "f" || check.contains("span("),
            "check is silent about span(float8, float8)"
        );
    });
}
