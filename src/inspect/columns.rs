//! The columns of tables.

use crate::names::{Column, TableColumns, TableName};
use crate::postgres::{Connection, Error};

/// A default that holds other bytes than ASCII may not be readable in a database with encoding SQL_ASCII.
const COLUMNS: &str = "\
    SELECT n.nspname::text, c.relname::text, a.attname::text, format_type(a.atttypid, a.atttypmod), a.attnotnull, \
           d.adbin IS NOT NULL OR IDENTITY, \
           CASE WHEN pg_get_expr(d.adbin, d.adrelid) ~ '^[ -~]*$' THEN pg_get_expr(d.adbin, d.adrelid) END, \
           GENERATED, r.schema, r.name, (PARTS) \
    FROM pg_catalog.pg_attribute a \
    JOIN pg_catalog.pg_class c ON c.oid = a.attrelid \
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
    LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum \
    LEFT JOIN LATERAL (ROOT) AS r(schema, name) ON true \
    WHERE a.attnum > 0 AND NOT a.attisdropped \
      AND (n.nspname::text, c.relname::text) IN (SELECT * FROM unnest($1::text[], $2::text[])) \
    ORDER BY n.nspname::text COLLATE \"C\", c.relname::text COLLATE \"C\", a.attnum";

/// What the values of the column consist of where its type is composite, or an array or a domain of such.
const PARTS: &str = "\
    WITH RECURSIVE used (oid) AS ( \
        SELECT a.atttypid \
        UNION \
        SELECT part.oid FROM used JOIN pg_catalog.pg_type t ON t.oid = used.oid, LATERAL ( \
            SELECT t.typelem UNION ALL SELECT t.typbasetype \
            UNION ALL SELECT b.atttypid FROM pg_catalog.pg_attribute b \
                      WHERE b.attrelid = t.typrelid AND b.attnum > 0 AND NOT b.attisdropped) AS part (oid) \
        WHERE part.oid <> 0) \
    SELECT string_agg(CASE WHEN c.list ~ '^[ -~]*$' THEN format_type(t.oid, NULL) || ' (' || c.list || ')' ELSE md5(c.list) END, \
                      ', ' ORDER BY format_type(t.oid, NULL)) \
    FROM used JOIN pg_catalog.pg_type t ON t.oid = used.oid AND t.typrelid <> 0, LATERAL ( \
        SELECT string_agg(b.attname || ' ' || format_type(b.atttypid, b.atttypmod), ', ' ORDER BY b.attnum) \
        FROM pg_catalog.pg_attribute b \
        WHERE b.attrelid = t.typrelid AND b.attnum > 0 AND NOT b.attisdropped) AS c (list)";

/// The topmost partitioned table of which the table is a part.
const ROOT: &str = "\
    WITH RECURSIVE up (oid, depth) AS ( \
        SELECT i.inhparent, 1 FROM pg_catalog.pg_inherits i WHERE c.relispartition AND i.inhrelid = c.oid \
        UNION ALL SELECT i.inhparent, depth + 1 FROM up JOIN pg_catalog.pg_inherits i ON i.inhrelid = up.oid) \
    SELECT pn.nspname::text, p.relname::text FROM up JOIN pg_catalog.pg_class p ON p.oid = up.oid \
    JOIN pg_catalog.pg_namespace pn ON pn.oid = p.relnamespace ORDER BY depth DESC LIMIT 1";

/// Those of the tables that are there, with their columns.
///
/// # Errors
///
/// A catalog that cannot be read.
pub(crate) async fn columns_of(
    connection: &Connection,
    tables: impl IntoIterator<Item = TableName>,
) -> Result<Vec<TableColumns>, Error> {
    let major = connection.version().major();
    let (identity, root) = if major >= 1000 {
        ("a.attidentity <> ''", ROOT)
    } else {
        ("false", "SELECT NULL::text, NULL::text")
    };
    let generated = if major >= 1200 {
        "a.attgenerated <> ''"
    } else {
        "false"
    };
    let sql = COLUMNS
        .replace("IDENTITY", identity)
        .replace("GENERATED", generated)
        .replace("ROOT", root)
        .replace("PARTS", PARTS);
    let tables = tables.into_iter().map(|table| (table.schema, table.name));
    let (schemas, names): (Vec<String>, Vec<String>) = tables.unzip();
    let rows = connection
        .query(&sql, &[&schemas, &names])
        .await
        .map_err(connection.failed("read the columns of the delayed tables"))?;
    let mut found: Vec<TableColumns> = Vec::new();
    for row in &rows {
        let table = TableName {
            schema: row.get(0),
            name: row.get(1),
        };
        let column = Column {
            name: row.get(2),
            type_name: row.get(3),
            parts: row.get(10),
            not_null: row.get(4),
            has_default: row.get(5),
            default: row.get(6),
            is_generated: row.get(7),
        };
        if found.last().is_none_or(|last| last.table != table) {
            let root: (Option<String>, Option<String>) = (row.get(8), row.get(9));
            let root = root.0.zip(root.1);
            found.push(TableColumns {
                table,
                root: root.map(|(schema, name)| TableName { schema, name }),
                columns: Vec::new(),
            });
        }
        let last = found.last_mut().expect("it was pushed");
        last.columns.push(column);
    }
    Ok(found)
}
