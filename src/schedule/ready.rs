//! The steps that wait for nothing but their claims, in the order in which they are served.

use std::collections::{BTreeMap, BTreeSet, btree_set};
use std::iter::Peekable;

use crate::graph::{Amounts, Graph, Resource, SnapshotIndex, StepIndex};

/// Ready steps: those of open snapshots first, then by rank.
///
/// They are kept apart by the set of resources that they claim. There are few such sets, however many steps there are, and
/// once nothing of a resource is free, none of the steps that claim it has to be looked at.
#[derive(Debug, Default)]
pub(super) struct Ready {
    by_claims: BTreeMap<Claimed, BTreeSet<Place>>,
}

/// A set of resources, a bit each.
type Claimed = u8;

/// Whether the step's snapshot, if it has one, is not open yet; its rank; the step.
type Place = (bool, u32, StepIndex);

fn claimed(claims: &Amounts) -> Claimed {
    let bit = |(resource, _): (Resource, u32)| 1 << resource as u8;
    claims.iter().map(bit).fold(0, |all, bit| all | bit)
}

impl Ready {
    pub(super) fn insert(&mut self, graph: &Graph, step: StepIndex, is_preferred: bool) {
        let definition = &graph.steps[step];
        let of_claims = self.by_claims.entry(claimed(&definition.claims));
        of_claims
            .or_default()
            .insert((!is_preferred, definition.rank, step));
    }

    pub(super) fn remove(&mut self, graph: &Graph, step: StepIndex) {
        let definition = &graph.steps[step];
        let claimed = claimed(&definition.claims);
        let Some(of_claims) = self.by_claims.get_mut(&claimed) else {
            return;
        };
        for is_other in [false, true] {
            of_claims.remove(&(is_other, definition.rank, step));
        }
        if of_claims.is_empty() {
            self.by_claims.remove(&claimed);
        }
    }

    /// The snapshot is open from now on: its steps come first.
    pub(super) fn prefer(&mut self, graph: &Graph, snapshot: SnapshotIndex) {
        for &step in &graph.snapshots[snapshot].steps {
            let definition = &graph.steps[step];
            let of_claims = self.by_claims.get_mut(&claimed(&definition.claims));
            if let Some(of_claims) = of_claims
                && of_claims.remove(&(true, definition.rank, step))
            {
                of_claims.insert((false, definition.rank, step));
            }
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = StepIndex> {
        let places = self.by_claims.values().flatten();
        places.map(|(_, _, step)| *step)
    }

    pub(super) fn queue(&self) -> Queue<'_> {
        let by_claims = self.by_claims.iter();
        Queue {
            by_claims: by_claims
                .map(|(claimed, places)| (*claimed, places.iter().peekable()))
                .collect(),
        }
    }
}

/// The ready steps in their order, but for those that could not start anyway.
pub(super) struct Queue<'a> {
    by_claims: Vec<(Claimed, Peekable<btree_set::Iter<'a, Place>>)>,
}

impl Queue<'_> {
    /// The next step of which something of each resource that it claims is free. What is free only becomes less.
    pub(super) fn next(&mut self, free: &Amounts) -> Option<StepIndex> {
        let exhausted = !claimed(free);
        self.by_claims
            .retain_mut(|(claimed, places)| *claimed & exhausted == 0 && places.peek().is_some());
        let heads = self.by_claims.iter_mut().enumerate();
        let (_, first) = heads
            .filter_map(|(index, (_, places))| Some((places.peek().copied()?, index)))
            .min()?;
        let (_, places) = &mut self.by_claims[first];
        places.next().map(|(_, _, step)| *step)
    }
}
