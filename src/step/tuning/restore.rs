//! `restore-settings`: the last step of every run, whatever happened before it.

use super::{SettingsRestored, Target, durable, restore_settings};
use crate::failpoint::reach;
use crate::graph::Tuning;
use crate::journal::Change;
use crate::names::Output;
use crate::plan::Side;
use crate::postgres::{Class, Session, with_retries};
use crate::step::{Context, StepError, create};

/// Restores the target's settings. A run that is stopping does not interrupt it.
pub(crate) async fn run(context: &Context) -> Result<Output, StepError> {
    let target = Target {
        endpoint: context.endpoint(Side::Target),
        session: Session::new(&context.application()),
    };
    let SettingsRestored {
        done,
        warnings,
        damage,
    } = patiently(context, &target).await?;
    for line in done {
        tracing::info!("restored: {line}");
    }
    if !context.tuned.is_empty() {
        let settings = context.tuned.keys().cloned().collect();
        context
            .record(Change::SettingsRestored {
                settings,
                damage: damage.clone(),
            })
            .await?;
    }
    let mut output = Output {
        warnings,
        ..Output::default()
    };
    if let Some(damage) = damage {
        return Err(StepError::new(format!(
            "{damage}; its databases stay closed to other roles"
        ))
        .help("`pg-migrate explain target/crashed-unsafe` tells what to do")
        .with_output(output));
    }
    output.warnings.extend(open_databases(context).await?);
    Ok(output)
}

/// The target is safe again: clients may use what is verified. One that cannot be opened keeps no other closed.
async fn open_databases(context: &Context) -> Result<Vec<String>, StepError> {
    let source = &context.shared.inspection.source;
    let mut warnings = Vec::new();
    let mut failed = None;
    for (name, made) in &context.closed {
        let Some(database) = source.database(name) else {
            // Gone from the source since; the target's is as it was verified, and ours.
            continue;
        };
        if create::is_left_out(context, name, *made).await? {
            continue;
        }
        match create::open(context, database, *made).await {
            Ok(refused) => warnings.extend(refused),
            Err(error) => {
                tracing::error!(database = name, %error, "cannot open the database");
                failed.get_or_insert(error);
            }
        }
        reach!("{name} opened");
    }
    failed.map_or(Ok(warnings), Err)
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
pub(crate) async fn flush_commits(context: &Context) -> Result<(), StepError> {
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
