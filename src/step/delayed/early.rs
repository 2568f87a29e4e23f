//! Indexes that the restore built by functions which read delayed tables, while those were empty.

use super::waiting::{LOCK_TIMEOUT, patiently};
use crate::failpoint::reach;
use crate::inspect::computed;
use crate::names::TableName;
use crate::plan::Side;
use crate::postgres::quote_qualified;
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
