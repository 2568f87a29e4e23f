//! `drop-indexes` and `recreate-indexes`: the secondary indexes of delayed tables.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::{StreamExt, TryStreamExt, stream};

use super::waiting::{LOCK_TIMEOUT, patiently};
use super::{columns, early, views};
use crate::event::{Progress, Unit};
use crate::failpoint::reach;
use crate::inspect::{NamedIndex, droppable_indexes, indexes_by_name};
use crate::journal::Change;
use crate::names::{IndexDefinition, Output, TableName};
use crate::plan::Side;
use crate::postgres::{
    Connection, Pool, escape_control, quote_identifier, quote_literal, quote_qualified,
};
use crate::step::{Context, StepError, made_tables, ours, regular, tuning};

/// Drops the secondary indexes, each on record with everything that makes it what it is.
pub(crate) async fn drop_indexes(context: &Context) -> Result<Output, StepError> {
    // It waits for other sessions of this run to end, so that none is open yet.
    let warnings = regular::look_before_the_first_write(context).await?;
    let session = context.session(Side::Target).lock_timeout(LOCK_TIMEOUT);
    let connection = ours::open(context, &session).await?;
    columns::ensure_names(context, &connection, |_| true).await?;
    columns::ensure_fit(context, &connection, |_| true).await?;
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
        let action = format!("drop the index {name} before the delayed load");
        let sql = format!("DROP INDEX IF EXISTS {name}");
        patiently(context, || async {
            let dropped = connection.batch_execute(&sql).await;
            Ok(dropped.map_err(connection.failed(&*action))?)
        })
        .await?;
        reach!("dropped {name}");
    }
    connection.close().await;
    Ok(Output::of_warnings(warnings))
}

/// Makes the dropped indexes again, those of the largest table first, and refreshes what was computed from
/// the tables while they were empty. What is computed from materialized views comes after these. An index that is there already is
/// left alone.
pub(crate) async fn recreate_indexes(context: &Context) -> Result<Output, StepError> {
    let mut indexes = context.dropped_indexes.clone();
    indexes.sort_by(|a, b| {
        (b.table_bytes, &a.schema, &a.name).cmp(&(a.table_bytes, &b.schema, &b.name))
    });
    // As they were read when they were dropped, and not with the settings of the builds.
    let connection = ours::open(context, &context.session(Side::Target)).await?;
    ensure_names(context, &connection, &indexes).await?;
    let there = indexes_by_name(&connection, &indexes).await?;
    let computed_early = early::added(context, &connection).await?;
    connection.close().await;
    let reading = reading_views(context)?;
    let is_last = |index: &IndexDefinition| reading.contains(&(&*index.schema, &*index.name));
    let (last, first): (Vec<_>, Vec<_>) = indexes.iter().cloned().partition(is_last);
    build_all(context, &first, &there).await?;
    early::rebuild(context, false, false).await?;
    let mut warnings = views::refresh(context).await?;
    warnings.extend(computed_early);
    build_all(context, &last, &there).await?;
    early::rebuild(context, true, false).await?;
    let connection = ours::open(context, &context.session(Side::Target)).await?;
    // Those that were given other names meanwhile may lack indexes, and others may have them.
    ensure_names(context, &connection, &indexes).await?;
    let now = definitions(context, &connection).await?;
    connection.close().await;
    let lost: Vec<String> = indexes
        .iter()
        .filter(|index| !now.iter().any(|other| same(index, other)))
        .map(|index| escape_control(&qualified(index)).into_owned())
        .collect();
    if lost.is_empty() {
        return Ok(Output::of_warnings(warnings));
    }
    Err(StepError::new(format!(
        "database \"{}\": after the delayed load these indexes are not what they were: {}",
        context.shown_database(),
        lost.join(", ")
    ))
    .help("their definitions are in the journal, in the record of the change drop-indexes"))
}

/// Computes again what reads the delayed tables, whose rows a person may have corrected as the run asked for. A line for each materialized view
/// that the plan accepts as it is.
pub(super) async fn compute_again(context: &Context) -> Result<Vec<String>, StepError> {
    early::rebuild(context, false, true).await?;
    let warnings = views::refresh(context).await?;
    early::rebuild(context, true, true).await?;
    tuning::flush_commits(context).await?;
    Ok(warnings)
}

/// By schema and name, of the source, the indexes by functions that read materialized views.
fn reading_views(context: &Context) -> Result<HashSet<(&str, &str)>, StepError> {
    let contents = context.database()?.contents.iter();
    let computed = contents.flat_map(|contents| &contents.computed);
    let reading = computed.filter(|computed| computed.is_index && computed.reads_views);
    Ok(reading
        .map(|computed| (&*computed.table.schema, &*computed.name))
        .collect())
}

/// Fails where a table, or a column that an index to be made may be of, was given another name.
async fn ensure_names(
    context: &Context,
    connection: &Connection,
    indexes: &[IndexDefinition],
) -> Result<(), StepError> {
    let matters = |table: &TableName, column: &str| {
        let name = quote_identifier(column);
        let is_in = |definition: &str| definition.contains(column) || definition.contains(&name);
        let mut indexes = indexes.iter();
        indexes.any(|index| index.table_name() == *table && is_in(&index.definition))
    };
    made_tables::ensure_same(context, connection, |_| true, matters).await?;
    Ok(())
}

/// Builds what is missing, as many indexes at a time as the step claims.
async fn build_all(
    context: &Context,
    indexes: &[IndexDefinition],
    there: &[NamedIndex],
) -> Result<(), StepError> {
    let session = context.session(Side::Target).for_build();
    let session = if context.plan().delay.concurrently {
        // Nobody waits behind such a build.
        session
    } else {
        session.lock_timeout(LOCK_TIMEOUT)
    };
    let builds = context.step().jobs as usize;
    let endpoint = context.endpoint(Side::Target);
    let pool = Pool::new(endpoint, context.database_name(), &session, builds)?;
    let (total, done) = (indexes.len() as u64, AtomicU64::new(0));
    let on_built = || {
        context.report(Progress {
            done: done.fetch_add(1, Ordering::Relaxed) + 1,
            total: Some(total),
            unit: Unit::Items,
        });
    };
    stream::iter(at_a_time(indexes, context.plan().delay.concurrently))
        .map(|indexes| build_in_turn(context, &pool, indexes, there, &on_built))
        .buffer_unordered(builds)
        .try_collect()
        .await
}

async fn build_in_turn(
    context: &Context,
    pool: &Pool,
    indexes: Vec<IndexDefinition>,
    there: &[NamedIndex],
    on_built: &(dyn Fn() + Sync),
) -> Result<(), StepError> {
    for index in &indexes {
        let state = state(index, there);
        patiently(context, || build(context, pool, index, state)).await?;
        on_built();
    }
    Ok(())
}

/// What is built one after the other: two CREATE INDEX CONCURRENTLY of one table would wait for each other.
fn at_a_time(indexes: &[IndexDefinition], concurrently: bool) -> Vec<Vec<IndexDefinition>> {
    let mut groups: Vec<Vec<IndexDefinition>> = Vec::new();
    for index in indexes.iter().cloned() {
        let group = groups
            .iter_mut()
            .find(|group| concurrently && group[0].table_name() == index.table_name());
        match group {
            Some(group) => group.push(index),
            None => groups.push(vec![index]),
        }
    }
    groups
}

/// What there is of an index before it is built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum There {
    Nothing,
    /// What a CREATE INDEX CONCURRENTLY of ours left that did not end: no query uses it, and every write pays for it.
    Invalid,
    /// It may lack its properties, where a run was killed before it gave them.
    Index,
    /// Something else of its name.
    Other,
}

fn state(index: &IndexDefinition, there: &[NamedIndex]) -> There {
    let of_name =
        |named: &&NamedIndex| (&named.schema, &named.name) == (&index.schema, &index.name);
    match there.iter().find(of_name) {
        None => There::Nothing,
        Some(named) if named.definition.as_ref() != Some(&index.definition) => There::Other,
        Some(named) if named.is_valid => There::Index,
        Some(_) => There::Invalid,
    }
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

/// One index with all its properties.
async fn build(
    context: &Context,
    pool: &Pool,
    index: &IndexDefinition,
    there: There,
) -> Result<(), StepError> {
    if there == There::Other {
        return Ok(());
    }
    let connection = pool.get().await?;
    ours::verify(context, &connection).await?;
    let statements = if there == There::Index {
        vec![format!("BEGIN; {} COMMIT", properties(index))]
    } else if context.plan().delay.concurrently {
        concurrently(context, index)
    } else {
        vec![format!(
            "BEGIN;{} {};{} COMMIT",
            settings(context, index, "SET LOCAL"),
            index.definition,
            properties(index)
        )]
    };
    let name = qualified(index);
    let drop = (there == There::Invalid).then(|| match context.plan().delay.concurrently {
        true => format!("DROP INDEX CONCURRENTLY IF EXISTS {name}"),
        false => format!("DROP INDEX IF EXISTS {name}"),
    });
    for statement in drop.into_iter().chain(statements) {
        connection
            .attempt(
                format!("make the index {name} again"),
                &context.shared.stop,
                connection.batch_execute(&statement),
            )
            .await?;
    }
    reach!("recreated {name}");
    Ok(())
}

/// Statements that are no transaction: CREATE INDEX CONCURRENTLY is two of its own. What a run that is killed in between leaves,
/// the next one finds.
fn concurrently(context: &Context, index: &IndexDefinition) -> Vec<String> {
    let definition = index
        .definition
        .replacen("CREATE INDEX ", "CREATE INDEX CONCURRENTLY ", 1);
    vec![
        settings(context, index, "SET"),
        definition,
        format!("BEGIN; {} COMMIT", properties(index)),
    ]
}

/// Where the index comes to be, and how much memory its build takes.
fn settings(context: &Context, index: &IndexDefinition, set: &str) -> String {
    let memory = context.shared.graph.maintenance_work_mem >> 10;
    let tablespace = index.tablespace.as_deref().unwrap_or_default();
    format!(
        " {set} default_tablespace = {}; {set} maintenance_work_mem = {memory};",
        quote_literal(tablespace)
    )
}

/// What the definition does not say.
fn properties(index: &IndexDefinition) -> String {
    let name = qualified(index);
    let mut script = String::new();
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
    script
}

fn qualified(index: &IndexDefinition) -> String {
    quote_qualified(&index.schema, &index.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index(table: &str, name: &str) -> IndexDefinition {
        IndexDefinition {
            schema: "public".into(),
            table: table.into(),
            name: name.into(),
            definition: format!("CREATE INDEX {name} ON public.{table} USING btree (id)"),
            tablespace: None,
            comment: None,
            statistics: Vec::new(),
            clustered: false,
            table_bytes: 0,
        }
    }

    #[test]
    fn what_is_there_is_ours_by_its_definition() {
        let index = index("t", "i");
        let named = |is_valid, definition: Option<&str>| {
            [NamedIndex {
                schema: "public".into(),
                name: "i".into(),
                is_valid,
                definition: definition.map(str::to_owned),
            }]
        };
        let ours = Some(&*index.definition);
        assert_eq!(state(&index, &[]), There::Nothing);
        assert_eq!(state(&index, &named(true, ours)), There::Index);
        assert_eq!(state(&index, &named(false, ours)), There::Invalid);
        let other = Some("CREATE INDEX i ON public.u USING btree (id)");
        assert_eq!(state(&index, &named(false, other)), There::Other);
        assert_eq!(state(&index, &named(true, None)), There::Other);
    }

    #[test]
    fn indexes_of_one_table_wait_for_each_other_where_clients_write() {
        let indexes = [index("t", "a"), index("u", "b"), index("t", "c")];
        let names = |concurrently| -> Vec<String> {
            let groups = at_a_time(&indexes, concurrently);
            let names = groups.iter().map(|group| {
                let names: Vec<&str> = group.iter().map(|index| &*index.name).collect();
                names.join(" ")
            });
            names.collect()
        };
        assert_eq!(names(true), ["a c", "b"]);
        assert_eq!(names(false), ["a", "b", "c"]);
    }
}
