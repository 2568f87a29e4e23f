//! `restore-settings`: the last step of every run, whatever happened before it.

use std::time::Duration;

use super::opening::open_databases;
use super::{Machine, SettingsRestored, Target, durable, restore_settings};
use crate::event::Event;
use crate::journal::Change;
use crate::names::Output;
use crate::plan::Side;
use crate::postgres::{Class, Impatient, Session, with_patience};
use crate::step::{Context, StepError};

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
    let (told, failed) = open_databases(context).await;
    output.warnings.extend(told);
    match failed {
        Some(error) => Err(error.with_output(output)),
        None => Ok(output),
    }
}

/// Tries for longer than a step, and also while the run is stopping: a target that restarts may be why it stops, and it comes
/// back with the settings for the load.
async fn patiently(context: &Context, target: &Target<'_>) -> Result<SettingsRestored, StepError> {
    let retry = &context.plan().retry;
    let step = || context.step().id.clone();
    // Without a receiver the migration goes on.
    let send = |event| drop(context.shared.events.send(event));
    let tell = |attempt, error: &StepError, pause: Duration| {
        tracing::warn!(attempt, %error, ?pause, "the target's settings are not restored yet");
        send(Event::StepWillRetry {
            step: step(),
            attempt,
            error: error.to_string(),
            pause_seconds: pause.as_secs_f64(),
        });
    };
    let attempt = |number| {
        if number > 1 {
            send(Event::StepStarted { step: step() });
        }
        once(context, target)
    };
    let restored = with_patience(
        retry,
        retry.restore_settings,
        &context.shared.give_up,
        |error: &StepError| error.class,
        tell,
        attempt,
    );
    restored.await.map_err(|impatient| match impatient {
        // The schedule would be patient once more for each of its attempts.
        Impatient::Failed(error) if error.class == Class::Retry => {
            error.class(Class::Fail).help(format!(
                "restoring the target's settings was tried for {} s (retry.restore_settings)",
                retry.restore_settings.as_secs()
            ))
        }
        Impatient::Failed(error) => error,
        Impatient::GivenUp => StepError::interrupted(),
    })
}

/// Waits until what the step committed outlives a crash of the server, before the step is called done, because a step that is
/// done is not run again. Whether commits waited themselves is not asked: a client program's sessions have what the database or
/// the role says of `synchronous_commit`, which the restore itself may have set.
pub(crate) async fn flush_commits(context: &Context) -> Result<(), StepError> {
    let target = Target {
        endpoint: context.endpoint(Side::Target),
        session: Session::new(&context.application()),
    };
    let connection = target.connect().await?;
    durable::flush_wal(&connection).await?;
    connection.close().await;
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
        (context.plan().tuning.found_unsafe, Machine::Same),
    )
    .await
}
