//! What a graph is compiled from.

use std::collections::{BTreeMap, BTreeSet};

use crate::catalog::Inspection;
use crate::finding::Finding;
use crate::names::TableName;
use crate::plan::{Endpoint, Plan};

/// Everything a graph is made of.
pub(crate) struct Input<'a> {
    pub plan: &'a Plan,
    pub source: &'a Endpoint,
    pub target: &'a Endpoint,
    pub inspection: &'a Inspection,
    /// Databases of the target that this plan created, by its journal.
    pub created: &'a BTreeSet<String>,
    /// Of those, the ones that clients may use: they are verified and open.
    pub in_use: &'a BTreeSet<String>,
    /// Tables that the dump's snapshot showed, of databases whose dump is done for good: they were verified, by the journal.
    pub dumped: &'a BTreeMap<String, DumpedTables>,
    /// Decides which waivers still hold.
    pub today: jiff::civil::Date,
    /// What was found on this machine, beside the servers.
    pub findings: Vec<Finding>,
}

/// The tables of a database whose dump is done for good, by the journal.
#[derive(Debug, Default)]
pub(crate) struct DumpedTables {
    /// All that the dump's snapshot showed.
    pub tables: BTreeSet<TableName>,
    /// The delayed ones, where an archive has their rows and not all of them are loaded and verified: they are loaded
    /// whatever became of them on the source since.
    pub to_load: Vec<TableName>,
}
