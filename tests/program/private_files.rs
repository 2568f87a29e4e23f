//! What the databases hold is on disk for the one who migrates them alone, and no password is at all.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::support::fill;
use super::support::project::Project;
use super::support::proxy::Proxy;
use super::support::server::Server;

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
