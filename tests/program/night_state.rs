//! State directories that are lost, copied, or put back to an earlier state: what the target's mark says of them.

use std::fs;
use std::thread::sleep;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::compare;
use crate::support::fill::slow_index;
use crate::support::project::{Project, copy_directory};
use crate::support::proxy::Proxy;
use crate::support::server::Server;

fn servers() -> (Server, Server) {
    let (source, target) = (Server::start(16), Server::of(18).durable().start());
    source.psql("postgres", "CREATE DATABASE erp");
    source.psql("erp", &slow_index(400));
    source.psql(
        "erp",
        "CREATE TABLE plain AS SELECT n AS id FROM generate_series(1, 100) n",
    );
    (source, target)
}

/// A copy of the state directory in a project of its own.
fn copy(of: &Project, source: &Server, target: &Server) -> Project {
    let copy = Project::between(source, target);
    copy_directory(&of.state_directory(), &copy.state_directory());
    copy
}

/// The machine of the migration is put back to a moment in which the restore had not ended; clients use the database since.
#[test]
fn an_older_state_directory_drops_nothing_that_clients_use() {
    let (source, target) = servers();
    let project = Project::between(&source, &target);
    let mut run = project.start(&["run"]);
    run.until("the restore", || project.has("step-started", "erp/restore"));
    let saved = project.directory().join("saved");
    copy_directory(&project.state_directory(), &saved);
    run.wait().expect_code(0);
    target.psql("erp", "INSERT INTO plain VALUES (1000)");
    let newest = project.directory().join("newest");
    fs::rename(project.state_directory(), &newest).unwrap();
    copy_directory(&saved, &project.state_directory());
    let told = project.run(&["run"]).expect_code(3);
    told.says(&[
        "the target's mark is newer",
        "Go on with the state directory",
    ]);
    assert_eq!(target.psql("erp", "SELECT count(*) FROM plain"), "101");
    // As advised.
    fs::remove_dir_all(project.state_directory()).unwrap();
    fs::rename(&newest, project.state_directory()).unwrap();
    project.run(&["run"]).expect_code(0);
    assert_eq!(target.psql("erp", "SELECT count(*) FROM plain"), "101");
}

/// The newest state is lost with its machine, killed in the middle; an older copy says what is still unsafe.
#[test]
fn an_older_state_directory_tells_what_the_lost_one_left_unsafe() {
    let (source, target) = servers();
    target.psql("postgres", "ALTER SYSTEM SET checkpoint_timeout = '7min'");
    let project = Project::between(&source, &target);
    project.killed_at("journal step-started globals synced:1");
    project.run(&["revert"]).expect_code(0);
    let saved = project.directory().join("saved");
    copy_directory(&project.state_directory(), &saved);
    project.killed_at("journal step-started erp/restore synced:1");
    fs::remove_dir_all(project.state_directory()).unwrap();
    copy_directory(&saved, &project.state_directory());
    let told = project.run(&["run"]).expect_code(3);
    let words = [
        "the target's mark is newer",
        "checkpoint_timeout (before: 7min)",
        "fsync",
        "ALTER SYSTEM RESET",
    ];
    told.says(&words);
    // As advised.
    let told = project.run(&["revert"]).expect_code(0);
    told.says(&["checkpoint_timeout = 7min, as it was in postgresql.auto.conf"]);
    is_safe_again(&target);
}

fn is_safe_again(target: &Server) {
    assert_eq!(target.psql("postgres", "SHOW fsync"), "on");
    assert_eq!(target.psql("postgres", "SHOW autovacuum"), "on");
    assert_eq!(target.psql("postgres", "SHOW checkpoint_timeout"), "7min");
    let left = "SELECT count(*) FROM mark.setting";
    assert_eq!(target.psql("pg_migrate_mark", left), "0");
}

/// The machine is lost with the state directory, in the middle of a load: the mark knows what the settings were, and what is to go.
#[test]
fn what_a_lost_state_directory_left_unsafe_is_restored_from_the_mark() {
    let (source, target) = servers();
    target.psql("postgres", "ALTER SYSTEM SET checkpoint_timeout = '7min'");
    let project = Project::between(&source, &target);
    let point = "journal step-started erp/restore synced:1";
    project.killed_at(point);
    fs::remove_dir_all(project.state_directory()).unwrap();
    for verb in ["check", "run"] {
        let told = project.run(&[verb]).expect_code(3);
        told.says(&["target/left-unsafe", "pg-migrate revert"]);
    }
    let told = project.run(&["discard"]).expect_code(0);
    told.says(&[
        "settings of the target that are still those for the load",
        "fsync",
    ]);
    let told = project.run(&["revert"]).expect_code(0);
    told.says(&["checkpoint_timeout = 7min, as it was in postgresql.auto.conf"]);
    is_safe_again(&target);
    let told = project.run(&["revert"]).expect_code(0);
    told.says(&["nothing to restore"]);
    let told = project.run(&["run"]).expect_code(3);
    told.says(&["holds archives of another state directory"]);
    project
        .run(&["discard", "--drop", "erp", "--all", "--yes"])
        .expect_code(0);
    project.run(&["run"]).expect_code(0);
    compare::assert_same(&source, &target, "erp");
    is_safe_again(&target);
}

/// A person dropped the database, so that nothing on the target names its archive any more.
#[test]
fn archives_of_a_lost_state_directory_are_removed_also_where_their_database_is_gone() {
    let (source, target) = servers();
    source.psql("postgres", "CREATE DATABASE small");
    let project = Project::between(&source, &target).with("[dump]\nkeep = true\n");
    project.run(&["run"]).expect_code(0);
    fs::remove_dir_all(project.state_directory()).unwrap();
    target.psql("postgres", "DROP DATABASE erp");
    project
        .run(&["discard", "--drop", "small", "--all", "--yes"])
        .expect_code(0)
        .says(&["archives in", "are removed"]);
    project.run(&["run"]).expect_code(0);
    compare::assert_same(&source, &target, "erp");
}

/// The target's machine is gone as well, and a standby with another `postgresql.auto.conf` took over: it has nothing to restore.
#[test]
fn what_a_lost_state_directory_left_on_the_server_before_a_promotion_is_told() {
    let (source, mut target) = servers();
    let standby = target.standby();
    let proxy = Proxy::to(target.port());
    let project = Project::between(&source, &target).target("port", &proxy.port().to_string());
    project.killed_at("journal step-started erp/restore synced:1");
    standby.catch_up(&target);
    standby.stop_following();
    target.kill9();
    standby.promote();
    proxy.lead_to(standby.port());
    fs::remove_dir_all(project.state_directory()).unwrap();
    let told = project
        .run(&["discard", "--drop", "erp", "--all", "--yes"])
        .expect_code(0);
    told.says(&[
        "the target was promoted since its settings were changed for the load",
        "the server that was the target before still has them in its postgresql.auto.conf",
    ]);
    project.run(&["run"]).expect_code(0);
    compare::assert_same(&source, &standby, "erp");
}

/// Two people start the same plan from two copies of its directory.
#[test]
fn a_copy_of_the_state_directory_leaves_a_living_run_alone() {
    let (source, target) = servers();
    let project = Project::between(&source, &target);
    let mut run = project.start(&["run"]);
    run.until("the restore", || project.has("step-started", "erp/restore"));
    let other = copy(&project, &source, &target);
    let told = other.run(&["run"]).expect_code(6);
    told.says(&["a copy of this plan's state directory", "let that one end"]);
    run.wait().expect_code(0);
    let told = other.run(&["run"]).expect_code(3);
    told.says(&["the target's mark is newer"]);
    compare::assert_same(&source, &target, "erp");
    project.run(&["run"]).expect_code(0);
}

/// The first run is stopped as a whole or alone, and goes on when another has taken its place.
#[test]
fn a_run_that_was_frozen_and_taken_over_from_writes_nothing_more() {
    for with_children in [false, true] {
        let (source, target) = servers();
        let project = Project::between(&source, &target);
        let mut run = project.start(&["run"]);
        run.until("the restore", || project.has("step-started", "erp/restore"));
        let pid = run.pid().cast_signed();
        let mut frozen = vec![pid];
        if with_children {
            run.until("a client program", || !children(pid).is_empty());
            frozen.extend(children(pid));
        }
        signal_all(&frozen, Signal::SIGSTOP);
        let other = copy(&project, &source, &target);
        other.run(&["run"]).expect_code(0);
        target.psql("erp", "INSERT INTO plain VALUES (1000)");
        signal_all(&frozen, Signal::SIGCONT);
        let first = run.wait();
        assert!(matches!(first.code, Some(4)), "{with_children}: {first:?}");
        let told = project.run(&["run"]).expect_code(3);
        told.says(&["the target's mark"]);
        assert_eq!(target.psql("erp", "SELECT count(*) FROM plain"), "101");
        assert_eq!(target.psql("erp", "SELECT count(*) FROM slow"), "400");
        assert_eq!(target.psql("postgres", "SHOW fsync"), "on");
        other.run(&["run"]).expect_code(0);
    }
}

fn children(pid: i32) -> Vec<i32> {
    let listed = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
    let of_all_threads = fs::read_dir(format!("/proc/{pid}/task"))
        .unwrap()
        .filter_map(|task| fs::read_to_string(task.unwrap().path().join("children")).ok())
        .collect::<String>();
    let all = listed.unwrap_or_default() + &of_all_threads;
    let mut found: Vec<i32> = all
        .split_whitespace()
        .map(|pid| pid.parse().unwrap())
        .collect();
    found.sort_unstable();
    found.dedup();
    found
}

fn signal_all(pids: &[i32], signal: Signal) {
    for pid in pids {
        // One that was ended meanwhile is gone.
        kill(Pid::from_raw(*pid), signal).ok();
    }
    sleep(Duration::from_millis(50));
}

/// A mark is the target's: it is no database of the plan, and a later plan with this server as its source leaves it there.
#[test]
fn the_mark_is_not_migrated_and_is_made_again() {
    let (source, target) = (Server::start(16), Server::start(17));
    let last = Server::start(18);
    source.psql("postgres", "CREATE DATABASE erp");
    source.psql(
        "erp",
        "CREATE TABLE plain AS SELECT n AS id FROM generate_series(1, 100) n",
    );
    let mut project = Project::between(&source, &target);
    project.run(&["run"]).expect_code(0);
    let databases =
        "SELECT string_agg(datname, ' ' ORDER BY datname) FROM pg_database WHERE NOT datistemplate";
    assert_eq!(
        target.psql("postgres", databases),
        "erp pg_migrate_mark postgres"
    );
    let handed_over = "SELECT name, oid IS NOT NULL, was_there, verified IS NOT NULL, handed_over IS NOT NULL FROM mark.database";
    assert_eq!(target.psql("pg_migrate_mark", handed_over), "erp|t|f|t|t");
    assert_eq!(
        target.psql("pg_migrate_mark", "SELECT count(*) FROM mark.setting"),
        "0"
    );
    // A person wonders what it is, and drops it.
    target.psql("postgres", "DROP DATABASE pg_migrate_mark");
    source.psql("postgres", "CREATE DATABASE crm");
    let told = project.run(&["run"]).expect_code(3);
    told.says(&["target/mark-gone", "a waiver for target/mark-gone"]);
    project.set_rest(
        "[[waive]]\ncode = \"target/mark-gone\"\nobject = \"*\"\nuntil = 2999-12-31\nreason = \"dropped by hand\"\n",
    );
    project.run(&["run"]).expect_code(0);
    assert_eq!(
        target.psql("postgres", databases),
        "crm erp pg_migrate_mark postgres"
    );

    let next = Project::between(&target, &last);
    next.run(&["run"]).expect_code(0);
    assert_eq!(
        last.psql(
            "pg_migrate_mark",
            "SELECT string_agg(name, ' ' ORDER BY name) FROM mark.database"
        ),
        "crm erp"
    );
    compare::assert_same(&source, &last, "erp");
}

/// What the settings were before is on the target as well.
#[test]
fn a_killed_run_leaves_in_the_mark_what_the_settings_were() {
    let (source, target) = servers();
    target.psql("postgres", "ALTER SYSTEM SET checkpoint_timeout = '7min'");
    let project = Project::between(&source, &target);
    let point = "journal step-started erp/restore synced:1";
    project.killed_at(point);
    let before = "SELECT before FROM mark.setting WHERE name = 'checkpoint_timeout'";
    assert_eq!(target.psql("pg_migrate_mark", before), "7min");
    let fsync = "SELECT before IS NULL, value FROM mark.setting WHERE name = 'fsync'";
    assert_eq!(target.psql("pg_migrate_mark", fsync), "t|off");
    project.run(&["revert"]).expect_code(0);
    assert_eq!(
        target.psql("pg_migrate_mark", "SELECT count(*) FROM mark.setting"),
        "0"
    );
    project.run(&["run"]).expect_code(0);
}

/// Made by one plan, and not filled yet when that was killed.
#[test]
fn an_empty_database_of_another_plan_is_not_filled() {
    let (source, target) = servers();
    let first = Project::between(&source, &target);
    let point = "journal step-done erp/create synced:1";
    first.killed_at(point);
    first.run(&["revert"]).expect_code(0);
    let other = Project::between(&source, &target).named("other");
    let told = other.run(&["run"]).expect_code(4);
    told.says(&[
        "was made by the plan",
        "DROP DATABASE on the target, and run again",
    ]);
    // The state directory of the first is lost.
    target.psql("postgres", "DROP DATABASE erp");
    other.run(&["run"]).expect_code(0);
    compare::assert_same(&source, &target, "erp");
}

/// A role that may not write to the mark that another role made goes on without.
#[test]
fn a_role_that_may_not_write_to_the_mark_migrates_without() {
    let (source, target) = (Server::start(16), Server::start(18));
    source.psql("postgres", "CREATE ROLE mover");
    source.psql("postgres", "CREATE DATABASE erp OWNER mover");
    source.psql(
        "erp",
        "CREATE TABLE plain AS SELECT n AS id FROM generate_series(1, 100) n",
    );
    target.psql(
        "postgres",
        "CREATE ROLE mover LOGIN PASSWORD 'of the mover' NOSUPERUSER CREATEDB",
    );
    let first = Project::between(&source, &target)
        .named("first")
        .with("[globals]\nmigrate = false\n");
    first.run(&["run"]).expect_code(0);
    target.psql("postgres", "DROP DATABASE erp");
    let plan = "[globals]\nmigrate = false\n[target.tuning]\nmode = \"off\"\n
         [[accept]]\ndatabase = \"erp\"\nobject = \"*\"\nreason = \"limited\"\n";
    let mut project = Project::between(&source, &target)
        .target("user", "\"mover\"")
        .variable("TARGET_PASSWORD", "of the mover")
        .with(plan);
    let told = project.run(&["run"]).expect_code(3);
    told.says(&["target/mark-not-writable"]);
    project.set_rest(&format!(
        "{plan}[[waive]]\ncode = \"target/mark-not-writable\"\nobject = \"*\"\nuntil = 2999-12-31\nreason = \"known\"\n"
    ));
    project.run(&["run"]).expect_code(0);
    assert_eq!(target.psql("erp", "SELECT count(*) FROM plain"), "100");
    let plans = "SELECT string_agg(plan, ' ') FROM mark.state";
    assert_eq!(target.psql("pg_migrate_mark", plans), "first");
}
