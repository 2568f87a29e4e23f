//! The command line: a file for each verb, wiring only.

mod arguments;
mod chain;
mod check;
mod completions;
mod discard;
mod explain;
mod failure;
mod init;
mod left;
mod log;
mod log_file;
mod output;
mod plan;
mod prepare;
mod report;
mod reset;
mod revert;
mod run;
mod status;
mod verify;

use std::panic::{self, AssertUnwindSafe};
use std::process::ExitCode;

use clap::Parser;
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::stat::{Mode, umask};

use crate::exit::Exit;
use arguments::{Arguments, Verb};
use failure::Failure;
use output::{Terminal, tell};

/// Runs the program.
pub fn main() -> ExitCode {
    // State, logs and archives hold what the databases hold: no other user may read them, whatever the shell's
    // umask is.
    umask(Mode::from_bits_truncate(0o077));
    // A core dump would hold passwords and rows, one of a client program as well, which inherits this.
    let _ = setrlimit(Resource::RLIMIT_CORE, 0, 0);
    let arguments = Arguments::parse();
    let terminal = Terminal::new(arguments.color);
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            tell!("cannot start: {error}");
            return Exit::Unexpected.into();
        }
    };
    let result = guarded(|| runtime.block_on(dispatch(arguments.verb, &terminal)));
    // A thread that waits for a name server must not keep the program.
    runtime.shutdown_background();
    match result {
        Ok(exit) => exit.into(),
        Err(failure) => {
            terminal.show(&failure);
            failure.exit.into()
        }
    }
}

/// Rust ends a program that panicked with 101, which scripts know nothing of.
fn guarded(action: impl FnOnce() -> Result<Exit, Failure>) -> Result<Exit, Failure> {
    panic::catch_unwind(AssertUnwindSafe(action)).unwrap_or_else(|_| {
        Err(Failure::message(
            Exit::Unexpected,
            "pg-migrate stopped where its own code says that it cannot be; the message above names the place",
            "this is a fault of pg-migrate, please report it; what is done is on record: `pg-migrate run` resumes \
             there, and `pg-migrate revert` restores the target's settings",
        ))
    })
}

async fn dispatch(verb: Verb, terminal: &Terminal) -> Result<Exit, Failure> {
    match verb {
        Verb::Run(arguments) => run::run(arguments, terminal).await,
        Verb::Plan(arguments) => plan::run(arguments, terminal).await,
        Verb::Check(arguments) => check::run(arguments, terminal).await,
        Verb::Status(arguments) => status::run(arguments, terminal),
        Verb::Verify(arguments) => verify::run(arguments, terminal).await,
        Verb::Report(arguments) => report::run(arguments, terminal),
        Verb::Revert(arguments) => revert::run(arguments, terminal).await,
        Verb::Reset(arguments) => reset::run(arguments),
        Verb::Discard(arguments) => discard::run(arguments).await,
        Verb::Init(arguments) => init::run(*arguments).await,
        Verb::Explain(arguments) => explain::run(arguments, terminal),
        Verb::Schema => {
            output::print(&crate::plan::schema_text())?;
            Ok(Exit::Completed)
        }
        Verb::Completions { shell } => completions::run(shell),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_an_unexpected_failure() {
        let failure = guarded(|| panic!("as a test")).unwrap_err();
        assert_eq!(failure.exit, Exit::Unexpected);
        assert!(matches!(guarded(|| Ok(Exit::Held)), Ok(Exit::Held)));
    }
}
