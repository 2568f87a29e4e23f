//! `restore-settings`: the last step of every run, whatever happened before it.

use super::{SettingsRestored, Target, durable, restore_settings};
use crate::graph::Tuning;
use crate::journal::Change;
use crate::names::Output;
use crate::plan::Side;
use crate::postgres::{Class, Session, with_retries};
use crate::step::{Context, StepError};

/// Restores the target's settings. A run that is stopping does not interrupt it.
pub async fn run(context: &Context) -> Result<Output, StepError> {
    let target = Target {
        endpoint: context.endpoint(Side::Target),
        session: Session::new(&context.application()),
    };
    let SettingsRestored { done, warnings } = patiently(context, &target).await?;
    for line in done {
        tracing::info!("restored: {line}");
    }
    if !context.tuned.is_empty() {
        let settings = context.tuned.keys().cloned().collect();
        context
            .record(Change::SettingsRestored { settings })
            .await?;
    }
    Ok(Output {
        warnings,
        ..Output::default()
    })
}

/// While the run is stopping no step is tried again, and a target that restarts may be why it stops.
async fn patiently(context: &Context, target: &Target<'_>) -> Result<SettingsRestored, StepError> {
    let class = |error: &StepError| {
        if context.shared.stop.is_cancelled() {
            error.class
        } else {
            Class::Fail
        }
    };
    with_retries(&context.plan().retry, class, |_| once(context, target)).await
}

/// Waits until what the step committed outlives a crash of the server, where commits do not wait themselves:
/// before the step is called done, because a step that is done is not run again.
pub async fn flush_commits(context: &Context) -> Result<(), StepError> {
    let mut settings = context.shared.graph.tuning.iter().flat_map(Tuning::session);
    if settings.any(|setting| setting.name == "synchronous_commit") {
        let target = Target {
            endpoint: context.endpoint(Side::Target),
            session: Session::new(&context.application()),
        };
        let connection = target.connect().await?;
        durable::flush_wal(&connection).await?;
        connection.close().await;
    }
    Ok(())
}

async fn once(context: &Context, target: &Target<'_>) -> Result<SettingsRestored, StepError> {
    flush_commits(context).await?;
    if context.tuned.is_empty() {
        return Ok(SettingsRestored::default());
    }
    restore_settings(
        target.endpoint,
        target.session.application(),
        &context.tuned,
    )
    .await
}
