//! The rows of every table of one database.

use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::{StreamExt, TryStreamExt, stream};
use tokio_util::sync::CancellationToken;

use super::countable::{Countable, countable};
use crate::catalog::RelationKind;
use crate::graph::TableCount;
use crate::plan::VerifyMode;
use crate::postgres::{Error, Pool, quote_identifier};

/// Counts the tables that are `wanted`, by schema and name, with so many queries at a time, at most the pool's connections. `on_count` is told how many
/// tables are done, and of how many. Sorted by schema, then table.
///
/// # Errors
///
/// The first table that cannot be counted; [`crate::postgres::Class::Interrupted`] after `stop`.
pub async fn count_tables(
    pool: &Pool,
    queries: usize,
    mode: VerifyMode,
    stop: &CancellationToken,
    wanted: impl Fn(&str, &str) -> bool,
    on_count: impl Fn(u64, u64),
) -> Result<Vec<TableCount>, Error> {
    let mut tables = {
        let connection = pool.get().await?;
        countable(&connection).await?
    };
    tables.retain(|table| wanted(&table.schema, &table.name));
    let total = tables.len() as u64;
    let done = AtomicU64::new(0);
    let mut counts: Vec<TableCount> = stream::iter(tables)
        .map(|table| async {
            let rows = match mode {
                VerifyMode::Fast => table.estimated_rows,
                VerifyMode::Exact | VerifyMode::Checksum => rows(pool, &table, stop).await?,
            };
            on_count(done.fetch_add(1, Ordering::Relaxed) + 1, total);
            Ok::<_, Error>(TableCount {
                schema: table.schema,
                table: table.name,
                kind: table.kind,
                rows,
            })
        })
        .buffer_unordered(queries)
        .try_collect()
        .await?;
    counts.sort_by(|a, b| (&a.schema, &a.table).cmp(&(&b.schema, &b.table)));
    Ok(counts)
}

/// The table's own rows. Those of a partitioned table are counted in its partitions and those of a
/// foreign table are elsewhere; a materialized view that was never refreshed cannot be read.
async fn rows(
    pool: &Pool,
    table: &Countable,
    stop: &CancellationToken,
) -> Result<Option<u64>, Error> {
    match table.kind {
        RelationKind::PartitionedTable | RelationKind::ForeignTable => return Ok(None),
        RelationKind::MaterializedView if !table.populated => return Ok(None),
        RelationKind::MaterializedView | RelationKind::Table => {}
    }
    let name = format!(
        "{}.{}",
        quote_identifier(&table.schema),
        quote_identifier(&table.name)
    );
    let condition = table.condition.as_deref().unwrap_or_default();
    // ONLY: the rows of child tables are counted with those tables.
    let sql = format!("SELECT count(*) FROM ONLY {name} {condition}");
    let connection = pool.get().await?;
    let row = connection
        .attempt(
            format!("count the rows of {name}"),
            stop,
            connection.query_one(&sql, &[]),
        )
        .await?;
    Ok(u64::try_from(row.get::<_, i64>(0)).ok())
}
