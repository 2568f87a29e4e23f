//! What pg_dump leaves out of a database, and no count shows: told, before the run or after it.

use std::fs;
use std::path::Path;

use crate::support::project::Project;
use crate::support::server::Server;

fn servers(schema: &str) -> (Server, Server, Project) {
    let (source, target) = (Server::start(16), Server::start(18));
    source.psql("postgres", "CREATE DATABASE erp");
    source.psql("erp", schema);
    let project = Project::between(&source, &target);
    (source, target, project)
}

#[test]
fn changes_of_what_the_system_made_are_told_before() {
    let (_source, target, project) = servers(
        "CREATE TABLE docs (id int PRIMARY KEY, body text,
             words tsvector GENERATED ALWAYS AS (to_tsvector('pg_catalog.english', body)) STORED);
         ALTER TEXT SEARCH CONFIGURATION pg_catalog.english ALTER MAPPING FOR asciiword WITH simple;
         ALTER TEXT SEARCH DICTIONARY pg_catalog.german_stem (StopWords);
         INSERT INTO docs SELECT n, 'running shoes' FROM generate_series(1, 10) n;
         REVOKE ALL ON information_schema.tables FROM PUBLIC;
         REVOKE USAGE ON SCHEMA information_schema FROM PUBLIC",
    );
    let told = [
        "source/text-search: database \"erp\", configuration english: the text search configuration english of pg_catalog is not as \
         on the target",
        "source/text-search: database \"erp\", dictionary german_stem: ",
        "source/information-schema: database \"erp\", information_schema: its privileges were changed, and pg_dump brings none of \
         them along: tables, the schema itself",
    ];
    project.run(&["run"]).expect_code(0).says(&told);
    // What it is about.
    let words = target.psql("erp", "SELECT words FROM public.docs LIMIT 1");
    assert_eq!(words, "'run':1 'shoe':2");
    let sees = "SELECT has_schema_privilege('pg_monitor', 'information_schema', 'USAGE')";
    assert_eq!(target.psql("erp", sees), "t");
}

/// As scripts do that give back what later versions took away.
#[test]
fn what_users_made_in_schemas_of_the_system_is_told_before() {
    let (_source, target, project) = servers(
        "CREATE FUNCTION plus(text, int) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT $1 || $2::text';
         CREATE OPERATOR pg_catalog.+ (LEFTARG = text, RIGHTARG = int, FUNCTION = plus);
         CREATE TEXT SEARCH CONFIGURATION pg_catalog.own (COPY = pg_catalog.simple)",
    );
    let told = [
        "source/system-schema: database \"erp\", operator +(text,integer)",
        "source/system-schema: database \"erp\", text search configuration own",
    ];
    project.run(&["run"]).expect_code(0).says(&told);
    let made = "SELECT count(*) FROM pg_operator WHERE oid >= 16384";
    assert_eq!(target.psql("erp", made), "0");
}

/// Every version makes the same of these.
#[test]
fn what_nobody_changed_is_not_told() {
    for major in [10, 12, 14, 15, 16, 17] {
        let (source, target) = (Server::start(major), Server::start(18));
        source.psql("postgres", "CREATE DATABASE erp");
        source.psql("erp", "CREATE TABLE t AS SELECT 1 AS one");
        let said = Project::between(&source, &target)
            .run(&["check"])
            .expect_code(0)
            .said();
        for code in [
            "source/text-search",
            "source/information-schema",
            "source/system-schema",
        ] {
            assert!(!said.contains(code), "{major}: {said}");
        }
    }
}

/// Policies and functions read them, and a value may be a secret.
#[test]
fn customized_parameters_of_the_server_are_told_by_their_names() {
    let source = Server::of(16)
        .set("myapp.region", "eu-of-source")
        .set("myapp.same", "alike")
        .set("lo_compat_privileges", "on")
        .set("max_prepared_transactions", "7")
        .start();
    let target = Server::of(18)
        .set("myapp.same", "alike")
        .set("track_commit_timestamp", "on")
        .start();
    source.psql("postgres", "CREATE DATABASE erp");
    let project = Project::between(&source, &target);
    let check = project.run(&["check"]).expect_code(0);
    check.says(&[
        "target/other-settings",
        "lo_compat_privileges = on (target: off)",
        "max_prepared_transactions = 7 (target: 0)",
        "the customized parameters myapp.region, whose values are not shown here",
        "restart the server",
    ]);
    let said = check.said();
    for not_told in ["eu-of-source", "myapp.same", "track_commit"] {
        assert!(!said.contains(not_told), "{said}");
    }
}

/// As initdb and administrators make them for a whole server.
#[test]
fn settings_of_the_source_that_change_results_are_told() {
    let source = Server::of(16)
        .set("timezone", "Asia/Tokyo")
        .set("datestyle", "iso, dmy")
        .set("search_path", "app, public")
        .set("plpgsql.variable_conflict", "use_column")
        .start();
    let target = Server::start(18);
    source.psql(
        "postgres",
        "CREATE DATABASE erp; ALTER SYSTEM SET default_text_search_config = 'pg_catalog.german'; SELECT pg_reload_conf();
         ALTER DATABASE postgres SET intervalstyle = 'iso_8601'; ALTER ROLE postgres SET bytea_output = 'escape'",
    );
    source.psql(
        "erp",
        "CREATE SCHEMA app; CREATE TABLE app.events AS SELECT timestamptz '2024-01-01 23:00+00' AS at;
         CREATE MATERIALIZED VIEW app.days AS SELECT at::date AS day FROM app.events",
    );
    let project = Project::between(&source, &target);
    let told = [
        "target/other-settings",
        "datestyle = ISO, DMY (target: ISO, MDY)",
        "default_text_search_config = pg_catalog.german (target: ",
        "plpgsql.variable_conflict = use_column (target: error)",
        "search_path = app, public (target: \"$user\", public)",
        "timezone = Asia/Tokyo (target: ",
        "ALTER SYSTEM SET search_path = app, public; ALTER SYSTEM SET timezone = 'Asia/Tokyo'; SELECT pg_reload_conf()",
    ];
    let check = project.run(&["check"]).expect_code(0);
    check.says(&told);
    for other in ["intervalstyle", "bytea_output", "lc_"] {
        assert!(
            !check.said().contains(&format!("{other} =")),
            "{}",
            check.said()
        );
    }
    project
        .run(&["plan", "--dry-run"])
        .expect_code(0)
        .says(&told[..3]);
    // The statements do what they say.
    let plan = project
        .run(&["plan", "--dry-run", "--format", "json"])
        .stdout;
    let plan: serde_json::Value = serde_json::from_str(&plan).unwrap();
    let mut findings = plan["findings"].as_array().unwrap().iter();
    let finding = findings.find(|finding| finding["code"] == "target/other-settings");
    let fix = finding.unwrap()["fix"].as_str().unwrap();
    let (_, statements) = fix.split_once(": ").unwrap();
    for statement in statements.split("; ") {
        target.psql("postgres", statement);
    }
    project.run(&["run"]).expect_code(0);
    let said = project.run(&["check"]).expect_code(0).said();
    assert!(!said.contains("target/other-settings"), "{said}");
    let day = "SELECT day FROM app.days";
    assert_eq!(target.psql("erp", day), source.psql("erp", day));
}

/// An extension with a table, whose script makes an index, a trigger and a constraint as well.
fn install_extension(server: &Server) {
    let directory = server.psql(
        "postgres",
        "SELECT setting FROM pg_config WHERE name = 'SHAREDIR'",
    );
    let directory = Path::new(&directory).join("extension");
    let control = "default_version = '1.0'\nrelocatable = true\n";
    fs::write(directory.join("pg_migrate_jobs.control"), control).unwrap();
    let script = "
        CREATE TABLE job (id int PRIMARY KEY, command text CHECK (command <> ''), at timestamptz DEFAULT now());
        CREATE INDEX job_at ON job (at);
        CREATE FUNCTION job_set() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
        CREATE TRIGGER job_set BEFORE INSERT ON job FOR EACH ROW EXECUTE FUNCTION job_set();
        CREATE FUNCTION job_add(text) RETURNS void LANGUAGE sql AS 'SELECT';
        CREATE FUNCTION job_end(text) RETURNS void LANGUAGE sql AS 'SELECT'";
    fs::write(directory.join("pg_migrate_jobs--1.0.sql"), script).unwrap();
}

#[test]
fn what_was_changed_of_an_extensions_members_is_told_after_the_run() {
    let (source, target) = (Server::start(16), Server::start(18));
    install_extension(&source);
    install_extension(&target);
    for database in ["erp", "crm"] {
        source.psql("postgres", &format!("CREATE DATABASE {database}"));
        source.psql(database, "CREATE EXTENSION pg_migrate_jobs");
    }
    source.psql(
        "erp",
        "ALTER TABLE job ADD CONSTRAINT no_drop CHECK (command !~ 'drop');
         ALTER TABLE job ALTER command SET NOT NULL;
         ALTER TABLE job ENABLE ROW LEVEL SECURITY;
         ALTER TABLE job DISABLE TRIGGER job_set;
         DROP INDEX job_at; CREATE INDEX mine ON job (command);
         ALTER FUNCTION job_add(text) SECURITY DEFINER SET search_path = pg_catalog",
    );
    let finished = Project::between(&source, &target)
        .run(&["run"])
        .expect_code(0);
    finished.says(&[
        "erp: what the extension pg_migrate_jobs made was changed on the source, which pg_dump does not bring along: column command of \
         public.job, constraint no_drop of public.job, index job_at of public.job (not on the source), index mine of public.job, row \
         level security of public.job, security and settings of public.job_add(text), trigger job_set of public.job; make the same",
    ]);
    assert!(!finished.said().contains("crm: what"));
}
