//! The events, added up.

use std::collections::HashSet;
use std::sync::Arc;

use indexmap::IndexMap;
use jiff::Timestamp;

use crate::event::{self, Ending, Event, Unit};
use crate::names::{Kind, StepId};
use crate::report::width;

/// What is known of a run by its events so far.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) name: String,
    /// `None` before the run and after its end.
    pub(super) started: Option<Timestamp>,
    pub(super) steps: usize,
    pub(super) steps_done: usize,
    /// Those of this run.
    done: HashSet<StepId>,
    pub(super) databases: usize,
    pub(super) databases_done: usize,
    pub(super) databases_failed: usize,
    /// Columns of the longest database name.
    pub(super) longest_name: usize,
    /// Bytes of all databases.
    pub(super) bytes: u64,
    /// In the order in which they started.
    pub(super) under_way: IndexMap<StepId, UnderWay>,
    open: IndexMap<Arc<str>, Open>,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct UnderWay {
    pub(super) since: Timestamp,
    pub(super) progress: Option<event::Progress>,
}

/// A database that is not complete.
#[derive(Debug)]
struct Open {
    bytes: u64,
    started: Option<Timestamp>,
    steps_left: usize,
    failed: bool,
}

/// What an event changed, beyond the sums.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Change {
    /// How far the step was that ended.
    pub(super) progress: Option<event::Progress>,
    pub(super) completed: Option<Completed>,
}

/// A database all of whose steps are done.
#[derive(Debug, PartialEq)]
pub(super) struct Completed {
    pub(super) name: Arc<str>,
    pub(super) bytes: u64,
    pub(super) seconds: f64,
}

impl Tally {
    pub(super) fn is_running(&self) -> bool {
        self.started.is_some()
    }

    pub(super) fn apply(&mut self, event: &Event, now: Timestamp) -> Change {
        match event {
            Event::RunStarted {
                name,
                resumed: _,
                steps,
                done,
                databases,
            } => self.start(name, *steps, *done, databases, now),
            Event::StepStarted { step } => {
                let step = step.clone();
                if let Some(open) = self.open_mut(&step) {
                    open.started.get_or_insert(now);
                }
                let started = UnderWay {
                    since: now,
                    progress: None,
                };
                self.under_way.insert(step, started);
            }
            Event::StepProgress { step, progress } => {
                if let Some(step) = self.under_way.get_mut(step) {
                    step.progress = Some(*progress);
                }
            }
            Event::StepEnded { step, ending, .. } => return self.end(step, ending, now),
            Event::StepWillRetry { step, .. } => {
                self.under_way.shift_remove(step);
            }
            Event::Warning { .. } | Event::Stopping { .. } => {}
            Event::RunEnded => {
                self.started = None;
                self.under_way.clear();
            }
        }
        Change::default()
    }

    fn start(
        &mut self,
        name: &str,
        steps: usize,
        done: usize,
        databases: &[event::DatabaseWork],
        now: Timestamp,
    ) {
        let open: IndexMap<Arc<str>, Open> = databases
            .iter()
            .filter(|database| database.done < database.steps)
            .map(|database| {
                let open = Open {
                    bytes: database.bytes,
                    started: None,
                    steps_left: database.steps - database.done,
                    failed: false,
                };
                (database.name.as_str().into(), open)
            })
            .collect();
        let names = databases.iter();
        *self = Tally {
            name: name.to_owned(),
            started: Some(now),
            steps,
            steps_done: done,
            done: HashSet::new(),
            databases: databases.len(),
            databases_done: databases.len() - open.len(),
            databases_failed: 0,
            longest_name: names
                .map(|database| width::width(&width::name(&database.name, usize::MAX)))
                .max()
                .unwrap_or(0),
            bytes: databases.iter().map(|database| database.bytes).sum(),
            under_way: IndexMap::new(),
            open,
        };
    }

    fn end(&mut self, step: &StepId, ending: &Ending, now: Timestamp) -> Change {
        let mut change = Change {
            progress: self
                .under_way
                .shift_remove(step)
                .and_then(|under_way| under_way.progress),
            completed: None,
        };
        match ending {
            // One whose snapshot was lost is done again, and counts once.
            Ending::Done if !self.done.insert(step.clone()) => {}
            Ending::Done => {
                self.steps_done += 1;
                if let Some(open) = self.open_mut(step) {
                    open.steps_left = open.steps_left.saturating_sub(1);
                    if open.steps_left == 0 {
                        change.completed = self.complete(step, now);
                    }
                }
            }
            Ending::Failed { .. } => {
                let first = self
                    .open_mut(step)
                    .is_some_and(|open| !std::mem::replace(&mut open.failed, true));
                self.databases_failed += usize::from(first);
            }
            Ending::Interrupted | Ending::Skipped => {}
        }
        change
    }

    fn complete(&mut self, step: &StepId, now: Timestamp) -> Option<Completed> {
        let (name, open) = self.open.swap_remove_entry(step.database_name()?)?;
        self.databases_done += 1;
        Some(Completed {
            name,
            bytes: open.bytes,
            seconds: (now - open.started.unwrap_or(now))
                .total(jiff::Unit::Second)
                .unwrap_or(0.0),
        })
    }

    fn open_mut(&mut self, step: &StepId) -> Option<&mut Open> {
        self.open.get_mut(step.database_name()?)
    }

    /// What is under way, by database: the step that tells most, and how many others there are.
    pub(super) fn bars(&self) -> Vec<Bar<'_>> {
        let mut bars: IndexMap<(Option<&str>, Option<Kind>), Bar> = IndexMap::new();
        for (id, step) in &self.under_way {
            // Steps about the whole server have nothing in common: each has a bar of its own.
            let key = match id.database_name() {
                Some(database) => (Some(&**database), None),
                None => (None, Some(id.kind)),
            };
            let bar = bars.entry(key).or_insert(Bar {
                id,
                step,
                others: 0,
            });
            if bar.id != id {
                bar.others += 1;
                if tells(step) > tells(bar.step) {
                    (bar.id, bar.step) = (id, step);
                }
            }
        }
        bars.into_values().collect()
    }
}

/// How much a step under way tells: bytes say more than other numbers, and those more than none.
fn tells(step: &UnderWay) -> u8 {
    match step.progress {
        None => 0,
        Some(event::Progress {
            unit: Unit::Bytes, ..
        }) => 2,
        Some(_) => 1,
    }
}

/// A database with something under way, or a step about the whole server.
pub(super) struct Bar<'a> {
    /// The step that tells most.
    pub(super) id: &'a StepId,
    pub(super) step: &'a UnderWay,
    /// Further steps of the same database.
    pub(super) others: usize,
}
