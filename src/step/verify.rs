//! `verify`: the counts of both sides, compared, and the database opened as it is on the source.

use std::path::PathBuf;

use super::counts::mode_of_source;
use super::{Context, StepError, archive, create, others, regular, sequences};
use crate::failpoint::reach;
use crate::graph::{self};
use crate::inspect::written;
use crate::journal::Change;
use crate::names::{
    Compared, Kind, Output, Product, TableCount, TableName, list_of_tables, some_of,
};
use crate::plan::{Side, VerifyMode};
use crate::postgres::escape_control;
use crate::shell;
use crate::verify::{compare, large_objects};

/// Compares, and removes the archive of a database that is complete unless the plan keeps it.
pub(super) async fn run(context: &Context) -> Result<Output, StepError> {
    create::refuse_what_is_open(context).await?;
    refuse_estimates(context)?;
    // Delayed tables are empty yet, but for partitions in which rows of others are.
    let delayed = context.delayed_tables();
    let shared = context.delayed_in_part()?;
    let counts = |side| -> Result<Vec<TableCount>, StepError> {
        let is_counted = |table: &TableName| {
            !delayed.contains(table) || side == Side::Target && shared.contains(table)
        };
        let mut counts = context.counts(side)?.tables.clone();
        counts.retain(|count| is_counted(&count.table));
        Ok(counts)
    };
    let (source, target) = (counts(Side::Source)?, counts(Side::Target)?);
    let mut comparison = compare(
        &source,
        &target,
        mode_of_source(context)?,
        context.hashed_by_enum()?,
    );
    comparison.leave_out(&delayed);
    if let Product::Restore(restored) = &context.input(Kind::Restore)?.product {
        comparison.excuse_views(|view| restored.leaves_empty(view));
    }
    let large_objects = |side| Ok::<_, StepError>(context.counts(side)?.large_objects);
    comparison.tables.extend(large_objects::compare(
        large_objects(Side::Source)?,
        large_objects(Side::Target)?,
    ));
    if !delayed.is_empty() {
        comparison.postpone_views(&source);
    }
    let differing: Vec<TableName> = comparison
        .mismatches()
        .map(|result| result.table.clone())
        .collect();
    let tables = comparison.tables.len();
    let of_large_objects = large_objects::told(&comparison.tables).map(str::to_owned);
    let mut output = Output {
        warnings: comparison.warnings,
        product: Product::Comparison(Compared {
            tables: comparison.tables,
        }),
    };
    if differing.is_empty() {
        output = refuse_what_others_changed(context, output).await?;
        // What clients set of one in a database that was opened before is theirs.
        if context.verified.is_none() || context.is_closed {
            let moved = sequences::advance_unlogged(context).await;
            let moved = moved.map_err(|error| error.with_output(output.clone()))?;
            output.warnings.extend(moved);
        }
        mark_written(context).await?;
        regular::mark(context).await?;
        if !context.is_closed && context.let_in.is_none() {
            // It was opened before: what people set since stays.
            output.warnings.extend(context.refused.iter().cloned());
        } else if !context.shared.opens_late() {
            let (made, let_in) = (context.made(), context.let_in.as_ref());
            let refused = create::open(context, context.database()?, made, let_in, false).await?;
            output.warnings.extend(refused);
            reach!("{} opened", context.step().id);
        }
        let archive = graph::archive(context.plan(), context.database_name());
        output
            .warnings
            .extend(remove_archive(context, archive).await);
        return Ok(output);
    }
    // What clients write to a database that was opened before is theirs.
    if context.verified.is_none() || context.is_closed {
        others::record_difference(context, &differing).await?;
    }
    let database = context.shown_database();
    let error = StepError::new(format!(
        "database \"{database}\": {} of {} tables differ between source and target: {}{}",
        differing.len(),
        tables,
        escape_control(&some_of(&differing, 5)),
        of_large_objects
            .as_ref()
            .map(|told| format!("\n{told}"))
            .unwrap_or_default()
    ));
    let error = if of_large_objects.is_some() {
        error.help(large_objects::KEEP_AWAY)
    } else {
        error
    };
    Err(error
    .help(
        "do not use this database on the target yet; look for writes to it since the restore and for tables that could not be \
         restored, and fix the cause",
    )
    .help(what_next(context))
    .with_output(output))
}

/// What was verified with estimates is not dumped again for a plan that says now that rows are counted: clients may use it.
fn refuse_estimates(context: &Context) -> Result<(), StepError> {
    let is_estimated = mode_of_source(context)? == VerifyMode::Fast;
    if !is_estimated || context.plan().verify == VerifyMode::Fast {
        return Ok(());
    }
    let database = shell::quote(context.database_name());
    Err(StepError::new(format!(
        "database \"{}\": the plan says that its rows are counted, and there are only estimates of those that the source had when \
         it was dumped (verify.mode was \"fast\" then)",
        context.shown_database()
    ))
    .help(format!(
        "set verify.mode = \"fast\" again and run again; then, as long as nobody writes to either side, `pg-migrate verify PLAN` \
         with verify.mode = \"exact\" compares both; or have it moved again, if what is in it on the target is not needed: \
         `pg-migrate reset PLAN --database {database} --drop {database}`, and run again"
    )))
}

/// What another session did to the rows while the database was this plan's alone does not show in their number, nor does a
/// difference of an earlier verification that somebody's writes made up for since. It is a failure until the database is made
/// again, or the plan waives it.
async fn refuse_what_others_changed(
    context: &Context,
    mut output: Output,
) -> Result<Output, StepError> {
    // Clients may use one that was opened before.
    if context.verified.is_some() && !context.is_closed {
        return Ok(output);
    }
    // Rows that were in delayed tables too early are deleted by a person, as the run asked for.
    let seen = others::look(context, &others::asked(context).await?).await?;
    output.warnings.extend(seen.warnings);
    let differed: Vec<TableName> = context.differences.iter().flatten().cloned().collect();
    let before = context.differences.as_ref().map(|_| match &differed[..] {
        [] => "an earlier verification found that another session wrote to it on the target".to_owned(),
        tables => format!(
            "an earlier verification found differences in these tables, and what made up for them is no step of this plan: {}",
            escape_control(&list_of_tables(tables))
        ),
    });
    let Some(said) = seen.changed.or(before) else {
        return Ok(output);
    };
    let message = format!("database \"{}\": {said}", context.shown_database());
    if context.is_difference_accepted() {
        output.warnings.push(message);
        return Ok(output);
    }
    others::record_difference(context, &seen.tables).await?;
    if let Product::Comparison(compared) = &mut output.product {
        for result in &mut compared.tables {
            if seen.tables.contains(&result.table) {
                result.matches = false;
                result.note = Some(CHANGED.to_owned());
            } else if differed.contains(&result.table) {
                result.matches = false;
                result.note = Some(DIFFERED.to_owned());
            }
        }
    }
    Err(StepError::new(message)
        .help("find out who it was, and keep it from connecting")
        .help(what_next(context))
        .with_output(output))
}

/// Of a table.
pub(super) const CHANGED: &str = "changed by another session";

/// Of a table.
pub(super) const DIFFERED: &str =
    "differed in an earlier verification, and what made it agree is no step of this plan";

/// The two ways on from a difference.
fn what_next(context: &Context) -> String {
    let database = context.database_name();
    if context.verified.is_some() && context.is_closed {
        return make_again_or_waive(context);
    }
    if context.verified.is_some() {
        return "then run again: the target is counted again".to_owned();
    }
    format!(
        "to have the database made and restored again: `pg-migrate reset PLAN --database {} --step create`, and run again; where a \
         person corrected the rows and stands for them: a waiver for target/differed, with the database's name as its object, and run again: the \
         target is counted again",
        shell::quote(database)
    )
}

/// The two ways on from a difference in a database that was verified.
pub(super) fn make_again_or_waive(context: &Context) -> String {
    let waive = "; where a person corrected the rows and stands for them: a waiver for target/differed, with the database's name as its \
                 object, and run again";
    again_or(context, waive)
}

pub(super) fn make_again(context: &Context) -> String {
    again_or(context, "")
}

fn again_or(context: &Context, other: &str) -> String {
    format!(
        "to load them again, create the database again: pg-migrate reset PLAN --database {0} --drop {0}{other}{1}",
        shell::quote(context.database_name()),
        match context.is_closed {
            true => "; until then it stays closed to clients",
            false => "",
        }
    )
}

/// Puts on record how much was written to the database so far: what comes now is its clients'.
async fn mark_written(context: &Context) -> Result<(), StepError> {
    let connection = context.connect(Side::Target).await?;
    let written = written(&connection, &context.shared.application).await?;
    connection.close().await;
    context
        .record(Change::MarkWritten {
            database: context.database_name().to_owned(),
            written: Some(written),
            delayed: !context.delayed_tables().is_empty(),
        })
        .await
}

/// Removes an archive that nothing needs any more, unless the plan keeps archives. Where that fails, the data has arrived
/// all the same: what the user should know.
pub(super) async fn remove_archive(context: &Context, path: PathBuf) -> Option<String> {
    if context.plan().dump.keep {
        return None;
    }
    let removed = async {
        let owner = context.state_id()?.to_owned();
        tokio::task::spawn_blocking(move || archive::remove(&path, &owner))
            .await
            .map_err(StepError::fault)?
    };
    removed.await.err().map(|error| error.to_string())
}
