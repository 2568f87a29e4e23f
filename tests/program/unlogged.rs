//! Unlogged tables: a crash of the target empties them, and the run must not report them as arrived.

use crate::support::compare;
use crate::support::project::Project;
use crate::support::server::{Mode, Server};

/// `db1` with unlogged tables: two with rows, one of them delayed, and an empty one.
fn filled(source: &Server) {
    source.psql("postgres", "CREATE DATABASE db1");
    source.psql(
        "db1",
        "CREATE UNLOGGED TABLE \"Sessions\" AS SELECT generate_series(1, 500) AS id;
         CREATE UNLOGGED TABLE late AS SELECT generate_series(1, 700) AS id;
         CREATE UNLOGGED TABLE hollow (id int);
         CREATE TABLE logged AS SELECT generate_series(1, 300) AS id;
         ANALYZE",
    );
}

const DELAY: &str = "[delay]\ntable_data = [\"db1.late\"]\n";

/// Runs until the point, where the run is killed.
fn killed_at(point: &str, more: &str) -> (Server, Server, Project) {
    let (source, target) = (Server::start(16), Server::start(18));
    filled(&source);
    let project = Project::between(&source, &target).with(more);
    project.killed_at(point);
    (source, target, project)
}

/// As [`killed_at`]; then the target crashes and comes back.
fn crashed_at(point: &str, more: &str) -> (Server, Server, Project) {
    let (source, mut target, project) = killed_at(point, more);
    target.restart(Mode::Immediate);
    (source, target, project)
}

/// The warnings of the only database.
fn warnings(project: &Project) -> String {
    project.report()["databases"][0]["warnings"].to_string()
}

/// How often the step ended well.
fn times(project: &Project, step: &str) -> usize {
    let steps = project.journal_steps("step-done");
    steps.iter().filter(|done| *done == step).count()
}

#[test]
fn a_database_that_a_crash_emptied_before_it_was_verified_is_made_again() {
    for more in ["", DELAY, "[verify]\nmode = \"fast\"\n"] {
        let point = "journal step-done db1/restore synced:1";
        let (source, target, project) = crashed_at(point, more);
        assert_eq!(target.psql("db1", "SELECT count(*) FROM \"Sessions\""), "0");
        // Delayed tables that were not dumped yet need their snapshot, and that is gone.
        let is_shared = more == DELAY && times(&project, "db1/delayed-dump") == 0;
        let dumps = if is_shared { 2 } else { 1 };
        project.run(&["run"]).expect_code(0);
        compare::assert_same(&source, &target, "db1");
        assert!(!warnings(&project).contains("crash"), "{more}");
        assert_eq!(times(&project, "db1/restore"), 2);
        assert_eq!(times(&project, "db1/dump"), dumps, "{more}");
    }
}

#[test]
fn a_crash_after_the_verification_is_a_difference_until_the_tables_are_filled_again() {
    let rows = "public.Sessions (500 rows were verified), public.late (700";
    for more in [DELAY, "[verify]\nmode = \"fast\"\n"] {
        let (source, target, project) = crashed_at("run over:1", more);
        for _ in 0..2 {
            let finished = project.run(&["run"]).expect_code(5);
            assert!(
                finished.stderr.contains("a crash of the target emptied"),
                "{}",
                finished.stderr
            );
            let warnings = warnings(&project);
            assert!(warnings.contains(rows), "{warnings}");
            assert!(
                !warnings.contains("hollow") && !warnings.contains("logged ("),
                "{warnings}"
            );
            assert_eq!(project.report()["outcome"], "mismatched");
        }
        for (table, rows) in [("\"Sessions\"", 500), ("late", 700)] {
            target.psql(
                "db1",
                &format!("INSERT INTO {table} SELECT generate_series(1, {rows})"),
            );
        }
        project.run(&["run"]).expect_code(0);
        compare::assert_same(&source, &target, "db1");
        assert_eq!(warnings(&project), "[]");
        // From here on they are their owner's.
        target.psql("db1", "TRUNCATE late");
        project.run(&["run"]).expect_code(0);
    }
}

#[test]
fn what_clients_remove_is_not_a_crash() {
    let (_source, target, project) = killed_at("run over:1", "");
    target.psql("db1", "DELETE FROM \"Sessions\"; TRUNCATE late");
    project.run(&["run"]).expect_code(0);
    assert_eq!(warnings(&project), "[]");
}

#[test]
fn a_table_that_cannot_be_checked_is_a_failure_that_the_next_run_clears() {
    let (_source, target, project) = crashed_at("run over:1", "");
    let file = target.psql("db1", "SELECT pg_relation_filepath('late')");
    let file = target.data_directory().join(file);
    let away = file.with_extension("away");
    std::fs::rename(&file, &away).unwrap();
    let finished = project.run(&["run"]).expect_code(4);
    let said = "cannot check whether a crash of the target emptied unlogged tables";
    assert!(finished.stderr.contains(said), "{}", finished.stderr);
    let report = project.report();
    assert_eq!(report["outcome"], "failed");
    let warnings = warnings(&project);
    assert!(
        warnings.contains("rows in \\\"public\\\".\\\"late\\\""),
        "{warnings}"
    );
    std::fs::rename(&away, &file).unwrap();
    project.run(&["run"]).expect_code(5);
}
