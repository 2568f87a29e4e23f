//! The rows of configuration tables that are left to the scripts of their extensions: those that the table's condition leaves out of
//! every dump (PostgreSQL manual, 36.17.3).

use super::query;
use crate::names::TableName;
use crate::postgres::{Class, Connection, Error};

/// A configuration table with a condition, and the rows outside of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ScriptedRows {
    pub(crate) table: TableName,
    pub(crate) extension: String,
    pub(crate) version: String,
    /// `WHERE …`: the rows that are dumped.
    pub(crate) condition: String,
    /// `None`: they cannot be read.
    pub(crate) rows: Option<Rows>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rows {
    pub(crate) number: i64,
    /// Of what the rows hold, in whatever order; `0` without rows.
    pub(crate) digest: String,
    /// Every server writes values of these types in the same way. Before 12 numbers with a floating point had other digits.
    pub(crate) is_plain: bool,
}

/// All of the connection's database. `conditions`: those of the other server, whose dump it was, where the tables are there.
pub(crate) async fn scripted_rows(
    connection: &Connection,
    conditions: Option<&[ScriptedRows]>,
) -> Result<Vec<ScriptedRows>, Error> {
    let rows = query::rows(connection, "list the configuration tables", TABLES).await?;
    let mut all = Vec::with_capacity(rows.len());
    for row in &rows {
        let mut found = ScriptedRows {
            table: TableName::new(row.get::<_, String>(0), row.get::<_, String>(1)),
            extension: row.get(2),
            version: row.get(3),
            condition: row.get::<_, Option<String>>(4).unwrap_or_default(),
            rows: None,
        };
        if let Some(conditions) = conditions {
            let same = conditions.iter().find(|one| {
                one.table == found.table
                    && one.extension == found.extension
                    && one.version == found.version
            });
            let Some(same) = same else { continue };
            found.condition.clone_from(&same.condition);
        }
        if found.condition.trim().is_empty() {
            continue;
        }
        if row.get(5) {
            let columns: Option<String> = row.get(6);
            let read = read(connection, &found, columns.as_deref().unwrap_or("NULL")).await;
            found.rows = match read {
                Ok(rows) => Some(Rows {
                    is_plain: row.get(7),
                    ..rows
                }),
                // A policy, a type that cannot be written as text: of this table alone.
                Err(error) if error.class() == Class::Fail && error.sqlstate().is_some() => None,
                Err(error) => return Err(error),
            };
        }
        all.push(found);
    }
    Ok(all)
}

/// With their columns, but for object ids and the like, which every server gives out by itself. Partitioned and foreign tables hold
/// no rows of their own.
const TABLES: &str = "\
    SELECT n.nspname::text, c.relname::text, e.extname::text, e.extversion, e.condition, \
           has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT'), \
           (SELECT string_agg('r.' || quote_ident(a.attname), ', ' ORDER BY a.attname::text COLLATE \"C\") \
            FROM pg_catalog.pg_attribute a \
            WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped \
              AND a.atttypid NOT IN ('oid'::regtype, 'xid'::regtype, 'tid'::regtype, 'cid'::regtype)), \
           (SELECT coalesce(bool_and(t.typcategory IN ('S', 'B', 'D') \
                                     OR t.typname IN ('int2', 'int4', 'int8', 'numeric')), true) \
            FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_type t ON t.oid = a.atttypid \
            WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped) \
    FROM (SELECT extname, extversion, unnest(extconfig) AS config, unnest(extcondition) AS condition \
          FROM pg_catalog.pg_extension) e \
    JOIN pg_catalog.pg_class c ON c.oid = e.config \
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
    WHERE c.relkind IN ('r', 'm') AND NOT (c.relpersistence = 'u' AND pg_is_in_recovery()) \
    ORDER BY n.nspname::text COLLATE \"C\", c.relname::text COLLATE \"C\"";

/// All rows less those that are dumped: a condition may be NULL for a row.
async fn read(connection: &Connection, table: &ScriptedRows, columns: &str) -> Result<Rows, Error> {
    let name = table.table.quoted();
    let condition = &table.condition;
    let each = format!("('x' || substr(md5(ROW({columns})::text), 1, 15))::bit(60)::bigint");
    let state = |which: &str| {
        format!(
            "(SELECT count(*) AS number, coalesce(sum(digest), 0) AS digest FROM \
              (SELECT {each} AS digest FROM (SELECT * FROM ONLY {name} {which}) r) d)"
        )
    };
    let sql = format!(
        "SELECT every.number - dumped.number, (every.digest - dumped.digest)::text FROM {} every, {} dumped",
        state(""),
        state(condition)
    );
    let action = format!("read the rows of {name} that are not dumped");
    let row = query::row(connection, &action, &sql).await?;
    Ok(Rows {
        number: row.get(0),
        digest: row.get(1),
        is_plain: false,
    })
}
