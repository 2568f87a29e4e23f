//! Tables that would be delayed, and were made on the source after the regular dump: the target has none of them, and a later snapshot
//! shows their rows, some of which may have been in delayed tables before.

use std::collections::BTreeSet;

use super::DelayedDump;
use crate::inspect::{Rows, count_tables, families};
use crate::names::{TableCount, TableName, TableResult, list_of_tables};
use crate::plan::Side;
use crate::postgres::{Pool, Session, Snapshot, escape_control};
use crate::shell;
use crate::step::{Context, StepError};

/// Those that hold rows under the snapshot of `session`, with how many: partitions of the partitioned tables that delayed ones are parts
/// of, and what the plan's patterns match.
///
/// # Errors
///
/// A table that cannot be read.
pub(super) async fn count(
    context: &Context,
    session: &Session,
    snapshot: &Snapshot,
) -> Result<Vec<TableCount>, StepError> {
    let endpoint = context.endpoint(Side::Source);
    let pool = Pool::new(endpoint, context.database_name(), session, 1)?;
    let members = {
        let connection = pool.get().await?;
        families(&connection).await?
    };
    let delayed = context.delayed_tables();
    let roots: BTreeSet<&TableName> = members
        .iter()
        .filter(|member| delayed.contains(&member.table))
        .flat_map(|member| &member.above)
        .collect();
    let regular = context.regular_dump()?;
    let counted = context.counts(Side::Source)?.tables.iter();
    let known: BTreeSet<&TableName> = counted
        .map(|count| &count.table)
        .chain(&regular.delayed)
        .chain(&delayed)
        .collect();
    let database = context.database_name();
    let is_meant = |table: &TableName| {
        let mut patterns = context.plan().delay.patterns.iter();
        patterns.any(|pattern| pattern.matches(database, &table.schema, &table.name))
    };
    let newer: BTreeSet<&TableName> = members
        .iter()
        .filter(|member| !known.contains(&member.table))
        // No row of it is on a standby.
        .filter(|member| !(member.is_unlogged && context.is_standby(Side::Source)))
        .filter(|member| {
            is_meant(&member.table)
                || member
                    .above
                    .iter()
                    .any(|root| roots.contains(root) || is_meant(root))
        })
        .map(|member| &member.table)
        .collect();
    if newer.is_empty() {
        return Ok(Vec::new());
    }
    let how = |table: &TableName| newer.contains(table).then_some(Rows::Counted);
    let stop = &context.stop;
    let counting = count_tables(&pool, Some(snapshot), Side::Source, 1, stop, how, |_, _| {});
    let mut counts = counting.await?;
    counts.retain(|count| count.rows != Some(0));
    Ok(counts)
}

/// The warning about them.
pub(super) fn warning(newer: &[TableCount]) -> Option<String> {
    let names: Vec<TableName> = newer.iter().map(|count| count.table.clone()).collect();
    (!names.is_empty()).then(|| {
        format!(
            "these tables were made on the source after the regular dump and belong to the delayed ones: {}; the target has none of them, \
             and their rows are in no archive, though they may have been in delayed tables before; delayed-verify asks for them",
            escape_control(&list_of_tables(&names))
        )
    })
}

/// What there is of them on the target. A person may have brought them.
pub(super) fn compare(
    dump: &DelayedDump,
    now: &[TableCount],
    is_accepted: bool,
) -> Vec<TableResult> {
    let result = |count: &TableCount| {
        let there = now.iter().find(|there| there.table == count.table);
        let target_rows = there.and_then(|there| there.rows);
        let is_there = target_rows.is_some() && target_rows >= count.rows;
        let note = match is_there {
            true => "was made on the source after the regular dump, and brought by a person",
            false => "was made on the source after the regular dump: the run does not bring it",
        };
        TableResult {
            table: count.table.clone(),
            source_rows: count.rows,
            target_rows,
            matches: is_there || is_accepted,
            note: Some(note.to_owned()),
        }
    };
    dump.newer.iter().map(result).collect()
}

/// How a person brings them.
pub(super) fn help(context: &Context, missing: &[TableName]) -> String {
    let tables: Vec<String> = missing
        .iter()
        .map(|table| format!("--table={}", shell::quote(&table.quoted())))
        .collect();
    format!(
        "bring the tables that are newer than the regular dump by hand: pg_dump {} of the source's database {1}, its output with psql \
         into that of the target, and run again",
        tables.join(" "),
        shell::quote(context.database_name())
    )
}
