//! The servers that a step touched are still those that the run began with.

use super::{Context, StepError};
use crate::plan::Side;
use crate::postgres::{Class, Error, connect, with_retries};

/// Asks each of them once more, after all of the step's work: client programs connect by themselves, and another server may
/// have answered them.
///
/// # Errors
///
/// Another server, or one that went back; one that cannot be reached as often as the plan tries.
pub(super) async fn ensure_same_servers(context: &Context) -> Result<(), StepError> {
    let kind = context.step().id.kind.traits();
    if kind.touches_source {
        ask(context, Side::Source).await?;
    }
    if kind.touches_target {
        ask(context, Side::Target).await?;
    }
    Ok(())
}

async fn ask(context: &Context, side: Side) -> Result<(), StepError> {
    let endpoint = context.endpoint(side);
    let session = context.session(side);
    let class = |error: &Error| {
        if context.stop.is_cancelled() {
            Class::Fail
        } else {
            error.class()
        }
    };
    let asked = with_retries(&context.plan().retry, class, |_| {
        // What it sees is compared with what all connections saw before.
        connect(endpoint, &endpoint.database, &session)
    });
    asked.await?.close().await;
    Ok(())
}
