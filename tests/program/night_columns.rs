//! The application is released while delayed tables wait: what rows do not fit to is said before their indexes are dropped, and
//! the statements that it names lead on.

use crate::support::compare;
use crate::support::held::Held;
use crate::support::project::Project;
use crate::support::server::Server;

const SCHEMA: &str = "CREATE TABLE orders (id int PRIMARY KEY, status text);
     INSERT INTO orders SELECT n, 'open' FROM generate_series(1, 500) n;
     CREATE INDEX orders_status ON orders (status);
     CREATE TABLE parts (id int, day date) PARTITION BY RANGE (id);
     CREATE TABLE parts1 PARTITION OF parts FOR VALUES FROM (0) TO (100);
     CREATE TABLE parts2 PARTITION OF parts FOR VALUES FROM (100) TO (200);
     INSERT INTO parts SELECT n, '2026-01-01' FROM generate_series(0, 199) n";

const INDEXES: &str = "SELECT count(*) FROM pg_indexes WHERE indexname = 'orders_status'";

/// Killed when the database was verified, before its delayed tables are dumped. Clients use it by then.
fn released(snapshot: &str) -> (Server, Server, Project) {
    killed(snapshot, "[target.tuning]\nmode = \"off\"\n")
}

/// As [`released`]; what the plan says beside.
fn killed(snapshot: &str, rest: &str) -> (Server, Server, Project) {
    let (source, target) = (Server::start(16), Server::start(18));
    source.psql("postgres", "CREATE DATABASE shop");
    source.psql("shop", SCHEMA);
    let delay = format!(
        "[delay]\ntable_data = [\"shop.orders\", \"shop.parts*\"]\nsnapshot = \"{snapshot}\"\n{rest}"
    );
    let project = Project::between(&source, &target).with(&delay);
    let point = "journal step-done shop/verify synced:1".as_ref();
    let killed = project.start_with(&["run"], &[("PG_MIGRATE_FAILPOINT", point)]);
    assert_eq!(killed.wait().signal, Some(9));
    (source, target, project)
}

/// What the step says to run on the target.
fn statements(project: &Project) -> Vec<String> {
    let report = project.report();
    let steps = report["databases"][0]["steps"].as_array().unwrap();
    let errors = steps.iter().filter_map(|step| step["error"].as_str());
    let error: String = errors.collect();
    let lines = error.lines().map(str::trim);
    lines
        .filter(|line| line.starts_with("ALTER TABLE "))
        .map(str::to_owned)
        .collect()
}

#[test]
fn columns_that_the_source_got_since_are_added_to_the_target() {
    let (source, target, project) = killed("later", "");
    for sql in [
        "ALTER TABLE orders ADD COLUMN channel text NOT NULL DEFAULT 'web'",
        "ALTER TABLE orders ADD COLUMN \"Weight, kg\" numeric(8, 2)",
        "ALTER TABLE orders ADD COLUMN twice int GENERATED ALWAYS AS (id * 2) STORED",
        "ALTER TABLE orders ADD COLUMN number bigserial",
        "ALTER TABLE parts ADD COLUMN place point",
        "INSERT INTO orders VALUES (501, 'open', 'phone', 1.5)",
    ] {
        source.psql("shop", sql);
    }
    project
        .run(&["run"])
        .expect_code(4)
        .expect_words(&["public.orders has no column channel (text)"]);
    assert_eq!(target.psql("shop", INDEXES), "1");
    let statements = statements(&project);
    assert_eq!(
        statements,
        [
            "ALTER TABLE \"public\".\"orders\" ADD COLUMN \"channel\" text DEFAULT 'web'::text NOT NULL;",
            "ALTER TABLE \"public\".\"orders\" ADD COLUMN \"Weight, kg\" numeric(8,2);",
            "ALTER TABLE \"public\".\"orders\" ADD COLUMN \"number\" bigint; -- NOT NULL on the source: SET NOT NULL once its \
             rows are loaded",
            "ALTER TABLE \"public\".\"parts\" ADD COLUMN \"place\" point;",
        ]
    );
    for sql in &statements {
        target.psql("shop", sql);
    }
    project.run(&["run"]).expect_code(0);
    let sum = "SELECT count(*), md5(string_agg(t::text, '' ORDER BY id)) \
               FROM (SELECT id, status, channel, \"Weight, kg\", number FROM orders) t";
    assert_eq!(target.psql("shop", sum), source.psql("shop", sum));
    assert_eq!(target.psql("shop", INDEXES), "1");
}

/// The release was on the target, by clients that use the verified database.
#[test]
fn columns_that_the_target_got_or_lost_since_are_told() {
    for snapshot in ["same", "later"] {
        let (source, target, project) = released(snapshot);
        for sql in [
            "ALTER TABLE orders DROP COLUMN status",
            "ALTER TABLE parts ADD COLUMN owner text NOT NULL",
        ] {
            target.psql("shop", sql);
        }
        target.psql("shop", "CREATE INDEX orders_status ON orders (id)");
        project.run(&["run"]).expect_code(4).expect_words(&[
            "public.orders has no column status (text)",
            "NOT NULL and has no default",
        ]);
        assert_eq!(target.psql("shop", INDEXES), "1");
        let statements = statements(&project);
        assert_eq!(statements.len(), 2, "{statements:?}");
        for sql in &statements {
            target.psql("shop", sql);
        }
        project.run(&["run"]).expect_code(0);
        for (table, columns) in [("orders", "id, status"), ("parts", "id, day")] {
            let sum = format!(
                "SELECT count(*), md5(string_agg(t::text, '' ORDER BY id)) FROM (SELECT {columns} FROM {table}) t"
            );
            assert_eq!(target.psql("shop", &sum), source.psql("shop", &sum));
        }
    }
}

/// As the application has it now, so that nothing but the release is in the way.
#[test]
fn a_release_of_which_both_sides_know_is_not_in_the_way() {
    let (source, target, project) = released("later");
    for server in [&source, &target] {
        for sql in [
            "ALTER TABLE orders ADD COLUMN channel text NOT NULL DEFAULT 'web'",
            "ALTER TABLE orders ALTER COLUMN id TYPE bigint",
            "ALTER TABLE orders DROP COLUMN status",
        ] {
            server.psql("shop", sql);
        }
    }
    project.run(&["run"]).expect_code(0);
    compare::assert_same(&source, &target, "shop");
}

/// A table that is altered waits for hours by then: the largest is loaded first, here for as long as a client holds its lock. That of an
/// enum is loaded by way of its partitioned table.
#[test]
fn columns_that_are_altered_while_other_tables_are_loaded_round_no_value() {
    let (source, target) = (Server::start(16), Server::start(18));
    source.psql("postgres", "CREATE DATABASE shop");
    source.psql(
        "shop",
        "CREATE TABLE big (id int, pad text);
         CREATE TABLE bills (id int, amount numeric(12,4), due timestamp);
         CREATE TYPE state AS ENUM ('new', 'done');
         CREATE TABLE moods (state state, at timestamp) PARTITION BY HASH (state);
         CREATE TABLE moods_0 PARTITION OF moods FOR VALUES WITH (MODULUS 2, REMAINDER 0);
         CREATE TABLE moods_1 PARTITION OF moods FOR VALUES WITH (MODULUS 2, REMAINDER 1);
         INSERT INTO big SELECT n, md5(n::text) FROM generate_series(1, 5000) n;
         INSERT INTO bills SELECT n, n + 0.1234, '2026-01-01 10:00' FROM generate_series(1, 500) n;
         INSERT INTO moods VALUES ('new', '2026-01-01 10:00'), ('done', '2026-01-01 11:00')",
    );
    let project = Project::between(&source, &target)
        .parallelism("restore_jobs", 1)
        .with("[delay]\ntable_data = [\"shop.*\"]\n[target.tuning]\nmode = \"off\"\n");
    project.killed_at("journal step-done shop/verify synced:1");
    for (under_way, release, told) in [
        (
            "big",
            "ALTER TABLE bills ALTER amount TYPE numeric(12,0), ALTER due TYPE date",
            "public.bills: the column amount is numeric(12,0) on the target and numeric(12,4) on the source",
        ),
        (
            "bills",
            "ALTER TABLE moods ALTER at TYPE date",
            "public.moods_0: the column at is date on the target and timestamp without time zone on the source",
        ),
    ] {
        let lock = format!("LOCK TABLE {under_way} IN SHARE UPDATE EXCLUSIVE MODE");
        let held = Held::begin(&target, "shop", &lock);
        let mut run = project.start(&["run"]);
        let waiting = format!(
            "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = '{under_way}'::regclass"
        );
        run.until("a load that waits", || target.psql("shop", &waiting) == "1");
        target.psql("shop", release);
        held.commit();
        run.wait().expect_code(4).expect_words(&[told]);
        for sql in statements(&project) {
            target.psql("shop", &sql);
        }
    }
    project.run(&["run"]).expect_code(0);
    for table in ["bills", "moods"] {
        let sum = format!(
            "SELECT count(*), md5(string_agg(t::text, '' ORDER BY t::text)) FROM {table} t"
        );
        assert_eq!(target.psql("shop", &sum), source.psql("shop", &sum));
    }
}

/// No dump brings the values of a column that the source computes.
#[test]
fn a_column_that_is_plain_on_the_target_and_generated_on_the_source_is_not_left_empty() {
    let (source, target) = (Server::start(16), Server::start(18));
    source.psql("postgres", "CREATE DATABASE shop");
    source.psql(
        "shop",
        "CREATE TABLE bills (id int PRIMARY KEY, net numeric(10,2), \"Gross\" numeric(12,2) GENERATED ALWAYS AS (net * 1.19) STORED);
         INSERT INTO bills SELECT n, n FROM generate_series(1, 500) n",
    );
    let project = Project::between(&source, &target)
        .with("[delay]\ntable_data = [\"shop.bills\"]\n[target.tuning]\nmode = \"off\"\n");
    project.killed_at("journal step-done shop/verify synced:1");
    target.psql(
        "shop",
        "ALTER TABLE bills ALTER COLUMN \"Gross\" DROP EXPRESSION",
    );
    project
        .run(&["run"])
        .expect_code(4)
        .expect_words(&["public.bills: the column Gross is generated on the source"]);
    for sql in statements(&project) {
        target.psql("shop", &sql);
    }
    project.run(&["run"]).expect_code(0);
    let sum = "SELECT count(\"Gross\"), sum(\"Gross\") FROM bills";
    assert_eq!(target.psql("shop", sum), source.psql("shop", sum));
}

/// Also where the run that loaded a table did not end.
#[test]
fn what_a_release_did_to_a_table_before_its_rows_came_is_told() {
    let (_source, target, project) = released("same");
    project.killed_at("journal step-done shop/drop-indexes synced:1");
    target.psql(
        "shop",
        "ALTER TABLE orders ADD COLUMN channel text DEFAULT 'shop', ALTER COLUMN channel SET DEFAULT 'web';
         ALTER TABLE orders ADD COLUMN note text; UPDATE orders SET note = 'none';
         ALTER TABLE orders DROP COLUMN status; ALTER TABLE orders ADD COLUMN status text;
         ALTER TABLE parts ADD COLUMN note text;
         CREATE FUNCTION orders_there() RETURNS bigint LANGUAGE sql IMMUTABLE AS 'SELECT count(*) FROM public.orders';
         CREATE TABLE report (id int, orders bigint GENERATED ALWAYS AS (orders_there()) STORED);
         INSERT INTO report (id) VALUES (1)",
    );
    project.killed_at("journal load-committed shop public.orders synced:1");
    project.run(&["run"]).expect_code(0).says(&[
        "public.orders: the source does not have these columns, and the loaded rows got their defaults there, as they were then: channel \
         (DEFAULT 'web'::text), note (NULL)",
        "public.orders: these columns of the restore were dropped, and others have their names, which got the values of the source: \
         status;",
        "public.parts: the source does not have these columns, and the loaded rows got their defaults there, as they were then: note \
         (NULL)",
        "may have been computed while these were empty, and keep that: public.report.orders;",
    ]);
    let rows = "SELECT count(*), count(note), min(channel), min(status) FROM orders";
    assert_eq!(target.psql("shop", rows), "500|0|web|open");
}

/// The definition that counts is the last one that was there.
#[test]
fn an_index_that_a_release_replaced_before_all_were_dropped_is_made_again_as_it_is_by_then() {
    let (source, target) = (Server::start(16), Server::start(18));
    source.psql("postgres", "CREATE DATABASE shop");
    source.psql(
        "shop",
        "CREATE TABLE bills AS SELECT n AS a, n AS b FROM generate_series(1, 500) n;
         CREATE INDEX bills_a ON bills (a); CREATE INDEX bills_b ON bills (b)",
    );
    let project = Project::between(&source, &target)
        .with("[delay]\ntable_data = [\"shop.bills\"]\n[target.tuning]\nmode = \"off\"\n");
    project.killed_at("dropped \\\"public\\\".\\\"bills_a\\\":1");
    let release = "DROP INDEX bills_b; CREATE INDEX bills_b ON bills (b, a) WHERE b > 0";
    target.psql("shop", release);
    let definitions = "SELECT string_agg(indexdef, ';' ORDER BY indexname) FROM pg_indexes WHERE tablename = 'bills'";
    project.run(&["run"]).expect_code(0);
    source.psql("shop", release);
    assert_eq!(
        target.psql("shop", definitions),
        source.psql("shop", definitions)
    );
}
