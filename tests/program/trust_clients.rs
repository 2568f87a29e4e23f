//! What a run means for others that use the two servers.

use std::thread::sleep;
use std::time::Duration;

use serde_json::Value;

use crate::support::held::Held;
use crate::support::pooler::Pooler;
use crate::support::project::{Project, string};
use crate::support::server::Server;

/// What our sessions set would stay with the pooler's, and the application would get it.
#[test]
fn a_pooler_is_refused_and_its_sessions_stay_as_they_were() {
    for (mode, side) in [
        ("transaction", "source"),
        ("session", "source"),
        ("transaction", "target"),
        ("session", "target"),
    ] {
        let (source, target) = (Server::start(16), Server::start(18));
        for server in [&source, &target] {
            server.psql("postgres", "CREATE DATABASE erp");
        }
        source.psql(
            "erp",
            "CREATE TABLE t AS SELECT generate_series(1, 10) AS id",
        );
        let behind = if side == "source" { &source } else { &target };
        let Some(pooler) = Pooler::before(behind, mode) else {
            eprintln!("not tested: there is no pgbouncer for this machine");
            return;
        };
        let project = Project::between(&source, &target);
        let port = pooler.port().to_string();
        let project = match side {
            "source" => project.source("port", &port),
            _ => project.target("port", &port),
        };
        for verb in ["check", "run"] {
            let refused = project.run(&[verb]);
            for database in ["postgres", "erp"] {
                let sql = "SELECT current_setting('default_transaction_read_only')
                           || ' ' || current_setting('search_path')";
                assert_eq!(
                    pooler.ask(behind, database, sql),
                    r#"off "$user", public"#,
                    "of the application's session in {database}"
                );
            }
            let words = ["pooler", &format!("{side}.port")];
            refused.expect_code(3).expect_words(&words);
        }
    }
}

/// Two databases, the second of which cannot be dumped for now: the first is verified, and the load goes on.
fn while_the_first_is_verified(look: impl FnOnce(&Server)) {
    while_the_first_is_verified_under("", look);
}

/// As [`while_the_first_is_verified`], with this at the plan's end.
fn while_the_first_is_verified_under(plan: &str, look: impl FnOnce(&Server)) {
    let (source, target) = (Server::start(16), Server::of(18).durable().start());
    source.psql("postgres", "CREATE ROLE app LOGIN PASSWORD 'of the app'");
    for database in ["first", "second"] {
        source.psql("postgres", &format!("CREATE DATABASE {database} OWNER app"));
        source.psql(
            database,
            "SET ROLE app; CREATE TABLE t AS SELECT generate_series(1, 10) AS id",
        );
    }
    let project = Project::between(&source, &target)
        .source("lock_timeout", "\"60s\"")
        .with(plan);
    let mut running = project.start(&["run"]);
    let is = |kind: &str, step: &str| {
        project.state_directory().join("journal.jsonl").exists()
            && project.journal_steps(kind).contains(&step.to_owned())
    };
    running.until("the globals", || is("step-started", "globals"));
    let application = Held::begin(&source, "second", "LOCK TABLE t IN ACCESS EXCLUSIVE MODE");
    running.until("the first database", || is("step-done", "first/verify"));
    sleep(Duration::from_millis(200));
    assert!(!is("step-done", "second/dump"), "the second did not wait");
    look(&target);
    application.commit();
    running.wait().expect_code(0);
    assert!(target.lets_in("first", "app", "of the app"));
}

#[test]
fn a_verified_database_opens_once_the_target_is_safe() {
    while_the_first_is_verified(|target| {
        let fsync = target.psql("postgres", "SHOW fsync");
        assert!(
            fsync == "on" || !target.lets_in("first", "app", "of the app"),
            "a client is let in while fsync is off"
        );
    });
}

/// Whoever owns it, and whatever the plan says of verified ones.
#[test]
fn a_database_that_is_not_verified_lets_nobody_in() {
    let early = "[target.tuning]\nopen_early = true\n";
    while_the_first_is_verified_under(early, |target| {
        assert!(target.lets_in("first", "app", "of the app"));
        assert!(!target.lets_in("second", "app", "of the app"));
        assert_eq!(target.psql("postgres", "SHOW fsync"), "off");
    });
}

/// Killed in between, the run that goes on opens what the first verified, though it has nothing else to do.
#[test]
fn what_a_killed_run_left_closed_is_opened() {
    let (source, target) = (Server::start(16), Server::of(18).durable().start());
    source.psql("postgres", "CREATE ROLE app LOGIN PASSWORD 'of the app'");
    source.psql("postgres", "CREATE DATABASE erp OWNER app");
    let project = Project::between(&source, &target);
    for point in [
        "journal step-started restore-settings before:1",
        "erp let in:1",
        "erp opened:1",
    ] {
        project.killed_at(point);
    }
    project.run(&["run"]).expect_code(0);
    assert!(target.lets_in("erp", "app", "of the app"));
    let owner = "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = 'erp'";
    assert_eq!(target.psql("postgres", owner), "app");
}

/// The same where the plan restores no settings any more.
#[test]
fn what_a_killed_run_left_closed_is_opened_without_tuning_too() {
    let (source, target) = (Server::start(16), Server::of(18).durable().start());
    source.psql("postgres", "CREATE ROLE app LOGIN PASSWORD 'of the app'");
    source.psql("postgres", "CREATE DATABASE erp OWNER app");
    let project = Project::between(&source, &target);
    let point = "journal step-started restore-settings before:1";
    project.killed_at(point);
    assert!(!target.lets_in("erp", "app", "of the app"));
    project
        .with("[target.tuning]\nmode = \"off\"\n")
        .run(&["run"])
        .expect_code(0);
    assert!(target.lets_in("erp", "app", "of the app"));
}

/// Clients are let in a moment before that is on record as done: what they write then is no difference, and stays.
#[test]
fn a_run_that_was_killed_while_it_opened_a_database_goes_on_and_keeps_what_clients_wrote() {
    let (source, target) = (Server::start(16), Server::start(18));
    source.psql("postgres", "CREATE ROLE app LOGIN PASSWORD 'of the app'");
    source.psql("postgres", "CREATE DATABASE erp OWNER app");
    source.psql(
        "erp",
        "CREATE TABLE t AS SELECT generate_series(1, 10) AS id",
    );
    let project = Project::between(&source, &target).with("[target.tuning]\nmode = \"off\"\n");
    let point = "erp let in:1";
    project.killed_at(point);
    assert!(target.lets_in("erp", "app", "of the app"));
    target.psql("erp", "INSERT INTO t VALUES (11)");
    project.run(&["run"]).expect_code(0);
    assert_eq!(target.psql("erp", "SELECT count(*) FROM t"), "11");
}

#[test]
fn commits_of_clients_are_synchronous_at_all_times() {
    while_the_first_is_verified(|target| {
        let setting = target.psql("postgres", "SHOW synchronous_commit");
        assert_eq!(setting, "on", "synchronous_commit is off for clients");
    });
}

/// Sessions of others that a role without pg_read_all_stats cannot tell from nothing.
#[test]
fn sessions_that_cannot_be_seen_are_told_and_make_the_budget_low() {
    let (source, target) = (
        Server::of(16).set("max_connections", "60").start(),
        Server::start(18),
    );
    source.psql(
        "postgres",
        "CREATE ROLE mover LOGIN PASSWORD 'of the mover' IN ROLE pg_read_all_data",
    );
    source.psql("postgres", "CREATE DATABASE erp");
    let application: Vec<Held> = (0..35)
        .map(|_| Held::begin(&source, "postgres", "SELECT 1"))
        .collect();
    let project = Project::between(&source, &target)
        .source("user", &string("mover"))
        .variable("SOURCE_PASSWORD", "of the mover")
        .with("[globals]\nmigrate = false\n");
    let plan = project.run(&["plan", "--dry-run", "--format", "json"]);
    let plan: Value = serde_json::from_str(&plan.expect_code(0).stdout).unwrap();
    let budget = plan["servers"]["source"]["budget"].as_u64().unwrap();
    let findings = plan["findings"].to_string();
    assert!(
        budget <= 15 && findings.contains("pg_read_all_stats"),
        "not told, and the budget is {budget}: {findings}"
    );
    drop(application);
}

#[test]
fn a_live_source_keeps_most_of_its_connections() {
    let (source, target) = (Server::start(16), Server::start(18));
    source.psql("postgres", "CREATE DATABASE erp");
    let project = Project::between(&source, &target);
    let plan = project.run(&["plan", "--dry-run", "--format", "json"]);
    let plan: Value = serde_json::from_str(&plan.expect_code(0).stdout).unwrap();
    let budget = plan["servers"]["source"]["budget"].as_u64().unwrap();
    assert!(budget <= 25, "{budget} of 100");
}

/// Building an index waits for clients and they for it; the plan says so.
#[test]
fn the_plan_says_that_clients_wait_for_index_builds() {
    let (source, target) = (Server::start(16), Server::start(18));
    source.psql("postgres", "CREATE DATABASE erp");
    source.psql(
        "erp",
        "CREATE TABLE events AS SELECT n AS id FROM generate_series(1, 100) n; CREATE INDEX by_id ON events (id)",
    );
    let project =
        Project::between(&source, &target).with("[delay]\ntable_data = [\"erp.events\"]\n");
    let plan = project.run(&["plan", "--dry-run"]).expect_code(0).stdout;
    assert!(plan.contains("concurrently"), "the plan is silent: {plan}");
}
