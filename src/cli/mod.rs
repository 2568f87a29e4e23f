//! The command line: a file for each verb, wiring only.

mod arguments;
mod check;
mod completions;
mod explain;
mod failure;
mod init;
mod log;
mod output;
mod plan;
mod prepare;
mod report;
mod reset;
mod revert;
mod run;
mod status;
mod verify;

use std::process::ExitCode;

use clap::Parser;
use nix::sys::stat::{Mode, umask};

use arguments::{Arguments, Verb};
use failure::Failure;
use output::Terminal;

/// Runs the program.
pub fn main() -> ExitCode {
    // State, logs and archives hold what the databases hold: nobody else's business, whatever the shell's
    // mask says.
    umask(Mode::from_bits_truncate(0o077));
    let arguments = Arguments::parse();
    let terminal = Terminal::new(arguments.color);
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("cannot start: {error}");
            return ExitCode::from(failure::UNEXPECTED);
        }
    };
    let result = runtime.block_on(dispatch(arguments.verb, &terminal));
    // A thread that waits for a name server must not keep the program.
    runtime.shutdown_background();
    match result {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            terminal.show(&failure);
            ExitCode::from(failure.code)
        }
    }
}

async fn dispatch(verb: Verb, terminal: &Terminal) -> Result<u8, Failure> {
    match verb {
        Verb::Run(arguments) => run::run(arguments, terminal).await,
        Verb::Plan(arguments) => plan::run(arguments, terminal).await,
        Verb::Check(arguments) => check::run(arguments, terminal).await,
        Verb::Status(arguments) => status::run(arguments, terminal),
        Verb::Verify(arguments) => verify::run(arguments, terminal).await,
        Verb::Report(arguments) => report::run(arguments, terminal),
        Verb::Revert(arguments) => revert::run(arguments).await,
        Verb::Reset(arguments) => reset::run(arguments),
        Verb::Init(arguments) => init::run(*arguments).await,
        Verb::Explain(arguments) => explain::run(arguments, terminal),
        Verb::Schema => {
            output::print(&crate::plan::schema_text())?;
            Ok(0)
        }
        Verb::Completions { shell } => completions::run(shell),
    }
}
