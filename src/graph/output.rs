//! What steps hand on: to the steps that need them, to the journal, to the report.

use serde::{Deserialize, Serialize};

use crate::catalog::RelationKind;

/// Rows of one table on one server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableCount {
    pub schema: String,
    pub table: String,
    pub kind: RelationKind,
    /// `None`: not counted. A partitioned table's rows are counted in its partitions, a foreign table's
    /// are elsewhere, a materialized view that was never refreshed cannot be read, and under
    /// `verify.mode = "fast"` a table that was never analyzed has no estimate.
    pub rows: Option<u64>,
}

/// One error of pg_restore, by object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerEntry {
    /// `FUNCTION public.f(integer)`: the archive's description of the object, with its schema.
    pub object: String,
    pub message: String,
    /// The plan expects it (`[[accept]]`).
    pub accepted: bool,
}

/// One table, compared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableResult {
    pub schema: String,
    pub table: String,
    /// `None`: the table is not there, or its rows are unknown.
    pub source_rows: Option<u64>,
    pub target_rows: Option<u64>,
    #[serde(rename = "match")]
    pub matches: bool,
    /// Why the two differ or could not be compared; `None` for a plain match.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// An archive as it was written: what a run that goes on finds must be the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArchiveSeal {
    pub files: u64,
    pub bytes: u64,
    /// SHA-256 over names, sizes and contents of its files, in hexadecimal digits.
    pub digest: String,
}

/// An index, with everything that makes it what it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexDefinition {
    pub schema: String,
    pub table: String,
    pub name: String,
    /// `pg_get_indexdef`: method, columns, storage parameters, predicate.
    pub definition: String,
    /// `None`: the database's default tablespace.
    pub tablespace: Option<String>,
    pub comment: Option<String>,
    /// Column number and statistics target of columns that have one of their own.
    pub statistics: Vec<(i16, i32)>,
    /// The table is marked to be clustered by this index.
    pub clustered: bool,
    /// Of the table on the source, as far as known then: large ones are built first.
    pub table_bytes: u64,
}

/// A delayed table that was loaded by a transaction of the target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Load {
    pub schema: String,
    pub table: String,
    /// Its entry in the archive.
    pub dump_id: u32,
    /// `txid_current()` of the transaction, on record before its commit: a later run asks the target whether
    /// it was committed.
    pub transaction: i64,
    /// The start of the target in which it was, seconds since 1970: a crash may give the number to another.
    #[serde(default)]
    pub server_started: String,
    pub rows: u64,
}

/// What a step yielded.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Output {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub counts: Vec<TableCount>,
    /// The counts are estimates (`verify.mode = "fast"`), which cannot stand beside counted rows.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub estimated: bool,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tables: Vec<TableResult>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ledger: Vec<LedgerEntry>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// The archive that the step wrote.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub archive: Option<ArchiveSeal>,
    /// Of a dump: the tables whose data it left to the delayed phase, `schema.table`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub delayed: Vec<String>,
    /// The snapshot under which the step read the source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<String>,
    /// Of a dump: the oldest transaction of the source that had not ended when its snapshot was taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oldest_transaction: Option<i64>,
}
