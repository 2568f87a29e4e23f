//! Locks on tables that clients use: who waits for one keeps all who come later waiting as well, so nobody waits for long, but
//! again and again.

use std::time::Duration;

use crate::plan::Retry;
use crate::postgres::{Class, with_retries};
use crate::step::{Context, StepError};

/// So long a session waits for a lock at a time, and clients behind it.
pub(super) const LOCK_TIMEOUT: Duration = Duration::from_secs(5);

/// About an hour: transactions of clients that last longer are for a person to look at.
const PATIENCE: Retry = Retry {
    attempts: 120,
    backoff: Duration::from_secs(1),
    max_backoff: Duration::from_secs(30),
};

/// Does what needs such a lock. It is tried again where another session was in the way.
pub(super) async fn patiently<T, F>(
    context: &Context,
    mut attempt: impl FnMut() -> F,
) -> Result<T, StepError>
where
    F: Future<Output = Result<T, StepError>>,
{
    let class = |error: &StepError| {
        if error.lock_refused {
            Class::Retry
        } else {
            Class::Fail
        }
    };
    let attempts = with_retries(&PATIENCE, class, |_| attempt());
    tokio::select! {
        // What was done is done.
        biased;
        result = attempts => result,
        () = context.shared.stop.cancelled() => Err(StepError::interrupted()),
    }
}
