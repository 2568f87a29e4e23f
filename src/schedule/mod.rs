//! The scheduler as a state machine: "this step ended" in, "start these" out. Pure: no tokio, and time
//! is an argument.
//!
//! The rules, each held by a property test:
//!
//! - A step starts when all it needs is done. Its claims are granted all or none.
//! - No budget is exceeded, with the claims of open snapshots counted in.
//! - A waiting step reserves what it claims against steps of a higher rank, so nothing starves.
//! - A snapshot opens only while every step of every open snapshot fits beside all open snapshots, and
//!   steps of open snapshots go first. So snapshots cannot block each other for good.
//! - Every step ends exactly once, and a failed step takes with it only the steps that need it.

mod ready;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::time::Duration;

use crate::graph::{Amounts, Graph, PerSnapshot, PerStep, SnapshotIndex, StepIndex};
use crate::plan::Retry;
use ready::Ready;

/// Where a step stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Waits for steps that it needs; how many of them.
    Waiting(u32),
    /// Waits for its claims.
    Ready,
    /// Waits for the pause before its next attempt.
    Paused(Duration),
    Running,
    Done,
    Failed,
    /// Was stopped on purpose, or never started because the run is stopping.
    Interrupted,
    /// A step that it needs did not get done.
    Skipped,
}

impl Standing {
    fn has_ended(self) -> bool {
        matches!(
            self,
            Standing::Done | Standing::Failed | Standing::Interrupted | Standing::Skipped
        )
    }
}

/// How a step that was started ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    Done,
    Failed {
        /// Another attempt may end better.
        retry: bool,
        /// The snapshot that the step shared with others is gone: they have to be redone together.
        snapshot_lost: bool,
    },
    Interrupted,
}

/// What follows from the end of a step.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Consequences {
    /// The step will be tried again after this pause.
    pub pause: Option<Duration>,
    /// Steps that were done and have to be done again, because the snapshot that they shared is gone.
    pub redone: Vec<StepIndex>,
    /// Steps that will not run, because they need one that did not get done.
    pub skipped: Vec<StepIndex>,
    /// The snapshot whose last step ended with this one.
    pub closed_snapshot: Option<SnapshotIndex>,
}

/// A step to start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Start {
    pub step: StepIndex,
    /// 1 for the first of this run.
    pub attempt: u32,
}

#[derive(Debug, Clone)]
struct SnapshotState {
    open: bool,
    /// Its steps that have not ended.
    left: u32,
    /// The most of each resource that one of its steps claims.
    largest: Amounts,
}

/// The state machine over one graph.
#[derive(Debug)]
pub(crate) struct Schedule<'g> {
    graph: &'g Graph,
    retry: Retry,
    standing: PerStep<Standing>,
    attempts: PerStep<u32>,
    /// For each step, those that need it.
    needed_by: PerStep<Vec<StepIndex>>,
    ready: Ready,
    paused: BTreeSet<(Duration, StepIndex)>,
    snapshots: PerSnapshot<SnapshotState>,
    open: BTreeSet<SnapshotIndex>,
    /// Steps under way that began with a snapshot that was lost since.
    stale: BTreeSet<StepIndex>,
    taken: Amounts,
    left: usize,
    stopping: bool,
}

/// A graph that could never be run to its end.
#[derive(Debug, thiserror::Error)]
#[error("step {step} claims more than there is")]
pub(crate) struct DoesNotFit {
    pub step: String,
}

impl<'g> Schedule<'g> {
    /// A schedule of the graph in which the given steps are done already.
    ///
    /// # Errors
    ///
    /// Where a step, with the snapshot that it shares, claims more than the graph's budgets: it could never start.
    pub(crate) fn new(
        graph: &'g Graph,
        done: impl IntoIterator<Item = StepIndex>,
        retry: Retry,
    ) -> Result<Self, DoesNotFit> {
        for step in graph.steps.iter() {
            let all = match step.snapshot {
                Some(snapshot) => step.claims.plus(&graph.snapshots[snapshot].claims),
                None => step.claims,
            };
            if !all.fits_in(&graph.budgets) {
                return Err(DoesNotFit {
                    step: step.id.to_string(),
                });
            }
        }
        let snapshot_state = |snapshot: &crate::graph::SharedSnapshot| {
            let claims = snapshot.steps.iter().map(|step| &graph.steps[*step].claims);
            SnapshotState {
                open: false,
                left: snapshot.steps.len() as u32,
                largest: claims.fold(Amounts::default(), |largest, claims| largest.max(claims)),
            }
        };
        let count = graph.steps.len();
        let mut schedule = Schedule {
            graph,
            retry,
            standing: std::iter::repeat_n(Standing::Ready, count).collect(),
            attempts: std::iter::repeat_n(0, count).collect(),
            needed_by: std::iter::repeat_n(Vec::new(), count).collect(),
            ready: Ready::default(),
            paused: BTreeSet::new(),
            stale: BTreeSet::new(),
            snapshots: graph.snapshots.iter().map(snapshot_state).collect(),
            open: BTreeSet::new(),
            taken: Amounts::default(),
            left: count,
            stopping: false,
        };
        for (index, step) in graph.steps.iter_with_positions() {
            for &need in &step.needs {
                schedule.needed_by[need].push(index);
            }
        }
        for step in done {
            if schedule.standing[step] != Standing::Done {
                schedule.standing[step] = Standing::Done;
                schedule.left -= 1;
                if let Some(snapshot) = graph.steps[step].snapshot {
                    schedule.snapshots[snapshot].left -= 1;
                }
            }
        }
        for index in graph.steps.positions() {
            if schedule.standing[index] == Standing::Ready {
                schedule.wait_or_ready(index);
            }
        }
        Ok(schedule)
    }

    pub(crate) fn standing(&self, step: StepIndex) -> Standing {
        self.standing[step]
    }

    /// Whether every step has ended.
    pub(crate) fn is_finished(&self) -> bool {
        self.left == 0
    }

    /// What is claimed now, open snapshots included.
    #[cfg(test)]
    pub(crate) fn taken(&self) -> &Amounts {
        &self.taken
    }

    /// When the next paused step may start, as the same kind of time that `start` takes.
    pub(crate) fn wakes_at(&self) -> Option<Duration> {
        self.paused.first().map(|(time, _)| *time)
    }

    /// The steps to start now. They count as running from here on.
    pub(crate) fn start(&mut self, now: Duration) -> Vec<Start> {
        while let Some(&(time, step)) = self.paused.first() {
            if time > now {
                break;
            }
            self.paused.pop_first();
            // What it needs may have to be done again meanwhile.
            self.wait_or_ready(step);
        }
        let mut free = self.graph.budgets.minus(&self.taken);
        // Those that open a snapshot in this round move ahead from the next round on.
        let mut granted = Vec::new();
        let mut queue = self.ready.queue();
        while let Some(step) = queue.next(&free) {
            let (wanted, opens) = self.wanted(step);
            let fits =
                wanted.fits_in(&free) && opens.is_none_or(|snapshot| self.may_open(snapshot));
            // Granted or not: what a step waits for is kept from those of a higher rank.
            free = free.less(&wanted);
            if !fits {
                continue;
            }
            self.taken = self.taken.plus(&wanted);
            if let Some(snapshot) = opens {
                self.snapshots[snapshot].open = true;
                self.open.insert(snapshot);
            }
            granted.push((step, opens));
        }
        let mut starts = Vec::with_capacity(granted.len());
        for (step, opens) in granted {
            self.ready.remove(self.graph, step);
            if let Some(snapshot) = opens {
                self.ready.prefer(self.graph, snapshot);
            }
            self.standing[step] = Standing::Running;
            self.attempts[step] += 1;
            starts.push(Start {
                step,
                attempt: self.attempts[step],
            });
        }
        starts
    }

    /// What a ready step takes when it starts, and the snapshot that it opens.
    fn wanted(&self, step: StepIndex) -> (Amounts, Option<SnapshotIndex>) {
        let definition = &self.graph.steps[step];
        let opens = definition
            .snapshot
            .filter(|snapshot| !self.snapshots[*snapshot].open);
        match opens {
            Some(snapshot) => {
                let claims = &self.graph.snapshots[snapshot].claims;
                (definition.claims.plus(claims), opens)
            }
            None => (definition.claims, None),
        }
    }

    /// Takes note of the end of a running step.
    ///
    /// # Panics
    ///
    /// Where the step is not running.
    pub(crate) fn ended(&mut self, step: StepIndex, ended: Ended, now: Duration) -> Consequences {
        assert_eq!(
            self.standing[step],
            Standing::Running,
            "step {} ends without running",
            self.graph.steps[step].id
        );
        self.taken = self.taken.minus(&self.graph.steps[step].claims);

        let is_stale = self.stale.remove(&step);
        let mut consequences = Consequences::default();
        match ended {
            Ended::Done => self.end(step, Standing::Done, &mut consequences),
            Ended::Interrupted => self.end(step, Standing::Interrupted, &mut consequences),
            Ended::Failed {
                retry,
                snapshot_lost,
            } => {
                let again = retry && self.may_try_again(step);
                // That the snapshot a stale step began with is lost is known, and the others go by the new one.
                if again && snapshot_lost && !is_stale {
                    self.redo_sharers(step, &mut consequences);
                }
                if again {
                    let pause = self.retry.pause_after(self.attempts[step]);
                    consequences.pause = Some(pause);
                    self.standing[step] = Standing::Paused(now + pause);
                    self.paused.insert((now + pause, step));
                } else {
                    self.end(step, Standing::Failed, &mut consequences);
                }
            }
        }
        consequences
    }

    fn may_try_again(&self, step: StepIndex) -> bool {
        let definition = &self.graph.steps[step];
        // One that it needs may have been done again since it began, and failed.
        let lacks = |need: &StepIndex| {
            let standing = self.standing[*need];
            standing.has_ended() && standing != Standing::Done
        };
        !self.stopping
            && self.attempts[step] < self.retry.attempts
            && (definition.finally || !definition.needs.iter().any(lacks))
    }

    /// From now on only steps that run at the end whatever happened are handed out. The others end as
    /// interrupted, those that run when they end.
    pub(crate) fn stop(&mut self) {
        self.stopping = true;
        let waiting: Vec<StepIndex> = self
            .ready
            .iter()
            .chain(self.paused.iter().map(|(_, step)| *step))
            .filter(|step| !self.graph.steps[*step].finally)
            .collect();
        for step in waiting {
            // It may have ended with one that it needs.
            if !self.standing[step].has_ended() {
                self.end(step, Standing::Interrupted, &mut Consequences::default());
            }
        }
    }

    /// Whether, with this snapshot open too, each step of an open snapshot fits beside all open snapshots. Steps that
    /// are done count as well: they may have to be redone.
    fn may_open(&self, snapshot: SnapshotIndex) -> bool {
        let open = || self.open.iter().copied().chain([snapshot]);
        let held = open().fold(Amounts::default(), |sum, snapshot| {
            sum.plus(&self.graph.snapshots[snapshot].claims)
        });
        let largest = open().fold(Amounts::default(), |largest, snapshot| {
            largest.max(&self.snapshots[snapshot].largest)
        });
        held.plus(&largest).fits_in(&self.graph.budgets)
    }

    /// Whether the snapshot that the step shared when it began was lost while it was under way, so that the others share
    /// another: its success does not count.
    pub(crate) fn is_stale(&self, step: StepIndex) -> bool {
        self.stale.contains(&step)
    }

    /// Makes the done steps of the step's snapshot ready again, since it is gone, and marks those under way.
    /// Not where a step that needs one of them was started: then the step is tried alone, with a new snapshot, and
    /// has to know itself whether that will do.
    fn redo_sharers(&mut self, step: StepIndex, consequences: &mut Consequences) {
        let graph = self.graph;
        let Some(snapshot) = graph.steps[step].snapshot else {
            return;
        };
        let members = &graph.snapshots[snapshot].steps;
        let mut running = members.clone();
        running.retain(|other| *other != step && self.standing[*other] == Standing::Running);
        let mut done = members.clone();
        done.retain(|other| self.standing[*other] == Standing::Done);
        let is_untouched = |dependent: &StepIndex| {
            graph.steps[*dependent].snapshot == Some(snapshot)
                || matches!(
                    self.standing[*dependent],
                    Standing::Waiting(_) | Standing::Ready | Standing::Skipped
                )
        };
        let may_redo = done
            .iter()
            .flat_map(|member| &self.needed_by[*member])
            .all(is_untouched);
        self.stale.extend(running);
        if !may_redo {
            return;
        }
        for &member in &done {
            self.left += 1;
            self.snapshots[snapshot].left += 1;
            for index in 0..self.needed_by[member].len() {
                let dependent = self.needed_by[member][index];
                self.standing[dependent] = match self.standing[dependent] {
                    Standing::Waiting(needs) => Standing::Waiting(needs + 1),
                    Standing::Ready => {
                        self.ready.remove(graph, dependent);
                        Standing::Waiting(1)
                    }
                    other => other,
                };
            }
        }
        for &member in &done {
            self.wait_or_ready(member);
        }
        consequences.redone = done;
    }

    fn wait_or_ready(&mut self, step: StepIndex) {
        let definition = &self.graph.steps[step];
        let unmet = definition
            .needs
            .iter()
            .filter(|need| {
                let standing = self.standing[**need];
                standing != Standing::Done && !(definition.finally && standing.has_ended())
            })
            .count() as u32;
        if unmet == 0 {
            self.make_ready(step);
        } else {
            self.standing[step] = Standing::Waiting(unmet);
        }
    }

    fn make_ready(&mut self, step: StepIndex) {
        self.standing[step] = Standing::Ready;
        let is_preferred = self.graph.steps[step]
            .snapshot
            .is_some_and(|snapshot| self.snapshots[snapshot].open);
        self.ready.insert(self.graph, step, is_preferred);
    }

    /// Ends a step, and with it those that need it and cannot run any more.
    fn end(&mut self, step: StepIndex, standing: Standing, consequences: &mut Consequences) {
        let mut ending = vec![(step, standing)];
        while let Some((step, standing)) = ending.pop() {
            self.end_one(step, standing, consequences);
            for index in 0..self.needed_by[step].len() {
                let dependent = self.needed_by[step][index];
                if let Some(follows) = self.follow(dependent, standing) {
                    ending.push((dependent, follows));
                }
            }
        }
    }

    fn end_one(&mut self, step: StepIndex, standing: Standing, consequences: &mut Consequences) {
        match self.standing[step] {
            Standing::Ready => self.ready.remove(self.graph, step),
            Standing::Paused(until) => {
                self.paused.remove(&(until, step));
            }
            _ => {}
        }
        self.standing[step] = standing;
        self.left -= 1;
        if standing == Standing::Skipped {
            consequences.skipped.push(step);
        }
        let Some(snapshot) = self.graph.steps[step].snapshot else {
            return;
        };
        let state = &mut self.snapshots[snapshot];
        state.left -= 1;
        if state.left == 0 && state.open {
            state.open = false;
            self.open.remove(&snapshot);
            self.taken = self.taken.minus(&self.graph.snapshots[snapshot].claims);
            consequences.closed_snapshot = Some(snapshot);
        }
    }

    /// What the end of a step means for one that needs it. Returns how the latter ends, where it does.
    fn follow(&mut self, dependent: StepIndex, standing: Standing) -> Option<Standing> {
        let finally = self.graph.steps[dependent].finally;
        let unmet = match self.standing[dependent] {
            Standing::Waiting(unmet) => unmet,
            // Counts what it needs when its pause is over, which comes never where that failed.
            Standing::Paused(_) if standing == Standing::Done => return None,
            Standing::Paused(_) => 1,
            _ => return None,
        };
        if standing != Standing::Done && !finally {
            let follows = match standing {
                Standing::Interrupted => Standing::Interrupted,
                _ => Standing::Skipped,
            };
            // At once, so that no other need of it ends it a second time.
            if let Standing::Paused(until) = self.standing[dependent] {
                self.paused.remove(&(until, dependent));
            }
            self.standing[dependent] = follows;
            return Some(follows);
        }
        if unmet > 1 {
            self.standing[dependent] = Standing::Waiting(unmet - 1);
        } else if self.stopping && !finally {
            self.standing[dependent] = Standing::Interrupted;
            return Some(Standing::Interrupted);
        } else {
            self.make_ready(dependent);
        }
        None
    }
}
