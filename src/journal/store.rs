//! The journal's file, and the lock of the state directory.

use std::collections::hash_map::RandomState;
use std::fs::{File, OpenOptions, TryLockError};
use std::hash::BuildHasher;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use miette::Diagnostic;

use super::record::{Entry, Record, VERSION};
use super::replay::{Illegal, replay};
use super::state::State;
use crate::failpoint::reach;
use crate::private_directory;

/// What can go wrong with the state directory.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub(crate) enum Error {
    #[error("cannot {action} {}", path.display())]
    #[diagnostic(help(
        "look at the directory's permissions and at the free space of its file system"
    ))]
    Io {
        action: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    #[error("cannot write {}, and what is not on record is not done", path.display())]
    #[diagnostic(help(
        "make room on its file system, or fix the cause; then `pg-migrate run` goes on from the last \
         record that is there"
    ))]
    Write { path: PathBuf, source: io::Error },
    #[error("the state directory {} is not used: {why}", path.display())]
    #[diagnostic(help(
        "what is in it decides what may be dropped and what the settings of the target were: {}",
        private_directory::HELP
    ))]
    NotOurs {
        path: PathBuf,
        why: private_directory::Error,
    },
    #[error("another run holds this plan's state ({})", path.display())]
    #[diagnostic(help(
        "wait until it has ended, or stop it; `pg-migrate status` shows how far it is"
    ))]
    Held { path: PathBuf },
    #[error("{} is damaged in line {line}: {why}", path.display())]
    #[diagnostic(help(
        "the journal is the only record of what is done, and of the target's settings before the load, so nothing goes \
         on from it; restore the file from a backup, or start again from nothing, in this order:\n\
         1. on the target, SELECT name, setting FROM pg_file_settings WHERE sourcefile LIKE '%postgresql.auto.conf': a \
         killed run may have left its settings for the load there (fsync, full_page_writes, synchronous_commit, \
         autovacuum = off, and others), and a new run would take them for yours and leave them so. ALTER SYSTEM RESET \
         each that is not yours (the journal's alter-system records say what was set before), SELECT \
         pg_reload_conf(), look at pg_settings, then CHECKPOINT and sync\n\
         2. drop what this plan created on the target\n\
         3. move the state directory away, but do not remove it"
    ))]
    Damaged {
        path: PathBuf,
        line: u64,
        why: Illegal,
    },
    #[error("{} cannot be read: {why}", path.display())]
    #[diagnostic(help("use the version of pg-migrate that started this run, or a later one"))]
    Newer { path: PathBuf, why: Illegal },
    /// A fault of this program: it was about to write a record that no replay would take.
    #[error("the journal would become illegal: {0}")]
    Illegal(#[from] Illegal),
}

fn io_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::Io {
        action,
        path,
        source,
    }
}

/// The state directory, held by this process and no other until it is dropped or the process dies.
#[derive(Debug)]
pub(crate) struct Lock {
    id: String,
    _file: File,
}

impl Lock {
    /// Makes the directory where it is missing (mode 0700) and takes its lock.
    ///
    /// # Errors
    ///
    /// [`Error::NotOurs`] where others could change what is in it, before anything is read; [`Error::Held`] where another process has
    /// it.
    pub(crate) fn take(directory: &Path) -> Result<Lock, Error> {
        private_directory::make(directory).map_err(|why| Error::NotOurs {
            path: directory.to_owned(),
            why,
        })?;
        let path = directory.join("lock");
        let mut file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .mode(0o600)
            .open(&path)
            .map_err(io_error("open", &path))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(Error::Held {
                    path: directory.to_owned(),
                });
            }
            Err(TryLockError::Error(error)) => return Err(io_error("lock", &path)(error)),
        }
        let id = identify(&mut file).map_err(io_error("write", &path))?;
        Ok(Lock { id, _file: file })
    }

    /// What tells this state directory from all others, as long as it exists: eight hexadecimal digits.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// That of a state directory, if it has one, without taking it.
    pub(crate) fn id_of(directory: &Path) -> Option<String> {
        let id = std::fs::read_to_string(directory.join("lock")).ok()?;
        let id = id.strip_suffix('\n').filter(|id| id.len() == 8)?;
        Some(id.to_owned())
    }

    /// Whether a process holds the state directory now.
    pub(crate) fn is_held(directory: &Path) -> bool {
        let Ok(file) = File::open(directory.join("lock")) else {
            return false;
        };
        // A shared lock that is taken for a moment does not get in the way of other readers.
        matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock))
    }
}

/// The id in the lock file, or a new one where there is none yet.
fn identify(file: &mut File) -> io::Result<String> {
    let mut id = String::new();
    // What a crash left of a first writing is none.
    if file.read_to_string(&mut id).is_ok() && id.len() == 9 && id.ends_with('\n') {
        id.truncate(8);
        return Ok(id);
    }
    let random = RandomState::new().hash_one(std::process::id());
    let id = format!("{:08x}", random as u32);
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{id}")?;
    file.sync_all()?;
    Ok(id)
}

/// The journal, open for appending. Every record is on disk when `append` returns.
#[derive(Debug)]
pub(crate) struct Journal {
    path: PathBuf,
    file: File,
    /// Bytes of the file up to the end of its last whole record.
    whole: u64,
    /// A record could not be written. None may follow it: a step's end without its start, say, or what
    /// was done on the strength of a step that is not on record as done.
    failed: bool,
    state: State,
    lock: Lock,
}

impl Journal {
    /// Opens or makes `<directory>/journal.jsonl` and replays it. What a crash tore is cut off.
    ///
    /// # Errors
    ///
    /// A journal that cannot be read or is damaged. It is left as it is.
    pub(crate) fn open(directory: &Path, lock: Lock) -> Result<Journal, Error> {
        let path = directory.join(FILE);
        let mut file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .mode(0o600)
            .open(&path)
            .map_err(io_error("open", &path))?;
        let mut text = Vec::new();
        file.read_to_end(&mut text)
            .map_err(io_error("read", &path))?;
        let replayed = replay_file(&path, &text)?;
        let mut open = || -> io::Result<()> {
            if replayed.whole < text.len() as u64 {
                file.set_len(replayed.whole)?;
            }
            file.seek(SeekFrom::Start(replayed.whole))?;
            file.sync_all()?;
            // The file's name is on disk only when its directory is.
            File::open(directory)?.sync_all()
        };
        open().map_err(io_error("prepare", &path))?;
        Ok(Journal {
            path,
            file,
            whole: replayed.whole,
            failed: false,
            state: replayed.state,
            lock,
        })
    }

    /// Writes a record and waits until it is on disk.
    ///
    /// # Errors
    ///
    /// Where it cannot be written: then it must be taken for not written, the file ends with the record
    /// before it, and no more are taken.
    pub(crate) fn append(&mut self, entry: Entry) -> Result<(), Error> {
        if self.failed {
            let earlier = io::Error::other("a record before this one could not be written");
            return Err(self.write_error(earlier));
        }
        let record = Record {
            v: VERSION,
            at: Timestamp::now(),
            entry,
        };
        #[cfg(debug_assertions)]
        let point = record.entry.to_string();
        let mut line = serde_json::to_vec(&record).expect("a record can be written as JSON");
        line.push(b'\n');
        self.state.apply(record)?;
        reach!("journal {point} before");
        let written = self
            .file
            .write_all(&line)
            .inspect(|()| reach!("journal {point} written"));
        if let Err(error) = written.and_then(|()| self.file.sync_data()) {
            self.failed = true;
            // As far as it goes: a last line that is torn, the next run cuts off.
            let _ = self.file.set_len(self.whole);
            let _ = self.file.sync_all();
            return Err(self.write_error(error));
        }
        self.whole += line.len() as u64;
        reach!("journal {point} synced");
        Ok(())
    }

    fn write_error(&self, source: io::Error) -> Error {
        Error::Write {
            path: self.path.clone(),
            source,
        }
    }

    /// See [`Lock::id`].
    pub(crate) fn id(&self) -> &str {
        self.lock.id()
    }

    /// What the journal says, with every record that was appended, and one that could not be written.
    pub(crate) fn state(&self) -> &State {
        &self.state
    }
}

/// The journal's name in the state directory.
const FILE: &str = "journal.jsonl";

/// The journal's file.
pub(crate) fn path(directory: &Path) -> PathBuf {
    directory.join(FILE)
}

fn replay_file(path: &Path, text: &[u8]) -> Result<super::replay::Replay, Error> {
    replay(text).map_err(|damage| match damage.why {
        why @ Illegal::Newer(_) => Error::Newer {
            path: path.to_owned(),
            why,
        },
        why => Error::Damaged {
            path: path.to_owned(),
            line: damage.line,
            why,
        },
    })
}

/// Replays the journal of a state directory without taking its lock, also while a run writes to it.
/// `None`: nothing was run yet.
///
/// # Errors
///
/// A journal that cannot be read or is damaged.
pub(crate) fn read(directory: &Path) -> Result<Option<State>, Error> {
    let path = directory.join(FILE);
    let text = match std::fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(io_error("read", &path)(error)),
    };
    Ok(Some(replay_file(&path, &text)?.state))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn run() -> Entry {
        Entry::RunStarted {
            program: "0.1.0".into(),
            fingerprint: "sha256:0".into(),
            source: None,
            target: None,
            findings: Vec::new(),
            databases: None,
        }
    }

    fn open(directory: &Path) -> Result<Journal, Error> {
        Journal::open(directory, Lock::take(directory)?)
    }

    #[test]
    fn what_was_appended_is_there_after_a_crash() {
        let root = tempfile::tempdir().unwrap();
        let directory = root.path().join("state/plan");
        assert_eq!(read(&directory).unwrap(), None);
        let mut journal = open(&directory).unwrap();
        journal.append(run()).unwrap();
        drop(journal);
        let path = directory.join("journal.jsonl");
        let mut file = OpenOptions::new().append(true).open(&path).unwrap();
        file.write_all(b"{\"v\":1,\"at\":\"20").unwrap();

        let mut journal = open(&directory).unwrap();
        assert_eq!(journal.state().runs.len(), 1);
        journal.append(run()).unwrap();
        assert_eq!(read(&directory).unwrap().unwrap().runs.len(), 2);
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&directory), 0o700);
        assert_eq!(mode(&path), 0o600);
    }

    /// Where to find itself again, as a process of its own with a limit on the size of files.
    const LIMITED: &str = "PG_MIGRATE_TEST_LIMITED";

    #[test]
    fn a_record_that_does_not_fit_leaves_no_half_of_itself() {
        if std::env::var_os(LIMITED).is_none() {
            return in_a_process_with_a_limit(
                "journal::store::tests::a_record_that_does_not_fit_leaves_no_half_of_itself",
            );
        }
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("journal.jsonl");
        let mut journal = open(root.path()).unwrap();
        let mut whole = Vec::new();
        let error = loop {
            match journal.append(run()) {
                Ok(()) => whole = std::fs::read(&path).unwrap(),
                Err(error) => break error,
            }
        };
        let help = miette::Diagnostic::help(&error).unwrap().to_string();
        assert!(help.contains("make room"), "{help}");
        assert!(matches!(error, Error::Write { source, .. } if source.raw_os_error().is_some()));
        // Nothing of the record is left, and what could leave a gap is refused.
        assert!(!whole.is_empty());
        assert_eq!(std::fs::read(&path).unwrap(), whole);
        assert!(journal.append(run()).is_err());
        assert_eq!(std::fs::read(&path).unwrap(), whole);
        drop(journal);
        let lines = whole.iter().filter(|byte| **byte == b'\n').count();
        assert_eq!(open(root.path()).unwrap().state().runs.len(), lines);
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "a limit of this process would be one for all its tests"
    )]
    fn in_a_process_with_a_limit(test: &str) {
        // Ignored, the signal becomes an error of the write.
        let script = r#"trap "" XFSZ; ulimit -f 1; exec "$0" --exact "$1" --nocapture"#;
        let ended = std::process::Command::new("sh")
            .args(["-c", script])
            .arg(std::env::current_exe().unwrap())
            .arg(test)
            .env(LIMITED, "1")
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&ended.stdout);
        assert!(
            ended.status.success() && said.contains("1 passed"),
            "{ended:?}"
        );
    }

    #[test]
    fn a_directory_that_other_users_could_enter_is_closed_to_them() {
        let root = tempfile::tempdir().unwrap();
        let directory = root.path().join("state");
        std::fs::create_dir(&directory).unwrap();
        std::fs::set_permissions(&directory, std::fs::Permissions::from_mode(0o755)).unwrap();
        Lock::take(&directory).unwrap();
        let mode = directory.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
    }

    #[test]
    fn errors_say_what_to_do() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("journal.jsonl");
        let mut journal = open(root.path()).unwrap();
        journal.append(run()).unwrap();
        drop(journal);
        let whole = std::fs::read_to_string(&path).unwrap();
        let said = |line: &str| {
            let text = format!("{whole}{line}\n{whole}");
            std::fs::write(&path, &text).unwrap();
            let error = open(root.path()).unwrap_err();
            assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
            let help = miette::Diagnostic::help(&error).unwrap().to_string();
            format!("{error}\n  {help}").replace(&root.path().display().to_string(), "STATE")
        };
        insta::assert_snapshot!(said(r#"{"v":2,"at""#), @r#"
        STATE/journal.jsonl is damaged in line 2: it is not a record: EOF while parsing an object, at column 11
          the journal is the only record of what is done, and of the target's settings before the load, so nothing goes on from it; restore the file from a backup, or start again from nothing, in this order:
        1. on the target, SELECT name, setting FROM pg_file_settings WHERE sourcefile LIKE '%postgresql.auto.conf': a killed run may have left its settings for the load there (fsync, full_page_writes, synchronous_commit, autovacuum = off, and others), and a new run would take them for yours and leave them so. ALTER SYSTEM RESET each that is not yours (the journal's alter-system records say what was set before), SELECT pg_reload_conf(), look at pg_settings, then CHECKPOINT and sync
        2. drop what this plan created on the target
        3. move the state directory away, but do not remove it
        "#);
        insta::assert_snapshot!(said(r#"{"v":3,"at":"2030-01-01T00:00:00Z","entry":7}"#), @r#"
        STATE/journal.jsonl cannot be read: it was written by a newer pg-migrate (format 3, this program knows 2)
          use the version of pg-migrate that started this run, or a later one
        "#);
    }

    #[test]
    fn a_second_holder_is_refused() {
        let root = tempfile::tempdir().unwrap();
        let first = Lock::take(root.path()).unwrap();
        assert!(matches!(Lock::take(root.path()), Err(Error::Held { .. })));
        let id = first.id().to_owned();
        drop(first);
        assert_eq!(Lock::take(root.path()).unwrap().id(), id);
        let other = tempfile::tempdir().unwrap();
        assert_ne!(Lock::take(other.path()).unwrap().id(), id);
    }

    #[test]
    fn a_torn_id_is_replaced() {
        let root = tempfile::tempdir().unwrap();
        std::fs::write(root.path().join("lock"), "12ab").unwrap();
        let id = Lock::take(root.path()).unwrap().id().to_owned();
        assert_eq!(id.len(), 8);
        assert_eq!(Lock::take(root.path()).unwrap().id(), id);
    }

    #[test]
    fn a_damaged_journal_is_left_as_it_is() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("journal.jsonl");
        std::fs::write(&path, "garbage\ngarbage\n").unwrap();
        let error = open(root.path()).unwrap_err();
        assert!(matches!(error, Error::Damaged { line: 1, .. }));
        assert_eq!(
            std::fs::read_to_string(&path).unwrap(),
            "garbage\ngarbage\n"
        );
    }
}
