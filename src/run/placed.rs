//! Where `[tablespaces]` puts databases that earlier runs created, and what is in them.

use crate::catalog::ServerFacts;
use crate::graph::Graph;
use crate::journal::State;
use crate::plan::Tablespaces;

/// Databases that are not verified, and that the plan puts, with what is in them, elsewhere than when they were created.
pub(super) fn put_elsewhere(
    graph: &Graph,
    state: &State,
    now: &Tablespaces,
    source: &ServerFacts,
) -> Vec<String> {
    let is_elsewhere = |name: &&String| {
        let (Some(then), Some(database)) = (state.placed.get(*name), source.database(name)) else {
            return false;
        };
        let mut used = database.tablespaces();
        !state.verified.contains_key(*name)
            && used.any(|used| then.on_target(used) != now.on_target(used))
    };
    let names = graph.database_names();
    names.filter(is_elsewhere).cloned().collect()
}
