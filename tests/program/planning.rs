//! `plan`: what a change ticket shows, and what a run then keeps to.

use std::collections::BTreeSet;
use std::fs;

use serde_json::Value;

use crate::support::project::Project;
use crate::support::server::Server;
use crate::support::{compare, fill};

fn dry_run(project: &Project, format: &str) -> String {
    let arguments = ["plan", "--dry-run", "--format", format];
    project.run(&arguments).expect_code(0).stdout
}

#[test]
fn a_dry_run_prints_the_same_bytes_and_writes_nothing() {
    let (source, target) = (Server::start(10), Server::start(18));
    fill::everything(&source);
    let project = Project::between(&source, &target);
    let before = (compare::state(&source), compare::state(&target));
    for format in ["text", "json"] {
        let first = dry_run(&project, format);
        assert!(!first.is_empty());
        assert_eq!(dry_run(&project, format), first);
    }
    let after = (compare::state(&source), compare::state(&target));
    assert!(before == after, "a server was changed");
    assert!(!project.state_directory().exists());

    let plan: Value = serde_json::from_str(&dry_run(&project, "json")).unwrap();
    let major = |side: &str| {
        let version = plan["servers"][side]["version"].as_str().unwrap();
        version.split('.').next().unwrap().to_owned()
    };
    assert_eq!(
        (major("source"), major("target")),
        ("10".into(), "18".into())
    );
    let steps = plan["steps"].as_array().unwrap();
    let ids: Vec<&str> = steps
        .iter()
        .map(|step| step["id"].as_str().unwrap())
        .collect();
    for id in [
        "globals",
        "shop/create",
        "shop/dump",
        "shop/source-counts",
        "shop/restore",
    ] {
        assert!(ids.contains(&id), "{id} is not among {ids:?}");
    }
    // A step needs only steps that come before it.
    for (position, step) in steps.iter().enumerate() {
        for need in step["needs"].as_array().unwrap() {
            assert!(ids[..position].contains(&need.as_str().unwrap()), "{step}");
        }
    }
}

#[test]
fn a_run_keeps_to_the_connections_that_the_plan_shows() {
    let source = Server::of(16).set("max_connections", "30").start();
    let target = Server::of(18).set("max_connections", "25").start();
    fill::plain(&source, 6, 20_000);
    // The reference tool's defaults: 24 dump jobs for each of 6 databases at a time.
    let project = Project::between(&source, &target)
        .parallelism("max_parallel", 6)
        .parallelism("dump_jobs", 24)
        .parallelism("restore_jobs", 12)
        .parallelism("verify_concurrency", 16);
    let plan: Value = serde_json::from_str(&dry_run(&project, "json")).unwrap();
    let peak = |side: &str| {
        plan["peaks"][format!("{side}.connections")]
            .as_u64()
            .unwrap()
    };
    for side in ["source", "target"] {
        let budget = plan["servers"][side]["budget"].as_u64().unwrap();
        assert!(peak(side) <= budget, "{side}: {} of {budget}", peak(side));
    }

    let mut running = project.start(&["run"]);
    let servers = [("source", &source), ("target", &target)];
    let mut before = [BTreeSet::new(), BTreeSet::new()];
    let mut most = [0, 0];
    while running.is_running() {
        for (index, (_, server)) in servers.iter().enumerate() {
            // A server takes a moment to end the session of a client that is gone: one that is seen once may be no more than that.
            let now = server.sessions();
            most[index] = most[index].max(now.intersection(&before[index]).count() as u64);
            before[index] = now;
        }
    }
    running.wait().expect_code(0);
    for ((side, _), most) in servers.iter().zip(most) {
        assert!(most > 2, "{side}: {most}: nothing ran side by side");
        assert!(most <= peak(side), "{side}: {most} of {}", peak(side));
    }
    for server in [&source, &target] {
        let log = server.log();
        assert!(
            !log.contains("too many clients") && !log.contains("connection slots"),
            "{log}"
        );
    }
}

#[test]
fn a_sealed_plan_refuses_drift() {
    let (source, target) = (Server::start(12), Server::start(18));
    fill::plain(&source, 2, 10);
    let project = Project::between(&source, &target);
    project.run(&["plan"]).expect_code(0);
    assert!(project.state_directory().join("plan.json").exists());
    source.psql("postgres", "CREATE DATABASE newcomer");
    let before = compare::state(&target);
    project
        .run(&["run"])
        .expect_code(3)
        .expect_words(&["newcomer"]);
    assert_eq!(compare::state(&target), before);
    source.psql("postgres", "DROP DATABASE newcomer");
    project.run(&["run"]).expect_code(0);
}

#[test]
fn the_state_directory_is_closed_to_other_users() {
    use std::os::unix::fs::PermissionsExt;
    let (source, target) = (Server::start(16), Server::start(18));
    fill::plain(&source, 1, 10);
    let project = Project::between(&source, &target);
    project.run(&["run"]).expect_code(0);
    let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let state = project.state_directory();
    assert_eq!(mode(&state), 0o700);
    for file in ["journal.jsonl", "plan.json", "report.json"] {
        assert_eq!(mode(&state.join(file)), 0o600, "{file}");
    }
    let log = fs::read_dir(state.join("log")).unwrap();
    assert!(log.count() > 0, "a run leaves a log");
}
