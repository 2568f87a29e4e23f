//! The log's file: another one every day, and never a reason to stop.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

/// Days of logs that are kept.
const DAYS: usize = 14;

const PREFIX: &str = "pg-migrate.";
const SUFFIX: &str = ".log";

/// Writes events to a file a day (by UTC, as the times in it are). What cannot be written is lost: the disk may have room
/// for the next.
pub(super) struct LogFile {
    directory: PathBuf,
    /// The day's file, where it could be opened.
    open: Option<(Date, File)>,
}

impl LogFile {
    /// The log of this directory, which is made where it is missing; with the error where there is no file for now.
    pub(super) fn open(directory: &Path) -> (LogFile, Option<io::Error>) {
        let mut log = LogFile {
            directory: directory.to_owned(),
            open: None,
        };
        let error = log.turn_to(today()).err();
        (log, error)
    }

    fn turn_to(&mut self, day: Date) -> io::Result<&mut File> {
        let is_open = matches!(&self.open, Some((opened, _)) if *opened == day);
        if !is_open {
            self.open = None;
            fs::create_dir_all(&self.directory)?;
            let path = self.directory.join(format!("{PREFIX}{day}{SUFFIX}"));
            let file = OpenOptions::new().create(true).append(true).open(path)?;
            self.open = Some((day, file));
            remove_old(&self.directory)?;
        }
        match &mut self.open {
            Some((_, file)) => Ok(file),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }
}

fn today() -> Date {
    Timestamp::now().to_zoned(TimeZone::UTC).date()
}

/// Removes the oldest files where there are more than are kept. Their names sort by the day.
fn remove_old(directory: &Path) -> io::Result<()> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory)? {
        let name = entry?.file_name();
        let is_log = name
            .to_str()
            .and_then(|name| name.strip_prefix(PREFIX)?.strip_suffix(SUFFIX))
            .is_some_and(|day| day.parse::<Date>().is_ok());
        if is_log {
            files.push(name);
        }
    }
    files.sort();
    let many = files.len().saturating_sub(DAYS);
    for file in &files[..many] {
        fs::remove_file(directory.join(file))?;
    }
    Ok(())
}

impl Write for LogFile {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        // A log that cannot be written has no place to say so.
        let _ = self.turn_to(today()).and_then(|file| file.write_all(event));
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;

    fn names(directory: &Path) -> Vec<String> {
        let entries = fs::read_dir(directory).unwrap();
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn each_day_has_its_file_and_the_oldest_go() {
        let root = tempfile::tempdir().unwrap();
        let directory = root.path().join("log");
        let (mut log, error) = LogFile::open(&directory);
        assert!(error.is_none());
        fs::remove_file(directory.join(&names(&directory)[0])).unwrap();
        fs::write(directory.join("erp.dump.log"), "of a step").unwrap();
        for day in 1..=20 {
            let file = log.turn_to(date(2026, 1, day)).unwrap();
            file.write_all(b"event\n").unwrap();
        }
        let names = names(&directory);
        assert_eq!(names.len(), DAYS + 1);
        assert_eq!(names[0], "erp.dump.log");
        assert_eq!(names[1], "pg-migrate.2026-01-07.log");
        assert_eq!(names[DAYS], "pg-migrate.2026-01-20.log");
    }

    #[test]
    fn a_log_that_cannot_be_written_is_no_error_and_tried_again() {
        let root = tempfile::tempdir().unwrap();
        let directory = root.path().join("log");
        fs::write(&directory, "in the way").unwrap();
        let (mut log, error) = LogFile::open(&directory);
        assert!(error.is_some());
        log.write_all(b"lost\n").unwrap();
        fs::remove_file(&directory).unwrap();
        log.write_all(b"kept\n").unwrap();
        let file = directory.join(&names(&directory)[0]);
        assert_eq!(fs::read_to_string(file).unwrap(), "kept\n");
    }
}
