//! The target is put back to a moment inside of a step: its rows are there, and their indexes are not.

use std::fs;

use crate::support::compare;
use crate::support::paused::Paused;
use crate::support::project::{Project, waiver};
use crate::support::server::{Mode, Server};

const UNTUNED: &str = "[target.tuning]\nmode = \"off\"\n";

/// A standby of the target that has all up to a moment inside of the restore, after its rows.
struct Within {
    source: Server,
    target: Server,
    earlier: Server,
    project: Project,
}

/// The run goes on from there, and is killed at the failpoint.
fn within_the_restore(rest: &str, point: &str) -> Within {
    let (source, mut target) = (Server::start(16), Server::start(18));
    source.psql("postgres", "CREATE DATABASE erp");
    source.psql(
        "erp",
        "CREATE TABLE plain AS SELECT n AS id FROM generate_series(1, 100) n; ALTER TABLE plain ADD PRIMARY KEY (id)",
    );
    let earlier = target.standby();
    let project = Project::between(&source, &target).with(rest);
    let (project, restore) = Paused::of(project, "pg_restore", "post-data.list");
    let mut running = project.start_with(&["run"], &[("PG_MIGRATE_FAILPOINT", point.as_ref())]);
    restore.until_reached(&mut running);
    target.psql("postgres", "CHECKPOINT");
    earlier.catch_up(&target);
    earlier.stop_following();
    restore.go();
    assert_eq!(running.wait().signal, Some(9));
    Within {
        source,
        target,
        earlier,
        project,
    }
}

fn is_indexed(server: &Server) -> bool {
    server.psql(
        "erp",
        "SELECT count(*) FROM pg_indexes WHERE schemaname = 'public'",
    ) == "1"
}

/// As a machine that is put back to its snapshot; others write more to it than it lost.
fn put_back(target: &mut Server, earlier: &mut Server) {
    for server in [&mut *target, &mut *earlier] {
        server.stop(Mode::Immediate);
    }
    target.take_data_of(earlier);
    fs::remove_file(target.data_directory().join("standby.signal")).unwrap();
    target.start_again();
    for _ in 0..3 {
        target.psql("postgres", "CREATE TABLE more (); DROP TABLE more");
        target.psql("postgres", "SELECT pg_switch_wal()");
    }
}

#[test]
fn a_target_that_was_put_back_into_the_restore_is_noticed_by_its_mark() {
    for rest in [UNTUNED, ""] {
        let Within {
            source,
            mut target,
            mut earlier,
            mut project,
        } = within_the_restore(rest, "erp/target-counts start:1");
        assert!(is_indexed(&target));
        put_back(&mut target, &mut earlier);
        assert!(!is_indexed(&target));
        for verb in ["check", "run"] {
            let told = project.run(&[verb]).expect_code(3);
            told.says(&["target/went-back", "its mark ends with change"]);
        }
        // As advised, where it was meant so.
        target.psql("postgres", "DROP DATABASE erp");
        project.set_rest(&format!("{rest}{}", waiver("target/went-back")));
        project.run(&["run"]).expect_code(0);
        assert!(is_indexed(&target));
        compare::assert_same(&source, &target, "erp");
    }
}

/// Of every kind: the mark has it before the step is called done.
#[test]
fn the_end_of_each_step_that_writes_to_the_target_stands_in_the_mark() {
    let (source, target) = (Server::start(16), Server::start(18));
    source.psql("postgres", "CREATE DATABASE erp");
    source.psql(
        "erp",
        "CREATE TABLE late AS SELECT n AS id FROM generate_series(1, 100) n; ALTER TABLE late ADD PRIMARY KEY (id); \
         CREATE INDEX ON late (id)",
    );
    let delay = "[delay]\ntable_data = [\"erp.public.late\"]\n";
    let project = Project::between(&source, &target).with(delay);
    project.run(&["run"]).expect_code(0);
    let mut kept = None;
    let mut confirmed = Vec::new();
    for record in project.journal() {
        let entry = &record["entry"];
        if let Some(step) = entry["change"]["change"]["step"].as_str() {
            assert_eq!(entry["change"]["change"]["change"], "step-kept");
            kept = Some(step.to_owned());
        }
        let step = entry["step-done"]["step"].as_str();
        if step.is_some() && step == kept.as_deref() {
            assert!(entry["step-done"]["marked"].is_u64(), "{entry}");
            confirmed.push(step.unwrap_or_default().to_owned());
        }
    }
    confirmed.sort();
    let writing = [
        "erp/create",
        "erp/delayed-restore",
        "erp/drop-indexes",
        "erp/recreate-indexes",
        "erp/restore",
        "erp/verify",
        "globals",
        "restore-settings",
        "tune-target",
    ];
    assert_eq!(confirmed, writing);
    let changes = "SELECT change FROM mark.state";
    let marked: u64 = target.psql("pg_migrate_mark", changes).parse().unwrap();
    let last = project
        .journal()
        .iter()
        .filter_map(|record| record["entry"]["step-done"]["marked"].as_u64())
        .max();
    assert_eq!(last, Some(marked));
}

/// Discarding one database leaves the mark of the others where it is.
#[test]
fn a_mark_that_is_older_stays_so_when_something_is_discarded() {
    let Within {
        source: _source,
        mut target,
        mut earlier,
        project,
    } = within_the_restore(UNTUNED, "erp/target-counts start:1");
    put_back(&mut target, &mut earlier);
    let number = "SELECT change FROM mark.state";
    let before = target.psql("pg_migrate_mark", number);
    project.run(&["discard", "--drop", "erp"]).expect_code(0);
    assert_eq!(target.psql("pg_migrate_mark", number), before);
}

/// While the run is under way: what it writes next would hide it from the next run.
#[test]
fn a_mark_that_goes_back_under_the_run_ends_it() {
    let (source, target) = (Server::start(16), Server::start(18));
    source.psql("postgres", "CREATE DATABASE erp");
    source.psql("erp", "CREATE TABLE plain AS SELECT 1 AS id");
    let project = Project::between(&source, &target).with(UNTUNED);
    let (project, restore) = Paused::of(project, "pg_restore", "data.list");
    let mut running = project.start(&["run"]);
    restore.until_reached(&mut running);
    let journal = project.journal();
    let first = journal
        .iter()
        .find(|record| record["entry"]["run-started"].is_object());
    let began = first.unwrap()["at"].as_str().unwrap();
    target.psql(
        "pg_migrate_mark",
        &format!("UPDATE mark.state SET change = 1, changed = '{began}'"),
    );
    restore.go();
    let told = running.wait().expect_code(4);
    told.says(&["the target's mark says less than this run wrote to it"]);
    project
        .run(&["run"])
        .expect_code(3)
        .says(&["target/went-back"]);
}

/// As [`within_the_restore`], to the end: clients may use the database, and a standby takes over that lagged.
#[test]
fn a_standby_that_lagged_into_the_restore_is_not_believed_by_a_waiver_of_its_promotion() {
    let Within {
        source,
        mut target,
        earlier,
        project,
    } = within_the_restore(
        "[target.tuning]\nmode = \"safe\"\n",
        "restore-settings start:1",
    );
    target.kill9();
    earlier.promote();
    let promoted = "[[waive]]\ncode = \"target/promoted\"\nobject = \"*\"\nuntil = 2999-12-31\nreason = \"it had all\"\n";
    let mut project = project
        .target("port", &earlier.port().to_string())
        .with(promoted);
    for verb in ["check", "run"] {
        let told = project.run(&[verb]).expect_code(3);
        told.says(&[
            "target/promoted-behind",
            "its mark ends with change",
            "\"erp\"",
        ]);
    }
    let told = project.run(&["verify"]).expect_code(5);
    told.says(&["may lack rows, indexes, constraints and privileges"]);
    assert!(!is_indexed(&earlier));
    project.set_rest("[target.tuning]\nmode = \"safe\"\n");
    project
        .run(&["reset", "--database", "erp", "--drop", "erp"])
        .expect_code(0);
    // Whether clients wrote to it the standby does not know.
    project
        .run(&["run"])
        .expect_code(3)
        .says(&["DROP DATABASE"]);
    earlier.psql("postgres", "DROP DATABASE erp");
    project.run(&["run"]).expect_code(0);
    assert!(is_indexed(&earlier));
    compare::assert_same(&source, &earlier, "erp");
}

/// What nobody uses yet is made again, whatever the plan waives.
#[test]
fn what_no_client_uses_is_made_again_on_a_standby_that_lagged() {
    let Within {
        source,
        mut target,
        earlier,
        project,
    } = within_the_restore(UNTUNED, "erp/target-counts start:1");
    target.kill9();
    earlier.promote();
    let project = project.target("port", &earlier.port().to_string());
    project
        .run(&["run"])
        .expect_code(0)
        .says(&["target/promoted", "creates and restores again: \"erp\""]);
    assert!(is_indexed(&earlier));
    compare::assert_same(&source, &earlier, "erp");
}

/// A standby that had all; and then another, of which nobody knows.
#[test]
fn a_waiver_of_a_promotion_holds_for_its_timeline_alone() {
    let (source, mut target) = (Server::start(16), Server::start(18));
    source.psql("postgres", "CREATE DATABASE erp");
    source.psql("erp", "CREATE TABLE plain AS SELECT 1 AS id");
    let waiver = |object: &str| {
        format!(
            "{UNTUNED}[[waive]]\ncode = \"target/promoted\"\nobject = \"{object}\"\nuntil = 2999-12-31\nreason = \"it had all\"\n"
        )
    };
    let mut project = Project::between(&source, &target).with(UNTUNED);
    project.run(&["run"]).expect_code(0);
    let promote = |target: &mut Server| {
        target.stop(Mode::Fast);
        fs::write(target.data_directory().join("standby.signal"), "").unwrap();
        target.start_again();
        target.promote();
    };
    promote(&mut target);
    let told = project.run(&["check"]).expect_code(3);
    told.says(&["target/promoted", "object = \"TIMELINE 2\""]);
    assert!(!told.said().contains("promoted-behind"), "{}", told.said());
    for object in ["*", "TIMELINE *"] {
        project.set_rest(&waiver(object));
        let told = project.run(&["check"]).expect_code(3);
        told.says(&[
            "target/promoted",
            "plan/waiver-matches-nothing",
            "without a wildcard",
        ]);
    }
    project.set_rest(&waiver("TIMELINE 2"));
    source.psql("postgres", "CREATE DATABASE crm");
    project.run(&["run"]).expect_code(0);
    promote(&mut target);
    project
        .run(&["check"])
        .expect_code(3)
        .says(&["target/promoted", "object = \"TIMELINE 3\""]);
}
