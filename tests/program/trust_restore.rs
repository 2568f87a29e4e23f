//! A restore counts as done by how it ended, not by what its log does not say.

use std::fs;
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::compare;
use crate::support::project::{Project, string};
use crate::support::server::{Server, literal};

/// The children of a process that run this program.
fn children(parent: u32, program: &str) -> Vec<i32> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Ok(pid) = entry.file_name().to_string_lossy().parse::<i32>() else {
            continue;
        };
        let stat = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        // PID (NAME) STATE PPID …
        let Some((name, rest)) = stat.rsplit_once(") ") else {
            continue;
        };
        let ppid = rest.split(' ').nth(1).and_then(|ppid| ppid.parse().ok());
        if name.ends_with(&format!("({program}")) && ppid == Some(parent) {
            found.push(pid);
        }
    }
    found
}

/// A target of 16, where an index of a table with a foreign key and a primary key takes 5 s to build. pg_restore 18 sets
/// a parameter that a target of 16 does not know: an error without harm.
fn slow_index() -> (Server, Server) {
    let (source, target) = (Server::start(14), Server::start(16));
    source.psql("postgres", "CREATE DATABASE erp");
    source.psql(
        "erp",
        "CREATE TABLE parents (id int PRIMARY KEY);
         CREATE TABLE t (id int PRIMARY KEY, parent int REFERENCES parents, word text);
         CREATE FUNCTION slow(t text) RETURNS text IMMUTABLE LANGUAGE plpgsql AS
             $$ BEGIN IF current_setting('server_version_num')::int >= 160000 THEN PERFORM pg_sleep(0.01); END IF; RETURN t; END $$;
         INSERT INTO parents VALUES (1);
         INSERT INTO t SELECT n, 1, 'w' FROM generate_series(1, 500) n;
         CREATE INDEX a_slow ON t (public.slow(word))",
    );
    (source, target)
}

/// Kills a process of pg_restore, as `victim` picks it from the leader, while the index is built. The run is not
/// completed then, and the next one brings everything.
fn killed_while_building(victim: impl FnOnce(i32) -> i32) {
    let (source, target) = slow_index();
    let project = Project::between(&source, &target)
        .parallelism("restore_jobs", 4)
        .with("[retry]\nattempts = 1\n");
    let mut running = project.start(&["run"]);
    let building =
        "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'CREATE INDEX \"a_slow\"%'";
    running.until("the index build", || {
        target.psql("postgres", building) != "0"
    });
    let leaders = children(running.pid(), "pg_restore");
    assert_eq!(leaders.len(), 1, "pg_restore of this run");
    kill(Pid::from_raw(victim(leaders[0])), Signal::SIGKILL).unwrap();
    let ended = running.wait();
    assert_eq!(ended.code, Some(4), "{}", ended.stdout);
    project.run(&["run"]).expect_code(0);
    compare::assert_same(&source, &target, "erp");
}

#[test]
fn a_killed_pg_restore_is_not_done_whatever_its_log_holds() {
    killed_while_building(|leader| leader);
}

#[test]
fn a_pg_restore_whose_worker_was_killed_is_not_done_whatever_its_log_holds() {
    killed_while_building(|leader| {
        let workers = children(u32::try_from(leader).unwrap(), "pg_restore");
        *workers.first().expect("the leader has workers")
    });
}

#[test]
fn a_database_with_a_subscription_is_made_again() {
    let (source, target) = (Server::start(16), Server::start(18));
    source.psql("postgres", "CREATE DATABASE erp");
    source.psql(
        "erp",
        "CREATE TABLE t AS SELECT generate_series(1, 100) AS id",
    );
    source.psql(
        "erp",
        "CREATE SUBSCRIPTION orders CONNECTION 'host=localhost port=1 dbname=none' PUBLICATION p
             WITH (connect = false, slot_name = NONE)",
    );
    let project = Project::between(&source, &target);
    let point = "journal step-done erp/restore before:1";
    project.killed_at(point);
    assert_eq!(
        target.psql("erp", "SELECT count(*) FROM pg_subscription"),
        "1"
    );
    project.run(&["run"]).expect_code(0);
    compare::assert_same(&source, &target, "erp");
}

/// A publisher that is at work: nothing is asked of it, and subscriptions of other databases go on.
#[test]
fn a_subscription_that_is_dropped_with_its_database_leaves_the_publisher_alone() {
    let publisher = Server::of(16).set("wal_level", "logical").start();
    let (source, target) = (Server::start(16), Server::start(18));
    let table = "CREATE TABLE t (id int PRIMARY KEY)";
    publisher.psql("postgres", table);
    publisher.psql(
        "postgres",
        "INSERT INTO t SELECT generate_series(1, 100); CREATE PUBLICATION p FOR TABLE t",
    );
    let password = publisher.password().replace('\\', "\\\\");
    let conninfo = format!(
        "host=127.0.0.1 port={} dbname=postgres user=postgres password='{}'",
        publisher.port(),
        password.replace('\'', "\\'")
    );
    let subscribe = |server: &Server, database: &str, name: &str| {
        server.psql("postgres", &format!("CREATE DATABASE {database}"));
        server.psql(database, table);
        server.psql(
            database,
            &format!(
                "CREATE SUBSCRIPTION {name} CONNECTION {} PUBLICATION p",
                literal(&conninfo)
            ),
        );
    };
    subscribe(&source, "erp", "orders");
    subscribe(&target, "own", "theirs");
    let arrived = |server: &Server, database: &str| {
        let deadline = Instant::now() + Duration::from_secs(60);
        while server.psql(database, "SELECT count(*) FROM t") != "100" {
            assert!(Instant::now() < deadline, "nothing is replicated");
            sleep(Duration::from_millis(50));
        }
    };
    arrived(&source, "erp");
    arrived(&target, "own");
    let slots = || {
        let slots = "SELECT slot_name, slot_type FROM pg_replication_slots
                     WHERE slot_name IN ('orders', 'theirs') ORDER BY 1";
        publisher.psql("postgres", slots)
    };
    let before = slots();
    assert_eq!(before, "orders|logical\ntheirs|logical");
    let theirs = || {
        target.psql("own", "SELECT oid, subname, subenabled, subslotname FROM pg_subscription WHERE subname = 'theirs'")
    };
    let own = theirs();

    let project = Project::between(&source, &target).with("[target.tuning]\nmode = \"off\"\n");
    let point = "journal step-done erp/restore before:1";
    for _ in 0..2 {
        project.killed_at(point);
        let restored = "SELECT subname, subenabled FROM pg_subscription ORDER BY 1";
        assert_eq!(target.psql("erp", restored), "orders|f\ntheirs|t");
    }
    project.run(&["run"]).expect_code(0);
    compare::assert_same(&source, &target, "erp");
    assert_eq!(slots(), before, "a slot of the publisher is gone");
    assert_eq!(theirs(), own, "another database's subscription was changed");
    publisher.psql("postgres", "INSERT INTO t VALUES (101)");
    let deadline = Instant::now() + Duration::from_secs(60);
    while target.psql("own", "SELECT count(*) FROM t") != "101"
        || source.psql("erp", "SELECT count(*) FROM t") != "101"
    {
        assert!(Instant::now() < deadline, "replication has stopped");
        sleep(Duration::from_millis(50));
    }
}

/// What two kills leave: the first after CREATE DATABASE, before its object id is on record; the second within the
/// DROP DATABASE of the run that resumes.
#[test]
fn a_database_that_was_half_dropped_before_its_id_was_on_record_is_made_again() {
    let (source, target) = (Server::start(16), Server::start(18));
    source.psql("postgres", "CREATE DATABASE erp");
    source.psql(
        "erp",
        "CREATE TABLE t AS SELECT generate_series(1, 100) AS id",
    );
    let project = Project::between(&source, &target);
    let point = "erp/create made:1";
    project.killed_at(point);
    target.psql(
        "postgres",
        "UPDATE pg_database SET datconnlimit = -2 WHERE datname = 'erp'",
    );
    project.run(&["run"]).expect_code(0);
    compare::assert_same(&source, &target, "erp");
}

/// A role's or a database's `synchronous_commit = off` holds for pg_restore too: its commits come to disk later than it ends.
#[test]
fn a_restore_that_is_done_outlives_a_crash_of_the_target() {
    let source = Server::start(16);
    let mut target = Server::of(18).set("wal_writer_delay", "10s").start();
    source.psql("postgres", "CREATE ROLE mover");
    source.psql("postgres", "CREATE DATABASE other");
    source.psql("postgres", "CREATE DATABASE erp OWNER mover");
    source.psql(
        "erp",
        "CREATE SCHEMA s AUTHORIZATION mover;
         SET ROLE mover;
         CREATE TABLE s.t AS SELECT generate_series(1, 100) AS id;",
    );
    target.psql(
        "postgres",
        "CREATE ROLE mover LOGIN CREATEDB PASSWORD 'of the mover'; ALTER ROLE mover SET synchronous_commit = off",
    );
    let another = Project::between(&source, &target)
        .named("another")
        .with("[globals]\nmigrate = false\n[databases]\ninclude = [\"other\"]\n");
    another.run(&["run"]).expect_code(0);
    // The mark of another's plan is not ours to write to: our commits of the mark would bring those of the restore to disk.
    let project = Project::between(&source, &target)
        .target("user", &string("mover"))
        .variable("TARGET_PASSWORD", "of the mover")
        .with(
            "[globals]\nmigrate = false\n[databases]\ninclude = [\"erp\"]\n[target.tuning]\nmode = \"off\"\n
             [[waive]]\ncode = \"target/mark-not-writable\"\nobject = \"*\"\nuntil = 2999-12-31\nreason = \"known\"\n",
        );
    project.killed_at("erp/target-counts start:1");
    target.kill9();
    target.start_again();
    project.run(&["run"]).expect_code(0);
    assert_eq!(target.psql("erp", "SELECT count(*) FROM s.t"), "100");
}
