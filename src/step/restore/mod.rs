//! `restore`: pg_restore of one archive, part by part, its errors collected by object.

mod grantors;
mod login;
mod parts;
mod placement;

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use super::archive::ensure_as_sealed;
use super::child::{capture, failure, invocation};
use super::error::printable;
use super::{Context, StepError, create, exhausted, made_tables, others, ours, sequences};
use crate::event::{Progress, Unit};
use crate::failpoint::reach;
use crate::graph::archive;
use crate::names::{Output, Product, RestoreError, Restored, VIEW_DATA};
use crate::plan::Side;
use crate::postgres::{Class, Exhausted, READ_ONLY};
use crate::process::restore_log::{RestoreLog, RestoreReport, Toc, accepted};
use crate::process::{Invocation, Stdout};
use crate::shell;
use parts::{LARGEST_LISTING, Part, Pass};

/// The exit status of a pg_restore that came to its end and ignored errors.
const ERRORS_IGNORED: i32 = 1;

/// Restores the archive to its end. Then errors that the plan does not accept fail the step.
pub(super) async fn run(context: &Context) -> Result<Output, StepError> {
    login::drop_what_is_left(context).await?;
    create::refuse_what_is_open(context).await?;
    if context.is_retry {
        // What the failed attempt left would be there twice.
        create::run(context).await?;
    }
    let archive = archive(context.plan(), context.database_name());
    let sealed = &context.regular_dump()?.dump.archive;
    ensure_as_sealed(context, &archive, sealed).await?;
    let toc = Arc::new(table_of_contents(context, &archive).await?);
    let parts = parts_of(context, &archive, &toc).await?;
    let jobs = context.step().jobs;
    let mut whole = match restore(context, &archive, &toc, &parts, jobs).await {
        // With several jobs it connects again when they are done, with the password that it had at its start. One job keeps
        // its connection.
        Err(error) if error.password_ran_out && jobs > 1 && !context.stop.is_cancelled() => {
            tracing::warn!(
                database = context.database_name(),
                %error,
                "a parallel pg_restore takes longer than the target's password lives: restoring again with one job"
            );
            create::run(context).await?;
            restore(context, &archive, &toc, &parts, 1).await?
        }
        restored => restored?,
    };
    if whole.is_torn && jobs > 1 && unaccepted(context, &whole) == 0 {
        // What could not be read may be an error that nobody accepted. One job alone tears nothing.
        let name = context.database_name();
        tracing::warn!(
            database = name,
            "messages of parallel pg_restore workers could not be read: restoring again with one job"
        );
        create::run(context).await?;
        whole = restore(context, &archive, &toc, &parts, 1).await?;
    }
    let mut output = judge(context, &whole)?;
    let moved = sequences::advance_restored(context).await;
    let moved = moved.map_err(|error| error.with_output(output.clone()))?;
    output.warnings.extend(moved);
    output.warnings.extend(grantors::told(context).await?);
    if let Product::Restore(restored) = &mut output.product {
        made_tables::record(context, restored).await?;
    }
    others::restored(context).await;
    Ok(output)
}

/// All parts, one after the other: what each reported, together. An error that belongs to no entry ends it.
async fn restore(
    context: &Context,
    archive: &Path,
    toc: &Arc<Toc>,
    parts: &[Pass],
    jobs: u32,
) -> Result<RestoreReport, StepError> {
    // With one job it would be a connection more than the step claims.
    let guard = match jobs {
        1 => None,
        _ => Some(ours::open(context, &context.session(Side::Target)).await?),
    };
    let is_ours = async || match &guard {
        Some(guard) => ours::verify(context, guard).await,
        None => ours::check(context).await,
    };
    let mut whole = RestoreReport::default();
    let mut before = 0;
    for pass in parts {
        let Pass { part, entries, .. } = pass;
        let jobs = part.jobs(jobs);
        is_ours().await?;
        if *part == Part::PostData {
            login::look_at_late(context, toc, entries)?;
        }
        let list = parts::write_list(archive, *part, entries)?;
        let role = grantors::role_of(context, toc, pass).await?;
        let command = parts::command(&context.step().command, &list, jobs, role);
        let login = match part {
            Part::Rows => login::make(context).await?,
            _ => None,
        };
        let child = match &login {
            Some(login) => login::invocation(context, login, &command),
            None => {
                let mut settings = part.settings(&context.shared.inspection.target);
                settings.extend(placement::settings(context));
                invocation(context, Side::Target, &command, &settings).await?
            }
        };
        let mut log = RestoreLog::new(Arc::clone(toc), jobs);
        let mut done = 0;
        let ran = child
            .run(&context.shared.stop, |line| {
                log.push_line(line);
                let now = log.items_done().min(entries.len() as u64);
                if now > done {
                    done = now;
                    reach!("{} item", context.step().id);
                    context.report(Progress {
                        done: before + done,
                        total: Some(toc.entry_count() as u64),
                        unit: Unit::Items,
                    });
                }
            })
            .await;
        let ended = match &login {
            Some(login) => login::end(context, login).await,
            None => Ok(()),
        };
        let finished = ran.map_err(|error| failure(context, error))?;
        if finished.interrupted {
            return Err(StepError::interrupted());
        }
        ended?;
        reach!("{} after {}", context.step().id, part.word());
        before += entries.len() as u64;
        let report = log.finish();
        // An end by a signal, or with another status, is no end after errors that were ignored.
        let came_to_its_end = finished.status.success() && report.ignored == 0
            || finished.status.code() == Some(ERRORS_IGNORED) && report.ignored > 0;
        let is_whole = report.fatal.is_empty() && came_to_its_end;
        let (is_torn, is_transient) = (report.is_torn, report.is_transient);
        add(&mut whole, report);
        if is_whole || (is_torn && came_to_its_end) {
            placement::place(context, *part, guard.as_ref()).await?;
            continue;
        }
        if !is_transient && let Some(error) = exhausted_in(context, &whole) {
            return Err(error);
        }
        let error = match finished.success() {
            Err(error) => {
                let is_refused = error.is_login_refused() && done > 0;
                let mut failed = failure(context, error);
                if is_refused && login.is_some() {
                    failed = failed.help(login::CHANGED_PASSWORD);
                }
                failed.password_ran_out = is_refused && failed.class == Class::Retry;
                failed
            }
            Ok(_) if !whole.fatal.is_empty() => StepError::new(whole.fatal.join("\n")),
            Ok(_) => StepError::fault("pg_restore ended well, and counted errors all the same"),
        };
        let error = if is_transient {
            error.class(Class::Retry)
        } else {
            error
        };
        let errors = restore_errors(context, &whole);
        return Err(error.with_output(output(context, &whole, errors)));
    }
    is_ours().await?;
    Ok(whole)
}

fn add(whole: &mut RestoreReport, part: RestoreReport) {
    whole.errors.extend(part.errors);
    whole.fatal.extend(part.fatal);
    whole.is_transient |= part.is_transient;
    whole.warnings.extend(part.warnings);
    whole.harmless += part.harmless;
    whole.ignored += part.ignored;
    whole.is_torn |= part.is_torn;
}

/// What became of a restore that came to its end.
fn judge(context: &Context, report: &RestoreReport) -> Result<Output, StepError> {
    if let Some(error) = exhausted_in(context, report) {
        return Err(error);
    }
    let errors = restore_errors(context, report);
    if errors.iter().any(|error| !error.accepted) {
        return Err(refusal(context, &errors).with_output(output(context, report, errors)));
    }
    if report.fatal.is_empty() {
        return Ok(output(context, report, errors));
    }
    let error = StepError::new(format!(
        "database \"{}\": {}",
        context.shown_database(),
        report.fatal.join("\n")
    ))
    .help(format!(
        "what they are about may be missing on the target; all messages are in {}: find those that are not in the \
         report, fix their cause, and run again (where it is on the source, after `pg-migrate reset PLAN --database {} \
         --step dump`)",
        context.log_file().display(),
        shell::quote(context.database_name())
    ));
    Err(error.with_output(output(context, report, errors)))
}

/// An entry for which the target had no room, whatever the plan accepts. Other errors may follow from it.
fn exhausted_in(context: &Context, report: &RestoreReport) -> Option<StepError> {
    report.errors.iter().find_map(|error| {
        let exhausted = Exhausted::from_message(&error.message)?;
        Some(exhausted::of_restore(
            context,
            exhausted,
            &error.object,
            &error.message,
        ))
    })
}

fn unaccepted(context: &Context, report: &RestoreReport) -> usize {
    let errors = restore_errors(context, report);
    errors.iter().filter(|error| !error.accepted).count()
}

/// The archive's table of contents, which names the objects that errors are about.
async fn table_of_contents(context: &Context, archive: &Path) -> Result<Toc, StepError> {
    let listing = list(context, archive, None).await?;
    let roles = &context.shared.inspection.source.roles;
    Ok(Toc::parse(
        &listing,
        roles.iter().map(|role| role.name.as_str()),
    ))
}

/// What is restored one after the other.
async fn parts_of(context: &Context, archive: &Path, toc: &Toc) -> Result<Vec<Pass>, StepError> {
    let all = Toc::ids(&list(context, archive, None).await?);
    let section = async |name| -> Result<HashSet<u32>, StepError> {
        let listing = list(context, archive, Some(name)).await?;
        Ok(Toc::ids(&listing).into_iter().collect())
    };
    let (pre_data, data) = (section("pre-data").await?, section("data").await?);
    let by_login = login::takes(context);
    let passes = parts::split(toc, &all, &pre_data, &data, by_login);
    grantors::split(context, archive, toc, passes).await
}

/// The entries of an archive, or of one of its sections, as pg_restore lists them.
pub(super) async fn list(
    context: &Context,
    archive: &Path,
    section: Option<&str>,
) -> Result<String, StepError> {
    let section = section.map(|name| format!("--section={name}"));
    let listing = Invocation::new("pg_restore")
        .arguments(["--list"])
        .arguments(section)
        .arguments([archive.as_os_str()])
        .stdout(Stdout::Null)
        .log(context.log_file());
    let (finished, warnings) = capture(context, listing, LARGEST_LISTING).await?;
    context.notices.extend(warnings);
    Ok(String::from_utf8_lossy(&finished.stdout).into_owned())
}

fn output(context: &Context, report: &RestoreReport, errors: Vec<RestoreError>) -> Output {
    let mut warnings: Vec<String> = report.warnings.iter().map(|line| printable(line)).collect();
    let postponed = errors.iter().filter(|error| is_postponed(context, error));
    warnings.extend(postponed.map(|error| {
        format!(
            "{}: cannot be filled while the delayed tables are empty, and is filled after their load: {}",
            printable(&error.object),
            error.message.lines().next().unwrap_or_default()
        )
    }));
    Output {
        warnings,
        product: Product::Restore(Restored {
            errors,
            ..Restored::default()
        }),
    }
}

fn restore_errors(context: &Context, report: &RestoreReport) -> Vec<RestoreError> {
    let database = context.database_name();
    let entries = report.errors.iter().map(|error| {
        let mut error = RestoreError {
            object: error.object.clone(),
            message: printable(&error.message),
            accepted: accepted(&context.plan().accept, database, &error.object),
        };
        error.accepted |= is_postponed(context, &error);
        error
    });
    entries.collect()
}

/// A materialized view may read a delayed table, in a function as well: it is filled once their rows are there.
fn is_postponed(context: &Context, error: &RestoreError) -> bool {
    error.object.starts_with(VIEW_DATA) && !context.delayed_tables().is_empty()
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
    let error = StepError::new(format!(
        "database \"{database}\": errors of pg_restore that the plan does not accept: {}\n{}{more}",
        refused.len(),
        shown.join("\n")
    ));
    let mut messages = refused.iter().map(|entry| &entry.message);
    if messages.any(|message| message.contains("in a read-only transaction")) {
        return error.help(READ_ONLY);
    }
    let mut messages = refused.iter().map(|entry| &entry.message);
    let error = match messages.any(|message| message.contains("permission denied")) {
        true if login::is_wanted(context) => error.help(login::ASKS_FOR_MORE),
        _ => error,
    };
    error.help(format!(
        "fix the cause on the target, or accept them in the plan ([[accept]] with database, object and reason), and run \
         again: the database is created again and restored from the same archive\n\
         where the cause is on the source, fix it there, and let it be dumped again: `pg-migrate reset PLAN --database {} \
         --step dump`, then run again",
        shell::quote(context.database_name())
    ))
}
