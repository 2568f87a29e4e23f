//! Archives that a run before wrote: restored as they are, or written again.

use std::fs;
use std::path::{Path, PathBuf};

use crate::support::held::Held;
use crate::support::project::{Project, string};
use crate::support::server::Server;
use crate::support::{compare, fill};
use crate::torture::check::below;

/// A migration whose restore failed for a reason that is gone now.
struct Failed {
    source: Server,
    target: Server,
    project: Project,
}

fn failed() -> Failed {
    let (source, target) = (Server::start(16), Server::start(18));
    fill::plain(&source, 1, 1000);
    source.psql("db1", "CREATE ROLE late; GRANT SELECT ON table1 TO late");
    let project = Project::between(&source, &target).with("[globals]\nmigrate = false\n");
    project.run(&["run"]).expect_code(4);
    target.psql("postgres", "CREATE ROLE late");
    Failed {
        source,
        target,
        project,
    }
}

impl Failed {
    fn archive(&self) -> PathBuf {
        self.project.directory().join("pg_dumps/test/db1")
    }

    /// Goes on to the end, and tells how often the database was dumped in all.
    fn dumps(&self) -> usize {
        self.project.run(&["run"]).expect_code(0);
        compare::assert_same(&self.source, &self.target, "db1");
        let done = self.project.journal_steps("step-done");
        done.iter().filter(|step| *step == "db1/dump").count()
    }
}

#[test]
fn a_whole_archive_is_restored_and_the_source_left_alone() {
    assert_eq!(failed().dumps(), 1);
}

#[test]
fn a_damaged_archive_is_never_restored() {
    let failed = failed();
    damage(&failed.archive());
    assert_eq!(failed.dumps(), 2);
}

/// One bit of it.
fn damage(archive: &Path) {
    let mut data: Vec<PathBuf> = fs::read_dir(archive)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| !path.ends_with("toc.dat"))
        .collect();
    data.sort();
    let mut bytes = fs::read(&data[0]).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&data[0], bytes).unwrap();
}

/// By whatever, between its dump and its restore of one run.
#[test]
fn an_archive_that_is_changed_before_it_is_restored_is_refused() {
    let (source, target) = (Server::start(16), Server::start(18));
    fill::plain(&source, 1, 1000);
    source.psql("db1", "CREATE INDEX ON table1 ((1))");
    let project =
        Project::between(&source, &target).with("[delay]\ntable_data = [\"db1.table1\"]\n");
    let archive = project.directory().join("pg_dumps/test/db1+delayed");
    project.killed_at("db1/drop-indexes start:1");
    let lock = Held::begin(&target, "db1", "LOCK TABLE table1 IN ACCESS SHARE MODE");
    let mut running = project.start(&["run"]);
    running.until("the step before the load", || {
        let started = project.journal_steps("step-started");
        let before = started.iter().filter(|step| *step == "db1/drop-indexes");
        before.count() > 1
    });
    damage(&archive);
    lock.commit();
    running.wait().expect_code(4).says(&[
        "of database \"db1\" is not as it was when it was dumped; nothing was restored from it",
        "run again",
    ]);
    project.run(&["run"]).expect_code(0);
    compare::assert_same(&source, &target, "db1");
}

#[test]
fn an_archive_that_is_gone_is_written_again() {
    let failed = failed();
    fs::remove_dir_all(failed.archive()).unwrap();
    assert_eq!(failed.dumps(), 2);
}

/// Two plans of one name, and one place for their archives.
#[test]
fn archives_that_this_plan_did_not_write_are_not_touched() {
    let (source, target) = (Server::start(16), Server::start(18));
    fill::plain(&source, 1, 100);
    let dumps = tempfile::tempdir().unwrap();
    let into = |keep: bool, target: &Server| {
        let root = string(&dumps.path().display().to_string());
        Project::between(&source, target).with(&format!("[dump]\nroot = {root}\nkeep = {keep}\n"))
    };
    let first = into(true, &target);
    first.run(&["run"]).expect_code(0);
    let listing = || -> Vec<(PathBuf, Vec<u8>)> {
        let files = below(dumps.path())
            .into_iter()
            .filter(|path| path.is_file());
        files
            .map(|path| (path.clone(), fs::read(path).unwrap()))
            .collect()
    };
    let before = listing();
    assert!(
        before
            .iter()
            .any(|(path, _)| path.ends_with("test/db1/toc.dat"))
    );
    assert!(before.iter().any(|(path, _)| path.ends_with("test/.owner")));

    let second_target = Server::start(18);
    let second = into(false, &second_target);
    let refused = second.run(&["run"]).expect_code(3);
    assert!(
        refused.stderr.contains("holds archives of another state"),
        "{}",
        refused.stderr
    );
    let databases = "SELECT count(*) FROM pg_database WHERE datname LIKE 'db%'";
    assert_eq!(second_target.psql("postgres", databases), "0");
    assert_eq!(listing(), before);

    // The first goes on with its own.
    first
        .run(&["reset", "--database", "db1", "--drop", "db1"])
        .expect_code(0);
    first.run(&["run"]).expect_code(0);
    assert!(listing().len() == before.len() && listing() != before);

    fs::remove_dir_all(dumps.path().join("test")).unwrap();
    second.run(&["run"]).expect_code(0);
    compare::assert_same(&source, &second_target, "db1");
    assert_eq!(listing(), []);
    assert!(!dumps.path().join("test").exists());
}

/// Whatever it is, and before there is any of our archives.
#[test]
fn a_directory_in_the_way_is_not_removed() {
    let (source, target) = (Server::start(16), Server::start(18));
    fill::plain(&source, 1, 100);
    let project = Project::between(&source, &target);
    let precious = project.directory().join("pg_dumps/test/db1/precious");
    fs::create_dir_all(precious.parent().unwrap()).unwrap();
    fs::write(&precious, "x").unwrap();
    project.run(&["run"]).expect_code(3).says(&["is not empty"]);
    assert_eq!(fs::read_to_string(&precious).unwrap(), "x");

    fs::rename(
        project.directory().join("pg_dumps/test"),
        project.directory().join("mine"),
    )
    .unwrap();
    project.run(&["run"]).expect_code(0);
    compare::assert_same(&source, &target, "db1");
}
