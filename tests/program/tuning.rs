//! The target's settings for the load: there while it lasts, and afterwards as they were before.

use std::fs;
use std::time::Duration;

use serde_json::Value;

use crate::support::project::{Finished, Project, Running, string};
use crate::support::proxy::Proxy;
use crate::support::server::Server;
use crate::support::{compare, fill};

/// A migration whose target was tuned by its owner before.
struct Load {
    source: Server,
    target: Server,
    proxy: Proxy,
    project: Project,
    before: Configuration,
}

/// What must come back.
#[derive(Debug, PartialEq)]
struct Configuration {
    /// The lines of `postgresql.auto.conf`, sorted.
    file: Vec<String>,
    /// Every setting that a new session has.
    in_force: Vec<String>,
}

impl Configuration {
    fn of(server: &Server) -> Configuration {
        let path = server.data_directory().join("postgresql.auto.conf");
        let text = fs::read_to_string(path).unwrap();
        let mut file: Vec<String> = text.lines().map(str::to_owned).collect();
        file.sort();
        let settings = server.psql(
            "postgres",
            "SELECT name, setting, pending_restart FROM pg_settings WHERE source <> 'client' ORDER BY name",
        );
        Configuration {
            file,
            in_force: settings.lines().map(str::to_owned).collect(),
        }
    }
}

/// Fails the test with the lines that differ.
#[track_caller]
fn assert_same(now: &Configuration, before: &Configuration) {
    assert_eq!(now.file, before.file);
    let settings = now.in_force.iter().zip(&before.in_force);
    let different: Vec<_> = settings.filter(|(now, before)| now != before).collect();
    assert!(different.is_empty(), "{different:#?}");
    assert_eq!(now.in_force.len(), before.in_force.len());
}

fn show(server: &Server, names: &[&str]) -> String {
    let values: Vec<String> = names
        .iter()
        .map(|name| server.psql("postgres", &format!("SHOW {name}")))
        .collect();
    values.join(" ")
}

/// The source is far away, so that there is time to look and to interrupt.
fn load_with(change: impl FnOnce(Project) -> Project) -> Load {
    let source = Server::start(14);
    let target = Server::of(18).durable().set("log_statement", "all").start();
    fill::plain(&source, 3, 300);
    target.psql("postgres", "ALTER SYSTEM SET work_mem = '5MB'");
    target.psql(
        "postgres",
        "ALTER SYSTEM SET maintenance_work_mem = '65432kB'",
    );
    target.psql("postgres", "SELECT pg_reload_conf()");
    let proxy = Proxy::to(source.port());
    proxy.set_delay(Duration::from_millis(10));
    let project = Project::between(&source, &target).source("port", &proxy.port().to_string());
    let before = Configuration::of(&target);
    assert!(
        before
            .file
            .contains(&"maintenance_work_mem = '65432kB'".to_owned())
    );
    Load {
        project: change(project),
        source,
        target,
        proxy,
        before,
    }
}

fn load() -> Load {
    load_with(|project| project)
}

impl Load {
    /// Starts the run and waits until a first database is restored.
    fn half_way(&self) -> Running {
        let mut running = self.project.start(&["run"]);
        let journal = self.project.state_directory().join("journal.jsonl");
        running.until("a restore", || {
            let text = fs::read_to_string(&journal).unwrap_or_default();
            text.lines()
                .any(|line| line.contains("step-done") && line.contains("/restore\""))
        });
        running
    }

    /// A run that is killed in the middle of the load, with the target tuned.
    fn killed(&self) {
        let running = self.half_way();
        running.kill9();
        assert_eq!(running.wait().signal, Some(9));
        assert_eq!(show(&self.target, &["fsync"]), "off");
        assert_ne!(Configuration::of(&self.target), self.before);
        self.proxy.set_delay(Duration::ZERO);
    }

    /// Lets the run go on to its end, at which everything is there and the settings are back.
    #[track_caller]
    fn assert_ends_well(&self, running: Running) {
        self.proxy.set_delay(Duration::ZERO);
        running.wait().expect_code(0);
        self.assert_back();
        for database in ["db1", "db2", "db3"] {
            compare::assert_same(&self.source, &self.target, database);
        }
    }

    #[track_caller]
    fn assert_back(&self) {
        assert_same(&Configuration::of(&self.target), &self.before);
    }

    /// What ALTER SYSTEM was about to change, by the journal.
    fn altered(&self) -> Vec<Value> {
        let journal = self.project.journal();
        journal
            .iter()
            .map(|record| record["entry"]["change"]["change"].clone())
            .filter(|change| change["change"] == "alter-system")
            .flat_map(|change| change["settings"].as_array().unwrap().clone())
            .collect()
    }
}

fn server_warnings(report: &Value) -> Vec<String> {
    let warnings = report["server"]["warnings"].as_array().unwrap();
    warnings
        .iter()
        .map(|warning| warning.as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn a_run_that_ends_well_leaves_the_settings_as_they_were_and_everything_on_disk() {
    let load = load();
    let mut running = load.project.start(&["run"]);
    running.until("the tuning", || show(&load.target, &["fsync"]) == "off");
    // Those that the reference tool sets, and some that help; commits of others wait for the disk.
    assert_eq!(
        show(
            &load.target,
            &[
                "synchronous_commit",
                "full_page_writes",
                "checkpoint_completion_target",
                "maintenance_work_mem",
                "max_wal_size",
                "autovacuum",
                "work_mem",
            ]
        ),
        "on off 0.9 2GB 1GB off 5MB"
    );
    load.proxy.set_delay(Duration::ZERO);
    running.wait().expect_code(0);
    load.assert_back();
    let report = load.project.report();
    assert_eq!(report["settings_restored"], true);
    assert_eq!(server_warnings(&report), Vec::<String>::new());

    // fsync first, then everything else, then what was written reaches the disk.
    let log = load.target.log();
    let position = |text: &str| {
        log.rfind(text)
            .unwrap_or_else(|| panic!("no {text}:\n{log}"))
    };
    let order = [
        "RESET \"fsync\"",
        "RESET \"full_page_writes\"",
        "SELECT clock_timestamp()::text, pg_catalog.pg_reload_conf()",
        "statement: CHECKPOINT",
        "TO PROGRAM 'sync'",
    ]
    .map(position);
    assert!(order.is_sorted(), "{order:?}");

    // Nothing to do is nothing to tune for.
    let altered = load.altered();
    assert!(altered.iter().any(|setting| setting["before"] == "65432kB"));
    load.project
        .run(&["run"])
        .expect_code(0)
        .expect_words(&["nothing to do"]);
    assert_eq!(load.altered(), altered);
}

#[test]
fn a_run_that_fails_leaves_the_settings_as_they_were() {
    let load = load();
    // pg_restore sets an empty search_path, so the check's function does not find its table.
    load.source.psql(
        "db2",
        "CREATE FUNCTION known(int) RETURNS bool LANGUAGE plpgsql AS
             'BEGIN RETURN EXISTS (SELECT FROM table1 WHERE id = $1); END';
         CREATE TABLE checked (i int CHECK (known(i))); INSERT INTO checked VALUES (1)",
    );
    load.proxy.set_delay(Duration::ZERO);
    load.project.run(&["run"]).expect_code(4);
    load.assert_back();
    assert_eq!(load.project.report()["settings_restored"], true);
}

#[test]
fn ctrl_c_puts_the_settings_back_and_the_next_run_tunes_again() {
    let load = load();
    let running = load.half_way();
    running.interrupt();
    running.wait().expect_code(130);
    load.assert_back();
    assert_eq!(load.project.report()["settings_restored"], true);

    let mut running = load.project.start(&["run"]);
    running.until("the tuning", || show(&load.target, &["fsync"]) == "off");
    load.assert_ends_well(running);
}

#[test]
fn after_a_kill_the_next_run_puts_the_settings_back() {
    let load = load();
    load.killed();
    let still_tuned = load.project.run(&["check"]).expect_code(0);
    assert!(still_tuned.stdout.contains("target/still-tuned"));
    load.project.run(&["run"]).expect_code(0);
    load.assert_back();
    let report = load.project.report();
    assert_eq!(report["settings_restored"], true);
    assert_eq!(report["resumed"], true);
    for setting in load.altered() {
        let before = match setting["name"].as_str().unwrap() {
            "maintenance_work_mem" => Value::from("65432kB"),
            _ => Value::Null,
        };
        assert_eq!(setting["before"], before, "{setting}");
    }
}

#[test]
fn after_a_kill_revert_puts_the_settings_back_and_touches_nothing_else() {
    let load = load();
    load.killed();
    let done = load.project.journal_steps("step-done");
    let finished = load.project.run(&["revert"]).expect_code(0);
    let finished = finished.expect_words(&["fsync", "maintenance_work_mem = 65432kB"]);
    let warnings = finished.stderr.matches("warning:").count();
    assert_eq!(warnings, 1, "{}", finished.stderr);
    finished.says(&[
        "warning: the target was left with its settings for the load by a run that did not end",
    ]);
    load.assert_back();
    // It may be run again, and there is nothing to do.
    load.project
        .run(&["revert"])
        .expect_code(0)
        .expect_words(&["nothing to restore"]);
    load.assert_back();
    let report = load.project.run(&["report", "--format", "json"]);
    let report: Value = serde_json::from_str(&report.expect_code(0).stdout).unwrap();
    assert_eq!(report["settings_restored"], true);

    load.project.run(&["run"]).expect_code(0);
    load.assert_back();
    let all = load.project.journal_steps("step-done");
    for step in done.iter().filter(|step| step.ends_with("/restore")) {
        assert_eq!(all.iter().filter(|other| *other == step).count(), 1);
    }
}

#[test]
fn a_kill_between_the_record_and_the_change_is_harmless() {
    let load = load();
    load.killed();
    // A user restored some of them by hand, without a reload.
    load.target.psql("postgres", "ALTER SYSTEM RESET fsync");
    load.target.psql(
        "postgres",
        "ALTER SYSTEM SET maintenance_work_mem = '65432kB'",
    );
    assert_eq!(show(&load.target, &["fsync"]), "off");
    load.project.run(&["revert"]).expect_code(0);
    load.assert_back();
    assert!(load.target.log().contains("TO PROGRAM 'sync'"));
}

#[test]
fn what_other_sessions_set_meanwhile_stays() {
    let load = load();
    let running = load.half_way();
    load.target
        .psql("postgres", "ALTER SYSTEM SET checkpoint_timeout = '9min'");
    load.target
        .psql("postgres", "ALTER SYSTEM RESET maintenance_work_mem");
    load.proxy.set_delay(Duration::ZERO);
    running.wait().expect_code(0);
    assert_eq!(
        show(
            &load.target,
            &[
                "fsync",
                "checkpoint_timeout",
                "maintenance_work_mem",
                "work_mem"
            ]
        ),
        "on 9min 64MB 5MB"
    );
    let warnings = server_warnings(&load.project.report()).join("\n");
    assert!(warnings.contains("checkpoint_timeout = 9min"), "{warnings}");
    assert!(warnings.contains("no maintenance_work_mem"), "{warnings}");
}

#[test]
fn a_run_that_refuses_to_start_puts_back_what_a_killed_one_left() {
    let load = load();
    load.project.run(&["plan"]).expect_code(0);
    load.killed();
    load.source.psql("postgres", "CREATE DATABASE newcomer");
    load.project
        .run(&["run"])
        .expect_code(3)
        .expect_words(&["newcomer", "restoring the settings"]);
    load.assert_back();
}

#[test]
fn a_target_that_is_down_gets_its_settings_back_later() {
    let patience = "[retry]\nrestore_settings = \"1s\"\n";
    let mut load = load_with(|project| project.with(patience));
    load.killed();
    load.target.kill9();
    load.project.run(&["revert"]).expect_code(3);
    load.project.run(&["run"]).expect_code(3);
    load.target.start_again();
    assert_eq!(show(&load.target, &["fsync"]), "off");
    load.project.run(&["revert"]).expect_code(0);
    load.assert_back();
}

#[test]
fn a_machine_that_went_down_without_fsync_is_not_trusted() {
    let mut load = load();
    load.killed();
    let journal = load.project.state_directory().join("journal.jsonl");
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    let text = fs::read_to_string(&journal).unwrap();
    assert!(text.contains(boot.trim()), "{text}");
    fs::write(
        &journal,
        text.replace(boot.trim(), "5b0b9ffa-0000-4000-8000-000000000000"),
    )
    .unwrap();
    load.project
        .run(&["revert"])
        .expect_code(4)
        .expect_words(&["machine was started again", "initdb"]);
    load.assert_back();
    load.project
        .run(&["revert"])
        .expect_code(3)
        .expect_words(&["may be damaged", "initdb"]);
    load.project.run(&["run"]).expect_code(3).expect_words(&[
        "target/crashed-unsafe",
        "initdb",
        "waiver",
    ]);
    let waiver = "[[waive]]\ncode = \"target/crashed-unsafe\"\nobject = \"*\"\nuntil = 2999-12-31\nreason = \"it was shut down in order\"\n";
    load.project = load.project.with(waiver);
    // Every report says so, up to that of the run that completes the plan.
    let warned = || -> (usize, usize) {
        let warnings = server_warnings(&load.project.report());
        let damage = warnings.iter().filter(|text| text.contains("initdb"));
        let is_waived = |text: &&String| text.contains("(waived until 2999-12-31");
        let (waived, found): (Vec<_>, Vec<_>) = damage.partition(is_waived);
        (found.len(), waived.len())
    };
    let mut running = load.project.start(&["run"]);
    running.until("the tuning", || show(&load.target, &["fsync"]) == "off");
    running.interrupt();
    running.wait().expect_code(130);
    assert_eq!(warned(), (1, 1));
    load.project.run(&["run"]).expect_code(0);
    assert_eq!(warned(), (1, 1));
}

#[test]
fn a_run_that_puts_the_settings_back_reports_what_it_found() {
    let load = load();
    load.killed();
    load.target
        .psql("postgres", "ALTER SYSTEM SET checkpoint_timeout = '7min'");
    // It restores them, and comes no further.
    let absent = load
        .project
        .text()
        .replace("[source]", "[source]\nuser = \"nobody\"");
    fs::write(load.project.plan_file(), absent).unwrap();
    let stopped = load.project.run_as_is(&["run"]).expect_code(3);
    assert!(
        stopped.stderr.contains("checkpoint_timeout"),
        "{}",
        stopped.stderr
    );
    load.project.run(&["run"]).expect_code(0);
    let warnings = server_warnings(&load.project.report());
    let about = warnings
        .iter()
        .filter(|text| text.contains("checkpoint_timeout"));
    assert_eq!(about.count(), 1, "{warnings:#?}");
}

#[test]
fn another_server_is_never_reverted() {
    let load = load();
    load.killed();
    // Of the same version, it would be a copy of the same cluster.
    let other = Server::start(17);
    other.psql("postgres", "ALTER SYSTEM SET fsync = off");
    let before = Configuration::of(&other);
    let wrong = fs::read_to_string(load.project.plan_file())
        .unwrap()
        .replace(
            &format!("port = {}", load.target.port()),
            &format!("port = {}", other.port()),
        );
    fs::write(load.project.plan_file(), wrong).unwrap();
    let Load {
        project,
        target,
        before: owners,
        ..
    } = load;
    let project = project.variable("TARGET_PASSWORD", other.password());
    project
        .run_as_is(&["revert"])
        .expect_code(3)
        .expect_words(&["another server"]);
    assert_same(&Configuration::of(&other), &before);
    let project = project.variable("TARGET_PASSWORD", target.password());
    project.run(&["revert"]).expect_code(0);
    assert_same(&Configuration::of(&target), &owners);
}

#[test]
fn a_server_that_crashes_under_the_load_gets_its_settings_back_when_it_is_there_again() {
    let mut load = load();
    let running = load.half_way();
    load.target.kill9();
    load.target.start_again();
    load.assert_ends_well(running);
}

#[test]
fn safe_never_risks_the_cluster_and_leaves_other_sessions_alone() {
    let load = load_with(|project| project.with("[target.tuning]\nmode = \"safe\"\n"));
    let running = load.half_way();
    let names = [
        "fsync",
        "full_page_writes",
        "synchronous_commit",
        "maintenance_work_mem",
        "max_wal_size",
    ];
    assert_eq!(show(&load.target, &names), "on on on 65432kB 1GB");
    load.proxy.set_delay(Duration::ZERO);
    running.wait().expect_code(0);
    load.assert_back();
}

#[test]
fn off_changes_nothing() {
    let load = load_with(|project| project.with("[target.tuning]\nmode = \"off\"\n"));
    let running = load.half_way();
    load.assert_back();
    load.proxy.set_delay(Duration::ZERO);
    running.wait().expect_code(0);
    load.assert_back();
    assert_eq!(load.altered(), Vec::<Value>::new());
    assert_eq!(load.project.report()["settings_restored"], true);
    load.project
        .run(&["revert"])
        .expect_code(0)
        .expect_words(&["nothing to restore"]);
}

/// A target whose role is not a superuser, and a source whose databases belong to a role that migrates.
fn limited(grants: &str) -> (Server, Server, Project) {
    let source = Server::start(16);
    let target = Server::of(18).durable().start();
    source.psql("postgres", "CREATE ROLE app");
    for database in fill::plain(&source, 2, 100) {
        source.psql(
            "postgres",
            &format!("ALTER DATABASE {database} OWNER TO app"),
        );
        source.psql(
            &database,
            "ALTER TABLE table1 OWNER TO app; ALTER TABLE table2 OWNER TO app;
             ALTER TABLE table3 OWNER TO app",
        );
    }
    target.psql(
        "postgres",
        &format!("CREATE ROLE mover LOGIN CREATEDB CREATEROLE PASSWORD 'of the mover'; {grants}"),
    );
    target.psql("postgres", "ALTER SYSTEM SET work_mem = '5MB'");
    target.psql("postgres", "SELECT pg_reload_conf()");
    let project = Project::between(&source, &target)
        .target("user", &string("mover"))
        .variable("TARGET_PASSWORD", "of the mover");
    (source, target, project)
}

fn plan_text(project: &Project) -> String {
    let Finished { stdout, .. } = project.run(&["plan", "--dry-run"]).expect_code(0);
    stdout.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn a_role_without_alter_system_completes_and_the_plan_says_what_is_out_of_reach() {
    let (source, target, project) = limited("");
    let before = Configuration::of(&target);
    let plan = plan_text(&project);
    for words in [
        "target/tuning-out-of-reach",
        "fsync, full_page_writes",
        "the role \"mover\" may not run ALTER SYSTEM",
        "own sessions SET maintenance_work_mem",
    ] {
        assert!(plan.contains(words), "{words}:\n{plan}");
    }
    project.run(&["run"]).expect_code(0);
    assert_same(&Configuration::of(&target), &before);
    assert_eq!(project.report()["settings_restored"], true);
    compare::assert_same(&source, &target, "db1");
}

#[test]
fn a_granted_alter_system_is_used_and_a_missing_sync_is_said() {
    let (_source, target, project) = limited(
        "GRANT ALTER SYSTEM ON PARAMETER fsync, checkpoint_timeout TO mover;
         GRANT SELECT ON pg_file_settings TO mover;
         GRANT EXECUTE ON FUNCTION pg_show_all_file_settings(), pg_reload_conf() TO mover",
    );
    let before = Configuration::of(&target);
    let plan = plan_text(&project);
    assert!(
        plan.contains("ALTER SYSTEM SET fsync = off, checkpoint_timeout = 1h"),
        "{plan}"
    );
    assert!(plan.contains("target/tuning-no-sync"), "{plan}");
    project.run(&["run"]).expect_code(0);
    assert_same(&Configuration::of(&target), &before);
    let report = project.report();
    assert_eq!(report["settings_restored"], true);
    let warnings = server_warnings(&report).join("\n");
    assert!(warnings.contains("may not be on disk yet"), "{warnings}");
}

#[test]
fn a_target_with_other_databases_is_risked_only_where_the_plan_says_so() {
    let (source, target) = (Server::start(14), Server::start(18));
    fill::plain(&source, 1, 10);
    target.psql("postgres", "CREATE DATABASE empty");
    target.psql("postgres", "CREATE DATABASE serving");
    let plain = || Project::between(&source, &target);
    plain().run(&["plan"]).expect_code(0);
    target.psql("serving", "CREATE TABLE customers (id int)");
    let before = compare::state(&target);
    plain().run(&["run"]).expect_code(3).expect_words(&[
        "target/shared",
        "serving",
        "shared_target",
    ]);
    assert_eq!(compare::state(&target), before);

    let safe = plain().with("[target.tuning]\nmode = \"safe\"\n");
    safe.run(&["plan"]).expect_code(0);
    let accepted = plain().with("[target.tuning]\nshared_target = true\n");
    accepted.run(&["run"]).expect_code(0);
    compare::assert_same(&source, &target, "db1");
}

/// Extensions do not count, nor do functions and views of an agent; its rows do, which a crash would lose.
#[test]
fn a_target_prepared_for_its_agents_is_new_all_the_same() {
    let (source, target) = (Server::start(14), Server::start(18));
    fill::plain(&source, 1, 10);
    for extension in ["pg_stat_statements", "hstore"] {
        target.psql("postgres", &format!("CREATE EXTENSION {extension}"));
    }
    target.psql("postgres", "CREATE DATABASE monitored");
    target.psql("monitored", "CREATE EXTENSION pg_stat_statements");
    let project = Project::between(&source, &target);
    let plan = project.run(&["plan"]).expect_code(0).said();
    assert!(!plan.contains("target/shared"), "{plan}");

    target.psql(
        "postgres",
        "CREATE SCHEMA agent; CREATE FUNCTION agent.f() RETURNS int LANGUAGE sql AS 'SELECT 1'; CREATE TYPE agent.t AS (a int); \
         CREATE VIEW agent.v AS SELECT agent.f()",
    );
    project.run(&["plan"]).expect_code(0).says(&[
        "warn target/shared",
        "the database \"postgres\" of the target holds objects that were made there",
    ]);
    target.psql("postgres", "CREATE TABLE agent.beats AS SELECT now()");
    let blocked = project.run(&["run"]).expect_code(3);
    blocked.says(&["the target serves other databases (postgres)"]);
    target.psql("postgres", "DROP TABLE agent.beats");
    target.psql(
        "monitored",
        "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    );
    let blocked = project.run(&["run"]).expect_code(3);
    blocked.says(&["the target serves other databases (monitored)"]);
    target.psql("monitored", "DROP FUNCTION f()");
    project.run(&["run"]).expect_code(0);
    compare::assert_same(&source, &target, "db1");
    assert_eq!(target.psql("postgres", "SELECT * FROM agent.v"), "1");
}

#[test]
fn a_completed_plan_does_not_mind_what_the_target_serves_later() {
    let (source, target) = (Server::start(14), Server::start(18));
    fill::plain(&source, 1, 10);
    let project = Project::between(&source, &target);
    project.run(&["run"]).expect_code(0);
    target.psql("postgres", "CREATE DATABASE later");
    target.psql("later", "CREATE TABLE customers (id int)");
    project
        .run(&["run"])
        .expect_code(0)
        .expect_words(&["nothing to do"]);
}

#[test]
fn settings_of_the_plan_are_set_and_impossible_ones_refused() {
    let load = load_with(|project| {
        project.with(
            "[target.tuning.settings]\nmaintenance_work_mem = \"300 MB\"\nwal_compression = \"pglz\"\n\
             synchronous_standby_names = \"\"\n",
        )
    });
    let running = load.half_way();
    let names = ["maintenance_work_mem", "wal_compression", "fsync"];
    assert_eq!(show(&load.target, &names), "300MB pglz off");
    load.proxy.set_delay(Duration::ZERO);
    running.wait().expect_code(0);
    load.assert_back();

    let refused = Project::between(&load.source, &load.target)
        .with("[target.tuning.settings]\nshared_buffers = \"1GB\"\nautovacum = false\n");
    refused
        .run(&["run"])
        .expect_code(3)
        .expect_words(&["target/tuning-restart", "target/tuning-unknown"]);
    load.assert_back();
}
