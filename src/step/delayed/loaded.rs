//! Loads of delayed tables by earlier runs: which of them the target did commit.

use crate::journal::Change;
use crate::names::Load;
use crate::plan::Side;
use crate::postgres::{Class, Connection, connect};
use crate::step::{Context, StepError};

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
    let target = context.endpoint(Side::Target);
    let session = context.session(Side::Target);
    let connection = connect(target, context.database_name(), &session).await?;
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

/// A table that was loaded from another archive is not loaded again. Under the regular dump's snapshot, or one that shows
/// the same rows, it has the rows of this archive too.
pub(super) fn again(context: &Context, load: &Load) -> Result<(), StepError> {
    if !context.delayed_dump()?.is_later() {
        return Ok(());
    }
    Err(StepError::new(format!(
        "{} was loaded from another archive, of another time (delay.snapshot = \"later\"): the delayed tables would not fit \
         together",
        load.table
    ))
    .help(
        "nothing of this archive was loaded into it; to create the database again, with nothing that clients wrote: DROP \
         DATABASE on the target, and pg-migrate reset PLAN --database NAME --drop NAME",
    ))
}

/// What became of a transaction, and whether the server was started again since. A number that the server did
/// not give out yet is one that it gave out before a crash, and forgot.
const STATUS: &str = "\
    SELECT CASE WHEN $1::bigint < txid_snapshot_xmax(txid_current_snapshot()) \
                THEN txid_status($1) ELSE 'aborted' END, \
           extract(epoch FROM pg_postmaster_start_time())::text <> $2::text";

async fn is_committed(
    context: &Context,
    connection: &Connection,
    load: &Load,
) -> Result<bool, StepError> {
    let row = connection
        .query_one(STATUS, &[&load.transaction, &load.server_started])
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
    let table = load.table.quoted();
    let sql = format!("SELECT EXISTS (SELECT FROM ONLY {table} {which})");
    let row = connection
        .query_one(&sql, &[])
        .await
        .map_err(connection.failed(format!("look for loaded rows in {table}")))?;
    Ok(row.get(0))
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
