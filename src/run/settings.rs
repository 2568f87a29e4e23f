//! Restoring the target's settings outside of a run: after one that was killed.

use std::collections::BTreeMap;

use tokio_util::sync::CancellationToken;

use crate::catalog::SAFEGUARDS;
use crate::journal::{Change, Entry, Journal, Outcome, State, TunedSetting};
use crate::mark::{self, Mark, Marked, Standing};
use crate::names::{Continuity, continuity};
use crate::plan::{Endpoint, Plan, Retry};
use crate::postgres::{Application, Class, Impatient, Session, connect, with_patience};
use crate::step::tuning::{self, Machine, SettingsRestored};

use super::control::{Claim, Control};
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

/// Restores what the journal says was changed and not restored yet, or, where that has nothing to say, the target's mark, and records
/// that. `None`: there is nothing to restore. A target that is away is waited for, as long as the plan says; `tell` gets why.
///
/// # Errors
///
/// A signal; a target that cannot be reached, is held by another plan's run, or is not the one that was changed: another server has
/// nothing to restore, and to say that it was restored would leave the one that was changed as it is. `may_be_older`: the plan
/// says that it was put back to an older state.
pub(crate) async fn restore_settings(
    plan: &Plan,
    target: &Endpoint,
    journal: &mut Journal,
    marked: &BTreeMap<String, TunedSetting>,
    may_be_older: bool,
    signals: &mut Signals,
    mut tell: impl FnMut(&str),
) -> Result<Option<SettingsRestored>, Error> {
    let tuned = match &journal.state().tuned {
        known if known.is_empty() => marked.clone(),
        known => known.clone(),
    };
    if tuned.is_empty() {
        return Ok(None);
    }
    let attempt = Attempt {
        plan,
        target,
        journal,
        tuned: &tuned,
        may_be_older,
    };
    let restored = patiently(
        plan.retry,
        signals,
        |(_, class): &(Error, Class)| *class,
        |(error, _)| tell(&error.to_string()),
        |_| attempt.restore(),
    );
    let (control, outcome) = restored.await.map_err(|not_restored| match not_restored {
        NotRestored::Failed((error, _)) => error,
        NotRestored::Signalled(signal) => Error::GivenUp(signal),
    })?;
    let recorded = record(journal, &control, &tuned, &outcome).await;
    control.release().await;
    recorded.map(|()| Some(outcome))
}

async fn record(
    journal: &mut Journal,
    control: &Control,
    tuned: &BTreeMap<String, TunedSetting>,
    outcome: &SettingsRestored,
) -> Result<(), Error> {
    // A state directory that was lost has nothing to go on from.
    if !journal.state().runs.is_empty() {
        for message in &outcome.warnings {
            journal.append(Entry::Warning {
                database: None,
                message: message.clone(),
            })?;
        }
        let restored = Change::SettingsRestored {
            settings: tuned.keys().cloned().collect(),
            damage: outcome.damage.clone(),
        };
        journal.append(restored.into())?;
    }
    // How far the plan is, the mark is not told: this journal may be an older one.
    if let Some(mark) = &control.mark {
        let names: Vec<&str> = tuned.keys().map(String::as_str).collect();
        mark.restored(&names, outcome.damage.as_deref()).await?;
    }
    Ok(())
}

/// The settings of the target that are still those for the load by its mark, whichever state directory of the plan changed them; with
/// nothing on record, since the state directory was lost or put back to an earlier state. Of this one's the mark is not believed where
/// the journal is not older: they were restored while the mark could not be written to, and what is set now is the owner's.
///
/// # Errors
///
/// A target that cannot be reached.
pub(crate) async fn marked_settings(
    plan: &Plan,
    target: &Endpoint,
    (state, id): (&State, Option<&str>),
) -> Result<BTreeMap<String, TunedSetting>, Error> {
    let mark = Mark::to_read(target, &plan.name, id);
    let marked = read(&mark, state, id).await;
    mark.close().await;
    let settings = marked?.into_iter().flat_map(|marked| marked.settings);
    Ok(settings.collect())
}

async fn read(mark: &Mark, state: &State, id: Option<&str>) -> Result<Vec<Marked>, Error> {
    let mut marked = mark.of_plan().await?;
    let is_own = |one: &Marked| Some(one.state.as_str()) == id;
    if marked.iter().any(is_own) {
        let entry = mark.read().await?;
        // A target that was put back to an older state has the settings of then.
        if mark::compare(entry.as_ref(), state) == Standing::Agrees {
            marked.retain(|one| !is_own(one));
        }
    }
    Ok(marked)
}

/// Those of the [`SAFEGUARDS`] that are off on the target for every new session.
///
/// # Errors
///
/// A target that cannot be reached.
pub(crate) async fn safeguards_off(plan: &Plan, target: &Endpoint) -> Result<Vec<String>, Error> {
    let application = Application::new(&plan.name).application_name_for("revert");
    let connection = connect(target, &target.database, &Session::new(&application)).await?;
    let rows = connection
        .query(
            "SELECT name FROM pg_catalog.pg_settings \
             WHERE name = ANY ($1) AND reset_val = 'off' ORDER BY 1",
            &[&SAFEGUARDS.as_slice()],
        )
        .await
        .map_err(connection.failed("look at the target's settings"))?;
    connection.close().await;
    Ok(rows.iter().map(|row| row.get(0)).collect())
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

/// Nobody looked for copies that were made of the target after the run that set them was killed, and of a disk nothing shows one.
fn unwatched(tuned: &BTreeMap<String, TunedSetting>) -> Option<String> {
    let off: Vec<&str> = SAFEGUARDS
        .into_iter()
        .filter(|name| {
            tuned
                .get(*name)
                .is_some_and(|setting| setting.values.contains("off"))
        })
        .collect();
    (!off.is_empty()).then(|| {
        format!(
            "the target was left with its settings for the load by a run that did not end ({} off), and they are restored now only: a base \
             backup or a snapshot of its disks that was taken meanwhile has them too, and half a load; take it again, or ALTER SYSTEM \
             RESET them on a server that is started from it, before it is used",
            off.join(", ")
        )
    })
}

/// What is to be restored, and where.
struct Attempt<'a> {
    plan: &'a Plan,
    target: &'a Endpoint,
    journal: &'a Journal,
    tuned: &'a BTreeMap<String, TunedSetting>,
    may_be_older: bool,
}

impl Attempt<'_> {
    /// One attempt, with the target held for this plan; with the error, whether another may succeed.
    async fn restore(&self) -> Result<(Control, SettingsRestored), (Error, Class)> {
        self.try_to_restore().await.map_err(|error| {
            let class = match &error {
                Error::Postgres(error) => error.class(),
                Error::Mark(error) => error.class(),
                Error::RestoreFailed { class, .. } => *class,
                _ => Class::Fail,
            };
            (error, class)
        })
    }

    async fn try_to_restore(&self) -> Result<(Control, SettingsRestored), Error> {
        let Attempt {
            plan,
            target,
            journal,
            tuned,
            ..
        } = self;
        let claim = Claim::new(plan, target, journal).only_to_undo();
        let control = Control::take(&claim).await?;
        let application = claim.application.application_name_for("restore-settings");
        let is = tuning::identity(target, &application).await?;
        let last = journal.state().runs.last();
        let was = last.and_then(|run| run.target.clone());
        if let (Some(was), Some(is)) = (was, is)
            && was != is
        {
            return Err(Error::OtherTarget { was, is });
        }
        let promoted = self.promoted()?;
        let machine = match promoted {
            Some(_) => Machine::Another,
            None => Machine::Same,
        };
        let how = (plan.tuning.found_unsafe, machine);
        let restored = tuning::restore_settings(target, &application, tuned, how).await;
        let mut outcome = restored.map_err(|error| Error::RestoreFailed {
            class: error.class,
            what: error.to_string(),
        })?;
        outcome.warnings.extend(promoted);
        outcome.warnings.extend(unwatched(tuned));
        Ok((control, outcome))
    }

    /// What is to be said where the target was promoted since.
    fn promoted(&self) -> Result<Option<String>, Error> {
        // A state directory that was lost has seen nothing, and the mark has what was seen when they were changed.
        let mut at_change = self.tuned.values().filter_map(|setting| setting.since.seen);
        let seen = self
            .journal
            .state()
            .seen
            .target
            .or_else(|| at_change.next());
        match continuity(seen, self.target.watch.latest()) {
            (Continuity::Same, _) => Ok(None),
            (Continuity::Promoted { .. }, difference) => {
                Ok(Some(other_server(&difference, self.tuned)))
            }
            (_, difference) if self.may_be_older => {
                tracing::warn!(
                    difference,
                    "the target is in an older state, as the plan says"
                );
                Ok(None)
            }
            (_, difference) => Err(Error::OlderTarget { difference }),
        }
    }
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
