//! Files that are written whole: who reads one finds the old one or the new one, also after a crash.
//!
//! The crate `atomic-write-file` was considered. Its temporary files have random names, so that one that a killed run
//! left stays for ever, and it keeps the mode that the file had before.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::failpoint::reach;

/// Replaces the file, for its owner alone (mode 0600) from the first moment. It is on disk when this returns.
///
/// The caller holds the lock of the state directory, so that no two write the same file at the same time.
///
/// # Errors
///
/// Where the directory or the disk refuses; the old file stays as it is.
pub(crate) fn write(path: &Path, contents: &[u8]) -> io::Result<()> {
    let temporary = temporary(path);
    replace(&temporary, path, contents).inspect_err(|_| {
        // What the failed attempt left is of no use, and it may well be that it left nothing.
        let _ = fs::remove_file(&temporary);
    })
}

/// Always the same for a file, so that the next run removes what a killed one left.
fn temporary(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    path.with_file_name(name)
}

fn replace(temporary: &Path, path: &Path, contents: &[u8]) -> io::Result<()> {
    // What a killed run left may have any mode, and may be a link to elsewhere.
    match fs::remove_file(temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(temporary)?;
    file.write_all(contents)?;
    // Before the rename: a crash after it must not leave the new name with nothing behind it.
    file.sync_all()?;
    reach!("{} written", path.file_stem().unwrap_or_default().display());
    fs::rename(temporary, path)?;
    reach!("{} renamed", path.file_stem().unwrap_or_default().display());
    // The new name is on disk when its directory is.
    match path.parent() {
        Some(directory) if !directory.as_os_str().is_empty() => File::open(directory)?.sync_all(),
        _ => File::open(".")?.sync_all(),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn replaces_a_file_of_any_mode_by_a_private_one() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("plan.json");
        fs::write(&path, "an older plan").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        write(&path, b"a plan").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"a plan");
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 1);
    }

    #[test]
    fn what_a_killed_run_left_does_not_stay() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("plan.json");
        let elsewhere = directory.path().join("elsewhere");
        for (left, link) in [("{ half of", false), ("kept", true)] {
            if link {
                fs::write(&elsewhere, left).unwrap();
                symlink(&elsewhere, temporary(&path)).unwrap();
            } else {
                fs::write(temporary(&path), left).unwrap();
            }
            write(&path, b"a plan").unwrap();
            assert_eq!(fs::read(&path).unwrap(), b"a plan");
            assert!(!path.is_symlink() && !temporary(&path).exists());
        }
        assert_eq!(fs::read(&elsewhere).unwrap(), b"kept");
    }

    #[test]
    fn a_failed_write_leaves_what_was_there() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("plan.json");
        fs::create_dir(&path).unwrap();
        write(&path, b"a plan").unwrap_err();
        assert!(path.is_dir());
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 1);
    }
}
