//! Delayed tables: what comes after the regular data has to fit to it.

use crate::support::compare;
use crate::support::open::still_open;
use crate::support::project::{Finished, Project};
use crate::support::server::{Server, identifier};

/// A run between servers 16 and 18 that was killed once `erp` was verified, before its delayed tables were dumped.
fn verified_and_killed(schema: &str, delay: &str) -> (Server, Server, Project) {
    let (source, target) = (Server::start(16), Server::start(18));
    source.psql("postgres", "CREATE DATABASE erp");
    source.psql("erp", schema);
    let project = Project::between(&source, &target).with(&format!("[delay]\n{delay}\n"));
    let point = "journal step-done erp/verify synced:1";
    let killed = project.start_with(&["run"], &[("PG_MIGRATE_FAILPOINT", point.as_ref())]);
    assert_eq!(killed.wait().signal, Some(9));
    (source, target, project)
}

#[test]
fn sequences_are_not_behind_the_rows_of_a_later_snapshot() {
    still_open("data of sequences", || {
        let (source, target, project) = verified_and_killed(
            "CREATE TABLE events (id serial PRIMARY KEY, word text);
             CREATE TABLE visits (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, word text);
             INSERT INTO events (word) SELECT 'e' FROM generate_series(1, 500);
             INSERT INTO visits (word) SELECT 'v' FROM generate_series(1, 500)",
            "table_data = [\"erp.events\", \"erp.visits\"]\nsnapshot = \"later\"",
        );
        for table in ["events", "visits"] {
            let sql =
                format!("INSERT INTO {table} (word) SELECT 'more' FROM generate_series(1, 100)");
            source.psql("erp", &sql);
        }
        project.run(&["run"]).expect_code(0);
        for table in ["events", "visits"] {
            let rows = target.psql("erp", &format!("SELECT count(*) FROM {table}"));
            assert_eq!(rows, "600");
        }
        compare::assert_same(&source, &target, "erp");
    });
}

const PARENTS: &str = "
    CREATE TABLE parents (id int PRIMARY KEY);
    CREATE TABLE children (id int PRIMARY KEY, parent int NOT NULL REFERENCES parents);
    INSERT INTO parents SELECT generate_series(1, 100);
    INSERT INTO children SELECT n, 1 + n % 100 FROM generate_series(1, 1000) n";

/// Either there are none, or the run says so and names the table.
fn assert_no_silent_orphans(target: &Server, finished: &Finished) {
    let orphans = target.psql(
        "erp",
        "SELECT count(*) FROM children c WHERE NOT EXISTS (SELECT FROM parents p WHERE p.id = c.parent)",
    );
    let said = [finished.stdout.as_str(), &finished.stderr].concat();
    let is_told = finished.code != Some(0) && said.contains("children");
    assert!(
        orphans == "0" || is_told,
        "{orphans} orphans, exit {:?}",
        finished.code
    );
}

#[test]
fn a_parent_that_a_client_deletes_before_its_delayed_children_come_is_told() {
    still_open("10 orphans, exit Some(0)", || {
        let (_source, target, project) = verified_and_killed(
            PARENTS,
            "table_data = [\"erp.children\"]\nsnapshot = \"same\"",
        );
        target.psql("erp", "DELETE FROM parents WHERE id = 17");
        let finished = project.run(&["run"]);
        assert_no_silent_orphans(&target, &finished);
    });
}

#[test]
fn children_of_parents_that_came_after_the_regular_snapshot_are_told() {
    still_open("50 orphans, exit Some(0)", || {
        let (source, target, project) = verified_and_killed(
            PARENTS,
            "table_data = [\"erp.children\"]\nsnapshot = \"later\"",
        );
        source.psql(
            "erp",
            "INSERT INTO parents VALUES (101);
             INSERT INTO children SELECT 1000 + n, 101 FROM generate_series(1, 50) n",
        );
        let finished = project.run(&["run"]);
        assert_no_silent_orphans(&target, &finished);
    });
}

/// The patterns of pg_dump are in the encoding of its command line, names in that of the database.
#[test]
fn a_delayed_table_with_an_umlaut_in_latin1_is_loaded_once() {
    still_open("rows were loaded twice", || {
        let (source, target) = (Server::start(16), Server::start(18));
        source.psql(
            "postgres",
            "CREATE DATABASE erp ENCODING LATIN1 LOCALE 'C' TEMPLATE template0",
        );
        let table = identifier("größe");
        source.psql(
            "erp",
            &format!(
                "CREATE TABLE {table} AS SELECT n AS id, 'ä' AS word FROM generate_series(1, 500) n"
            ),
        );
        let project = Project::between(&source, &target)
            .with("[delay]\ntable_data = [\"erp.public.größe\"]\n");
        project.run(&["run"]).expect_code(0);
        let rows = target.psql("erp", &format!("SELECT count(*) FROM {table}"));
        assert_eq!(rows, "500", "rows were loaded twice");
        compare::assert_same(&source, &target, "erp");
    });
}

/// Children before their parents by name, and a role that may not load as a replica does.
#[test]
fn foreign_keys_between_delayed_tables_do_not_keep_a_limited_role_out() {
    still_open("a_children_parent_fkey", || {
        let (source, target) = (Server::start(16), Server::start(18));
        source.psql("postgres", "CREATE ROLE app LOGIN");
        source.psql("postgres", "CREATE DATABASE erp OWNER app");
        // By name, children come before parents.
        source.psql(
            "erp",
            "SET ROLE app;
             CREATE TABLE b_parents (id int PRIMARY KEY);
             CREATE TABLE a_children (id int PRIMARY KEY, parent int NOT NULL REFERENCES b_parents);
             INSERT INTO b_parents SELECT generate_series(1, 100);
             INSERT INTO a_children SELECT n, 1 + n % 100 FROM generate_series(1, 1000) n",
        );
        target.psql(
            "postgres",
            "CREATE ROLE mover LOGIN CREATEDB CREATEROLE PASSWORD 'of the mover'",
        );
        let project = Project::between(&source, &target)
            .target("user", "\"mover\"")
            .variable("TARGET_PASSWORD", "of the mover")
            .with("[delay]\ntable_data = [\"erp.a_children\", \"erp.b_parents\"]\n");
        project.run(&["run"]).expect_code(0);
        compare::assert_same(&source, &target, "erp");
    });
}

/// Clients write while an index is built where the plan says `concurrently`.
#[test]
fn clients_write_while_indexes_of_delayed_tables_are_built() {
    still_open("unknown key `concurrently`", || {
        let (source, target) = (Server::start(16), Server::start(18));
        source.psql("postgres", "CREATE DATABASE erp");
        source.psql(
            "erp",
            "CREATE TABLE events (id serial PRIMARY KEY, word text);
             CREATE FUNCTION slow(t text) RETURNS text IMMUTABLE LANGUAGE plpgsql AS
                 $$ BEGIN IF current_setting('server_version_num')::int >= 180000 THEN PERFORM pg_sleep(0.004); END IF; RETURN t; END $$;
             INSERT INTO events (word) SELECT 'e' FROM generate_series(1, 500);
             CREATE INDEX by_word ON events (public.slow(word))",
        );
        let project = Project::between(&source, &target)
            .with("[delay]\ntable_data = [\"erp.events\"]\nconcurrently = true\n");
        project.run(&["check", "--offline"]).expect_code(0);
        let mut running = project.start(&["run"]);
        running.until("the index build", || {
            let building =
                "SELECT count(*) FROM pg_stat_progress_create_index WHERE datname = 'erp'";
            project.state_directory().join("journal.jsonl").exists()
                && project
                    .journal_steps("step-started")
                    .contains(&"erp/recreate-indexes".to_owned())
                && target.psql("postgres", building) != "0"
        });
        target.psql(
            "erp",
            "SET lock_timeout = '200ms'; INSERT INTO events (word) VALUES ('of a client')",
        );
        running.wait().expect_code(0);
        assert_eq!(target.psql("erp", "SELECT count(*) FROM events"), "501");
    });
}
