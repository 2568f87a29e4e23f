//! This machine, as far as it says how a server is reached.

use std::path::PathBuf;
use std::pin::pin;
use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::child::{Invocation, Stdout};
use crate::postgres::{Environment, Failure};

/// The longest output of a password command that is read, in bytes.
const LIMIT: usize = 64 * 1024;

/// How long a password command may take: nobody answers what it asks.
const PATIENCE: Duration = Duration::from_secs(60);

/// The environment of this process, and commands that are run on this machine.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LocalEnvironment;

impl Environment for LocalEnvironment {
    fn variable(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }

    fn home(&self) -> Option<PathBuf> {
        std::env::home_dir()
    }

    /// The command has this process's environment: a password manager may need any of it.
    async fn output_of(&self, command: &[String]) -> Result<Vec<u8>, Failure> {
        output_within(PATIENCE, command).await
    }
}

async fn output_within(patience: Duration, command: &[String]) -> Result<Vec<u8>, Failure> {
    let (program, arguments) = command.split_first().ok_or("it is empty")?;
    let stop = CancellationToken::new();
    let invocation = Invocation::new(program)
        .arguments(arguments)
        .stdout(Stdout::Capture { limit: LIMIT });
    let mut run = pin!(invocation.run(&stop, |_| {}));
    let finished = tokio::select! {
        finished = &mut run => finished?,
        () = sleep(patience) => {
            stop.cancel();
            run.await?;
            let seconds = patience.as_secs();
            return Err(format!("{program} was ended: it had not answered within {seconds} s, and nobody can answer what it asks").into());
        }
    };
    Ok(finished.success()?.stdout)
}

/// How many files and connections this process may have open at a time, once it has taken what it may take without being
/// asked (RLIMIT_NOFILE). `None`: that is not limited, or not known.
pub(crate) fn open_files() -> Option<u32> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).ok()?;
    let taken = setrlimit(Resource::RLIMIT_NOFILE, hard, hard).is_ok();
    u32::try_from(if taken { hard } else { soft }).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(words: &[&str]) -> Vec<String> {
        words.iter().map(ToString::to_string).collect()
    }

    #[tokio::test]
    async fn the_output_of_a_command_is_read() {
        let words = command(&["sh", "-c", "printf 'secret\\n'"]);
        assert_eq!(
            LocalEnvironment.output_of(&words).await.unwrap(),
            b"secret\n"
        );
    }

    #[tokio::test]
    async fn a_failing_command_shows_its_status_and_never_its_output() {
        let words = command(&[
            "sh",
            "-c",
            "echo hunter2; echo 'vault is sealed' >&2; exit 3",
        ]);
        let error = LocalEnvironment.output_of(&words).await.unwrap_err();
        insta::assert_snapshot!(error, @r"
        sh ended with exit status 3:
          vault is sealed
        ");
        assert!(!format!("{error:?}").contains("hunter2"));
    }

    #[tokio::test]
    async fn a_command_that_asks_somebody_is_ended() {
        let words = command(&["sh", "-c", "sleep 600"]);
        let error = output_within(Duration::ZERO, &words).await.unwrap_err();
        insta::assert_snapshot!(error, @"sh was ended: it had not answered within 0 s, and nobody can answer what it asks");
    }

    #[tokio::test]
    async fn a_command_that_is_not_there_is_an_error() {
        let words = command(&["/nonexistent/vault"]);
        let error = LocalEnvironment.output_of(&words).await.unwrap_err();
        insta::assert_snapshot!(error, @"cannot start /nonexistent/vault: there is no such program");
    }
}
