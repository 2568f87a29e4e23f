//! Directories of ours, in which nobody else on the machine can put or change anything: what is read from them is believed.
//!
//! Where all directories on the way are ours or root's, nobody else can put a link in the place of what was looked at.

use std::fs::{self, Metadata, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use fs_mistrust::Mistrust;
use nix::unistd::Uid;

/// Mode bits by which others than its owner may write to a file.
const WRITABLE_BY_OTHERS: u32 = 0o022;

/// Why a directory, or a file in one, is not ours.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("{}", sentence(.0))]
    Untrusted(#[from] fs_mistrust::Error),
    #[error("{}: {error}", .path.display())]
    Io { path: PathBuf, error: io::Error },
}

impl Error {
    fn io(path: &Path, error: io::Error) -> Error {
        let path = path.to_owned();
        Error::Io { path, error }
    }
}

/// What a person does about it.
pub(crate) const HELP: &str = "every directory on the way to it, as its links lead, has to belong to root or to the user who runs \
     pg-migrate, and nobody else may write to one (but for one with the sticky bit, as /tmp): change that (chown, chmod go-w), or \
     choose another directory";

fn sentence(error: &fs_mistrust::Error) -> String {
    match error {
        fs_mistrust::Error::BadOwner(path, uid) => format!(
            "{} belongs to another user (uid {uid}), who could change what is in it",
            path.display()
        ),
        fs_mistrust::Error::BadPermission(path, mode, _) => format!(
            "other users may write to {} (mode {:04o}), and could change what is in it",
            path.display(),
            mode & 0o7777
        ),
        fs_mistrust::Error::BadType(path) => format!("{} is not a directory", path.display()),
        fs_mistrust::Error::CreatingDir(error) => format!("it cannot be made: {error}"),
        fs_mistrust::Error::CouldNotInspect(path, error) => {
            format!("{} cannot be looked at: {error}", path.display())
        }
        error => error.to_string(),
    }
}

/// Makes the directory where it is missing, and closes it to others (mode 0700).
///
/// # Errors
///
/// A directory, one on the way to it as links lead, or something in it, that another user owns or may write to: then nothing was
/// changed.
pub(crate) fn make(directory: &Path) -> Result<(), Error> {
    // A group of the user's own name is the user.
    let mistrust = Mistrust::builder().ignore_environment().build()?;
    // Who could read what is in it changed nothing in it.
    let mut verifier = mistrust.verifier().permit_readable();
    verifier.make_directory(directory)?;
    let io = |error| Error::io(directory, error);
    // One of root's cannot be closed to others.
    ensure_owner(directory, &fs::metadata(directory).map_err(io)?, |_| false)?;
    for entry in fs::read_dir(directory).map_err(io)? {
        let path = entry.map_err(io)?.path();
        let metadata = path.symlink_metadata();
        let metadata = metadata.map_err(|error| Error::io(&path, error))?;
        ensure_owner(&path, &metadata, |owner| owner == 0)?;
        let mode = metadata.mode() & 0o7777;
        let others = mode & WRITABLE_BY_OTHERS;
        if metadata.is_file() && others != 0 {
            return Err(fs_mistrust::Error::BadPermission(path, mode, others).into());
        }
    }
    fs::set_permissions(directory, Permissions::from_mode(0o700)).map_err(io)
}

fn ensure_owner(
    path: &Path,
    metadata: &Metadata,
    is_trusted: impl Fn(u32) -> bool,
) -> Result<(), Error> {
    let owner = metadata.uid();
    if owner == Uid::effective().as_raw() || is_trusted(owner) {
        return Ok(());
    }
    Err(fs_mistrust::Error::BadOwner(path.to_owned(), owner).into())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{chown, symlink};

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    fn set_mode(path: &Path, mode: u32) {
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn one_that_is_missing_is_made_for_its_owner_alone() {
        let root = tempfile::tempdir().unwrap();
        let directory = root.path().join("a/b");
        make(&directory).unwrap();
        assert_eq!(mode(&directory), 0o700);
        // One that others could read is closed.
        set_mode(&directory, 0o755);
        make(&directory).unwrap();
        assert_eq!(mode(&directory), 0o700);
    }

    #[test]
    fn one_that_others_may_write_to_is_refused_and_left_as_it_is() {
        let root = tempfile::tempdir().unwrap();
        let (way, directory) = (root.path().join("a"), root.path().join("a/b"));
        fs::create_dir_all(&directory).unwrap();
        for open in [&way, &directory] {
            set_mode(open, 0o777);
            let made = make(&directory).unwrap_err().to_string();
            let words = format!("other users may write to {} (mode 0777)", open.display());
            assert!(made.contains(&words), "{made}");
            assert_eq!(mode(open), 0o777);
            set_mode(open, 0o755);
        }
        // In a directory with the sticky bit nobody moves what is another's.
        set_mode(&way, 0o1777);
        make(&directory).unwrap();
        // What would be made in one that others may write to could be moved away.
        set_mode(&way, 0o777);
        let missing = way.join("c/d");
        make(&missing).unwrap_err();
        assert!(!missing.exists() && !way.join("c").exists());
    }

    #[test]
    fn one_of_another_user_is_refused_also_behind_a_link() {
        let root = tempfile::tempdir().unwrap();
        let (directory, link) = (root.path().join("a"), root.path().join("link"));
        fs::create_dir(&directory).unwrap();
        symlink(&directory, &link).unwrap();
        make(&link.join("plan")).unwrap();
        if !Uid::effective().is_root() {
            return;
        }
        chown(&directory, Some(65534), None).unwrap();
        for path in [&directory, &link, &link.join("plan")] {
            let refused = make(path).unwrap_err().to_string();
            assert!(refused.contains("another user (uid 65534)"), "{refused}");
        }
        assert_eq!(mode(&directory), 0o755);
    }

    #[test]
    fn one_in_which_others_put_something_is_refused() {
        let root = tempfile::tempdir().unwrap();
        let (directory, file) = (root.path().join("a"), root.path().join("a/file"));
        fs::create_dir(&directory).unwrap();
        fs::write(&file, "").unwrap();
        symlink(&file, directory.join("link")).unwrap();
        make(&directory).unwrap();
        set_mode(&file, 0o666);
        let refused = make(&directory).unwrap_err().to_string();
        let words = format!("other users may write to {} (mode 0666)", file.display());
        assert!(refused.contains(&words), "{refused}");
        set_mode(&file, 0o600);
        make(&directory).unwrap();
        if Uid::effective().is_root() {
            chown(&file, Some(65534), None).unwrap();
            make(&directory).unwrap_err();
        }
    }
}
