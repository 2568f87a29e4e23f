//! The parts of a graph: steps, what they need and what they claim.

use std::ops::{Deref, DerefMut, Index, IndexMut};

use serde::{Serialize, Serializer};

use crate::names::StepId;

/// A position in a list, of no use in another.
macro_rules! position {
    ($(#[$doc:meta])* $position:ident of $list:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $position(u32);

        impl $position {
            /// # Panics
            ///
            /// From 2^32 on, far more than any graph holds.
            pub fn new(position: usize) -> Self {
                $position(u32::try_from(position).expect("a graph has fewer than 2^32 parts"))
            }
        }

        impl From<$position> for usize {
            fn from(position: $position) -> usize {
                position.0 as usize
            }
        }

        /// One value for each, in their order.
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub struct $list<T>(Vec<T>);

        impl<T> $list<T> {
            pub fn new() -> Self {
                $list(Vec::new())
            }

            pub fn with_capacity(capacity: usize) -> Self {
                $list(Vec::with_capacity(capacity))
            }

            #[cfg(test)]
            pub fn truncate(&mut self, length: usize) {
                self.0.truncate(length);
            }

            pub fn push(&mut self, value: T) -> $position {
                self.0.push(value);
                $position::new(self.0.len() - 1)
            }

            pub fn positions(&self) -> impl DoubleEndedIterator<Item = $position> + use<T> {
                (0..self.0.len()).map($position::new)
            }

            pub fn iter_with_positions(&self) -> impl Iterator<Item = ($position, &T)> {
                self.0
                    .iter()
                    .enumerate()
                    .map(|(position, value)| ($position::new(position), value))
            }
        }

        impl<T> Default for $list<T> {
            fn default() -> Self {
                $list::new()
            }
        }

        impl<T> FromIterator<T> for $list<T> {
            fn from_iter<I: IntoIterator<Item = T>>(values: I) -> Self {
                $list(values.into_iter().collect())
            }
        }

        impl<'a, T> IntoIterator for &'a $list<T> {
            type Item = &'a T;
            type IntoIter = std::slice::Iter<'a, T>;

            fn into_iter(self) -> Self::IntoIter {
                self.0.iter()
            }
        }

        impl<T> Deref for $list<T> {
            type Target = [T];

            fn deref(&self) -> &[T] {
                &self.0
            }
        }

        impl<T> DerefMut for $list<T> {
            fn deref_mut(&mut self) -> &mut [T] {
                &mut self.0
            }
        }

        impl<T> Index<$position> for $list<T> {
            type Output = T;

            fn index(&self, position: $position) -> &T {
                &self.0[usize::from(position)]
            }
        }

        impl<T> IndexMut<$position> for $list<T> {
            fn index_mut(&mut self, position: $position) -> &mut T {
                &mut self.0[usize::from(position)]
            }
        }
    };
}

position! {
    /// Position of a step in [`super::Graph::steps`].
    StepIndex of PerStep
}
position! {
    /// Position of a shared snapshot in [`super::Graph::snapshots`].
    SnapshotIndex of PerSnapshot
}

/// What a step can claim a part of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Resource {
    /// Connections to the source.
    SourceConnections,
    /// Databases at a time on the source.
    SourceDatabases,
    /// Connections to the target.
    TargetConnections,
    /// Databases at a time on the target.
    TargetDatabases,
    /// Count queries in flight, both servers together.
    VerifyQueries,
    /// Megabytes for index builds on the target.
    IndexMemory,
}

impl Resource {
    pub(crate) const COUNT: usize = 6;
    pub(crate) const ALL: [Resource; Resource::COUNT] = [
        Resource::SourceConnections,
        Resource::SourceDatabases,
        Resource::TargetConnections,
        Resource::TargetDatabases,
        Resource::VerifyQueries,
        Resource::IndexMemory,
    ];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Resource::SourceConnections => "source.connections",
            Resource::SourceDatabases => "source.databases",
            Resource::TargetConnections => "target.connections",
            Resource::TargetDatabases => "target.databases",
            Resource::VerifyQueries => "verify.queries",
            Resource::IndexMemory => "target.index_memory_mb",
        }
    }
}

/// An amount of each resource: what a step claims, what a server has, what is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Amounts([u32; Resource::COUNT]);

impl Amounts {
    pub(crate) fn new(amounts: &[(Resource, u32)]) -> Self {
        let mut all = Amounts::default();
        for &(resource, amount) in amounts {
            all.0[resource as usize] += amount;
        }
        all
    }

    pub(crate) fn get(&self, resource: Resource) -> u32 {
        self.0[resource as usize]
    }

    pub(crate) fn set(&mut self, resource: Resource, amount: u32) {
        self.0[resource as usize] = amount;
    }

    /// The resources of which there is some, in a fixed order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Resource, u32)> + '_ {
        Resource::ALL
            .into_iter()
            .map(|resource| (resource, self.get(resource)))
            .filter(|(_, amount)| *amount > 0)
    }

    pub(crate) fn plus(mut self, other: &Amounts) -> Amounts {
        for (mine, theirs) in self.0.iter_mut().zip(other.0) {
            *mine += theirs;
        }
        self
    }

    /// # Panics
    ///
    /// Where `other` is larger than `self`: more was given back than was taken.
    pub(crate) fn minus(mut self, other: &Amounts) -> Amounts {
        for (mine, theirs) in self.0.iter_mut().zip(other.0) {
            *mine = mine
                .checked_sub(theirs)
                .expect("no more is given back than was taken");
        }
        self
    }

    /// What is left after `other`, nothing where it is larger.
    pub(crate) fn less(mut self, other: &Amounts) -> Amounts {
        for (mine, theirs) in self.0.iter_mut().zip(other.0) {
            *mine = mine.saturating_sub(theirs);
        }
        self
    }

    /// The larger amount of each resource.
    pub(crate) fn max(mut self, other: &Amounts) -> Amounts {
        for (mine, theirs) in self.0.iter_mut().zip(other.0) {
            *mine = (*mine).max(theirs);
        }
        self
    }

    pub(crate) fn fits_in(&self, other: &Amounts) -> bool {
        self.0
            .iter()
            .zip(other.0)
            .all(|(mine, theirs)| *mine <= theirs)
    }
}

impl Serialize for Amounts {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(
            self.iter()
                .map(|(resource, amount)| (resource.as_str(), amount)),
        )
    }
}

/// One node of the graph.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Step {
    pub id: StepId,
    /// The steps that must be done before.
    pub needs: Vec<StepIndex>,
    /// Claimed when the step starts, all or none, and given back when it ends.
    pub claims: Amounts,
    /// Runs at the end whatever happened: its needs are met when they ended in any way, and it is
    /// handed out although the run is stopping.
    pub finally: bool,
    /// The snapshot that the step shares with others, if it does.
    pub snapshot: Option<SnapshotIndex>,
    /// The program and its arguments, where the step runs one. Holds no secret.
    pub command: Vec<String>,
    /// Jobs of the program, or queries at a time.
    pub jobs: u32,
    /// Smaller starts first among steps that are ready.
    pub rank: u32,
}

/// A snapshot that several steps share: exported when the first of them starts, ended after the last. It costs the
/// connection that keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SharedSnapshot {
    /// `DATABASE/snapshot`.
    pub id: String,
    pub claims: Amounts,
    pub steps: Vec<StepIndex>,
}
