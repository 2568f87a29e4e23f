//! The file systems of this machine.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::sys::statvfs::statvfs;

/// The file system that a path is on, or will be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FileSystem {
    /// Where it is mounted.
    pub mounted_at: PathBuf,
    /// What a user like ours may still write, in bytes.
    pub free: u64,
}

impl FileSystem {
    /// `None` where the system does not tell.
    pub(crate) fn of(path: &Path) -> Option<FileSystem> {
        let existing = path
            .ancestors()
            .find(|path| path.symlink_metadata().is_ok())?;
        let existing = existing.canonicalize().ok()?;
        let device = |path: &Path| path.metadata().ok().map(|data| data.dev());
        let here = device(&existing)?;
        // Above where it is mounted is another.
        let mounted_at = existing
            .ancestors()
            .take_while(|path| device(path) == Some(here))
            .last()?;
        let numbers = statvfs(&existing).ok()?;
        Some(FileSystem {
            mounted_at: mounted_at.to_owned(),
            free: numbers.blocks_available() as u64 * numbers.fragment_size() as u64,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_is_not_there_yet_is_on_the_file_system_of_its_parents() {
        let directory = tempfile::tempdir().unwrap();
        let here = FileSystem::of(directory.path()).unwrap();
        let below = FileSystem::of(&directory.path().join("a/b")).unwrap();
        assert_eq!(here.mounted_at, below.mounted_at);
        assert!(directory.path().starts_with(&here.mounted_at));
        let processes = FileSystem::of(Path::new("/proc/self")).unwrap();
        assert_eq!(processes.mounted_at, Path::new("/proc"));
    }
}
