//! Tablespaces, as far as a migration sets what they are, and what is in them.

use std::collections::{BTreeMap, BTreeSet};

use crate::names::TableName;

/// One row of `pg_tablespace`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Tablespace {
    pub(crate) owner: String,
    /// `spcoptions`, by name.
    pub(crate) options: BTreeMap<String, String>,
    pub(crate) comment: Option<String>,
    /// Those of others than its owner.
    pub(crate) privileges: BTreeSet<TablespacePrivilege>,
}

/// The privilege to create something in a tablespace.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TablespacePrivilege {
    /// `None`: PUBLIC.
    pub(crate) grantee: Option<String>,
    pub(crate) is_grantable: bool,
}

/// A relation that is in a tablespace of its own (`pg_class.reltablespace`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Placed {
    pub(crate) name: TableName,
    pub(crate) kind: PlacedKind,
    pub(crate) tablespace: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum PlacedKind {
    Table,
    MaterializedView,
    Index,
}

impl PlacedKind {
    /// As SQL and messages call it.
    pub(crate) fn word(self) -> &'static str {
        match self {
            PlacedKind::Table => "table",
            PlacedKind::MaterializedView => "materialized view",
            PlacedKind::Index => "index",
        }
    }
}
