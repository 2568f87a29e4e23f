//! The scheduler as a state machine: "this step ended" in, "start these" out. Pure: no tokio, and time
//! is an argument.
//!
//! The rules, each held by a property test:
//!
//! - A step starts when all it needs is done. Its claims are granted all or none.
//! - No budget is exceeded, with the claims of open holds counted in.
//! - A waiting step reserves what it claims against steps of a higher rank, so nothing starves.
//! - A hold opens only while every step of every open hold fits beside all open holds, and
//!   steps of open holds go first. So holds cannot block each other for good.
//! - Every step ends exactly once, and a failed step takes with it only the steps that need it.

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::time::Duration;

use crate::graph::{Amounts, Graph};
use crate::plan::Retry;

/// Where a step stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
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
pub enum Ended {
    Done,
    Failed {
        /// Another attempt may end better.
        retry: bool,
        /// What the step shared with others is gone: they have to be redone together.
        hold_lost: bool,
    },
    Interrupted,
}

/// What follows from the end of a step.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Consequences {
    /// The step will be tried again after this pause.
    pub pause: Option<Duration>,
    /// Steps that were done and have to be done again, because what they shared is gone.
    pub redone: Vec<u32>,
    /// Steps that will not run, because they need one that did not get done.
    pub skipped: Vec<u32>,
    /// The hold whose last step ended with this one.
    pub closed_hold: Option<u32>,
}

/// A step to start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Start {
    pub step: u32,
    /// 1 for the first of this run.
    pub attempt: u32,
}

#[derive(Debug, Clone, Default)]
struct HoldState {
    open: bool,
    /// Its steps that have not ended.
    left: u32,
}

/// The state machine over one graph.
#[derive(Debug)]
pub struct Schedule<'g> {
    graph: &'g Graph,
    retry: Retry,
    standing: Vec<Standing>,
    attempts: Vec<u32>,
    /// For each step, those that need it.
    needed_by: Vec<Vec<u32>>,
    /// By rank.
    ready: BTreeSet<(u32, u32)>,
    paused: BTreeSet<(Duration, u32)>,
    holds: Vec<HoldState>,
    /// Steps under way that began with what their hold has lost since.
    stale: BTreeSet<u32>,
    taken: Amounts,
    running: u32,
    left: usize,
    stopping: bool,
}

/// A graph that could never be run to its end.
#[derive(Debug, thiserror::Error)]
#[error("step {step} claims more than there is")]
pub struct DoesNotFit {
    pub step: String,
}

impl<'g> Schedule<'g> {
    /// A schedule of the graph in which the given steps are done already.
    ///
    /// # Errors
    ///
    /// Where a step, with what it shares, claims more than the graph's budgets: it could never start.
    pub fn new(
        graph: &'g Graph,
        done: impl IntoIterator<Item = u32>,
        retry: Retry,
    ) -> Result<Self, DoesNotFit> {
        let count = graph.steps.len();
        for step in &graph.steps {
            let all = match step.hold {
                Some(hold) => step.claims.plus(&graph.holds[hold as usize].claims),
                None => step.claims,
            };
            if !all.fits_in(&graph.budgets) {
                return Err(DoesNotFit {
                    step: step.id.to_string(),
                });
            }
        }
        let mut schedule = Schedule {
            graph,
            retry,
            standing: vec![Standing::Ready; count],
            attempts: vec![0; count],
            needed_by: vec![Vec::new(); count],
            ready: BTreeSet::new(),
            paused: BTreeSet::new(),
            stale: BTreeSet::new(),
            holds: graph
                .holds
                .iter()
                .map(|hold| HoldState {
                    open: false,
                    left: hold.steps.len() as u32,
                })
                .collect(),
            taken: Amounts::default(),
            running: 0,
            left: count,
            stopping: false,
        };
        for (index, step) in graph.steps.iter().enumerate() {
            for &need in &step.needs {
                schedule.needed_by[need as usize].push(index as u32);
            }
        }
        for step in done {
            if schedule.standing[step as usize] != Standing::Done {
                schedule.standing[step as usize] = Standing::Done;
                schedule.left -= 1;
                if let Some(hold) = graph.steps[step as usize].hold {
                    schedule.holds[hold as usize].left -= 1;
                }
            }
        }
        for index in 0..count as u32 {
            if schedule.standing[index as usize] == Standing::Ready {
                schedule.wait_or_ready(index);
            }
        }
        Ok(schedule)
    }

    pub fn standing(&self, step: u32) -> Standing {
        self.standing[step as usize]
    }

    /// Whether every step has ended.
    pub fn is_finished(&self) -> bool {
        self.left == 0
    }

    pub fn running(&self) -> u32 {
        self.running
    }

    /// What is claimed now, holds included.
    pub fn taken(&self) -> &Amounts {
        &self.taken
    }

    /// When the next paused step may start, as the same kind of time that `start` takes.
    pub fn wakes_at(&self) -> Option<Duration> {
        self.paused.first().map(|(time, _)| *time)
    }

    /// The steps to start now. They count as running from here on.
    pub fn start(&mut self, now: Duration) -> Vec<Start> {
        while let Some(&(time, step)) = self.paused.first() {
            if time > now {
                break;
            }
            self.paused.pop_first();
            // What it needs may have to be done again meanwhile.
            self.wait_or_ready(step);
        }
        let mut free = self.graph.budgets.minus(&self.taken);
        let mut starts = Vec::new();
        for step in self.candidates() {
            let definition = &self.graph.steps[step as usize];
            let opens = definition
                .hold
                .filter(|hold| !self.holds[*hold as usize].open);
            let mut wanted = definition.claims;
            if let Some(hold) = opens {
                wanted = wanted.plus(&self.graph.holds[hold as usize].claims);
            }
            let granted = wanted.fits_in(&free) && opens.is_none_or(|hold| self.may_open(hold));
            free = free.less(&wanted);
            if !granted {
                continue;
            }
            self.taken = self.taken.plus(&wanted);
            if let Some(hold) = opens {
                self.holds[hold as usize].open = true;
            }
            self.ready.remove(&(definition.rank, step));
            self.standing[step as usize] = Standing::Running;
            self.attempts[step as usize] += 1;
            self.running += 1;
            starts.push(Start {
                step,
                attempt: self.attempts[step as usize],
            });
        }
        starts
    }

    /// Takes note of the end of a running step.
    ///
    /// # Panics
    ///
    /// Where the step is not running.
    pub fn ended(&mut self, step: u32, ended: Ended, now: Duration) -> Consequences {
        assert_eq!(
            self.standing[step as usize],
            Standing::Running,
            "step {} ends without running",
            self.graph.steps[step as usize].id
        );
        let graph = self.graph;
        let definition = &graph.steps[step as usize];
        self.running -= 1;
        self.taken = self.taken.minus(&definition.claims);

        let is_stale = self.stale.remove(&step);
        let mut consequences = Consequences::default();
        match ended {
            Ended::Done => self.end(step, Standing::Done, &mut consequences),
            Ended::Interrupted => self.end(step, Standing::Interrupted, &mut consequences),
            Ended::Failed { retry, hold_lost } => {
                // One that it needs may have been done again since it began, and failed.
                let lacks = |need: &u32| {
                    let standing = self.standing[*need as usize];
                    standing.has_ended() && standing != Standing::Done
                };
                let again = retry
                    && !self.stopping
                    && self.attempts[step as usize] < self.retry.attempts
                    && (definition.finally || !definition.needs.iter().any(lacks));
                // That what a stale step began with is lost, is known, and the others go by what there is now.
                if again && hold_lost && !is_stale {
                    self.redo_hold(step, &mut consequences);
                }
                if again {
                    let pause = self.retry.pause_after(self.attempts[step as usize]);
                    consequences.pause = Some(pause);
                    self.standing[step as usize] = Standing::Paused(now + pause);
                    self.paused.insert((now + pause, step));
                } else {
                    self.end(step, Standing::Failed, &mut consequences);
                }
            }
        }
        consequences
    }

    /// From now on only steps that run at the end whatever happened are handed out. The others end as
    /// interrupted, those that run when they end.
    pub fn stop(&mut self) {
        self.stopping = true;
        let waiting: Vec<u32> = self
            .ready
            .iter()
            .map(|(_, step)| *step)
            .chain(self.paused.iter().map(|(_, step)| *step))
            .filter(|step| !self.graph.steps[*step as usize].finally)
            .collect();
        for step in waiting {
            // It may have ended with one that it needs.
            if !self.standing[step as usize].has_ended() {
                self.end(step, Standing::Interrupted, &mut Consequences::default());
            }
        }
    }

    /// Ready steps in the order in which they are served: those of open holds first, then by rank.
    fn candidates(&self) -> Vec<u32> {
        let of_open_hold = |step: &u32| {
            self.graph.steps[*step as usize]
                .hold
                .is_some_and(|hold| self.holds[hold as usize].open)
        };
        let (mut first, rest): (Vec<u32>, Vec<u32>) = self
            .ready
            .iter()
            .map(|(_, step)| *step)
            .partition(of_open_hold);
        first.extend(rest);
        first
    }

    /// Whether, with this hold open too, each step of an open hold fits beside all open holds. Steps that
    /// are done count as well: they may have to be redone.
    fn may_open(&self, hold: u32) -> bool {
        let open = || {
            self.graph
                .holds
                .iter()
                .enumerate()
                .filter(|(index, _)| *index == hold as usize || self.holds[*index].open)
        };
        let held = open().fold(Amounts::default(), |sum, (_, hold)| sum.plus(&hold.claims));
        let largest = open()
            .flat_map(|(_, hold)| &hold.steps)
            .fold(Amounts::default(), |largest, step| {
                largest.max(&self.graph.steps[*step as usize].claims)
            });
        held.plus(&largest).fits_in(&self.graph.budgets)
    }

    /// Whether what the step shared when it began was lost while it was under way, so that the others share something
    /// else: its success is none.
    pub fn is_stale(&self, step: u32) -> bool {
        self.stale.contains(&step)
    }

    /// Makes the done steps of the step's hold ready again, since what they shared is gone, and marks those under way.
    /// Not where a step that needs one of them was started: then the step is tried alone, with something new to
    /// share, and has to know itself whether that will do.
    fn redo_hold(&mut self, step: u32, consequences: &mut Consequences) {
        let Some(hold) = self.graph.steps[step as usize].hold else {
            return;
        };
        let members = &self.graph.holds[hold as usize].steps;
        let mut running = members.clone();
        running
            .retain(|other| *other != step && self.standing[*other as usize] == Standing::Running);
        let mut done = members.clone();
        done.retain(|other| self.standing[*other as usize] == Standing::Done);
        let untouched = |dependent: &u32| {
            members.contains(dependent)
                || matches!(
                    self.standing[*dependent as usize],
                    Standing::Waiting(_) | Standing::Ready | Standing::Skipped
                )
        };
        let may = done
            .iter()
            .flat_map(|member| &self.needed_by[*member as usize])
            .all(untouched);
        self.stale.extend(running);
        if !may {
            return;
        }
        for &member in &done {
            self.left += 1;
            self.holds[hold as usize].left += 1;
            for index in 0..self.needed_by[member as usize].len() {
                let dependent = self.needed_by[member as usize][index];
                let rank = self.graph.steps[dependent as usize].rank;
                self.standing[dependent as usize] = match self.standing[dependent as usize] {
                    Standing::Waiting(needs) => Standing::Waiting(needs + 1),
                    Standing::Ready => {
                        self.ready.remove(&(rank, dependent));
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

    fn wait_or_ready(&mut self, step: u32) {
        let definition = &self.graph.steps[step as usize];
        let unmet = definition
            .needs
            .iter()
            .filter(|need| {
                let standing = self.standing[**need as usize];
                standing != Standing::Done && !(definition.finally && standing.has_ended())
            })
            .count() as u32;
        if unmet == 0 {
            self.make_ready(step);
        } else {
            self.standing[step as usize] = Standing::Waiting(unmet);
        }
    }

    fn make_ready(&mut self, step: u32) {
        self.standing[step as usize] = Standing::Ready;
        self.ready
            .insert((self.graph.steps[step as usize].rank, step));
    }

    /// Ends a step, and with it those that need it and cannot run any more.
    fn end(&mut self, step: u32, standing: Standing, consequences: &mut Consequences) {
        let mut ending = vec![(step, standing)];
        while let Some((step, standing)) = ending.pop() {
            let definition = &self.graph.steps[step as usize];
            match self.standing[step as usize] {
                Standing::Ready => {
                    self.ready.remove(&(definition.rank, step));
                }
                Standing::Paused(until) => {
                    self.paused.remove(&(until, step));
                }
                _ => {}
            }
            self.standing[step as usize] = standing;
            self.left -= 1;
            if standing == Standing::Skipped {
                consequences.skipped.push(step);
            }
            if let Some(hold) = definition.hold {
                let state = &mut self.holds[hold as usize];
                state.left -= 1;
                if state.left == 0 && state.open {
                    state.open = false;
                    self.taken = self.taken.minus(&self.graph.holds[hold as usize].claims);
                    consequences.closed_hold = Some(hold);
                }
            }
            for index in 0..self.needed_by[step as usize].len() {
                let dependent = self.needed_by[step as usize][index];
                let finally = self.graph.steps[dependent as usize].finally;
                let unmet = match self.standing[dependent as usize] {
                    Standing::Waiting(unmet) => unmet,
                    // Counts what it needs when its pause is over, which comes never where that failed.
                    Standing::Paused(_) if standing == Standing::Done => continue,
                    Standing::Paused(_) => 1,
                    _ => continue,
                };
                if standing != Standing::Done && !finally {
                    let follows = match standing {
                        Standing::Interrupted => Standing::Interrupted,
                        _ => Standing::Skipped,
                    };
                    // At once, so that no other need of it ends it a second time.
                    if let Standing::Paused(until) = self.standing[dependent as usize] {
                        self.paused.remove(&(until, dependent));
                    }
                    self.standing[dependent as usize] = follows;
                    ending.push((dependent, follows));
                } else if unmet > 1 {
                    self.standing[dependent as usize] = Standing::Waiting(unmet - 1);
                } else if self.stopping && !finally {
                    self.standing[dependent as usize] = Standing::Interrupted;
                    ending.push((dependent, Standing::Interrupted));
                } else {
                    self.make_ready(dependent);
                }
            }
        }
    }
}
