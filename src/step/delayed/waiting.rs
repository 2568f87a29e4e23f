//! Locks on tables that clients use: who waits for one keeps all who come later waiting as well, so nobody waits for long, but
//! again and again.

use std::time::Duration;

use crate::plan::Retry;
use crate::postgres::{Class, with_retries};
use crate::step::{Context, StepError};

/// So long a session waits for a lock at a time, and clients behind it.
pub(super) const LOCK_TIMEOUT: Duration = Duration::from_secs(5);

/// About an hour: transactions of clients that last longer are for a person to look at. A run that is stopping waits for the end
/// of a pause.
const PATIENCE: Retry = Retry {
    attempts: 360,
    backoff: Duration::from_secs(1),
    max_backoff: Duration::from_secs(5),
    restore_settings: Duration::ZERO,
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
        if error.lock_refused && !context.shared.stop.is_cancelled() {
            Class::Retry
        } else {
            Class::Fail
        }
    };
    let stop = &context.shared.stop;
    // An attempt is not dropped: it has to end what it began on the server.
    with_retries(&PATIENCE, class, |_| {
        let next = (!stop.is_cancelled()).then(&mut attempt);
        async {
            match next {
                Some(attempt) => attempt.await,
                None => Err(StepError::interrupted()),
            }
        }
    })
    .await
}
