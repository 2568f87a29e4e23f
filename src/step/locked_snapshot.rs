//! A snapshot with the tables that are locked for it.

use std::ops::Deref;

use crate::inspect::{Definition, DumpedTable};
use crate::names::{SequenceValue, TypeMeaning};
use crate::postgres::Snapshot;

/// A snapshot with a lock on every table that it shows.
#[derive(Debug)]
pub(crate) struct LockedSnapshot {
    snapshot: Snapshot,
    tables: Vec<DumpedTable>,
    meanings: Vec<TypeMeaning>,
    definitions: Vec<Definition>,
    sequences: Vec<SequenceValue>,
}

impl LockedSnapshot {
    pub(super) fn new(
        snapshot: Snapshot,
        tables: Vec<DumpedTable>,
        (meanings, definitions): (Vec<TypeMeaning>, Vec<Definition>),
        sequences: Vec<SequenceValue>,
    ) -> Self {
        LockedSnapshot {
            snapshot,
            tables,
            meanings,
            definitions,
            sequences,
        }
    }

    /// The tables as they were when the snapshot was taken.
    pub(super) fn tables(&self) -> &[DumpedTable] {
        &self.tables
    }

    /// What values of types meant then.
    pub(super) fn meanings(&self) -> &[TypeMeaning] {
        &self.meanings
    }

    /// What the server said of functions, triggers and indexes then, and what others were called.
    pub(super) fn definitions(&self) -> &[Definition] {
        &self.definitions
    }

    /// Where every sequence stood when the snapshot was taken, or a moment later: no row of it has a later value.
    pub(crate) fn sequences(&self) -> &[SequenceValue] {
        &self.sequences
    }

    /// See [`Snapshot::close`].
    pub(crate) async fn close(self) {
        self.snapshot.close().await;
    }
}

impl Deref for LockedSnapshot {
    type Target = Snapshot;

    fn deref(&self) -> &Snapshot {
        &self.snapshot
    }
}
