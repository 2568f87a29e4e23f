//! `source-counts` and `target-counts`: the rows of every table.

use super::{Context, StepError};
use crate::event::{Progress, Unit};
use crate::inspect::{Rows, count_tables};
use crate::names::{Counts, Output, Product, TableName};
use crate::plan::{DelaySnapshot, Side, VerifyMode};
use crate::postgres::Pool;

/// Finds the rows of every table of the step's database, the source's under the shared snapshot. Where estimates will do,
/// unlogged tables are counted all the same, and delayed ones on the source: the delayed load is compared with that. On the target they have no
/// rows yet but those of clients.
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
        side == Side::Source && context.plan().delay.snapshot == DelaySnapshot::Same;
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
    let counts = Counts {
        tables,
        estimated: mode == VerifyMode::Fast,
        snapshot: context
            .snapshot
            .as_ref()
            .map(|snapshot| snapshot.id().to_owned()),
    };
    Ok(Product::Counts(counts).into())
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
