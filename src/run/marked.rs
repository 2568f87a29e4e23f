//! The mark on the target, after a run: whether it is still there.

use super::dispatcher::Endings;
use super::signal::Signals;
use super::warn::warn;
use crate::journal::{self, Journal};
use crate::mark::{self, Mark};
use crate::postgres::with_retries;
use crate::step::Shared;

/// Looks for what the mark has of this plan, after the last step of a run that no signal stopped: where it has nothing, nobody
/// would notice from here on that the target was put back to an earlier state, so that is a failure.
///
/// # Errors
///
/// A journal that cannot be written.
pub(super) async fn recheck_after_run(
    shared: &Shared,
    journal: &mut Journal,
    signals: &mut Signals,
    endings: &mut Endings,
) -> Result<(), journal::Error> {
    let Some(mark) = shared.mark.as_ref().filter(|_| endings.signal.is_none()) else {
        return Ok(());
    };
    let look = with_retries(&shared.plan.retry, mark::Error::class, |_| is_there(mark));
    let Some(looked) = endings.unless_signalled(signals, look).await else {
        return Ok(());
    };
    let message = match looked {
        Ok(true) => return Ok(()),
        Ok(false) => {
            "the target's mark (database pg_migrate_mark) was dropped during the run, or has nothing of this plan any more: without it \
             nobody notices that the target, or the state directory, is put back to an earlier state. Find out who dropped it (a job \
             that drops databases that it does not know); then run again, where target/mark-gone is told with a waiver for it, and \
             the run makes the mark again"
                .to_owned()
        }
        Err(error) => format!(
            "cannot look whether the target's mark (database pg_migrate_mark) is still there: {error}; run again once the cause is gone"
        ),
    };
    endings.failed += 1;
    warn(shared, journal, None, message)
}

async fn is_there(mark: &Mark) -> Result<bool, mark::Error> {
    match mark.read().await {
        Ok(entry) => Ok(entry.is_some()),
        Err(error) if error.is_gone() => Ok(false),
        Err(error) => Err(error),
    }
}
