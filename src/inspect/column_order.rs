//! Tables that inherit, and whose columns a dump writes in another order.
//!
//! CREATE TABLE … INHERITS puts the columns of the parents first (PostgreSQL manual, 5.11). A parent that got a column after its child
//! was made, or a table that ALTER TABLE … INHERIT made a child, has them in another order. Partitions are created by themselves and
//! attached, and keep theirs.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::query::{self, USER_SCHEMA};
use crate::catalog::{NotMoved, NotMovedKind};
use crate::names::some_of;
use crate::postgres::{Connection, Error};

/// Columns that are named.
const NAMED: usize = 5;

/// A table that inherits, or that others inherit.
#[derive(Default)]
struct Table {
    name: String,
    /// In their order.
    columns: Vec<String>,
    /// In the order of INHERITS.
    parents: Vec<u32>,
    /// Columns whose values hold rows of this table.
    row_columns: Vec<String>,
}

/// Children whose columns change their order (detail: columns that hold rows of them, which are written without names).
pub(super) async fn changed(connection: &Connection) -> Result<Vec<NotMoved>, Error> {
    let mut tables = inheriting(connection).await?;
    if tables.is_empty() {
        return Ok(Vec::new());
    }
    let columns = "SELECT a.attrelid, a.attname::text FROM pg_catalog.pg_attribute a \
                   WHERE a.attnum > 0 AND NOT a.attisdropped \
                     AND a.attrelid IN (SELECT inhrelid FROM pg_catalog.pg_inherits UNION ALL SELECT inhparent FROM pg_catalog.pg_inherits) \
                   ORDER BY a.attrelid, a.attnum";
    for row in query::rows(connection, "read the columns of children", columns).await? {
        if let Some(table) = tables.get_mut(&row.get::<_, u32>(0)) {
            table.columns.push(row.get(1));
        }
    }
    // Of the row type itself, of arrays, domains and ranges of it, and of composite types that hold one, however deep.
    let multiranges = match connection.version().major() {
        1400.. => "UNION ALL SELECT rngmultitypid, rngtypid FROM pg_catalog.pg_range",
        _ => "",
    };
    let row_columns = format!(
        "WITH RECURSIVE part (whole, of) AS ( \
             SELECT oid, typbasetype FROM pg_catalog.pg_type WHERE typbasetype <> 0 \
             UNION ALL SELECT oid, typelem FROM pg_catalog.pg_type WHERE typelem <> 0 \
             UNION ALL SELECT rngtypid, rngsubtype FROM pg_catalog.pg_range {multiranges} \
             UNION ALL SELECT t.oid, a.atttypid FROM pg_catalog.pg_type t \
                 JOIN pg_catalog.pg_class c ON c.oid = t.typrelid AND c.relkind = 'c' \
                 JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped), \
         row_type (child, holder) AS ( \
             SELECT DISTINCT t.typrelid, t.oid FROM pg_catalog.pg_type t \
                 JOIN pg_catalog.pg_inherits i ON t.typrelid IN (i.inhrelid, i.inhparent) \
             UNION SELECT r.child, p.whole FROM row_type r JOIN part p ON p.of = r.holder) \
         SELECT DISTINCT r.child, n.nspname || '.' || c.relname || '.' || a.attname \
         FROM row_type r JOIN pg_catalog.pg_attribute a ON a.atttypid = r.holder \
         JOIN pg_catalog.pg_class c ON c.oid = a.attrelid AND c.relkind IN ('r', 'p', 'm') \
         JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         WHERE a.attnum > 0 AND NOT a.attisdropped AND {USER_SCHEMA} ORDER BY 2"
    );
    for row in query::rows(connection, "look for columns of row types", &row_columns).await? {
        if let Some(table) = tables.get_mut(&row.get::<_, u32>(0)) {
            table.row_columns.push(row.get(1));
        }
    }
    Ok(reordered(&tables))
}

async fn inheriting(connection: &Connection) -> Result<BTreeMap<u32, Table>, Error> {
    let sql = "SELECT i.inhrelid, i.inhparent, cn.nspname || '.' || c.relname \
               FROM pg_catalog.pg_inherits i \
               JOIN pg_catalog.pg_class c ON c.oid = i.inhrelid AND c.relkind IN ('r', 'f') \
               JOIN pg_catalog.pg_namespace cn ON cn.oid = c.relnamespace \
               JOIN pg_catalog.pg_class p ON p.oid = i.inhparent AND p.relkind IN ('r', 'f') \
               ORDER BY i.inhrelid, i.inhseqno";
    let mut tables: BTreeMap<u32, Table> = BTreeMap::new();
    for row in query::rows(connection, "list the tables that inherit", sql).await? {
        let child = tables.entry(row.get(0)).or_default();
        child.name = row.get(2);
        child.parents.push(row.get(1));
        tables.entry(row.get(1)).or_default();
    }
    Ok(tables)
}

fn reordered(tables: &BTreeMap<u32, Table>) -> Vec<NotMoved> {
    let mut known = HashMap::new();
    let changed = tables.iter().filter(|(oid, table)| {
        !table.parents.is_empty() && restored(**oid, tables, &mut known) != table.columns
    });
    let changed = changed.map(|(_, table)| NotMoved {
        what: NotMovedKind::ColumnOrder,
        object: table.name.clone(),
        detail: some_of(&table.row_columns, NAMED),
    });
    changed.collect()
}

/// The columns of a table as it will be made.
fn restored(
    oid: u32,
    tables: &BTreeMap<u32, Table>,
    known: &mut HashMap<u32, Vec<String>>,
) -> Vec<String> {
    if let Some(columns) = known.get(&oid) {
        return columns.clone();
    }
    let Some(table) = tables.get(&oid) else {
        return Vec::new();
    };
    let inherited: Vec<String> = table
        .parents
        .iter()
        .flat_map(|parent| restored(*parent, tables, known))
        .collect();
    let own: HashSet<&String> = table.columns.iter().collect();
    let mut seen = HashSet::new();
    let columns: Vec<String> = inherited
        .iter()
        .filter(|column| own.contains(column))
        .chain(&table.columns)
        .filter(|column| seen.insert(*column))
        .cloned()
        .collect();
    known.insert(oid, columns.clone());
    columns
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(columns: &[&str], parents: &[u32]) -> Table {
        Table {
            name: columns.join(" "),
            columns: columns.iter().map(|&name| name.to_owned()).collect(),
            parents: parents.to_vec(),
            row_columns: Vec::new(),
        }
    }

    #[test]
    fn a_child_gets_the_columns_of_its_parents_first() {
        let tables = BTreeMap::from([
            (1, table(&["id", "name"], &[])),
            (2, table(&["note"], &[])),
            (3, table(&["id", "name", "own"], &[1])),
            (4, table(&["own", "id", "name"], &[1])),
            // What it inherits comes as that will be.
            (5, table(&["own", "id", "name", "last"], &[4])),
            (6, table(&["id", "name", "note"], &[1, 2])),
            (7, table(&["note", "id", "name"], &[1, 2])),
        ]);
        let changed: Vec<String> = reordered(&tables)
            .into_iter()
            .map(|found| found.object)
            .collect();
        assert_eq!(changed, ["own id name", "own id name last", "note id name"]);
    }
}
