//! The source is itself the target of a migration: what that left half done is told before it is copied as it is.

use crate::support::compare;
use crate::support::project::{Finished, Project, waiver};
use crate::support::server::Server;

const DELAY: &str = "[databases]\ninclude = [\"erp\"]\n[delay]\ntable_data = [\"erp.big\"]\n";
const SAFE: &str = "[target.tuning]\nmode = \"safe\"\n";

struct Chain {
    origin: Server,
    middle: Server,
    last: Server,
    first: Project,
    second: Project,
}

fn chain() -> Chain {
    let (origin, last) = (Server::start(16), Server::start(18));
    let middle = Server::of(17).durable().start();
    origin.psql("postgres", "CREATE DATABASE erp");
    origin.psql(
        "erp",
        "CREATE TABLE plain AS SELECT 1 AS id; CREATE TABLE big AS SELECT n AS id FROM generate_series(1, 500) n",
    );
    // Of nobody's plan.
    middle.psql("postgres", "CREATE DATABASE crm");
    let first = Project::between(&origin, &middle)
        .named("first")
        .with(DELAY)
        .with("[target.tuning]\nshared_target = true\n");
    let second = Project::between(&middle, &last).named("second");
    Chain {
        origin,
        middle,
        last,
        first,
        second,
    }
}

fn says_nothing_of(told: &Finished, codes: &[&str]) {
    for code in codes {
        assert!(!told.said().contains(code), "{}", told.said());
    }
}

#[test]
fn a_source_that_a_migration_left_half_done_is_not_copied_unasked() {
    let Chain {
        origin,
        middle,
        last,
        mut first,
        mut second,
    } = chain();
    first.killed_at("journal step-started erp/target-counts synced:1");
    for verb in ["check", "run"] {
        let told = second.run(&[verb]).expect_code(3);
        told.says(&["source/unfinished", "\"first\"", "did not verify it"]);
        told.says(&["source/left-unsafe", "fsync"]);
        says_nothing_of(&told, &["source/unfinished: database \"crm\""]);
    }

    // Clients use it already, and it looks whole.
    first.run(&["revert"]).expect_code(0);
    first.set_rest(&format!("{DELAY}{SAFE}"));
    first.killed_at("journal step-started erp/delayed-restore synced:1");
    assert_eq!(middle.psql("erp", "SELECT count(*) FROM big"), "0");
    let told = second.run(&["check"]).expect_code(3);
    told.says(&["source/unfinished", "did not load its delayed tables"]);
    second.set_rest(&waiver("source/unfinished"));
    second.run(&["check"]).expect_code(0);
    second.set_rest("");

    first.run(&["run"]).expect_code(0);
    let told = second.run(&["run"]).expect_code(0);
    says_nothing_of(&told, &["source/unfinished", "source/left-unsafe"]);
    compare::assert_same(&origin, &last, "erp");
}

#[test]
fn a_database_that_is_not_open_yet_lacks_its_owner_and_privileges() {
    let Chain {
        origin: _origin,
        middle,
        last: _last,
        first,
        second,
    } = chain();
    first.killed_at("journal step-started restore-settings synced:1");
    assert_eq!(middle.psql("erp", "SELECT count(*) FROM big"), "500");
    let told = second.run(&["check"]).expect_code(3);
    told.says(&["source/unfinished", "did not open it"]);
}

#[test]
fn a_database_that_was_made_again_by_hand_is_whole() {
    let Chain {
        origin: _origin,
        middle,
        last: _last,
        first,
        second,
    } = chain();
    first.killed_at("journal step-started erp/target-counts synced:1");
    first.run(&["revert"]).expect_code(0);
    middle.psql("postgres", "DROP DATABASE erp");
    middle.psql("postgres", "CREATE DATABASE erp");
    let told = second.run(&["check"]).expect_code(0);
    says_nothing_of(&told, &["source/unfinished", "source/left-unsafe"]);
}

#[test]
fn what_the_mark_of_the_source_says_of_a_crash_is_told() {
    let Chain {
        origin: _origin,
        middle,
        last: _last,
        first,
        mut second,
    } = chain();
    first.killed_at("journal step-started erp/target-counts synced:1");
    middle.psql(
        "pg_migrate_mark",
        "UPDATE mark.setting SET machine = '11111111-1111-1111-1111-111111111111', server = '1'",
    );
    let told = second.run(&["check"]).expect_code(3);
    told.says(&["source/left-unsafe", "machine was started again"]);
    let waivers = waiver("source/unfinished") + &waiver("source/left-unsafe");
    second.set_rest(&waivers);
    second.run(&["check"]).expect_code(0);
}

#[test]
fn a_mark_of_the_source_that_cannot_be_read_is_told() {
    let Chain {
        origin: _origin,
        middle,
        last: _last,
        first,
        second,
    } = chain();
    first.run(&["run"]).expect_code(0);
    middle.psql("postgres", "CREATE ROLE mover LOGIN PASSWORD 'moves'");
    let mut limited = second
        .source("user", "\"mover\"")
        .variable("SOURCE_PASSWORD", "moves")
        .with("[globals]\nmigrate = false\n");
    let told = limited.run(&["check"]).expect_code(3);
    told.says(&["source/mark-unreadable", "role mover cannot read"]);
    middle.psql(
        "pg_migrate_mark",
        "GRANT USAGE ON SCHEMA mark TO mover; GRANT SELECT ON ALL TABLES IN SCHEMA mark TO mover",
    );
    says_nothing_of(&limited.run(&["check"]), &["source/mark-unreadable"]);
    middle.psql(
        "postgres",
        "ALTER DATABASE pg_migrate_mark ALLOW_CONNECTIONS false",
    );
    let told = limited.run(&["check"]).expect_code(3);
    told.says(&["source/mark-unreadable", "not currently accepting"]);
    limited.set_rest(&waiver("source/mark-unreadable"));
    let told = limited.run(&["check"]);
    told.says(&["source/mark-unreadable"]);
}
