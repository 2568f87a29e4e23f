//! What a run reports while it is under way. Nothing is printed from inside a step.

use crate::names::StepId;

#[derive(Debug, Clone)]
pub(crate) enum Event {
    RunStarted {
        name: String,
        resumed: bool,
        /// Steps of the run, and how many were done before it started.
        steps: usize,
        done: usize,
        /// In the graph's order.
        databases: Vec<DatabaseWork>,
    },
    StepStarted {
        step: StepId,
    },
    StepProgress {
        step: StepId,
        progress: Progress,
    },
    StepEnded {
        step: StepId,
        ending: Ending,
        seconds: f64,
    },
    /// An attempt of a step failed, and the next follows after the pause. It takes the place of
    /// `StepEnded`.
    StepWillRetry {
        step: StepId,
        attempt: u32,
        error: String,
        pause_seconds: f64,
    },
    /// Worth knowing; the run continues.
    Warning {
        database: Option<String>,
        message: String,
    },
    /// The run is stopping: children are being ended.
    Stopping {
        reason: String,
    },
    RunEnded,
}

/// What a run has to do for one database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DatabaseWork {
    pub name: String,
    /// Its size on the source.
    pub bytes: u64,
    /// Its steps, and how many were done before the run started.
    pub steps: usize,
    pub done: usize,
}

/// How far a step is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Progress {
    pub done: u64,
    pub total: Option<u64>,
    pub unit: Unit,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    Bytes,
    Tables,
    /// Entries of an archive's table of contents.
    Items,
}

#[derive(Debug, Clone)]
pub(crate) enum Ending {
    Done,
    Failed {
        error: String,
    },
    /// Stopped by a signal.
    Interrupted,
    /// A step that it needs failed.
    Skipped,
}
