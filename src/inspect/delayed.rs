//! What a load of delayed tables works on in the target: their indexes, and what they refer to.

use crate::names::{IndexDefinition, TableName};
use crate::postgres::{Connection, Error};

/// Of `pg_index x` and `pg_class i`: what enforces nothing and nothing else needs: no primary key, no unique index (a foreign key may point to
/// it), no exclusion constraint, no replica identity; not part of a partitioned index, which would have to go
/// for partitions that are not delayed as well; not bound to an extension.
pub(super) const DROPPABLE: &str = "\
    NOT x.indisprimary AND NOT x.indisunique AND NOT x.indisexclusion AND NOT x.indisreplident \
    AND x.indisvalid AND i.relkind = 'i' \
    AND NOT EXISTS (SELECT FROM pg_catalog.pg_constraint c WHERE c.conindid = i.oid) \
    AND NOT EXISTS (SELECT FROM pg_catalog.pg_inherits h WHERE h.inhrelid = i.oid) \
    AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d \
                    WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = i.oid \
                      AND d.deptype = 'x')";

/// The indexes of tables that are [`DROPPABLE`].
const DEFINITIONS: &str = "\
    SELECT n.nspname::text, t.relname::text, i.relname::text, pg_get_indexdef(i.oid), s.spcname::text, \
           obj_description(i.oid, 'pg_class'), x.indisclustered, \
           ARRAY(SELECT a.attnum FROM pg_catalog.pg_attribute a \
                 WHERE a.attrelid = i.oid AND a.attstattarget >= 0 ORDER BY a.attnum), \
           ARRAY(SELECT a.attstattarget::int FROM pg_catalog.pg_attribute a \
                 WHERE a.attrelid = i.oid AND a.attstattarget >= 0 ORDER BY a.attnum) \
    FROM pg_catalog.pg_index x \
    JOIN pg_catalog.pg_class i ON i.oid = x.indexrelid \
    JOIN pg_catalog.pg_class t ON t.oid = x.indrelid \
    JOIN pg_catalog.pg_namespace n ON n.oid = t.relnamespace \
    LEFT JOIN pg_catalog.pg_tablespace s ON s.oid = i.reltablespace \
    WHERE DROPPABLE AND (n.nspname::text, t.relname::text) IN (SELECT * FROM unnest($1::text[], $2::text[])) \
    ORDER BY n.nspname::text COLLATE \"C\", i.relname::text COLLATE \"C\"";

/// The secondary indexes of the tables that may be dropped and made again, by schema and name. How large their tables
/// are is not looked at.
///
/// # Errors
///
/// A catalog that cannot be read.
pub(crate) async fn droppable_indexes(
    connection: &Connection,
    tables: impl IntoIterator<Item = TableName>,
) -> Result<Vec<IndexDefinition>, Error> {
    let tables = tables.into_iter().map(|table| (table.schema, table.name));
    let (schemas, names): (Vec<String>, Vec<String>) = tables.unzip();
    let rows = connection
        .query(
            &DEFINITIONS.replace("DROPPABLE", DROPPABLE),
            &[&schemas, &names],
        )
        .await
        .map_err(connection.failed("read the indexes of the delayed tables"))?;
    let indexes = rows.iter().map(|row| {
        let columns: Vec<i16> = row.get(7);
        let targets: Vec<i32> = row.get(8);
        IndexDefinition {
            schema: row.get(0),
            table: row.get(1),
            table_bytes: 0,
            name: row.get(2),
            definition: row.get(3),
            tablespace: row.get(4),
            comment: row.get(5),
            clustered: row.get(6),
            statistics: columns.into_iter().zip(targets).collect(),
        }
    });
    Ok(indexes.collect())
}

/// What is there under the name of an index.
pub(crate) struct NamedIndex {
    pub(crate) schema: String,
    pub(crate) name: String,
    pub(crate) is_valid: bool,
    /// `None`: it is no index.
    pub(crate) definition: Option<String>,
}

/// What is there under the names of the indexes, in the order of nothing in particular.
///
/// # Errors
///
/// A catalog that cannot be read.
pub(crate) async fn indexes_by_name(
    connection: &Connection,
    indexes: &[IndexDefinition],
) -> Result<Vec<NamedIndex>, Error> {
    let (schemas, names): (Vec<&str>, Vec<&str>) = indexes
        .iter()
        .map(|index| (&*index.schema, &*index.name))
        .unzip();
    let rows = connection
        .query(
            "SELECT n.nspname::text, i.relname::text, coalesce(x.indisvalid, true), \
                    CASE WHEN x.indexrelid IS NOT NULL THEN pg_get_indexdef(i.oid) END \
             FROM pg_catalog.pg_class i \
             JOIN pg_catalog.pg_namespace n ON n.oid = i.relnamespace \
             LEFT JOIN pg_catalog.pg_index x ON x.indexrelid = i.oid \
             WHERE (n.nspname::text, i.relname::text) IN (SELECT * FROM unnest($1::text[], $2::text[]))",
            &[&schemas, &names],
        )
        .await
        .map_err(connection.failed("look for the indexes of the delayed tables"))?;
    let found = rows.iter().map(|row| NamedIndex {
        schema: row.get(0),
        name: row.get(1),
        is_valid: row.get(2),
        definition: row.get(3),
    });
    Ok(found.collect())
}

/// A table, and one that a foreign key of it refers to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reference {
    pub(crate) child: TableName,
    pub(crate) parent: TableName,
}

/// Foreign keys by the tables that hold the rows: those of a partitioned table are its partitions.
const REFERENCES: &str = "\
    WITH RECURSIVE parts (top, part) AS ( \
        SELECT c.oid, c.oid FROM pg_catalog.pg_class c WHERE c.relkind IN ('r', 'p') \
        UNION SELECT parts.top, i.inhrelid FROM parts JOIN pg_catalog.pg_inherits i ON i.inhparent = parts.part \
        JOIN pg_catalog.pg_class p ON p.oid = i.inhparent AND p.relkind = 'p'), \
    delayed (oid, schema, name) AS ( \
        SELECT c.oid, n.nspname::text, c.relname::text FROM pg_catalog.pg_class c \
        JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
        WHERE (n.nspname::text, c.relname::text) IN (SELECT * FROM unnest($1::text[], $2::text[]))) \
    SELECT DISTINCT c.schema, c.name, p.schema, p.name FROM pg_catalog.pg_constraint o \
    JOIN parts children ON children.top = o.conrelid JOIN delayed c ON c.oid = children.part \
    JOIN parts parents ON parents.top = o.confrelid JOIN delayed p ON p.oid = parents.part \
    WHERE o.contype = 'f' AND c.oid <> p.oid";

/// Which of the tables refer to which of them.
///
/// # Errors
///
/// A catalog that cannot be read.
pub(crate) async fn references_between(
    connection: &Connection,
    tables: impl IntoIterator<Item = TableName>,
) -> Result<Vec<Reference>, Error> {
    let tables = tables.into_iter().map(|table| (table.schema, table.name));
    let (schemas, names): (Vec<String>, Vec<String>) = tables.unzip();
    let rows = connection
        .query(REFERENCES, &[&schemas, &names])
        .await
        .map_err(connection.failed("read the foreign keys between the delayed tables"))?;
    let table = |row: &tokio_postgres::Row, first: usize| TableName {
        schema: row.get(first),
        name: row.get(first + 1),
    };
    let references = rows.iter().map(|row| Reference {
        child: table(row, 0),
        parent: table(row, 2),
    });
    Ok(references.collect())
}
