//! What pg_dump leaves out of a database, and no count shows: told, before the run or after it.

use std::fs;
use std::path::Path;

use crate::support::paused::Paused;
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
         REVOKE USAGE ON SCHEMA information_schema FROM PUBLIC;
         UPDATE pg_cast SET castcontext = 'i' WHERE castsource = 'int'::regtype AND casttarget = 'bool'::regtype;
         ALTER FUNCTION pg_catalog.lower(text) SET search_path = pg_catalog;
         CREATE COLLATION pg_catalog.own (locale = 'C');
         REVOKE USAGE ON LANGUAGE sql FROM PUBLIC; GRANT USAGE ON LANGUAGE sql TO pg_monitor;
         CREATE FUNCTION shorter(int, text) RETURNS bool LANGUAGE sql IMMUTABLE AS 'SELECT $1 < length($2)';
         CREATE FUNCTION compared(int, text) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1 - length($2)';
         CREATE OPERATOR <# (LEFTARG = int, RIGHTARG = text, FUNCTION = shorter);
         ALTER OPERATOR FAMILY integer_ops USING btree ADD OPERATOR 1 <# (int, text), FUNCTION 1 (int, text) compared(int, text);
         ALTER TABLESPACE pg_default SET (random_page_cost = 1.1);
         GRANT CREATE ON TABLESPACE pg_default TO pg_monitor;
         COMMENT ON TABLESPACE pg_default IS 'nvme'",
    );
    let told = [
        "source/text-search: database \"erp\", configuration english: the text search configuration english of pg_catalog is not as \
         on the target",
        "source/text-search: database \"erp\", dictionary german_stem: ",
        "source/information-schema: database \"erp\", information_schema: its privileges were changed, and pg_dump brings none of \
         them along: tables, the schema itself",
        "source/system-object: database \"erp\", cast (integer AS boolean): the cast (integer AS boolean) of pg_catalog is not as on \
         the target (implicit)",
        "source/system-object: database \"erp\", function lower(text): ",
        "source/system-schema: database \"erp\", pg_catalog: collations of a schema of the system that the target does not have, which \
         pg_dump leaves out: collation own",
        "source/system-object: database \"erp\", language sql: its privileges are not those of the target",
        "beside its owner, on the source pg_monitor may use it",
        "source/system-object: database \"erp\", operator family pg_catalog.integer_ops USING btree: it is a part of the system",
        "source/system-tablespace: TABLESPACE pg_default: each server has its own tablespace of this name",
    ];
    let advised = [
        "ALTER TABLESPACE pg_default SET (random_page_cost = 1.1); COMMENT ON TABLESPACE pg_default IS 'nvme'; GRANT CREATE ON \
         TABLESPACE pg_default TO pg_monitor",
        "ALTER OPERATOR FAMILY pg_catalog.integer_ops USING btree ADD OPERATOR 1 public.<#(integer,text), FUNCTION 1 (integer, text) \
         public.compared(integer,text)",
    ];
    project.run(&["check"]).expect_code(0).says(&advised);
    project.run(&["run"]).expect_code(0).says(&told);
    for statements in advised {
        target.psql("erp", statements);
    }
    let said = project.run(&["check"]).expect_code(0).said();
    assert!(!said.contains("source/system-tablespace"), "{said}");
    // What it is about.
    let words = target.psql("erp", "SELECT words FROM public.docs LIMIT 1");
    assert_eq!(words, "'run':1 'shoe':2");
    let sees = "SELECT has_schema_privilege('pg_monitor', 'information_schema', 'USAGE')";
    assert_eq!(target.psql("erp", sees), "t");
    let cast = "SELECT castcontext FROM pg_cast WHERE castsource = 'int'::regtype AND casttarget = 'bool'::regtype";
    assert_eq!(target.psql("erp", cast), "e");
}

/// One that was made before, from a template of its own, is looked at itself.
#[test]
fn changes_of_the_system_in_a_database_that_was_there_are_told() {
    let (_source, target, project) = servers("SELECT 1");
    target.psql("postgres", "CREATE DATABASE erp");
    target.psql(
        "erp",
        "ALTER TEXT SEARCH CONFIGURATION pg_catalog.english ALTER MAPPING FOR asciiword WITH simple",
    );
    project
        .run(&["check"])
        .expect_code(0)
        .says(&["source/text-search: database \"erp\", configuration english"]);
}

#[test]
fn changes_of_the_system_that_the_target_has_as_well_are_not_told() {
    let changes = "
        UPDATE pg_cast SET castcontext = 'i' WHERE castsource = 'int'::regtype AND casttarget = 'bool'::regtype;
        ALTER FUNCTION pg_catalog.lower(text) SET search_path = pg_catalog;
        CREATE COLLATION pg_catalog.own (locale = 'C');
        REVOKE USAGE ON LANGUAGE sql FROM PUBLIC;
        ALTER TABLESPACE pg_default SET (random_page_cost = 1.1)";
    let (_source, target, project) = servers(changes);
    target.psql("postgres", changes);
    let said = project.run(&["check"]).expect_code(0).said();
    assert!(!said.contains("source/system-"), "{said}");
}

/// What the findings before the run cannot know.
#[test]
fn what_comes_to_the_source_during_a_run_is_told_at_its_end() {
    let (source, _target, project) = servers("CREATE TABLE t AS SELECT 1 AS id");
    source.psql("erp", "CREATE MATERIALIZED VIEW early AS SELECT id FROM t");
    let (project, globals) = Paused::of(project, "pg_dumpall", "--globals-only");
    let mut running = project.start(&["run"]);
    globals.until_reached(&mut running);
    source.psql(
        "erp",
        "ALTER TEXT SEARCH CONFIGURATION pg_catalog.english ALTER MAPPING FOR asciiword WITH simple;
         CREATE TABLE outbox (written xid8);
         CREATE MATERIALIZED VIEW late AS SELECT id FROM t",
    );
    source.psql("postgres", "ALTER ROLE ALL SET work_mem = '7MB'");
    globals.go();
    let ended = running.wait().expect_code(0);
    ended.says(&[
        "since this run's first look the source has what a dump does not bring along as it is: source/text-search: database \"erp\", \
         configuration english",
        "does not bring along as it is: source/server-values: database \"erp\", public.outbox",
        "does not bring along as it is: source/setting-of-all-roles: work_mem",
    ]);
    let said = ended.said();
    assert!(!said.contains("views-computed"), "{said}");
    // It is a finding of the next run.
    let said = project.run(&["check"]).said();
    assert!(said.contains("source/text-search"), "{said}");
}

/// What reads from a slot goes on reading from the source.
#[test]
fn replication_slots_are_told_before() {
    let source = Server::of(16).set("wal_level", "logical").start();
    let target = Server::start(18);
    source.psql("postgres", "CREATE DATABASE erp");
    source.psql(
        "erp",
        "SELECT pg_create_logical_replication_slot('cdc', 'pgoutput'), pg_create_physical_replication_slot('standby1')",
    );
    let told = [
        "source/replication-slots: ",
        "\"cdc\" (logical in database erp), \"standby1\" (physical)",
    ];
    Project::between(&source, &target)
        .run(&["check"])
        .expect_code(0)
        .says(&told);
}

/// An outbox that waits for old transactions, an audit log by TG_RELID, a foreign server that leads to the old server, a view that keeps its
/// rows, a subscription that goes on.
#[test]
fn what_means_something_else_on_another_server_is_told_before() {
    let (source, target, project) = servers(
        "CREATE TABLE outbox (id int PRIMARY KEY, written xid8, seen pg_snapshot, at pg_lsn[], plain oid);
         INSERT INTO outbox VALUES (1, '900', '800:800:', '{0/16B3748}', 1);
         CREATE TABLE gone (a int); CREATE TABLE gone_too (a int); DROP TABLE gone, gone_too;
         CREATE TABLE audit (relid oid, more oid[], named regclass, at timestamptz DEFAULT now());
         CREATE TABLE by_name (named regclass, called regproc, by regrole);
         INSERT INTO audit (relid, named) VALUES ('by_name'::regclass, 'by_name');
         CREATE SUBSCRIPTION feed CONNECTION 'host=127.0.0.1 port=1 dbname=x' PUBLICATION p WITH (connect = false, slot_name = 'feed_slot');
         ALTER SUBSCRIPTION feed ENABLE;
         CREATE SUBSCRIPTION idle CONNECTION 'host=127.0.0.1 port=1 dbname=x' PUBLICATION p WITH (connect = false);
         CREATE EXTENSION postgres_fdw;
         CREATE SERVER other FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host 'elsewhere.invalid', port '5432');
         CREATE TABLE sales AS SELECT 1 AS n;
         CREATE MATERIALIZED VIEW frozen AS SELECT sum(n) FROM sales;
         CREATE MATERIALIZED VIEW never AS SELECT sum(n) FROM sales WITH NO DATA;
         UPDATE sales SET n = 2",
    );
    let options = format!("host '127.0.0.1', port '{}'", source.port());
    let itself =
        format!("CREATE SERVER itself FOREIGN DATA WRAPPER postgres_fdw OPTIONS ({options})");
    source.psql("erp", &itself);
    let plan = project.run(&["plan"]).expect_code(0);
    plan.says(&["source/views-computed", "its migrating role: public.frozen"]);
    let run = project.run(&["run"]).expect_code(0);
    run.says(&[
        "source/server-values: database \"erp\", public.outbox: it keeps what the source counts for itself, and the target counts from \
         elsewhere: written xid8, seen pg_snapshot, at pg_lsn[]; ",
        "source/server-values: database \"erp\", public.audit: it keeps object ids of the source: relid oid, more oid[]; large objects have",
        "source/subscription-disabled: database \"erp\", feed: the subscription is enabled, and arrives disabled and without its tables: the \
         target gets nothing of its publisher, whose slot \"feed_slot\" goes on",
        "source/leads-here: database \"erp\", itself: the foreign server leads to ",
    ]);
    let said = format!("{} {}", plan.said(), run.said());
    for not_told in [
        "erp\", other",
        "public.never",
        "erp\", public.sales",
        "public.by_name",
        "erp\", idle",
    ] {
        assert!(!said.contains(not_told), "{said}");
    }
    // What it is about.
    assert_eq!(source.psql("erp", "SELECT sum FROM frozen"), "1");
    assert_eq!(target.psql("erp", "SELECT sum FROM frozen"), "2");
    let by_number = "SELECT relid = 'by_name'::regclass, named = 'by_name'::regclass FROM audit";
    assert_eq!(source.psql("erp", by_number), "t|t");
    assert_eq!(target.psql("erp", by_number), "f|t");
    let enabled = "SELECT subenabled FROM pg_subscription WHERE subname = 'feed'";
    assert_eq!(source.psql("erp", enabled), "t");
    assert_eq!(target.psql("erp", enabled), "f");
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
            "source/system-object",
            "source/server-values",
            "source/leads-here",
            "source/views-computed",
            "source/replication-slots",
            "source/createrole",
            "source/inherited-columns",
            "source/partition-identity",
            "source/shadowed-function",
            "source/subscription-disabled",
            "source/stored-lexemes",
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
         level security of public.job, security definer of public.job_add(text), settings of public.job_add(text), trigger job_set of public.job; make the same",
    ]);
    assert!(!finished.said().contains("crm: what"));
}

/// Whether the target has the extension of the same version (unaccent, dict_int) or of a later one (pg_trgm).
#[test]
fn options_attributes_and_owners_of_an_extensions_members_are_told_after_the_run() {
    let (source, target) = (Server::start(12), Server::start(18));
    source.psql("postgres", "CREATE ROLE keeper");
    source.psql("postgres", "CREATE DATABASE erp");
    source.psql("postgres", "CREATE DATABASE crm");
    let made = "CREATE EXTENSION unaccent; CREATE EXTENSION dict_int; CREATE EXTENSION pg_trgm; CREATE EXTENSION pg_stat_statements";
    source.psql("crm", made);
    source.psql("erp", made);
    source.psql(
        "erp",
        "ALTER TEXT SEARCH DICTIONARY intdict (MAXLEN = 4, REJECTLONG = true);
         ALTER FUNCTION unaccent(text) IMMUTABLE LEAKPROOF PARALLEL UNSAFE COST 3;
         ALTER FUNCTION unaccent(regdictionary, text) OWNER TO keeper;
         ALTER VIEW pg_stat_statements OWNER TO keeper;
         ALTER TEXT SEARCH DICTIONARY unaccent OWNER TO keeper;
         ALTER FUNCTION similarity(text, text) SECURITY DEFINER SET search_path = public",
    );
    let finished = Project::between(&source, &target)
        .run(&["run"])
        .expect_code(0);
    finished.says(&[
        "the extension dict_int made was changed on the source, which pg_dump does not bring along: options of text search dictionary \
         public.intdict; make",
        "owner of public.unaccent(regdictionary,text), owner of text search dictionary public.unaccent, parallel safety of \
         public.unaccent(text), volatility of public.unaccent(text); make",
        "cost of public.unaccent(text), leakproof of public.unaccent(text), owner",
        "pg_stat_statements made was changed on the source, which pg_dump does not bring along: owner of public.pg_stat_statements; make",
        "pg_trgm made was changed on the source, which pg_dump does not bring along: security definer of public.similarity(text,text), \
         settings of public.similarity(text,text); make",
    ]);
    // Another version, and nobody changed anything.
    assert!(
        !finished.said().contains("crm: what"),
        "{}",
        finished.said()
    );
}

/// ALTER EXTENSION … ADD: pg_dump takes them for what the extension's script makes.
#[test]
fn what_was_added_to_an_extension_is_told_after_the_run() {
    let (source, target) = (Server::start(16), Server::start(18));
    install_extension(&source);
    install_extension(&target);
    source.psql("postgres", "CREATE DATABASE erp");
    source.psql(
        "erp",
        "CREATE EXTENSION pg_migrate_jobs;
         CREATE FUNCTION mine() RETURNS int LANGUAGE sql AS 'SELECT 1'; CREATE VIEW seen AS SELECT 1 AS one;
         CREATE DOMAIN whole AS int;
         ALTER EXTENSION pg_migrate_jobs ADD FUNCTION mine(); ALTER EXTENSION pg_migrate_jobs ADD VIEW seen;
         ALTER EXTENSION pg_migrate_jobs ADD DOMAIN whole",
    );
    let finished = Project::between(&source, &target)
        .run(&["run"])
        .expect_code(0);
    finished
        .says(&["all of public.mine(), all of public.seen, all of public.whole; make the same"]);
}
