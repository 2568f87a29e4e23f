//! Why the program ends before its time, and with which exit code.

use miette::{Diagnostic, Report};

use crate::{journal, run};

/// A fault of pg-migrate itself.
pub const UNEXPECTED: u8 = 1;
/// The command line or the plan file is wrong.
pub const WRONG_INPUT: u8 = 2;
/// Nothing was changed: a server, a blocker, or drift.
pub const NOT_STARTED: u8 = 3;
/// A step failed.
pub const STEP_FAILED: u8 = 4;
/// Something else holds the state or the target.
pub const HELD: u8 = 6;

/// What to show, and the exit code.
#[derive(Debug)]
pub struct Failure {
    pub code: u8,
    pub report: Report,
}

impl Failure {
    pub fn new(code: u8, error: impl Diagnostic + Send + Sync + 'static) -> Self {
        Failure {
            code,
            report: Report::new(error),
        }
    }

    /// For `map_err`.
    pub fn with<E: Diagnostic + Send + Sync + 'static>(code: u8) -> impl FnOnce(E) -> Failure {
        move |error| Failure::new(code, error)
    }

    pub fn message(code: u8, message: impl std::fmt::Display, help: &str) -> Self {
        Failure {
            code,
            report: miette::miette!(help = help.to_owned(), "{message}"),
        }
    }
}

impl From<journal::Error> for Failure {
    fn from(error: journal::Error) -> Self {
        let code = match error {
            journal::Error::Held { .. } => HELD,
            _ => UNEXPECTED,
        };
        Failure::new(code, error)
    }
}

impl From<run::Error> for Failure {
    fn from(error: run::Error) -> Self {
        let code = match &error {
            run::Error::TargetHeld { .. } => HELD,
            run::Error::Postgres(_)
            | run::Error::OtherTarget { .. }
            | run::Error::Conflict(_)
            | run::Error::Leftovers { .. }
            | run::Error::LeftoverPrograms(_)
            | run::Error::Archives { .. } => NOT_STARTED,
            run::Error::NotPutBack(_) => STEP_FAILED,
            run::Error::Journal(_) | run::Error::DoesNotFit(_) => UNEXPECTED,
        };
        Failure::new(code, error)
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Failure {
            code: UNEXPECTED,
            report: miette::miette!("{error}"),
        }
    }
}
