//! Archives on disk: room for a new one, and whether one is still as it was written.
//!
//! pg_dump's directory format (PostgreSQL manual, "pg_dump", `--format=directory`) is a directory of plain
//! files, a table of contents among them.

mod owner;

pub(crate) use owner::ensure_owned;

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use sha2::{Digest, Sha256};
use tokio_util::sync::CancellationToken;

use super::{Context, StepError};
use crate::escape::hexadecimal;
use crate::names::ArchiveSeal;

/// What is read at a time.
const BLOCK: usize = 1 << 20;

/// Makes an empty directory for the archive, in a parent that belongs to `owner`. An archive that is there is
/// removed: a half-written one, since a whole one would not be dumped again.
pub(super) fn make_room(archive: &Path, owner: &str) -> Result<(), StepError> {
    let _turn = owner::turn();
    owner::claim(archive.parent().unwrap_or(archive), owner)?;
    let make = || -> io::Result<()> {
        match fs::remove_dir_all(archive) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        // pg_dump takes an empty directory.
        fs::DirBuilder::new().mode(0o700).create(archive)
    };
    make().map_err(|error| owner::cannot_prepare(archive, &error))
}

/// Removes an archive that nothing needs any more. One that is not `owner`'s stays.
pub(crate) fn remove(archive: &Path, owner: &str) -> Result<(), StepError> {
    let _turn = owner::turn();
    let parent = archive.parent().unwrap_or(archive);
    let remove = || -> io::Result<()> {
        if !owner::is(parent, owner)? {
            return Ok(());
        }
        match fs::remove_dir_all(archive) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        owner::give_up(parent)
    };
    remove().map_err(|error| {
        StepError::new(format!(
            "cannot remove the archive {}: {error}; nothing needs it any more: remove it by hand",
            archive.display()
        ))
    })
}

/// The directories in this one that hold nothing but what `pg_dump` writes in its directory format, be it whole or not, and lists of what
/// is in it, as the restore makes them.
pub(crate) fn archives_in(directory: &Path) -> Vec<PathBuf> {
    let entries = |directory: &Path| -> Vec<PathBuf> {
        let entries = fs::read_dir(directory).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).collect()
    };
    let is_of_archive = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let is_named =
            name.contains(".dat") || [".toc", ".list"].iter().any(|end| name.ends_with(end));
        is_named && !path.is_dir()
    };
    let mut archives = entries(directory);
    archives.retain(|path| path.is_dir() && entries(path).iter().all(is_of_archive));
    archives
}

/// The bytes of the files in a directory, as far as they can be read.
pub(super) async fn bytes(archive: &Path) -> u64 {
    let archive = archive.to_owned();
    let sum = move || files(&archive).map_or(0, |files| files.iter().map(|(_, bytes)| bytes).sum());
    tokio::task::spawn_blocking(sum).await.unwrap_or(0)
}

/// Reads the whole archive, in as many threads as there are jobs.
///
/// # Errors
///
/// Files that cannot be read; [`io::ErrorKind::Interrupted`] when `stop` is cancelled.
pub(crate) async fn seal(
    archive: &Path,
    jobs: u32,
    stop: &CancellationToken,
) -> io::Result<ArchiveSeal> {
    let (archive, stop) = (archive.to_owned(), stop.clone());
    tokio::task::spawn_blocking(move || read(&archive, jobs, &stop))
        .await
        .map_err(io::Error::other)?
}

/// Whether the archive is as it was when it was sealed. Its size is looked at first.
///
/// # Errors
///
/// As [`seal`].
pub(crate) async fn is_as_sealed(
    archive: &Path,
    sealed: &ArchiveSeal,
    jobs: u32,
    stop: &CancellationToken,
) -> io::Result<bool> {
    let list = files(archive)?;
    let same_size = list.len() as u64 == sealed.files
        && list.iter().map(|(_, bytes)| bytes).sum::<u64>() == sealed.bytes;
    Ok(same_size && seal(archive, jobs, stop).await? == *sealed)
}

/// Reads the archive again before it is restored: what another user or process wrote to it since it was made is no dump of the source.
///
/// # Errors
///
/// An archive that is not as it was, or cannot be read.
pub(super) async fn ensure_as_sealed(
    context: &Context,
    archive: &Path,
    sealed: &ArchiveSeal,
) -> Result<(), StepError> {
    let as_sealed = is_as_sealed(archive, sealed, context.step().jobs, &context.stop).await;
    let what = match as_sealed {
        Ok(true) => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::Interrupted => {
            return Err(StepError::interrupted());
        }
        Ok(false) => "is not as it was when it was dumped".to_owned(),
        Err(error) => format!("cannot be read: {error}"),
    };
    Err(StepError::new(format!(
        "the archive {} of database \"{}\" {what}; nothing was restored from it",
        archive.display(),
        context.shown_database()
    ))
    .help("find out what wrote to it, and run again: what is not as it was is dumped again"))
}

/// The ending of files that a load puts beside those of pg_dump, for `pg_restore --use-list`.
pub(super) const LIST: &str = "list";

/// Names and sizes of the files of pg_dump, in the order of their names.
fn files(archive: &Path) -> io::Result<Vec<(PathBuf, u64)>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(archive)? {
        let entry = entry?;
        let path = entry.path();
        if path.extension().is_none_or(|ending| ending != LIST) {
            files.push((path, entry.metadata()?.len()));
        }
    }
    files.sort();
    Ok(files)
}

fn read(archive: &Path, jobs: u32, stop: &CancellationToken) -> io::Result<ArchiveSeal> {
    let files = files(archive)?;
    let left = Mutex::new(files.iter().enumerate());
    let digests = Mutex::new(vec![String::new(); files.len()]);
    std::thread::scope(|threads| {
        let work = || -> io::Result<()> {
            loop {
                let next = left.lock().expect("no thread panicked").next();
                let Some((position, (path, _))) = next else {
                    return Ok(());
                };
                let digest = digest(path, stop)?;
                digests.lock().expect("no thread panicked")[position] = digest;
            }
        };
        let workers: Vec<_> = (0..jobs.max(1)).map(|_| threads.spawn(work)).collect();
        workers
            .into_iter()
            .try_for_each(|worker| worker.join().expect("no thread panicked"))
    })?;
    let mut whole = Sha256::new();
    let digests = digests.into_inner().expect("no thread panicked");
    for ((path, bytes), digest) in files.iter().zip(&digests) {
        let name = path.file_name().unwrap_or_default();
        whole.update(name.as_encoded_bytes());
        whole.update(format!("\0{bytes} {digest}\n"));
    }
    Ok(ArchiveSeal {
        files: files.len() as u64,
        bytes: files.iter().map(|(_, bytes)| bytes).sum(),
        digest: hexadecimal(&whole.finalize()),
    })
}

fn digest(path: &Path, stop: &CancellationToken) -> io::Result<String> {
    let mut file = File::open(path)?;
    let mut block = vec![0; BLOCK];
    let mut hash = Sha256::new();
    loop {
        if stop.is_cancelled() {
            return Err(io::ErrorKind::Interrupted.into());
        }
        match file.read(&mut block)? {
            0 => return Ok(hexadecimal(&hash.finalize())),
            length => hash.update(&block[..length]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn whatever_changes_in_an_archive_is_noticed() {
        let root = tempfile::tempdir().unwrap();
        let archive = root.path().join("erp");
        let file = |name: &str| archive.join(name);
        let write = || {
            make_room(&archive, "0123abcd").unwrap();
            fs::write(file("toc.dat"), "contents").unwrap();
            fs::write(file("3456.dat"), vec![7; 3 * BLOCK / 2]).unwrap();
            fs::write(file("3457.dat"), "").unwrap();
        };
        write();
        let never = CancellationToken::new();
        let sealed = seal(&archive, 2, &never).await.unwrap();
        assert_eq!(sealed.files, 3);
        assert_eq!(sealed.bytes, 8 + 3 * BLOCK as u64 / 2);
        assert_eq!(bytes(&archive).await, sealed.bytes);
        assert_eq!(seal(&archive, 1, &never).await.unwrap(), sealed);

        let changes: [&dyn Fn(); 5] = [
            &|| fs::write(file("toc.dat"), "Contents").unwrap(),
            &|| fs::write(file("3457.dat"), "x").unwrap(),
            &|| fs::remove_file(file("3457.dat")).unwrap(),
            &|| fs::rename(file("3457.dat"), file("3458.dat")).unwrap(),
            &|| fs::write(file("4000.dat"), "").unwrap(),
        ];
        for change in changes {
            write();
            assert!(is_as_sealed(&archive, &sealed, 2, &never).await.unwrap());
            change();
            assert!(!is_as_sealed(&archive, &sealed, 2, &never).await.unwrap());
        }
        fs::remove_dir_all(&archive).unwrap();
        let gone = is_as_sealed(&archive, &sealed, 2, &never)
            .await
            .unwrap_err();
        assert_eq!(gone.kind(), io::ErrorKind::NotFound);
    }

    #[tokio::test]
    async fn reading_stops_when_the_run_does() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("toc.dat"), "x").unwrap();
        let stop = CancellationToken::new();
        stop.cancel();
        let error = seal(root.path(), 1, &stop).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::Interrupted);
    }
}
