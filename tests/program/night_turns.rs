//! Several servers behind one address, as a load balancer or the service of an operator's replicas has them.

use crate::support::compare;
use crate::support::fill::slow_index;
use crate::support::project::Project;
use crate::support::proxy::Proxy;
use crate::support::server::{Mode, Server};

/// A server with a database and slow ones, and one that is its copy.
fn twins(major: u32, slow: &[&str]) -> (Server, Server) {
    let mut first = Server::start(major);
    first.psql("postgres", "CREATE DATABASE erp");
    first.psql(
        "erp",
        "CREATE TABLE plain AS SELECT n AS id FROM generate_series(1, 100) n",
    );
    for database in slow {
        first.psql("postgres", &format!("CREATE DATABASE {database}"));
        first.psql(database, &slow_index(300));
    }
    first.stop(Mode::Fast);
    let second = first.twin();
    first.start_again();
    (first, second)
}

/// `check` says so, nothing is made on the target, and with an address of one of them the run goes through.
#[test]
fn two_servers_in_turn_behind_the_sources_address_are_told() {
    let (first, second) = twins(16, &[]);
    let target = Server::start(18);
    let proxy = Proxy::to(first.port());
    let project = Project::between(&first, &target).source("port", &proxy.port().to_string());
    proxy.lead_in_turn_to(&[first.port(), second.port()]);
    for verb in ["check", "run"] {
        let told = project.run(&[verb]).expect_code(3);
        told.says(&[
            "what answers is another server than the one before",
            "load balancer",
        ]);
    }
    let databases = "SELECT count(*) FROM pg_database WHERE datname IN ('erp', 'pg_migrate_mark')";
    assert_eq!(target.psql("postgres", databases), "0");
    // As advised.
    proxy.lead_to(second.port());
    project.run(&["check"]).expect_code(0);
    project.run(&["run"]).expect_code(0);
    compare::assert_same(&second, &target, "erp");
}

#[test]
fn two_servers_in_turn_behind_the_targets_address_are_told() {
    let source = Server::start(16);
    source.psql("postgres", "CREATE DATABASE crm");
    let (first, second) = twins(18, &[]);
    let proxy = Proxy::to(first.port());
    let project = Project::between(&source, &first)
        .target("port", &proxy.port().to_string())
        .with("[target.tuning]\nmode = \"safe\"\n");
    proxy.lead_in_turn_to(&[first.port(), second.port()]);
    for verb in ["check", "run"] {
        let told = project.run(&[verb]).expect_code(3);
        told.says(&["what answers is another server than the one before"]);
    }
    let databases = "SELECT count(*) FROM pg_database WHERE datname IN ('crm', 'pg_migrate_mark')";
    for server in [&first, &second] {
        assert_eq!(server.psql("postgres", databases), "0");
    }
    proxy.lead_to(first.port());
    project.run(&["run"]).expect_code(0);
    compare::assert_same(&source, &first, "crm");
}

/// A second one joins in the middle of the night: while the restore of one database builds its index, before the other is dumped.
#[test]
fn a_second_server_that_joins_during_a_run_is_told() {
    let (first, second) = twins(16, &["crm", "web"]);
    let target = Server::start(18);
    let proxy = Proxy::to(first.port());
    let project = Project::between(&first, &target)
        .source("port", &proxy.port().to_string())
        .parallelism("max_parallel", 1)
        .with("[retry]\nattempts = 2\nbackoff = \"100ms\"\n");
    let mut run = project.start(&["run"]);
    run.until("a restore", || {
        let of = |name: &&str| project.has("step-started", &format!("{name}/restore"));
        ["crm", "web"].iter().any(of)
    });
    proxy.lead_in_turn_to(&[second.port(), first.port()]);
    let told = run.wait().expect_code(4);
    told.says(&["what answers is another server than the one before"]);
    proxy.lead_to(first.port());
    project.run(&["run"]).expect_code(0);
    for database in ["crm", "erp", "web"] {
        compare::assert_same(&first, &target, database);
    }
}
