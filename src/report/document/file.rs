//! The report on disk.

use std::path::{Path, PathBuf};
use std::{fs, io};

use miette::Diagnostic;

use super::Report;
use crate::atomic_file;
use crate::escape::escape_json;

/// Why a report could not be written or read.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub enum FileError {
    #[error(
        "the report could not be written to {}: {source}; nothing of the migration is lost, the journal \
         holds it: once the disk accepts files again, `pg-migrate report` prints it", path.display()
    )]
    #[diagnostic(help(
        "look at the directory's permissions and at the free space of its file system"
    ))]
    Write { path: PathBuf, source: io::Error },
    #[error("the report {} could not be read: {source}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error(
        "{} is not a report of this program: {source}; `pg-migrate run` writes a new one", path.display()
    )]
    Damaged {
        path: PathBuf,
        source: serde_json::Error,
    },
}

/// The place of the report in a state directory.
pub fn path(state_dir: &Path) -> PathBuf {
    state_dir.join("report.json")
}

/// The report as JSON, with an end of line.
pub fn json(report: &Report) -> String {
    let text = serde_json::to_string_pretty(report).expect("a report has no keys but strings");
    escape_json(&text) + "\n"
}

/// Writes the report so that a reader finds the old one or the new one, whole. Mode 0600.
///
/// # Errors
///
/// Where the directory or the disk refuses; an older report stays as it is.
pub fn write(report: &Report, path: &Path) -> Result<(), FileError> {
    atomic_file::write(path, json(report).as_bytes()).map_err(|source| FileError::Write {
        path: path.to_owned(),
        source,
    })
}

/// # Errors
///
/// Where the file is not there, cannot be read, or holds something else.
pub fn read(path: &Path) -> Result<Report, FileError> {
    let text = fs::read(path).map_err(|source| FileError::Read {
        path: path.to_owned(),
        source,
    })?;
    serde_json::from_slice(&text).map_err(|source| FileError::Damaged {
        path: path.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::report::samples;

    #[test]
    fn writes_whole_private_files_and_reads_them_back() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("report.json");
        fs::write(&path, "an older report").unwrap();
        let report = samples::report();
        write(&report, &path).unwrap();
        assert_eq!(read(&path).unwrap(), report);
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let names: Vec<_> = fs::read_dir(&directory)
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        assert_eq!(names, ["report.json"]);
    }

    #[test]
    fn a_failed_write_leaves_nothing_and_says_where() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("report.json");
        fs::create_dir(&path).unwrap();
        let error = write(&samples::report(), &path).unwrap_err().to_string();
        assert!(error.contains(path.to_str().unwrap()), "{error}");
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 1);
    }

    #[test]
    fn something_else_is_not_a_report() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("report.json");
        assert!(matches!(read(&path), Err(FileError::Read { .. })));
        fs::write(&path, "{}").unwrap();
        assert!(matches!(read(&path), Err(FileError::Damaged { .. })));
    }
}
