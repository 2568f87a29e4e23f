//! Loads of delayed tables by earlier runs: which of them the target did commit.

use std::collections::HashMap;

use crate::journal::Change;
use crate::names::{Dumped, Load, TableName, list_of_tables};
use crate::plan::Side;
use crate::postgres::{Class, Connection};
use crate::process::restore_log::TableRows;
use crate::step::create::TRANSACTION_STATUS;
use crate::step::{Context, StepError, regular};

/// Puts on record that a load was committed: from then on nobody has to be asked.
pub(super) async fn record(context: &Context, load: &Load) -> Result<(), StepError> {
    context
        .record(Change::LoadCommitted {
            database: context.database_name().to_owned(),
            load: load.clone(),
        })
        .await
}

/// The loads on record that the target did commit. A run that was killed at the moment of a commit does not
/// know, so the target is asked (PostgreSQL manual, 9.27 "Transaction ID and Snapshot Information Functions").
pub(super) async fn committed(context: &Context) -> Result<Vec<Load>, StepError> {
    let unlogged = context.unlogged_tables()?;
    // A crash empties them, whatever was committed.
    let is_certain = |load: &Load| load.committed && !unlogged.contains(&load.table);
    if context.loads.iter().all(is_certain) {
        return Ok(context.loads.clone());
    }
    let connection = context.connect(Side::Target).await?;
    let mut loads = Vec::new();
    for load in &context.loads {
        if is_certain(load) || is_committed(context, &connection, load).await? {
            if !load.committed {
                record(context, load).await?;
            }
            loads.push(load.clone());
        }
    }
    connection.close().await;
    Ok(loads)
}

/// Fails where tables were loaded from another archive of another time. Under the regular dump's snapshot, or one that shows
/// the same rows, they have the rows of this archive too.
pub(super) fn fit_together(context: &Context, loaded: &[Load]) -> Result<(), StepError> {
    let dump = context.delayed_dump()?;
    let elsewhere: Vec<TableName> = loaded
        .iter()
        .filter(|load| !is_from(load, &dump.dump))
        .map(|load| load.table.clone())
        .collect();
    if !dump.is_later() || elsewhere.is_empty() {
        return Ok(());
    }
    Err(StepError::new(format!(
        "these delayed tables were loaded from another archive, of another time (delay.snapshot = \"later\"), so the others \
         would not fit to them: {}",
        list_of_tables(&elsewhere)
    ))
    .help(
        "nothing of this archive was loaded; to create the database again, with nothing that clients wrote: DROP DATABASE \
         on the target, and pg-migrate reset PLAN --database NAME --drop NAME",
    ))
}

fn is_from(load: &Load, dump: &Dumped) -> bool {
    let archive = load.archive.as_ref();
    archive.is_none_or(|archive| *archive == dump.archive.digest)
}

/// The loads that are of one of the entries, and the entries that none is of. Entries of another archive have other numbers:
/// those are told by their tables.
pub(super) fn without(
    context: &Context,
    loaded: Vec<Load>,
    entries: Vec<TableRows>,
) -> Result<(Vec<Load>, Vec<TableRows>), StepError> {
    let dump = &context.delayed_dump()?.dump;
    let contents = context.database()?.contents.iter();
    let names: HashMap<u32, TableName> = contents
        .flat_map(|contents| &contents.relations)
        .map(|relation| (relation.oid, relation.table_name()))
        .collect();
    let is_of = |load: &Load, entry: &TableRows| match load.source_table {
        _ if is_from(load, dump) => load.dump_id == entry.dump_id,
        Some(table) => table == entry.table,
        None => names.get(&entry.table) == Some(&load.table),
    };
    let (there, missing): (Vec<TableRows>, Vec<TableRows>) = entries
        .into_iter()
        .partition(|entry| loaded.iter().any(|load| is_of(load, entry)));
    let mut before = loaded;
    before.retain(|load| there.iter().any(|entry| is_of(load, entry)));
    Ok((before, missing))
}

async fn is_committed(
    context: &Context,
    connection: &Connection,
    load: &Load,
) -> Result<bool, StepError> {
    let row = connection
        .query_one(
            TRANSACTION_STATUS,
            &[&load.transaction, &load.server_started],
        )
        .await
        .map_err(connection.failed("ask whether a load was committed"))?;
    let restarted: bool = row.get(1);
    let status: Option<&str> = row.get(0);
    match status {
        // A table that got no rows is as good loaded as not.
        _ if load.committed && load.rows == 0 => Ok(true),
        _ if load.committed && !restarted => Ok(true),
        Some("committed") if !restarted || load.rows == 0 => Ok(true),
        _ if load.committed => Ok(!was_lost(context, connection, load).await?),
        Some("committed") if has_rows_of(connection, load).await? => Ok(true),
        Some("committed") if was_lost(context, connection, load).await? => Ok(false),
        Some("committed") => Err(unknown(
            load,
            "the target was restarted since, and none of its rows is there as it was loaded; clients may have changed or \
             deleted them",
        )),
        Some("aborted") => Ok(false),
        Some(_) => Err(StepError::new(format!(
            "the load of {} by an earlier run is still under way on the target (transaction {})",
            load.table, load.transaction
        ))
        .class(Class::Retry)),
        None => Err(unknown(
            load,
            "the target does not know its transaction any more",
        )),
    }
}

/// After a crash, the number of a transaction that left no trace is given to another: then its rows tell, as long as no
/// client changed them.
async fn has_rows_of(connection: &Connection, load: &Load) -> Result<bool, StepError> {
    // Rows bear the low half of the number (PostgreSQL manual, 5.6 "System Columns" and 25.1.5).
    let which = format!(
        "WHERE xmin::text::bigint = {} & 4294967295",
        load.transaction
    );
    has_rows(connection, load, &which).await
}

/// Nothing is there, and nobody but us could have removed it.
async fn was_lost(
    context: &Context,
    connection: &Connection,
    load: &Load,
) -> Result<bool, StepError> {
    Ok(context.is_closed && !has_rows(connection, load, "").await?)
}

async fn has_rows(connection: &Connection, load: &Load, which: &str) -> Result<bool, StepError> {
    // The rows of partitions that are loaded by way of the partitioned table are in these.
    let only = if is_partitioned(connection, &load.table).await? {
        ""
    } else {
        "ONLY"
    };
    exists(connection, &load.table, only, which).await
}

async fn is_partitioned(connection: &Connection, table: &TableName) -> Result<bool, StepError> {
    let table = table.quoted();
    let row = connection
        .query_one(
            "SELECT relkind = 'p' FROM pg_catalog.pg_class WHERE oid = $1::text::regclass",
            &[&table],
        )
        .await
        .map_err(connection.failed(format!("look for {table}")))?;
    Ok(row.get(0))
}

async fn exists(
    connection: &Connection,
    table: &TableName,
    only: &str,
    which: &str,
) -> Result<bool, StepError> {
    let table = table.quoted();
    let sql = format!("SELECT EXISTS (SELECT FROM {only} {table} {which})");
    let row = connection
        .query_one(&sql, &[])
        .await
        .map_err(connection.failed(format!("look for loaded rows in {table}")))?;
    Ok(row.get(0))
}

/// Fails where a table that is about to be loaded, under its lock, holds rows although no client may connect: another copy of
/// this plan's state may have loaded it, and it would be loaded twice.
pub(super) async fn refuse_other_rows(
    context: &Context,
    connection: &Connection,
    table: &TableName,
) -> Result<(), StepError> {
    // One that is loaded by way of its partitioned table has the rows of its other partitions.
    if !context.is_closed
        || is_partitioned(connection, table).await?
        || !exists(connection, table, "ONLY", "").await?
    {
        return Ok(());
    }
    regular::ask_for_correction(context, vec![table.clone()]).await?;
    Err(StepError::new(format!(
        "{table} holds rows that this run did not load, although the database is closed to other roles: a run with another \
         copy of this plan's state directory may have loaded it; nothing was loaded"
    ))
    .help(
        "where such a copy went on, go on with that one; where a person inserted the rows, delete them there and run again",
    ))
}

fn unknown(load: &Load, why: &str) -> StepError {
    StepError::new(format!(
        "it cannot be told any more whether the load of {} by an earlier run (transaction {}) was committed: {why}",
        load.table, load.transaction
    ))
    .help(
        "look whether its rows are there, or were; to create the database again, with nothing that clients wrote: DROP \
         DATABASE on the target, and pg-migrate reset PLAN --database NAME --drop NAME",
    )
}
