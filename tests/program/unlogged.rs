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
        let warnings = warnings(&project);
        assert!(
            warnings.contains("as many rows came in since"),
            "{warnings}"
        );
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

/// As many rows as were brought are not those.
#[test]
fn tables_that_clients_filled_after_a_crash_are_a_difference_all_the_same() {
    let (_source, target, project) = crashed_at("run over:1", DELAY);
    let fill = "INSERT INTO \"Sessions\" SELECT -generate_series(1, 500);
         INSERT INTO late SELECT -generate_series(1, 900)";
    target.psql("db1", fill);
    let finished = project.run(&["run"]).expect_code(5);
    for table in ["public.Sessions (500", "public.late (700"] {
        let told = format!("{table} rows were verified; all that are there came since");
        assert!(finished.stderr.contains(&told), "{}", finished.stderr);
    }
    project.run(&["run"]).expect_code(0);
    let warnings = warnings(&project);
    assert!(
        warnings.contains("as many rows came in since"),
        "{warnings}"
    );
}

#[test]
fn a_delayed_table_that_clients_filled_after_a_crash_is_a_difference() {
    let more = format!("{DELAY}[target.tuning]\nmode = \"off\"\n");
    let point = "journal step-done db1/delayed-restore synced:1";
    let (_source, target, project) = crashed_at(point, &more);
    target.psql("db1", "INSERT INTO late SELECT -generate_series(1, 900)");
    let finished = project.run(&["run"]).expect_code(5);
    let told = "public.late (700 rows were verified; all that are there came since";
    assert!(finished.stderr.contains(told), "{}", finished.stderr);
}

/// An unlogged sequence that a logged table uses, and that of an unlogged table which is empty.
fn with_sequences(source: &Server) {
    source.psql(
        "db1",
        "CREATE UNLOGGED SEQUENCE numbers;
         CREATE TABLE uses (id bigint DEFAULT nextval('numbers'));
         INSERT INTO uses SELECT FROM generate_series(1, 5000);
         CREATE UNLOGGED TABLE queue (id serial);
         SELECT setval('queue_id_seq', 900);
         CREATE UNLOGGED SEQUENCE turns MAXVALUE 60 CYCLE;
         SELECT setval('turns', 7)",
    );
}

const STAND: &str =
    "SELECT n.last_value, q.last_value, t.last_value FROM numbers n, queue_id_seq q, turns t";

/// As [`crashed_at`], with sequences and without tuning.
fn crashed_with_sequences(point: &str) -> (Server, Server, Project) {
    let (source, mut target) = (Server::start(16), Server::start(18));
    source.psql("postgres", "CREATE DATABASE db1");
    with_sequences(&source);
    let more = "[target.tuning]\nmode = \"off\"\n";
    let project = Project::between(&source, &target).with(more);
    project.killed_at(point);
    assert_eq!(target.psql("db1", STAND), "5000|900|7");
    target.restart(Mode::Immediate);
    assert_eq!(target.psql("db1", STAND), "1|1|1");
    (source, target, project)
}

#[test]
fn unlogged_sequences_that_a_crash_set_back_are_moved_on_before_the_database_is_opened() {
    let point = "journal step-done db1/restore synced:1";
    let (source, target, project) = crashed_with_sequences(point);
    project.run(&["run"]).expect_code(0);
    assert_eq!(target.psql("db1", STAND), "5000|900|7");
    compare::assert_same(&source, &target, "db1");
    let warnings = warnings(&project);
    let told = "the unlogged sequence public.numbers had been set back to 1 on the target";
    assert!(warnings.contains(told), "{warnings}");
}

#[test]
fn unlogged_sequences_that_a_crash_set_back_later_are_told_until_they_are_set() {
    for point in ["journal step-done db1/verify synced:1", "run over:1"] {
        let (_source, target, project) = crashed_with_sequences(point);
        target.psql("db1", "SELECT nextval('numbers')");
        let finished = project.run(&["run"]).expect_code(5);
        let told = "a crash of the target set unlogged sequences back after they were restored: public.numbers (5000), \
                    public.queue_id_seq (900), public.turns (7)";
        assert!(finished.stderr.contains(told), "{}", finished.stderr);
        let set = "SELECT setval('numbers', 5000), setval('queue_id_seq', 900), setval('turns', 7)";
        target.psql("db1", set);
        project.run(&["run"]).expect_code(0);
        assert_eq!(warnings(&project), "[]");
    }
}

#[test]
fn sequences_that_clients_start_again_are_theirs() {
    let (source, target) = (Server::start(16), Server::start(18));
    filled(&source);
    with_sequences(&source);
    let project = Project::between(&source, &target);
    project.killed_at("run over:1");
    target.psql(
        "db1",
        "TRUNCATE queue RESTART IDENTITY; DELETE FROM late; ALTER SEQUENCE numbers RESTART",
    );
    project.run(&["run"]).expect_code(0);
    assert_eq!(warnings(&project), "[]");
}
