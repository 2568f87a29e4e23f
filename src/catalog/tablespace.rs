//! Tablespaces, as far as a migration sets what they are.

use std::collections::{BTreeMap, BTreeSet};

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
