//! Numbers of sequences that clients of both servers got, or that were given out again, while delayed rows waited.

use crate::support::held::Held;
use crate::support::project::Project;
use crate::support::server::Server;

const LATER: &str = "[delay]\ntable_data = [\"erp.items\"]\nsnapshot = \"later\"\n[target.tuning]\nmode = \"off\"\n";

const TOLD: &str = "clients of both servers were given values of the same sequences: public.orders_id_seq (after 500: up to 501 on the \
                    source, up to 501 on the target)";

const ALICE: &str = "INSERT INTO orders (customer) VALUES ('ALICE'); INSERT INTO items SELECT max(id), 'hers' FROM orders";

const BOB: &str = "INSERT INTO orders (customer) VALUES ('BOB')";

fn servers() -> (Server, Server) {
    let (source, target) = (Server::start(16), Server::start(18));
    source.psql("postgres", "CREATE DATABASE erp");
    source.psql(
        "erp",
        "CREATE TABLE orders (id serial PRIMARY KEY, customer text); CREATE SEQUENCE idle;
         CREATE TABLE items (of int REFERENCES orders, what text); CREATE INDEX items_of ON items (of);
         INSERT INTO orders (customer) SELECT 'c' || n FROM generate_series(1, 500) n;
         INSERT INTO items SELECT n, 'thing' FROM generate_series(1, 500) n",
    );
    (source, target)
}

/// Where clients write to both servers between the two snapshots, what the source numbered is not what the target numbered. What the run
/// itself moved on before it was killed is no client's.
#[test]
fn numbers_that_both_servers_gave_out_are_told() {
    let (source, target) = servers();
    for (name, on_source, on_target) in [
        ("both", true, true),
        ("target", false, true),
        ("source", true, false),
    ] {
        let project = Project::between(&source, &target).named(name).with(LATER);
        project.killed_at("journal step-done erp/verify synced:1");
        if on_source {
            source.psql("erp", ALICE);
        }
        if on_target {
            target.psql("erp", BOB);
        }
        project.killed_at("began the load of \\\"public\\\".\\\"items\\\":1");
        let run = project
            .run(&["run"])
            .expect_code(if name == "source" { 5 } else { 0 });
        assert_eq!(run.said().contains(TOLD), name == "both", "{}", run.said());
        target.psql("postgres", "DROP DATABASE erp");
        source.psql("erp", "DELETE FROM items WHERE of > 500; DELETE FROM orders WHERE id > 500; SELECT setval('orders_id_seq', 500)");
    }
}

/// The target gives one out last, while an index cannot be dropped yet.
#[test]
fn a_number_that_the_target_gives_out_right_before_the_load_is_told() {
    let (source, target) = servers();
    let project = Project::between(&source, &target).with(LATER);
    project.killed_at("journal step-done erp/verify synced:1");
    source.psql("erp", ALICE);
    let report = Held::begin(&target, "erp", "SELECT count(*) FROM items");
    let mut run = project.start(&["run"]);
    run.until("a DROP INDEX that waits", || {
        target.psql("erp", "SELECT count(*) FROM pg_locks WHERE NOT granted") == "1"
    });
    target.psql("erp", BOB);
    report.commit();
    run.wait().expect_code(0).says(&[TOLD]);
}

/// As an application does when it starts, by the rows that are there.
#[test]
fn numbers_of_a_sequence_that_was_set_back_are_told_and_where_rows_share_them_a_difference() {
    let (source, target) = (Server::start(16), Server::start(18));
    source.psql("postgres", "CREATE DATABASE erp");
    source.psql(
        "erp",
        "CREATE TABLE log (id bigserial, what text); INSERT INTO log (what) SELECT 'old' FROM generate_series(1, 500);
         CREATE TABLE keyed (id serial PRIMARY KEY); INSERT INTO keyed SELECT FROM generate_series(1, 500)",
    );
    let project = Project::between(&source, &target)
        .with("[delay]\ntable_data = [\"erp.*\"]\n[target.tuning]\nmode = \"off\"\n");
    project.killed_at("journal step-done erp/verify synced:1");
    target.psql(
        "erp",
        "SELECT setval('log_id_seq', coalesce(max(id) + 1, 1), false) FROM log;
         SELECT setval('keyed_id_seq', coalesce(max(id) + 1, 1), false) FROM keyed;
         INSERT INTO log (what) VALUES ('new'), ('new')",
    );
    let told = "sequences were set back on the target, or made again: public.keyed_id_seq (at 0, after 500), public.log_id_seq (at 2, after \
                500)";
    project.killed_at("journal load-committed erp public.log synced:1");
    project.run(&["run"]).expect_code(5).says(&[told]);
    let note = "2 numbers of the column id are in several rows each: the sequence public.log_id_seq was set back";
    let differing = || project.report()["databases"][0]["tables"].to_string();
    assert!(differing().contains(note), "{}", differing());
    // As advised.
    target.psql("erp", "UPDATE log SET id = id + 1000 WHERE what = 'new'");
    project.run(&["run"]).expect_code(0);
}

/// The application starts between two loads that fail.
#[test]
fn a_sequence_that_is_set_back_between_two_loads_that_fail_is_told_and_a_difference() {
    let (source, target) = (Server::start(16), Server::start(18));
    source.psql("postgres", "CREATE DATABASE erp");
    source.psql(
        "erp",
        "CREATE TABLE log (id bigserial, what text); INSERT INTO log (what) SELECT 'old' FROM generate_series(1, 500);
         CREATE TABLE big (id int PRIMARY KEY, what text); INSERT INTO big SELECT n, repeat('x', 200) FROM generate_series(1, 3000) n",
    );
    let project = Project::between(&source, &target)
        .with("[delay]\ntable_data = [\"erp.*\"]\n[target.tuning]\nmode = \"off\"\n");
    project.killed_at("journal step-done erp/verify synced:1");
    target.psql("erp", "INSERT INTO big VALUES (5, 'of a client')");
    let failed = project.run(&["run"]).expect_code(4).said();
    assert!(!failed.contains("set back"), "{failed}");
    target.psql(
        "erp",
        "SELECT setval('log_id_seq', 1, false); INSERT INTO log (what) VALUES ('new'), ('new'), ('new');
         DELETE FROM big WHERE id = 5; INSERT INTO big VALUES (7, 'of a client')",
    );
    let told =
        "sequences were set back on the target, or made again: public.log_id_seq (at 3, after 500)";
    project.run(&["run"]).expect_code(4).says(&[told]);
    target.psql("erp", "DELETE FROM big WHERE id = 7");
    project.run(&["run"]).expect_code(5).says(&[told]);
    let note = "3 numbers of the column id are in several rows each";
    let differing = project.report()["databases"][0]["tables"].to_string();
    assert!(differing.contains(note), "{differing}");
}

/// Nor are those of clients alone.
#[test]
fn numbers_that_several_rows_of_the_source_have_are_no_difference() {
    let (source, target) = (Server::start(16), Server::start(18));
    source.psql("postgres", "CREATE DATABASE erp");
    source.psql(
        "erp",
        "CREATE TABLE line (batch serial, what text); INSERT INTO line SELECT 1 + n / 3, 'old' FROM generate_series(1, 30) n;
         SELECT setval('line_batch_seq', 11)",
    );
    let project = Project::between(&source, &target)
        .with("[delay]\ntable_data = [\"erp.*\"]\n[target.tuning]\nmode = \"off\"\n");
    project.killed_at("journal step-done erp/verify synced:1");
    target.psql(
        "erp",
        "SELECT setval('line_batch_seq', 1, false); INSERT INTO line VALUES (99, 'new'), (99, 'new')",
    );
    let run = project.run(&["run"]).expect_code(0);
    run.says(&["sequences were set back on the target, or made again: public.line_batch_seq"]);
}
