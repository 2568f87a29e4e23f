//! Plan + servers -> graph. Pure: no async, no clock, no environment.

pub mod budget;
mod builder;
mod command;
mod compile;
pub mod delay;
mod delay_findings;
mod preflight;
mod selection;
mod step;
#[cfg(test)]
pub(crate) mod tests;
mod tuning;

pub use command::{SNAPSHOT, archive, archives, delayed_archive, file_name};
pub use compile::{Input, compile};
pub use step::*;
pub use tuning::{Reach, Tuning, TuningSetting};

use serde::{Deserialize, Serialize};

use crate::catalog::Version;
use crate::names::TableName;

/// Everything a run will do, and what was found while working it out.
#[derive(Debug, Clone)]
pub struct Graph {
    pub name: String,
    /// `sha256:…` over what must not change between `plan` and `run`.
    pub fingerprint: String,
    pub source: ServerSummary,
    pub target: ServerSummary,
    /// Smallest first, then by name.
    pub databases: Vec<DatabaseSummary>,
    /// In the order of a run; a step's needs stand before it.
    pub steps: PerStep<Step>,
    pub snapshots: PerSnapshot<SharedSnapshot>,
    /// What there is to claim.
    pub budgets: Amounts,
    /// The most that can be claimed at a time.
    pub peaks: Amounts,
    pub findings: Vec<Finding>,
    /// The target's settings for the load; `None`: it stays as it is.
    pub tuning: Option<Tuning>,
    /// Bytes that an index build of ours on the target may take.
    pub maintenance_work_mem: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerSummary {
    pub version: Version,
    /// Connections that this run may use.
    pub budget: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatabaseSummary {
    pub name: String,
    pub bytes: u64,
    pub tables: usize,
    /// Sorted.
    pub delayed: Vec<TableName>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The run does not start.
    Block,
    /// Something will be lost or different unless somebody acts.
    Fix,
    Warn,
    Info,
}

/// Something that somebody should know before the run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    pub severity: Severity,
    /// Stable: `source/with-oids`.
    pub code: String,
    pub database: Option<String>,
    pub object: Option<String>,
    pub message: String,
    /// SQL, a shell command or a plan key that mends it.
    pub fix: Option<String>,
}

impl std::fmt::Display for Finding {
    /// `source/with-oids: database "erp", public.t: the table …`, on one line unless a name holds a line feed.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: ", self.code)?;
        match (&self.database, &self.object) {
            (Some(database), Some(object)) => write!(f, "database \"{database}\", {object}: ")?,
            (Some(database), None) => write!(f, "database \"{database}\": ")?,
            (None, Some(object)) => write!(f, "{object}: ")?,
            (None, None) => {}
        }
        f.write_str(&self.message)
    }
}
