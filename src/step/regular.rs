//! What others write, while the delayed phase is under way, to what it does not write to: the mark of the restore counts both.

use std::collections::BTreeSet;

use super::others::{self, Wrote};
use super::{Context, StepError};
use crate::inspect::written_to_others;
use crate::journal::Change;
use crate::names::{Since, TableName, WriteMark};
use crate::plan::Side;
use crate::postgres::{Connection, escape_control};

const BETWEEN: &str = "its verification and the end of its delayed phase";

/// Puts on record what was written so far to all but the delayed tables, where the database stays closed while they are loaded.
pub(super) async fn mark(context: &Context) -> Result<(), StepError> {
    if context.delayed_tables().is_empty() || !context.shared.opens_late() {
        return Ok(());
    }
    mark_all_but(context, &context.asked).await
}

/// What of that is a difference, in words. What is not is told.
pub(super) async fn changed(
    context: &Context,
    warnings: &mut Vec<String>,
) -> Result<Option<String>, StepError> {
    if context.regular.is_none() {
        return Ok(None);
    }
    let inside = context.connect(Side::Target).await?;
    let wrote = look(context, &inside).await?;
    inside.close().await;
    Ok(wrote.or_told(context, warnings))
}

/// Compares it with that. `inside`: the target's database.
async fn look(context: &Context, inside: &Connection) -> Result<Wrote, StepError> {
    let Some(before) = context.regular.as_ref().filter(|_| context.is_closed) else {
        return Ok(Wrote::Nobody);
    };
    let now = written(context, inside, &context.asked).await?;
    let since = now.map_or(Since::Unknown, |now| before.compare_regular(&now));
    others::in_words(inside, since, BETWEEN).await
}

/// Before the first step of the delayed phase that writes: what is written from there on cannot be told from what it writes. A
/// difference is told at once, and fails the verification of the delayed tables.
pub(super) async fn look_before_the_first_write(
    context: &Context,
) -> Result<Vec<String>, StepError> {
    let Some(before) = context.restored.as_ref().filter(|_| context.is_closed) else {
        return Ok(Vec::new());
    };
    let inside = context.connect(Side::Target).await?;
    let application = &context.shared.application;
    let between = "its verification and its delayed phase";
    let wrote = others::wrote(&inside, application, before, between).await?;
    inside.close().await;
    record(context, wrote).await
}

/// As [`Context::ask_for_correction`]: from here on a person may change these tables, and those that refer to them.
pub(super) async fn ask_for_correction(
    context: &Context,
    tables: Vec<TableName>,
) -> Result<(), StepError> {
    // It is called from deep within the load: on a thread's stack its sessions would have no room.
    Box::pin(ask_and_mark(context, tables)).await
}

async fn ask_and_mark(context: &Context, tables: Vec<TableName>) -> Result<(), StepError> {
    let asked: BTreeSet<TableName> = context
        .asked
        .iter()
        .cloned()
        .chain(tables.clone())
        .collect();
    if context.regular.is_some() && context.is_closed && asked != context.asked {
        let inside = context.connect(Side::Target).await?;
        let wrote = look(context, &inside).await?;
        inside.close().await;
        let told = record(context, wrote).await?;
        context.notices.extend(told);
        context.ask_for_correction(tables).await?;
        return mark_all_but(context, &asked).await;
    }
    context.ask_for_correction(tables).await
}

/// Puts it on record where somebody wrote. Yields what to tell.
async fn record(context: &Context, wrote: Wrote) -> Result<Vec<String>, StepError> {
    let what = match wrote {
        Wrote::Nobody => return Ok(Vec::new()),
        Wrote::Perhaps(what) => what,
        Wrote::Somebody(what) => {
            if !context.is_difference_accepted() {
                others::record_difference(context, &[]).await?;
            }
            what
        }
    };
    let database = escape_control(context.database_name());
    Ok(vec![format!("database {database}: {what}")])
}

async fn mark_all_but(context: &Context, asked: &BTreeSet<TableName>) -> Result<(), StepError> {
    let inside = context.connect(Side::Target).await?;
    let written = written(context, &inside, asked).await?;
    inside.close().await;
    let Some(written) = written else {
        return Ok(());
    };
    context
        .record(Change::MarkRegular {
            database: context.database_name().to_owned(),
            written,
        })
        .await
}

async fn written(
    context: &Context,
    inside: &Connection,
    asked: &BTreeSet<TableName>,
) -> Result<Option<WriteMark>, StepError> {
    let mut tables = others::reached_from(inside, asked).await?;
    let delayed = context.delayed_tables();
    // Rows move between partitions that are loaded by way of their partitioned table.
    let roots = context.hashed_by_enum()?;
    tables.extend(delayed.iter().filter_map(|part| roots.get(part)).cloned());
    tables.extend(delayed);
    let application = &context.shared.application;
    Ok(written_to_others(inside, application, &tables).await?)
}
