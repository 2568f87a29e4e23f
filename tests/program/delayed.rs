//! Delayed tables: loaded later, with their indexes as they were, while clients write to the target.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::Duration;

use serde_json::Value;

use crate::support::compare;
use crate::support::project::{Project, Running};
use crate::support::proxy::Proxy;
use crate::support::server::Server;

/// A database with a table to delay, as applications make them: a sequence, a trigger that must not fire, a
/// foreign key, and indexes of every kind that matters.
const SCHEMA: &str = "
    CREATE TABLE customers (id int PRIMARY KEY);
    INSERT INTO customers SELECT generate_series(1, 100);
    CREATE TABLE events (
        id bigserial PRIMARY KEY, customer int NOT NULL REFERENCES customers, code text NOT NULL,
        body text, at timestamptz NOT NULL DEFAULT now(), UNIQUE (code));
    INSERT INTO events (customer, code, body)
        SELECT 1 + n % 100, 'c' || n, CASE WHEN n % 7 = 0 THEN E'tab\\tback\\\\slash\\nline' END
        FROM generate_series(1, 20000) n;
    CREATE INDEX by_customer ON events (customer) WITH (fillfactor = 70);
    CREATE INDEX \"By Body\" ON events (lower(body)) WHERE body IS NOT NULL;
    COMMENT ON INDEX by_customer IS 'who''s';
    ALTER INDEX \"By Body\" ALTER COLUMN 1 SET STATISTICS 500;
    ALTER TABLE events CLUSTER ON by_customer;
    CREATE TABLE log (what text);
    CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN
            IF NEW.code ~ '^c[0-9]' THEN INSERT INTO public.log VALUES (TG_OP); END IF;
            RETURN NULL;
        END $$;
    CREATE TRIGGER usual AFTER INSERT ON events FOR EACH ROW EXECUTE PROCEDURE note();
    CREATE TRIGGER always AFTER INSERT ON events FOR EACH ROW EXECUTE PROCEDURE note();
    ALTER TABLE events ENABLE ALWAYS TRIGGER always;
    CREATE TABLE parts (id int, at int) PARTITION BY RANGE (at);
    CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (1) TO (10);
    CREATE TABLE \"parts 2\" PARTITION OF parts FOR VALUES FROM (10) TO (20);
    INSERT INTO parts SELECT n, 1 + n % 19 FROM generate_series(1, 1900) n;
    CREATE TABLE hollow (id int);
    CREATE MATERIALIZED VIEW events_view AS SELECT count(*) FROM events;
    CREATE VIEW between_views AS SELECT * FROM events_view;
    CREATE MATERIALIZED VIEW a_second_view AS SELECT count + 1 FROM between_views;
    CREATE MATERIALIZED VIEW never_filled AS SELECT 1 FROM events WITH NO DATA;
";

/// What must be the same before and after, but for the version's own spelling.
const INDEXES: &str = "
    SELECT c.relname, pg_get_indexdef(c.oid), obj_description(c.oid), x.indisclustered,
           (SELECT string_agg(attnum || '=' || attstattarget, ',') FROM pg_attribute
            WHERE attrelid = c.oid AND attstattarget >= 0)
    FROM pg_index x JOIN pg_class c ON c.oid = x.indexrelid
    JOIN pg_namespace n ON n.oid = c.relnamespace WHERE nspname = 'public' ORDER BY 1";

const TRIGGERS: &str = "SELECT tgname, tgenabled FROM pg_trigger WHERE NOT tgisinternal ORDER BY 1";

fn delayed(source: &Server, target: &Server) -> Project {
    source.psql("postgres", "CREATE DATABASE erp");
    source.psql("erp", SCHEMA);
    Project::between(source, target).with(
        "[delay]\ntable_data = [\"erp.public.events*\", \"erp.parts\", \"e?p.hollow\", \"erp.nothing\"]",
    )
}

fn table<'a>(report: &'a Value, name: &str) -> &'a Value {
    let tables = report["databases"][0]["tables"].as_array().unwrap();
    let of_name = tables.iter().find(|table| table["table"] == name);
    of_name.unwrap_or_else(|| panic!("{name} is not in the report: {report:#}"))
}

/// When the step started and ended, by the journal.
fn span(project: &Project, step: &str) -> (String, String) {
    let journal = project.journal();
    let at = |kind: &str| {
        let of_step = |record: &&Value| record["entry"][kind]["step"] == step;
        let record = journal.iter().find(of_step).expect("it is on record");
        record["at"].as_str().unwrap().to_owned()
    };
    (at("step-started"), at("step-done"))
}

#[test]
fn delayed_tables_arrive_with_their_indexes_and_without_their_triggers() {
    for (from, to, clients, snapshot) in [(12, 18, 18, "same"), (16, 17, 17, "later")] {
        let (source, target) = (Server::start(from), Server::start(to));
        let project = delayed(&source, &target)
            .with(&format!("snapshot = \"{snapshot}\""))
            .clients(clients);
        let finished = project.run(&["run"]).expect_code(0);
        // The pattern that matches nothing, and the materialized view that has no data to delay.
        assert!(
            finished.stderr.contains("erp.nothing"),
            "{}",
            finished.stderr
        );
        assert!(
            finished.stderr.contains("events_view"),
            "{}",
            finished.stderr
        );
        compare::assert_same(&source, &target, "erp");
        assert_eq!(source.psql("erp", INDEXES), target.psql("erp", INDEXES));
        assert_eq!(source.psql("erp", TRIGGERS), target.psql("erp", TRIGGERS));
        assert_eq!(target.psql("erp", "SELECT count(*) FROM log"), "0");
        let report = project.report();
        for (name, rows) in [
            ("events", 20000),
            ("parts_1", 900),
            ("parts 2", 1000),
            ("hollow", 0),
        ] {
            let table = table(&report, name);
            assert_eq!(table["source_rows"], rows, "{table}");
            assert_eq!(table["target_rows"], rows, "{table}");
            assert_eq!(table["match"], true, "{table}");
        }
        let steps = project.journal_steps("step-done");
        for step in [
            "erp/delayed-dump",
            "erp/drop-indexes",
            "erp/delayed-restore",
            "erp/recreate-indexes",
            "erp/delayed-verify",
        ] {
            assert!(steps.iter().any(|done| done == step), "{step} was not done");
        }
        project.run(&["run"]).expect_code(0);
    }
}

/// Clients may use a database as soon as it is verified.
const OPEN: &str = "[target.tuning]\nmode = \"safe\"\n";

#[test]
fn clients_insert_throughout_and_none_fails_or_is_lost() {
    let (source, target) = (Server::start(14), Server::start(18));
    // Far away for the run and near for the clients, so that many inserts fall into each step.
    let proxy = Proxy::to(target.port());
    let project = delayed(&source, &target)
        .with(OPEN)
        .target("port", &proxy.port().to_string());
    let mut running = project.start(&["run"]);
    let until_done = |running: &mut Running, step: &str| {
        running.until(step, || {
            project.state_directory().join("journal.jsonl").exists()
                && project
                    .journal_steps("step-done")
                    .contains(&step.to_owned())
        });
    };
    until_done(&mut running, "erp/target-counts");
    proxy.set_delay(Duration::from_millis(60));
    // What another session writes before that is a difference.
    until_done(&mut running, "erp/verify");
    let target = Arc::new(target);
    let stop = Arc::new(AtomicBool::new(false));
    let writer = {
        let (target, stop) = (Arc::clone(&target), Arc::clone(&stop));
        std::thread::spawn(move || {
            let mut inserted = 0;
            while !stop.load(Ordering::Relaxed) {
                target.psql(
                    "erp",
                    &format!("INSERT INTO events (customer, code) VALUES (7, 'client {inserted}')"),
                );
                inserted += 1;
            }
            inserted
        })
    };
    running.wait().expect_code(0);
    stop.store(true, Ordering::Relaxed);
    let inserted: i64 = writer.join().expect("no client failed");
    for step in ["drop-indexes", "delayed-restore", "recreate-indexes"] {
        let (from, to) = span(&project, &format!("erp/{step}"));
        let within = target.psql(
            "erp",
            &format!(
                "SELECT count(*) FROM events WHERE code LIKE 'client %' AND at BETWEEN '{from}' AND '{to}'"
            ),
        );
        assert_ne!(
            within, "0",
            "no client inserted during {step}, from {from} to {to}"
        );
    }
    let count = |what: &str| target.psql("erp", &format!("SELECT count(*) FROM events {what}"));
    assert_eq!(count("WHERE code LIKE 'client %'"), inserted.to_string());
    assert_eq!(count(""), (20000 + inserted).to_string());
    let report = project.report();
    let events = table(&report, "events");
    assert_eq!(events["source_rows"], 20000);
    assert_eq!(events["match"], true);
}

#[test]
fn a_key_that_clients_took_is_an_error_that_names_the_range_and_loads_nothing() {
    let (source, target) = (Server::start(16), Server::start(18));
    let project = delayed(&source, &target).with(OPEN);
    let point = "journal step-done erp/verify synced:1";
    project.killed_at(point);
    target.psql(
        "erp",
        "INSERT INTO events (id, customer, code) VALUES (17, 7, 'taken'), (19999, 7, 'too')",
    );
    let finished = project.run(&["run"]).expect_code(4);
    assert!(
        finished.stdout.contains("id from 17 to 19999"),
        "{}",
        finished.stdout
    );
    assert_eq!(target.psql("erp", "SELECT count(*) FROM events"), "2");
    assert_eq!(source.psql("erp", TRIGGERS), target.psql("erp", TRIGGERS));
    target.psql("erp", "DELETE FROM events");
    project.run(&["run"]).expect_code(0);
    compare::assert_same(&source, &target, "erp");
    assert_eq!(source.psql("erp", INDEXES), target.psql("erp", INDEXES));
}

#[test]
fn a_run_that_is_killed_in_the_delayed_phase_loads_nothing_twice() {
    let (source, target) = (Server::start(16), Server::start(18));
    let project = delayed(&source, &target).with("snapshot = \"later\"");
    let phases = [
        "erp/delayed-dump",
        "erp/drop-indexes",
        "erp/delayed-restore",
        "erp/recreate-indexes",
    ];
    for phase in phases {
        let mut running = project.start(&["run"]);
        let mut ended = false;
        while !ended {
            ended = !running.is_running();
            let begun = project.state_directory().join("journal.jsonl").exists()
                && project
                    .journal_steps("step-started")
                    .iter()
                    .any(|step| step == phase);
            if begun && !ended {
                running.kill9();
                break;
            }
            sleep(Duration::from_millis(2));
        }
        running.wait();
        assert_eq!(source.psql("erp", TRIGGERS), target.psql("erp", TRIGGERS));
    }
    project.run(&["run"]).expect_code(0);
    compare::assert_same(&source, &target, "erp");
    assert_eq!(source.psql("erp", INDEXES), target.psql("erp", INDEXES));
    assert_eq!(source.psql("erp", TRIGGERS), target.psql("erp", TRIGGERS));
}

#[test]
fn indexes_of_partitions_that_are_kept_are_in_every_format_of_the_plan() {
    let (source, target) = (Server::start(16), Server::start(18));
    source.psql("postgres", "CREATE DATABASE erp");
    source.psql(
        "erp",
        "CREATE TABLE parts (id int, at int) PARTITION BY RANGE (at);
         CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (1) TO (10);
         CREATE TABLE parts_2 PARTITION OF parts FOR VALUES FROM (10) TO (20);
         CREATE INDEX parts_at ON parts (at);
         CREATE INDEX alone ON parts_1 (id);
         INSERT INTO parts SELECT n, 1 + n % 19 FROM generate_series(1, 1900) n",
    );
    let project =
        Project::between(&source, &target).with("[delay]\ntable_data = [\"erp.parts_1\"]");
    for format in ["text", "json", "markdown", "mermaid", "dot"] {
        let plan = project.run(&["plan", "--dry-run", "--format", format]);
        let plan = plan.expect_code(0).stdout;
        for words in [
            "delay/index-kept",
            "public.parts_1_at_idx",
            "public.parts_at",
        ] {
            // Markdown may quote what it writes.
            let plain = plan.replace('\\', "");
            assert!(plain.contains(words), "{format}: {words}\n{plan}");
        }
        // What is dropped, and what is not delayed, is not reported.
        assert!(!plan.contains("public.alone"), "{plan}");
        assert!(!plan.contains("parts_2_at_idx"), "{plan}");
    }
    project.run(&["run"]).expect_code(0);
    compare::assert_same(&source, &target, "erp");
    assert_eq!(source.psql("erp", INDEXES), target.psql("erp", INDEXES));
    let journal = project.journal();
    let dropped = journal
        .iter()
        .find(|record| record["entry"]["change"]["change"]["change"] == "drop-indexes");
    let dropped = dropped.expect("an index was dropped").to_string();
    assert!(
        dropped.contains("alone") && !dropped.contains("parts_1_at_idx"),
        "{dropped}"
    );
}

#[test]
fn a_table_that_others_refer_to_is_not_delayed_without_them() {
    let (source, target) = (Server::start(14), Server::start(18));
    source.psql("postgres", "CREATE DATABASE shop");
    source.psql(
        "shop",
        "CREATE TABLE customers (id int PRIMARY KEY);
         CREATE TABLE orders (id int PRIMARY KEY, customer int REFERENCES customers);
         INSERT INTO customers VALUES (1); INSERT INTO orders VALUES (1, 1)",
    );
    let delaying = |tables: &str| {
        Project::between(&source, &target).with(&format!("[delay]\ntable_data = [{tables}]\n"))
    };
    delaying("\"shop.customers\"")
        .run(&["run"])
        .expect_code(3)
        .expect_words(&["delay/referenced", "public.orders", "orders_customer_fkey"]);
    assert_eq!(
        target.psql(
            "postgres",
            "SELECT count(*) FROM pg_database WHERE datname = 'shop'"
        ),
        "0"
    );
    delaying("\"shop.customers\", \"shop.orders\"")
        .run(&["run"])
        .expect_code(0);
    compare::assert_same(&source, &target, "shop");
}
