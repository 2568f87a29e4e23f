//! What was computed by functions which read delayed tables while those were empty: indexes that the restore built, and columns that
//! clients added.

use super::waiting::{LOCK_TIMEOUT, patiently};
use crate::catalog::Computed;
use crate::failpoint::reach;
use crate::inspect::computed;
use crate::names::{TableName, some_of};
use crate::plan::Side;
use crate::postgres::{Connection, escape_control, quote_qualified};
use crate::step::{Context, StepError, ours};

/// Builds those again that read materialized views, or those that do not, one after the other. How they were built the first
/// time is not known, so that a step that is done again begins with the first. `is_again`: the rows were changed since the indexes of the delayed tables were made again, so that these are
/// built as well.
pub(super) async fn rebuild(
    context: &Context,
    reads_views: bool,
    is_again: bool,
) -> Result<(), StepError> {
    let session = context.session(Side::Target).for_build();
    let connection = ours::open(context, &session.lock_timeout(LOCK_TIMEOUT)).await?;
    let delayed = context.delayed_tables();
    let mut found = computed(&connection).await?;
    let is_delayed = |table: &TableName| delayed.contains(table);
    found.retain(|computed| {
        let is_stale = match is_again {
            true => computed.reads.iter().any(is_delayed),
            false => !computed.too_early(is_delayed).is_empty(),
        };
        computed.is_index && computed.reads_views == reads_views && is_stale
    });
    for index in found {
        let name = quote_qualified(&index.table.schema, &index.name);
        let sql = format!("REINDEX INDEX {name}");
        patiently(context, || async {
            let action =
                format!("build the index {name} again, whose function reads delayed tables");
            let built = connection
                .attempt(action, &context.shared.stop, connection.batch_execute(&sql))
                .await;
            Ok(built?)
        })
        .await?;
        reach!("rebuilt {name}");
    }
    connection.close().await;
    Ok(())
}

/// Columns that are named.
const NAMED: usize = 8;

/// Stored generated columns that the source does not have. Those that it has were told before the run.
pub(super) async fn added(
    context: &Context,
    connection: &Connection,
) -> Result<Option<String>, StepError> {
    let delayed = context.delayed_tables();
    let contents = context.database()?.contents.iter();
    let of_source: Vec<_> = contents.flat_map(|contents| &contents.computed).collect();
    let mut found = computed(connection).await?;
    found.retain(|one| {
        let is_it = |other: &&Computed| {
            !other.is_index && (&other.table, &other.name) == (&one.table, &one.name)
        };
        let is_early = !one.too_early(|table| delayed.contains(table)).is_empty();
        !one.is_index && is_early && !of_source.iter().any(is_it)
    });
    let names: Vec<String> = found
        .iter()
        .map(|one| format!("{}.{}", one.table, one.name))
        .collect();
    Ok((!names.is_empty()).then(|| {
        format!(
            "database \"{}\": stored generated columns that the source does not have, and whose functions read or name delayed tables, may \
             have been computed while these were empty, and keep that: {}; compute them again on the target: UPDATE the table SET a column \
             that each is computed from to what that is",
            context.shown_database(),
            escape_control(&some_of(&names, NAMED))
        )
    }))
}
