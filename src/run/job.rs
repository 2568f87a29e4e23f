//! What a run is given.

use crate::catalog::Inspection;
use crate::graph::Graph;
use crate::journal::Journal;
use crate::plan::{Endpoint, Plan};

use super::control::Older;

/// What a run needs. The graph has no blockers.
pub(crate) struct Job {
    pub plan: Plan,
    pub source: Endpoint,
    pub target: Endpoint,
    pub inspection: Inspection,
    pub graph: Graph,
    pub journal: Journal,
    /// The target's mark has not all that it was given.
    pub older_target: Option<Older>,
}
