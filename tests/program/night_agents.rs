//! Agents and exporters that look into every database: one that was never handed over is dropped all the same.

use crate::support::compare;
use crate::support::held::Held;
use crate::support::project::Project;
use crate::support::server::Server;

fn servers(target: u32) -> (Server, Server, Project) {
    let (source, target) = (Server::start(12), Server::start(target));
    source.psql("postgres", "CREATE DATABASE erp");
    source.psql(
        "erp",
        "CREATE TABLE t AS SELECT generate_series(1, 100) AS id",
    );
    let project = Project::between(&source, &target);
    (source, target, project)
}

fn half_done(project: &Project) {
    let point = "journal step-done erp/restore before:1".as_ref();
    let killed = project.start_with(&["run"], &[("PG_MIGRATE_FAILPOINT", point)]);
    assert_eq!(killed.wait().signal, Some(9));
}

fn agent(target: &Server) -> Held {
    Held::begin(target, "erp", "SELECT count(*) FROM pg_stat_user_tables")
}

/// The run completes while an agent is connected to what is half done.
fn completes_beside_an_agent(source: &Server, target: &Server, project: &Project) {
    half_done(project);
    let agent = agent(target);
    project.run(&["run"]).expect_code(0);
    drop(agent);
    compare::assert_same(source, target, "erp");
}

#[test]
fn an_agents_session_does_not_keep_what_was_never_handed_over() {
    let (source, target, project) = servers(18);
    completes_beside_an_agent(&source, &target, &project);
}

/// It was there, empty, and an agent looked into it before the plan did.
#[test]
fn nor_what_was_found_empty_and_filled() {
    let (source, target, project) = servers(18);
    target.psql("postgres", "CREATE DATABASE erp");
    completes_beside_an_agent(&source, &target, &project);
}

/// Before 13 there is no such drop: the run says what is in the way, and goes on once it is gone.
#[test]
fn before_13_it_is_told() {
    let (source, target, project) = servers(12);
    half_done(&project);
    let agent = agent(&target);
    project
        .run(&["run"])
        .expect_code(4)
        .expect_words(&["is being accessed by other users"]);
    agent.commit();
    project.run(&["run"]).expect_code(0);
    compare::assert_same(&source, &target, "erp");
}

/// One that was verified may be in use: sessions keep it, named to be dropped or not.
#[test]
fn a_session_keeps_what_was_handed_over() {
    let (_source, target, project) = servers(18);
    project.run(&["run"]).expect_code(0);
    let oid = "SELECT oid FROM pg_database WHERE datname = 'erp'";
    let first = target.psql("postgres", oid);
    project
        .run(&["reset", "--database", "erp", "--drop", "erp"])
        .expect_code(0);
    let client = Held::begin(&target, "erp", "SELECT count(*) FROM t");
    project
        .run(&["run"])
        .expect_code(4)
        .expect_words(&["is not dropped: 1 other session is connected"]);
    client.commit();
    assert_eq!(target.psql("postgres", oid), first);
    project.run(&["run"]).expect_code(0);
    assert_ne!(target.psql("postgres", oid), first);
}
