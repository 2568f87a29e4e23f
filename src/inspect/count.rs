//! The rows of every table of one database, and its large objects.

use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::{StreamExt, TryStreamExt, stream};
use tokio_postgres::types::ToSql;
use tokio_util::sync::CancellationToken;

use super::countable::{Countable, Estimates, countable};
use super::planned::not_to_be_planned;
use crate::names::{RelationKind, TableCount, TableName};
use crate::plan::{Side, VerifyMode};
use crate::postgres::{Error, Pool, Snapshot};

/// Where a table's number of rows comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rows {
    /// `count(*)`, a query a table.
    Counted,
    /// What the server has on record, one query for all tables.
    Estimated,
    /// None: the server is a standby and the table unlogged, so that no row of it is there.
    Absent,
}

impl Rows {
    /// By the plan's mode, but for tables whose rows are wanted exactly.
    pub(crate) fn by(mode: VerifyMode, exactly: bool) -> Rows {
        match mode {
            VerifyMode::Fast if !exactly => Rows::Estimated,
            _ => Rows::Counted,
        }
    }
}

/// Finds the rows of tables of one side, in the way that `how` says for each (`None`: the table is left out), with so many
/// count queries at a time, at most the pool's connections. `snapshot` is the one that they read under: its own session
/// counts a table that another session waits for. `on_count` is told how many tables are done, and of how many. Sorted by
/// name.
///
/// # Errors
///
/// The first table that cannot be counted; [`crate::postgres::Class::Interrupted`] after `stop`.
pub(crate) async fn count_tables(
    pool: &Pool,
    snapshot: Option<&Snapshot>,
    side: Side,
    queries: usize,
    stop: &CancellationToken,
    how: impl Fn(&TableName) -> Option<Rows>,
    on_count: impl Fn(u64, u64),
) -> Result<Vec<TableCount>, Error> {
    // Not under the snapshot, which does not show the indexes of today.
    let apart = pool.apart().await?;
    let unplanned = not_to_be_planned(&apart).await?;
    apart.close().await;
    let tables = {
        let connection = pool.get().await?;
        let estimates = Estimates::for_side(side, connection.version());
        countable(&connection, estimates).await?
    };
    let tables: Vec<(Countable, Rows)> = tables
        .into_iter()
        .filter_map(|table| how(&table.name).map(|rows| (table, rows)))
        .collect();
    let total = tables.len() as u64;
    let (done, on_count) = (&AtomicU64::new(0), &on_count);
    let unplanned = &unplanned;
    let mut counts: Vec<TableCount> = stream::iter(tables)
        .map(|(table, how)| async move {
            let rows = match how {
                _ if !has_rows(&table) => None,
                Rows::Absent => Some(0),
                Rows::Estimated => table.estimated_rows,
                Rows::Counted => match unplanned.get(&table.name) {
                    None => count(pool, snapshot, &table, stop).await?,
                    Some(columns) => count_by_copy(pool, snapshot, &table, columns, stop).await?,
                },
            };
            on_count(done.fetch_add(1, Ordering::Relaxed) + 1, total);
            Ok::<_, Error>(TableCount {
                table: table.name,
                kind: table.kind,
                rows,
                extension: table.extension,
            })
        })
        .buffer_unordered(queries)
        .try_collect()
        .await?;
    counts.sort_by(|a, b| a.table.cmp(&b.table));
    Ok(counts)
}

/// The large objects of a database.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LargeObjects {
    pub(crate) number: u64,
    /// Those that the transactions before `since` made, and none altered since; all, where none is given.
    pub(crate) before: u64,
    /// The first transaction that made none of them.
    pub(crate) next_transaction: i64,
}

/// Counts those of the pool's database. Every role may read that. Which of them are new, their numbers do not say: they are given out by
/// each server as it has some free.
///
/// # Errors
///
/// They cannot be counted; [`crate::postgres::Class::Interrupted`] after `stop`.
pub(crate) async fn count_large_objects(
    pool: &Pool,
    stop: &CancellationToken,
    since: Option<i64>,
) -> Result<LargeObjects, Error> {
    let connection = pool.get().await?;
    // A row bears the low half of the number, and none is older than half of what that can tell apart.
    let sql = "SELECT count(*), \
                      count(*) FILTER (WHERE coalesce(($1::bigint - xmin::text::bigint - 1) & 4294967295 < 2147483648, true)), \
                      pg_catalog.txid_snapshot_xmax(pg_catalog.txid_current_snapshot()) \
               FROM pg_catalog.pg_largeobject_metadata";
    let parameters: [&(dyn ToSql + Sync); 1] = [&since];
    let query = connection.query_one(sql, &parameters);
    let row = connection
        .attempt("count the large objects", stop, query)
        .await?;
    let count = |column| u64::try_from(row.get::<_, i64>(column)).unwrap_or(0);
    Ok(LargeObjects {
        number: count(0),
        before: count(1),
        next_transaction: row.get(2),
    })
}

/// Whether there is anything to count. The rows of a partitioned table are counted in its partitions and those of a
/// foreign table are elsewhere; a materialized view that was never refreshed cannot be read.
fn has_rows(table: &Countable) -> bool {
    match table.kind {
        RelationKind::PartitionedTable | RelationKind::ForeignTable => false,
        RelationKind::MaterializedView => table.populated,
        RelationKind::Table => true,
    }
}

/// The table's own rows.
async fn count(
    pool: &Pool,
    snapshot: Option<&Snapshot>,
    table: &Countable,
    stop: &CancellationToken,
) -> Result<Option<u64>, Error> {
    let name = table.name.quoted();
    let condition = table.condition.as_deref().unwrap_or_default();
    // ONLY: the rows of child tables are counted with those tables.
    let sql = format!("SELECT count(*) FROM ONLY {name} {condition}");
    let action = format!("count the rows of {name}");
    let connection = pool.get().await?;
    let counted = connection
        .attempt(&action, stop, connection.query_one(&sql, &[]))
        .await;
    let row = match (counted, snapshot) {
        // Who waits for the table waits for the snapshot's session, which has it locked and need not wait in turn.
        (Err(error), Some(snapshot)) if error.sqlstate() == Some("55P03") => {
            snapshot.query_one(&action, stop, &sql).await?
        }
        (counted, _) => counted?,
    };
    Ok(u64::try_from(row.get::<_, i64>(0)).ok())
}

/// The rows of a table that no query is planned for. COPY takes a materialized view from 18 on; of one before, and of what only a condition
/// tells from the rows of an extension, the estimate has to do.
async fn count_by_copy(
    pool: &Pool,
    snapshot: Option<&Snapshot>,
    table: &Countable,
    columns: &str,
    stop: &CancellationToken,
) -> Result<Option<u64>, Error> {
    let connection = pool.get().await?;
    let is_view = table.kind == RelationKind::MaterializedView;
    if is_view && connection.version().major() < 1800 || table.condition.is_some() {
        return Ok(table.estimated_rows.or(Some(0)));
    }
    let name = table.name.quoted();
    let sql = format!("COPY {name} {columns} TO STDOUT");
    let action = format!("count the rows of {name}");
    let counted = connection.copied_rows(&action, stop, &sql).await;
    match (counted, snapshot) {
        // As in `count`.
        (Err(error), Some(snapshot)) if error.sqlstate() == Some("55P03") => {
            snapshot.copied_rows(&action, stop, &sql).await
        }
        (counted, _) => counted,
    }
    .map(Some)
}
