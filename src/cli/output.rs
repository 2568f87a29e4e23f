//! Where text goes, how wide it may be, and whether it has colours.

use std::fmt;
use std::io::{self, IsTerminal, Write};

use super::arguments::ColorChoice;
use super::failure::Failure;
use crate::escape::{escape_between_colors, escape_control_lines};
use crate::report::{Color, diagnostic};

/// What stdout and stderr are.
pub(super) struct Terminal {
    choice: ColorChoice,
}

impl Terminal {
    pub(super) fn new(choice: ColorChoice) -> Self {
        Terminal { choice }
    }

    fn color(&self, is_terminal: bool) -> Color {
        let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        match self.choice {
            ColorChoice::Always => Color::On,
            ColorChoice::Never => Color::Off,
            ColorChoice::Auto if is_terminal && !no_color => Color::On,
            ColorChoice::Auto => Color::Off,
        }
    }

    pub(super) fn stdout_color(&self) -> Color {
        self.color(io::stdout().is_terminal())
    }

    pub(super) fn stderr_color(&self) -> Color {
        self.color(io::stderr().is_terminal())
    }

    /// Columns of the terminal, 80 where there is none.
    pub(super) fn columns(&self) -> usize {
        let size = console::Term::stderr().size_checked();
        size.map_or(80, |(_, columns)| usize::from(columns).clamp(40, 240))
    }

    /// Shows a failure on stderr.
    pub(super) fn show(&self, failure: &Failure) {
        let handler = diagnostic::handler(self.columns(), self.stderr_color());
        let mut text = String::new();
        if handler
            .render_report(&mut text, failure.report.as_ref())
            .is_err()
        {
            text = format!("{:?}\n", failure.report);
        }
        // Whatever an error was made of: names on the servers, paths, what programs said.
        let text = match self.stderr_color() {
            Color::On => escape_between_colors(&text),
            Color::Off => escape_control_lines(&text) + "\n",
        };
        // A stderr that is closed has no reader to tell.
        let _ = io::stderr().write_all(text.as_bytes());
    }
}

/// Prints what was asked for to stdout. A reader that has gone is not an error: it closed its pipe, or its terminal.
pub(super) fn print(text: &str) -> Result<(), Failure> {
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if !has_no_reader(&error) => Err(error.into()),
        _ => Ok(()),
    }
}

fn has_no_reader(error: &io::Error) -> bool {
    // A terminal that hung up answers EIO.
    error.kind() == io::ErrorKind::BrokenPipe
        || error.raw_os_error() == Some(nix::errno::Errno::EIO as i32)
}

/// Prints to stdout what is a courtesy: the exit code tells how the work ended, and whether its result can be printed does not
/// change that.
pub(super) fn offer(text: &str) {
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if !has_no_reader(&error) => {
            tracing::warn!(%error, "cannot print to stdout");
            to_stderr(format_args!("warning: cannot print to stdout: {error}"));
        }
        _ => {}
    }
}

/// Prints lines to stderr. `eprintln!` panics where stderr cannot be written, because its terminal or pipe was closed or its
/// disk is full; what is told is a courtesy, and the work goes on.
pub(super) fn to_stderr(text: fmt::Arguments<'_>) {
    let _ = io::stderr().write_all(format!("{text}\n").as_bytes());
}

/// As `eprintln!`, by [`to_stderr`].
macro_rules! tell {
    ($($text:tt)*) => { $crate::cli::output::to_stderr(format_args!($($text)*)) };
}
pub(super) use tell;
