//! `restore-settings`: the last step of every run, whatever happened before it.

use super::{PutBack, Target, durable, put_back};
use crate::failpoint::reach;
use crate::graph::Tuning;
use crate::journal::Change;
use crate::names::Output;
use crate::plan::Side;
use crate::postgres::{Class, Session};
use crate::step::{Context, StepError, create};

/// Puts the target's settings back. A run that is stopping does not interrupt it.
pub async fn run(context: &Context) -> Result<Output, StepError> {
    let target = Target {
        endpoint: context.endpoint(Side::Target),
        session: Session::new(&context.application()),
    };
    let PutBack { done, warnings } = patiently(context, &target).await?;
    for line in done {
        tracing::info!("put back: {line}");
    }
    if !context.tuned.is_empty() {
        let settings = context.tuned.keys().cloned().collect();
        context.record(Change::PutBack { settings }).await?;
    }
    open_databases(context).await?;
    Ok(Output {
        warnings,
        ..Output::default()
    })
}

/// The target is safe again: clients may use what is verified. One that cannot be opened keeps no other closed.
async fn open_databases(context: &Context) -> Result<(), StepError> {
    let source = &context.shared.inspection.source;
    let mut failed = None;
    for name in &context.closed {
        let Some(database) = source.database(name) else {
            // Gone from the source since; the target's is as it was verified, and ours.
            continue;
        };
        if let Err(error) = create::open(context, database).await {
            tracing::error!(database = name, error = %error.message, "cannot open the database");
            failed.get_or_insert(error);
        }
        reach!("{name} opened");
    }
    failed.map_or(Ok(()), Err)
}

/// While the run is stopping nobody tries a step again, and a target that restarts may be why it stops.
async fn patiently(context: &Context, target: &Target<'_>) -> Result<PutBack, StepError> {
    let retry = context.plan().retry;
    let mut attempt = 1;
    loop {
        match once(context, target).await {
            Err(error)
                if error.class == Class::Retry
                    && context.shared.stop.is_cancelled()
                    && attempt < retry.attempts =>
            {
                tracing::warn!(attempt, error = %error.message, "the settings could not be put back yet");
                tokio::time::sleep(retry.pause_after(attempt)).await;
                attempt += 1;
            }
            result => return result,
        }
    }
}

/// Waits until what the step committed outlives a crash of the server, where commits do not wait themselves:
/// before the step is called done, since then nobody does it again.
pub async fn keep(context: &Context) -> Result<(), StepError> {
    let mut settings = context.shared.graph.tuning.iter().flat_map(Tuning::session);
    if settings.any(|setting| setting.name == "synchronous_commit") {
        let target = Target {
            endpoint: context.endpoint(Side::Target),
            session: Session::new(&context.application()),
        };
        let connection = target.connect().await?;
        durable::flush_commits(&connection).await?;
        connection.close().await;
    }
    Ok(())
}

async fn once(context: &Context, target: &Target<'_>) -> Result<PutBack, StepError> {
    keep(context).await?;
    if context.tuned.is_empty() {
        return Ok(PutBack::default());
    }
    put_back(
        target.endpoint,
        target.session.application(),
        &context.tuned,
    )
    .await
}
