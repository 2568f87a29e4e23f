//! `pg-migrate completions`.

use clap::CommandFactory;
use clap_complete::Shell;

use super::arguments::Arguments;
use super::failure::Failure;
use super::output::print;
use crate::exit::Exit;

pub(super) fn run(shell: Shell) -> Result<Exit, Failure> {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "pg-migrate", &mut text);
    print(&String::from_utf8_lossy(&text))?;
    Ok(Exit::Completed)
}
