//! What is wrong with a plan file, told with the file's own lines.

use std::error::Error;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use miette::{Diagnostic, LabeledSpan, NamedSource};

use crate::escape::{cover_control, escape_control, escape_control_lines};

/// A plan file that cannot be used, with everything that is wrong with it.
///
/// Rendered by miette, each problem shows the file's line, a caret and what to write instead.
/// Neither the rendering nor `Debug` shows a password that was written into the file.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[error("{message}")]
pub struct PlanError {
    message: String,
    #[help]
    help: Option<String>,
    #[source]
    cause: Option<Box<dyn Error + Send + Sync>>,
    #[source_code]
    text: Option<Arc<NamedSource<String>>>,
    #[related]
    problems: Vec<Problem>,
}

impl PlanError {
    /// The file could not be read.
    pub(super) fn unreadable(path: &Path, cause: std::io::Error) -> Self {
        let help = match cause.kind() {
            std::io::ErrorKind::NotFound => {
                "`pg-migrate init --out FILE` writes a plan to start from"
            }
            std::io::ErrorKind::PermissionDenied => {
                "pg-migrate reads the plan as the user who starts it"
            }
            _ => "a plan is a TOML file; `pg-migrate init` writes one",
        };
        PlanError {
            message: format!("cannot read the plan file {}", shown(path)),
            help: Some(help.to_owned()),
            cause: Some(Box::new(cause)),
            text: None,
            problems: Vec::new(),
        }
    }

    /// The file's content is not a text that could be parsed, so there are no lines to show.
    pub(super) fn not_a_plan(path: &Path, message: String, help: &str) -> Self {
        PlanError {
            message: format!("the plan file {} {message}", shown(path)),
            help: Some(help.to_owned()),
            cause: None,
            text: None,
            problems: Vec::new(),
        }
    }

    /// The file was read, and these are its problems. `text` is shown: secrets must be masked.
    pub(super) fn invalid(path: &Path, text: String, mut problems: Vec<Problem>) -> Self {
        problems.sort_by_key(|problem| problem.offset());
        let count = match problems.len() {
            1 => "a problem".to_owned(),
            count => format!("{count} problems"),
        };
        PlanError {
            message: format!("the plan file {} has {count}", shown(path)),
            help: None,
            cause: None,
            text: Some(Arc::new(NamedSource::new(
                shown(path),
                cover_control(&text),
            ))),
            problems,
        }
    }

    /// The problems of a file that could be read, in the file's order.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }
}

/// One problem of a plan file: what is wrong, where, and what to write instead.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[error("{message}")]
pub struct Problem {
    message: String,
    #[label(collection)]
    labels: Vec<LabeledSpan>,
    #[help]
    help: Option<String>,
    absence: bool,
}

impl Problem {
    pub(super) fn new(message: impl Into<String>) -> Self {
        Problem {
            message: escape_control(&message.into()).into_owned(),
            labels: Vec::new(),
            help: None,
            absence: false,
        }
    }

    /// Points at bytes of the file. The first place given is the problem's own.
    pub(super) fn at(mut self, span: Range<usize>, label: impl Into<String>) -> Self {
        let label =
            Some(escape_control(&label.into()).into_owned()).filter(|label| !label.is_empty());
        self.labels.push(LabeledSpan::new_with_span(label, span));
        self
    }

    /// Says what to do about it.
    pub(super) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(escape_control_lines(&help.into()));
        self
    }

    /// Marks a problem that is about something the file does not say. After a syntax error
    /// it is unknown whether it is really absent.
    pub(super) fn of_absence(mut self) -> Self {
        self.absence = true;
        self
    }

    pub(super) fn is_of_absence(&self) -> bool {
        self.absence
    }

    /// Where in the file the problem is, in bytes; 0 for one about the file as a whole.
    pub fn offset(&self) -> usize {
        self.labels.first().map_or(0, LabeledSpan::offset)
    }
}

fn shown(path: &Path) -> String {
    escape_control(&path.to_string_lossy()).into_owned()
}

/// `` `a`, `b` or `c` ``.
pub(super) fn list<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    let mut words: Vec<String> = words.into_iter().map(|word| format!("`{word}`")).collect();
    match words.pop() {
        Some(last) if words.is_empty() => last,
        Some(last) => format!("{} or {last}", words.join(", ")),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_read_as_sentences() {
        assert_eq!(list(["a"]), "`a`");
        assert_eq!(list(["a", "b"]), "`a` or `b`");
        assert_eq!(list(["a", "b", "c"]), "`a`, `b` or `c`");
    }
}
