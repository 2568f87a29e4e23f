//! What the databases hold is on disk for the one who migrates them alone, and no password is at all.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::support::fill;
use super::support::project::Project;
use super::support::proxy::Proxy;
use super::support::server::Server;

/// The uid of the user `nobody`.
const NOBODY: u32 = 65534;

/// Everything below the directory, itself among it; what vanishes meanwhile is left out.
fn all_below(path: &Path, found: &mut Vec<PathBuf>) {
    found.push(path.to_owned());
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    for entry in entries {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => all_below(&entry.path(), found),
            _ => found.push(entry.path()),
        }
    }
}

/// The files and directories of a plan, and how many of them are files. Fails where others may use one.
fn assert_private(project: &Project) -> usize {
    let mut files = 0;
    for root in [".pg-migrate", "pg_dumps"] {
        let mut found = Vec::new();
        all_below(&project.directory().join(root), &mut found);
        for path in found {
            let Ok(metadata) = path.symlink_metadata() else {
                continue;
            };
            let mode = metadata.permissions().mode() & 0o777;
            let expected = if metadata.is_dir() { 0o700 } else { 0o600 };
            assert_eq!(mode, expected, "{} has mode {mode:o}", path.display());
            files += usize::from(metadata.is_file());
        }
    }
    files
}

/// The files below the project's directory, those for temporary files and the user's own among them, that
/// hold one of the texts.
fn files_with(project: &Project, texts: &[&str]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    all_below(project.directory(), &mut found);
    found.retain(|path| {
        let bytes = fs::read(path).unwrap_or_default();
        let holds = |text: &&str| {
            bytes
                .windows(text.len())
                .any(|part| part == text.as_bytes())
        };
        texts.iter().any(holds)
    });
    found
}

#[test]
fn no_other_user_can_read_what_a_run_writes_and_no_password_is_written() {
    let (source, target) = (Server::start(14), Server::start(18));
    fill::plain(&source, 3, 500);
    let proxy = Proxy::to(source.port());
    proxy.set_delay(Duration::from_millis(10));
    let project = Project::between(&source, &target)
        .source("port", &proxy.port().to_string())
        .with("[dump]\nroot = \"pg_dumps\"\nkeep = true\n")
        .umask(0o000);
    let temporary = project.directory().join("tmp");
    fs::create_dir(&temporary).unwrap();
    let project = project.variable("TMPDIR", temporary);
    let passwords = [source.password(), target.password()];

    let mut running = project.start(&["run"]);
    let archive = project.directory().join("pg_dumps/test/db2");
    running.until("an archive", || {
        assert_private(&project);
        archive.join("toc.dat").exists()
    });
    running.kill9();
    assert_eq!(running.wait().signal, Some(9));
    assert_eq!(files_with(&project, &passwords), [] as [PathBuf; 0]);
    assert!(assert_private(&project) > 5);

    proxy.set_delay(Duration::ZERO);
    project.run(&["run"]).expect_code(0);
    assert!(archive.join("toc.dat").exists(), "dump.keep keeps archives");
    assert!(assert_private(&project) > 10);
    assert_eq!(files_with(&project, &passwords), [] as [PathBuf; 0]);
}

#[test]
fn what_another_user_could_have_put_there_is_not_believed() {
    let (source, target) = (Server::start(16), Server::start(18));
    fill::plain(&source, 1, 10);
    target.psql("postgres", "CREATE DATABASE db1");
    target.psql("db1", "CREATE TABLE of_a_client (id int)");
    let project = Project::between(&source, &target).with("[dump]\nroot = \"pg_dumps\"\n");
    let set_mode = |path: &Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };

    // A record that another user planted: this plan made what has that name on the target, and may drop it.
    let oid = target.psql(
        "postgres",
        "SELECT oid FROM pg_database WHERE datname = 'db1'",
    );
    let state = project.state_directory();
    fs::create_dir_all(&state).unwrap();
    let record = format!(
        r#"{{"v":2,"at":"2026-01-01T00:00:00Z","entry":{{"change":{{"change":{{"change":"created-database","database":"db1","oid":{oid}}}}}}}}}"#
    );
    let journal = state.join("journal.jsonl");
    fs::write(&journal, record).unwrap();
    chown(&state, Some(NOBODY), None).unwrap();
    let commands: [&[&str]; 5] = [
        &["run"],
        &["plan"],
        &["revert"],
        &["reset"],
        &["discard", "--all", "--yes"],
    ];
    for command in commands {
        project
            .run(command)
            .expect_code(3)
            .says(&["the state directory", "belongs to another user (uid 65534)"]);
    }
    // His directory is nobody's way in either where he gives it away: what is in it is still his.
    chown(&state, Some(0), None).unwrap();
    chown(&journal, Some(NOBODY), None).unwrap();
    project
        .run(&["run"])
        .expect_code(3)
        .says(&["journal.jsonl belongs to another user (uid 65534)"]);
    fs::remove_dir_all(&state).unwrap();
    assert_eq!(target.psql("db1", "SELECT count(*) FROM of_a_client"), "0");
    target.psql("postgres", "DROP DATABASE db1");

    // Archives of another user's.
    let root = project.directory().join("pg_dumps");
    fs::create_dir(&root).unwrap();
    set_mode(&root, 0o777);
    project.run(&["run"]).expect_code(3).says(&[
        "the directory",
        "is not used for archives: other users may write to",
        "(mode 0777)",
    ]);
    assert_eq!(fs::read_dir(&root).unwrap().count(), 0);
    assert_eq!(
        target.psql(
            "postgres",
            "SELECT count(*) FROM pg_database WHERE datname = 'db1'"
        ),
        "0"
    );
    // As the help says.
    set_mode(&root, 0o755);
    project.run(&["run"]).expect_code(0);
}
