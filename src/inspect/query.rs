//! Queries whose errors say what was asked for.

use std::collections::BTreeMap;

use tokio_postgres::Row;

use crate::postgres::{Connection, Error};

/// Schemas of the system, of temporary and of TOAST tables.
pub(super) const USER_SCHEMA: &str =
    "n.nspname <> 'information_schema' AND n.nspname !~ '^pg_(catalog$|toast|temp_)'";

/// Whether an object of the catalog belongs to an extension. `alias`: of the catalog in the query.
pub(super) fn member_of_extension(class: &str, alias: &str) -> String {
    format!(
        "EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_catalog.{class}'::regclass \
         AND d.objid = {alias}.oid AND d.objsubid = 0 AND d.deptype = 'e')"
    )
}

/// Every row. `action` is a verb phrase for the error.
pub(super) async fn rows(
    connection: &Connection,
    action: &str,
    sql: &str,
) -> Result<Vec<Row>, Error> {
    connection
        .query(sql, &[])
        .await
        .map_err(connection.failed(action))
}

/// The one row.
pub(super) async fn row(connection: &Connection, action: &str, sql: &str) -> Result<Row, Error> {
    connection
        .query_one(sql, &[])
        .await
        .map_err(connection.failed(action))
}

/// The first column of every row.
pub(super) async fn texts(
    connection: &Connection,
    action: &str,
    sql: &str,
) -> Result<Vec<String>, Error> {
    let rows = rows(connection, action, sql).await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// The first two columns of every row.
pub(super) async fn pairs(
    connection: &Connection,
    action: &str,
    sql: &str,
) -> Result<BTreeMap<String, String>, Error> {
    let rows = rows(connection, action, sql).await?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}
