//! Locks on the source: what waits for one does not keep the application waiting. The lock on the target: one plan
//! at a time.

use std::time::{Duration, Instant};

use crate::support::project::Project;
use crate::support::proxy::Proxy;
use crate::support::server::Server;
use crate::support::{compare, fill};

/// An application alters a table while the dump wants to read it.
#[test]
fn a_dump_gives_up_waiting_for_a_lock_and_tries_again() {
    let (source, target) = (Server::start(16), Server::start(18));
    fill::plain(&source, 1, 100);
    // Unlike a table's, its size is not asked for when the servers are looked at.
    source.psql(
        "db1",
        "CREATE TABLE parted (id int) PARTITION BY RANGE (id)",
    );
    let project = Project::between(&source, &target)
        .source("lock_timeout", "\"500ms\"")
        .with("[retry]\nattempts = 20\nbackoff = \"500ms\"\nmax_backoff = \"500ms\"\n");
    let mut application = source
        .client("psql", "db1")
        .args([
            "-q",
            "-c",
            "BEGIN; LOCK TABLE ONLY parted IN ACCESS EXCLUSIVE MODE; SELECT pg_sleep(8); COMMIT",
        ])
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let holds = "SELECT count(*) FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND granted";
    while source.psql("db1", holds) == "0" {
        std::thread::sleep(Duration::from_millis(20));
    }
    let mut running = project.start(&["run"]);
    // A reader that comes after a waiting dump: it waits for the application alone.
    let waits = "SELECT count(*) FROM pg_locks WHERE NOT granted";
    running.until("a lock that the dump waits for", || {
        source.psql("db1", waits) != "0"
    });
    let began = Instant::now();
    running.until("the end of its waiting", || {
        source.psql("db1", waits) == "0"
    });
    assert!(
        began.elapsed() < Duration::from_secs(5),
        "{:?}",
        began.elapsed()
    );
    assert!(
        application.try_wait().unwrap().is_none(),
        "the application has ended"
    );

    running.wait().expect_code(0);
    assert!(application.wait().unwrap().success());
    let report = project.report();
    let steps = report["databases"][0]["steps"].as_array().unwrap();
    let attempts = steps.iter().map(|step| step["attempts"].as_u64().unwrap());
    assert!(attempts.max().unwrap() > 1, "{steps:#?}");
    compare::assert_same(&source, &target, "db1");
}

/// Another name, another state directory, another database of the source: only the target is the same.
#[test]
fn a_second_plan_does_not_get_a_target_that_is_in_use() {
    let (source, target) = (Server::start(14), Server::start(18));
    let databases = fill::plain(&source, 2, 500);
    source.psql("postgres", "CREATE DATABASE other");
    target.psql("postgres", "CREATE DATABASE admin");
    let proxy = Proxy::to(source.port());
    let first = Project::between(&source, &target)
        .source("port", &proxy.port().to_string())
        .with("[databases]\ninclude = [\"db*\"]\n");
    let mut running = first.start(&["run"]);
    let journal = first.state_directory().join("journal.jsonl");
    running.until("its first record", || {
        std::fs::read_to_string(&journal).is_ok_and(|text| text.contains("run-started"))
    });
    // It goes on, but not to its end before the others have tried.
    proxy.set_delay(Duration::from_millis(500));
    let existing = || {
        let names = "SELECT datname FROM pg_database WHERE datname !~ '^db' UNION ALL SELECT rolname FROM pg_roles";
        target.psql("postgres", &format!("{names} ORDER BY 1"))
    };
    let before = existing();
    // An advisory lock is one of a database.
    for database in ["postgres", "admin"] {
        let second = Project::between(&source, &target)
            .named("second")
            .target("database", &format!("\"{database}\""))
            .with("[databases]\ninclude = [\"other\"]\n[globals]\nmigrate = false\n[target.tuning]\nmode = \"safe\"\n");
        let refused = second.run(&["run"]).expect_code(6);
        refused.expect_words(&["another run holds the target"]);
        assert_eq!(second.journal(), Vec::<serde_json::Value>::new());
        assert_eq!(existing(), before, "by way of {database}");
    }
    assert!(running.is_running());
    proxy.set_delay(Duration::ZERO);
    running.wait().expect_code(0);
    for database in &databases {
        compare::assert_same(&source, &target, database);
    }

    let second = Project::between(&source, &target)
        .named("second")
        .target("database", "\"admin\"")
        .with("[databases]\ninclude = [\"other\"]\n[target.tuning]\nmode = \"safe\"\n");
    second.run(&["run"]).expect_code(0);
}

/// The connection that holds the target is made again, and then it must not be alone in its own database only.
#[test]
fn a_target_that_another_plan_took_meanwhile_is_not_taken_again() {
    let (source, target) = (Server::start(14), Server::start(18));
    fill::plain(&source, 2, 500);
    let proxy = Proxy::to(source.port());
    let project = Project::between(&source, &target)
        .source("port", &proxy.port().to_string())
        .with("[retry]\nattempts = 3\nbackoff = \"100ms\"\nmax_backoff = \"100ms\"\n");
    let mut running = project.start(&["run"]);
    let journal = project.state_directory().join("journal.jsonl");
    running.until("its first record", || {
        std::fs::read_to_string(&journal).is_ok_and(|text| text.contains("run-started"))
    });
    proxy.set_delay(Duration::from_millis(500));
    // Where it is waited for, it is taken the moment that the run loses it.
    let mut other = target
        .client("psql", "template1")
        .args([
            "-q",
            "-c",
            "SELECT pg_advisory_lock(1885810029, 1768387169)",
            "-c",
            "SELECT pg_sleep(600)",
        ])
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let holders = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted";
    running.until("a second holder", || {
        target.psql("postgres", holders) == "2"
    });
    target.psql(
        "postgres",
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'pg-migrate/%/control#%'",
    );
    let ended = running.wait();
    other.kill().unwrap();
    other.wait().unwrap();
    ended.expect_code(4);
}
