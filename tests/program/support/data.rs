//! Data directories as initdb leaves them, and who they belong to.

use std::fs::{self, File};
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::place::{self, server_user};
use super::server::random_word;

/// What tells one pristine data directory from another.
pub struct Shape {
    pub major: u32,
    pub encoding: String,
    pub locale: String,
}

/// The root of a version's installation.
pub fn installation(major: u32) -> PathBuf {
    place::servers().join(major.to_string())
}

/// A data directory as initdb leaves it, made once per version and locale, with its password.
pub fn pristine(shape: &Shape) -> (PathBuf, String) {
    let home = place::servers().join("pristine");
    fs::create_dir_all(&home).unwrap();
    let key = format!("{}-{}-{}", shape.major, shape.encoding, shape.locale);
    let lock = File::create(home.join(format!(".{key}.lock"))).unwrap();
    lock.lock().unwrap();
    let (done, password_file) = (home.join(&key), home.join(format!("{key}.password")));
    if !done.is_dir() {
        let password = random_word("initdb");
        initdb(shape, &home, &done, &password);
        fs::write(&password_file, password).unwrap();
    }
    // Written after the directory was moved into place: without it, that was cut short.
    match fs::read_to_string(&password_file) {
        Ok(password) => (done, password),
        Err(_) => {
            fs::remove_dir_all(&done).unwrap();
            drop(lock);
            pristine(shape)
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the tests start servers of their own"
)]
fn initdb(shape: &Shape, home: &Path, done: &Path, password: &str) {
    let scratch = tempfile::tempdir_in(home).unwrap();
    give_to_server(scratch.path());
    let password_file = scratch.path().join("password");
    fs::write(&password_file, password).unwrap();
    give_to_server(&password_file);
    let mut command = Command::new(installation(shape.major).join("bin/initdb"));
    as_server_user(&mut command)
        .arg("-D")
        .arg(scratch.path().join("data"))
        .arg(format!("--pwfile={}", password_file.display()))
        .arg(format!("--encoding={}", shape.encoding))
        .arg(format!("--locale={}", shape.locale))
        .args(["-U", "postgres", "-A", "scram-sha-256", "--no-sync"])
        .current_dir(scratch.path());
    let output = command.output().expect("initdb can be started");
    assert!(
        output.status.success(),
        "initdb of {}: {}{}",
        shape.major,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    fs::rename(scratch.path().join("data"), done).unwrap();
}

#[expect(
    clippy::disallowed_methods,
    reason = "cp knows how to share blocks with the original, the standard library does not"
)]
pub fn copy_tree(from: &Path, to: &Path) {
    let copied = Command::new("cp")
        .args(["-a", "--reflink=auto"])
        .arg(from)
        .arg(to)
        .status()
        .expect("cp can be started");
    assert!(copied.success(), "cp of {} failed", from.display());
}

/// The command runs as the servers' user, with next to no environment.
pub fn as_server_user(command: &mut Command) -> &mut Command {
    command.env_clear().env("PATH", "/usr/bin:/bin");
    if let Some(user) = server_user() {
        command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
    }
    command
}

/// Makes the servers' user the owner.
pub fn give_to_server(path: &Path) {
    if let Some(user) = server_user() {
        chown(path, Some(user.uid.as_raw()), Some(user.gid.as_raw())).unwrap();
    }
}
