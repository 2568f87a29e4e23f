//! The snapshots under which the source is read: what the user learns of them.

use std::time::Duration;

use serde_json::Value;

use crate::support::fill;
use crate::support::project::Project;
use crate::support::proxy::Proxy;
use crate::support::server::Server;

/// The snapshot that a step of the report's only database read the source under.
fn snapshot_of<'a>(report: &'a Value, kind: &str) -> &'a str {
    let steps = report["databases"][0]["steps"].as_array().unwrap();
    let step = steps.iter().find(|step| step["kind"] == kind).unwrap();
    step["snapshot"].as_str().expect("it has a snapshot")
}

#[test]
fn the_report_names_the_snapshots_of_regular_and_delayed_data() {
    for mode in ["same", "later"] {
        let (source, target) = (Server::start(16), Server::start(18));
        fill::plain(&source, 1, 100);
        let project = Project::between(&source, &target).with(&format!(
            "[delay]\ntable_data = [\"db1.table3\"]\nsnapshot = \"{mode}\"\n"
        ));
        project.run(&["run"]).expect_code(0);
        let report = project.report();
        let regular = snapshot_of(&report, "dump");
        let delayed = snapshot_of(&report, "delayed-dump");
        assert_eq!(snapshot_of(&report, "source-counts"), regular);
        assert_eq!(regular == delayed, mode == "same");
        let warnings = report["databases"][0]["warnings"].to_string();
        let both = warnings.contains(regular) && warnings.contains(delayed);
        assert_eq!(both, mode == "later", "{warnings}");
    }
}

/// Another session ends the sessions that are idle in a transaction: those that hold the snapshots.
#[test]
fn dump_and_counts_see_one_snapshot_whatever_becomes_of_the_first() {
    let (source, target) = (Server::start(14), Server::start(18));
    let databases = fill::plain(&source, 5, 300);
    let proxy = Proxy::to(source.port());
    let project = Project::between(&source, &target)
        .source("port", &proxy.port().to_string())
        .with("[retry]\nattempts = 9\nbackoff = \"50ms\"\n");
    proxy.set_delay(Duration::from_millis(10));
    let mut running = project.start(&["run"]);
    let mut ended = 0;
    running.until("lost snapshots", || {
        let sql = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
                   WHERE application_name LIKE 'pg-migrate/%/snapshot#%'
                     AND state = 'idle in transaction' AND xact_start < now() - interval '0.3 s'";
        ended += source.psql("postgres", sql).parse::<u32>().unwrap();
        // Clients write all the time.
        for database in &databases {
            source.psql(
                database,
                "INSERT INTO table1 SELECT max(id) + 1, 'more' FROM table1",
            );
        }
        ended >= 8
    });
    running.wait().expect_code(0);
    let report = project.report();
    for database in report["databases"].as_array().unwrap() {
        let steps = database["steps"].as_array().unwrap();
        let of = |kind: &str| {
            let step = steps.iter().find(|step| step["kind"] == kind).unwrap();
            step["snapshot"].as_str().unwrap()
        };
        assert_eq!(of("dump"), of("source-counts"), "{}", database["name"]);
    }
}

/// A database that is verified and in use, its delayed tables not dumped yet; the snapshot died with the run.
fn verified_and_killed() -> (Server, Server, Proxy, Project) {
    let (source, target) = (Server::start(14), Server::start(18));
    fill::plain(&source, 1, 500);
    source.psql("db1", "CREATE TABLE regular AS SELECT * FROM table1");
    source.psql("db1", "CREATE TABLE table4 AS SELECT * FROM table1");
    let proxy = Proxy::to(source.port());
    let project = Project::between(&source, &target)
        .source("port", &proxy.port().to_string())
        .with("[delay]\ntable_data = [\"db1.table*\"]");
    proxy.set_delay(Duration::from_millis(15));
    let mut running = project.start(&["run"]);
    let journal = project.state_directory().join("journal.jsonl");
    let done = |step: &str| {
        let text = std::fs::read_to_string(&journal).unwrap_or_default();
        text.contains(&format!("{{\"step-done\":{{\"step\":\"db1/{step}\""))
    };
    running.until("the regular dump", || done("dump") && done("source-counts"));
    // The delayed dump is still finding out what there is.
    proxy.set_delay(Duration::from_secs(3));
    running.until("the verified database", || done("verify"));
    assert!(!done("delayed-dump"));
    running.kill9();
    running.wait();
    proxy.set_delay(Duration::ZERO);
    (source, target, proxy, project)
}

fn assert_same_rows(source: &Server, target: &Server) {
    for table in ["table1", "table2", "table3", "table4"] {
        let all = format!("SELECT * FROM {table} ORDER BY id");
        assert_eq!(
            source.psql("db1", &all),
            target.psql("db1", &all),
            "{table}"
        );
    }
}

#[test]
fn a_lost_snapshot_is_replaced_where_no_delayed_row_changed() {
    let (source, target, _proxy, project) = verified_and_killed();
    // What is not a change: other tables' rows, new statistics, frozen rows.
    source.psql("db1", "UPDATE regular SET word = 'other'");
    source.psql("db1", "ANALYZE");
    source.psql("db1", "VACUUM FREEZE table3");
    project.run(&["run"]).expect_code(0);
    let warnings = project.report()["databases"][0]["warnings"].to_string();
    let said = "none of their rows and columns was added, changed or dropped in between";
    assert!(warnings.contains(said), "{warnings}");
    assert_same_rows(&source, &target);
}

#[test]
fn a_lost_snapshot_is_not_replaced_where_delayed_rows_changed() {
    let (source, target, _proxy, project) = verified_and_killed();
    source.psql("db1", "UPDATE table1 SET word = 'other' WHERE id <= 3");
    source.psql("db1", "DELETE FROM table2 WHERE id = 5");
    // As many rows as before.
    source.psql("db1", "DELETE FROM table3 WHERE id = 7");
    source.psql("db1", "INSERT INTO table3 VALUES (501, 'more')");
    let finished = project.run(&["run"]).expect_code(4);
    for said in [
        "public.table1: 3 rows are new or were changed, 3 of 500 are gone or were changed",
        "public.table2: 0 rows are new or were changed, 1 of 500 are gone or were changed",
        "public.table3: 1 rows are new or were changed, 1 of 500 are gone or were changed",
    ] {
        assert!(finished.stderr.contains(said), "{}", finished.stderr);
    }
    assert_eq!(target.psql("db1", "SELECT count(*) FROM table1"), "0");

    // No row is written for it, and every row shows another value.
    source.psql(
        "db1",
        "ALTER TABLE table4 DROP COLUMN word, ADD COLUMN word text DEFAULT 'all'",
    );
    let finished = project.run(&["run"]).expect_code(4);
    let said = "public.table4: it was altered";
    assert!(finished.stderr.contains(said), "{}", finished.stderr);

    // As the error says.
    let later = project
        .text()
        .replace("[delay]\n", "[delay]\nsnapshot = \"later\"\n");
    let project = project.plan_text(&later);
    project.run(&["run"]).expect_code(0);
    let warnings = project.report()["databases"][0]["warnings"].to_string();
    assert!(
        warnings.contains("altered on the source after the regular dump: public.table4;"),
        "{warnings}"
    );
    assert_same_rows(&source, &target);
}

#[test]
fn status_tells_a_snapshots_age_and_an_old_one_is_warned_of() {
    let (source, target) = (Server::start(14), Server::start(18));
    fill::plain(&source, 1, 100);
    let proxy = Proxy::to(source.port());
    let project = Project::between(&source, &target).source("port", &proxy.port().to_string());
    // The source goes far away as soon as the snapshot is taken.
    let mut running = project.start(&["run"]);
    let status = || -> Value {
        let finished = project.run(&["status", "--format", "json"]).expect_code(0);
        serde_json::from_str(&finished.stdout).expect("status is JSON")
    };
    let journal = project.state_directory().join("journal.jsonl");
    running.until("a snapshot", || {
        let text = std::fs::read_to_string(&journal).unwrap_or_default();
        text.contains("hold-snapshot")
    });
    proxy.set_delay(Duration::from_millis(300));
    // More transactions than a source should have to keep the dead rows of.
    source.psql(
        "db1",
        "DO $$ BEGIN
             FOR i IN 1..1000100 LOOP PERFORM txid_current(); COMMIT; END LOOP;
         END $$",
    );
    // Clients are at work, so that the number of transactions shows.
    let at_work = source.client("psql", "db1");
    let mut at_work = {
        let mut at_work = at_work;
        at_work.args(["-XqAtc", "SELECT pg_sleep(100)"]);
        at_work.stdout(std::process::Stdio::null());
        at_work.spawn().unwrap()
    };
    let found = status();
    let held = &found["snapshots"][0];
    assert_eq!(held["database"], "db1", "{found:#}");
    assert!(held["seconds"].as_f64().unwrap() > 1.0, "{held}");
    let id = held["snapshot"].as_str().unwrap().to_owned();
    let text = project.run(&["status"]).expect_code(0).stdout;
    assert!(text.contains(&format!("its snapshot {id} is ")), "{text}");

    running.until("the warning", || {
        let text = std::fs::read_to_string(&journal).unwrap();
        text.contains("\"warning\"")
    });
    // A proxy cuts sessions that say nothing: this one is asked after the warning as before.
    proxy.set_delay(Duration::from_millis(600));
    let asked = || {
        let sql = "SELECT query_start FROM pg_stat_activity WHERE application_name LIKE 'pg-migrate/%snapshot%'";
        source.psql("postgres", sql)
    };
    for _ in 0..2 {
        let before = asked();
        running.until("another question", || asked() != before);
    }
    proxy.set_delay(Duration::ZERO);
    let finished = running.wait().expect_code(0);
    at_work.kill().ok();
    at_work.wait().ok();
    let warning = format!("its snapshot {id} on the source is ");
    let shown = finished.stderr.matches(&warning).count();
    assert_eq!(shown, 1, "{}", finished.stderr);
    let report = project.report();
    let warnings = report["databases"][0]["warnings"].to_string();
    assert!(warnings.contains(&warning), "{warnings}");
    assert_eq!(status()["snapshots"], Value::Array(Vec::new()));
}
