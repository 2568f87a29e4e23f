//! Journal and steps -> report. Pure.

use std::collections::{BTreeMap, HashMap};

use jiff::Timestamp;

use super::{
    DatabaseOutcome, DatabaseReport, Report, Seconds, ServerReport, StepOutcome, StepReport,
    WithoutEnd,
};
use crate::graph::{DatabaseSummary, PerStep, Step, StepIndex};
use crate::journal::{Outcome, State, Status, StepState};
use crate::names::{Kind, Output, Phase, TableResult};
use crate::report::closed::closed;
use crate::report::format::seconds_between;

/// What an interrupted step has for an error.
const INTERRUPTED: &str = "interrupted before its end; the next run does it again";

/// The report of the last run in the journal; `None` where there was none.
///
/// `databases` and `steps` are the compiled plan's that the journal is about, in its order.
pub(crate) fn build<'a>(
    name: &str,
    databases: &'a [DatabaseSummary],
    steps: &'a PerStep<Step>,
    state: &'a State,
) -> Option<Report> {
    let run = state.runs.last()?;
    let ended = run.ended.filter(|_| !run.is_reset);
    let outcomes = outcomes(steps, state);
    let mut by_database: HashMap<Option<&str>, Vec<(&Step, StepOutcome)>> = HashMap::new();
    for (step, outcome) in steps.iter().zip(outcomes.iter().copied()) {
        let database = step.id.database_name().map(|name| &**name);
        by_database
            .entry(database)
            .or_default()
            .push((step, outcome));
    }
    let pauses = pauses(state);
    let mut work = |database: Option<&'a str>| Work {
        steps: by_database.remove(&database).unwrap_or_default(),
        state,
        pauses: &pauses,
    };
    Some(Report {
        name: name.to_owned(),
        outcome: ended.map_or(Outcome::Interrupted, |(_, outcome, _)| outcome),
        exit_code: ended.map(|(_, _, exit_code)| exit_code),
        started: run.started,
        finished: ended.map(|(at, _, _)| at),
        without_end: run.is_reset.then_some(WithoutEnd::Reset),
        resumed: state.runs.len() > 1,
        settings_restored: state.tuned.is_empty(),
        closed: closed(state),
        server: work(None).server(),
        databases: databases
            .iter()
            .map(|database| work(Some(&database.name)).database(database))
            .collect(),
    })
}

/// What became of each step. A step's needs stand before it, so one pass will do.
fn outcomes(steps: &PerStep<Step>, state: &State) -> PerStep<StepOutcome> {
    let mut outcomes: PerStep<StepOutcome> = PerStep::with_capacity(steps.len());
    for step in steps {
        let lost = |need: &StepIndex| {
            matches!(outcomes[*need], StepOutcome::Failed | StepOutcome::Skipped)
        };
        outcomes.push(match state.steps.get(&step.id).map(|state| state.status) {
            Some(Status::Done) => StepOutcome::Done,
            Some(Status::Failed) => StepOutcome::Failed,
            // What runs in any case does not wait for success.
            _ if !step.finally && step.needs.iter().any(lost) => StepOutcome::Skipped,
            Some(Status::Started | Status::Interrupted) | None => StepOutcome::Pending,
        });
    }
    outcomes
}

/// The times between runs, when no run was under way.
fn pauses(state: &State) -> Vec<(Timestamp, Timestamp)> {
    state
        .runs
        .windows(2)
        .map(|pair| {
            let next = pair[1].started;
            let ended = match pair[0].ended {
                Some((at, _, _)) => at,
                // Killed: it lived at least until the last thing that it wrote.
                None => state
                    .steps
                    .values()
                    .flat_map(|step| [step.started, end(step)])
                    .filter(|at| *at <= next)
                    .max()
                    .map_or(pair[0].started, |at| at.max(pair[0].started)),
            };
            (ended, next)
        })
        .collect()
}

/// The end of the last attempt, as far as it is known.
fn end(step: &StepState) -> Timestamp {
    let seconds = step.seconds.unwrap_or(0.0);
    jiff::SignedDuration::try_from_secs_f64(seconds)
        .ok()
        .and_then(|duration| step.started.checked_add(duration).ok())
        .unwrap_or(step.started)
}

/// The steps of one database, or of the whole server, and what the journal knows of them.
struct Work<'a> {
    steps: Vec<(&'a Step, StepOutcome)>,
    state: &'a State,
    pauses: &'a [(Timestamp, Timestamp)],
}

impl<'a> Work<'a> {
    fn server(&self) -> ServerReport {
        ServerReport {
            steps: self.steps(),
            restore_errors: self
                .outputs()
                .flat_map(|(_, output)| output.restore_errors().to_vec())
                .collect(),
            warnings: self
                .state
                .runs
                .last()
                .into_iter()
                .flat_map(|run| run.findings.iter().cloned())
                .chain(self.warnings(None))
                .collect(),
        }
    }

    fn database(&self, database: &DatabaseSummary) -> DatabaseReport {
        DatabaseReport {
            name: database.name.clone(),
            outcome: self.outcome(),
            bytes: database.bytes,
            seconds: Seconds {
                regular: self.seconds(|kind| kind.phase() != Phase::Delayed),
                delayed: self.seconds(|kind| kind.phase() == Phase::Delayed),
            },
            steps: self.steps(),
            tables: self.tables(),
            restore_errors: self
                .outputs()
                .flat_map(|(_, output)| output.restore_errors().to_vec())
                .collect(),
            warnings: self.warnings(Some(&database.name)),
        }
    }

    /// The steps that were ever started, with what the journal knows of them.
    fn known(&self) -> impl Iterator<Item = (&'a Step, &'a StepState)> + '_ {
        self.steps
            .iter()
            .filter_map(|(step, _)| Some((*step, self.state.steps.get(&step.id)?)))
    }

    fn outputs(&self) -> impl Iterator<Item = (Kind, &'a Output)> + '_ {
        self.known()
            .map(|(step, state)| (step.id.kind, &*state.output))
    }

    fn warnings(&self, database: Option<&str>) -> Vec<String> {
        let run = self.state.runs.last().into_iter();
        let under_way = run
            .flat_map(|run| &run.warnings)
            .filter(|(about, _)| about.as_deref() == database)
            .map(|(_, message)| message.clone());
        self.outputs()
            .flat_map(|(_, output)| output.warnings.clone())
            .chain(under_way)
            .collect()
    }

    fn steps(&self) -> Vec<StepReport> {
        self.steps
            .iter()
            .map(|(step, outcome)| {
                let state = self.state.steps.get(&step.id);
                let interrupted = state.is_some_and(|state| {
                    matches!(state.status, Status::Started | Status::Interrupted)
                });
                StepReport {
                    kind: step.id.kind,
                    state: *outcome,
                    seconds: state.and_then(|state| state.seconds).unwrap_or(0.0),
                    attempts: state.map_or(0, |state| state.attempt),
                    error: match state {
                        _ if interrupted => Some(INTERRUPTED.to_owned()),
                        Some(state) if *outcome == StepOutcome::Failed => {
                            Some(state.error.clone().unwrap_or_default())
                        }
                        _ => None,
                    },
                    started: state.map(|state| state.started),
                    snapshot: state
                        .and_then(|state| state.output.snapshot())
                        .map(str::to_owned),
                }
            })
            .collect()
    }

    /// A difference is what a failed verification found; a verification that failed without one, say
    /// because a server went away, is a failure like any other.
    fn outcome(&self) -> DatabaseOutcome {
        let differs =
            |step: &Step| {
                step.id.kind.traits().compares
                    && self.state.steps.get(&step.id).is_some_and(|state| {
                        state.output.compared().iter().any(|table| !table.matches)
                    })
            };
        let mut failed = self
            .steps
            .iter()
            .filter(|(_, outcome)| *outcome == StepOutcome::Failed)
            .peekable();
        if failed.peek().is_some() {
            return if failed.all(|(step, _)| differs(step)) {
                DatabaseOutcome::Mismatched
            } else {
                DatabaseOutcome::Failed
            };
        }
        if self
            .steps
            .iter()
            .all(|(_, outcome)| *outcome == StepOutcome::Done)
        {
            DatabaseOutcome::Completed
        } else if self.known().next().is_some() {
            DatabaseOutcome::Interrupted
        } else {
            DatabaseOutcome::Pending
        }
    }

    fn tables(&self) -> Vec<TableResult> {
        let mut tables = BTreeMap::new();
        for comparison in Kind::comparing() {
            for (_, output) in self.outputs().filter(|(kind, _)| *kind == comparison) {
                for result in output.compared() {
                    tables.insert(&result.table, result);
                }
            }
        }
        tables.into_values().cloned().collect()
    }

    fn seconds(&self, takes: fn(Kind) -> bool) -> f64 {
        let spans = || {
            self.known()
                .filter(|(step, _)| takes(step.id.kind))
                .map(|(_, state)| (state.started, end(state)))
        };
        let Some(first) = spans().map(|(start, _)| start).min() else {
            return 0.0;
        };
        let last = spans().map(|(_, end)| end).max().unwrap_or(first);
        let paused: f64 = self
            .pauses
            .iter()
            .map(|(from, to)| seconds_between((*from).max(first), (*to).min(last)))
            .sum();
        // Where a clock was set back between two runs, their times overlap; no phase is shorter than its
        // longest step, which was timed by a monotonic clock.
        let steps = self.known().filter(|(step, _)| takes(step.id.kind));
        let longest = steps
            .filter_map(|(_, state)| state.seconds)
            .fold(0.0, f64::max);
        (seconds_between(first, last) - paused).max(longest)
    }
}
