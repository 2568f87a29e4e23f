//! What others write to a database that is still closed, and what only seems to be a write.

use crate::support::compare;
use crate::support::held::Held;
use crate::support::paused::Paused;
use crate::support::project::{Project, waiver, words};
use crate::support::server::Server;

fn servers(major: u32, databases: &[&str]) -> (Server, Server, Project) {
    let (source, target) = (Server::start(major.min(16)), Server::start(major));
    source.psql("postgres", "CREATE ROLE app LOGIN PASSWORD 'of the app'");
    for database in databases {
        source.psql("postgres", &format!("CREATE DATABASE {database}"));
        source.psql(
            database,
            "CREATE TABLE jobs AS SELECT id, repeat('running', 10) AS state FROM generate_series(1, 1000) id;
             ALTER TABLE jobs ADD PRIMARY KEY (id); CREATE VIEW open_jobs AS SELECT * FROM jobs; SELECT lo_create(7)",
        );
    }
    let project = Project::between(&source, &target);
    (source, target, project)
}

/// Before `restore-settings` every database is verified, and closed.
const VERIFIED: &str = "restore-settings start:1";

/// A temporary table and an index's new file are in the catalogs, and nothing of a client's data.
const PASSING: &str = "\
    CREATE TEMP TABLE passing (id serial PRIMARY KEY, word text DEFAULT 'a' CHECK (word <> ''));
    INSERT INTO passing SELECT FROM generate_series(1, 100); UPDATE passing SET word = repeat('x', 9999);
    ANALYZE passing; TRUNCATE passing; DROP TABLE passing;";

#[test]
fn what_does_not_stay_is_no_write() {
    for major in [18, 14, 10] {
        let (source, target, project) = servers(major, &["erp"]);
        let mut agents = Vec::new();
        for point in ["erp/target-counts start:1", VERIFIED] {
            project.killed_at(point);
            target.psql("erp", PASSING);
            for sql in ["REINDEX DATABASE erp", "VACUUM FREEZE", "ANALYZE"] {
                target.psql("erp", sql);
            }
            let kept = "CREATE TEMP TABLE kept (id serial PRIMARY KEY, word text); INSERT INTO kept VALUES (1, 'a'); COMMIT";
            agents.push(Held::begin(&target, "erp", kept));
        }
        project.run(&["run"]).expect_code(0);
        // Before 15 an idle session may have reported nothing for ever.
        let unknown = "whether another session wrote to it on the target cannot be known";
        let report = project.report().to_string();
        assert_eq!(report.contains(unknown), major < 15, "{major}: {report}");
        let report = report.replace(unknown, "");
        assert!(!report.contains("another session"), "{major}: {report}");
        drop(agents);
        compare::assert_same(&source, &target, "erp");
    }
}

/// Each of them among what does not stay.
#[test]
fn what_stays_is_a_write() {
    let writes = [
        "INSERT INTO jobs VALUES (1001, 'new')",
        "UPDATE jobs SET id = id WHERE id = 7",
        "DELETE FROM jobs WHERE id = 7",
        "TRUNCATE jobs",
        "ALTER TABLE jobs ADD COLUMN remark text",
        "ALTER TABLE jobs DROP CONSTRAINT jobs_pkey",
        "DROP VIEW open_jobs",
        "CREATE OR REPLACE VIEW open_jobs AS SELECT * FROM jobs WHERE id > 1",
        "DROP TABLE jobs CASCADE",
        "CREATE UNLOGGED TABLE fresh ()",
        "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "ALTER TABLE jobs ENABLE ROW LEVEL SECURITY",
        "GRANT SELECT ON jobs TO app",
        "ALTER TABLE jobs SET (fillfactor = 50)",
        "SELECT lo_put(7, 0, 'bytes')",
        "SELECT lo_unlink(7)",
    ];
    let names: Vec<String> = (0..writes.len()).map(|n| format!("erp{n:02}")).collect();
    let mut databases: Vec<&str> = names.iter().map(String::as_str).collect();
    databases.push("quiet");
    for major in [18, 12] {
        let (_source, target, project) = servers(major, &databases);
        project.killed_at(VERIFIED);
        target.psql("quiet", PASSING);
        for (name, sql) in names.iter().zip(writes) {
            target.psql(name, &format!("{PASSING} REINDEX TABLE jobs; {sql}"));
        }
        let told = project.run(&["run"]).expect_code(4);
        told.says(&["16 databases are not opened"]);
        for (name, sql) in names.iter().zip(writes) {
            let why = "another session wrote to it on the target between its verification and its opening";
            told.says(&[
                &format!("database {name}: {why}"),
                &format!("reset PLAN --database {name} --drop {name}"),
            ]);
            assert!(!target.lets_in(name, "app", "of the app"), "{major}: {sql}");
        }
        assert!(target.lets_in("quiet", "app", "of the app"), "{major}");
    }
}

/// What such a one writes by its own processes cannot be told from what a person does, before and after the verification.
#[test]
fn what_an_extension_may_have_written_is_told_and_fails_nothing() {
    let (_source, target, project) = servers(18, &["erp"]);
    let write = "ALTER EXTENSION plpgsql ADD TABLE log; INSERT INTO log VALUES (1)";
    project.killed_at("erp/target-counts start:1");
    target.psql("erp", &format!("CREATE TABLE log (id int); {write}"));
    project.killed_at(VERIFIED);
    target.psql("erp", "INSERT INTO log VALUES (2)");
    project.run(&["run"]).expect_code(0);
    let report = project.report().to_string();
    for between in [
        "its restore and its verification",
        "its verification and its opening",
    ] {
        let told = format!(
            "another session wrote to it on the target between {between}, by the server's statistics (pg_stat_database); it may be \
             one of an extension"
        );
        assert!(report.contains(&told), "{report}");
    }
    assert!(target.lets_in("erp", "app", "of the app"));
}

/// Opening a database takes CONNECT from nobody.
#[test]
fn who_was_let_in_before_the_opening_is_told_and_taken_out() {
    let (source, target, project) = servers(18, &["erp", "night"]);
    source.psql("postgres", "CREATE ROLE \"a friend\" LOGIN");
    source.psql("postgres", "CREATE ROLE known LOGIN");
    source.psql("erp", "REVOKE CONNECT ON DATABASE erp FROM PUBLIC");
    source.psql("erp", "GRANT CONNECT ON DATABASE erp TO known, app");
    let (project, restore) = Paused::of(project, "pg_restore", "/night");
    let mut running = project.start(&["run"]);
    let (point, step) = ("step-done", "erp/verify");
    running.until("the verification", || project.has(point, step));
    let grant = "GRANT CONNECT ON DATABASE erp TO known, PUBLIC, \"a friend\"";
    target.psql("postgres", grant);
    restore.go();
    let revoke = "REVOKE CONNECT ON DATABASE \"erp\" FROM PUBLIC, \"a friend\", \"known\"";
    running.wait().expect_code(4).says(&[
        "database erp: on the target CONNECT is granted to PUBLIC, \"a friend\", which this plan did not do",
        revoke,
    ]);
    assert!(target.lets_in("night", "app", "of the app"));
    assert_eq!(target.psql("postgres", "SHOW full_page_writes"), "on");
    target.psql("postgres", revoke);
    assert!(!target.lets_in("erp", "app", "of the app"));
    project.run(&["run"]).expect_code(0);
    compare::assert_same(&source, &target, "erp");
}

/// Who may connect on the source as well gets it a moment earlier.
#[test]
fn who_may_connect_on_the_source_was_let_in_by_nobody() {
    let (source, target, project) = servers(18, &["erp", "night"]);
    let (project, restore) = Paused::of(project, "pg_restore", "/night");
    let mut running = project.start(&["run"]);
    let (point, step) = ("step-done", "erp/verify");
    running.until("the verification", || project.has(point, step));
    target.psql("postgres", "GRANT CONNECT ON DATABASE erp TO PUBLIC");
    restore.go();
    running.wait().expect_code(0);
    compare::assert_same(&source, &target, "erp");
}

const DELAY: &str = "[delay]\ntable_data = [\"erp.orders\", \"erp.lines\"]\nsnapshot = \"later\"\n";

/// A project of which `orders` and `lines` are delayed, killed when the database is verified and closed.
fn delayed() -> (Server, Server, Project) {
    let (source, target, project) = servers(18, &["erp"]);
    source.psql(
        "erp",
        "CREATE TABLE customers AS SELECT generate_series(1, 100) AS id; ALTER TABLE customers ADD PRIMARY KEY (id);
         CREATE TABLE orders (id int PRIMARY KEY, customer int REFERENCES customers);
         INSERT INTO orders SELECT n, 1 + n % 100 FROM generate_series(1, 1000) n;
         CREATE TABLE lines (line int REFERENCES orders ON DELETE CASCADE)",
    );
    let project = project.with(DELAY);
    project.killed_at("journal step-done erp/verify synced:1");
    (source, target, project)
}

/// No client can have been in.
#[test]
fn rows_that_others_changed_before_the_delayed_verification_are_a_difference() {
    for (sql, table) in [
        (
            "UPDATE jobs SET state = 'aborted'",
            "public.jobs (1000 updated, 0 deleted)",
        ),
        (
            "UPDATE orders SET customer = 7",
            "public.orders (1000 updated, 0 deleted)",
        ),
    ] {
        let (_source, target, mut project) = delayed();
        project.killed_at("erp/delayed-verify start:1");
        target.psql("erp", sql);
        project.run(&["run"]).expect_code(5).expect_words(&[
            "rows were updated or deleted on the target by another session",
            table,
            "--drop erp",
            "a waiver for target/differed",
        ]);
        let said = project.run(&["run"]).expect_code(5).said();
        let closed = "Closed to clients because of a difference: \"erp\".";
        assert!(words(&said).contains(closed), "{said}");
        assert!(!target.lets_in("erp", "app", "of the app"), "{table}");
        // By the verification of a plan that does not wait for the settings neither.
        project.set_rest(&format!("{DELAY}[target.tuning]\nmode = \"off\"\n"));
        project
            .run(&["run"])
            .expect_code(5)
            .expect_words(&["--drop erp", "a waiver for target/differed"]);
        assert!(!target.lets_in("erp", "app", "of the app"), "{table}");
        let project = project.with(&waiver("target/differed"));
        project.run(&["run"]).expect_code(0);
        assert!(target.lets_in("erp", "app", "of the app"), "{table}");
    }
}

/// One way on from a difference.
#[test]
fn what_differed_and_was_dropped_is_made_again() {
    let (source, target, project) = delayed();
    project.killed_at("erp/delayed-verify start:1");
    target.psql("erp", "DELETE FROM orders WHERE id = 7");
    project.run(&["run"]).expect_code(5);
    assert!(!target.lets_in("erp", "app", "of the app"));
    // As many rows, and the server has forgotten who wrote them.
    target.psql(
        "erp",
        "INSERT INTO orders VALUES (7, 1); SELECT pg_stat_reset()",
    );
    project
        .run(&["run"])
        .expect_code(5)
        .expect_words(&["public.orders"]);
    assert!(!target.lets_in("erp", "app", "of the app"));
    project
        .run(&["reset", "--database", "erp", "--drop", "erp"])
        .expect_code(0);
    target.psql("postgres", "DROP DATABASE erp");
    project.run(&["run"]).expect_code(0);
    assert!(target.lets_in("erp", "app", "of the app"));
    compare::assert_same(&source, &target, "erp");
}

/// Orphans that a person deletes as the run says, with what hangs on them.
#[test]
fn rows_that_were_deleted_as_advised_are_no_difference() {
    let (source, target, project) = delayed();
    source.psql(
        "erp",
        "INSERT INTO customers VALUES (101); INSERT INTO orders VALUES (1001, 101); INSERT INTO lines VALUES (1001)",
    );
    project.killed_at(VERIFIED);
    assert!(!target.lets_in("erp", "app", "of the app"));
    target.psql("erp", "DELETE FROM orders WHERE customer = 101");
    project.run(&["run"]).expect_code(0);
    assert!(target.lets_in("erp", "app", "of the app"));
    // As much else is a difference.
    let (source, target, project) = delayed();
    source.psql(
        "erp",
        "INSERT INTO customers VALUES (101); INSERT INTO orders VALUES (1001, 101); INSERT INTO lines VALUES (1001)",
    );
    project.killed_at(VERIFIED);
    target.psql("erp", "DELETE FROM orders WHERE customer = 101");
    target.psql("erp", "UPDATE jobs SET state = 'aborted' WHERE id = 7");
    project
        .run(&["run"])
        .expect_code(5)
        .expect_words(&["public.jobs (1 updated, 0 deleted)"]);
}

/// Tables of every kind, of which `orders` and a partition are delayed.
fn delayed_in(major: u32) -> (Server, Server, Project) {
    let (source, target, project) = servers(major, &["erp"]);
    source.psql(
        "erp",
        "CREATE TABLE customers AS SELECT generate_series(1, 100) AS id; ALTER TABLE customers ADD PRIMARY KEY (id);
         CREATE TABLE orders (id int PRIMARY KEY, customer int REFERENCES customers);
         INSERT INTO orders SELECT n, 1 + n % 100 FROM generate_series(1, 1000) n;
         CREATE INDEX of_customer ON orders (customer); COMMENT ON INDEX of_customer IS 'of the customer';
         ALTER TABLE orders CLUSTER ON of_customer; ALTER TABLE orders ADD COLUMN word text;
         UPDATE orders SET word = repeat('x', 100); CREATE SEQUENCE numbers OWNED BY orders.id; SELECT setval('numbers', 1000);
         CREATE MATERIALIZED VIEW sums AS SELECT customer, count(*) FROM orders GROUP BY customer; CREATE INDEX of_sums ON sums (count);
         CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN new; END';
         CREATE TRIGGER touched BEFORE INSERT ON orders FOR EACH ROW EXECUTE PROCEDURE touch();
         CREATE TABLE parts (id int, place int) PARTITION BY RANGE (place);
         CREATE TABLE part_1 PARTITION OF parts FOR VALUES FROM (0) TO (10);
         CREATE TABLE part_2 PARTITION OF parts FOR VALUES FROM (10) TO (20);
         CREATE INDEX of_place ON part_2 (place); INSERT INTO parts SELECT n, n % 20 FROM generate_series(1, 500) n",
    );
    let project = project.with("[delay]\ntable_data = [\"erp.orders\", \"erp.part_2\"]\n");
    (source, target, project)
}

/// What the delayed phase itself writes, and what a session leaves nothing of.
#[test]
fn a_delayed_phase_that_nobody_writes_beside_is_no_difference() {
    for major in [18, 12] {
        let (source, target, project) = delayed_in(major);
        for point in [
            "journal step-done erp/verify synced:1",
            "erp/delayed-restore start:1",
            "journal commit-load erp public.orders synced:1",
            "erp/delayed-verify start:1",
        ] {
            project.killed_at(point);
            target.psql("erp", PASSING);
            for sql in ["VACUUM FREEZE", "ANALYZE"] {
                target.psql("erp", sql);
            }
        }
        project.run(&["run"]).expect_code(0);
        let report = project.report().to_string();
        assert!(!report.contains("another session"), "{major}: {report}");
        compare::assert_same(&source, &target, "erp");
    }
}

#[test]
fn what_others_write_beside_the_delayed_phase_is_a_difference() {
    let before = "journal step-done erp/verify synced:1";
    let within = "erp/delayed-restore start:1";
    for (major, point, sql) in [
        (18, before, "TRUNCATE jobs"),
        (18, before, "DROP VIEW open_jobs"),
        (18, within, "TRUNCATE jobs"),
        (12, within, "INSERT INTO customers VALUES (101)"),
        (18, within, "DROP TABLE jobs CASCADE"),
        (12, within, "DROP VIEW open_jobs"),
        (18, within, "CREATE TABLE fresh ()"),
        (18, within, "INSERT INTO part_1 VALUES (0, 0)"),
    ] {
        let (_source, target, project) = delayed_in(major);
        project.killed_at(point);
        target.psql("erp", sql);
        let told = project.run(&["run"]).expect_code(5);
        told.expect_words(&["another session wrote to it on the target", "--drop erp"]);
        assert!(!target.lets_in("erp", "app", "of the app"), "{sql}");
        project.run(&["run"]).expect_code(5);
        let project = project.with(&waiver("target/differed"));
        project.run(&["run"]).expect_code(0);
        assert!(target.lets_in("erp", "app", "of the app"), "{sql}");
    }
}

/// Neither does a tuple, or not yet: statistics of a session that stays are not reported at once.
#[test]
fn a_session_that_stays_and_a_sequence_are_seen() {
    let (source, target, project) = servers(18, &["erp", "crm", "hr", "quiet"]);
    for database in ["erp", "crm", "hr", "quiet"] {
        source.psql(
            database,
            "CREATE SEQUENCE numbers; SELECT nextval('numbers')",
        );
    }
    project.killed_at(VERIFIED);
    target.psql("erp", "SELECT setval('numbers', 1, false)");
    let mut stays = Held::begin(&target, "crm", "SELECT 1; COMMIT");
    stays.run("DELETE FROM jobs WHERE id < 10");
    let within = Held::begin(&target, "hr", "DELETE FROM jobs WHERE id < 10");
    let idle = Held::begin(&target, "quiet", "SELECT 1; COMMIT");
    let told = project.run(&["run"]).expect_code(4);
    let why = "another session wrote to it on the target between its verification and its opening";
    told.says(&[
        &format!("database crm: {why}"),
        &format!("database erp: {why}"),
        "database hr: another session is in a transaction",
    ]);
    drop((stays, within, idle));
    assert!(target.lets_in("quiet", "app", "of the app"));
    for database in ["erp", "crm", "hr"] {
        assert!(!target.lets_in(database, "app", "of the app"), "{database}");
    }
}
