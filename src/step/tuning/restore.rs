//! `restore-settings`: the last step of every run, whatever happened before it.

use std::time::Duration;

use super::{Machine, SettingsRestored, Target, durable, restore_settings};
use crate::event::Event;
use crate::failpoint::reach;
use crate::journal::Change;
use crate::names::{Output, Since, WriteMark};
use crate::plan::Side;
use crate::postgres::{Class, Impatient, Session, escape_control, with_patience};
use crate::shell;
use crate::step::used::written_since;
use crate::step::{Context, StepError, ToOpen, create};

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
    for ToOpen {
        name,
        made,
        written,
    } in &context.closed
    {
        let Some(database) = source.database(name) else {
            // Gone from the source since; the target's is as it was verified, and ours.
            continue;
        };
        if create::is_left_out(context, name, *made).await? {
            continue;
        }
        let opened = async {
            warnings.extend(refuse_what_others_wrote(context, name, written.as_ref()).await?);
            create::open(context, database, *made).await
        };
        match opened.await {
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

/// Nobody looks at a database again once it is open, and it may have been closed for long since it was verified: what another session
/// wrote to it then is a difference as before its verification.
async fn refuse_what_others_wrote(
    context: &Context,
    database: &str,
    before: Option<&WriteMark>,
) -> Result<Option<String>, StepError> {
    if before.is_none() {
        return Ok(None);
    }
    let target = context.endpoint(Side::Target);
    let session = Session::new(&context.application());
    let application = &context.shared.application;
    let since = written_since(target, database, &session, application, before).await?;
    let shown = escape_control(database);
    let what = match since {
        Since::Unwritten => return Ok(None),
        Since::Unknown => {
            return Ok(Some(format!(
                "database {shown}: whether another session wrote to it on the target between its verification and its opening is not \
                 known, because the server's statistics were reset, or lost in a crash; `pg-migrate verify PLAN` compares its rows"
            )));
        }
        Since::Written => format!(
            "database {shown}: another session wrote to it on the target between its verification and its opening, by the server's \
             statistics (pg_stat_database)"
        ),
    };
    if context.shared.graph.accepts_difference(database) {
        return Ok(Some(what));
    }
    let found = Change::FindDifference {
        database: database.to_owned(),
        tables: Vec::new(),
    };
    context.record(found).await?;
    Err(StepError::new(format!("{what}; it stays closed")).help(format!(
        "find out who it was; if nobody needs what was written: `pg-migrate reset PLAN --database {0} --drop {0}`, DROP DATABASE on the \
         target (a run drops nothing that was written to), and run again; where a person stands for it (`pg-migrate verify PLAN` \
         compares the rows): a waiver for target/differed, with the database's name as its object, and run again: it is opened",
        shell::quote(database)
    )))
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
