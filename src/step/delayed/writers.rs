//! Transactions of clients that wrote before the rows of a load were there. What they wrote was checked against the rows that were
//! there, and shows only once they end: a proof that comes before that would not see it.

use super::proof::{DELAYED, delayed_names};
use super::waiting::patiently;
use crate::postgres::Connection;
use crate::step::{Context, StepError};

/// Transactions that hold a lock of a writer on what a proof reads, or on a partition of it: delayed tables with a deferrable
/// constraint, and tables that delayed ones refer to. `$3`: those among these, or all.
const WRITERS: &str = "\
    , read (oid) AS ( \
        SELECT CASE WHEN o.contype = 'f' THEN o.confrelid ELSE o.conrelid END FROM pg_catalog.pg_constraint o \
        WHERE o.conrelid IN (SELECT oid FROM delayed) \
          AND (o.contype = 'f' OR o.contype IN ('p', 'u', 'x') AND o.condeferrable) \
        UNION SELECT i.inhrelid FROM read JOIN pg_catalog.pg_inherits i ON i.inhparent = read.oid) \
    SELECT DISTINCT l.virtualtransaction, coalesce(l.pid, 0) FROM pg_catalog.pg_locks l \
    WHERE l.locktype = 'relation' AND l.relation IN (SELECT oid FROM read) \
      AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()) \
      AND l.mode IN ('RowExclusiveLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock') \
      AND l.granted AND l.pid IS DISTINCT FROM pg_catalog.pg_backend_pid() \
      AND ($3::text[] IS NULL OR l.virtualtransaction = ANY ($3::text[]))";

/// Waits for the end of those that write now. Nobody waits behind it. Those that begin later see the loaded rows themselves.
pub(super) async fn wait(context: &Context, connection: &Connection) -> Result<(), StepError> {
    let first = writers(context, connection, None).await?;
    if first.is_empty() {
        return Ok(());
    }
    let transactions: Vec<String> = first.into_iter().map(|(id, _)| id).collect();
    patiently(context, || async {
        let left = writers(context, connection, Some(&transactions)).await?;
        if left.is_empty() {
            return Ok(());
        }
        let pids: Vec<String> = left
            .iter()
            .map(|(_, pid)| match pid {
                0 => "prepared".to_owned(),
                pid => format!("pid {pid}"),
            })
            .collect();
        let mut error = StepError::new(format!(
            "database \"{}\": transactions that wrote on the target before the delayed rows were there have not ended ({}), and \
             what they wrote may break a constraint",
            context.shown_database(),
            pids.join(", ")
        ))
        .help("end them, and run again: the constraints are proved then");
        error.lock_refused = true;
        Err(error)
    })
    .await
}

/// The transactions, and the process of each, 0 for a prepared one.
async fn writers(
    context: &Context,
    connection: &Connection,
    among: Option<&Vec<String>>,
) -> Result<Vec<(String, i32)>, StepError> {
    let (schemas, names) = delayed_names(context);
    let rows = connection
        .query(&format!("{DELAYED}{WRITERS}"), &[&schemas, &names, &among])
        .await
        .map_err(connection.failed("look for transactions that write to the delayed tables"))?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}
