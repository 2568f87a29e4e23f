//! The delayed phase: the data of huge tables, loaded without the cost of their secondary indexes, while
//! clients may write to the target already.

mod columns;
mod copy;
mod early;
mod fit;
mod indexes;
mod keys;
mod large_objects;
mod load;
mod loaded;
mod newer;
mod numbered;
mod order;
mod owners;
mod proof;
mod references;
mod unchanged;
mod uniqueness;
mod verify;
mod views;
mod waiting;
mod writers;

pub(super) use indexes::{drop_indexes, recreate_indexes};
pub(super) use load::load;
pub(super) use verify::verify;

use std::collections::BTreeSet;

use tokio_util::sync::CancellationToken;

use super::{Context, StepError, dump};
use crate::graph::{Resource, delayed_archive};
use crate::inspect::{Rows, count_large_objects, count_tables};
use crate::names::{
    DelayedDump, Dumped, Output, Product, SequenceValue, TableColumns, TableCount, TableName,
};
use crate::plan::{DelaySnapshot, Side};
use crate::postgres::{Pool, Session, Snapshot};

/// `delayed-dump`: the delayed tables' data. Under a later snapshot their rows are counted as well, since the
/// regular counts saw another one.
pub(super) async fn dump(context: &Context) -> Result<Output, StepError> {
    let archive = delayed_archive(context.plan(), context.database_name());
    let snapshot = context
        .snapshot
        .as_ref()
        .ok_or_else(|| StepError::fault("a delayed dump has a snapshot"))?;
    ensure_same_database(context, snapshot)?;
    let history = history(context)?;
    if context.plan().delay.snapshot == DelaySnapshot::Same {
        if let Some(difference) = &history {
            return Err(other_history(context, difference));
        }
        let said = same_rows(context, snapshot).await?;
        let columns = columns::of_source(context, snapshot).await?;
        let dump = dump::into(context, &archive).await?;
        let counts = (Vec::new(), None);
        return Ok(output(dump, counts, Vec::new(), columns, said));
    }
    let columns = columns::of_source(context, snapshot).await?;
    let warning = match &history {
        // Transaction ids of two histories tell nothing.
        Some(difference) => Some(format!(
            "the source is not as it was when the other tables were dumped ({difference}): the delayed tables are of another \
             history, which may lack rows that those have; `pg-migrate verify` compares both servers"
        )),
        None => unchanged::warn_of_altered(context, snapshot).await?,
    };
    let session = context.session(Side::Source).under_snapshot(snapshot.id());
    let none = BTreeSet::new();
    let counting = count(context, Side::Source, &session, &none, &context.stop);
    let counting_objects = async {
        let pool = Pool::new(
            context.endpoint(Side::Source),
            context.database_name(),
            &session,
            1,
        )?;
        Ok(count_large_objects(&pool, &context.stop, None)
            .await?
            .number)
    };
    let (dump, (counts, large_objects, newer)) =
        tokio::try_join!(dump::into(context, &archive), async {
            // One after the other: what the step claims of connections is meant for either.
            let counts = counting.await?;
            let large_objects: Result<u64, StepError> = counting_objects.await;
            let newer = newer::count(context, &session, snapshot).await?;
            Ok((counts, large_objects?, newer))
        })?;
    let sequences = snapshot.sequences().to_vec();
    let warnings = warning.into_iter().chain(newer::warning(&newer));
    let counts = (counts, Some(large_objects));
    let mut output = output(dump, counts, sequences, columns, None);
    output.warnings.extend(warnings);
    if let Product::DelayedDump(dump) = &mut output.product {
        dump.newer = newer;
    }
    Ok(output)
}

fn output(
    (dump, mut warnings): (Dumped, Vec<String>),
    (counts, large_objects): (Vec<TableCount>, Option<u64>),
    sequences: Vec<SequenceValue>,
    columns: Vec<TableColumns>,
    warning: Option<String>,
) -> Output {
    warnings.extend(warning);
    Output {
        warnings,
        product: Product::DelayedDump(DelayedDump {
            dump,
            counts,
            large_objects,
            sequences: Some(sequences),
            columns,
            newer: Vec::new(),
        }),
    }
}

/// Two databases may have exchanged their names since the regular dump.
fn ensure_same_database(context: &Context, now: &Snapshot) -> Result<(), StepError> {
    let dumped = context.regular_dump()?.dump.database;
    if dumped.is_none_or(|dumped| dumped == now.database()) {
        return Ok(());
    }
    Err(StepError::new(format!(
        "the source's database \"{}\" is not the one whose other tables were dumped: that was dropped or renamed since, and \
         another has its name; nothing of it was dumped",
        context.shown_database()
    ))
    .help(
        "give the databases their names back on the source (ALTER DATABASE … RENAME TO …) and run again; or give up what is on \
         the target: pg-migrate reset PLAN --database NAME --drop NAME",
    ))
}

/// What shows that the source is not the server that the other tables were dumped from, or has not all that it had then.
fn history(context: &Context) -> Result<Option<String>, StepError> {
    let dumped = context.regular_dump()?.dump.source;
    let now = context.endpoint(Side::Source).watch.latest();
    let (Some(dumped), Some(now)) = (dumped, now) else {
        return Ok(None);
    };
    Ok((!dumped.is_continued_by(&now)).then(|| dumped.difference(&now)))
}

fn other_history(context: &Context, difference: &str) -> StepError {
    StepError::new(format!(
        "database \"{}\": the source failed over, or is in an older state, since its other tables were dumped \
         ({difference}), so that nothing proves that its delayed tables are what the snapshot of that dump showed",
        context.shown_database()
    ))
    .help(
        "give the database up, if what clients wrote to it on the target is not needed: pg-migrate reset PLAN --database NAME \
         --drop NAME, and run again; or, where the standby had all that was committed, set delay.snapshot = \"later\" to take \
         the delayed tables as they are now",
    )
}

/// The regular dump's snapshot may have died with its run, or with its connection: then what is dumped now has to
/// be what that showed. Returns what the report should say about it.
async fn same_rows(context: &Context, now: &Snapshot) -> Result<Option<String>, StepError> {
    let dump = &context.regular_dump()?.dump;
    // A server that was restarted may give the same id again, but not before a transaction that wrote.
    let is_the_same =
        dump.snapshot == now.id() && dump.oldest_transaction == Some(now.oldest_transaction());
    let is_read_only = context.plan().source_read_only
        && dump.source_read_only
        && context.counts(Side::Source)?.source_read_only;
    if is_the_same || is_read_only {
        return Ok(None);
    }
    let database = context.shown_database();
    match unchanged::look(context, now).await? {
        Ok(()) => Ok(Some(format!(
            "the delayed tables were dumped under snapshot {}, because snapshot {} was lost: none of their rows and columns \
             was added, changed or dropped in between",
            now.id(),
            dump.snapshot
        ))),
        Err(why) => Err(StepError::new(format!(
            "database \"{database}\": the snapshot that its delayed tables share with the regular dump is lost, \
             and they are not what it showed:\n{why}"
        ))
        .help(
            "clients may write to the database on the target already, so it is not created again; set delay.snapshot = \
             \"later\" to take the delayed tables as they are now, or give the database up: pg-migrate reset \
             PLAN --database NAME --drop NAME",
        )),
    }
}

/// Exact rows of the delayed tables on one server, and of these views, whatever the plan's mode is for the others.
async fn count(
    context: &Context,
    side: Side,
    session: &Session,
    views: &BTreeSet<TableName>,
    stop: &CancellationToken,
) -> Result<Vec<TableCount>, StepError> {
    let delayed = context.delayed_tables();
    let queries = context.step().claims.get(Resource::VerifyQueries).max(1) as usize;
    let endpoint = context.endpoint(side);
    let pool = Pool::new(endpoint, context.database_name(), session, queries)?;
    let unlogged = context.unlogged_tables()?;
    let is_standby = context.is_standby(side);
    let how = |table: &TableName| {
        let rows = if is_standby && unlogged.contains(table) {
            Rows::Absent
        } else {
            Rows::Counted
        };
        (delayed.contains(table) || views.contains(table)).then_some(rows)
    };
    let snapshot = context.snapshot.as_deref().map(|snapshot| &**snapshot);
    let counts = count_tables(&pool, snapshot, side, queries, stop, how, |_, _| {}).await?;
    Ok(counts)
}
