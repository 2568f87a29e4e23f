//! `report.json`: the last run of a plan, whole, for scripts and for the pages made from it.
//!
//! Beyond the keys that are promised, the document holds `server` (the steps about the whole server,
//! with their restore errors (key `ledger`) and warnings), `without_end` and, of each step that was started, `started`, and of each that read the source under a snapshot, `snapshot`.

mod build;
mod file;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub(crate) use build::build;
pub(crate) use file::{FileError, json, path, write};

use crate::journal::Outcome;
use crate::names::{Kind, RestoreError, TableResult};
use crate::report::closed::ClosedDatabase;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Report {
    /// The plan's name.
    pub name: String,
    /// `interrupted` also where the run was killed and left no end in the journal, and where there is no end yet.
    pub outcome: Outcome,
    /// `null`: the run was killed, or `without_end` says why.
    pub exit_code: Option<u8>,
    /// Of the last run.
    pub started: Timestamp,
    /// As `exit_code`.
    pub finished: Option<Timestamp>,
    /// Why there is no end, other than that the run was killed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub without_end: Option<WithoutEnd>,
    /// An earlier run had started the plan.
    pub resumed: bool,
    /// The target's settings are as they were before this plan tuned it, or it did not tune it.
    pub settings_restored: bool,
    /// Databases of the target that clients cannot connect to yet.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub closed: Vec<ClosedDatabase>,
    /// What is about the whole server.
    pub server: ServerReport,
    /// In the graph's order.
    pub databases: Vec<DatabaseReport>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum WithoutEnd {
    /// The run is at work.
    UnderWay,
    /// `pg-migrate reset` forgot steps since the last run.
    Reset,
}

impl Report {
    /// The report of a run that is at work, which the journal alone cannot tell from one that was killed.
    pub(crate) fn under_way(mut self) -> Report {
        self.without_end = Some(WithoutEnd::UnderWay);
        let databases = self.databases.iter_mut();
        let steps = databases.flat_map(|database| &mut database.steps);
        for step in steps.chain(&mut self.server.steps) {
            if step.state == StepOutcome::Pending {
                step.error = None;
            }
        }
        self
    }
}

/// Steps about the whole server: tune-target, globals, restore-settings.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct ServerReport {
    pub steps: Vec<StepReport>,
    #[serde(rename = "ledger")]
    pub restore_errors: Vec<RestoreError>,
    pub warnings: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct DatabaseReport {
    pub name: String,
    pub outcome: DatabaseOutcome,
    /// Its size on the source.
    pub bytes: u64,
    pub seconds: Seconds,
    /// In the graph's order.
    pub steps: Vec<StepReport>,
    /// By schema and name. What `delayed-verify` compared replaces what `verify` said of the table.
    pub tables: Vec<TableResult>,
    #[serde(rename = "ledger")]
    pub restore_errors: Vec<RestoreError>,
    pub warnings: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum DatabaseOutcome {
    /// Every step is done.
    Completed,
    /// A step failed otherwise than by a difference.
    Failed,
    /// Everything was done but that source and target differ.
    Mismatched,
    /// Something was started, not everything is done, and nothing failed.
    Interrupted,
    /// Nothing was started.
    Pending,
}

impl DatabaseOutcome {
    /// The word in `report.json`.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            DatabaseOutcome::Completed => "completed",
            DatabaseOutcome::Failed => "failed",
            DatabaseOutcome::Mismatched => "mismatched",
            DatabaseOutcome::Interrupted => "interrupted",
            DatabaseOutcome::Pending => "pending",
        }
    }
}

/// Wall time from the first start to the last end of a database's steps, without the time between
/// runs; 0 where no such step was started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Seconds {
    pub regular: f64,
    /// Of the steps with delayed tables.
    pub delayed: f64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct StepReport {
    pub kind: Kind,
    pub state: StepOutcome,
    /// How long the last attempt took; 0 where there was none, or it has no end.
    pub seconds: f64,
    pub attempts: u32,
    pub error: Option<String>,
    /// When the last attempt started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started: Option<Timestamp>,
    /// Of a step that read the source: under which snapshot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum StepOutcome {
    Done,
    Failed,
    /// Not started, because a step that it needs failed.
    Skipped,
    /// To be done by the next run. A step that was interrupted is pending with `attempts` above 0 and
    /// an `error` that says so.
    Pending,
}

impl StepOutcome {
    /// The word in `report.json`.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            StepOutcome::Done => "done",
            StepOutcome::Failed => "failed",
            StepOutcome::Skipped => "skipped",
            StepOutcome::Pending => "pending",
        }
    }
}

#[cfg(test)]
mod tests;
