//! Whether delayed tables are still as a snapshot that is lost showed them.
//!
//! What is there to be seen, and was written by transactions that had ended when the snapshot was taken, the
//! snapshot showed as well. Where all rows are of this kind, and as many as were counted under the snapshot, none
//! is gone either: they are the same rows. The same goes for what the catalog says of the tables and their columns,
//! because a column can be added or dropped, and a table take another's name, without any row being written; and for the types of
//! their values.

use std::collections::HashSet;
use std::future::ready;

use futures_util::{StreamExt, TryStreamExt, stream};

use crate::inspect::{type_meanings, types_in};
use crate::names::{TableCount, TableName, TypeMeaning};
use crate::plan::Side;
use crate::postgres::{Pool, Snapshot, escape_control};
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
    let counted = context.counts(Side::Source)?;
    let dumped = &context.regular_dump()?.dump;
    let is_same = counted.snapshot.as_ref() == Some(&dumped.snapshot);
    let Some(oldest) = oldest_transaction(context, now)?.filter(|_| is_same) else {
        return Ok(Err(
            "it is not known which transactions had ended when that snapshot was taken".into(),
        ));
    };
    // The dump's connections: it has not begun.
    let queries = context.step().jobs as usize;
    let session = context.session(Side::Source).under_snapshot(now.id());
    let endpoint = context.endpoint(Side::Source);
    let pool = Pool::new(endpoint, context.database_name(), &session, queries)?;
    let mut altered = altered(context, &pool, oldest).await?;
    altered.extend(altered_types(context, &pool).await?);
    if !altered.is_empty() {
        let lines = altered.iter().map(|what| format!("{what}: it was altered"));
        return Ok(Err(lines.collect::<Vec<_>>().join("\n")));
    }
    let delayed = context.delayed_tables();
    let mut tables = counted.tables.clone();
    tables.retain(|count| count.rows.is_some() && delayed.contains(&count.table));
    if tables.len() < delayed.len() {
        return Ok(Err("not all of their rows were counted under it".into()));
    }
    let mut changes: Vec<String> = stream::iter(tables)
        .map(|table| change(context, &pool, oldest, table))
        .buffer_unordered(queries)
        .try_filter_map(|change| ready(Ok(change)))
        .try_collect()
        .await?;
    changes.sort_unstable();
    Ok(if changes.is_empty() {
        Ok(())
    } else {
        Err(changes.join("\n"))
    })
}

/// The warning about delayed tables that are dumped under a snapshot of their own.
///
/// # Errors
///
/// A catalog that cannot be read.
pub(super) async fn warn_of_altered(
    context: &Context,
    now: &Snapshot,
) -> Result<Option<String>, StepError> {
    let Some(oldest) = oldest_transaction(context, now)? else {
        return Ok(None);
    };
    let session = context.session(Side::Source).under_snapshot(now.id());
    let endpoint = context.endpoint(Side::Source);
    let pool = Pool::new(endpoint, context.database_name(), &session, 1)?;
    let mut altered = altered(context, &pool, oldest).await?;
    altered.extend(altered_types(context, &pool).await?);
    Ok((!altered.is_empty()).then(|| {
        format!(
            "delayed tables were altered on the source after the regular dump: {}; compare them on both servers: a \
             column that was dropped meanwhile has no values on the target",
            altered.join(", ")
        )
    }))
}

/// The oldest transaction that had not ended when the regular dump's snapshot was taken, where it is known and can be
/// told from those to come.
fn oldest_transaction(context: &Context, now: &Snapshot) -> Result<Option<i64>, StepError> {
    let oldest = context.regular_dump()?.dump.oldest_transaction;
    Ok(oldest
        .filter(|oldest| (0..MOST_TRANSACTIONS).contains(&(now.oldest_transaction() - oldest))))
}

/// The delayed tables of which, or of whose columns, the catalog was changed since, for a message: one may have taken
/// the name of another.
async fn altered(context: &Context, pool: &Pool, oldest: i64) -> Result<Vec<String>, StepError> {
    let connection = pool.get().await?;
    let sql = format!(
        "SELECT DISTINCT n.nspname::text, c.relname::text \
         FROM pg_catalog.pg_attribute a \
         JOIN pg_catalog.pg_class c ON c.oid = a.attrelid \
         JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         WHERE a.attnum > 0 AND ({} OR {}) ORDER BY 1, 2",
        written_since("a.xmin", oldest),
        written_since("c.xmin", oldest)
    );
    let rows = connection
        .query(&sql, &[])
        .await
        .map_err(connection.failed("look for columns that were altered"))?;
    let delayed = context.delayed_tables();
    let names = rows.iter().map(|row| TableName {
        schema: row.get(0),
        name: row.get(1),
    });
    Ok(names
        .filter(|name| delayed.contains(name))
        .map(|name| escape_control(&name.to_string()).into_owned())
        .collect())
}

/// The types of values in the delayed tables that do not mean what they meant at the regular dump's snapshot, for a message: no
/// row is written where a label takes another's name, or a composite type has another column in place of one.
async fn altered_types(context: &Context, pool: &Pool) -> Result<Vec<String>, StepError> {
    // Journals of earlier versions do not tell.
    let then = &context.regular_dump()?.meanings;
    if then.is_empty() {
        return Ok(Vec::new());
    }
    let connection = pool.get().await?;
    let now: HashSet<TypeMeaning> = type_meanings(&connection).await?.into_iter().collect();
    let gone = then.iter().filter(|meaning| !now.contains(meaning));
    let gone: HashSet<u32> = gone.map(|meaning| meaning.type_oid).collect();
    let used = types_in(&connection, context.delayed_tables()).await?;
    let altered = used.into_iter().filter(|(oid, _)| gone.contains(oid));
    Ok(altered
        .map(|(_, name)| format!("type {}", escape_control(&name)))
        .collect())
}

/// Whether a row was written by a transaction that had not ended then. One that was frozen long ago may seem to be of a
/// transaction to come.
fn written_since(xmin: &str, oldest: i64) -> String {
    format!("age({xmin}) BETWEEN 0 AND age('{}'::xid)", oldest as u32)
}

/// What is different about the rows of one table.
async fn change(
    context: &Context,
    pool: &Pool,
    oldest: i64,
    count: TableCount,
) -> Result<Option<String>, StepError> {
    let before = count.rows.and_then(|rows| i64::try_from(rows).ok());
    let before = before.ok_or_else(|| StepError::fault("a delayed table was not counted"))?;
    let name = count.table.quoted();
    let sql = format!(
        "SELECT count(*), count(*) FILTER (WHERE {}) FROM ONLY {name}",
        written_since("xmin", oldest)
    );
    let connection = pool.get().await?;
    let row = connection
        .attempt(
            format!("look for rows of {name} that are new"),
            &context.stop,
            connection.query_one(&sql, &[]),
        )
        .await?;
    let (rows, new): (i64, i64) = (row.get(0), row.get(1));
    let gone = before - (rows - new);
    Ok((new != 0 || gone != 0).then(|| {
        format!(
            "{}: {new} rows are new or were changed, {gone} of {before} are gone or were changed",
            escape_control(&count.table.to_string())
        )
    }))
}
