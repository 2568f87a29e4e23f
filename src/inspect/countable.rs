//! The tables whose rows are compared.

use super::contents::{USER_SCHEMA, estimate, kind};
use super::query;
use crate::catalog::RelationKind;
use crate::postgres::{Connection, Error};

/// A table, as far as counting goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Countable {
    pub schema: String,
    pub name: String,
    pub kind: RelationKind,
    /// A materialized view that was never refreshed cannot be read.
    pub populated: bool,
    /// `None`: never analyzed.
    pub estimated_rows: Option<u64>,
    /// `WHERE …`: which rows are the user's, of an extension's configuration table (PostgreSQL manual,
    /// 36.17.3).
    pub condition: Option<String>,
}

/// The tables of the connection's database whose data a dump takes: those of users, and those that an
/// extension marked as its configuration. What else belongs to an extension comes with it.
pub async fn countable(connection: &Connection) -> Result<Vec<Countable>, Error> {
    let rows = query::rows(
        connection,
        "list the tables",
        &format!(
            "SELECT n.nspname::text, c.relname::text, c.relkind::text, c.relispopulated, c.reltuples, \
                    e.condition \
             FROM pg_catalog.pg_class c \
             JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
             LEFT JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_class'::regclass \
                  AND d.objid = c.oid AND d.objsubid = 0 AND d.deptype = 'e' \
             LEFT JOIN (SELECT unnest(extconfig) AS config, unnest(extcondition) AS condition \
                        FROM pg_catalog.pg_extension) e ON e.config = c.oid \
             WHERE c.relkind IN ('r', 'p', 'f', 'm') AND {USER_SCHEMA} \
               AND (d.objid IS NULL OR e.config IS NOT NULL)"
        ),
    )
    .await?;
    let major = connection.version().major();
    Ok(rows
        .iter()
        .map(|row| Countable {
            schema: row.get(0),
            name: row.get(1),
            kind: kind(row.get(2)),
            populated: row.get(3),
            estimated_rows: estimate(row.get(4), major),
            condition: row.get(5),
        })
        .collect())
}
