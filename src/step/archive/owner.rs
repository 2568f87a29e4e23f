//! Whose archives a directory holds: those of one state directory, by its id in a file.
//!
//! What is removed below `dump.root` was written by the same state directory. Another plan of the same name, and whoever
//! put a directory there, keep theirs.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::postgres::escape_control;
use crate::private_directory;
use crate::step::StepError;

/// The file's name. No archive has it: a point at the beginning of a database's name is encoded.
const FILE: &str = ".owner";

/// Databases come and go at the same time: what one finds in the directory is so until its turn is over.
pub(super) fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a directory's file says of its owner.
#[derive(Debug, PartialEq, Eq)]
enum Owner {
    None,
    /// The file was not written to its end.
    Torn,
    Known(String),
}

/// Makes the directory where it is missing, and `owner` its owner where it is empty.
///
/// # Errors
///
/// A directory that belongs to another state directory, or that is not empty and has no owner. It is left as it is.
pub(super) fn claim(directory: &Path, owner: &str) -> Result<(), StepError> {
    let failed = |error: io::Error| cannot_prepare(directory, &error);
    private_directory::make(directory).map_err(|error| {
        StepError::new(format!(
            "the directory {} is not used for archives: {error}",
            directory.display()
        ))
        .help(private_directory::HELP)
    })?;
    ensure_owned(directory, owner)?;
    match read(directory).map_err(failed)? {
        Owner::Known(_) => return Ok(()),
        Owner::Torn => fs::remove_file(directory.join(FILE)).map_err(failed)?,
        Owner::None => {}
    }
    write(directory, owner).map_err(failed)
}

/// Refuses a directory that is not `owner`'s and cannot become it. Writes nothing.
///
/// # Errors
///
/// As for [`claim`].
pub(crate) fn ensure_owned(directory: &Path, owner: &str) -> Result<(), StepError> {
    let failed = |error: io::Error| cannot_prepare(directory, &error);
    if !directory.try_exists().map_err(failed)? {
        return Ok(());
    }
    match read(directory).map_err(failed)? {
        Owner::Known(known) if known == owner => Ok(()),
        Owner::Known(known) => {
            let whose = format!(
                "holds archives of another state directory (id {}): of another plan of this name, or of this one before \
                 its state directory was removed",
                escape_control(&known)
            );
            Err(refused(directory, &whose))
        }
        _ if !is_empty_but_for_the_file(directory).map_err(failed)? => Err(refused(
            directory,
            "is not empty, and no run of this plan made what is in it",
        )),
        _ => Ok(()),
    }
}

pub(super) fn cannot_prepare(path: &Path, error: &io::Error) -> StepError {
    StepError::new(format!(
        "cannot prepare the archive's directory {}: {error}",
        path.display()
    ))
    .help("look at the permissions and the free space of dump.root")
}

fn refused(directory: &Path, whose: &str) -> StepError {
    StepError::new(format!(
        "the directory {} {whose}; nothing in it was touched",
        directory.display()
    ))
    .help(
        "choose another dump.root or another name of the plan, or remove the directory if what is in it is not needed, and \
         run again",
    )
}

/// Whether the directory belongs to `owner`.
pub(super) fn is(directory: &Path, owner: &str) -> io::Result<bool> {
    Ok(read(directory)? == Owner::Known(owner.to_owned()))
}

/// Removes the file where nothing else is in the directory any more.
pub(super) fn give_up(directory: &Path) -> io::Result<()> {
    if is_empty_but_for_the_file(directory)? {
        fs::remove_file(directory.join(FILE))?;
    }
    Ok(())
}

fn read(directory: &Path) -> io::Result<Owner> {
    let text = match fs::read(directory.join(FILE)) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Owner::None),
        Err(error) => return Err(error),
    };
    let text = String::from_utf8_lossy(&text);
    Ok(match text.strip_suffix('\n') {
        Some(owner) => Owner::Known(owner.to_owned()),
        None => Owner::Torn,
    })
}

/// On disk when it returns, before any archive is.
fn write(directory: &Path, owner: &str) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .create_new(true)
        .write(true)
        .mode(0o600)
        .open(directory.join(FILE))?;
    file.write_all(format!("{owner}\n").as_bytes())?;
    file.sync_all()?;
    File::open(directory)?.sync_all()
}

fn is_empty_but_for_the_file(directory: &Path) -> io::Result<bool> {
    for entry in fs::read_dir(directory)? {
        if entry?.file_name() != FILE {
            return Ok(false);
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::path::PathBuf;

    use super::super::{make_room, remove};
    use super::*;

    const OURS: &str = "0123abcd";
    const FOREIGN: &str = "89ab4567";

    struct Place {
        _root: tempfile::TempDir,
        plan: PathBuf,
    }

    fn place() -> Place {
        let root = tempfile::tempdir().unwrap();
        let plan = root.path().join("dumps/plan");
        Place { _root: root, plan }
    }

    impl Place {
        fn archive(&self, name: &str) -> PathBuf {
            self.plan.join(name)
        }

        /// What is refused, and that it stays.
        fn refusal(&self, keeps: &Path) -> String {
            let error = make_room(&self.archive("erp"), OURS).unwrap_err();
            assert!(keeps.exists(), "{keeps:?} is gone");
            let directory = self.plan.display().to_string();
            error.to_string().replace(&directory, "DIRECTORY")
        }
    }

    #[test]
    fn a_directory_has_its_owner_until_the_last_archive_is_gone() {
        let place = place();
        make_room(&place.archive("erp"), OURS).unwrap();
        let file = place.plan.join(FILE);
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&place.plan), 0o700);
        assert_eq!(mode(&place.archive("erp")), 0o700);
        assert_eq!(mode(&file), 0o600);
        assert_eq!(fs::read_to_string(&file).unwrap(), "0123abcd\n");
        // Half-written, and dumped again.
        fs::write(place.archive("erp").join("toc.dat"), "x").unwrap();
        make_room(&place.archive("erp"), OURS).unwrap();
        assert!(!place.archive("erp").join("toc.dat").exists());

        make_room(&place.archive("crm"), OURS).unwrap();
        remove(&place.archive("erp"), OURS).unwrap();
        assert!(file.exists() && place.archive("crm").exists());
        remove(&place.archive("crm"), OURS).unwrap();
        fs::remove_dir(&place.plan).unwrap();
        // As after a kill between removing it and saying so.
        remove(&place.archive("crm"), OURS).unwrap();
    }

    #[test]
    fn foreign_files_stay() {
        let place = place();
        let file = place.archive("erp").join("precious");
        fs::create_dir_all(place.archive("erp")).unwrap();
        fs::write(&file, "x").unwrap();
        insta::assert_snapshot!(place.refusal(&file), @"
        the directory DIRECTORY is not empty, and no run of this plan made what is in it; nothing in it was touched
        choose another dump.root or another name of the plan, or remove the directory if what is in it is not needed, and run again
        ");

        remove(&place.archive("erp"), OURS).unwrap();
        assert!(file.exists());
    }

    #[test]
    fn archives_of_another_state_directory_stay() {
        let place = place();
        make_room(&place.archive("erp"), FOREIGN).unwrap();
        insta::assert_snapshot!(place.refusal(&place.archive("erp")), @"
        the directory DIRECTORY holds archives of another state directory (id 89ab4567): of another plan of this name, or of this one before its state directory was removed; nothing in it was touched
        choose another dump.root or another name of the plan, or remove the directory if what is in it is not needed, and run again
        ");

        remove(&place.archive("erp"), OURS).unwrap();
        assert!(place.archive("erp").exists());
    }

    /// A crash may leave the file without its contents, or with half of them.
    #[test]
    fn a_torn_file_names_no_owner() {
        for torn in ["", "0123"] {
            let place = place();
            fs::create_dir_all(&place.plan).unwrap();
            fs::write(place.plan.join(FILE), torn).unwrap();
            make_room(&place.archive("erp"), OURS).unwrap();
            assert!(is(&place.plan, OURS).unwrap());

            fs::write(place.plan.join(FILE), torn).unwrap();
            let message = place.refusal(&place.archive("erp"));
            assert!(message.contains("is not empty"), "{message}");
        }
    }
}
