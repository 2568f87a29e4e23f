//! Whether delayed tables are still as a snapshot that is lost showed them.
//!
//! What is there to be seen, and was written by transactions that had ended when the snapshot was taken, the
//! snapshot showed as well. Where all rows are of this kind, and as many as were counted under the snapshot, none
//! is gone either: they are the same rows.

use std::future::ready;

use futures_util::{StreamExt, TryStreamExt, stream};

use crate::graph::{Kind, TableCount};
use crate::plan::Side;
use crate::postgres::{Pool, Snapshot, escape_control, quote_identifier};
use crate::step::{Context, StepError};

/// Transaction ids are compared by the lower half of their bits (PostgreSQL manual, 24.1.5). So many may have
/// begun since, or an old one could be taken for a new one.
const MOST_TRANSACTIONS: i64 = 1 << 30;

/// Looks under the step's snapshot at every delayed table. The inner error says what is different, a line each.
///
/// # Errors
///
/// A table that cannot be read.
pub(super) async fn look(
    context: &Context,
    now: &Snapshot,
) -> Result<Result<(), String>, StepError> {
    let dump = context.input(Kind::Dump)?;
    let counted = context.input(Kind::SourceCounts)?;
    let Some(oldest) = dump.oldest_transaction.filter(|oldest| {
        dump.snapshot == counted.snapshot
            && (0..MOST_TRANSACTIONS).contains(&(now.oldest_transaction() - oldest))
    }) else {
        return Ok(Err(
            "it is not known which transactions had ended when that snapshot was taken".into(),
        ));
    };
    // The dump's connections: it has not begun.
    let queries = context.step().jobs as usize;
    let session = context.session(Side::Source).under_snapshot(now.id());
    let endpoint = context.endpoint(Side::Source);
    let pool = Pool::new(endpoint, context.database_name(), &session, queries)?;
    let delayed = context.delayed_tables();
    let mut tables = counted.counts.clone();
    tables.retain(|table| delayed.contains(&format!("{}.{}", table.schema, table.table)));
    let mut changes: Vec<String> = stream::iter(tables)
        .map(|table| change(context, &pool, oldest, table))
        .buffer_unordered(queries)
        .try_filter_map(|change| ready(Ok(change)))
        .try_collect()
        .await?;
    changes.sort_unstable();
    Ok(match changes.is_empty() {
        true => Ok(()),
        false => Err(changes.join("\n")),
    })
}

/// What is different about one table.
async fn change(
    context: &Context,
    pool: &Pool,
    oldest: i64,
    table: TableCount,
) -> Result<Option<String>, StepError> {
    let Some(before) = table.rows.and_then(|rows| i64::try_from(rows).ok()) else {
        // It has no rows of its own: they are in its partitions, or on another server.
        return Ok(None);
    };
    let name = format!(
        "{}.{}",
        quote_identifier(&table.schema),
        quote_identifier(&table.table)
    );
    // A row that was frozen long ago may seem to be of a transaction to come.
    let sql = format!(
        "SELECT count(*), count(*) FILTER (WHERE age(xmin) BETWEEN 0 AND age('{}'::xid)) FROM ONLY {name}",
        oldest as u32
    );
    let connection = pool.get().await?;
    let row = connection
        .attempt(
            format!("look for rows of {name} that are new"),
            &context.shared.stop,
            connection.query_one(&sql, &[]),
        )
        .await?;
    let (rows, new): (i64, i64) = (row.get(0), row.get(1));
    let gone = before - (rows - new);
    Ok((new != 0 || gone != 0).then(|| {
        format!(
            "{}: {new} rows are new or were changed, {gone} of {before} are gone or were changed",
            escape_control(&format!("{}.{}", table.schema, table.table))
        )
    }))
}
