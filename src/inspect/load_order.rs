//! What minds that the rows of some tables come after everything else.

use tokio_postgres::Row;

use super::query::{self, USER_SCHEMA};
use crate::catalog::LoadOrderConstraint;
use crate::names::TableName;
use crate::postgres::{Connection, Error};

/// Foreign keys between two tables, and what else is NOT VALID and would be checked by a load. A check that is NOT ENFORCED (18 and
/// later) counts as NOT VALID, and nothing checks it.
pub(super) async fn load_order_constraints(
    connection: &Connection,
) -> Result<Vec<LoadOrderConstraint>, Error> {
    let is_enforced = if connection.version().major() >= 1800 {
        "o.conenforced"
    } else {
        "true"
    };
    let rows = query::rows(
        connection,
        "list the constraints that mind the order of loads",
        &format!(
            "SELECT n.nspname::text, t.relname::text, o.conname::text, rn.nspname::text, r.relname::text, \
                    o.contype = 'n' \
             FROM pg_catalog.pg_constraint o \
             JOIN pg_catalog.pg_class t ON t.oid = CASE o.contype WHEN 'f' THEN o.confrelid ELSE o.conrelid END \
             JOIN pg_catalog.pg_namespace n ON n.oid = t.relnamespace \
             LEFT JOIN pg_catalog.pg_class r ON o.contype = 'f' AND r.oid = o.conrelid \
             LEFT JOIN pg_catalog.pg_namespace rn ON rn.oid = r.relnamespace \
             WHERE (o.contype = 'f' AND o.convalidated AND o.conrelid <> o.confrelid AND r.relkind = 'r' \
                    OR o.contype IN ('c', 'n') AND NOT o.convalidated AND {is_enforced}) \
               AND t.relkind = 'r' AND {USER_SCHEMA} \
             ORDER BY n.nspname::text COLLATE \"C\", t.relname::text COLLATE \"C\", o.conname::text COLLATE \"C\", \
                      rn.nspname::text COLLATE \"C\", r.relname::text COLLATE \"C\""
        ),
    )
    .await?;
    let constraint = |row: &Row| LoadOrderConstraint {
        table: TableName {
            schema: row.get(0),
            name: row.get(1),
        },
        constraint: row.get(2),
        referring: row
            .get::<_, Option<String>>(3)
            .zip(row.get(4))
            .map(|(schema, name)| TableName { schema, name }),
        is_not_null: row.get(5),
    };
    Ok(rows.iter().map(constraint).collect())
}

/// Tables whose rows may refer to large objects: a column is an oid, or of a domain over it, as `lo` of the extension of that
/// name is.
pub(super) async fn large_object_tables(connection: &Connection) -> Result<Vec<TableName>, Error> {
    let rows = query::rows(
        connection,
        "list the tables that may refer to large objects",
        &format!(
            "SELECT DISTINCT n.nspname::text COLLATE \"C\", t.relname::text COLLATE \"C\" \
             FROM pg_catalog.pg_attribute a \
             JOIN pg_catalog.pg_type y ON y.oid = a.atttypid \
             JOIN pg_catalog.pg_class t ON t.oid = a.attrelid AND t.relkind = 'r' \
             JOIN pg_catalog.pg_namespace n ON n.oid = t.relnamespace \
             WHERE a.attnum > 0 AND NOT a.attisdropped AND {USER_SCHEMA} \
               AND 'pg_catalog.oid'::regtype IN (y.oid, y.typbasetype) \
             ORDER BY 1, 2"
        ),
    )
    .await?;
    let table = |row: &Row| TableName {
        schema: row.get(0),
        name: row.get(1),
    };
    Ok(rows.iter().map(table).collect())
}
