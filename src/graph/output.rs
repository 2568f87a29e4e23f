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

/// What a step yielded.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Output {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub counts: Vec<TableCount>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tables: Vec<TableResult>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ledger: Vec<LedgerEntry>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// Bytes of the archive that the step wrote.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub archive_bytes: Option<u64>,
    /// The snapshot under which the step read the source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<String>,
}
