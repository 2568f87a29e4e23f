//! Locks on the source: what waits for one does not keep the application waiting.

use std::time::{Duration, Instant};

use crate::support::project::Project;
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
