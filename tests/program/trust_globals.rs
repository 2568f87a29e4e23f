//! Roles, and the properties of databases: what changed on the source since, and what existed on the target before.

use std::os::unix::fs::PermissionsExt;

use crate::support::compare;
use crate::support::held::Held;
use crate::support::place;
use crate::support::project::Project;
use crate::support::server::Server;

/// A run that was killed when the globals were done; then the source's roles changed.
#[test]
fn what_changed_after_the_globals_arrives_or_is_told() {
    let (source, target) = (Server::start(16), Server::start(18));
    source.psql("postgres", "CREATE ROLE app LOGIN PASSWORD 'first'");
    source.psql("postgres", "CREATE DATABASE erp OWNER app");
    source.psql(
        "erp",
        "CREATE TABLE t AS SELECT generate_series(1, 10) AS id",
    );
    let project = Project::between(&source, &target);
    let point = "journal step-done globals synced:1";
    project.killed_at(point);
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
}

/// As [`what_changed_after_the_globals_arrives_or_is_told`], and what a person did on the target stays.
#[test]
fn what_changed_on_both_sides_is_told_and_left() {
    let (source, target) = (Server::start(16), Server::start(18));
    source.psql(
        "postgres",
        "CREATE ROLE app LOGIN PASSWORD 'first'; CREATE ROLE twice LOGIN PASSWORD 'first'; CREATE ROLE kept LOGIN;
         CREATE ROLE gone; CREATE ROLE team; GRANT team TO app",
    );
    source.psql("postgres", "CREATE DATABASE erp OWNER app");
    source.psql(
        "erp",
        "CREATE TABLE t AS SELECT generate_series(1, 10) AS id",
    );
    let project = Project::between(&source, &target);
    let point = "journal step-done globals synced:1";
    project.killed_at(point);
    source.psql(
        "postgres",
        "ALTER ROLE twice PASSWORD 'second'; DROP ROLE gone; REVOKE team FROM app; ALTER ROLE app CREATEDB",
    );
    target.psql(
        "postgres",
        "ALTER ROLE twice PASSWORD 'of the target'; ALTER ROLE kept CONNECTION LIMIT 3",
    );
    let of_target = "SELECT rolpassword FROM pg_authid WHERE rolname = 'twice'";
    let password = target.psql("postgres", of_target);
    project.run(&["run"]).expect_code(0);
    assert_eq!(target.psql("postgres", of_target), password);
    let limit = "SELECT rolconnlimit FROM pg_roles WHERE rolname = 'kept'";
    assert_eq!(target.psql("postgres", limit), "3");
    let created = "SELECT rolcreatedb FROM pg_roles WHERE rolname = 'app'";
    assert_eq!(target.psql("postgres", created), "t");
    let warnings = project.report()["server"]["warnings"].to_string();
    for word in [
        "role \\\"twice\\\" changed on the source since",
        "role \\\"gone\\\" is no longer on the source",
        "role \\\"app\\\" is a member of role \\\"team\\\" on the target, and not on the source",
        "role \\\"kept\\\" was changed on the target since",
    ] {
        assert!(warnings.contains(word), "{word}: {warnings}");
    }
}

/// A role that came while the run was under way is named at its end, and what that advises brings it along.
#[test]
fn a_role_made_during_a_run_is_told() {
    let (source, target) = (Server::start(16), Server::start(18));
    source.psql("postgres", "CREATE DATABASE erp");
    source.psql(
        "erp",
        "CREATE TABLE t AS SELECT generate_series(1, 10) AS id",
    );
    let project = Project::between(&source, &target).source("lock_timeout", "\"60s\"");
    let mut running = project.start(&["run"]);
    running.until("the globals", || {
        project.state_directory().join("journal.jsonl").exists()
            && project
                .journal_steps("step-started")
                .contains(&"globals".to_owned())
    });
    let held = Held::begin(&source, "erp", "LOCK TABLE t IN ACCESS EXCLUSIVE MODE");
    running.until("a lock that the dump waits for", || {
        source.psql("erp", "SELECT count(*) FROM pg_locks WHERE NOT granted") != "0"
    });
    source.psql("postgres", "CREATE ROLE latecomer");
    held.commit();
    let ended = running.wait().expect_code(0);
    assert!(
        ended
            .stdout
            .contains("role \"latecomer\" was made on the source during the run"),
        "{}",
        ended.stdout
    );
    project.run(&["reset", "--step", "globals"]).expect_code(0);
    target.psql("erp", "INSERT INTO t VALUES (11)");
    project.run(&["run"]).expect_code(0);
    assert_eq!(target.psql("erp", "SELECT count(*) FROM t"), "11");
    assert_eq!(
        target.psql(
            "postgres",
            "SELECT count(*) FROM pg_roles WHERE rolname = 'latecomer'"
        ),
        "1"
    );
}

/// A pg_dumpall whose output ends between two statements would lose roles silently.
#[test]
fn globals_without_their_closing_line_are_not_used() {
    let (source, target) = (Server::start(16), Server::start(18));
    source.psql("postgres", "CREATE ROLE app");
    let project = Project::between(&source, &target);
    let programs = project.directory().join("bin");
    std::fs::create_dir(&programs).unwrap();
    let real = place::clients(18);
    let wrapper = programs.join("pg_dumpall");
    let script = format!(
        "#!/bin/bash\nset -o pipefail\n\"{}\" \"$@\" | grep -v 'cluster dump complete'\n",
        real.join("pg_dumpall").display()
    );
    std::fs::write(&wrapper, script).unwrap();
    std::fs::set_permissions(&wrapper, std::fs::Permissions::from_mode(0o755)).unwrap();
    source.psql("postgres", "CREATE DATABASE erp OWNER app");
    let project = project.variable("PATH", place::path_with(&[programs, real]));
    let ended = project.run(&["run"]).expect_code(4);
    assert!(
        ended.stdout.contains("has no closing line"),
        "{}",
        ended.stdout
    );
}

#[test]
fn a_database_added_later_gets_its_new_owner() {
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
}

/// The target's database is there already, empty, and made in another way.
#[test]
fn an_empty_database_of_the_target_becomes_like_the_source_or_is_told() {
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
}

/// What a maintenance database holds besides tables.
#[test]
fn settings_and_privileges_of_the_database_postgres_are_told() {
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
}

/// A role that is no superuser reads neither subscriptions nor the options of user mappings.
#[test]
fn what_a_limited_source_role_cannot_read_is_told() {
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
}

/// pg_dump writes no privileges of what CREATE TYPE makes by itself.
#[test]
fn privileges_of_a_range_types_functions_arrive_or_are_told() {
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
}

/// What else no client program writes: on the oldest and a newer server.
#[test]
fn what_is_in_the_system_and_what_roles_that_are_gone_left_is_told() {
    for version in [10, 16] {
        let (source, target) = (Server::start(version), Server::start(18));
        source.psql("postgres", "CREATE ROLE app; CREATE ROLE gone");
        source.psql("postgres", "CREATE DATABASE template_of_forms");
        source.psql(
            "template_of_forms",
            "ALTER FUNCTION pg_catalog.pg_sleep(double precision) OWNER TO app;
             CREATE TYPE pg_catalog.mood AS ENUM ('good');
             CREATE FUNCTION tax() RETURNS int LANGUAGE sql AS 'SELECT 1';
             GRANT EXECUTE ON FUNCTION tax() TO gone;
             CREATE TABLE t AS SELECT generate_series(1, 10) AS id",
        );
        source.psql(
            "postgres",
            "GRANT SELECT ON pg_catalog.pg_authid TO app; ALTER DATABASE postgres CONNECTION LIMIT 77;
             ALTER DATABASE template1 OWNER TO app",
        );
        source.psql(
            "postgres",
            "DELETE FROM pg_catalog.pg_authid WHERE rolname = 'gone'",
        );
        let project = Project::between(&source, &target);
        let check = project.run(&["check"]);
        let check = [check.stdout, check.stderr].concat();
        for word in [
            "pg_sleep(",
            "pg_catalog.mood",
            "tax()",
            "pg_authid",
            "LIMIT 77",
            "owner app",
        ] {
            assert!(
                check.contains(word),
                "{version}: check is silent about {word}:\n{check}"
            );
        }
    }
}

/// What the target has already need not be set there.
#[test]
fn what_a_person_has_set_on_the_target_is_not_told_again() {
    let (source, target) = (Server::start(16), Server::start(18));
    source.psql("postgres", "CREATE DATABASE erp");
    for server in [&source, &target] {
        server.psql(
            "postgres",
            "ALTER ROLE ALL SET enable_sort = off; ALTER ROLE postgres SET enable_sort = on",
        );
    }
    source.psql("postgres", "ALTER ROLE ALL SET lock_timeout = '31s'");
    let project = Project::between(&source, &target);
    let check = project.run(&["check"]).stdout;
    assert!(check.contains("lock_timeout"), "{check}");
    assert!(!check.contains("enable_sort"), "{check}");
}

/// A role that may not grant is warned by the server, and no more than that.
#[test]
fn what_the_target_warns_of_is_in_the_report() {
    let (source, target) = (Server::start(16), Server::start(18));
    source.psql("postgres", "CREATE DATABASE erp");
    source.psql(
        "erp",
        "CREATE FUNCTION warned() RETURNS int LANGUAGE plpgsql IMMUTABLE AS
             $$ BEGIN RAISE WARNING 'the index was built with care'; RETURN 1; END $$;
         CREATE TABLE late AS SELECT generate_series(1, 10) AS id;
         CREATE INDEX careful ON late ((id + public.warned()))",
    );
    let project =
        Project::between(&source, &target).with("[delay]\ntable_data = [\"erp.public.late\"]\n");
    project.run(&["run"]).expect_code(0);
    let report = project.report().to_string();
    assert!(
        report.contains("the target warned: the index was built with care"),
        "{report}"
    );
}

/// A run of a plan that is completed moves nothing; what it says brings it along.
#[test]
fn what_changed_after_the_plan_was_completed_is_told() {
    let (source, target) = (Server::start(16), Server::start(18));
    source.psql("postgres", "CREATE ROLE app LOGIN PASSWORD 'first'");
    source.psql("postgres", "CREATE DATABASE erp OWNER app");
    let project = Project::between(&source, &target);
    project.run(&["run"]).expect_code(0);
    let again = project.run(&["run"]).expect_code(0);
    assert!(!again.stderr.contains("warning"), "{}", again.stderr);
    source.psql("postgres", "ALTER ROLE app PASSWORD 'second'");
    let again = project.run(&["run"]).expect_code(0);
    assert!(
        again
            .stderr
            .contains("role \"app\" changed on the source since the plan was completed"),
        "{}",
        again.stderr
    );
    project.run(&["reset", "--step", "globals"]).expect_code(0);
    project.run(&["run"]).expect_code(0);
    assert_eq!(compare::globals(&source, &target), Vec::<String>::new());
}

/// What belongs to a database as a whole is set when it is opened, and then it is its clients'.
#[test]
fn what_changed_of_a_database_after_it_was_opened_is_told_until_it_is_done() {
    let (source, target) = (Server::start(16), Server::start(18));
    source.psql("postgres", "CREATE ROLE app LOGIN; CREATE ROLE guest");
    source.psql("postgres", "CREATE DATABASE erp OWNER app");
    source.psql("postgres", "CREATE DATABASE crm OWNER app");
    source.psql(
        "erp",
        "CREATE TABLE t AS SELECT generate_series(1, 10) AS id",
    );
    // Without settings for the load a database opens as soon as it is verified.
    let project = Project::between(&source, &target).with("[target.tuning]\nmode = \"off\"\n");
    let at = "journal step-done crm/verify synced:1";
    let killed = project
        .start_with(&["run"], &[("PG_MIGRATE_FAILPOINT", at.as_ref())])
        .wait();
    assert_eq!(killed.signal, Some(9), "{}", killed.stderr);
    let changes = "ALTER DATABASE crm SET work_mem = '7MB'; ALTER DATABASE crm CONNECTION LIMIT 5;
                   ALTER ROLE app IN DATABASE crm SET search_path = public; GRANT CREATE ON DATABASE crm TO guest";
    source.psql("postgres", changes);
    let told = "database \"crm\": since it was created on the target, its connection limit, privileges, setting search_path of \
                role app, setting work_mem changed on the source; make the same change on the target (ALTER DATABASE \"crm\")";
    project.run(&["run"]).expect_code(0);
    let report = std::fs::read_to_string(project.state_directory().join("report.json")).unwrap();
    assert!(report.contains(&told.replace('"', "\\\"")), "{report}");
    let again = project.run(&["run"]).expect_code(0);
    assert!(again.stderr.contains(told), "{}", again.stderr);
    target.psql("postgres", changes);
    let again = project.run(&["run"]).expect_code(0);
    assert!(!again.stderr.contains("warning"), "{}", again.stderr);
    compare::assert_same(&source, &target, "crm");
}

/// pg_dumpall writes nothing of what is the default, so what a role lost on the source would stay on the target.
#[test]
fn what_a_role_lost_between_two_runs_is_taken_away_or_told() {
    let (source, target) = (Server::start(16), Server::start(18));
    source.psql(
        "postgres",
        "CREATE ROLE app LOGIN PASSWORD 'first' CONNECTION LIMIT 5 VALID UNTIL '2040-01-01'; CREATE ROLE mute LOGIN PASSWORD 'x';
         CREATE ROLE team; GRANT team TO app WITH ADMIN OPTION; GRANT SET ON PARAMETER log_statement TO app",
    );
    source.psql("postgres", "CREATE DATABASE erp OWNER app");
    let project = Project::between(&source, &target);
    let point = "journal step-done globals synced:1";
    project.killed_at(point);
    source.psql(
        "postgres",
        "ALTER ROLE app CONNECTION LIMIT -1 VALID UNTIL 'infinity'; ALTER ROLE mute PASSWORD NULL;
         UPDATE pg_authid SET rolvaliduntil = NULL WHERE rolname = 'app';
         REVOKE ADMIN OPTION FOR team FROM app; REVOKE SET ON PARAMETER log_statement FROM app",
    );
    project.run(&["run"]).expect_code(0);
    let role = "SELECT rolconnlimit || ' ' || (rolpassword IS NOT NULL) || ' ' || coalesce(rolvaliduntil, 'infinity') \
         FROM pg_authid WHERE rolname = ";
    let app = target.psql("postgres", &format!("{role}'app'"));
    assert_eq!(app, "-1 true infinity");
    let mute = target.psql("postgres", &format!("{role}'mute'"));
    assert_eq!(mute, "-1 false infinity");
    let warnings = project.report()["server"]["warnings"].to_string();
    for word in [
        "role \\\"app\\\" may grant role \\\"team\\\" to others on the target, and not on the source",
        "role \\\"app\\\" has SET on parameter log_statement on the target, and not on the source",
    ] {
        assert!(warnings.contains(word), "{word}: {warnings}");
    }
}

/// What tells a role of the plan is its object id, until its migration has ended once.
#[test]
fn roles_are_compared_again_after_a_run_that_died_in_its_globals() {
    let (source, target) = (Server::start(16), Server::start(18));
    for server in [&source, &target] {
        server.psql("postgres", "CREATE ROLE svc LOGIN");
    }
    source.psql("postgres", "CREATE ROLE app LOGIN CREATEDB");
    source.psql("postgres", "CREATE DATABASE erp OWNER app");
    let project = Project::between(&source, &target);
    // Its transaction is not committed.
    project.killed_at("journal created-roles synced:1");
    target.psql(
        "postgres",
        "ALTER ROLE svc NOLOGIN; CREATE ROLE app CONNECTION LIMIT 3",
    );
    project.run(&["run"]).expect_code(3).says(&[
        "target/role-differs: ROLE svc: the role \"svc\" was on the target before this plan, which did not make it; it is not as on the \
         source, and the run sets the source's: LOGIN",
        "target/role-differs: ROLE app: the role \"app\" was on the target before this plan",
    ]);
    let logins =
        "SELECT rolname, rolcanlogin FROM pg_roles WHERE rolname IN ('app', 'svc') ORDER BY 1";
    assert_eq!(target.psql("postgres", logins), "app|f\nsvc|f");
    target.psql("postgres", "ALTER ROLE svc LOGIN; DROP ROLE app");
    project.killed_at("globals statement:2");
    // It is made and not set yet, and no other's.
    assert_eq!(target.psql("postgres", logins), "app|f\nsvc|t");
    let check = project.run(&["check"]).expect_code(0).said();
    assert!(!check.contains("target/role-differs"), "{check}");
    project.run(&["run"]).expect_code(0);
    assert_eq!(target.psql("postgres", logins), "app|t\nsvc|t");
}
