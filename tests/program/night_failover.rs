//! Another server answers: a standby that lagged took over, a clone has the address, a machine was put back to an older state.

use crate::support::compare;
use crate::support::held::Held;
use crate::support::paused::Paused;
use crate::support::project::{Project, waiver};
use crate::support::proxy::Proxy;
use crate::support::server::{Mode, Server};

const UNTUNED: &str = "[target.tuning]\nmode = \"off\"\n";

/// Two databases, of which the second waits as long as a client has its table for itself.
fn two_databases() -> Server {
    let source = Server::start(16);
    source.psql("postgres", "CREATE DATABASE first");
    source.psql("postgres", "CREATE DATABASE second");
    source.psql(
        "first",
        "CREATE TABLE accounts AS SELECT n AS id, n AS balance FROM generate_series(1, 20000) n;
         ALTER TABLE accounts ADD PRIMARY KEY (id)",
    );
    source.psql(
        "second",
        "CREATE TABLE visits AS SELECT n AS id FROM generate_series(1, 1000) n",
    );
    source
}

fn between(source: &Server, target: &Server, proxy: &Proxy) -> Project {
    Project::between(source, target)
        .source("lock_timeout", "\"60s\"")
        .target("port", &proxy.port().to_string())
}

/// Kills the run when these are verified; the next one goes on to the end.
fn killed_before_delayed_dumps(project: &Project, dump: &Paused, databases: &[&str]) {
    let mut running = project.start(&["run"]);
    for name in databases {
        running.until("the verification", || {
            project.has("step-done", &format!("{name}/verify"))
        });
    }
    running.kill9();
    assert_eq!(running.wait().signal, Some(9));
    dump.go();
}

fn same(source: &Server, target: &Server, databases: &[&str]) {
    for database in databases {
        compare::assert_same(source, target, database);
    }
}

/// Runs until `first` is verified, and stops while `second` waits for its table.
fn run_half(source: &Server, project: &Project) {
    let mut running = project.start(&["run"]);
    running.until("the globals", || project.has("step-started", "globals"));
    let application = Held::begin(
        source,
        "second",
        "LOCK TABLE visits IN ACCESS EXCLUSIVE MODE",
    );
    running.until("the verification", || {
        project.has("step-done", "first/verify")
    });
    running.interrupt();
    running.wait().expect_code(130);
    drop(application);
}

/// What was verified is gone with the primary, while the run is under way. It ends, and the next one makes it again.
#[test]
fn a_target_that_fails_over_during_the_run_is_not_believed() {
    let source = two_databases();
    let mut target = Server::start(18);
    let standby = target.standby();
    let proxy = Proxy::to(target.port());
    let project = between(&source, &target, &proxy);
    let mut running = project.start(&["run"]);
    running.until("the globals", || project.has("step-started", "globals"));
    let application = Held::begin(
        &source,
        "second",
        "LOCK TABLE visits IN ACCESS EXCLUSIVE MODE",
    );
    running.until("its database", || project.has("step-done", "first/create"));
    standby.stop_following();
    running.until("the verification", || {
        project.has("step-done", "first/verify")
    });
    target.kill9();
    standby.promote();
    proxy.lead_to(standby.port());
    application.commit();
    let finished = running.wait().expect_code(4);
    finished.says(&[
        "what answers is another server than the one before",
        "its timeline was 1, now it is 2",
    ]);
    let check = project.run(&["check"]).expect_code(0);
    check.says(&[
        "target/promoted",
        "the next run creates and restores again: \"first\"",
    ]);
    let finished = project.run(&["run"]).expect_code(0);
    finished.says(&[
        "target/promoted",
        "still has them in its postgresql.auto.conf",
    ]);
    same(&source, &standby, &["first", "second"]);
    assert_eq!(
        standby.psql("postgres", "SHOW fsync"),
        "off",
        "the test's own"
    );
    project.run(&["verify"]).expect_code(0);
    let finished = project.run(&["run"]).expect_code(0);
    finished.says(&["already completed"]);
}

/// Clients may use what was verified: it is for a person to say what becomes of it.
#[test]
fn a_verified_database_is_not_made_again_by_itself_after_a_promotion() {
    let source = two_databases();
    let mut target = Server::start(18);
    let standby = target.standby();
    standby.stop_following();
    let proxy = Proxy::to(target.port());
    let project = between(&source, &target, &proxy).with(UNTUNED);
    run_half(&source, &project);
    target.stop(Mode::Immediate);
    standby.promote();
    proxy.lead_to(standby.port());
    let finished = project.run(&["run"]).expect_code(3);
    finished.says(&[
        "target/promoted-behind: database \"first\"",
        "its timeline was 1, now it is 2; its mark has nothing of this plan",
    ]);
    project.run(&["verify"]).expect_code(5);
    project
        .run(&["reset", "--database", "first", "--drop", "first"])
        .expect_code(0);
    project.run(&["run"]).expect_code(0);
    same(&source, &standby, &["first", "second"]);
}

/// As on a virtual machine: the same address, the same identifier, no new timeline.
#[test]
fn a_target_that_was_put_back_to_before_the_run_is_refused_and_begun_again() {
    let source = two_databases();
    let mut target = Server::start(18);
    target.stop(Mode::Fast);
    let earlier = target.copied();
    target.start_again();
    let mut project = Project::between(&source, &target)
        .source("lock_timeout", "\"60s\"")
        .with(UNTUNED);
    run_half(&source, &project);
    target.stop(Mode::Fast);
    let now = target.copied();
    target.take_data_of(&earlier);
    target.start_again();
    let refused = [
        "target/went-back",
        "its WAL position was",
        "target/database-gone",
    ];
    project.run(&["run"]).expect_code(3).says(&refused);
    project.run(&["check"]).expect_code(3).says(&refused);
    project.run(&["verify"]).expect_code(5);

    // It was a mistake: with its data again it goes on.
    target.stop(Mode::Fast);
    let put_back = target.copied();
    target.take_data_of(&now);
    target.start_again();
    project.run(&["run"]).expect_code(0);
    same(&source, &target, &["first", "second"]);

    // It was meant so.
    target.stop(Mode::Fast);
    target.take_data_of(&put_back);
    target.start_again();
    project
        .run(&["run"])
        .expect_code(3)
        .says(&["target/went-back"]);
    for name in ["first", "second"] {
        project
            .run(&["reset", "--database", name, "--drop", name])
            .expect_code(0);
    }
    project
        .run(&["run"])
        .expect_code(3)
        .says(&["target/went-back"]);
    project.set_rest(&format!("{UNTUNED}{}", waiver("target/went-back")));
    project.run(&["run"]).expect_code(0);
    same(&source, &target, &["first", "second"]);
    project.set_rest(UNTUNED);
    project.run(&["run"]).expect_code(0);
}

/// Its object ids are given out again after it was put back: what somebody made there since is not ours.
#[test]
fn a_database_that_somebody_made_in_the_older_state_is_not_dropped() {
    let source = two_databases();
    let mut target = Server::start(18);
    target.stop(Mode::Fast);
    let earlier = target.copied();
    target.start_again();
    let mut project = Project::between(&source, &target).with(UNTUNED);
    project.killed_at("journal step-done first/create synced:1");
    let oid = "SELECT oid FROM pg_database WHERE datname = 'first'";
    let ours = target.psql("postgres", oid);
    target.stop(Mode::Fast);
    target.take_data_of(&earlier);
    target.start_again();
    for (name, oid) in [("first", &*ours), ("second", "99999")] {
        target.psql(
            "postgres",
            &format!("CREATE DATABASE {name} OID = {oid} STRATEGY = FILE_COPY"),
        );
        target.psql(name, "CREATE TABLE theirs AS SELECT 1 AS id");
    }
    project
        .run(&["run"])
        .expect_code(3)
        .says(&["target/went-back"]);
    project.set_rest(&format!("{UNTUNED}{}", waiver("target/went-back")));
    let finished = project.run(&["run"]).expect_code(3);
    finished.says(&["it is not empty"]);
    assert_eq!(target.psql("first", "SELECT count(*) FROM theirs"), "1");
    for name in ["first", "second"] {
        target.psql("postgres", &format!("DROP DATABASE {name}"));
    }
    project.run(&["run"]).expect_code(0);
    same(&source, &target, &["first", "second"]);
}

/// Nor is a role: whose it is, nobody knows.
#[test]
fn a_role_that_somebody_made_in_the_older_state_is_not_overwritten() {
    let source = two_databases();
    source.psql("postgres", "CREATE ROLE app LOGIN SUPERUSER");
    let mut target = Server::start(18);
    target.stop(Mode::Fast);
    let earlier = target.copied();
    target.start_again();
    let mut project = Project::between(&source, &target).with(UNTUNED);
    project.killed_at("journal step-done globals synced:1");
    target.stop(Mode::Fast);
    target.take_data_of(&earlier);
    target.start_again();
    target.psql("postgres", "CREATE ROLE app");
    project.set_rest(&format!("{UNTUNED}{}", waiver("target/went-back")));
    project
        .run(&["run"])
        .expect_code(3)
        .says(&["target/role-differs: ROLE app", "LOGIN, SUPERUSER"]);
    target.psql("postgres", "ALTER ROLE app LOGIN SUPERUSER");
    project.run(&["run"]).expect_code(0);
}

/// Settings are not said to be restored where another server answers.
#[test]
fn a_clone_does_not_get_the_settings_of_the_target() {
    let source = two_databases();
    let mut target = Server::of(18).durable().start();
    target.stop(Mode::Fast);
    let mut older = target.copied();
    let mut ahead = target.copied();
    target.start_again();
    ahead.start_again();
    let proxy = Proxy::to(target.port());
    let project = between(&source, &target, &proxy);
    project.killed_at("journal step-started first/restore synced:1");
    assert_eq!(target.psql("postgres", "SHOW fsync"), "off");
    // A clone that began when the target was there, and wrote more since.
    ahead.psql(
        "postgres",
        "CREATE TABLE more AS SELECT g FROM generate_series(1, 400000) g",
    );
    let position = "SELECT pg_current_wal_flush_lsn()";
    let (of_ahead, of_target) = (
        ahead.psql("postgres", position),
        target.psql("postgres", position),
    );
    let further = format!("SELECT '{of_ahead}'::pg_lsn > '{of_target}'::pg_lsn");
    assert_eq!(ahead.psql("postgres", &further), "t");
    older.start_again();
    for (clone, differs) in [
        (&ahead, "had been started at"),
        (&older, "its WAL position was"),
    ] {
        proxy.lead_to(clone.port());
        for verb in ["run", "revert"] {
            let finished = project.run(&[verb]).expect_code(3);
            finished.says(&["or in an older state", differs, "still set"]);
        }
        project
            .run(&["check"])
            .expect_code(3)
            .says(&["target/went-back", differs]);
        assert_eq!(
            clone.psql(
                "postgres",
                "SELECT count(*) FROM pg_database WHERE datname = 'first'"
            ),
            "0"
        );
    }
    proxy.lead_to(target.port());
    project.run(&["revert"]).expect_code(0);
    assert_eq!(target.psql("postgres", "SHOW fsync"), "on");
    project.run(&["run"]).expect_code(0);
    same(&source, &target, &["first", "second"]);
}

fn shop() -> Server {
    let source = Server::start(16);
    source.psql("postgres", "CREATE DATABASE shop");
    source.psql(
        "shop",
        "CREATE TABLE orders AS SELECT g AS id, 'open'::text AS status FROM generate_series(1, 5000) g;
         ALTER TABLE orders ADD PRIMARY KEY (id);
         CREATE TABLE payments(order_id int PRIMARY KEY);
         CREATE TABLE visits(n int)",
    );
    source
}

const DELAYED: &str = "[delay]\ntable_data = [\"shop.orders\"]\n";
const PAID: &str = "BEGIN; UPDATE orders SET status = 'paid' WHERE id <= 1000;
                    INSERT INTO payments SELECT generate_series(1, 1000); COMMIT";

/// A shop whose last transaction never reached the standby, behind one address.
struct Lagging {
    source: Server,
    standby: Server,
    proxy: Proxy,
    target: Server,
    project: Project,
}

fn lagging() -> Lagging {
    let (mut source, target) = (shop(), Server::start(18));
    let standby = source.standby();
    standby.stop_following();
    source.psql("shop", PAID);
    let proxy = Proxy::to(source.port());
    let project = Project::between(&source, &target)
        .source("port", &proxy.port().to_string())
        .with(DELAYED);
    Lagging {
        source,
        standby,
        proxy,
        target,
        project,
    }
}

/// The last transaction was dumped in part, and is lost: no row tells.
#[test]
fn transaction_ids_prove_nothing_after_the_source_failed_over() {
    let Lagging {
        mut source,
        standby,
        proxy,
        target,
        project,
    } = lagging();
    let (mut project, dump) = Paused::of(project, "pg_dump", "+delayed");
    killed_before_delayed_dumps(&project, &dump, &["shop"]);
    source.kill9();
    standby.promote();
    for n in 1..=8 {
        standby.psql("shop", &format!("INSERT INTO visits VALUES ({n})"));
    }
    proxy.lead_to(standby.port());
    let finished = project.run(&["run"]).expect_code(4);
    finished.says(&[
        "source/promoted",
        "the source failed over, or is in an older state",
        "its timeline was 1, now it is 2",
    ]);
    // Taken as they are, the report says so.
    project.set_rest(&format!("{DELAYED}snapshot = \"later\"\n"));
    let finished = project.run(&["run"]).expect_code(0);
    finished.says(&["the delayed tables are of another history"]);
    project.run(&["verify"]).expect_code(5);
    project.set_rest(DELAYED);
    project
        .run(&["reset", "--database", "shop", "--drop", "shop"])
        .expect_code(0);
    target.psql("postgres", "DROP DATABASE shop");
    project.run(&["run"]).expect_code(0);
    same(&standby, &target, &["shop"]);
}

/// While it waits for the delayed dump: the snapshot is lost with the server, and the run takes none of another.
#[test]
fn a_source_that_fails_over_during_the_run_is_not_dumped_on() {
    let Lagging {
        mut source,
        standby,
        proxy,
        target,
        project,
    } = lagging();
    let (project, dump) = Paused::of(project, "pg_dump", "+delayed");
    let mut running = project.start(&["run"]);
    running.until("the verification", || {
        project.has("step-done", "shop/verify")
    });
    source.kill9();
    standby.promote();
    for n in 1..=8 {
        standby.psql("shop", &format!("INSERT INTO visits VALUES ({n})"));
    }
    proxy.lead_to(standby.port());
    dump.go();
    let finished = running.wait().expect_code(4);
    finished.says(&["its timeline was 1, now it is 2"]);
    let finished = project.run(&["run"]).expect_code(4);
    finished.says(&["the source failed over, or is in an older state"]);
    project
        .run(&["reset", "--database", "shop", "--drop", "shop"])
        .expect_code(0);
    project.run(&["run"]).expect_code(0);
    same(&standby, &target, &["shop"]);
}

/// What was dumped and not restored, or restored and not verified, is dumped again.
#[test]
fn what_was_dumped_before_the_source_failed_over_is_dumped_again() {
    for at in [
        "journal step-done shop/source-counts synced:1",
        "journal step-done shop/target-counts synced:1",
    ] {
        let Lagging {
            mut source,
            standby,
            proxy,
            target,
            project,
        } = lagging();
        project.killed_at(at);
        source.kill9();
        standby.promote();
        proxy.lead_to(standby.port());
        let finished = project.run(&["run"]).expect_code(0);
        finished.says(&["source/promoted", "the next run dumps again: \"shop\""]);
        same(&standby, &target, &["shop"]);
        assert_eq!(target.psql("shop", "SELECT count(*) FROM payments"), "0");
    }
}

/// Two states of the source are not combined.
#[test]
fn a_source_in_an_older_state_is_refused() {
    let (mut source, target) = (shop(), Server::start(18));
    source.stop(Mode::Fast);
    let earlier = source.copied();
    source.start_again();
    source.psql("shop", PAID);
    let mut project = Project::between(&source, &target).with(DELAYED);
    project.killed_at("journal step-done shop/source-counts synced:1");
    source.stop(Mode::Fast);
    let now = source.copied();
    source.take_data_of(&earlier);
    source.start_again();
    for verb in ["run", "check"] {
        let finished = project.run(&[verb]).expect_code(3);
        finished.says(&["source/went-back", "its WAL position was"]);
    }
    project.set_rest(&format!("{DELAYED}{}", waiver("source/went-back")));
    project.run(&["run"]).expect_code(0);
    same(&source, &target, &["shop"]);
    assert_eq!(target.psql("shop", "SELECT count(*) FROM payments"), "0");
    // Back again it goes on from there: that is later than what was seen.
    source.stop(Mode::Fast);
    source.take_data_of(&now);
    source.start_again();
    project.set_rest(DELAYED);
    project.run(&["run"]).expect_code(0);
}

/// Each has the other's name between the two dumps.
#[test]
fn databases_of_the_source_that_exchanged_names_are_not_mixed() {
    let exchange = |source: &Server| {
        for sql in [
            "first RENAME TO away",
            "second RENAME TO first",
            "away RENAME TO second",
        ] {
            source.psql("postgres", &format!("ALTER DATABASE {sql}"));
        }
    };
    let servers = || {
        let (source, target) = (Server::start(16), Server::start(18));
        for (name, rows) in [("first", 10), ("second", 20)] {
            source.psql("postgres", &format!("CREATE DATABASE {name}"));
            source.psql(
                name,
                &format!(
                    "CREATE TABLE t AS SELECT '{name}'::text AS name FROM generate_series(1, {rows});
                     CREATE TABLE later AS SELECT '{name}'::text AS name FROM generate_series(1, 5)"
                ),
            );
        }
        (source, target)
    };
    let delayed = "[delay]\ntable_data = [\"*.public.later\"]\n";
    let (source, target) = servers();
    let project = Project::between(&source, &target).with(delayed);
    let (project, dump) = Paused::of(project, "pg_dump", "+delayed");
    killed_before_delayed_dumps(&project, &dump, &["first", "second"]);
    exchange(&source);
    let finished = project.run(&["run"]).expect_code(4);
    finished.says(&[
        "source/database-replaced",
        "is not the one whose other tables were dumped",
    ]);
    exchange(&source);
    project.run(&["run"]).expect_code(0);
    same(&source, &target, &["first", "second"]);

    // Nothing was verified: what has the name now is dumped.
    let (source, target) = servers();
    let project = Project::between(&source, &target).with(delayed);
    let (project, dump) = Paused::of(project, "pg_dump", "+delayed");
    project.killed_at("journal step-done second/dump synced:1");
    exchange(&source);
    let finished = project.run(&["check"]).expect_code(0);
    finished.says(&["source/database-replaced", "the next run dumps it again"]);
    dump.go();
    project.run(&["run"]).expect_code(0);
    same(&source, &target, &["first", "second"]);
}

/// By functions that every version calls otherwise.
#[test]
fn the_history_of_every_version_is_on_record() {
    let target = Server::start(18);
    for major in [10, 12, 14, 18] {
        let source = Server::start(major);
        let name = format!("of{major}");
        // Whoever asks.
        source.psql(
            "postgres",
            "CREATE ROLE anybody; SET ROLE anybody;
             SELECT pg_walfile_name(pg_current_wal_flush_lsn()), txid_snapshot_xmax(txid_current_snapshot()),
                    pg_postmaster_start_time(), pg_last_wal_replay_lsn(), pg_wal_lsn_diff('0/1', '0/0')",
        );
        source.psql("postgres", &format!("CREATE DATABASE {name}"));
        let project = Project::between(&source, &target)
            .named(&name)
            .with("[target.tuning]\nmode = \"off\"\n[globals]\nmigrate = false\n");
        project.run(&["run"]).expect_code(0);
        let journal = project.journal();
        let seen = journal.iter().find_map(|record| {
            let seen = &record["entry"]["servers-seen"]["seen"];
            seen.is_object().then_some(seen)
        });
        for side in ["s", "t"] {
            let server = &seen.expect("the servers were seen")[side];
            assert_eq!(server["tl"], 1, "{major}: {server}");
            for key in ["lsn", "xid", "up", "at"] {
                assert!(
                    server[key].as_u64().is_some_and(|value| value > 100),
                    "{major}: {server}"
                );
            }
        }
    }
}

/// A restart, in order or not, is none of this.
#[test]
fn a_restart_of_either_server_is_no_other_server() {
    let mut source = two_databases();
    let mut target = Server::start(18);
    let project = Project::between(&source, &target);
    for (at, mode) in [
        ("journal step-done first/create synced:1", Mode::Fast),
        ("journal step-done first/restore synced:1", Mode::Immediate),
    ] {
        project.killed_at(at);
        source.restart(mode);
        target.restart(mode);
    }
    source.kill9();
    target.kill9();
    source.start_again();
    target.start_again();
    let finished = project.run(&["run"]).expect_code(0);
    assert!(
        !finished.stderr.contains("went-back"),
        "{}",
        finished.stderr
    );
    same(&source, &target, &["first", "second"]);
}
