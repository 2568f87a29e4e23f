//! A disk that is full, on either side: named, no error to accept, nothing left in the way, and with room the next run goes on.

use std::fs;
use std::path::Path;

use crate::support::compare;
use crate::support::data::give_to_server;
use crate::support::place::Scratch;
use crate::support::project::{Project, string};
use crate::support::server::{Mode, Server, literal};
use crate::torture::check::below;
use crate::torture::faults::SmallDisk;

/// Only root may mount file systems.
fn may_mount() -> bool {
    nix::unistd::getuid().is_root()
}

fn servers() -> (Server, Server) {
    let (source, target) = (Server::start(16), Server::start(18));
    for name in ["big", "small"] {
        source.psql("postgres", &format!("CREATE DATABASE {name}"));
    }
    source.psql(
        "big",
        "CREATE TABLE t AS SELECT n AS id, md5(n::text) || md5((n + 1)::text) AS word FROM generate_series(1, 60000) n",
    );
    source.psql(
        "small",
        "CREATE TABLE t AS SELECT generate_series(1, 10) AS id",
    );
    (source, target)
}

/// The archives do not fit: what failed leaves nothing behind, what fits is complete, and it was told before.
#[test]
fn archives_that_do_not_fit() {
    if !may_mount() {
        return;
    }
    let (source, target) = servers();
    for delayed in [false, true] {
        let delay = if delayed {
            "[delay]\ntable_data = [\"big.public.t\"]\n"
        } else {
            ""
        };
        let scratch = Scratch::new();
        let root = scratch.path().join("archives");
        let disk = SmallDisk::mount(&root, 1500);
        let rest = format!(
            "[dump]\nroot = {}\ncompression = \"none\"\n{delay}",
            string(&root.display().to_string())
        );
        let project = Project::between(&source, &target).with(&rest);
        let check = project.run(&["check"]).expect_code(0).stdout;
        assert!(check.contains("client/dump-space"), "{check}");
        let step = if delayed {
            "big/delayed-dump"
        } else {
            "big/dump"
        };
        project
            .run(&["run"])
            .expect_code(4)
            .expect_words(&[&format!("{step} FAILED"), "of this machine is full"]);
        let report = project.report().to_string();
        assert!(
            report.contains("the half-written archive was removed"),
            "{report}"
        );
        // The archives of whole steps stay where they are needed: the restore may have met the full disk as well.
        let half_written = if delayed { "/big+delayed" } else { "/big" };
        let left: Vec<String> = below(&root)
            .into_iter()
            .map(|path| path.display().to_string())
            .filter(|path| path.contains(half_written))
            .collect();
        assert_eq!(left, Vec::<String>::new());
        compare::assert_same(&source, &target, "small");
        let logs = project.state_directory().join("log");
        assert!(!below(&logs).is_empty());
        disk.grow();
        project.run(&["run"]).expect_code(0);
        compare::assert_same(&source, &target, "big");
        for name in ["big", "small"] {
            target.psql("postgres", &format!("DROP DATABASE {name}"));
        }
    }
}

fn full_tablespace(target: &Server, directory: &Path) {
    give_to_server(directory);
    target.psql(
        "postgres",
        &format!(
            "CREATE TABLESPACE tight LOCATION {}",
            literal(&directory.display().to_string())
        ),
    );
}

/// A disk of the target is full, and the plan accepts every error of a restore: not this one.
#[test]
fn a_full_disk_of_the_target_is_no_error_to_accept() {
    if !may_mount() {
        return;
    }
    let (source, target) = servers();
    let scratch = Scratch::new();
    let directory = scratch.path().join("tight");
    let disk = SmallDisk::mount(&directory, 3000);
    give_to_server(scratch.path());
    full_tablespace(&target, &directory);
    let place = Scratch::new();
    give_to_server(place.path());
    source.psql(
        "postgres",
        &format!(
            "CREATE TABLESPACE tight LOCATION {}",
            literal(&place.path().display().to_string())
        ),
    );
    source.psql("big", "ALTER TABLE t SET TABLESPACE tight");
    let accept = "[[accept]]\ndatabase = \"*\"\nobject = \"*\"\nreason = \"whatever it is\"\n";
    let project = Project::between(&source, &target).with(accept);
    project.run(&["run"]).expect_code(4).expect_words(&[
        "big/restore FAILED",
        "a disk of the target server",
        "is full",
        "make room where the message says",
    ]);
    let report = fs::read_to_string(project.state_directory().join("report.json")).unwrap();
    assert!(!report.contains("\"object\""), "{report}");
    compare::assert_same(&source, &target, "small");
    disk.grow();
    project.run(&["run"]).expect_code(0);
    compare::assert_same(&source, &target, "big");
}

/// pg_wal has a volume of its own, as operators have it, and `max_wal_size` was chosen for it: the load keeps to that. What is loaded is
/// several times as much as fits there.
#[test]
fn a_small_volume_of_wal_does_not_fill() {
    if !may_mount() {
        return;
    }
    let source = Server::start(16);
    source.psql("postgres", "CREATE DATABASE big");
    source.psql(
        "big",
        "CREATE TABLE t AS SELECT n AS id, repeat(md5(n::text), 6) AS word FROM generate_series(1, 500000) n; \
         ALTER TABLE t ADD PRIMARY KEY (id)",
    );
    let mut image = Server::of(18)
        .set("max_wal_size", "32MB")
        .set("min_wal_size", "32MB")
        .start();
    image.stop(Mode::Fast);
    let mut volume = None;
    let mut target = image.twin_after(|data| {
        volume = Some(SmallDisk::mount(&data.join("pg_wal"), 144 * 1024));
    });
    let project = Project::between(&source, &target);
    let plan = project.run(&["plan", "--dry-run"]).expect_code(0).stdout;
    assert!(plan.contains("max_wal_size stays 32MB"), "{plan}");
    project.run(&["run"]).expect_code(0);
    assert!(target.is_up());
    compare::assert_same(&source, &target, "big");
    let written = "SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0') > 1.3 * 80 * 1024 * 1024";
    assert_eq!(target.psql("postgres", written), "t");
    target.stop(Mode::Fast);
    drop(volume);
}
