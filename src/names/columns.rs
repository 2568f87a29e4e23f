//! The columns of a table, as far as a load minds them.

use serde::{Deserialize, Serialize};

use super::TableName;

/// The columns of one table of one server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableColumns {
    pub table: TableName,
    /// Of a partition, the table that is altered in its place: the topmost that it is a part of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root: Option<TableName>,
    /// In the order of the table.
    pub columns: Vec<Column>,
}

/// One row of `pg_attribute`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Column {
    pub name: String,
    /// By `format_type`.
    #[serde(rename = "type")]
    pub type_name: String,
    /// Of a composite type, its own columns: the text of a value has them one after the other, without their names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parts: Option<String>,
    #[serde(default, skip_serializing_if = "is_false")]
    pub not_null: bool,
    /// It gets a value where a row brings none: a default, or an identity.
    #[serde(default, skip_serializing_if = "is_false")]
    pub has_default: bool,
    /// The default's expression, where it is plain enough to be quoted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<String>,
    /// Computed by the server, so that no row brings it.
    #[serde(default, skip_serializing_if = "is_false")]
    pub is_generated: bool,
}

/// What a person should know of the columns of a table that was loaded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ColumnRemark {
    /// Of a partition, the table that is altered in its place.
    pub table: TableName,
    pub what: String,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde wants it")]
fn is_false(value: &bool) -> bool {
    !value
}
