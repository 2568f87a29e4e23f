//! Indexes that the source has at the run's end and the target lacks: they were made, or became valid, after the snapshot.

use std::collections::HashSet;

use futures_util::{StreamExt, stream};

use crate::inspect::{Index, indexable_tables, valid_indexes};
use crate::names::{TableName, some_of};
use crate::plan::Endpoint;
use crate::postgres::{self, Connection, Session, connect, escape_control};
use crate::step::Shared;

/// Databases that are looked into at a time.
const AT_A_TIME: usize = 4;

/// So many indexes of a database are named.
const SHOWN: usize = 8;

/// A sentence for each database of the plan with such indexes, or that cannot be looked into.
pub(super) async fn not_on_target(shared: &Shared) -> Vec<(Option<String>, String)> {
    let mut found: Vec<_> = stream::iter(shared.graph.database_names())
        .map(|name| async move {
            let told = match look(shared, name).await {
                Ok(missing) if missing.is_empty() => return None,
                Ok(missing) => sentence(&missing),
                Err(error) => format!(
                    "it could not be seen whether indexes were made on the source during the run: {error}"
                ),
            };
            Some((Some(name.clone()), told))
        })
        .buffer_unordered(AT_A_TIME)
        .filter_map(std::future::ready)
        .collect()
        .await;
    found.sort();
    found
}

async fn look(shared: &Shared, database: &str) -> Result<Vec<Index>, postgres::Error> {
    let source = open(shared, &shared.source, database).await?;
    let of_source = valid_indexes(&source).await;
    source.close().await;
    let of_source = of_source?;
    if of_source.is_empty() {
        return Ok(of_source);
    }
    let target = open(shared, &shared.target, database).await?;
    let of_target = valid_indexes(&target).await?;
    let tables = indexable_tables(&target).await?;
    target.close().await;
    Ok(missing(of_source, &of_target, &tables))
}

async fn open(
    shared: &Shared,
    endpoint: &Endpoint,
    database: &str,
) -> Result<Connection, postgres::Error> {
    let session = Session::new(&shared.application.application_name_for("indexes"));
    connect(endpoint, database, &session).await
}

/// Of tables that the target has: others were left out, or are newer than the dump.
fn missing(source: Vec<Index>, target: &[Index], tables: &HashSet<TableName>) -> Vec<Index> {
    let there: HashSet<(&TableName, &str)> = target
        .iter()
        .map(|index| (&index.table, index.name.as_str()))
        .collect();
    let mut missing = source;
    missing.retain(|index| {
        tables.contains(&index.table) && !there.contains(&(&index.table, index.name.as_str()))
    });
    missing
}

fn sentence(missing: &[Index]) -> String {
    let shown: Vec<String> = missing
        .iter()
        .map(|index| {
            let name = format!("{} of {}", index.name, index.table);
            escape_control(&name).into_owned()
        })
        .collect();
    format!(
        "the source has valid indexes that the target lacks: {}; they were made, or became valid, after the dump began, or \
         their restore failed and was accepted: CREATE INDEX on the target, as pg_get_indexdef says on the source",
        some_of(&shown, SHOWN)
    )
}
