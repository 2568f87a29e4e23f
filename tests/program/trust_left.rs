//! What a run left behind, and what people did in between, when the next one comes.

use std::fs;

use crate::support::compare;
use crate::support::project::Project;
use crate::support::server::{Mode, Server};

fn servers() -> (Server, Server) {
    let (source, target) = (Server::start(16), Server::of(18).durable().start());
    source.psql("postgres", "CREATE ROLE app LOGIN PASSWORD 'of the app'");
    source.psql("postgres", "CREATE DATABASE erp OWNER app");
    source.psql(
        "erp",
        "CREATE TABLE t AS SELECT generate_series(1, 100) AS id",
    );
    (source, target)
}

/// The application moved to what the first run verified, and is not asked to risk its commits.
#[test]
fn a_later_run_does_not_risk_what_clients_use_already() {
    let (source, target) = servers();
    let project = Project::between(&source, &target);
    project.run(&["run"]).expect_code(0);
    assert!(target.lets_in("erp", "app", "of the app"));
    source.psql("postgres", "CREATE DATABASE crm");
    let plan = project.run(&["plan", "--dry-run"]).expect_code(0).stdout;
    assert!(plan.contains("target/tuning-clients"), "{plan}");
    assert!(!plan.contains("fsync = off"), "{plan}");
    project.run(&["run"]).expect_code(0);
    let altered: Vec<String> = project
        .journal()
        .iter()
        .map(|record| record["entry"]["change"]["change"].to_string())
        .filter(|change| change.contains("alter-system"))
        .collect();
    assert_eq!(altered.len(), 2);
    assert!(altered[0].contains("fsync") && altered[0].contains("autovacuum"));
    assert!(!altered[1].contains("fsync") && !altered[1].contains("autovacuum"));
}

/// With another plan, that a killed run's settings are the owner's is not taken for granted.
#[test]
fn what_another_plans_killed_run_left_is_refused() {
    let (source, target) = servers();
    let first = Project::between(&source, &target).named("first");
    first.killed_at("journal step-started erp/restore before:1");
    assert_eq!(target.psql("postgres", "SHOW fsync"), "off");
    let second = Project::between(&source, &target)
        .named("second")
        .with("[databases]\nexclude = [\"erp\"]");
    second
        .run(&["run"])
        .expect_code(3)
        .expect_words(&["target/left-unsafe", "pg-migrate revert"]);
    first.run(&["revert"]).expect_code(0);
    assert_eq!(target.psql("postgres", "SHOW fsync"), "on");
    second.run(&["check"]).expect_code(0);
}

#[test]
fn a_database_that_lets_nobody_in_is_never_completed() {
    let (source, target) = servers();
    source.psql(
        "postgres",
        "ALTER DATABASE erp SET session_preload_libraries = '$libdir/adminpack'",
    );
    let waiver = "[[waive]]\ncode = \"target/library-of-database\"\nobject = \"*\"\nuntil = 2999-12-31\nreason = \"none\"";
    let project = Project::between(&source, &target);
    project
        .run(&["run"])
        .expect_code(3)
        .expect_words(&["target/library-of-database"]);
    let project = project.with(waiver);
    project
        .run(&["run"])
        .expect_code(4)
        .expect_words(&["no client can connect to it", "adminpack"]);
    project
        .run(&["run"])
        .expect_code(3)
        .expect_words(&["of the target server", "adminpack"]);
    for server in [&source, &target] {
        server.psql(
            "postgres",
            "ALTER DATABASE erp RESET session_preload_libraries",
        );
    }
    project.run(&["run"]).expect_code(0);
    compare::assert_same(&source, &target, "erp");
}

#[test]
fn a_run_that_was_killed_while_it_made_a_database_goes_on() {
    let (source, target) = servers();
    let project = Project::between(&source, &target);
    project.killed_at("erp/create made:1");
    project.killed_at("journal created-database erp synced:1");
    project.killed_at("erp/create drops:1");
    project.run(&["run"]).expect_code(0);
    compare::assert_same(&source, &target, "erp");
}

/// Its restore failed, a person completed it, and let clients in.
#[test]
fn a_database_that_was_completed_by_hand_is_kept() {
    let (source, target) = servers();
    let project = Project::between(&source, &target);
    project.killed_at("journal step-done erp/restore before:1");
    target.psql("postgres", "ALTER DATABASE erp OWNER TO app");
    target.psql("erp", "INSERT INTO t VALUES (101)");
    project.run(&["run"]).expect_code(3).says(&[
        "target/opened",
        "other roles may connect to it",
        "DROP DATABASE",
    ]);
    assert_eq!(target.psql("erp", "SELECT count(*) FROM t"), "101");
    target.psql("postgres", "DROP DATABASE erp");
    project.run(&["run"]).expect_code(0);
    compare::assert_same(&source, &target, "erp");
}

#[test]
fn a_closed_database_that_the_source_has_no_more_is_told() {
    let (source, target) = servers();
    source.psql("postgres", "CREATE DATABASE crm");
    let project = Project::between(&source, &target);
    project.killed_at("journal step-started restore-settings before:1");
    source.psql("postgres", "ALTER DATABASE erp RENAME TO old_erp");
    let plan = fs::read_to_string(project.plan_file()).unwrap();
    let out = "\n[databases]\nexclude = [\"old_erp\"]\n";
    fs::write(project.plan_file(), plan.clone() + out).unwrap();
    project.run_as_is(&["run"]).expect_code(3).expect_words(&[
        "target/unfinished",
        "erp",
        "still closed",
    ]);
    assert!(!target.lets_in("erp", "app", "of the app"));
    source.psql("postgres", "ALTER DATABASE old_erp RENAME TO erp");
    fs::write(project.plan_file(), plan).unwrap();
    project.run_as_is(&["run"]).expect_code(0);
    assert!(target.lets_in("erp", "app", "of the app"));
}

#[test]
fn a_database_whose_delayed_tables_are_missing_is_not_left_out() {
    let (source, target) = servers();
    let delay = "[delay]\ntable_data = [\"erp.public.t\"]\n";
    let mut project = Project::between(&source, &target).with(delay);
    project.run(&["plan", "--dry-run"]).expect_code(0);
    project.killed_at("journal step-started erp/delayed-restore before:1");
    project.set_rest(&format!("{delay}[databases]\nexclude = [\"erp\"]\n"));
    project
        .run(&["run"])
        .expect_code(3)
        .expect_words(&["target/unfinished", "delayed tables are not loaded"]);
    project.set_rest(delay);
    project.run(&["run"]).expect_code(0);
    compare::assert_same(&source, &target, "erp");
}

/// As a standby does that takes over: the same cluster, the same object ids, another timeline.
fn promote(target: &mut Server) {
    target.stop(Mode::Fast);
    fs::write(target.data_directory().join("standby.signal"), "").unwrap();
    target.start_again();
    assert_eq!(target.psql("postgres", "SELECT pg_promote()"), "t");
}

#[test]
fn a_target_that_was_promoted_is_not_believed() {
    let (source, mut target) = servers();
    let project = Project::between(&source, &target);
    project.killed_at("journal step-done erp/restore synced:1");
    project.run(&["revert"]).expect_code(0);
    promote(&mut target);
    // Nobody uses it yet, so it is made again.
    project
        .run(&["run"])
        .expect_code(0)
        .expect_words(&["target/promoted", "creates and restores again: \"erp\""]);
    compare::assert_same(&source, &target, "erp");
    let waiver = "[[waive]]\ncode = \"target/promoted\"\nobject = \"TIMELINE 3\"\nuntil = 2999-12-31\nreason = \"it had all\"";
    // Clients may use it now: of a plan that is complete, too.
    let project = project.with(waiver);
    promote(&mut target);
    project.run(&["run"]).expect_code(0);
    let stored = fs::read_to_string(project.plan_file()).unwrap();
    fs::write(project.plan_file(), stored.replace(waiver, "")).unwrap();
    project
        .run_as_is(&["run"])
        .expect_code(3)
        .expect_words(&["target/promoted"]);
}

/// By hand, or where a machine was put back to an older state.
#[test]
fn what_was_counted_by_a_killed_run_is_counted_again() {
    let (source, target) = servers();
    let project = Project::between(&source, &target);
    project.killed_at("journal step-done erp/target-counts synced:1");
    target.psql("erp", "TRUNCATE t");
    let told = project.run(&["run"]).expect_code(5);
    assert!(told.stdout.contains("public.t"), "{}", told.stdout);
}

#[test]
fn a_completed_plan_whose_target_was_left_unsafe_is_not_complete() {
    let (source, target) = servers();
    let project = Project::between(&source, &target);
    project.run(&["run"]).expect_code(0);
    target.psql("postgres", "ALTER SYSTEM SET fsync = off");
    target.psql("postgres", "ALTER SYSTEM SET full_page_writes = off");
    target.psql("postgres", "SELECT pg_reload_conf()");
    let told = project.run(&["run"]).expect_code(3);
    let said = told.stderr.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(said.contains("target/left-unsafe"), "{said}");
    for sql in ["fsync", "full_page_writes"] {
        target.psql("postgres", &format!("ALTER SYSTEM RESET {sql}"));
    }
    target.psql("postgres", "SELECT pg_reload_conf()");
    project.run(&["run"]).expect_code(0);
}

/// Killed when it was verified, and not opened yet: nobody who looks has to find out at the login.
#[test]
fn what_is_still_closed_to_clients_is_said_until_it_is_open() {
    let (source, target) = servers();
    let project = Project::between(&source, &target);
    project.killed_at("journal step-done erp/verify synced:1");
    assert!(!target.lets_in("erp", "app", "of the app"));
    let said = ["closed to clients", "\"erp\""];
    let text = project.run(&["status"]).expect_code(0).stdout;
    assert!(said.iter().all(|words| text.contains(words)), "{text}");
    let json = project.run(&["status", "--format", "json"]).expect_code(0);
    let status: serde_json::Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(
        status["closed"],
        serde_json::json!([{"name": "erp", "verified": true}])
    );
    for format in ["text", "html"] {
        let report = ["report", "--format", format];
        let text = project.run(&report).expect_code(0).stdout;
        assert!(text.contains("closed to clients"), "{text}");
    }
    project.run(&["revert"]).expect_code(0).expect_words(&said);
    // What it says to do opens it.
    project.run(&["run"]).expect_code(0);
    assert!(target.lets_in("erp", "app", "of the app"));
    for command in [["status"], ["report"], ["revert"]] {
        let finished = project.run(&command).expect_code(0);
        let text = format!("{}{}", finished.stdout, finished.stderr);
        assert!(!text.contains("closed to clients"), "{text}");
    }
}

/// Its owner closed it, for the cut-over for instance, or it is a template; nothing else is amiss.
#[test]
fn a_database_that_the_plan_names_is_not_left_out_in_silence() {
    let (source, target) = servers();
    source.psql("postgres", "CREATE DATABASE crm");
    let named = "[databases]\ninclude = [\"crm\", \"erp\"]\n";
    let mut project = Project::between(&source, &target).with(named);
    for (property, code) in [
        ("ALLOW_CONNECTIONS", "source/database-closed"),
        ("IS_TEMPLATE", "source/database-template"),
    ] {
        let set = |value: bool| {
            source.psql(
                "postgres",
                &format!("ALTER DATABASE erp {property} {value}"),
            );
        };
        let is_open = property == "IS_TEMPLATE";
        set(is_open);
        let words = [code, "databases.include names it"];
        project.run(&["run"]).expect_code(3).expect_words(&words);
        set(!is_open);
    }
    let missing = "[databases]\ninclude = [\"erp\", \"wiki\"]\n";
    project.set_rest(missing);
    project
        .run(&["run"])
        .expect_code(3)
        .says(&["plan/include-matches-nothing", "\"wiki\""]);
    assert_eq!(
        target.psql(
            "postgres",
            "SELECT count(*) FROM pg_database WHERE datname = 'erp'"
        ),
        "0"
    );
    // One that a run began counts, whatever the pattern is.
    project.set_rest("");
    project.killed_at("journal step-done erp/restore before:1");
    source.psql("postgres", "ALTER DATABASE erp ALLOW_CONNECTIONS false");
    let begun = [
        "source/database-closed",
        "an earlier run of this plan began it",
    ];
    project.run(&["run"]).expect_code(3).says(&begun);
    project
        .run(&["verify"])
        .expect_code(5)
        .says(&["erp: not compared", "2 differ"]);
    source.psql("postgres", "ALTER DATABASE erp ALLOW_CONNECTIONS true");
    project.run(&["run"]).expect_code(0);
    compare::assert_same(&source, &target, "erp");
    // Clients use the target's: a run has nothing to lose, and yet nobody compared it.
    source.psql("postgres", "ALTER DATABASE erp ALLOW_CONNECTIONS false");
    project.run(&["verify"]).expect_code(0);
    project.set_rest(named);
    project.run(&["run"]).expect_code(0);
    project
        .run(&["verify"])
        .expect_code(5)
        .says(&["erp: not compared: it allows no connections"]);
    source.psql("postgres", "ALTER DATABASE erp RENAME TO old_erp");
    project.run(&["run"]).expect_code(0);
    let words = [
        "erp: not compared: the source has no such database",
        "1 differs",
    ];
    project.run(&["verify"]).expect_code(5).says(&words);
}
