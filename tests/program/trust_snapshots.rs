//! What a snapshot does not show: tables that were truncated or rewritten while the dump waited for them.

use std::thread::sleep;
use std::time::Duration;

use crate::support::compare;
use crate::support::held::Held;
use crate::support::open::still_open;
use crate::support::project::Project;
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
    still_open("1000 lines on the source, 0 on the target", || {
        changed_while_the_dump_waits(
            "TRUNCATE t; INSERT INTO t SELECT n, 'new' FROM generate_series(1, 1000) n",
        );
    });
}

#[test]
fn a_table_that_was_rewritten_arrives() {
    still_open("1000 lines on the source, 0 on the target", || {
        changed_while_the_dump_waits("ALTER TABLE t ALTER COLUMN id TYPE bigint");
    });
}

/// A table that another took the place of has the name alone in common.
#[test]
fn a_table_that_was_replaced_arrives() {
    still_open("1000 lines on the source, 0 on the target", || {
        changed_while_the_dump_waits(
            "CREATE TABLE t2 AS SELECT id, 'new' AS word FROM t; DROP TABLE t; ALTER TABLE t2 RENAME TO t",
        );
    });
}
