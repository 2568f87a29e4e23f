//! Tables, with the partitioned tables that they are parts of.

use super::query::{self, USER_SCHEMA, member_of_extension};
use crate::names::TableName;
use crate::postgres::{Connection, Error};

/// A table that holds rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FamilyMember {
    pub(crate) table: TableName,
    pub(crate) is_unlogged: bool,
    /// The partitioned tables above it, in the order of nothing in particular.
    pub(crate) above: Vec<TableName>,
}

/// The tables that users made and that hold rows, by schema and name.
///
/// # Errors
///
/// A catalog that cannot be read.
pub(crate) async fn families(connection: &Connection) -> Result<Vec<FamilyMember>, Error> {
    let sql = format!(
        "WITH RECURSIVE above (part, top) AS ( \
             SELECT i.inhrelid, i.inhparent FROM pg_catalog.pg_inherits i \
             JOIN pg_catalog.pg_class p ON p.oid = i.inhparent AND p.relkind = 'p' \
             UNION SELECT above.part, i.inhparent FROM above \
             JOIN pg_catalog.pg_inherits i ON i.inhrelid = above.top) \
         SELECT n.nspname::text, c.relname::text, c.relpersistence = 'u', \
                ARRAY(SELECT pn.nspname::text FROM above JOIN pg_catalog.pg_class p ON p.oid = above.top \
                      JOIN pg_catalog.pg_namespace pn ON pn.oid = p.relnamespace \
                      WHERE above.part = c.oid ORDER BY p.oid), \
                ARRAY(SELECT p.relname::text FROM above JOIN pg_catalog.pg_class p ON p.oid = above.top \
                      WHERE above.part = c.oid ORDER BY p.oid) \
         FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         WHERE c.relkind = 'r' AND {USER_SCHEMA} AND NOT {} \
         ORDER BY n.nspname::text COLLATE \"C\", c.relname::text COLLATE \"C\"",
        member_of_extension("pg_class", "c")
    );
    let rows = query::rows(
        connection,
        "list the tables and what they are parts of",
        &sql,
    )
    .await?;
    let members = rows.iter().map(|row| {
        let (schemas, names): (Vec<String>, Vec<String>) = (row.get(3), row.get(4));
        let above = schemas.into_iter().zip(names);
        FamilyMember {
            table: TableName {
                schema: row.get(0),
                name: row.get(1),
            },
            is_unlogged: row.get(2),
            above: above
                .map(|(schema, name)| TableName { schema, name })
                .collect(),
        }
    });
    Ok(members.collect())
}
