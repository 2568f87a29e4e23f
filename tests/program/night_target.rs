//! The night around a run, on the target's side: what somebody set there, protects, or ran out of.

use std::fs;
use std::time::{Duration, Instant};

use crate::support::compare;
use crate::support::project::{Project, words};
use crate::support::proxy::Proxy;
use crate::support::server::Server;

fn source() -> Server {
    let source = Server::start(16);
    source.psql("postgres", "CREATE ROLE app LOGIN PASSWORD 'of the app'");
    source.psql("postgres", "CREATE DATABASE erp OWNER app");
    source.psql(
        "erp",
        "CREATE TABLE t AS SELECT generate_series(1, 100) AS id",
    );
    source
}

fn set(server: &Server, name: &str, value: &str) {
    server.psql("postgres", &format!("ALTER SYSTEM SET {name} = {value}"));
    server.psql("postgres", "SELECT pg_reload_conf()");
}

fn reset(server: &Server, name: &str) {
    server.psql("postgres", &format!("ALTER SYSTEM RESET {name}"));
    server.psql("postgres", "SELECT pg_reload_conf()");
}

/// The container that held the state directory is gone.
#[test]
fn what_a_run_whose_state_is_lost_left_is_not_the_owners() {
    let (source, target) = (source(), Server::of(18).durable().start());
    let project = Project::between(&source, &target);
    let point = "journal step-started erp/create before:1";
    project.killed_at(point);
    fs::remove_dir_all(project.state_directory()).unwrap();

    let told = project.run(&["run"]).expect_code(3);
    let said = words(&told.stderr);
    for name in ["fsync", "full_page_writes", "autovacuum"] {
        let off = format!("{name} (by ALTER SYSTEM, in postgresql.auto.conf)");
        assert!(said.contains(&off), "{said}");
        assert!(
            said.contains(&format!("ALTER SYSTEM RESET {name}")),
            "{said}"
        );
        assert_eq!(target.psql("postgres", &format!("SHOW {name}")), "off");
    }
    assert_eq!(
        target.psql(
            "postgres",
            "SELECT count(*) FROM pg_database WHERE datname = 'erp'"
        ),
        "0"
    );
    project.run(&["check"]).expect_code(3);
    // What it says.
    for name in [
        "fsync",
        "full_page_writes",
        "autovacuum",
        "synchronous_commit",
    ] {
        if said.contains(&format!("ALTER SYSTEM RESET {name}")) {
            reset(&target, name);
        }
    }
    project.run(&["run"]).expect_code(0);
    compare::assert_same(&source, &target, "erp");
    for name in [
        "fsync",
        "full_page_writes",
        "autovacuum",
        "synchronous_commit",
    ] {
        assert_eq!(target.psql("postgres", &format!("SHOW {name}")), "on");
    }
}

/// With the key it is kept, and said; each setting counts, wherever it comes from.
#[test]
fn a_server_that_is_unsafe_on_purpose_needs_the_key() {
    let source = source();
    for (name, line) in [("autovacuum", "off"), ("synchronous_commit", "false")] {
        let target = Server::of(18).durable().set(name, line).start();
        let project = Project::between(&source, &target);
        let said = words(&project.run(&["run"]).expect_code(3).stderr);
        let from = format!(
            "{name} (by {}/postgresql.conf, line ",
            target.data_directory().display()
        );
        assert!(said.contains(&from), "{said}");
        let kept = Project::between(&source, &target)
            .with("[target.tuning]\nmode = \"off\"\nfound_unsafe = \"keep\"\n");
        let check = words(&kept.run(&["check"]).expect_code(0).stdout);
        assert!(
            check.contains(&from) && check.contains("found_unsafe"),
            "{check}"
        );
        kept.run(&["run"]).expect_code(0);
        assert_eq!(target.psql("postgres", &format!("SHOW {name}")), "off");
    }
}

/// Neither a role's nor a database's own setting is the server's, nor does it hide that.
#[test]
fn a_setting_of_a_role_or_a_database_does_not_count() {
    let (source, target) = (source(), Server::of(18).durable().start());
    target.psql(
        "postgres",
        "ALTER ROLE postgres SET synchronous_commit = off",
    );
    target.psql(
        "postgres",
        "ALTER DATABASE postgres SET synchronous_commit = off",
    );
    let project = Project::between(&source, &target);
    project.run(&["check"]).expect_code(0);
    set(&target, "synchronous_commit", "off");
    let said = words(&project.run(&["run"]).expect_code(3).stderr);
    assert!(
        said.contains("synchronous_commit (by ALTER SYSTEM"),
        "{said}"
    );
    // A role that may not read the files learns what it can.
    target.psql(
        "postgres",
        "CREATE ROLE mover LOGIN CREATEDB CREATEROLE PASSWORD 'x'",
    );
    target.psql("postgres", "ALTER ROLE postgres RESET synchronous_commit");
    target.psql(
        "postgres",
        "ALTER DATABASE postgres RESET synchronous_commit",
    );
    let limited = Project::between(&source, &target)
        .target("user", "\"mover\"")
        .variable("TARGET_PASSWORD", "x");
    let said = words(&limited.run(&["check"]).expect_code(3).stdout);
    assert!(
        said.contains("synchronous_commit (by a configuration file)"),
        "{said}"
    );
}

/// A provider protects the server where its disk is almost full.
#[test]
fn a_server_that_lets_nobody_write_is_not_overruled_without_the_key() {
    let (source, target) = (source(), Server::of(18).durable().start());
    let name = "default_transaction_read_only";
    set(&target, name, "on");
    let project = Project::between(&source, &target);
    let said = words(&project.run(&["run"]).expect_code(3).stderr);
    let found = [
        "target/read-only",
        "default_transaction_read_only is on (by ALTER SYSTEM, in postgresql.auto.conf)",
        "ALTER SYSTEM RESET default_transaction_read_only",
        "target.override_read_only = true",
    ];
    assert!(found.iter().all(|words| said.contains(words)), "{said}");
    let made = "SELECT count(*) FROM pg_database WHERE datname = 'erp'";
    assert_eq!(target.psql("postgres", made), "0");

    let overruled = Project::between(&source, &target)
        .named("overruled")
        .target("override_read_only", "true");
    overruled.run(&["run"]).expect_code(0);
    assert_eq!(target.psql("erp", "SELECT count(*) FROM t"), "100");
    assert_eq!(target.psql("postgres", &format!("SHOW {name}")), "on");

    // What it says, in the plan that was refused.
    reset(&target, name);
    target.psql("postgres", "DROP DATABASE erp");
    project.run(&["run"]).expect_code(0);
    compare::assert_same(&source, &target, "erp");
}

/// Set while a run is at work: it ends with that cause, and restores the settings.
#[test]
fn a_server_that_is_protected_during_the_run_is_left_alone() {
    let (source, target) = (source(), Server::of(18).durable().start());
    let proxy = Proxy::to(source.port());
    let project = Project::between(&source, &target).source("port", &proxy.port().to_string());
    proxy.set_delay(Duration::from_millis(60));
    let mut running = project.start(&["run"]);
    let journal = project.state_directory().join("journal.jsonl");
    running.until("a database", || {
        let text = fs::read_to_string(&journal).unwrap_or_default();
        text.contains("\"created-database\"")
    });
    set(&target, "default_transaction_read_only", "on");
    proxy.set_delay(Duration::ZERO);
    let said = words(&running.wait().expect_code(4).stderr);
    assert!(said.contains("read-only transaction"), "{said}");
    assert!(said.contains("target.override_read_only"), "{said}");
    assert_eq!(target.psql("postgres", "SHOW fsync"), "on");
    assert_eq!(target.psql("postgres", "SHOW autovacuum"), "on");
    project.run(&["run"]).expect_code(3);
    reset(&target, "default_transaction_read_only");
    project.run(&["run"]).expect_code(0);
    compare::assert_same(&source, &target, "erp");
    assert!(target.lets_in("erp", "app", "of the app"));
}

/// That of a database or of our role is the application's.
#[test]
fn a_database_or_a_role_that_is_read_only_by_default_is_overruled() {
    let (source, target) = (source(), Server::of(18).durable().start());
    source.psql(
        "postgres",
        "ALTER DATABASE erp SET default_transaction_read_only = on",
    );
    target.psql(
        "postgres",
        "ALTER ROLE postgres SET default_transaction_read_only = on",
    );
    let project = Project::between(&source, &target);
    project.run(&["run"]).expect_code(0);
    assert_eq!(target.psql("erp", "SELECT count(*) FROM t"), "100");
}

/// Commits wait for ever for a standby that is not there, and nothing is logged.
#[test]
fn a_run_that_waits_for_a_synchronous_standby_is_told_before_and_ends_on_a_signal() {
    let (source, target) = (source(), Server::of(18).durable().start());
    set(&target, "synchronous_standby_names", "'gone'");
    // Roles first, then, with those there, databases.
    for is_with_roles in [true, false] {
        let project = Project::between(&source, &target)
            .named(if is_with_roles { "roles" } else { "databases" })
            .with(&format!(
                "[target.tuning]\nmode = \"off\"\n[globals]\nmigrate = {is_with_roles}\n"
            ));
        if !is_with_roles {
            let local = "SET synchronous_commit = local; CREATE ROLE app LOGIN";
            target.try_psql("postgres", local).ok();
        }
        let check = words(&project.run(&["check"]).expect_code(0).stdout);
        assert!(check.contains("target/synchronous-standby"), "{check}");
        assert!(
            check.contains("synchronous_standby_names = gone"),
            "{check}"
        );
        let mut running = project.start(&["run"]);
        running.until("a commit that waits", || {
            let sql = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND application_name LIKE 'pg-migrate%'";
            target.psql("postgres", sql) != "0"
        });
        let asked = Instant::now();
        running.interrupt();
        running.wait().expect_code(130);
        assert!(asked.elapsed() < Duration::from_secs(30));
        if !is_with_roles {
            // What it says.
            reset(&target, "synchronous_standby_names");
            project.run(&["run"]).expect_code(0);
            compare::assert_same(&source, &target, "erp");
        }
    }
}

/// Whoever else sets it while it is off for the load decides what it is afterwards: an import profile, an operator.
#[test]
fn fsync_that_somebody_switched_off_during_the_run_keeps_the_databases_closed() {
    let (source, target) = (source(), Server::of(18).durable().start());
    let project = Project::between(&source, &target);
    let point = "journal step-started restore-settings synced:1";
    project.killed_at(point);
    let file = target.data_directory().join("postgresql.conf");
    let before = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, format!("{before}\nfsync = off\n")).unwrap();
    let told = words(&project.run(&["run"]).expect_code(4).stderr);
    assert!(told.contains("fsync is off on the target (by "), "{told}");
    assert!(told.contains("target.tuning.found_unsafe"), "{told}");
    // What it says.
    std::fs::write(&file, before).unwrap();
    target.psql("postgres", "SELECT pg_reload_conf()");
    project.run(&["run"]).expect_code(0);
    assert_eq!(target.psql("postgres", "SHOW fsync"), "on");
}
