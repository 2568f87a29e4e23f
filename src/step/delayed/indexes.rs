//! `drop-indexes` and `recreate-indexes`: the secondary indexes of delayed tables.

use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt, stream};

use crate::event::{Progress, Unit};
use crate::failpoint::reach;
use crate::inspect::{droppable_indexes, filled_materialized_views};
use crate::journal::Change;
use crate::names::{IndexDefinition, Output};
use crate::plan::Side;
use crate::postgres::{
    Connection, Pool, escape_control, quote_identifier, quote_literal, quote_qualified,
};
use crate::step::{Context, StepError, ours};

/// DROP INDEX waits behind clients of the table, and new clients behind it: not for longer than this.
const LOCK_TIMEOUT: Duration = Duration::from_secs(5);

/// Drops the secondary indexes, each on record with everything that makes it what it is.
pub(crate) async fn drop_indexes(context: &Context) -> Result<Output, StepError> {
    let session = context.session(Side::Target).lock_timeout(LOCK_TIMEOUT);
    let connection = ours::open(context, &session).await?;
    let indexes = definitions(context, &connection).await?;
    if !indexes.is_empty() {
        context
            .record(Change::DropIndexes {
                database: context.database_name().to_owned(),
                indexes: indexes.clone(),
            })
            .await?;
    }
    for index in &indexes {
        let name = qualified(index);
        connection
            .batch_execute(&format!("DROP INDEX IF EXISTS {name}"))
            .await
            .map_err(connection.failed(format!("drop the index {name} before the delayed load")))?;
        reach!("dropped {name}");
    }
    connection.close().await;
    Ok(Output::default())
}

/// Makes the dropped indexes again, those of the largest table first, and refreshes what was computed from
/// the tables while they were empty. An index that is there already is left alone.
pub(crate) async fn recreate_indexes(context: &Context) -> Result<Output, StepError> {
    let builds = context.step().jobs as usize;
    let mut indexes = context.dropped_indexes.clone();
    indexes.sort_by(|a, b| {
        (b.table_bytes, &a.schema, &a.name).cmp(&(a.table_bytes, &b.schema, &b.name))
    });
    let total = indexes.len() as u64;
    let pool = Pool::new(
        context.endpoint(Side::Target),
        context.database_name(),
        &context.session(Side::Target),
        builds,
    )?;
    let mut done = 0;
    let mut building = stream::iter(indexes.clone())
        .map(|index| build(context, &pool, index))
        .buffer_unordered(builds);
    while building.try_next().await?.is_some() {
        done += 1;
        context.report(Progress {
            done,
            total: Some(total),
            unit: Unit::Items,
        });
    }
    drop(building);
    let connection = pool.get().await?;
    ours::verify(context, &connection).await?;
    let now = definitions(context, &connection).await?;
    let lost: Vec<String> = indexes
        .iter()
        .filter(|index| !now.iter().any(|other| same(index, other)))
        .map(|index| escape_control(&qualified(index)).into_owned())
        .collect();
    if lost.is_empty() {
        drop((connection, pool));
        let session = context.session(Side::Target).for_refresh();
        let connection = ours::open(context, &session).await?;
        refresh_views(context, &connection).await?;
        connection.close().await;
        return Ok(Output::default());
    }
    Err(StepError::new(format!(
        "database \"{}\": after the delayed load these indexes are not what they were: {}",
        context.shown_database(),
        lost.join(", ")
    ))
    .help("their definitions are in the journal, in the record of the change drop-indexes"))
}

/// The restore refreshed the materialized views while the delayed tables were empty. All of them are refreshed
/// again: what a view reads through a function is in no catalog.
async fn refresh_views(context: &Context, connection: &Connection) -> Result<(), StepError> {
    for view in filled_materialized_views(connection).await? {
        connection
            .attempt(
                format!("refresh the materialized view {view}"),
                &context.shared.stop,
                connection.batch_execute(&format!("REFRESH MATERIALIZED VIEW {view}")),
            )
            .await?;
        reach!("refreshed {view}");
    }
    Ok(())
}

/// Everything but the table's size, which the load has changed.
fn same(one: &IndexDefinition, other: &IndexDefinition) -> bool {
    let without_size = |index: &IndexDefinition| IndexDefinition {
        table_bytes: 0,
        ..index.clone()
    };
    without_size(one) == without_size(other)
}

/// The indexes that go, or are there again, with the size of their tables on the source.
async fn definitions(
    context: &Context,
    connection: &Connection,
) -> Result<Vec<IndexDefinition>, StepError> {
    let mut indexes = droppable_indexes(connection, context.delayed_tables()).await?;
    let source = context.database()?.contents.as_ref();
    for index in &mut indexes {
        let mut relations = source.iter().flat_map(|contents| &contents.relations);
        let table = relations
            .find(|relation| relation.schema == index.schema && relation.name == index.table);
        index.table_bytes = table.map_or(0, |relation| relation.bytes);
    }
    Ok(indexes)
}

/// One index, in one transaction: it is there with all its properties, or not at all.
async fn build(context: &Context, pool: &Pool, index: IndexDefinition) -> Result<(), StepError> {
    let connection = pool.get().await?;
    ours::verify(context, &connection).await?;
    let name = qualified(&index);
    let exists = connection
        .query_one("SELECT to_regclass($1) IS NOT NULL", &[&name])
        .await
        .map_err(connection.failed(format!("look for the index {name}")))?;
    if exists.get(0) {
        return Ok(());
    }
    let script = script(context, &index);
    connection
        .attempt(
            format!("make the index {name} again"),
            &context.shared.stop,
            connection.batch_execute(&script),
        )
        .await?;
    reach!("recreated {name}");
    Ok(())
}

fn script(context: &Context, index: &IndexDefinition) -> String {
    let name = qualified(index);
    let memory = context.shared.graph.maintenance_work_mem >> 10;
    let tablespace = index.tablespace.as_deref().unwrap_or_default();
    let mut script = format!(
        "BEGIN; SET LOCAL default_tablespace = {}; SET LOCAL maintenance_work_mem = {memory}; {};",
        quote_literal(tablespace),
        index.definition
    );
    if let Some(comment) = &index.comment {
        script += &format!(" COMMENT ON INDEX {name} IS {};", quote_literal(comment));
    }
    for (column, target) in &index.statistics {
        script += &format!(" ALTER INDEX {name} ALTER COLUMN {column} SET STATISTICS {target};");
    }
    if index.clustered {
        script += &format!(
            " ALTER TABLE {}.{} CLUSTER ON {};",
            quote_identifier(&index.schema),
            quote_identifier(&index.table),
            quote_identifier(&index.name)
        );
    }
    script + " COMMIT"
}

fn qualified(index: &IndexDefinition) -> String {
    quote_qualified(&index.schema, &index.name)
}
