//! `source-counts` and `target-counts`: the rows of every table, and the large objects.

use super::{Context, StepError};
use crate::event::{Progress, Unit};
use crate::inspect::{Rows, count_large_objects, count_tables};
use crate::names::{Counts, Output, Product, TableCount, TableName};
use crate::plan::{DelaySnapshot, Side, VerifyMode};
use crate::postgres::{Pool, escape_control};

/// Finds the rows of every table of the step's database, the source's under the shared snapshot. Where estimates will do,
/// unlogged tables are counted all the same, and delayed ones: on the source the delayed load is compared with that, on the
/// target they have no rows yet.
pub(super) async fn run(context: &Context, side: Side) -> Result<Output, StepError> {
    let mut session = context.session(side);
    if let Some(snapshot) = &context.snapshot {
        session = session.under_snapshot(snapshot.id());
    }
    let queries = context.step().jobs as usize;
    let endpoint = context.endpoint(side);
    let pool = Pool::new(endpoint, context.database_name(), &session, queries)?;
    let on_count = |done, total| {
        context.report(Progress {
            done,
            total: Some(total),
            unit: Unit::Tables,
        });
    };
    let mode = match side {
        Side::Source => context.plan().verify,
        Side::Target => mode_of_source(context)?,
    };
    // Under a later snapshot the delayed dump counts them itself.
    let is_counted_here =
        side == Side::Target || context.plan().delay.snapshot == DelaySnapshot::Same;
    let delayed = context.delayed_tables();
    // Their rows are looked for again at the end of the run.
    let unlogged = context.unlogged_tables()?;
    let is_standby = context.is_standby(side);
    let how = |table: &TableName| {
        let is_unlogged = unlogged.contains(table);
        if is_standby && is_unlogged {
            return Some(Rows::Absent);
        }
        let is_delayed = is_counted_here && delayed.contains(table);
        Some(Rows::by(mode, is_delayed || is_unlogged))
    };
    let stop = &context.stop;
    let tables = count_tables(
        &pool,
        context.snapshot.as_deref().map(|snapshot| &**snapshot),
        side,
        queries,
        stop,
        how,
        on_count,
    )
    .await?;
    let large_objects = count_large_objects(&pool, stop, None).await?;
    if side == Side::Target {
        ensure_not_loaded(context, &tables).await?;
    }
    let counts = Counts {
        tables,
        estimated: mode == VerifyMode::Fast,
        snapshot: context
            .snapshot
            .as_ref()
            .map(|snapshot| snapshot.id().to_owned()),
        source_read_only: context.plan().source_read_only,
        large_objects: Some(large_objects.number),
        large_objects_before: (side == Side::Target).then_some(large_objects.next_transaction),
    };
    Ok(Product::Counts(counts).into())
}

/// Rows in a delayed table before clients may use the database would be there twice after the delayed load.
async fn ensure_not_loaded(context: &Context, tables: &[TableCount]) -> Result<(), StepError> {
    // Of a database that was verified or loaded before, they may be anybody's.
    if context.verified.is_some() || !context.loads.is_empty() {
        return Ok(());
    }
    let (delayed, shared) = (context.delayed_tables(), context.delayed_in_part()?);
    let (filled, names): (Vec<TableName>, Vec<String>) = tables
        .iter()
        .filter(|count| delayed.contains(&count.table) && !shared.contains(&count.table))
        .filter_map(|count| Some((count, count.rows.filter(|rows| *rows > 0)?)))
        .map(|(count, rows)| {
            let name = escape_control(&format!("{} ({rows})", count.table)).into_owned();
            (count.table.clone(), name)
        })
        .unzip();
    if filled.is_empty() {
        return Ok(());
    }
    context.ask_for_correction(filled).await?;
    Err(StepError::new(format!(
        "database \"{}\": there are rows in delayed tables before they are loaded: {}",
        context.shown_database(),
        names.join(", ")
    ))
    .help(
        "with those of the source they could be there twice; find out what wrote them on the target (a trigger, a rule, \
         another session), delete them there, and run again: the target is counted again",
    ))
}

/// How the source was counted. A plan that changed since does not change that, and estimates cannot stand beside
/// counted rows.
pub(super) fn mode_of_source(context: &Context) -> Result<VerifyMode, StepError> {
    Ok(if context.counts(Side::Source)?.estimated {
        VerifyMode::Fast
    } else {
        VerifyMode::Exact
    })
}
