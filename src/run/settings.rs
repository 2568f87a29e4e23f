//! Restoring the target's settings outside of a run: after one that was killed.

use crate::journal::{Change, Entry, Journal, Outcome, State};
use crate::plan::{Endpoint, Plan};
use crate::postgres::Application;
use crate::step::tuning::{self, SettingsRestored};

use super::control::{Claim, Control};
use super::error::Error;

/// Restores what the journal says was changed and not restored yet, and records that. `None`:
/// there is nothing to restore.
///
/// # Errors
///
/// A target that cannot be reached, is held by another plan's run, or is not the one that was changed.
pub(crate) async fn restore_settings(
    plan: &Plan,
    target: &Endpoint,
    journal: &mut Journal,
) -> Result<Option<SettingsRestored>, Error> {
    let tuned = journal.state().tuned.clone();
    if tuned.is_empty() {
        return Ok(None);
    }
    let application = Application::for_state(&plan.name, journal.id());
    let claim = Claim {
        plan,
        target,
        journal,
        application: &application,
    };
    let control = Control::take(&claim).await?;
    let application = application.application_name_for("restore-settings");
    let is = tuning::identity(target, &application).await?;
    let last = journal.state().runs.last();
    let was = last.and_then(|run| run.target.clone());
    if let (Some(was), Some(is)) = (was, is)
        && was != is
    {
        return Err(Error::OtherTarget { was, is });
    }
    let outcome = tuning::restore_settings(target, &application, &tuned)
        .await
        .map_err(|error| Error::RestoreFailed(error.to_string()))?;
    for message in &outcome.warnings {
        journal.append(Entry::Warning {
            database: None,
            message: message.clone(),
        })?;
    }
    let restored = Change::SettingsRestored {
        settings: tuned.into_keys().collect(),
        damage: outcome.damage.clone(),
    };
    journal.append(restored.clone().into())?;
    control.mark(&restored, journal.state()).await?;
    control.release().await;
    Ok(Some(outcome))
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
