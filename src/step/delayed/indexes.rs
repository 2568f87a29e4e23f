//! `drop-indexes` and `recreate-indexes`: the secondary indexes of delayed tables.

use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt, stream};

use crate::event::{Progress, Unit};
use crate::failpoint::reach;
use crate::journal::Change;
use crate::names::{IndexDefinition, Output};
use crate::plan::Side;
use crate::postgres::{
    Connection, Pool, connect, escape_control, quote_identifier, quote_literal, quote_qualified,
};
use crate::step::{Context, StepError};

/// DROP INDEX waits behind clients of the table, and new clients behind it: not for longer than this.
const LOCK_TIMEOUT: Duration = Duration::from_secs(5);

/// What enforces nothing and nothing else needs: no primary key, no unique index (a foreign key may point to
/// it), no exclusion constraint, no replica identity; not part of a partitioned index, which would have to go
/// for partitions that are not delayed as well; not bound to an extension.
const DEFINITIONS: &str = "\
    SELECT n.nspname::text, t.relname::text, i.relname::text, pg_get_indexdef(i.oid), s.spcname::text, \
           obj_description(i.oid, 'pg_class'), x.indisclustered, \
           ARRAY(SELECT a.attnum FROM pg_catalog.pg_attribute a \
                 WHERE a.attrelid = i.oid AND a.attstattarget >= 0 ORDER BY a.attnum), \
           ARRAY(SELECT a.attstattarget::int FROM pg_catalog.pg_attribute a \
                 WHERE a.attrelid = i.oid AND a.attstattarget >= 0 ORDER BY a.attnum), \
           pg_relation_size(t.oid) \
    FROM pg_catalog.pg_index x \
    JOIN pg_catalog.pg_class i ON i.oid = x.indexrelid \
    JOIN pg_catalog.pg_class t ON t.oid = x.indrelid \
    JOIN pg_catalog.pg_namespace n ON n.oid = t.relnamespace \
    LEFT JOIN pg_catalog.pg_tablespace s ON s.oid = i.reltablespace \
    WHERE NOT x.indisprimary AND NOT x.indisunique AND NOT x.indisexclusion AND NOT x.indisreplident \
      AND x.indisvalid AND i.relkind = 'i' \
      AND NOT EXISTS (SELECT FROM pg_catalog.pg_constraint c WHERE c.conindid = i.oid) \
      AND NOT EXISTS (SELECT FROM pg_catalog.pg_inherits h WHERE h.inhrelid = i.oid) \
      AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d \
                      WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = i.oid \
                        AND d.deptype = 'x') \
      AND (n.nspname::text, t.relname::text) IN (SELECT * FROM unnest($1::text[], $2::text[])) \
    ORDER BY n.nspname::text COLLATE \"C\", i.relname::text COLLATE \"C\"";

/// Drops the secondary indexes, each on record with everything that makes it what it is.
pub async fn drop_indexes(context: &Context) -> Result<Output, StepError> {
    let session = context.session(Side::Target).lock_timeout(LOCK_TIMEOUT);
    let target = context.endpoint(Side::Target);
    let connection = connect(target, context.database_name(), &session).await?;
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
pub async fn recreate_indexes(context: &Context) -> Result<Output, StepError> {
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
    let now = definitions(context, &connection).await?;
    let lost: Vec<String> = indexes
        .iter()
        .filter(|index| !now.iter().any(|other| same(index, other)))
        .map(|index| escape_control(&qualified(index)).into_owned())
        .collect();
    if lost.is_empty() {
        refresh_views(context, &connection).await?;
        return Ok(Output::default());
    }
    Err(StepError::new(format!(
        "database \"{}\": after the delayed load these indexes are not what they were: {}",
        context.shown_database(),
        lost.join(", ")
    ))
    .help("their definitions are in the journal, in the record of the change drop-indexes"))
}

/// Materialized views that hold data, those first that others read.
const VIEWS: &str = "\
    WITH RECURSIVE uses AS ( \
        SELECT DISTINCT r.ev_class AS view, d.refobjid AS used FROM pg_catalog.pg_depend d \
        JOIN pg_catalog.pg_rewrite r ON r.oid = d.objid \
        WHERE d.classid = 'pg_catalog.pg_rewrite'::regclass \
          AND d.refclassid = 'pg_catalog.pg_class'::regclass AND r.ev_class <> d.refobjid), \
    reached (oid, depth) AS ( \
        SELECT c.oid, 0 FROM pg_catalog.pg_class c WHERE c.relkind = 'm' \
        UNION SELECT u.view, reached.depth + 1 FROM reached JOIN uses u ON u.used = reached.oid) \
    SELECT quote_ident(n.nspname) || '.' || quote_ident(c.relname) FROM reached \
    JOIN pg_catalog.pg_class c ON c.oid = reached.oid \
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
    WHERE c.relkind = 'm' AND c.relispopulated GROUP BY 1 ORDER BY max(depth), 1";

/// The restore refreshed the materialized views while the delayed tables were empty. All of them are refreshed
/// again: what a view reads through a function is in no catalog.
async fn refresh_views(context: &Context, connection: &Connection) -> Result<(), StepError> {
    let views = connection
        .query(VIEWS, &[])
        .await
        .map_err(connection.failed("list the materialized views"))?;
    for row in &views {
        let view: &str = row.get(0);
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

async fn definitions(
    context: &Context,
    connection: &Connection,
) -> Result<Vec<IndexDefinition>, StepError> {
    let (schemas, names): (Vec<String>, Vec<String>) = context
        .delayed_tables()
        .into_iter()
        .map(|table| (table.schema, table.name))
        .unzip();
    let rows = connection
        .query(DEFINITIONS, &[&schemas, &names])
        .await
        .map_err(connection.failed("read the indexes of the delayed tables"))?;
    let source = context.database()?.contents.as_ref();
    let table_bytes = |schema: &str, table: &str| {
        let relations = source.iter().flat_map(|contents| &contents.relations);
        let mut of_name =
            relations.filter(|relation| relation.schema == schema && relation.name == table);
        of_name.next().map_or(0, |relation| relation.bytes)
    };
    Ok(rows
        .iter()
        .map(|row| {
            let columns: Vec<i16> = row.get(7);
            let targets: Vec<i32> = row.get(8);
            let (schema, table): (String, String) = (row.get(0), row.get(1));
            IndexDefinition {
                table_bytes: table_bytes(&schema, &table),
                schema,
                table,
                name: row.get(2),
                definition: row.get(3),
                tablespace: row.get(4),
                comment: row.get(5),
                clustered: row.get(6),
                statistics: columns.into_iter().zip(targets).collect(),
            }
        })
        .collect())
}

/// One index, in one transaction: it is there with all its properties, or not at all.
async fn build(context: &Context, pool: &Pool, index: IndexDefinition) -> Result<(), StepError> {
    let connection = pool.get().await?;
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
