//! Another cluster has the address of a server in mid-run, as when a restart gives a port or a name to another one. Its history
//! fits: it was started after the other was seen last, and has written more.

use std::fs;

use crate::support::compare;
use crate::support::paused::Paused;
use crate::support::project::Project;
use crate::support::proxy::Proxy;
use crate::support::server::{Mode, Server};

const ROWS: &str = "SELECT count(*), max(v) FROM stock";

fn with_stock(server: &Server, v: &str, rows: u32) {
    server.psql("postgres", "CREATE DATABASE shop");
    server.psql(
        "shop",
        &format!(
            "CREATE TABLE stock AS SELECT n, '{v}'::text AS v FROM generate_series(1, {rows}) n"
        ),
    );
}

/// Another cluster that lets the same role in, and that has written more than this server will. It is not running.
fn stranger_to(server: &Server, prepare: impl FnOnce(&Server)) -> Server {
    // Servers of one shape are copies of one cluster.
    let mut stranger = Server::of(server.major()).locale("UTF8", "C").start();
    prepare(&stranger);
    let access = stranger.data_directory().join("pg_hba.conf");
    let ours = fs::read_to_string(&access).unwrap();
    let everybody = "host all postgres 127.0.0.1/32 trust\n";
    fs::write(&access, format!("{everybody}{ours}")).unwrap();
    let position = "SELECT pg_current_wal_flush_lsn() - '0/0'::pg_lsn";
    let number = |server: &Server| server.psql("postgres", position).parse::<u64>().unwrap();
    let far = number(server) + (128 << 20);
    while number(&stranger) < far {
        stranger.psql(
            "postgres",
            "CREATE TEMPORARY TABLE one AS SELECT 1; SELECT pg_switch_wal()",
        );
    }
    let identifier = "SELECT system_identifier FROM pg_control_system()";
    assert_ne!(
        stranger.psql("postgres", identifier),
        server.psql("postgres", identifier)
    );
    stranger.stop(Mode::Fast);
    stranger
}

/// Another cluster takes the place of the server while the dump is about to begin, and the run says so.
fn swapped_in_mid_run(
    project: Project,
    proxy: &Proxy,
    server: &mut Server,
    stranger: &mut Server,
    side: &str,
) -> Project {
    let (project, dump) = Paused::of(project, "pg_dump", "shop");
    let mut running = project.start(&["run"]);
    dump.until_reached(&mut running);
    server.stop(Mode::Immediate);
    stranger.start_again();
    proxy.lead_to(stranger.port());
    dump.go();
    let finished = running.wait().expect_code(4);
    finished.says(&[
        "its system identifier was",
        &format!("Another cluster has the address of the {side} now"),
    ]);
    project
}

#[test]
fn rows_of_another_cluster_at_the_source_s_address_are_not_taken() {
    let (mut source, target) = (Server::start(16), Server::start(18));
    with_stock(&source, "production", 1000);
    let mut stranger = stranger_to(&source, |stranger| with_stock(stranger, "staging", 123));
    let proxy = Proxy::to(source.port());
    let project = Project::between(&source, &target).source("port", &proxy.port().to_string());
    let project = swapped_in_mid_run(project, &proxy, &mut source, &mut stranger, "source");
    assert!(!project.has("step-done", "shop/dump"));
    project
        .run(&["run"])
        .expect_code(3)
        .says(&["system identifier"]);
    source.start_again();
    proxy.lead_to(source.port());
    project.run(&["run"]).expect_code(0);
    assert_eq!(target.psql("shop", ROWS), "1000|production");
    compare::assert_same(&source, &target, "shop");
}

#[test]
fn nothing_is_made_on_another_cluster_at_the_target_s_address() {
    let (source, mut target) = (Server::start(16), Server::start(18));
    with_stock(&source, "production", 1000);
    let mut stranger = stranger_to(&target, |_| {});
    let proxy = Proxy::to(target.port());
    let project = Project::between(&source, &target).target("port", &proxy.port().to_string());
    let project = swapped_in_mid_run(project, &proxy, &mut target, &mut stranger, "target");
    let databases = "SELECT string_agg(datname, ' ' ORDER BY datname) FROM pg_database";
    assert_eq!(
        stranger.psql("postgres", databases),
        "postgres template0 template1"
    );
    assert_eq!(stranger.psql("postgres", "SHOW full_page_writes"), "on");
    target.start_again();
    proxy.lead_to(target.port());
    project.run(&["run"]).expect_code(0);
    compare::assert_same(&source, &target, "shop");
}

/// Where the function may not be called, all goes on without.
#[test]
fn a_server_that_does_not_tell_its_identifier_is_no_stranger() {
    let (source, target) = (Server::start(16), Server::start(18));
    with_stock(&source, "production", 10);
    source.psql(
        "postgres",
        "CREATE ROLE mover LOGIN PASSWORD 'mover';
         GRANT pg_read_all_data TO mover;
         REVOKE EXECUTE ON FUNCTION pg_control_system() FROM PUBLIC",
    );
    let project = Project::between(&source, &target)
        .source("user", "\"mover\"")
        .source("password", "{ env = \"MOVER\" }")
        .variable("MOVER", "mover")
        .with("[globals]\nmigrate = false\n");
    project.run(&["run"]).expect_code(0);
    let journal = project.journal();
    let seen = journal.iter().find_map(|record| {
        let seen = &record["entry"]["servers-seen"]["seen"];
        seen.is_object().then_some(seen)
    });
    let seen = seen.expect("the servers were seen");
    assert!(
        seen["s"]["lsn"].is_u64() && seen["s"]["id"].is_null(),
        "{seen}"
    );
    assert!(seen["t"]["id"].is_i64(), "{seen}");
}
