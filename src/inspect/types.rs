//! The types whose values no lock keeps as they are.

use super::query::{self, USER_SCHEMA};
use crate::names::{EnumLabel, TableName, TypeMeaning};
use crate::postgres::{Connection, Error};

/// What values of the enums and composite types mean that the connection's transaction sees. A label more changes nothing for
/// the values that are there; a column more does.
pub(crate) async fn type_meanings(connection: &Connection) -> Result<Vec<TypeMeaning>, Error> {
    let sql = format!(
        "SELECT e.enumtypid, pg_catalog.md5(e.oid::text || ' ' || e.enumlabel::text) FROM pg_catalog.pg_enum e \
         UNION ALL \
         SELECT c.reltype, pg_catalog.md5(pg_catalog.string_agg(pg_catalog.concat_ws(' ', \
                    a.attnum, a.attname, a.atttypid, a.atttypmod), ',' ORDER BY a.attnum)) \
         FROM pg_catalog.pg_class c \
         JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped \
         WHERE c.relkind = 'c' AND {USER_SCHEMA} GROUP BY c.reltype"
    );
    let rows = query::rows(connection, "read what values of types mean", &sql).await?;
    Ok(rows
        .iter()
        .map(|row| TypeMeaning {
            type_oid: row.get(0),
            digest: row.get(1),
        })
        .collect())
}

/// Of these tables, every type that a value in them consists of, with its name.
pub(crate) async fn types_in(
    connection: &Connection,
    tables: impl IntoIterator<Item = TableName>,
) -> Result<Vec<(u32, String)>, Error> {
    let multirange = if connection.version().major() >= 1400 {
        "UNION ALL SELECT r.rngtypid FROM pg_catalog.pg_range r WHERE r.rngmultitypid = t.oid"
    } else {
        ""
    };
    let sql = format!(
        "WITH RECURSIVE used (oid) AS ( \
             SELECT a.atttypid FROM pg_catalog.pg_attribute a \
             JOIN pg_catalog.pg_class c ON c.oid = a.attrelid \
             JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
             WHERE a.attnum > 0 AND NOT a.attisdropped \
               AND (n.nspname::text, c.relname::text) IN (SELECT * FROM unnest($1::text[], $2::text[])) \
             UNION \
             SELECT part.oid FROM used JOIN pg_catalog.pg_type t ON t.oid = used.oid, LATERAL ( \
                 SELECT t.typelem UNION ALL SELECT t.typbasetype \
                 UNION ALL SELECT r.rngsubtype FROM pg_catalog.pg_range r WHERE r.rngtypid = t.oid \
                 {multirange} \
                 UNION ALL SELECT a.atttypid FROM pg_catalog.pg_attribute a \
                           WHERE a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped) AS part (oid) \
             WHERE part.oid <> 0) \
         SELECT oid, pg_catalog.format_type(oid, NULL) FROM used ORDER BY 2"
    );
    let tables = tables.into_iter().map(|table| (table.schema, table.name));
    let (schemas, names): (Vec<String>, Vec<String>) = tables.unzip();
    let rows = connection
        .query(&sql, &[&schemas, &names])
        .await
        .map_err(connection.failed("list the types of the delayed tables"))?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}

/// The labels of the enums that values in these tables consist of. In a database with encoding SQL_ASCII, one that holds other bytes than
/// ASCII may not be readable, and is told by a digest.
///
/// # Errors
///
/// A catalog that cannot be read.
pub(crate) async fn enum_labels(
    connection: &Connection,
    tables: impl IntoIterator<Item = TableName>,
) -> Result<Vec<EnumLabel>, Error> {
    let types = types_in(connection, tables).await?;
    let oids: Vec<u32> = types.into_iter().map(|(oid, _)| oid).collect();
    let rows = connection
        .query(
            "SELECT pg_catalog.format_type(e.enumtypid, NULL), e.oid, \
                    CASE WHEN e.enumlabel::text ~ '^[ -~]*$' OR pg_catalog.current_setting('server_encoding') <> 'SQL_ASCII' \
                         THEN e.enumlabel::text ELSE pg_catalog.md5(e.enumlabel::text) END \
             FROM pg_catalog.pg_enum e \
             WHERE e.enumtypid = ANY ($1) ORDER BY e.enumtypid, e.enumsortorder",
            &[&oids],
        )
        .await
        .map_err(connection.failed("read the labels of enums in the delayed tables"))?;
    let labels = rows.iter().map(|row| EnumLabel {
        type_name: row.get(0),
        oid: row.get(1),
        label: row.get(2),
    });
    Ok(labels.collect())
}
