//! Archives that a run before wrote: restored as they are, or written anew.

use std::fs;
use std::path::PathBuf;

use crate::support::project::Project;
use crate::support::server::Server;
use crate::support::{compare, fill};

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
    let mut data: Vec<PathBuf> = fs::read_dir(failed.archive())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| !path.ends_with("toc.dat"))
        .collect();
    data.sort();
    let mut bytes = fs::read(&data[0]).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&data[0], bytes).unwrap();
    assert_eq!(failed.dumps(), 2);
}

#[test]
fn an_archive_that_is_gone_is_written_anew() {
    let failed = failed();
    fs::remove_dir_all(failed.archive()).unwrap();
    assert_eq!(failed.dumps(), 2);
}
