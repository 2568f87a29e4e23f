//! A snapshot with the tables that are locked for it.

use std::ops::Deref;

use crate::inspect::{DumpedTable, TypeMeaning};
use crate::postgres::Snapshot;

/// A snapshot with a lock on every table that it shows.
#[derive(Debug)]
pub(crate) struct LockedSnapshot {
    snapshot: Snapshot,
    tables: Vec<DumpedTable>,
    meanings: Vec<TypeMeaning>,
}

impl LockedSnapshot {
    pub(super) fn new(
        snapshot: Snapshot,
        tables: Vec<DumpedTable>,
        meanings: Vec<TypeMeaning>,
    ) -> Self {
        LockedSnapshot {
            snapshot,
            tables,
            meanings,
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
