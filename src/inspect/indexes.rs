//! The indexes that queries use.

use std::collections::HashSet;

use super::query::{self, USER_SCHEMA};
use crate::names::TableName;
use crate::postgres::{Connection, Error};

/// Of `pg_index i`: neither it nor its table is a member of an extension.
pub(super) const OF_NO_EXTENSION: &str = "\
    NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_catalog.pg_class'::regclass \
                AND d.objid IN (i.indexrelid, i.indrelid) AND d.deptype = 'e')";

/// A valid index of a table or of a materialized view.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Index {
    pub(crate) table: TableName,
    pub(crate) name: String,
}

/// The valid indexes of the connection's database, but for those of extensions.
pub(crate) async fn valid_indexes(connection: &Connection) -> Result<Vec<Index>, Error> {
    let sql = format!(
        "SELECT n.nspname::text, t.relname::text, c.relname::text \
         FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid \
         JOIN pg_catalog.pg_class t ON t.oid = i.indrelid \
         JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         WHERE i.indisvalid AND {USER_SCHEMA} AND {OF_NO_EXTENSION} \
         ORDER BY 1, 2, 3"
    );
    let rows = query::rows(connection, "list the indexes", &sql).await?;
    let index = |row: &tokio_postgres::Row| Index {
        table: TableName::new(row.get::<_, String>(0), row.get::<_, String>(1)),
        name: row.get(2),
    };
    Ok(rows.iter().map(index).collect())
}

/// The tables and materialized views of the connection's database.
pub(crate) async fn indexable_tables(connection: &Connection) -> Result<HashSet<TableName>, Error> {
    let sql = format!(
        "SELECT n.nspname::text, c.relname::text FROM pg_catalog.pg_class c \
         JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         WHERE c.relkind IN ('r', 'p', 'm') AND {USER_SCHEMA}"
    );
    let rows = query::rows(connection, "list the tables", &sql).await?;
    let table = |row: &tokio_postgres::Row| {
        TableName::new(row.get::<_, String>(0), row.get::<_, String>(1))
    };
    Ok(rows.iter().map(table).collect())
}
