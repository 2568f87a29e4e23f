//! Clients give the names of delayed tables, of their columns, sequences and views to others while the rows wait: by a rotation of
//! a log, a copy that takes the place of its original, a release.

use crate::support::project::{Finished, Project, waiver};
use crate::support::server::Server;

const SCHEMA: &str = "CREATE TABLE log (id serial PRIMARY KEY, status text);
     INSERT INTO log (status) SELECT 'open' FROM generate_series(1, 500);
     CREATE INDEX log_status ON log (status);
     CREATE SEQUENCE free START 10;
     CREATE MATERIALIZED VIEW numbers AS SELECT count(*) AS c FROM log";

const ROTATE: &str = "ALTER TABLE log RENAME TO log_old; CREATE TABLE log (LIKE log_old INCLUDING ALL); \
                      INSERT INTO log (id, status) VALUES (1000, 'client')";

const ROTATE_BACK: &str = "ALTER TABLE log RENAME TO log_new; ALTER TABLE log_old RENAME TO log";

const REPLACE: &str = "CREATE TABLE log_new (LIKE log INCLUDING DEFAULTS INCLUDING CONSTRAINTS); \
                       ALTER SEQUENCE log_id_seq OWNED BY log_new.id; \
                       DROP TABLE log CASCADE; ALTER TABLE log_new RENAME TO log";

/// Killed once the step of `erp` was done. Clients use it by then.
fn killed_after(step: &str) -> (Server, Server, Project) {
    let (source, target) = (Server::start(16), Server::start(18));
    source.psql("postgres", "CREATE DATABASE erp");
    source.psql("erp", SCHEMA);
    let plan = "[delay]\ntable_data = [\"erp.log\"]\n[target.tuning]\nmode = \"off\"\n";
    let project = Project::between(&source, &target).with(plan);
    project.killed_at(&format!("journal step-done erp/{step} synced:1"));
    (source, target, project)
}

/// All of the journal's warnings are in the report.
fn warnings(project: &Project) -> String {
    project.report()["databases"][0]["warnings"].to_string()
}

fn is_whole(target: &Server, table: &str, column: &str) {
    let sql = format!("SELECT count(*), count({column}), min({column}), max(id) FROM {table}");
    assert_eq!(target.psql("erp", &sql), "500|500|open|500");
    let sql = format!("SELECT count(*) FROM pg_index WHERE indrelid = '{table}'::regclass");
    assert_eq!(target.psql("erp", &sql), "2");
    assert_eq!(target.psql("erp", "SELECT c FROM numbers"), "500");
}

#[test]
fn a_table_that_was_put_into_the_place_of_a_delayed_one_gets_none_of_its_rows_and_indexes() {
    for step in [
        "verify",
        "drop-indexes",
        "delayed-restore",
        "recreate-indexes",
    ] {
        let (_source, target, project) = killed_after(step);
        target.psql("erp", ROTATE);
        for _ in 0..2 {
            project.run(&["run"]).expect_code(4).expect_words(&[
                "the table public.log of the restore is called public.log_old, and another table has its name",
                "ALTER TABLE \"public\".\"log_old\" RENAME TO \"log\";",
            ]);
            let sql = "SELECT count(*), min(status) FROM log";
            assert_eq!(target.psql("erp", sql), "1|client", "{step}");
        }
        target.psql("erp", ROTATE_BACK);
        project.run(&["run"]).expect_code(0);
        is_whole(&target, "log", "status");
    }
}

#[test]
fn rows_that_went_with_a_table_that_clients_dropped_are_a_difference() {
    let (_source, target, project) = killed_after("delayed-restore");
    target.psql("erp", REPLACE);
    target.psql(
        "erp",
        "INSERT INTO log (status) SELECT 'c' FROM generate_series(1, 700)",
    );
    let words = ["dropped on the target since, and another has its name"];
    let differs = |run: Finished| {
        run.expect_code(5);
        let tables = project.report()["databases"][0]["tables"].to_string();
        assert!(tables.contains(words[0]), "{tables}");
    };
    differs(project.run(&["run"]));
    differs(project.run(&["run"]));
    let project = project.with(&waiver("target/differed"));
    project.run(&["run"]).expect_code(0).expect_words(&words);
}

/// Those of a table that has it under its own name are their clients'.
#[test]
fn a_table_without_any_of_its_loaded_rows_is_told() {
    let (_source, target, project) = killed_after("delayed-restore");
    target.psql("erp", "DELETE FROM log");
    let words = ["public.log: 500 rows were loaded, 500 were removed by clients since"];
    project.run(&["run"]).expect_code(0).expect_words(&words);
}

/// Nothing of the restore is lost with it: what clients wrote was theirs.
#[test]
fn a_table_that_was_dropped_and_made_again_before_the_load_gets_the_rows() {
    let (_source, target, project) = killed_after("drop-indexes");
    target.psql("erp", REPLACE);
    let words = ["the table public.log that the restore made was dropped on the target since"];
    project.run(&["run"]).expect_code(0).expect_words(&words);
    assert_eq!(target.psql("erp", "SELECT count(*) FROM log"), "500");
}

#[test]
fn a_column_that_has_the_name_of_another_by_then_gets_none_of_its_values() {
    for add in ["", "ALTER TABLE log ADD COLUMN status text DEFAULT 'n/a'"] {
        for step in ["verify", "drop-indexes", "delayed-restore"] {
            let (_source, target, project) = killed_after(step);
            target.psql("erp", "ALTER TABLE log RENAME COLUMN status TO state");
            target.psql("erp", add);
            let refused = project.run(&["run"]).expect_code(4).expect_words(&[
                "public.log: the column status of the restore is called state",
                "ALTER TABLE \"public\".\"log\" RENAME COLUMN \"state\" TO \"status\";",
            ]);
            assert!(!refused.said().contains("ADD COLUMN"), "{}", refused.said());
            if !add.is_empty() {
                target.psql("erp", "ALTER TABLE log RENAME COLUMN status TO other");
            }
            target.psql("erp", "ALTER TABLE log RENAME COLUMN state TO status");
            project.run(&["run"]).expect_code(0);
            is_whole(&target, "log", "status");
        }
    }
}

/// What clients do every day, and a rename once nothing goes by the name any more, stops no run.
#[test]
fn what_is_in_nobodys_way_stops_no_run() {
    let (_source, target, project) = killed_after("drop-indexes");
    target.psql(
        "erp",
        "ALTER TABLE log ADD COLUMN more int DEFAULT 7; ALTER TABLE log ADD COLUMN less int",
    );
    target.psql(
        "erp",
        "ALTER MATERIALIZED VIEW numbers RENAME TO numbers_old",
    );
    project.killed_at("journal step-done erp/recreate-indexes synced:1");
    let view = target.psql("erp", "SELECT c FROM numbers_old");
    assert_eq!(view, "500", "a view under another name was not refreshed");
    target.psql(
        "erp",
        "ALTER MATERIALIZED VIEW numbers_old RENAME TO numbers",
    );
    target.psql(
        "erp",
        "ALTER TABLE log RENAME COLUMN status TO state; ALTER TABLE log DROP COLUMN less",
    );
    project.run(&["run"]).expect_code(0);
    is_whole(&target, "log", "state");
}

#[test]
fn sequences_that_clients_put_into_the_places_of_others_are_not_behind_the_rows() {
    let cases = [
        (
            "ALTER TABLE log ALTER id DROP DEFAULT; ALTER TABLE log ALTER id ADD GENERATED BY DEFAULT AS IDENTITY",
            "the sequence public.log_id_seq1, which the column id of public.log uses, is not the one of the source: it was moved on \
             to 500",
        ),
        (
            "ALTER SEQUENCE log_id_seq RENAME TO log_key_seq",
            "the sequence public.log_id_seq is called public.log_key_seq on the target now",
        ),
        (
            "ALTER SEQUENCE log_id_seq RENAME TO log_gone; CREATE SEQUENCE log_id_seq; \
             ALTER TABLE log ALTER id SET DEFAULT nextval('log_id_seq')",
            "the sequence public.log_id_seq is called public.log_gone on the target now",
        ),
        (
            "CREATE SEQUENCE fresh; ALTER TABLE log ALTER id SET DEFAULT nextval('fresh'); DROP SEQUENCE log_id_seq",
            "the sequence public.log_id_seq of the source is not on the target",
        ),
        (
            "ALTER TABLE log ALTER id SET DEFAULT nextval('free')",
            "the sequence public.free, which the column id of public.log uses, is not the one of the source: it was moved on to 500",
        ),
    ];
    for (sql, told) in cases {
        let (_source, target, project) = killed_after("verify");
        target.psql("erp", sql);
        project.run(&["run"]).expect_code(0);
        let warnings = warnings(&project);
        assert!(warnings.contains(told), "{sql}: {warnings}");
        let id = target.psql(
            "erp",
            "INSERT INTO log (status) VALUES ('new') RETURNING id",
        );
        assert_eq!(id, "501", "{sql}");
    }
}
