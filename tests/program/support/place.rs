//! Where the servers' programs and the tests' data lie.

use std::ffi::OsString;
use std::fs::{self, File, TryLockError};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use nix::unistd::{Uid, User};
use tempfile::TempDir;

/// Directories of tests begin with this.
const PREFIX: &str = "pg-migrate-test-";

/// The repository's root.
pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The directory that holds `18/bin`, `clients-17/bin` and the like; fetched when it is not there.
pub fn servers() -> &'static Path {
    static SERVERS: OnceLock<PathBuf> = OnceLock::new();
    SERVERS.get_or_init(|| {
        fetch(
            target_directory(),
            &[
                "10",
                "12",
                "14",
                "15",
                "16",
                "17",
                "18",
                "clients-17",
                "clients-18",
            ],
        )
    })
}

/// Whether docker-compose is on PATH, after installing it where that is allowed.
pub fn compose_is_there() -> bool {
    let on_path = || {
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path).any(|directory| directory.join("docker-compose").exists())
    };
    if !on_path() {
        fetch(target_directory(), &["compose"]);
    }
    on_path()
}

/// The tree of pgbouncer's Debian packages, where there are such packages.
pub fn pgbouncer() -> Option<PathBuf> {
    let tree = fetch(target_directory(), &["pgbouncer"]).join("pgbouncer");
    tree.join("usr/sbin/pgbouncer").exists().then_some(tree)
}

pub fn target_directory() -> &'static Path {
    Path::new(env!("CARGO_TARGET_TMPDIR"))
        .parent()
        .expect("cargo's directory for tests lies in the target directory")
}

#[expect(
    clippy::disallowed_methods,
    reason = "the tests start programs of their own"
)]
fn fetch(target: &Path, names: &[&str]) -> PathBuf {
    let script = repository().join("tests/servers/fetch");
    let done = Command::new(&script)
        .arg("--into")
        .arg(target.join("servers"))
        .args(names)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .unwrap_or_else(|error| panic!("{}: {error}", script.display()));
    assert!(
        done.status.success(),
        "{} could not fetch the servers; it says why above",
        script.display()
    );
    let output = String::from_utf8(done.stdout).expect("a path in UTF-8");
    PathBuf::from(output.trim())
}

/// The directory with the client programs of this major version: 17 has TLS, zstd and lz4, 18 has not.
pub fn clients(major: u32) -> PathBuf {
    servers().join(format!("clients-{major}")).join("bin")
}

/// A `PATH` on which these directories come first.
pub fn path_with(directories: &[PathBuf]) -> OsString {
    let rest = std::env::var_os("PATH").unwrap_or_default();
    std::env::join_paths(
        directories
            .iter()
            .cloned()
            .chain(std::env::split_paths(&rest)),
    )
    .expect("no directory holds a colon")
}

/// Who servers run as when the tests run as root, which PostgreSQL refuses.
pub fn server_user() -> Option<&'static User> {
    static USER: OnceLock<Option<User>> = OnceLock::new();
    USER.get_or_init(|| {
        if !Uid::effective().is_root() {
            return None;
        }
        let user = ["postgres", "nobody"]
            .into_iter()
            .find_map(|name| User::from_name(name).ok().flatten());
        Some(user.expect("a user `postgres` or `nobody` to run servers as"))
    })
    .as_ref()
}

/// A new directory for the data of one server or one project, removed on drop.
///
/// What a killed test left behind goes when the next one asks for a directory: each holds a lock.
pub struct Scratch {
    directory: TempDir,
    _lock: File,
}

impl Scratch {
    pub fn new() -> Scratch {
        let parent = parent_for_scratch();
        remove_abandoned(&parent);
        let directory = tempfile::Builder::new()
            .prefix(PREFIX)
            .tempdir_in(&parent)
            .expect("a directory for temporary files");
        // The servers' user passes through it to its own directory.
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o711)).unwrap();
        // It is locked before it has the name by which others find it.
        let unlocked = directory.path().join("lock.new");
        let lock = File::create(&unlocked).unwrap();
        lock.lock().unwrap();
        fs::rename(&unlocked, directory.path().join("lock")).unwrap();
        Scratch {
            directory,
            _lock: lock,
        }
    }

    pub fn path(&self) -> &Path {
        self.directory.path()
    }
}

/// The directory for temporary files, provided that the servers' user can enter it.
fn parent_for_scratch() -> PathBuf {
    [std::env::temp_dir(), "/tmp".into(), "/var/tmp".into()]
        .into_iter()
        .find(|parent| server_user().is_none() || others_can_enter(parent))
        .expect("a directory for temporary files that other users may enter; set TMPDIR to one")
}

fn others_can_enter(directory: &Path) -> bool {
    let Ok(directory) = directory.canonicalize() else {
        return false;
    };
    directory.ancestors().all(|ancestor| {
        fs::metadata(ancestor).is_ok_and(|found| found.permissions().mode() & 0o001 != 0)
    })
}

fn remove_abandoned(parent: &Path) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        if !entry.file_name().to_string_lossy().starts_with(PREFIX) {
            continue;
        }
        // No lock file yet: another process is creating the directory at this moment.
        let Ok(lock) = File::options().write(true).open(entry.path().join("lock")) else {
            continue;
        };
        if !matches!(lock.try_lock(), Err(TryLockError::WouldBlock)) {
            // Best effort: another test may be removing it too, or it belongs to another user.
            fs::remove_dir_all(entry.path()).ok();
        }
    }
}
