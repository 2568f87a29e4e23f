//! The tables that a dump reads, as far as their locks go.

use super::query::{self, USER_SCHEMA};
use crate::names::TableName;
use crate::postgres::{Connection, Error};

/// Of [`DumpedTable`].
const COLUMNS: &str = "n.nspname::text, c.relname::text, c.oid, c.relfilenode, c.relkind::text = 'r', c.relpersistence::text = 'u'";

/// Tables whose rows or definitions a dump takes, as pg_dump chooses them: what belongs to an extension comes with it, but
/// for its configuration tables.
fn tables() -> String {
    format!(
        "FROM pg_catalog.pg_class c \
         JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         WHERE c.relkind IN ('r', 'p') AND {USER_SCHEMA} \
           AND (NOT EXISTS (SELECT FROM pg_catalog.pg_depend d \
                            WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = c.oid \
                              AND d.objsubid = 0 AND d.deptype = 'e') \
                OR EXISTS (SELECT FROM pg_catalog.pg_extension e WHERE c.oid = ANY (e.extconfig)))"
    )
}

/// A table, and the file that holds its rows: another name is another table by the same oid, another file are other rows,
/// whatever a snapshot shows.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct DumpedTable {
    pub(crate) oid: u32,
    pub(crate) file: u32,
    pub(crate) name: TableName,
    /// Those of a partitioned table are in its partitions.
    pub(crate) has_rows: bool,
    pub(crate) is_unlogged: bool,
}

/// The tables of the connection's database that a dump locks.
pub(crate) async fn dumped_tables(connection: &Connection) -> Result<Vec<DumpedTable>, Error> {
    let sql = format!("SELECT {COLUMNS} {} ORDER BY c.oid", tables());
    read(connection, "list the tables to lock", &sql).await
}

/// Those of [`dumped_tables`] that the connection's transaction sees and does not hold a lock on.
pub(crate) async fn unlocked_tables(connection: &Connection) -> Result<Vec<DumpedTable>, Error> {
    let sql = format!(
        "WITH held AS MATERIALIZED (SELECT l.relation FROM pg_catalog.pg_locks l \
              WHERE l.locktype = 'relation' AND l.granted AND l.pid = pg_catalog.pg_backend_pid() \
                AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())) \
         SELECT {COLUMNS} {} AND c.oid NOT IN (SELECT relation FROM held)",
        tables()
    );
    // Before 12 a WITH query is materialized in any case.
    let sql = if connection.version().major() < 1200 {
        sql.replace("AS MATERIALIZED", "AS")
    } else {
        sql
    };
    read(connection, "look for tables that are not locked", &sql).await
}

/// Those of [`dumped_tables`] that another session has for itself, or waits to have.
pub(crate) async fn tables_in_use(connection: &Connection) -> Result<Vec<DumpedTable>, Error> {
    let sql = format!(
        "SELECT {COLUMNS} {} AND EXISTS ( \
              SELECT FROM pg_catalog.pg_locks l \
              WHERE l.relation = c.oid AND l.mode = 'AccessExclusiveLock' AND l.pid <> pg_catalog.pg_backend_pid() \
                AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())) \
         ORDER BY c.oid",
        tables()
    );
    read(
        connection,
        "look for sessions that keep a table locked",
        &sql,
    )
    .await
}

async fn read(connection: &Connection, action: &str, sql: &str) -> Result<Vec<DumpedTable>, Error> {
    let rows = query::rows(connection, action, sql).await?;
    Ok(rows
        .iter()
        .map(|row| DumpedTable {
            oid: row.get(2),
            file: row.get(3),
            name: TableName {
                schema: row.get(0),
                name: row.get(1),
            },
            has_rows: row.get(4),
            is_unlogged: row.get(5),
        })
        .collect())
}
