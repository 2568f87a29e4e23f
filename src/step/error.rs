//! How a step fails.

use std::fmt;
use std::sync::Arc;

use miette::Diagnostic;
use tokio_util::sync::CancellationToken;

use crate::mark;
use crate::names::Output;
use crate::postgres::{self, Class, escape_control_lines};

/// A failed step: what a person has to know, and what the schedule has to. As text: what failed and its cause, then the
/// help on lines of its own.
#[derive(Debug)]
pub(crate) struct StepError {
    /// What failed, and where. One or more lines.
    what: String,
    /// Why: what the error came from, the nearest first.
    cause: Option<String>,
    /// What to do next, or where to look. One or more lines.
    help: Option<String>,
    pub class: Class,
    /// What the step found out all the same: restore errors, compared tables.
    pub output: Arc<Output>,
    /// The snapshot that the step shares with others is gone.
    pub snapshot_lost: bool,
    /// Another session has or wants a lock that is in the way.
    pub lock_refused: bool,
    /// A client program was not let in any more in the middle of its work: its password ran out.
    pub password_ran_out: bool,
    /// A row refers to one that is not there (yet).
    pub parent_missing: bool,
}

impl StepError {
    /// A failure that another attempt would not fix.
    pub(crate) fn new(what: impl Into<String>) -> Self {
        StepError {
            what: printable(&what.into()),
            cause: None,
            help: None,
            class: Class::Fail,
            output: Arc::default(),
            snapshot_lost: false,
            lock_refused: false,
            password_ran_out: false,
            parent_missing: false,
        }
    }

    /// An error of another part, with what caused it and its help.
    pub(crate) fn caused_by(error: &(dyn Diagnostic + 'static), class: Class) -> Self {
        let mut failure = StepError {
            cause: causes(error),
            class,
            ..StepError::new(error.to_string())
        };
        if let Some(help) = error.help() {
            failure = failure.help(help.to_string());
        }
        failure
    }

    /// A fault of pg-migrate itself.
    pub(crate) fn fault(message: impl fmt::Display) -> Self {
        StepError::new(format!("unexpected: {message}"))
    }

    /// As an interruption, where the run is stopping: the server was asked to cancel what was under way.
    pub(crate) fn during(self, stop: &CancellationToken) -> Self {
        if stop.is_cancelled() {
            return StepError::interrupted();
        }
        self
    }

    pub(crate) fn interrupted() -> Self {
        StepError::new("stopped, because the run is stopping").class(Class::Interrupted)
    }

    /// What to do next: below the help that is there already.
    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        let help = printable(&help.into());
        self.help = Some(match self.help {
            Some(before) => format!("{before}\n{help}"),
            None => help,
        });
        self
    }

    pub(crate) fn class(mut self, class: Class) -> Self {
        self.class = class;
        self
    }

    /// Before everything else: `database "erp": `.
    pub(crate) fn place(mut self, place: &str) -> Self {
        self.what.insert_str(0, place);
        self
    }

    /// The shared snapshot is gone: the steps that share it are done again.
    pub(crate) fn snapshot_lost(mut self) -> Self {
        self.snapshot_lost = true;
        self.class = Class::Retry;
        self
    }

    pub(crate) fn with_output(mut self, output: Output) -> Self {
        self.output = Arc::new(output);
        self
    }

    /// What failed and why, and the help apart from it.
    pub(crate) fn into_parts(self) -> (String, Option<String>) {
        let reason = match self.cause {
            Some(cause) => format!("{}: {cause}", self.what),
            None => self.what,
        };
        (reason, self.help)
    }
}

impl fmt::Display for StepError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        if let Some(cause) = &self.cause {
            write!(f, ": {cause}")?;
        }
        if let Some(help) = &self.help {
            write!(f, "\n{help}")?;
        }
        Ok(())
    }
}

/// What an error came from, each once: many repeat their source in their own text.
fn causes(error: &(dyn Diagnostic + 'static)) -> Option<String> {
    let said = error.to_string();
    let mut causes: Vec<String> = Vec::new();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        let text = cause.to_string();
        if !said.contains(&text) && !causes.iter().any(|said| said.contains(&text)) {
            causes.push(text);
        }
        source = cause.source();
    }
    (!causes.is_empty()).then(|| printable(&causes.join(": ")))
}

impl From<postgres::Error> for StepError {
    fn from(error: postgres::Error) -> Self {
        StepError {
            lock_refused: error.sqlstate() == Some("55P03"),
            parent_missing: error.sqlstate() == Some("23503"),
            ..StepError::caused_by(&error, error.class())
        }
    }
}

impl From<mark::Error> for StepError {
    fn from(error: mark::Error) -> Self {
        StepError::caused_by(&error, error.class())
    }
}

/// Text from a server or a program, fit for a terminal.
pub(crate) fn printable(text: &str) -> String {
    escape_control_lines(text.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error, Diagnostic)]
    #[error("cannot copy: {0}")]
    #[diagnostic(help("look at the disk"))]
    struct Outer(#[source] Middle);

    #[derive(Debug, thiserror::Error)]
    #[error("the file is gone")]
    struct Middle(#[source] std::io::Error);

    #[test]
    fn what_failed_comes_with_each_cause_once_and_then_the_help() {
        let error = Outer(Middle(std::io::Error::other("no such file")));
        let failure = StepError::caused_by(&error, Class::Retry)
            .place("database \"erp\": ")
            .help("the log has more");
        insta::assert_snapshot!(failure, @r#"
        database "erp": cannot copy: the file is gone: no such file
        look at the disk
        the log has more
        "#);
        assert_eq!(failure.class, Class::Retry);
        let (reason, help) = failure.into_parts();
        assert_eq!(
            reason,
            "database \"erp\": cannot copy: the file is gone: no such file"
        );
        assert_eq!(help.as_deref(), Some("look at the disk\nthe log has more"));
    }
}
