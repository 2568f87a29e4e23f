//! Client programs that a killed run left on this machine.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};

use super::client::PROGRAMS;
use crate::postgres::Application;

/// Kills the client programs of the application's state directory that run as our user, and returns those that were
/// still there. Only a holder of the state directory may, before it starts any: then their runner is dead. Where there
/// is no `/proc`, none is found.
pub(crate) fn kill_leftovers(application: &Application) -> Vec<u32> {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    processes
        .filter_map(|entry| {
            let id: u32 = entry.file_name().to_str()?.parse().ok()?;
            is_left(&entry.path(), application).then_some(id)
        })
        .inspect(|id| {
            // One that has ended meanwhile is not an error, and one that cannot be killed is found again.
            let _ = kill(Pid::from_raw(id.cast_signed()), Signal::SIGKILL);
        })
        .collect()
}

/// By its name as well: a shell may have the variable too, and be one of our ancestors. A zombie no longer has an
/// environment.
fn is_left(process: &Path, application: &Application) -> bool {
    let is_own = || fs::metadata(process).is_ok_and(|data| data.uid() == geteuid().as_raw());
    let is_client = || {
        fs::read_to_string(process.join("comm"))
            .is_ok_and(|name| PROGRAMS.contains(&name.trim_end()))
    };
    let is_marked = || {
        let environment = fs::read(process.join("environ")).unwrap_or_default();
        environment
            .split(|byte| *byte == 0)
            .filter_map(|variable| variable.strip_prefix(b"PGAPPNAME="))
            .filter_map(|name| str::from_utf8(name).ok())
            .any(|name| application.owns(name))
    };
    is_own() && is_client() && is_marked() && !has_runner(process)
}

/// Whether a running pg-migrate is above it. That is another state directory's then, which was copied from this one with
/// its id.
fn has_runner(process: &Path) -> bool {
    let status = fs::read_to_string(process.join("status")).unwrap_or_default();
    let parent = status.lines().find_map(|line| line.strip_prefix("PPid:"));
    let Some(parent) = parent.map(str::trim).filter(|parent| *parent != "0") else {
        return false;
    };
    let parent = Path::new("/proc").join(parent);
    let name = fs::read_to_string(parent.join("comm")).unwrap_or_default();
    name.trim_end() == env!("CARGO_PKG_NAME") || has_runner(&parent)
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::CommandExt;
    use std::process::Command;

    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "programs that no runner started")]
    fn only_client_programs_with_the_mark_are_killed() {
        let directory = tempfile::tempdir().unwrap();
        let start = |name: &str, application: &str| {
            let program = directory.path().join(name);
            std::os::unix::fs::symlink("/bin/sleep", &program).ok();
            let mut command = Command::new(program);
            command
                .arg0("sleep")
                .arg("600")
                .env("PGAPPNAME", application);
            command.spawn().unwrap()
        };
        let id = format!("{:08x}", std::process::id());
        let ours = format!("pg-migrate/erp/db/dump#{id}");
        let mut victim = start("pg_dump", &ours);
        let mut others = [
            start("psql", &ours),
            start("pg_dump", "pg-migrate/erp/db/dump#other"),
        ];
        let found = kill_leftovers(&Application::for_state("erp", &id));
        assert_eq!(found, [victim.id()]);
        victim.wait().unwrap();
        assert!(kill_leftovers(&Application::for_state("erp", &id)).is_empty());
        for other in &mut others {
            assert!(other.try_wait().unwrap().is_none());
            other.kill().unwrap();
            other.wait().unwrap();
        }
    }
}
