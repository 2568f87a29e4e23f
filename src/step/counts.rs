//! `source-counts` and `target-counts`: the rows of every table.

use super::{Context, StepError};
use crate::event::{Progress, Unit};
use crate::graph::Output;
use crate::inspect::count_tables;
use crate::plan::Side;
use crate::postgres::Pool;

/// Counts the rows of every table of the step's database, the source's under the shared snapshot.
pub async fn run(context: &Context, side: Side) -> Result<Output, StepError> {
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
    let mode = context.plan().verify;
    let stop = &context.shared.stop;
    let counts = count_tables(&pool, queries, mode, stop, |_, _| true, on_count).await;
    Ok(Output {
        counts: counts?,
        counted: Some(mode),
        snapshot: context
            .snapshot
            .as_ref()
            .map(|snapshot| snapshot.id().to_owned()),
        ..Output::default()
    })
}
