//! How a step fails.

use std::fmt::Write as _;
use std::sync::Arc;

use miette::Diagnostic;

use crate::names::Output;
use crate::postgres::{self, Class, escape_control_lines};

/// A failed step: what a person has to know, and what the schedule has to.
#[derive(Debug)]
pub struct StepError {
    /// What failed, where and why, and what to do next. One or more lines.
    pub message: String,
    pub class: Class,
    /// What the step found out all the same: restore errors, compared tables.
    pub output: Arc<Output>,
    /// The snapshot that the step shares with others is gone.
    pub snapshot_lost: bool,
    /// Another session has or wants a lock that is in the way.
    pub lock_refused: bool,
}

impl StepError {
    /// A failure that another attempt would not mend.
    pub fn new(message: impl Into<String>) -> Self {
        StepError {
            message: printable(&message.into()),
            class: Class::Fail,
            output: Arc::default(),
            snapshot_lost: false,
            lock_refused: false,
        }
    }

    /// A fault of pg-migrate itself.
    pub fn fault(message: impl std::fmt::Display) -> Self {
        StepError::new(format!("unexpected: {message}"))
    }

    pub fn interrupted() -> Self {
        StepError {
            class: Class::Interrupted,
            ..StepError::new("stopped, because the run is stopping")
        }
    }

    pub fn with_output(mut self, output: Output) -> Self {
        self.output = Arc::new(output);
        self
    }
}

/// An error and what caused it, each once, with the help at its end.
pub(crate) fn describe(error: &(dyn Diagnostic + 'static)) -> String {
    let mut message = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        let text = cause.to_string();
        if !message.contains(&text) {
            let _ = write!(message, ": {text}");
        }
        source = cause.source();
    }
    if let Some(help) = error.help() {
        let _ = write!(message, "\n{help}");
    }
    message
}

impl From<postgres::Error> for StepError {
    fn from(error: postgres::Error) -> Self {
        StepError {
            class: error.class(),
            lock_refused: error.sqlstate() == Some("55P03"),
            ..StepError::new(describe(&error))
        }
    }
}

/// Text from a server or a program, fit for a terminal.
pub(crate) fn printable(text: &str) -> String {
    escape_control_lines(text.trim_end())
}
