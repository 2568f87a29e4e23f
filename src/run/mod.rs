//! The runner: joins schedule, journal and steps on tokio.

mod archives;
mod control;
mod copies;
mod damage;
mod discard;
mod dispatcher;
mod doubts;
mod error;
mod indexes;
mod job;
mod leftovers;
mod made;
mod marked;
mod members;
mod openings;
mod placed;
mod presence;
mod properties;
mod quiet;
mod resume;
mod roles;
mod settings;
mod signal;
mod snapshots;
mod source_mark;
mod unlogged;
mod used;
mod warn;

pub(crate) use crate::mark::{Lacks, LeftDatabase};
pub(crate) use crate::step::create::obstacle as obstacle_to_remaking;
pub(crate) use crate::step::tuning::SettingsRestored;
pub(crate) use control::{Marking, Older, look_at_mark, refuse_held_target};
pub(crate) use damage::marked_damage;
pub(crate) use discard::{Asked, discard};
pub(crate) use doubts::{Doubt, Doubts};
pub(crate) use error::Error;
pub(crate) use job::Job;
pub(crate) use made::{Made, MadeDatabase, Use, Whose, made};
pub(crate) use presence::{is_missing, is_other_server, is_replaced, missing};
pub(crate) use resume::{Resume, ResumePolicy, resume};
pub(crate) use roles::changed_since_completion;
pub(crate) use settings::{marked_settings, restore_settings, safeguards_off};
pub(crate) use signal::Signals;
pub(crate) use source_mark::{SourceMark, look_at_source_mark};

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use indexmap::IndexMap;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::event::{DatabaseWork, Event};
use crate::exit::Exit;
use crate::failpoint::reach;
use crate::graph::{self, StepIndex};
use crate::journal::{self, Entry, Journal, Outcome};
use crate::names::{Sightings, StepId};
use crate::postgres::escape_control;
use crate::schedule::Schedule;
use crate::step::archive::ensure_owned;
use crate::step::tuning;
use crate::step::{Shared, StepError};
use control::{Claim, Control};
use dispatcher::{Dispatcher, Endings};
use resume::{EMPTIED, GONE, PUT_ELSEWHERE};
use settings::NotRestored;
use unlogged::UnloggedCheck;

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Finished {
    pub outcome: Outcome,
    pub exit: Exit,
    /// A signal may come before the run's first record.
    pub has_begun: bool,
}

impl Job {
    /// Runs what is not done yet, to its end or to an orderly stop.
    ///
    /// # Errors
    ///
    /// Where nothing was started, or the journal could not be written. A step that fails is not an error here:
    /// see [`Finished`].
    pub(crate) async fn run(
        mut self,
        signals: &mut Signals,
        events: mpsc::UnboundedSender<Event>,
    ) -> Result<Finished, Error> {
        ensure_owned(&graph::archives(&self.plan), self.journal.id()).map_err(|error| {
            let (what, help) = error.into_parts();
            Error::Archives { what, help }
        })?;
        let claim = Claim::new(&self.plan, &self.target, &self.journal);
        let control = Control::take(&claim).await?;
        let application = claim.application;
        leftovers::end(&self.source, &application, None).await?;
        // What is done again for that is as if it had never been done.
        let older = self.older_target.as_ref();
        let doubts = Doubts::find(self.journal.state(), &self.inspection, older);
        doubts.record(&mut self.journal)?;
        openings::settle(&self.target, &application, &mut self.journal).await?;
        let stop = CancellationToken::new();
        let state = self.journal.state();
        let missing = missing(self.graph.database_names(), state, &self.inspection.target);
        if let Some(error) = presence::refusal(&missing) {
            control.release().await;
            return Err(error);
        }
        let read = async {
            let is_missing = |name: &str| missing.iter().any(|one| one.database == name);
            let mut suspects = unlogged::not_yet_verified(&self.graph, state, &self.inspection);
            suspects.retain(|suspect| !is_missing(&suspect.database));
            let check = UnloggedCheck {
                plan: &self.plan,
                target: &self.target,
                application: &application,
            };
            let (emptied, failed) = check.emptied(suspects).await;
            for (database, error) in failed {
                // Its counts will tell.
                tracing::warn!(database, %error, "cannot look for unlogged tables that a crash emptied");
            }
            let elsewhere = placed::put_elsewhere(
                &self.graph,
                state,
                &self.plan.tablespaces,
                &self.inspection.source,
            );
            let mut lost: HashMap<String, &'static str> = HashMap::new();
            lost.extend(elsewhere.into_iter().map(|name| (name, PUT_ELSEWHERE)));
            lost.extend(emptied.into_iter().map(|found| (found.database, EMPTIED)));
            lost.extend(missing.iter().map(|one| (one.database.clone(), GONE)));
            let whole = archives::whole(&self.graph, state, &self.plan, &lost, &stop).await;
            (lost, whole)
        };
        let (lost, whole) = tokio::select! {
            read = read => read,
            signal = signals.next() => {
                // It may be reading a file.
                stop.cancel();
                control.release().await;
                return Ok(Finished {
                    outcome: Outcome::Interrupted,
                    exit: signal.exit(),
                    has_begun: false,
                });
            }
        };
        let policy = ResumePolicy {
            source_is_read_only: self.plan.source_read_only,
            verify: self.plan.verify,
        };
        let resumed = resume(
            &self.graph,
            state,
            policy,
            |database| lost.get(database).copied(),
            |dump| whole.contains(dump),
        );
        if !resumed.conflicts.is_empty() {
            control.release().await;
            return Err(Error::Conflict(resumed.conflicts.join("\n")));
        }
        let in_use = used::in_use(
            &self.graph,
            state,
            (&self.target, &self.inspection.target),
            &application,
            &resumed,
        )
        .await;
        if !in_use.is_empty() {
            control.release().await;
            return Err(Error::InUse(in_use.join("\n")));
        }
        let confirmed = unlogged::confirmed(&self.graph, state, &resumed.done);
        self.begin(&resumed, &events)?;
        control.mark(None, self.journal.state()).await?;
        if let Some(mark) = &control.mark {
            let roles = self.inspection.source.roles.iter();
            let roles: Vec<&str> = roles.map(|role| &*role.name).collect();
            let source = self.inspection.source.system_identifier.as_deref();
            mark.use_roles(source, &roles).await?;
        }
        let (changes, requests) = mpsc::channel(16);
        let shared = Arc::new(Shared {
            plan: self.plan,
            source: self.source,
            target: self.target,
            inspection: self.inspection,
            graph: self.graph,
            application,
            stop,
            give_up: CancellationToken::new(),
            events,
            changes,
            mark: control.mark.clone(),
        });
        quiet::begin(&shared, &mut self.journal).await?;
        let schedule = Schedule::new(&shared.graph, resumed.done, shared.plan.retry)?;
        let dispatcher =
            Dispatcher::new(Arc::clone(&shared), schedule, &mut self.journal, requests);
        let mut endings = match dispatcher.run(signals, control.lost.clone()).await {
            Ok(endings) => endings,
            Err(error) => {
                emergency_restore(&shared, &self.journal, signals).await;
                return Err(error.into());
            }
        };
        reach!("run over");
        quiet::tell_writes(&shared, &mut self.journal).await?;
        roles::tell_changes(&shared, &mut self.journal, &mut endings).await?;
        presence::recheck_after_run(&shared, &mut self.journal, signals, &mut endings).await?;
        marked::recheck_after_run(&shared, &mut self.journal, signals, &mut endings).await?;
        unlogged::recheck_after_run(
            &shared,
            &mut self.journal,
            &confirmed,
            signals,
            &mut endings,
        )
        .await?;
        control.copies.tell(&shared, &mut self.journal)?;
        control.release().await;
        self.journal.append(Entry::ServersSeen {
            seen: Sightings {
                source: shared.source.watch.latest(),
                target: shared.target.watch.latest(),
            },
        })?;
        let finished = outcome(&endings);
        self.journal.append(Entry::RunEnded {
            outcome: finished.outcome,
            exit_code: finished.exit.code(),
        })?;
        // A receiver that is gone wants no more events.
        let _ = shared.events.send(Event::RunEnded);
        Ok(finished)
    }

    /// Writes the run's first records, and tells who watches what there is to do.
    fn begin(
        &mut self,
        resumed: &Resume,
        events: &mpsc::UnboundedSender<Event>,
    ) -> Result<(), journal::Error> {
        let is_resumed = !self.journal.state().runs.is_empty();
        self.journal.append(Entry::RunStarted {
            program: env!("CARGO_PKG_VERSION").to_owned(),
            fingerprint: self.graph.fingerprint.clone(),
            source: self.inspection.source.system_identifier.clone(),
            target: self.inspection.target.system_identifier.clone(),
            findings: self
                .graph
                .findings
                .iter()
                .filter(|finding| finding.is_reported())
                .map(ToString::to_string)
                .chain(settings::open_warnings(self.journal.state()))
                .collect(),
            databases: Some(
                self.graph
                    .databases
                    .iter()
                    .map(|database| database.name.clone())
                    .collect(),
            ),
        })?;
        // One record for each reason: a record waits for the disk.
        let mut forgotten: IndexMap<&str, Vec<StepId>> = IndexMap::new();
        for (step, reason) in &resumed.forgotten {
            tracing::info!(step = %escape_control(&step.to_string()), reason, "to be done again");
            forgotten.entry(reason).or_default().push(step.clone());
        }
        for (reason, steps) in forgotten {
            let reason = reason.to_owned();
            let drop = Vec::new();
            self.journal.append(Entry::Forgotten {
                steps,
                reason,
                drop,
            })?;
        }
        // Only now: until then the next run finds out again what is not believed.
        self.journal.append(Entry::ServersSeen {
            seen: Sightings {
                source: self.inspection.source.seen,
                target: self.inspection.target.seen,
            },
        })?;
        let mut steps: HashMap<&str, (usize, usize)> = HashMap::new();
        let done: HashSet<StepIndex> = resumed.done.iter().copied().collect();
        for (index, step) in self.graph.steps.iter_with_positions() {
            if let Some(database) = step.id.database_name() {
                let (all, ended) = steps.entry(database).or_default();
                *all += 1;
                *ended += usize::from(done.contains(&index));
            }
        }
        let databases = self
            .graph
            .databases
            .iter()
            .map(|database| {
                let (all, ended) = steps
                    .get(database.name.as_str())
                    .copied()
                    .unwrap_or_default();
                DatabaseWork {
                    name: database.name.clone(),
                    bytes: database.bytes,
                    steps: all,
                    done: ended,
                }
            })
            .collect();
        // Without a receiver the run goes on.
        let _ = events.send(Event::RunStarted {
            name: self.plan.name.clone(),
            resumed: is_resumed,
            steps: self.graph.steps.len(),
            done: resumed.done.len(),
            databases,
        });
        for message in self
            .journal
            .state()
            .runs
            .last()
            .iter()
            .flat_map(|run| &run.findings)
        {
            let _ = events.send(Event::Warning {
                database: None,
                message: message.clone(),
            });
        }
        Ok(())
    }
}

/// Restores the target's settings although the journal takes no more records. It still says that they were
/// changed, so the next run or `revert` checks them again and finds them as they were.
async fn emergency_restore(shared: &Shared, journal: &Journal, signals: &mut Signals) {
    let tuned = &journal.state().tuned;
    if tuned.is_empty() {
        return;
    }
    let application = shared.application.application_name_for("restore-settings");
    let restored = settings::patiently(
        shared.plan.retry,
        signals,
        |error: &StepError| error.class,
        |error| tracing::warn!(%error, "the target's settings are not restored yet"),
        |_| {
            let how = (shared.plan.tuning.found_unsafe, tuning::Machine::Same);
            tuning::restore_settings(&shared.target, &application, tuned, how)
        },
    );
    let still_set =
        "the target still has its settings for the load, `pg-migrate revert` restores them";
    let warnings = match restored.await {
        Ok(outcome) => outcome.warnings,
        Err(NotRestored::Failed(error)) => vec![format!("{still_set}: {error}")],
        Err(NotRestored::Signalled(signal)) => vec![format!("{still_set}: {signal} received")],
    };
    for message in warnings {
        tracing::warn!("{message}");
        // Without a receiver the run goes on.
        let _ = shared.events.send(Event::Warning {
            database: None,
            message,
        });
    }
}

/// A signal counts for more than a failed step, and that for more than a difference.
fn outcome(endings: &Endings) -> Finished {
    let (outcome, exit) = match endings {
        Endings {
            signal: Some(signal),
            ..
        } => (Outcome::Interrupted, signal.exit()),
        Endings {
            failed, mismatched, ..
        } if failed > mismatched => (Outcome::Failed, Exit::StepFailed),
        Endings { failed: 1.., .. } => (Outcome::Mismatched, Exit::Mismatched),
        Endings { .. } => (Outcome::Completed, Exit::Completed),
    };
    Finished {
        outcome,
        exit,
        has_begun: true,
    }
}
