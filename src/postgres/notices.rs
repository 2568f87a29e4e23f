//! Warnings that a server sends beside its answers: often the only word about what a statement left undone.

use std::sync::{Arc, Mutex, PoisonError};

use tokio_postgres::error::{DbError, Severity, SqlState};

use crate::escape::escape_control;

/// As many different ones are kept.
const MOST: usize = 200;

/// What the sessions of a step were warned of, each warning once.
#[derive(Debug, Clone, Default)]
pub(crate) struct Notices(Arc<Mutex<Vec<String>>>);

impl Notices {
    /// Keeps a notice that is a warning. That a way of doing something is deprecated says nothing of what was done, and that
    /// the server goes down shows in what fails.
    pub(super) fn push(&self, notice: &DbError) {
        let is_told = notice.parsed_severity() == Some(Severity::Warning)
            && *notice.code() != SqlState::WARNING_DEPRECATED_FEATURE
            && !notice.code().code().starts_with("57");
        if !is_told {
            return;
        }
        self.extend([format!(
            "the target warned: {}",
            escape_control(notice.message())
        )]);
    }

    /// Keeps what else the step should tell.
    pub(crate) fn extend(&self, warnings: impl IntoIterator<Item = String>) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for warning in warnings {
            if kept.len() < MOST && !kept.contains(&warning) {
                kept.push(warning);
            }
        }
    }

    /// All that were kept.
    pub(crate) fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
