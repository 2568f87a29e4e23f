//! Putting the target's settings back outside of a run: after one that was killed.

use crate::journal::{Change, Entry, Journal, Outcome, State};
use crate::plan::{Endpoint, Plan};
use crate::postgres::Application;
use crate::step::tuning::{PutBack, identity, put_back as put_settings_back};

use super::control::Control;
use super::error::Error;

/// Puts back what the journal says was changed and not put back yet, and puts that on record. `None`:
/// there is nothing to put back.
///
/// # Errors
///
/// A target that cannot be reached, is held by another plan's run, or is another one than was changed.
pub(crate) async fn put_back(
    plan: &Plan,
    target: &Endpoint,
    journal: &mut Journal,
) -> Result<Option<PutBack>, Error> {
    let tuned = journal.state().tuned.clone();
    if tuned.is_empty() {
        return Ok(None);
    }
    let application = Application::for_state(&plan.name, journal.id());
    let control = Control::take(&application, target, plan.retry).await?;
    let application = application.application_name_for("restore-settings");
    let is = identity(target, &application).await?;
    let last = journal.state().runs.last();
    let was = last.and_then(|run| run.target.clone());
    if let (Some(was), Some(is)) = (was, is)
        && was != is
    {
        return Err(Error::OtherTarget { was, is });
    }
    let outcome = put_settings_back(target, &application, &tuned)
        .await
        .map_err(|error| Error::NotPutBack(error.message))?;
    for message in &outcome.warnings {
        journal.append(Entry::Warning {
            database: None,
            message: message.clone(),
        })?;
    }
    journal.append(Entry::Change {
        change: Change::PutBack {
            settings: tuned.into_keys().collect(),
        },
    })?;
    control.release().await;
    Ok(Some(outcome))
}

/// What was found when settings were put back, by [`put_back`] or at the end of a run, since a run of the plan completed.
/// The next run's report tells it too: whoever reads that may know no other, and a cluster that is not to be trusted
/// stays so. No other warning is about no database.
pub(super) fn doubts(state: &State) -> Vec<String> {
    let is_completed = |outcome: Option<Outcome>| outcome == Some(Outcome::Completed);
    let runs = state.runs.iter().rev();
    let since = runs.take_while(|run| !is_completed(run.ended.map(|(_, outcome, _)| outcome)));
    let mut doubts: Vec<String> = Vec::new();
    for (database, message) in since.flat_map(|run| &run.warnings) {
        if database.is_none() && !doubts.contains(message) {
            doubts.push(message.clone());
        }
    }
    doubts
}
