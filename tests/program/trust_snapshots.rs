//! What a snapshot does not show: tables that were truncated or rewritten while the dump waited for them.

use std::thread::sleep;
use std::time::Duration;

use crate::support::compare;
use crate::support::held::Held;
use crate::support::project::{Project, Running};
use crate::support::proxy::Proxy;
use crate::support::server::Server;

/// Locks that a session waits for, in any database.
const WAITERS: &str = "SELECT count(*) FROM pg_locks WHERE NOT granted";

/// The application has done this to `t` when the run begins, and commits while the run waits for the table.
fn changed_while_the_dump_waits(change: &str) {
    let (source, target) = (Server::start(16), Server::start(18));
    source.psql("postgres", "CREATE DATABASE erp");
    source.psql(
        "erp",
        "CREATE TABLE t (id int, word text);
         INSERT INTO t SELECT n, 'old' FROM generate_series(1, 1000) n;
         CREATE TABLE u AS SELECT * FROM t",
    );
    let project = Project::between(&source, &target)
        .source("lock_timeout", "\"60s\"")
        .with("[retry]\nattempts = 9\nbackoff = \"100ms\"\n");
    // Before this, the run asks for the sizes of the tables, and waits there: no snapshot is taken yet.
    let mut running = project.start(&["run"]);
    running.until("the first step of the database", || {
        project.state_directory().join("journal.jsonl").exists()
            && project
                .journal_steps("step-started")
                .contains(&"globals".to_owned())
    });
    let application = Held::begin(&source, "erp", change);
    running.until("a lock that the dump waits for", || {
        source.psql("erp", WAITERS) != "0"
    });
    sleep(Duration::from_millis(300));
    application.commit();
    let ended = running.wait();
    eprintln!(
        "the first run ended with {:?}: {}",
        ended.code, ended.stdout
    );
    if ended.code != Some(0) {
        project.run(&["run"]).expect_code(0);
    }
    compare::assert_same(&source, &target, "erp");
}

#[test]
fn a_table_that_was_truncated_and_filled_again_arrives() {
    changed_while_the_dump_waits(
        "TRUNCATE t; INSERT INTO t SELECT n, 'new' FROM generate_series(1, 1000) n",
    );
}

#[test]
fn a_table_that_was_rewritten_arrives() {
    changed_while_the_dump_waits("ALTER TABLE t ALTER COLUMN id TYPE bigint");
}

/// A table that another took the place of has the name alone in common.
#[test]
fn a_table_that_was_replaced_arrives() {
    changed_while_the_dump_waits(
        "CREATE TABLE t2 AS SELECT id, 'new' AS word FROM t; DROP TABLE t; ALTER TABLE t2 RENAME TO t",
    );
}

/// A source with a project whose program reaches it over a network that can be made slow.
fn far_away(schema: &str) -> (Server, Server, Proxy, Project) {
    let (source, target) = (Server::start(16), Server::start(18));
    source.psql("postgres", "CREATE DATABASE erp");
    source.psql("erp", schema);
    let proxy = Proxy::to(source.port());
    let project = Project::between(&source, &target)
        .source("port", &proxy.port().to_string())
        .source("lock_timeout", "\"1s\"")
        .with("[retry]\nattempts = 20\nbackoff = \"500ms\"\nmax_backoff = \"500ms\"\n");
    (source, target, proxy, project)
}

/// Runs until the snapshot is there, and nothing has read under it.
fn until_the_snapshot(project: &Project, proxy: &Proxy) -> Running {
    let mut running = project.start(&["run"]);
    let journal = project.state_directory().join("journal.jsonl");
    running.until("a snapshot", || {
        let text = std::fs::read_to_string(&journal).unwrap_or_default();
        text.contains("hold-snapshot")
    });
    proxy.set_delay(Duration::from_millis(100));
    running
}

/// It waits for the snapshot's session, and the dump would wait behind it.
#[test]
fn an_application_that_waits_for_the_snapshot_gets_its_table() {
    let (source, target, proxy, project) = far_away(
        "CREATE TABLE t AS SELECT n AS id, 'old'::text AS word FROM generate_series(1, 1000) n;
         CREATE TABLE u AS SELECT * FROM t",
    );
    let mut running = until_the_snapshot(&project, &proxy);
    let mut application = Held::begin(&source, "erp", "SET lock_timeout = '60s'");
    application.run("TRUNCATE t; INSERT INTO t SELECT n, 'new' FROM generate_series(1, 900) n");
    assert!(running.is_running());
    application.commit();
    proxy.set_delay(Duration::ZERO);
    running.wait().expect_code(0);
    compare::assert_same(&source, &target, "erp");
}

/// Tables are read by their names, and a lock on a table does not protect the name of its schema.
#[test]
fn schemas_that_change_places_arrive_as_they_are() {
    let (source, target, proxy, project) = far_away(
        "CREATE SCHEMA live; CREATE TABLE live.t AS SELECT n AS id FROM generate_series(1, 1000) n;
         CREATE SCHEMA next; CREATE TABLE next.t AS SELECT n AS id FROM generate_series(1, 10) n;
         CREATE TABLE next.only_here (id int)",
    );
    let running = until_the_snapshot(&project, &proxy);
    source.psql(
        "erp",
        "ALTER SCHEMA live RENAME TO spare; ALTER SCHEMA next RENAME TO live; ALTER SCHEMA spare RENAME TO next",
    );
    proxy.set_delay(Duration::ZERO);
    running.wait().expect_code(0);
    compare::assert_same(&source, &target, "erp");
}

/// A server writes values of these types by its catalogs as they are when it writes them.
#[test]
fn types_that_are_altered_before_the_dump_arrive_as_they_are() {
    let (source, target, proxy, project) = far_away(
        "CREATE TYPE state AS ENUM ('on', 'off'); CREATE TYPE pair AS (a int, b int);
         CREATE TABLE t (id int, state state, pair pair);
         INSERT INTO t VALUES (1, 'on', (1, 5)), (2, 'off', (2, 6))",
    );
    let running = until_the_snapshot(&project, &proxy);
    source.psql(
        "erp",
        "BEGIN; ALTER TYPE state RENAME VALUE 'on' TO 'x'; ALTER TYPE state RENAME VALUE 'off' TO 'on';
         ALTER TYPE state RENAME VALUE 'x' TO 'off';
         ALTER TYPE pair DROP ATTRIBUTE b; ALTER TYPE pair ADD ATTRIBUTE c int; COMMIT",
    );
    proxy.set_delay(Duration::ZERO);
    running.wait().expect_code(0);
    compare::assert_same(&source, &target, "erp");
    let labels = |server: &Server| server.psql("erp", "SELECT enum_range(NULL::state)");
    assert_eq!(labels(&target), labels(&source));
}

/// Nothing has to be read again for that.
#[test]
fn a_label_more_does_not_disturb_the_dump() {
    let (source, target, proxy, project) = far_away(
        "CREATE TYPE state AS ENUM ('on', 'off'); CREATE TABLE t AS SELECT 1 AS id, 'on'::state AS state",
    );
    let running = until_the_snapshot(&project, &proxy);
    source.psql("erp", "ALTER TYPE state ADD VALUE 'new' BEFORE 'off'");
    proxy.set_delay(Duration::ZERO);
    running.wait().expect_code(0);
    assert_eq!(target.psql("erp", "SELECT state FROM t"), "on");
    let snapshots = std::fs::read_to_string(project.state_directory().join("journal.jsonl"))
        .unwrap()
        .matches("hold-snapshot")
        .count();
    assert_eq!(snapshots, 1);
}

const SET_BACK: &str =
    "SELECT setval('up_id_seq', 1, false); ALTER SEQUENCE identity_id_seq RESTART;
     SELECT setval('down', -1, false); SELECT setval('ahead', 5000); SELECT setval('around', 2)";

/// Sequences with the rows that have their values.
fn with_sequences() -> (Server, Server, Proxy, Project) {
    far_away(
        "CREATE TABLE up (id serial PRIMARY KEY); INSERT INTO up SELECT nextval('up_id_seq') FROM generate_series(1, 5000);
         CREATE TABLE identity (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, n int);
         INSERT INTO identity (n) SELECT generate_series(1, 70);
         CREATE SEQUENCE down INCREMENT -2 START -1;
         CREATE TABLE downward AS SELECT nextval('down') AS id FROM generate_series(1, 30);
         CREATE SEQUENCE ahead; SELECT setval('ahead', 40);
         CREATE SEQUENCE around CYCLE;
         CREATE TABLE rounds AS SELECT nextval('around') AS id FROM generate_series(1, 300)",
    )
}

fn assert_no_value_comes_again(target: &Server) {
    for (sequence, condition) in [
        ("up_id_seq", "> (SELECT max(id) FROM up)"),
        ("identity_id_seq", "> (SELECT max(id) FROM identity)"),
        ("down", "< (SELECT min(id) FROM downward)"),
        ("around", "> (SELECT max(id) FROM rounds)"),
    ] {
        let is_new = format!("SELECT nextval('{sequence}') {condition}");
        assert_eq!(target.psql("erp", &is_new), "t", "{sequence}");
    }
}

/// pg_dump reads a sequence as it is then, whatever its snapshot shows.
#[test]
fn sequences_that_were_set_back_after_the_snapshot_are_not_behind_its_rows() {
    let (source, target, proxy, project) = with_sequences();
    let running = until_the_snapshot(&project, &proxy);
    source.psql("erp", SET_BACK);
    proxy.set_delay(Duration::ZERO);
    running.wait().expect_code(0);
    assert_no_value_comes_again(&target);
    assert_eq!(target.psql("erp", "SELECT last_value FROM ahead"), "5000");
    let warnings = project.report()["databases"][0]["warnings"].to_string();
    for name in [
        "public.up_id_seq",
        "public.identity_id_seq",
        "public.down",
        "public.around",
    ] {
        let said = format!("the sequence {name} was set back");
        assert!(warnings.contains(&said), "{name}: {warnings}");
    }
    assert!(
        warnings.contains("set back to 2, or came round to it,"),
        "{warnings}"
    );
    assert!(!warnings.contains("ahead"), "{warnings}");
}

#[test]
fn sequences_that_were_set_back_after_a_later_snapshot_are_not_behind_its_rows() {
    let (source, target, proxy, project) = with_sequences();
    let project = project.with("[delay]\ntable_data = [\"erp.up\", \"erp.identity\", \"erp.downward\"]\nsnapshot = \"later\"\n");
    let mut running = project.start(&["run"]);
    let journal = project.state_directory().join("journal.jsonl");
    running.until("the regular dump", || {
        let text = std::fs::read_to_string(&journal).unwrap_or_default();
        text.contains("{\"step-done\":{\"step\":\"erp/dump\"")
    });
    // Rows of the later snapshot alone, and a time in which to set their sequences back.
    proxy.set_delay(Duration::from_millis(100));
    source.psql(
        "erp",
        "INSERT INTO up SELECT nextval('up_id_seq') FROM generate_series(1, 5000);
         INSERT INTO identity (n) SELECT generate_series(1, 70);
         INSERT INTO downward SELECT nextval('down') FROM generate_series(1, 30)",
    );
    running.until("the later snapshot", || {
        let text = std::fs::read_to_string(&journal).unwrap_or_default();
        text.matches("hold-snapshot").count() == 2
    });
    source.psql("erp", SET_BACK);
    proxy.set_delay(Duration::ZERO);
    running.wait().expect_code(0);
    assert_eq!(target.psql("erp", "SELECT count(*) FROM up"), "10000");
    assert_no_value_comes_again(&target);
}

/// As a job that makes partitions does: rows leave a delayed table for one that is in no dump.
#[test]
fn partitions_that_are_newer_than_the_regular_dump_are_asked_for() {
    let (source, target) = (Server::start(16), Server::start(18));
    source.psql("postgres", "CREATE DATABASE erp");
    source.psql(
        "erp",
        "CREATE TABLE events (id int, word text) PARTITION BY RANGE (id);
         CREATE TABLE events_1 PARTITION OF events FOR VALUES FROM (0) TO (1000);
         CREATE TABLE events_rest PARTITION OF events DEFAULT;
         INSERT INTO events SELECT n, 'e' FROM generate_series(1, 1300) n",
    );
    let project = Project::between(&source, &target)
        .with("[delay]\ntable_data = [\"erp.events\", \"erp.log_*\"]\nsnapshot = \"later\"");
    project.killed_at("journal step-done erp/verify synced:1");
    source.psql(
        "erp",
        "CREATE TABLE events_2 (LIKE events);
         WITH old AS (DELETE FROM events_rest RETURNING *) INSERT INTO events_2 SELECT * FROM old;
         ALTER TABLE events ATTACH PARTITION events_2 FOR VALUES FROM (1000) TO (2000);
         CREATE TABLE events_3 PARTITION OF events FOR VALUES FROM (2000) TO (3000);
         CREATE TABLE log_1 AS SELECT 1 AS id; CREATE TABLE other AS SELECT 1 AS id",
    );
    let told = project.run(&["run"]).expect_code(5);
    told.says(&[
        "made on the source after the regular dump",
        "public.events_2",
        "public.log_1",
        "--table='\"public\".\"events_2\"'",
    ]);
    let said = [told.stdout.as_str(), &told.stderr].concat();
    assert!(
        !said.contains("erp public.events_3") && !said.contains("public.other"),
        "{said}"
    );
    project
        .run(&["run"])
        .expect_code(5)
        .says(&["public.events_2"]);
    target.psql(
        "erp",
        "CREATE TABLE events_2 PARTITION OF events FOR VALUES FROM (1000) TO (2000);
         INSERT INTO events SELECT n, 'e' FROM generate_series(1000, 1300) n;
         CREATE TABLE log_1 AS SELECT 1 AS id",
    );
    project.run(&["run"]).expect_code(0);
    assert_eq!(target.psql("erp", "SELECT count(*) FROM events"), "1300");
}
