//! A partition that is being detached without a lock on its table: it is no part of it to those who read, and pg_dump would attach it.

use std::fs;
use std::process::{Child, Stdio};
use std::thread::sleep;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::support::compare;
use crate::support::held::Held;
use crate::support::project::{Project, Running};
use crate::support::server::Server;

const PARTS: &str = "
    CREATE TABLE part (id int, k int) PARTITION BY LIST (k);
    CREATE TABLE part1 PARTITION OF part FOR VALUES IN (1);
    CREATE TABLE part2 PARTITION OF part FOR VALUES IN (2);
    INSERT INTO part SELECT n, 1 + n % 2 FROM generate_series(1, 100) n";

const DETACH: &str = "ALTER TABLE part DETACH PARTITION part2 CONCURRENTLY";

fn servers() -> (Server, Server, Project) {
    let (source, target) = (Server::start(16), Server::start(18));
    source.psql("postgres", "CREATE DATABASE erp");
    source.psql("erp", PARTS);
    let project = Project::between(&source, &target);
    (source, target, project)
}

/// A session of an administrator, which waits for whoever reads the table.
fn detach(source: &Server) -> Child {
    let mut psql = source.client("psql", "erp");
    psql.args(["-XqAt", "-c", DETACH])
        .stdin(Stdio::null())
        .spawn()
        .unwrap()
}

fn is_pending(source: &Server) -> bool {
    let pending = "SELECT count(*) FROM pg_inherits WHERE inhdetachpending";
    source.psql("erp", pending) == "1"
}

/// A run, and a partition that is being detached as long as the reader reads: that began when the servers had been looked into.
fn started(source: &Server, project: &Project) -> (Running, Held, Child) {
    let seen = project.directory().join("points");
    let variables = [("PG_MIGRATE_FAILPOINTS_SEEN", seen.as_os_str())];
    let mut run = project.start_with(&["run"], &variables);
    run.until("the end of the preparations", || {
        fs::read_to_string(&seen).is_ok_and(|points| points.contains("prepared:1"))
    });
    run.send(Signal::SIGSTOP);
    let reader = Held::begin(source, "erp", "SELECT FROM part LIMIT 1");
    let mut detaching = detach(source);
    while !is_pending(source) {
        assert!(detaching.try_wait().unwrap().is_none());
    }
    run.send(Signal::SIGCONT);
    (run, reader, detaching)
}

#[test]
fn a_snapshot_waits_for_a_partition_that_is_being_detached() {
    let (source, target, project) = servers();
    let (mut run, reader, mut detaching) = started(&source, &project);
    run.until("the snapshot", || {
        let begun = "SELECT count(*) FROM pg_stat_activity WHERE application_name ~ 'erp/snapshot'";
        source.psql("postgres", begun) != "0"
    });
    sleep(Duration::from_millis(500));
    reader.commit();
    assert!(detaching.wait().unwrap().success());
    run.wait().expect_code(0);
    for server in [&source, &target] {
        let rows = server.psql("erp", "SELECT count(*) FROM public.part");
        assert_eq!(rows, "50", "{}", server.major());
    }
    compare::assert_same(&source, &target, "erp");
}

/// The patience of `[retry]` ends, and what is in the way is named.
#[test]
fn a_partition_whose_detaching_does_not_end_is_named() {
    let (source, _target, project) = servers();
    let project = project.with("[retry]\nattempts = 1\n");
    let (run, reader, mut detaching) = started(&source, &project);
    run.wait().expect_code(4).says(&[
        "the partition public.part2 is being detached from public.part (DETACH PARTITION … CONCURRENTLY), which has not ended",
        "FINALIZE",
    ]);
    reader.commit();
    assert!(detaching.wait().unwrap().success());
    project.run(&["run"]).expect_code(0);
}
