//! Restoring the target's settings outside of a run: after one that was killed.

use std::collections::BTreeMap;

use tokio_util::sync::CancellationToken;

use crate::journal::{Change, Entry, Journal, Outcome, State, TunedSetting};
use crate::plan::{Endpoint, Plan, Retry};
use crate::postgres::{Application, Class, Impatient, with_patience};
use crate::step::tuning::{self, SettingsRestored};

use super::control::Control;
use super::error::Error;
use super::signal::{Signal, Signals};

/// Why the target still has its settings for the load.
pub(super) enum NotRestored<E> {
    Failed(E),
    /// It was given up when this came.
    Signalled(Signal),
}

/// Tries as long as the plan's patience for it lasts, or until a signal comes. `tell` gets each failure that is not the last.
pub(super) async fn patiently<T, E, F>(
    retry: Retry,
    signals: &mut Signals,
    class: impl Fn(&E) -> Class,
    mut tell: impl FnMut(&E),
    attempt: impl FnMut(u32) -> F,
) -> Result<T, NotRestored<E>>
where
    F: Future<Output = Result<T, E>>,
{
    let give_up = CancellationToken::new();
    let mut signal = None;
    let mut tried = std::pin::pin!(with_patience(
        &retry,
        retry.restore_settings,
        &give_up,
        class,
        |_, error, _| tell(error),
        attempt,
    ));
    let result = tokio::select! {
        result = &mut tried => result,
        received = signals.next() => {
            signal = Some(received);
            give_up.cancel();
            tried.await
        }
    };
    match (result, signal) {
        (Ok(done), _) => Ok(done),
        (Err(_), Some(signal)) => Err(NotRestored::Signalled(signal)),
        (Err(Impatient::Failed(error)), None) => Err(NotRestored::Failed(error)),
        (Err(Impatient::GivenUp), None) => unreachable!("only a signal gives it up"),
    }
}

/// Restores what the journal says was changed and not restored yet, and records that. `None`:
/// there is nothing to restore. A target that is away is waited for, as long as the plan says; `tell` gets why.
///
/// # Errors
///
/// A target that cannot be reached, is held by another plan's run, or is not the one that was changed; a signal.
pub(crate) async fn restore_settings(
    plan: &Plan,
    target: &Endpoint,
    journal: &mut Journal,
    signals: &mut Signals,
    mut tell: impl FnMut(&str),
) -> Result<Option<SettingsRestored>, Error> {
    let tuned = journal.state().tuned.clone();
    if tuned.is_empty() {
        return Ok(None);
    }
    let application = Application::for_state(&plan.name, journal.id());
    let last = journal.state().runs.last();
    let was = last.and_then(|run| run.target.clone());
    let restored = patiently(
        plan.retry,
        signals,
        |(_, class): &(Error, Class)| *class,
        |(error, _)| tell(&error.to_string()),
        |_| restore_once(plan, target, &application, was.as_deref(), &tuned),
    );
    let (control, outcome) = restored.await.map_err(|not_restored| match not_restored {
        NotRestored::Failed((error, _)) => error,
        NotRestored::Signalled(signal) => Error::GivenUp(signal),
    })?;
    for message in &outcome.warnings {
        journal.append(Entry::Warning {
            database: None,
            message: message.clone(),
        })?;
    }
    journal.append(
        Change::SettingsRestored {
            settings: tuned.into_keys().collect(),
            damage: outcome.damage.clone(),
        }
        .into(),
    )?;
    control.release().await;
    Ok(Some(outcome))
}

/// One attempt, with the target held for this plan; with the error, whether another may succeed.
async fn restore_once(
    plan: &Plan,
    target: &Endpoint,
    application: &Application,
    was: Option<&str>,
    tuned: &BTreeMap<String, TunedSetting>,
) -> Result<(Control, SettingsRestored), (Error, Class)> {
    let classified = |error: Error| {
        let class = match &error {
            Error::Postgres(error) => error.class(),
            _ => Class::Fail,
        };
        (error, class)
    };
    let control = Control::take(application, target, plan.retry).await;
    let control = control.map_err(classified)?;
    let application = application.application_name_for("restore-settings");
    let is = tuning::identity(target, &application).await;
    let is = is.map_err(|error| classified(error.into()))?;
    if let (Some(was), Some(is)) = (was, is)
        && was != is
    {
        let was = was.to_owned();
        return Err(classified(Error::OtherTarget { was, is }));
    }
    let restored = tuning::restore_settings(target, &application, tuned).await;
    let outcome =
        restored.map_err(|error| (Error::RestoreFailed(error.to_string()), error.class))?;
    Ok((control, outcome))
}

/// What was found when settings were restored, by [`restore_settings`] or at the end of a run, since a run of the plan completed.
/// The next run's report has it too: its reader may know no other, and a damaged cluster stays
/// damaged. All other warnings are about a database.
pub(super) fn open_warnings(state: &State) -> Vec<String> {
    let is_completed = |outcome: Option<Outcome>| outcome == Some(Outcome::Completed);
    let runs = state.runs.iter().rev();
    let since = runs.take_while(|run| !is_completed(run.ended.map(|(_, outcome, _)| outcome)));
    let mut open: Vec<String> = Vec::new();
    for (database, message) in since.flat_map(|run| &run.warnings) {
        if database.is_none() && !open.contains(message) {
            open.push(message.clone());
        }
    }
    open
}
