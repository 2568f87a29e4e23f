//! Restoring the target's settings outside of a run: after one that was killed.

use std::collections::BTreeMap;

use crate::journal::{Change, Entry, Journal, Outcome, State, TunedSetting};
use crate::names::Continuity;
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
/// A target that cannot be reached, is held by another plan's run, or is not the one that was changed: another server has
/// nothing to restore, and to say that it was restored would leave the one that was changed as it is. `may_be_older`: the plan
/// says that it was put back to an older state.
pub(crate) async fn restore_settings(
    plan: &Plan,
    target: &Endpoint,
    journal: &mut Journal,
    may_be_older: bool,
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
    let promoted = match since(journal.state(), target) {
        (Continuity::Same, _) => None,
        (Continuity::Promoted { .. }, difference) => Some(other_server(&difference, &tuned)),
        (_, difference) if may_be_older => {
            tracing::warn!(
                difference,
                "the target is in an older state, as the plan says"
            );
            None
        }
        (_, difference) => return Err(Error::OlderTarget { difference }),
    };
    let mut outcome = tuning::restore_settings(target, &application, &tuned)
        .await
        .map_err(|error| Error::RestoreFailed(error.to_string()))?;
    outcome.warnings.extend(promoted);
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

/// What the target is to the one that a run saw last, and what shows it.
fn since(state: &State, target: &Endpoint) -> (Continuity, String) {
    match (state.seen.target, target.watch.latest()) {
        (Some(last), Some(now)) => (last.compare(&now), last.difference(&now)),
        _ => (Continuity::Same, String::new()),
    }
}

/// A standby has a `postgresql.auto.conf` of its own: that of the server that it followed is as the load left it.
fn other_server(difference: &str, tuned: &BTreeMap<String, TunedSetting>) -> String {
    let names: Vec<&str> = tuned.keys().map(String::as_str).collect();
    format!(
        "the target was promoted since its settings were changed for the load ({difference}): the server that was the target \
         before still has them in its postgresql.auto.conf ({}); before it is used again, ALTER SYSTEM RESET each of them \
         there, or make it from a new base backup",
        names.join(", ")
    )
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
