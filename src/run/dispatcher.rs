//! The loop that joins schedule, journal and steps. It alone writes the journal and decides nothing: what
//! starts is the schedule's word, what is done the journal's.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::signal::{Signal, Signals};
use super::snapshots::{OldSnapshot, Snapshots};
use super::warn::warn;
use crate::event::{Ending, Event};
use crate::graph::StepIndex;
use crate::journal::{self, Change, Created, Entry, Journal, Opening, RoleState, TunedSetting};
use crate::names::{
    BeforeMove, IndexDefinition, Kind, Load, Output, Sighting, Sightings, StepId, TableName,
    WriteMark,
};
use crate::plan::Endpoint;
use crate::postgres::{Class, LAST_ATTEMPT, Notices, escape_control};
use crate::schedule::{Ended, Schedule, Standing, Start};
use crate::step::{self, ChangeRequest, Context, LockedSnapshot, Shared, StepError, ToOpen};

/// How long to wait for word that a snapshot's connection ended with a step's.
const WORD_OF_LOSS: Duration = Duration::from_millis(500);

/// How the steps of a run ended.
#[derive(Debug, Default)]
pub(super) struct Endings {
    pub failed: u32,
    /// Of the failed, those that compared both sides and found a difference.
    pub mismatched: u32,
    pub signal: Option<Signal>,
}

impl Endings {
    /// What the work after the last step yields; `None`: a signal came before its end, and is kept.
    pub(super) async fn unless_signalled<T>(
        &mut self,
        signals: &mut Signals,
        work: impl Future<Output = T>,
    ) -> Option<T> {
        tokio::select! {
            done = work => Some(done),
            signal = signals.next() => {
                self.signal = Some(signal);
                None
            }
        }
    }
}

/// One attempt that ended.
struct Attempt {
    step: StepIndex,
    number: u32,
    seconds: f64,
    result: Result<Output, StepError>,
}

pub(super) struct Dispatcher<'a> {
    shared: Arc<Shared>,
    schedule: Schedule<'a>,
    journal: &'a mut Journal,
    snapshots: Arc<Snapshots>,
    changes: mpsc::Receiver<ChangeRequest>,
    attempts: JoinSet<Attempt>,
    /// Attempt and start of the running steps whose task might die without a word.
    running: HashMap<tokio::task::Id, (StepIndex, u32, Instant)>,
    started: Instant,
    endings: Endings,
}

impl<'a> Dispatcher<'a> {
    pub(super) fn new(
        shared: Arc<Shared>,
        schedule: Schedule<'a>,
        journal: &'a mut Journal,
        changes: mpsc::Receiver<ChangeRequest>,
    ) -> Self {
        let snapshots = Arc::new(Snapshots::new(&shared.graph));
        Dispatcher {
            shared,
            schedule,
            journal,
            snapshots,
            changes,
            attempts: JoinSet::new(),
            running: HashMap::new(),
            started: Instant::now(),
            endings: Endings::default(),
        }
    }

    /// Runs until every step has ended.
    ///
    /// # Errors
    ///
    /// A journal that cannot be written. Then every step is stopped first: what is not on record is not
    /// done.
    pub(super) async fn run(
        mut self,
        signals: &mut Signals,
        lost: CancellationToken,
    ) -> Result<Endings, journal::Error> {
        let (sender, mut old) = mpsc::unbounded_channel();
        let snapshots = Arc::clone(&self.snapshots);
        let watch = tokio::spawn(async move { snapshots.watch(sender).await });
        let result = self.drive(signals, lost, &mut old).await;
        watch.abort();
        if result.is_err() {
            self.shared.stop.cancel();
            // A step that waits for word of its change would wait for ever.
            self.changes.close();
            while self.changes.recv().await.is_some() {}
            while self.attempts.join_next().await.is_some() {}
        }
        self.snapshots.close_all().await;
        result.map(|()| self.endings)
    }

    async fn drive(
        &mut self,
        signals: &mut Signals,
        lost: CancellationToken,
        old: &mut mpsc::UnboundedReceiver<OldSnapshot>,
    ) -> Result<(), journal::Error> {
        let mut lost_handled = false;
        loop {
            for start in self.schedule.start(self.started.elapsed()) {
                self.start(start)?;
            }
            if self.schedule.is_finished() {
                return Ok(());
            }
            let wake = self.schedule.wakes_at();
            let pause = async {
                match wake {
                    Some(at) => {
                        tokio::time::sleep(at.saturating_sub(self.started.elapsed())).await;
                    }
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                // A change waits for the disk, and its step with it.
                biased;
                Some(request) = self.changes.recv() => {
                    let is_marked = request.change.is_marked();
                    self.journal.append(request.change.into())?;
                    let position = self.journal.state().position().filter(|_| is_marked);
                    // A step that is gone makes no change.
                    let _ = request.recorded.send(position);
                }
                Some(ended) = self.attempts.join_next_with_id() => self.join(ended).await?,
                Some(old) = old.recv() => self.warn(old)?,
                signal = signals.next() => self.signalled(signal),
                () = lost.cancelled(), if !lost_handled => {
                    lost_handled = true;
                    self.endings.failed += 1;
                    self.stop("the connection that holds the target for this plan was lost".into(), None);
                }
                () = pause => {}
            }
        }
    }

    fn warn(&mut self, old: OldSnapshot) -> Result<(), journal::Error> {
        let OldSnapshot { database, message } = old;
        warn(&self.shared, self.journal, Some(database), message)
    }

    /// The first asks for an orderly stop, of which restoring the target's settings is a part. A second gives that up.
    fn signalled(&mut self, signal: Signal) {
        let is_tuned = !self.journal.state().tuned.is_empty();
        if self.endings.signal.is_none() {
            let reason = if is_tuned {
                format!(
                    "{signal} received; the target's settings are restored first; a second signal gives that up"
                )
            } else {
                format!("{signal} received")
            };
            return self.stop(reason, Some(signal));
        }
        self.shared.give_up.cancel();
        if is_tuned {
            let reason = format!(
                "{signal} received again; restoring the target's settings is given up unless it is done within {} s",
                LAST_ATTEMPT.as_secs()
            );
            tracing::warn!("{reason}");
            self.tell(Event::Stopping { reason });
        }
    }

    fn stop(&mut self, reason: String, signal: Option<Signal>) {
        if self.endings.signal.is_none() {
            self.endings.signal = signal;
        }
        tracing::warn!("stopping: {reason}");
        self.tell(Event::Stopping { reason });
        self.schedule.stop();
        self.shared.stop.cancel();
    }

    fn start(&mut self, start: Start) -> Result<(), journal::Error> {
        let shared = Arc::clone(&self.shared);
        let step = &shared.graph.steps[start.step];
        let state = self.journal.state();
        // Attempts are counted over all runs of the plan.
        let number = state.steps.get(&step.id).map_or(0, |state| state.attempt) + 1;
        let given = self.given(&step.id, start.attempt > 1);
        self.journal.append(Entry::StepStarted {
            step: step.id.clone(),
            attempt: number,
        })?;
        tracing::info!(step = %shown(&step.id), attempt = number, "started");
        self.tell(Event::StepStarted {
            step: step.id.clone(),
        });
        let snapshots = Arc::clone(&self.snapshots);
        let index = start.step;
        let begun = Instant::now();
        let task = async move {
            let result = attempt(&shared, index, given, &snapshots).await;
            Attempt {
                step: index,
                number,
                seconds: begun.elapsed().as_secs_f64(),
                result,
            }
        };
        let handle = self.attempts.spawn(task);
        self.running.insert(handle.id(), (index, number, begun));
        Ok(())
    }

    /// What the journal says for a step that starts, and no more than a step of its kind asks for.
    fn given(&self, id: &StepId, is_retry: bool) -> Given {
        let state = self.journal.state();
        let mut given = Given {
            is_retry,
            was_begun: state.steps.contains_key(id),
            ..Given::default()
        };
        if id.kind.is_tuning() {
            given.tuned = state.tuned.clone();
            given.closed = state
                .verified_and_closed()
                .into_iter()
                .map(|name| ToOpen {
                    made: state.made(&name),
                    written: state.restored.get(&name).cloned(),
                    let_in: state.let_in.get(&name).cloned(),
                    differences: state.differences.get(&name).cloned(),
                    is_told: self.is_told(&name),
                    name,
                })
                .collect();
        }
        if id.kind == Kind::Globals {
            given.roles = state.roles_to_migrate();
        }
        if matches!(id.kind, Kind::Globals | Kind::Restore) {
            given.created_roles = state.created_roles.clone();
        }
        let Some(database) = id.database_name() else {
            return given;
        };
        given.created = state.created.get(&**database).copied();
        given.found = state.found.get(&**database).cloned().flatten();
        given.remade = state.remade.get(&**database).cloned().unwrap_or_default();
        given.verified = state.verified.get(&**database).cloned();
        given.left = state.left.get(&**database).cloned();
        given.restored = state.restored.get(&**database).cloned();
        given.regular = state.regular.get(&**database).cloned();
        given.differences = state.differences.get(&**database).cloned();
        given.asked = state.asked.get(&**database).cloned().unwrap_or_default();
        given.may_drop = state.may_drop.contains(&**database);
        given.is_closed = state.is_closed(database);
        given.let_in = state.let_in.get(&**database).cloned();
        given.refused = state.refused.get(&**database).cloned().unwrap_or_default();
        given.is_shut = state.shut.contains(&**database);
        if id.kind == Kind::RecreateIndexes {
            let dropped = state.dropped_indexes.get(&**database);
            given.dropped_indexes = dropped.cloned().unwrap_or_default();
        }
        given.before_move = state.before_move.get(&**database).cloned();
        if matches!(
            id.kind,
            Kind::TargetCounts | Kind::DelayedRestore | Kind::RecreateIndexes | Kind::DelayedVerify
        ) {
            given.loads = state.loads.get(&**database).cloned().unwrap_or_default();
        }
        let read = id.kind.traits().reads.iter().filter_map(|kind| {
            let output = state.output_of(&StepId::database(database, *kind))?;
            Some((*kind, Arc::clone(output)))
        });
        given.inputs = read.collect();
        given
    }

    fn is_told(&self, database: &str) -> bool {
        let id = StepId::database(&database.into(), Kind::DelayedVerify);
        let mut steps = self.shared.graph.steps.iter();
        steps.any(|step| step.id == id) && !self.journal.state().is_done(&id)
    }

    async fn join(
        &mut self,
        joined: Result<(tokio::task::Id, Attempt), tokio::task::JoinError>,
    ) -> Result<(), journal::Error> {
        let attempt = match joined {
            Ok((task, attempt)) => {
                self.running.remove(&task);
                attempt
            }
            Err(error) => {
                let (step, number, begun) = self
                    .running
                    .remove(&error.id())
                    .expect("every task of the set is known");
                Attempt {
                    step,
                    number,
                    seconds: begun.elapsed().as_secs_f64(),
                    result: Err(StepError::fault(error)),
                }
            }
        };
        self.ended(attempt).await
    }

    async fn ended(&mut self, attempt: Attempt) -> Result<(), journal::Error> {
        let Attempt {
            step: index,
            number,
            seconds,
            result,
        } = attempt;
        let shared = Arc::clone(&self.shared);
        let id = &shared.graph.steps[index].id;
        let result = match result {
            // Those that share it go by a new one.
            Ok(_) if self.schedule.is_stale(index) => Err(StepError::new(format!(
                "{}: the snapshot under which it began was lost before the other steps that share it were done",
                shown(id)
            ))
            .snapshot_lost()),
            result => result,
        };
        let is_difference = result
            .as_ref()
            .is_err_and(|error| error.output.is_a_difference());
        let (entry, ended, error) = match result {
            Ok(mut output) => {
                for message in &output.warnings {
                    self.tell(Event::Warning {
                        database: id.database_name().map(|name| name.to_string()),
                        message: message.clone(),
                    });
                }
                if id.kind == Kind::RestoreSettings {
                    // The next run restores settings again, and what was found out now still holds.
                    for message in std::mem::take(&mut output.warnings) {
                        self.journal.append(Entry::Warning {
                            database: None,
                            message,
                        })?;
                    }
                }
                let entry = Entry::StepDone {
                    step: id.clone(),
                    attempt: number,
                    seconds,
                    output: Arc::new(output),
                    seen: self.seen(id.kind),
                    marked: self.marked(),
                };
                (entry, Ended::Done, None)
            }
            Err(error) if error.class == Class::Interrupted => {
                let entry = Entry::StepInterrupted {
                    step: id.clone(),
                    attempt: number,
                };
                (entry, Ended::Interrupted, None)
            }
            Err(error) => {
                let message = error.to_string();
                let entry = Entry::StepFailed {
                    step: id.clone(),
                    attempt: number,
                    seconds,
                    error: message.clone(),
                    output: error.output,
                };
                let ended = Ended::Failed {
                    retry: error.class == Class::Retry,
                    snapshot_lost: error.snapshot_lost,
                };
                (entry, ended, Some(message))
            }
        };
        self.journal.append(entry)?;
        let consequences = self.schedule.ended(index, ended, self.started.elapsed());
        if !consequences.redone.is_empty() {
            let steps = consequences
                .redone
                .iter()
                .map(|step| shared.graph.steps[*step].id.clone())
                .collect();
            self.journal.append(Entry::Forgotten {
                steps,
                reason: "the snapshot that they shared was lost".into(),
                drop: Vec::new(),
            })?;
        }
        if let Some(snapshot) = consequences.closed_snapshot
            && let Some(database) = self.snapshots.close(snapshot).await
        {
            let change = Change::EndSnapshot { database };
            self.journal.append(change.into())?;
        }
        let pause = consequences.pause;
        if error.is_some() && pause.is_none() {
            self.endings.failed += 1;
            self.endings.mismatched += u32::from(is_difference && id.kind.traits().compares);
        }
        self.report_ending(index, number, seconds, error, pause);
        for skipped in consequences.skipped {
            self.tell(Event::StepEnded {
                step: shared.graph.steps[skipped].id.clone(),
                ending: Ending::Skipped,
                seconds: 0.0,
            });
        }
        Ok(())
    }

    /// See [`Entry::StepDone`].
    fn marked(&self) -> Option<u64> {
        let marked = self.shared.mark.as_ref()?.written();
        (marked > self.journal.state().confirmed).then_some(marked)
    }

    /// The servers that a step of this kind touched, as far as that is not on record. Its own connections saw them, or others
    /// later.
    fn seen(&self, kind: Kind) -> Sightings {
        let on_record = self.journal.state().seen;
        let since = |is_touched: bool, endpoint: &Endpoint, before: Option<Sighting>| {
            let latest = endpoint.watch.latest().filter(|_| is_touched);
            latest.filter(|latest| before.is_none_or(|before| !latest.is_like(&before)))
        };
        let kind = kind.traits();
        Sightings {
            source: since(kind.touches_source, &self.shared.source, on_record.source),
            target: since(kind.touches_target, &self.shared.target, on_record.target),
        }
    }

    /// Tells the log and whoever watches.
    fn report_ending(
        &mut self,
        index: StepIndex,
        attempt: u32,
        seconds: f64,
        error: Option<String>,
        pause: Option<Duration>,
    ) {
        let id = self.shared.graph.steps[index].id.clone();
        let ending = match (error, pause) {
            (Some(error), Some(pause)) => {
                tracing::warn!(step = %shown(&id), attempt, %error, ?pause, "failed, to be tried again");
                self.tell(Event::StepWillRetry {
                    step: id,
                    attempt,
                    error,
                    pause_seconds: pause.as_secs_f64(),
                });
                return;
            }
            (Some(error), None) => {
                tracing::error!(step = %shown(&id), attempt, %error, "failed");
                Ending::Failed { error }
            }
            (None, _) if self.schedule.standing(index) == Standing::Interrupted => {
                tracing::warn!(step = %shown(&id), attempt, "interrupted");
                Ending::Interrupted
            }
            (None, _) => {
                tracing::info!(step = %shown(&id), attempt, seconds, "done");
                Ending::Done
            }
        };
        self.tell(Event::StepEnded {
            step: id,
            ending,
            seconds,
        });
    }

    fn tell(&self, event: Event) {
        // Without a receiver the migration goes on.
        let _ = self.shared.events.send(event);
    }
}

/// The step's id for a log.
fn shown(id: &StepId) -> String {
    escape_control(&id.to_string()).into_owned()
}

/// What the journal says for a step that starts.
#[derive(Default)]
struct Given {
    inputs: HashMap<Kind, Arc<Output>>,
    dropped_indexes: Vec<IndexDefinition>,
    before_move: Option<BeforeMove>,
    loads: Vec<Load>,
    created: Option<Created>,
    found: Option<Vec<String>>,
    remade: Vec<String>,
    verified: Option<Option<WriteMark>>,
    left: Option<WriteMark>,
    restored: Option<WriteMark>,
    regular: Option<WriteMark>,
    differences: Option<BTreeSet<TableName>>,
    asked: BTreeSet<TableName>,
    may_drop: bool,
    was_begun: bool,
    is_closed: bool,
    let_in: Option<Opening>,
    refused: Vec<String>,
    is_shut: bool,
    tuned: BTreeMap<String, TunedSetting>,
    roles: BTreeMap<String, RoleState>,
    created_roles: BTreeMap<String, Option<u32>>,
    closed: Vec<ToOpen>,
    is_retry: bool,
}

/// One attempt of one step, with the snapshot that it shares.
async fn attempt(
    shared: &Arc<Shared>,
    index: StepIndex,
    given: Given,
    snapshots: &Snapshots,
) -> Result<Output, StepError> {
    let step = &shared.graph.steps[index];
    let snapshot = match step.snapshot {
        Some(snapshot) => Some(snapshots.get(snapshot, shared, step).await?),
        None => None,
    };
    let mut context = Context {
        shared: Arc::clone(shared),
        index,
        is_retry: given.is_retry,
        inputs: given.inputs,
        dropped_indexes: given.dropped_indexes,
        before_move: given.before_move,
        loads: given.loads,
        snapshot: snapshot.clone(),
        created: Mutex::new(given.created),
        found: given.found,
        remade: Mutex::new(given.remade),
        verified: given.verified,
        left: given.left,
        restored: given.restored,
        regular: given.regular,
        differences: given.differences,
        asked: given.asked,
        may_drop: given.may_drop,
        was_begun: given.was_begun,
        is_closed: given.is_closed,
        let_in: given.let_in,
        refused: given.refused,
        is_shut: given.is_shut,
        tuned: given.tuned,
        roles: given.roles,
        created_roles: given.created_roles,
        notices: Notices::default(),
        stop: shared.stop.child_token(),
        closed: given.closed,
    };
    if let Some(opening) = &context.let_in
        && !step::create::was_let_in(&context, context.database_name(), opening).await?
    {
        context.let_in = None;
        context.is_closed = true;
    }
    let Some(snapshot) = snapshot else {
        return step::run(&context).await;
    };
    let mut error = match under(&snapshot, &context).await {
        Ok(output) => return Ok(output),
        Err(error) => error,
    };
    let is_dump = matches!(context.step().id.kind, Kind::Dump | Kind::DelayedDump);
    if is_dump && error.lock_refused && error.class == Class::Retry {
        // Another session waits for us, and the dump behind it: tried again under this snapshot, it would wait again.
        error = error.snapshot_lost();
    }
    if let (true, Some(index)) = (error.snapshot_lost, step.snapshot) {
        snapshots.give_up(index, &snapshot).await;
    }
    let is_stopped = error.class == Class::Interrupted && !shared.stop.is_cancelled();
    if is_stopped && snapshot.is_given_up() {
        return Err(StepError::new(
            "the snapshot was given up, because another session waits for a table that is dumped under it",
        )
        .snapshot_lost());
    }
    // What ended the step's connections may have ended the snapshot's, and word of that may take a moment.
    let is_lost =
        error.class != Class::Interrupted && timeout(WORD_OF_LOSS, snapshot.lost()).await.is_ok();
    Err(if is_lost {
        error.snapshot_lost()
    } else {
        error
    })
}

/// The attempt, stopped where the snapshot is given up meanwhile.
async fn under(snapshot: &LockedSnapshot, context: &Context) -> Result<Output, StepError> {
    let mut run = pin!(step::run(context));
    tokio::select! {
        result = &mut run => return result,
        () = snapshot.when_given_up() => context.stop.cancel(),
    }
    run.await
}
