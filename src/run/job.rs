//! What a run is given.

use crate::catalog::Inspection;
use crate::graph::Graph;
use crate::journal::Journal;
use crate::plan::{Endpoint, Plan};

/// What a run needs. The graph has no blockers.
pub(crate) struct Job {
    pub plan: Plan,
    pub source: Endpoint,
    pub target: Endpoint,
    pub inspection: Inspection,
    pub graph: Graph,
    pub journal: Journal,
    /// What shows that the target is in an older state than its mark had.
    pub older_target: Option<String>,
}
