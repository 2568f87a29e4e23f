//! The delayed tables of the target as the restore made them. Clients may use the database before their rows are loaded, and
//! everything goes by names from there on: one that has the name of another by then would get its rows.

use std::collections::BTreeSet;

use super::{Context, StepError, sequences};
use crate::inspect::{self, columns_of, enum_labels, materialized_views};
use crate::names::{MadeTable, Restored, TableName};
use crate::plan::Side;
use crate::postgres::{Connection, escape_control, quote_identifier};

/// What is under these names, with the object ids and columns.
const TABLES: &str = "\
    SELECT n.nspname::text, c.relname::text, c.oid, \
           ARRAY(SELECT a.attnum FROM pg_catalog.pg_attribute a \
                 WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum), \
           ARRAY(SELECT a.attname::text FROM pg_catalog.pg_attribute a \
                 WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum), \
           pg_get_userbyid(c.relowner)::text \
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
    WHERE (n.nspname::text, c.relname::text) IN (SELECT * FROM unnest($1::text[], $2::text[])) \
    ORDER BY n.nspname::text COLLATE \"C\", c.relname::text COLLATE \"C\"";

/// What these object ids are called.
const NAMES: &str = "\
    SELECT c.oid, n.nspname::text, c.relname::text \
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = ANY ($1)";

/// Puts what the restore made of the delayed tables, and of what is computed from them, into its product.
pub(super) async fn record(context: &Context, restored: &mut Restored) -> Result<(), StepError> {
    let delayed = context.delayed_tables();
    if delayed.is_empty() {
        return Ok(());
    }
    let connection = super::ours::open(context, &context.session(Side::Target)).await?;
    let roots = context.hashed_by_enum()?;
    let loaded_by = delayed.iter().filter_map(|part| roots.get(part)).cloned();
    let names: BTreeSet<TableName> = loaded_by.chain(delayed.iter().cloned()).collect();
    restored.delayed = under(&connection, names).await?;
    restored.sequences = sequences::made(&connection, &delayed).await?;
    let stood = inspect::sequences(&connection).await?.into_iter();
    restored.stood = stood.map(|sequence| sequence.value).collect();
    restored.labels = enum_labels(&connection, delayed.clone()).await?;
    let mut views = materialized_views(&connection).await?;
    views.retain(|view| view.is_filled || restored.leaves_empty(&view.table));
    restored.views = views.iter().map(|view| view.oid).collect();
    connection.close().await;
    Ok(())
}

async fn under(
    connection: &Connection,
    names: impl IntoIterator<Item = TableName>,
) -> Result<Vec<MadeTable>, StepError> {
    let names = names.into_iter().map(|table| (table.schema, table.name));
    let (schemas, names): (Vec<String>, Vec<String>) = names.unzip();
    let rows = connection
        .query(TABLES, &[&schemas, &names])
        .await
        .map_err(connection.failed("read which tables the delayed tables are"))?;
    let made = rows.iter().map(|row| {
        let numbers: Vec<i16> = row.get(3);
        let columns: Vec<String> = row.get(4);
        MadeTable {
            table: TableName::new(row.get::<_, String>(0), row.get::<_, String>(1)),
            oid: row.get(2),
            owner: row.get(5),
            columns: numbers.into_iter().zip(columns).collect(),
        }
    });
    Ok(made.collect())
}

/// The object id of the table that has the name now.
pub(super) async fn oid_of(
    connection: &Connection,
    table: &TableName,
) -> Result<Option<u32>, StepError> {
    let found = under(connection, [table.clone()]).await?;
    Ok(found.first().map(|found| found.oid))
}

/// Fails where a client gave one of these delayed tables another name, or a column of it that matters. Yields those that were
/// dropped and whose names others have. Journals of earlier versions do not tell which the tables were.
///
/// # Errors
///
/// As said, or a catalog that cannot be read.
pub(super) async fn ensure_same(
    context: &Context,
    connection: &Connection,
    is_meant: impl Fn(&TableName) -> bool,
    matters: impl Fn(&TableName, &str) -> bool,
) -> Result<Vec<TableName>, StepError> {
    let mut made: Vec<MadeTable> = context.restored_tables().to_vec();
    made.retain(|made| is_meant(&made.table));
    for made in &mut made {
        // It may be another one by then, where clients had dropped that of the restore.
        let mut loads = context.loads.iter().rev();
        let of_table = loads.find(|load| load.committed && load.table == made.table);
        let oid = of_table.and_then(|load| load.target_table);
        if let Some(oid) = oid.filter(|oid| *oid != made.oid) {
            made.oid = oid;
            made.columns.clear();
        }
    }
    if made.is_empty() {
        return Ok(Vec::new());
    }
    let oids: Vec<u32> = made.iter().map(|made| made.oid).collect();
    let rows = connection
        .query(NAMES, &[&oids])
        .await
        .map_err(connection.failed("read what the delayed tables are called"))?;
    let there = under(connection, made.iter().map(|made| made.table.clone())).await?;
    let (mut replaced, mut renamed, mut columns) = (Vec::new(), Vec::new(), Vec::new());
    let mut others = Vec::new();
    for made in made {
        let name = rows.iter().find(|row| row.get::<_, u32>(0) == made.oid);
        let name = name.map(|row| TableName::new(row.get::<_, &str>(1), row.get::<_, &str>(2)));
        let there = there.iter().find(|there| there.table == made.table);
        match (name, there) {
            (Some(name), _) if name != made.table => {
                renamed.push((made.table, name, there.is_some()))
            }
            (Some(_), Some(there)) => columns.extend(renamed_columns(&made, there, &matters)),
            (None, Some(there)) => match (made.owner, &there.owner) {
                (Some(before), Some(now)) if before != *now => {
                    others.push((made.table, before, now.clone()));
                }
                _ => replaced.push(made.table),
            },
            (_, None) => {}
        }
    }
    if !others.is_empty() {
        return Err(of_others(context, &others));
    }
    if !renamed.is_empty() {
        return Err(other_names(context, &renamed));
    }
    if !columns.is_empty() {
        let tables = columns.iter().map(|column| column.table.clone());
        let found = columns_of(connection, tables).await?;
        for column in &mut columns {
            let root = found.iter().find(|found| found.table == column.table);
            column.altered = root.and_then(|found| found.root.clone());
        }
        return Err(other_columns(context, &columns));
    }
    Ok(replaced)
}

/// Columns of these tables that are not those of the restore, and have the names of such as were dropped since.
///
/// # Errors
///
/// A catalog that cannot be read.
pub(super) async fn replaced_columns(
    context: &Context,
    connection: &Connection,
    is_meant: impl Fn(&TableName) -> bool,
) -> Result<Vec<(TableName, String)>, StepError> {
    let made = context.restored_tables().iter();
    let made: Vec<&MadeTable> = made.filter(|made| is_meant(&made.table)).collect();
    if made.is_empty() {
        return Ok(Vec::new());
    }
    let there = under(connection, made.iter().map(|made| made.table.clone())).await?;
    let replaced = made.into_iter().flat_map(|made| {
        let there = there.iter().find(|there| there.oid == made.oid);
        let columns = there.map_or_else(Vec::new, |there| replaced_in(made, there));
        columns
            .into_iter()
            .map(|column| (made.table.clone(), column))
    });
    Ok(replaced.collect())
}

fn replaced_in(made: &MadeTable, there: &MadeTable) -> Vec<String> {
    let is_other = |(number, name): &&(i16, String)| {
        let of_restore = made.columns.iter().find(|(_, made)| made == name);
        of_restore.is_some_and(|(made, _)| made != number)
    };
    let others = there.columns.iter().filter(is_other);
    others.map(|(_, name)| name.clone()).collect()
}

/// A column that a client gave another name.
#[derive(Debug, PartialEq, Eq)]
struct RenamedColumn {
    table: TableName,
    /// The table that is altered in its place.
    altered: Option<TableName>,
    before: String,
    now: String,
    /// Another column has the name that it had.
    is_taken: bool,
}

fn renamed_columns(
    made: &MadeTable,
    there: &MadeTable,
    matters: impl Fn(&TableName, &str) -> bool,
) -> Vec<RenamedColumn> {
    if made.oid != there.oid {
        return Vec::new();
    }
    let renamed = made.columns.iter().filter_map(|(number, before)| {
        let mut columns = there.columns.iter();
        let (_, now) = columns.find(|(other, _)| other == number)?;
        (now != before && matters(&made.table, before)).then(|| RenamedColumn {
            table: made.table.clone(),
            altered: None,
            before: before.clone(),
            now: now.clone(),
            is_taken: there.columns.iter().any(|(_, name)| name == before),
        })
    });
    renamed.collect()
}

fn lines(texts: impl IntoIterator<Item = String>) -> String {
    let line = |text: String| format!("\n  {}", escape_control(&text));
    texts.into_iter().map(line).collect()
}

fn other_names(context: &Context, renamed: &[(TableName, TableName, bool)]) -> StepError {
    let what = renamed.iter().map(|(table, now, is_taken)| {
        let taken = if *is_taken {
            ", and another table has its name"
        } else {
            ""
        };
        format!("the table {table} of the restore is called {now}{taken}")
    });
    let back = renamed.iter().flat_map(|(table, now, is_taken)| {
        let away = is_taken.then(|| {
            format!(
                "ALTER TABLE {} RENAME TO …; -- the one that has the name now",
                table.quoted()
            )
        });
        let schema = (table.schema != now.schema).then(|| {
            format!(
                "ALTER TABLE {} SET SCHEMA {};",
                now.quoted(),
                quote_identifier(&table.schema)
            )
        });
        let moved = TableName::new(&*table.schema, &*now.name);
        let name = (table.name != now.name).then(|| {
            format!(
                "ALTER TABLE {} RENAME TO {};",
                moved.quoted(),
                quote_identifier(&table.name)
            )
        });
        away.into_iter().chain(schema).chain(name)
    });
    StepError::new(format!(
        "database \"{}\": delayed tables were given other names on the target, so that their rows and indexes would go to others, \
         or be lost; this step changed nothing:{}",
        context.shown_database(),
        lines(what)
    ))
    .help(format!(
        "on the target, give them their names back, and run pg-migrate again; once the run is done, rename them as before:{}",
        lines(back)
    ))
}

/// Whoever owns the schema may drop a table of another role and make one of its own: it would get that role's rows.
fn of_others(context: &Context, others: &[(TableName, String, String)]) -> StepError {
    let what = others.iter().map(|(table, before, now)| {
        format!("{table} belonged to role \"{before}\", and what has its name now belongs to role \"{now}\"")
    });
    let back = others.iter().map(|(table, before, _)| {
        format!(
            "ALTER TABLE {} OWNER TO {};",
            table.quoted(),
            quote_identifier(before)
        )
    });
    StepError::new(format!(
        "database \"{}\": delayed tables were dropped on the target and others, of other roles, have their names: their rows would \
         go to these roles; this step changed nothing:{}",
        context.shown_database(),
        lines(what)
    ))
    .help(format!(
        "on the target, look at these tables and their triggers, give them to the roles that they belonged to where they are meant, and run \
         pg-migrate again:{}",
        lines(back)
    ))
}

fn other_columns(context: &Context, renamed: &[RenamedColumn]) -> StepError {
    let what = renamed.iter().map(|column| {
        let taken = if column.is_taken {
            ", and another column has its name"
        } else {
            ""
        };
        let RenamedColumn {
            table, before, now, ..
        } = column;
        format!("{table}: the column {before} of the restore is called {now}{taken}")
    });
    // Of partitions it is the same one.
    let mut back: Vec<String> = Vec::new();
    for column in renamed {
        let table = column.altered.as_ref().unwrap_or(&column.table).quoted();
        let before = quote_identifier(&column.before);
        let away = column.is_taken.then(|| {
            format!(
                "ALTER TABLE {table} RENAME COLUMN {before} TO …; -- the one that has the name now"
            )
        });
        let now = quote_identifier(&column.now);
        let statement = format!("ALTER TABLE {table} RENAME COLUMN {now} TO {before};");
        for statement in away.into_iter().chain([statement]) {
            if !back.contains(&statement) {
                back.push(statement);
            }
        }
    }
    StepError::new(format!(
        "database \"{}\": columns of delayed tables were given other names on the target, so that what goes by their names would \
         go to others, or fail; this step changed nothing:{}",
        context.shown_database(),
        lines(what)
    ))
    .help(format!(
        "on the target, give them their names back, and run pg-migrate again; once the run is done, rename them as before:{}",
        lines(back)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(oid: u32, columns: &[(i16, &str)]) -> MadeTable {
        MadeTable {
            table: TableName::new("public", "t"),
            oid,
            owner: None,
            columns: columns
                .iter()
                .map(|(number, name)| (*number, (*name).to_owned()))
                .collect(),
        }
    }

    fn renamed(made: &[(i16, &str)], now: &[(i16, &str)]) -> Vec<(String, String, bool)> {
        let columns = renamed_columns(&table(1, made), &table(1, now), |_, name| name != "free");
        let parts = columns
            .into_iter()
            .map(|column| (column.before, column.now, column.is_taken));
        parts.collect()
    }

    #[test]
    fn a_column_is_told_by_its_number() {
        let made = [(1, "id"), (2, "status"), (3, "free")];
        assert_eq!(renamed(&made, &made), []);
        // Dropped, and one added at the end.
        assert_eq!(renamed(&made, &[(1, "id"), (4, "status"), (5, "more")]), []);
        assert_eq!(renamed(&made, &[(1, "id"), (3, "other")]), []);
        let replaced = |now| replaced_in(&table(1, &made), &table(1, now));
        assert_eq!(
            replaced(&[(1, "id"), (4, "status"), (5, "more")]),
            ["status"]
        );
        assert!(replaced(&made).is_empty());
        let now = [(1, "id"), (2, "state"), (4, "status")];
        let told = ("status".to_owned(), "state".to_owned(), true);
        assert_eq!(renamed(&made, &now), [told]);
        let told = ("status".to_owned(), "state".to_owned(), false);
        assert_eq!(renamed(&made, &now[..2]), [told]);
        let other = renamed_columns(&table(1, &made), &table(2, &now), |_, _| true);
        assert_eq!(other, []);
    }
}
