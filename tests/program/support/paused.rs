//! A client program that waits before it starts, until the test says so.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use super::place;
use super::project::{Project, Running};

/// The file by which a test lets it go on.
pub struct Paused {
    directory: PathBuf,
}

impl Paused {
    /// The project, whose `program` (clients 18) waits where its arguments hold these words.
    pub fn of(project: Project, program: &str, words: &str) -> (Project, Paused) {
        let directory = project.directory().join(format!("paused-{program}"));
        fs::create_dir(&directory).unwrap();
        let clients = place::clients(18);
        let script = format!(
            "#!/bin/sh\ncase \" $* \" in *'{words}'*)\n  : >'{here}/reached'\n  \
             while [ ! -e '{here}/go' ]; do sleep 0.05; done;;\nesac\nexec '{real}' \"$@\"\n",
            here = directory.display(),
            real = clients.join(program).display(),
        );
        let file = directory.join(program);
        fs::write(&file, script).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
        let path = place::path_with(&[directory.clone(), clients]);
        (project.variable("PATH", path), Paused { directory })
    }

    /// Waits until the program waits.
    pub fn until_reached(&self, running: &mut Running) {
        let reached = self.directory.join("reached");
        running.until("the client program", || reached.exists());
    }

    /// Lets it go on, and all that come after it.
    pub fn go(&self) {
        fs::write(self.directory.join("go"), "").unwrap();
    }
}
