//! Names that are not UTF-8. A database with encoding SQL_ASCII takes any bytes for a name, and the server's own objects
//! can be named in a session of such a database; no text of ours can hold them.

use std::collections::BTreeMap;
use std::fmt::Write;

use tokio_postgres::Row;

use super::delayed::DROPPABLE;
use super::query::{self, USER_SCHEMA};
use crate::names::TableName;
use crate::postgres::{Connection, Error};

/// `character_not_in_repertoire`: bytes that cannot be told in the session's encoding.
const NOT_IN_ENCODING: &str = "22021";

/// Whether the server could not tell us something in UTF-8.
pub(super) fn is_not_utf8(error: &Error) -> bool {
    error.sqlstate() == Some(NOT_IN_ENCODING)
}

/// Fails where a database, a role or a tablespace has such a name.
pub(super) async fn ensure_utf8(connection: &Connection) -> Result<(), Error> {
    let action = "read the names of databases, roles and tablespaces";
    let rows = raw(
        connection,
        action,
        "SELECT 'database', ARRAY[namesend(datname)] FROM pg_catalog.pg_database \
         UNION ALL SELECT 'role', ARRAY[namesend(rolname)] FROM pg_catalog.pg_roles \
         UNION ALL SELECT 'tablespace', ARRAY[namesend(spcname)] FROM pg_catalog.pg_tablespace",
    )
    .await?;
    let names: Vec<String> = rows.iter().filter_map(shown).collect();
    if names.is_empty() {
        return Ok(());
    }
    Err(connection.names_not_utf8(action, &names))
}

/// What of the connection's database has such a name, as it is shown.
pub(super) async fn not_utf8(connection: &Connection) -> Result<Vec<String>, Error> {
    let rows = raw(
        connection,
        "read the names of tables and other objects",
        &format!(
            "SELECT 'schema', ARRAY[namesend(n.nspname)] FROM pg_catalog.pg_namespace n WHERE {USER_SCHEMA} \
             UNION ALL SELECT CASE c.relkind WHEN 'i' THEN 'index' WHEN 'I' THEN 'index' WHEN 'm' THEN 'materialized view' \
                                             WHEN 'S' THEN 'sequence' WHEN 'v' THEN 'view' ELSE 'table' END, \
                              ARRAY[namesend(n.nspname), namesend(c.relname)] \
             FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
             WHERE c.relkind <> 't' AND {USER_SCHEMA} \
             UNION ALL SELECT 'function', ARRAY[namesend(n.nspname), namesend(p.proname)] \
             FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace WHERE {USER_SCHEMA} \
             UNION ALL SELECT 'type', ARRAY[namesend(n.nspname), namesend(t.typname)] \
             FROM pg_catalog.pg_type t JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace \
             WHERE t.typrelid = 0 AND t.typelem = 0 AND {USER_SCHEMA} \
             UNION ALL SELECT 'constraint', \
                              ARRAY[namesend(n.nspname), namesend(c.relname), namesend(o.conname)] \
             FROM pg_catalog.pg_constraint o JOIN pg_catalog.pg_class c ON c.oid = o.conrelid \
             JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE o.contype IN ('c', 'f') AND {USER_SCHEMA} \
             UNION ALL SELECT 'trigger', ARRAY[namesend(n.nspname), namesend(c.relname), namesend(g.tgname)] \
             FROM pg_catalog.pg_trigger g JOIN pg_catalog.pg_class c ON c.oid = g.tgrelid \
             JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE NOT g.tgisinternal AND {USER_SCHEMA} \
             UNION ALL SELECT 'event trigger', ARRAY[namesend(evtname)] FROM pg_catalog.pg_event_trigger"
        ),
    )
    .await?;
    let mut names: Vec<String> = rows.iter().filter_map(shown).collect();
    names.sort_unstable();
    Ok(names)
}

/// Columns of tables, and indexes that a delayed load would drop, whose name, definition or comment is not UTF-8, by their
/// tables.
pub(super) async fn parts_not_utf8(
    connection: &Connection,
) -> Result<BTreeMap<TableName, Vec<String>>, Error> {
    let mut parts: BTreeMap<TableName, Vec<String>> = BTreeMap::new();
    let action = "read the names of columns and the definitions of indexes";
    let encoding = "SELECT current_setting('server_encoding')";
    let encoding = query::row(connection, action, encoding).await?;
    if encoding.get::<_, &str>(0) != "SQL_ASCII" {
        return Ok(parts);
    }
    let rows = raw(
        connection,
        action,
        &format!(
            "SELECT namesend(n.nspname), namesend(t.relname), 'column', namesend(a.attname), namesend(a.attname) \
             FROM pg_catalog.pg_attribute a \
             JOIN pg_catalog.pg_class t ON t.oid = a.attrelid AND t.relkind = 'r' \
             JOIN pg_catalog.pg_namespace n ON n.oid = t.relnamespace \
             WHERE a.attnum > 0 AND NOT a.attisdropped AND {USER_SCHEMA} \
             UNION ALL \
             SELECT namesend(n.nspname), namesend(t.relname), 'index', namesend(i.relname), \
                    textsend(pg_get_indexdef(i.oid) || coalesce(obj_description(i.oid, 'pg_class'), '')) \
             FROM pg_catalog.pg_index x \
             JOIN pg_catalog.pg_class i ON i.oid = x.indexrelid \
             JOIN pg_catalog.pg_class t ON t.oid = x.indrelid AND t.relkind = 'r' \
             JOIN pg_catalog.pg_namespace n ON n.oid = t.relnamespace \
             WHERE {DROPPABLE} AND {USER_SCHEMA}"
        ),
    )
    .await?;
    for row in &rows {
        if std::str::from_utf8(row.get(4)).is_err() {
            let table = TableName::new(printable(row.get(0)), printable(row.get(1)));
            let part = format!("{} {}", row.get::<_, &str>(2), printable(row.get(3)));
            parts.entry(table).or_default().push(part);
        }
    }
    parts.values_mut().for_each(|parts| parts.sort_unstable());
    Ok(parts)
}

/// Rows whose names come as the server keeps them.
async fn raw(connection: &Connection, action: &str, sql: &str) -> Result<Vec<Row>, Error> {
    let encoding = async |name: &str| {
        let sql = format!("SET client_encoding = '{name}'");
        let set = connection.batch_execute(&sql).await;
        set.map_err(connection.failed("set client_encoding"))
    };
    encoding("SQL_ASCII").await?;
    let rows = query::rows(connection, action, sql).await?;
    encoding("UTF8").await?;
    Ok(rows)
}

/// What a row is about, where a part of its name is not UTF-8.
fn shown(row: &Row) -> Option<String> {
    let parts: Vec<&[u8]> = row.get(1);
    // Where only the name of the schema or of the table is not, that one has a row of its own.
    std::str::from_utf8(parts.last()?).is_err().then(|| {
        let parts: Vec<String> = parts.into_iter().map(printable).collect();
        format!("{} {}", row.get::<_, &str>(0), parts.join("."))
    })
}

/// With bytes that are not UTF-8 as `E'…'` has them: `caf\xe9`.
fn printable(name: &[u8]) -> String {
    let mut shown = String::new();
    for chunk in name.utf8_chunks() {
        shown.push_str(chunk.valid());
        for byte in chunk.invalid() {
            let _ = write!(shown, "\\x{byte:02x}");
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_that_are_not_utf8_are_shown_as_sql_has_them() {
        assert_eq!(printable(b"stra\xdfe"), "stra\\xdfe");
        assert_eq!(printable("straße".as_bytes()), "straße");
        assert_eq!(printable(b"\xff\xfe\xc3"), "\\xff\\xfe\\xc3");
    }
}
