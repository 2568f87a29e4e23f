//! The report on disk.

use std::io;
use std::path::{Path, PathBuf};

use miette::Diagnostic;

use super::Report;
use crate::atomic_file;
use crate::escape::escape_json;

/// Why a report could not be written.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[error(
    "the report could not be written to {}: {source}; nothing of the migration is lost, the journal \
     holds it: once the disk accepts files again, `pg-migrate report` prints it", path.display()
)]
#[diagnostic(help("look at the directory's permissions and at the free space of its file system"))]
pub(crate) struct FileError {
    path: PathBuf,
    source: io::Error,
}

/// The place of the report in a state directory.
pub(crate) fn path(state_dir: &Path) -> PathBuf {
    state_dir.join("report.json")
}

/// The report as JSON, with an end of line.
pub(crate) fn json(report: &Report) -> String {
    let text = serde_json::to_string_pretty(report).expect("a report has no keys but strings");
    escape_json(&text) + "\n"
}

/// Writes the report so that a reader finds the old one or the new one, whole. Mode 0600.
///
/// # Errors
///
/// Where the directory or the disk refuses; an older report stays as it is.
pub(crate) fn write(report: &Report, path: &Path) -> Result<(), FileError> {
    atomic_file::write(path, json(report).as_bytes()).map_err(|source| FileError {
        path: path.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::report::samples;

    #[test]
    fn writes_whole_private_files() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("report.json");
        fs::write(&path, "an older report").unwrap();
        let report = samples::report();
        write(&report, &path).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), json(&report));
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
}
