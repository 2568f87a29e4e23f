//! `restore`: pg_restore of one archive, its errors collected by object.

use std::path::Path;

use super::child::{capture, failure, invocation};
use super::error::printable;
use super::{Context, StepError, create};
use crate::event::{Progress, Unit};
use crate::failpoint::reach;
use crate::graph::archive;
use crate::names::{Output, Product, RestoreError, Restored};
use crate::plan::Side;
use crate::postgres::Class;
use crate::process::restore_log::{RestoreLog, RestoreReport, Toc, accepted};
use crate::process::{Invocation, Stdout};

/// A table of contents of a million objects stays below it.
const LARGEST_LISTING: usize = 512 << 20;

/// Restores the archive to its end. Then errors that the plan does not accept fail the step.
pub async fn run(context: &Context) -> Result<Output, StepError> {
    if context.is_retry {
        // What the failed attempt left would be there twice.
        create::run(context).await?;
    }
    let archive = archive(context.plan(), context.database_name());
    let toc = table_of_contents(context, &archive).await?;
    let items = toc.entry_count() as u64;
    let mut log = RestoreLog::new(toc, context.step().jobs);
    let mut done = 0;
    let child = invocation(context, Side::Target, &context.step().command);
    let finished = child
        .run(&context.shared.stop, |line| {
            log.push_line(line);
            if log.items_done() > done {
                done = log.items_done();
                reach!("{} item", context.step().id);
                context.report(Progress {
                    done,
                    total: Some(items),
                    unit: Unit::Items,
                });
            }
        })
        .await
        .map_err(|error| failure(context, error))?;
    if finished.interrupted {
        return Err(StepError::interrupted());
    }
    let report = log.finish();
    let ended_well = finished.status.success();
    let errors = restore_errors(context, &report);
    let unaccepted = errors.iter().filter(|error| !error.accepted).count();
    if report.fatal.is_empty()
        && unaccepted == 0
        && (ended_well || report.harmless > 0 || !errors.is_empty())
    {
        return Ok(output(&report, errors));
    }
    if report.fatal.is_empty() && unaccepted > 0 {
        return Err(refusal(context, &errors).with_output(output(&report, errors)));
    }
    let error = match finished.success() {
        Err(error) => failure(context, error),
        Ok(_) => StepError::new(report.fatal.join("\n")),
    };
    let error = if report.is_transient {
        error.class(Class::Retry)
    } else {
        error
    };
    Err(error.with_output(output(&report, errors)))
}

/// The archive's table of contents, which names the objects that errors are about.
pub(super) async fn table_of_contents(context: &Context, archive: &Path) -> Result<Toc, StepError> {
    let listing = Invocation::new("pg_restore")
        .arguments(["--list".as_ref(), archive.as_os_str()])
        .stdout(Stdout::Null)
        .log(context.log_file());
    let (finished, _) = capture(context, listing, LARGEST_LISTING).await?;
    let listing = finished.stdout;
    let roles = &context.shared.inspection.source.roles;
    Ok(Toc::parse(
        &String::from_utf8_lossy(&listing),
        roles.iter().map(|role| role.name.as_str()),
    ))
}

fn output(report: &RestoreReport, errors: Vec<RestoreError>) -> Output {
    Output {
        warnings: report.warnings.iter().map(|line| printable(line)).collect(),
        product: Product::Restore(Restored { errors }),
    }
}

fn restore_errors(context: &Context, report: &RestoreReport) -> Vec<RestoreError> {
    let database = context.database_name();
    let entries = report.errors.iter().map(|error| RestoreError {
        object: error.object.clone(),
        message: printable(&error.message),
        accepted: accepted(&context.plan().accept, database, &error.object),
    });
    entries.collect()
}

fn refusal(context: &Context, errors: &[RestoreError]) -> StepError {
    let database = context.shown_database();
    let refused: Vec<&RestoreError> = errors.iter().filter(|entry| !entry.accepted).collect();
    let shown: Vec<String> = refused
        .iter()
        .take(3)
        .map(|entry| {
            let first = entry.message.lines().next().unwrap_or_default();
            printable(&format!("  {}: {first}", entry.object))
        })
        .collect();
    let more = refused.len() - shown.len();
    let more = if more > 0 {
        format!("\n  and {more} more, see the report")
    } else {
        String::new()
    };
    StepError::new(format!(
        "database \"{database}\": errors of pg_restore that the plan does not accept: {}\n{}{more}",
        refused.len(),
        shown.join("\n")
    ))
    .help(
        "fix the cause on the source, or accept them in the plan ([[accept]] with database, object and reason), \
         and run again: the database is created and restored again",
    )
}
