//! Whether the rows that were dumped fit to the tables of the target: an application may have been released in between, on
//! either side. Looked at before anything is dropped for the load, and again under the lock of each table.

use super::fit::{Fit, compare};
use crate::inspect::{columns_of, enum_labels};
use crate::names::{ColumnRemark, DelayedDump, TableColumns, TableName, some_of};
use crate::plan::Side;
use crate::postgres::{Connection, Pool, Snapshot, escape_control};
use crate::step::{Context, StepError, made_tables};

/// Tables that are named.
const TABLES_NAMED: usize = 8;

/// The columns of the delayed tables of the source, as the snapshot shows them.
pub(super) async fn of_source(
    context: &Context,
    snapshot: &Snapshot,
) -> Result<Vec<TableColumns>, StepError> {
    let session = context.session(Side::Source).under_snapshot(snapshot.id());
    let endpoint = context.endpoint(Side::Source);
    let pool = Pool::new(endpoint, context.database_name(), &session, 1)?;
    let connection = pool.get().await?;
    Ok(columns_of(&connection, context.delayed_tables()).await?)
}

/// Fails where a client gave a table, or a column that rows bring, another name: another one of the name would get the values.
/// Yields the tables that were dropped and whose names others have.
///
/// # Errors
///
/// As said, or a catalog that cannot be read.
pub(super) async fn ensure_names(
    context: &Context,
    target: &Connection,
    is_wanted: impl Fn(&TableName) -> bool,
) -> Result<Vec<TableName>, StepError> {
    let source = &context.delayed_dump()?.columns;
    let is_brought = |table: &TableName, column: &str| {
        // Partitions that are loaded by way of their partitioned table are dumped themselves. Older journals do not tell.
        let dumped = source.iter().find(|dumped| dumped.table == *table);
        let is_named = |dumped: &TableColumns| dumped.columns.iter().any(|one| one.name == column);
        dumped.is_none_or(is_named)
    };
    made_tables::ensure_same(context, target, is_wanted, is_brought).await
}

/// Fails where a row of these tables could not be loaded, or values would be lost, with the statements that fix it. Returns what a
/// person should know otherwise.
///
/// # Errors
///
/// As said, or a catalog that cannot be read.
pub(super) async fn ensure_fit(
    context: &Context,
    target: &Connection,
    is_wanted: impl Fn(&TableName) -> bool,
) -> Result<Vec<ColumnRemark>, StepError> {
    // Older journals do not tell.
    let mut source = context.delayed_dump()?.columns.clone();
    source.retain(|found| is_wanted(&found.table));
    let tables = source.iter().map(|found| found.table.clone());
    let found = columns_of(target, tables).await?;
    let replaced = made_tables::replaced_columns(context, target, is_wanted).await?;
    let mut fit = compare(&source, &found, &replaced);
    let made = context
        .restored()
        .map_or(&[][..], |restored| &restored.labels);
    if !made.is_empty() {
        let tables = source.iter().map(|found| found.table.clone());
        let now = enum_labels(target, tables).await?;
        let first = found.first();
        let of_later = first.filter(|_| context.delayed_dump().is_ok_and(DelayedDump::is_later));
        let of_later = of_later.map(|found| found.root.as_ref().unwrap_or(&found.table));
        fit.compare_labels(made, &now, of_later);
    }
    let Fit {
        misfits,
        statements,
        remarks,
    } = fit;
    if misfits.is_empty() {
        return Ok(remarks);
    }
    let tables = source.iter().map(|found| found.table.clone());
    context.ask_for_correction(tables.collect()).await?;
    let line = |text: &String| format!("\n  {}", escape_control(text));
    let help = if statements.is_empty() {
        "give the tables their names back, and run again".to_owned()
    } else {
        format!(
            "on the target, in the database \"{}\", run what follows (a release's own migration does as well), and run \
             pg-migrate again:{}",
            context.shown_database(),
            statements.iter().map(line).collect::<String>()
        )
    };
    Err(StepError::new(format!(
        "database \"{}\": the rows of delayed tables do not fit to the target, and none of these was loaded:{}",
        context.shown_database(),
        misfits.iter().map(line).collect::<String>()
    ))
    .help(help))
}

/// A line for each thing to know, with the tables of which it is true.
pub(super) fn told<'a>(remarks: impl Iterator<Item = &'a ColumnRemark>) -> Vec<String> {
    let mut told: Vec<(&str, Vec<&TableName>)> = Vec::new();
    for ColumnRemark { table, what } in remarks {
        match told.iter_mut().find(|(other, _)| other == what) {
            Some((_, tables)) if tables.contains(&table) => {}
            Some((_, tables)) => tables.push(table),
            None => told.push((what, vec![table])),
        }
    }
    let line = |(what, tables): (&str, Vec<&TableName>)| {
        escape_control(&format!("{}: {what}", some_of(&tables, TABLES_NAMED))).into_owned()
    };
    told.into_iter().map(line).collect()
}
