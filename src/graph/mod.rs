//! Plan + servers -> graph. Pure: no async, no clock, no environment.

pub(crate) mod budget;
mod builder;
mod command;
mod compile;
mod compression;
pub(crate) mod delay;
mod input;
mod selection;
mod step;
#[cfg(test)]
pub(crate) mod tests;
mod tuning;

pub(crate) use command::{
    NO_TABLESPACES, PARTS, SNAPSHOT, archive, archives, delayed_archive, file_name, globals,
};
pub(crate) use compile::{accepts_stale_source, compile};
pub(crate) use input::{DumpedTables, Input};
pub(crate) use selection::{is_selected, select};
pub(crate) use step::*;
pub(crate) use tuning::{Reach, Tuning, TuningSetting};

use serde::{Deserialize, Serialize};

use crate::catalog::Version;
use crate::finding::Finding;
use crate::names::TableName;

/// Everything a run will do, and what was found while working it out.
#[derive(Debug, Clone)]
pub(crate) struct Graph {
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
    /// Bytes that one of our index builds on the target may take.
    pub maintenance_work_mem: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ServerSummary {
    pub version: Version,
    /// Connections that this run may use.
    pub budget: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DatabaseSummary {
    pub name: String,
    pub bytes: u64,
    pub tables: usize,
    /// Sorted.
    pub delayed: Vec<TableName>,
}
