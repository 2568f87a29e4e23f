//! Why the program ends before its time, and with which exit code.

use miette::{Diagnostic, Report};

use crate::exit::Exit;
use crate::journal::{self, stored};
use crate::report::document::FileError;
use crate::run;

/// What to show, and how the program ends.
#[derive(Debug)]
pub(super) struct Failure {
    pub exit: Exit,
    pub report: Report,
}

impl Failure {
    pub(super) fn new(exit: Exit, error: impl Diagnostic + Send + Sync + 'static) -> Self {
        Failure {
            exit,
            report: Report::new(error),
        }
    }

    /// For `map_err`.
    pub(super) fn with<E: Diagnostic + Send + Sync + 'static>(
        exit: Exit,
    ) -> impl FnOnce(E) -> Failure {
        move |error| Failure::new(exit, error)
    }

    pub(super) fn message(exit: Exit, message: impl std::fmt::Display, help: &str) -> Self {
        Failure {
            exit,
            report: miette::miette!(help = help.to_owned(), "{message}"),
        }
    }
}

impl From<journal::Error> for Failure {
    fn from(error: journal::Error) -> Self {
        let exit = match error {
            journal::Error::Held { .. } => Exit::Held,
            journal::Error::NotOurs { .. } => Exit::NotStarted,
            _ => Exit::Unexpected,
        };
        Failure::new(exit, error)
    }
}

impl From<run::Error> for Failure {
    fn from(error: run::Error) -> Self {
        let exit = match &error {
            run::Error::TargetHeld { .. } | run::Error::HeldByCopy { .. } => Exit::Held,
            run::Error::Postgres(_)
            | run::Error::Mark(_)
            | run::Error::OtherState { .. }
            | run::Error::OtherTarget { .. }
            | run::Error::AnotherTarget { .. }
            | run::Error::OlderTarget { .. }
            | run::Error::Conflict(_)
            | run::Error::InUse(_)
            | run::Error::Missing { .. }
            | run::Error::Leftovers { .. }
            | run::Error::LeftoverPrograms(_)
            | run::Error::Archives { .. } => Exit::NotStarted,
            run::Error::RestoreFailed { .. } => Exit::StepFailed,
            run::Error::GivenUp(signal) => signal.exit(),
            run::Error::Journal(_) | run::Error::DoesNotFit(_) => Exit::Unexpected,
        };
        Failure::new(exit, error)
    }
}

impl From<stored::Error> for Failure {
    fn from(error: stored::Error) -> Self {
        Failure::new(Exit::Unexpected, error)
    }
}

impl From<FileError> for Failure {
    fn from(error: FileError) -> Self {
        Failure::new(Exit::Unexpected, error)
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Failure {
            exit: Exit::Unexpected,
            report: miette::miette!("{error}"),
        }
    }
}
