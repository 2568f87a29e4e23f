//! What is in a tablespace ends where the plan says, or in the tablespace of the same name.

use std::fs;
use std::path::PathBuf;

use crate::support::data::give_to_server;
use crate::support::paused::Paused;
use crate::support::project::Project;
use crate::support::server::Server;

/// Makes a tablespace in a directory of its own.
fn space(server: &Server, name: &str) -> PathBuf {
    let directory = server.socket_directory().join(name);
    fs::create_dir(&directory).unwrap();
    give_to_server(&directory);
    server.psql(
        "postgres",
        &format!(
            "CREATE TABLESPACE {name} LOCATION '{}'",
            directory.display()
        ),
    );
    directory
}

/// A source with a tablespace that the target lacks, and a table in it.
fn spaced() -> (Server, Server) {
    let (source, target) = (Server::start(16), Server::start(18));
    space(&source, "fast");
    source.psql("postgres", "CREATE DATABASE erp");
    source.psql(
        "erp",
        "CREATE TABLE t TABLESPACE fast AS SELECT generate_series(1, 100) AS id",
    );
    (source, target)
}

/// Where everything is that is not in the database's default tablespace, and what that is.
fn places(server: &Server, database: &str) -> String {
    server.psql(
        database,
        "SELECT string_agg(what, ', ' ORDER BY what) FROM ( \
             SELECT c.relname || ' ' || s.spcname AS what FROM pg_class c \
             JOIN pg_tablespace s ON s.oid = c.reltablespace \
             WHERE c.relnamespace = 'public'::regnamespace \
             UNION ALL SELECT 'database ' || s.spcname FROM pg_database d \
             JOIN pg_tablespace s ON s.oid = d.dattablespace WHERE datname = current_database()) AS found",
    )
}

#[test]
fn a_missing_tablespace_is_told() {
    let (source, target) = spaced();
    let project = Project::between(&source, &target);
    for command in [&["check"][..], &["plan", "--dry-run"], &["run"]] {
        let check = project.run(command).expect_code(3);
        let said = [check.stdout, check.stderr].concat();
        assert!(
            said.contains("[tablespaces]") && said.contains("fast"),
            "{said}"
        );
    }
    // A choice that is not there is no better.
    let chosen = Project::between(&source, &target).with("[tablespaces]\nfast = \"ssd\"\n");
    let check = chosen.run(&["check"]).expect_code(3);
    let said = [check.stdout, check.stderr].concat();
    assert!(
        said.contains("\"ssd\", which is not on the target"),
        "{said}"
    );
    // What does not migrate needs none.
    Project::between(&source, &target)
        .with("[databases]\nexclude = [\"erp\"]\n")
        .run(&["check"])
        .expect_code(0);
    // What is advised helps.
    space(&target, "fast");
    project.run(&["run"]).expect_code(0);
    assert_eq!(places(&target, "erp"), "database pg_default, t fast");
}

#[test]
fn a_missing_tablespace_is_replaced_by_the_plans_choice() {
    let (source, target) = spaced();
    source.psql("postgres", "CREATE DATABASE placed TABLESPACE fast");
    Project::between(&source, &target)
        .with("[tablespaces]\nfast = \"default\"\n")
        .run(&["run"])
        .expect_code(0);
    assert_eq!(target.psql("erp", "SELECT count(*) FROM t"), "100");
    assert_eq!(places(&target, "erp"), "database pg_default");
    assert_eq!(places(&target, "placed"), "database pg_default");
    let made = "SELECT count(*) FROM pg_tablespace WHERE spcname = 'fast'";
    assert_eq!(target.psql("postgres", made), "0");
}

/// Tables, partitioned tables, materialized views, indexes of every making, a database, settings: each where the plan says,
/// and what it does not speak of where it was.
#[test]
fn everything_goes_to_the_tablespace_that_the_plan_names() {
    let (source, target) = (Server::start(16), Server::start(18));
    for name in ["fast", "old", "same"] {
        space(&source, name);
    }
    for name in ["ssd", "same"] {
        space(&target, name);
    }
    source.psql("postgres", "CREATE ROLE app");
    for sql in [
        "CREATE DATABASE erp",
        "CREATE DATABASE placed TABLESPACE fast",
        "CREATE DATABASE moved TABLESPACE fast",
        "ALTER DATABASE erp SET default_tablespace = 'same'",
        "ALTER ROLE app SET default_tablespace = 'fast'",
        "ALTER ROLE app IN DATABASE erp SET temp_tablespaces = old, same, fast",
        "GRANT CREATE ON TABLESPACE fast, same TO app",
    ] {
        source.psql("postgres", sql);
    }
    source.psql(
        "erp",
        "SET default_tablespace = '';
         CREATE TABLE t (id int PRIMARY KEY USING INDEX TABLESPACE fast, a int) TABLESPACE fast;
         INSERT INTO t SELECT n, n FROM generate_series(1, 1000) n;
         CREATE INDEX t_old ON t (a) TABLESPACE old;
         CREATE INDEX t_plain ON t (a, id);
         CREATE TABLE plain (id int UNIQUE USING INDEX TABLESPACE same);
         CREATE TABLE kept (id int) TABLESPACE same;
         CREATE TABLE gone (id int) TABLESPACE old;
         CREATE MATERIALIZED VIEW v TABLESPACE fast AS SELECT count(*) FROM t;
         CREATE MATERIALIZED VIEW grouped TABLESPACE fast AS SELECT id, a, count(*) FROM t GROUP BY id;
         CREATE INDEX grouped_id ON grouped (id) TABLESPACE fast;
         CREATE TABLE parts (id int) PARTITION BY RANGE (id) TABLESPACE fast;
         CREATE INDEX parts_id ON parts (id) TABLESPACE same;
         CREATE TABLE part PARTITION OF parts FOR VALUES FROM (1) TO (10) TABLESPACE pg_default;
         CREATE TABLE big (id int PRIMARY KEY, a int) TABLESPACE fast;
         CREATE INDEX big_a ON big (a) TABLESPACE fast;
         INSERT INTO big SELECT n, n FROM generate_series(1, 1000) n;",
    );
    source.psql("placed", "CREATE TABLE t (id int) TABLESPACE pg_default");
    let project = Project::between(&source, &target)
        .with("[tablespaces]\nfast = \"ssd\"\nold = \"default\"\n")
        .with("[delay]\ntable_data = [\"erp.big\"]\n");
    project.run(&["run"]).expect_code(0);
    let rows = "SELECT (SELECT count(*) FROM t), (SELECT count(*) FROM big), (SELECT count FROM v)";
    assert_eq!(target.psql("erp", rows), source.psql("erp", rows));
    let expected = places(&source, "erp").replace(" fast", " ssd");
    let expected: Vec<&str> = expected
        .split(", ")
        .filter(|what| !what.ends_with(" old"))
        .collect();
    assert_eq!(places(&target, "erp"), expected.join(", "));
    assert_eq!(places(&target, "placed"), "database ssd, t pg_default");
    let settings = "SELECT string_agg(array_to_string(setconfig, ' '), '; ' ORDER BY setdatabase = 0, setrole) \
                    FROM pg_db_role_setting";
    assert_eq!(
        target.psql("postgres", settings),
        "default_tablespace=same; temp_tablespaces=\"\", same, ssd; default_tablespace=ssd"
    );
    // Until it was brought along.
    let told = "database \"moved\": since it was created on the target, its tablespace changed on the source";
    source.psql("postgres", "ALTER DATABASE moved SET TABLESPACE old");
    project.run(&["run"]).expect_code(0).says(&[told]);
    target.psql("postgres", "ALTER DATABASE moved SET TABLESPACE pg_default");
    let said = project.run(&["run"]).expect_code(0).said();
    assert!(!said.contains("since it was created"), "{said}");
}

/// Roles and tablespaces that migrate make one whose directory is there, empty.
#[test]
fn a_tablespace_is_made_where_its_directory_is_free() {
    let (source, target) = (Server::start(16), Server::start(18));
    let directory = space(&source, "fast");
    source.psql("postgres", "CREATE DATABASE erp");
    source.psql(
        "postgres",
        "ALTER DATABASE erp SET default_tablespace = 'fast'",
    );
    let project = Project::between(&source, &target);
    project.run(&["check"]).expect_code(3);
    // Nothing is in it, so that the source does without its files.
    for entry in fs::read_dir(&directory).unwrap() {
        fs::remove_dir(entry.unwrap().path()).unwrap();
    }
    project.run(&["check"]).expect_code(0);
    project.run(&["run"]).expect_code(0);
    let place = "SELECT pg_tablespace_location(oid) FROM pg_tablespace WHERE spcname = 'fast'";
    assert_eq!(
        target.psql("postgres", place),
        directory.display().to_string()
    );
    assert_eq!(target.psql("erp", "SHOW default_tablespace"), "fast");
}

/// What the run sets of a tablespace that was there is told before.
#[test]
fn a_tablespace_that_was_there_and_is_not_alike_is_told() {
    let (source, target) = spaced();
    space(&target, "fast");
    for server in [&source, &target] {
        space(server, "same");
        server.psql("postgres", "CREATE ROLE app");
        // With another salt: it is left as it is there.
        let kept =
            "SET password_encryption = 'scram-sha-256'; CREATE ROLE kept LOGIN PASSWORD 'alike'";
        server.psql("postgres", kept);
        for sql in [
            "ALTER TABLESPACE same SET (seq_page_cost = 2)",
            "GRANT CREATE ON TABLESPACE same TO app",
        ] {
            server.psql("postgres", sql);
        }
    }
    for sql in [
        "ALTER TABLESPACE fast SET (random_page_cost = 1.1)",
        "GRANT CREATE ON TABLESPACE fast TO app, kept",
        "COMMENT ON TABLESPACE fast IS 'of the source'",
        "ALTER TABLESPACE fast OWNER TO app",
    ] {
        source.psql("postgres", sql);
    }
    for sql in [
        "ALTER TABLESPACE fast SET (random_page_cost = 3, effective_io_concurrency = 7)",
        "GRANT CREATE ON TABLESPACE fast TO PUBLIC WITH GRANT OPTION",
    ] {
        let sql = sql.replace(" WITH GRANT OPTION", "");
        target.psql("postgres", &sql);
    }
    let project = Project::between(&source, &target);
    let ended = project.run(&["run"]).expect_code(0);
    ended.says(&[
        "target/tablespace-differs: TABLESPACE fast: it was on the target before this plan, which did not make it, and is not as on the \
         source; the run sets the source's: random_page_cost = 1.1 (there 3), CREATE for the role \"kept\", its \
         comment; what the target has is left as it is: its owner \
         \"postgres\" (\"app\" on the source), a setting effective_io_concurrency, CREATE for PUBLIC",
    ]);
    assert!(!ended.said().contains("TABLESPACE same"));
    let may = "SELECT has_tablespace_privilege('kept', 'fast', 'CREATE')";
    assert_eq!(target.psql("postgres", may), "t");
    let options = "SELECT spcoptions FROM pg_tablespace WHERE spcname = 'fast'";
    assert!(
        target
            .psql("postgres", options)
            .contains("random_page_cost=1.1")
    );
}

/// What this plan set and the source gave up stays on the target.
#[test]
fn what_a_tablespace_lost_on_the_source_between_two_runs_is_told() {
    let (source, target) = spaced();
    space(&target, "fast");
    for sql in [
        "ALTER TABLESPACE fast SET (random_page_cost = 1.1)",
        "GRANT CREATE ON TABLESPACE fast TO PUBLIC",
        "COMMENT ON TABLESPACE fast IS 'of the source'",
    ] {
        source.psql("postgres", sql);
    }
    let project = Project::between(&source, &target);
    project.killed_at("journal step-done globals synced:1");
    for sql in [
        "ALTER TABLESPACE fast RESET (random_page_cost)",
        "ALTER TABLESPACE fast SET (seq_page_cost = 2)",
        "REVOKE CREATE ON TABLESPACE fast FROM PUBLIC",
        "COMMENT ON TABLESPACE fast IS NULL",
    ] {
        source.psql("postgres", sql);
    }
    let told = "target/tablespace-differs: TABLESPACE fast: this plan made or set it, and it is not as on the source; what the target \
                has is left as it is: a setting random_page_cost, CREATE for PUBLIC, a comment";
    project.run(&["run"]).expect_code(0).says(&[told]);
    let options = "SELECT spcoptions::text LIKE '%seq_page_cost=2%' FROM pg_tablespace WHERE spcname = 'fast'";
    assert_eq!(target.psql("postgres", options), "t");
}

/// The run places what was there at its first look.
#[test]
fn what_gets_another_tablespace_during_a_run_is_told() {
    let (source, target) = spaced();
    space(&source, "late");
    space(&target, "new");
    source.psql("erp", "CREATE TABLE u AS SELECT 1 AS id");
    let project =
        Project::between(&source, &target).with("[tablespaces]\nfast = \"new\"\nlate = \"new\"\n");
    let (project, globals) = Paused::of(project, "pg_dumpall", "--globals-only");
    let mut running = project.start(&["run"]);
    globals.until_reached(&mut running);
    source.psql("erp", "ALTER TABLE u SET TABLESPACE late");
    globals.go();
    running.wait().expect_code(0).says(&[
        "database \"erp\": since this run's first look, these were put into another tablespace on the source",
        "table public.u into \"late\"",
    ]);
    assert_eq!(places(&target, "erp"), "database pg_default, t new");
}

/// Also where our role may neither set it nor take it away.
#[test]
fn more_that_a_tablespace_grants_is_told_to_a_limited_role() {
    let (source, target) = spaced();
    space(&target, "fast");
    target.psql(
        "postgres",
        "CREATE ROLE mover LOGIN CREATEDB CREATEROLE PASSWORD 'of the mover'; CREATE ROLE stranger",
    );
    target.psql(
        "postgres",
        "GRANT CREATE ON TABLESPACE fast TO mover, stranger",
    );
    Project::between(&source, &target)
        .target("user", "\"mover\"")
        .variable("TARGET_PASSWORD", "of the mover")
        .run(&["check"])
        .says(&[
            "target/tablespace-differs: TABLESPACE fast",
            "what the target has is left as it is: CREATE for the role \"stranger\"",
        ]);
}

/// Not what is in use: that it stays is told.
#[test]
fn what_is_not_verified_goes_where_the_plan_says_now() {
    let (source, target) = spaced();
    space(&target, "a");
    space(&target, "b");
    let plan = |place: &str| format!("[tablespaces]\nfast = \"{place}\"\n");
    let mut project = Project::between(&source, &target).with(&plan("a"));
    project.killed_at("erp/target-counts start:1");
    assert_eq!(places(&target, "erp"), "database pg_default, t a");
    project.set_rest(&plan("b"));
    project.run(&["run"]).expect_code(0);
    assert_eq!(places(&target, "erp"), "database pg_default, t b");
    project.set_rest(&plan("a"));
    project.run(&["run"]).expect_code(0).says(&[
        "tablespaces.fast was \"b\", now it is \"a\" (what is in databases that are verified stays where it is)",
    ]);
    assert_eq!(places(&target, "erp"), "database pg_default, t b");
}
