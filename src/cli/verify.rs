//! `pg-migrate verify`.

use std::collections::{BTreeMap, BTreeSet};

use tokio_util::sync::CancellationToken;

use super::arguments::VerifyArguments;
use super::failure::Failure;
use super::output::{Terminal, offer};
use super::prepare::{Prepared, describe, load, prepare};
use crate::escape::escape_control;
use crate::exit::Exit;
use crate::finding::{Code, Finding, Severity};
use crate::graph::DatabaseSummary;
use crate::inspect::{Rows, count_large_objects, count_tables};
use crate::journal::{self, State, Status};
use crate::names::{Kind, RestoreError, StepId, TableCount, TableName};
use crate::plan::{Side, VerifyMode};
use crate::postgres::{Application, Pool, Session};
use crate::preflight::is_waived;
use crate::process::restore_log::accepted;
use crate::report::{closed, comparison, counted};
use crate::run::missing;
use crate::verify::{Comparison, compare, large_objects};

/// Counts both sides now, each under a snapshot of its own, and compares. What clients wrote since the
/// migration shows as a difference, and so does what the last restore could not restore.
pub(super) async fn run(arguments: VerifyArguments, terminal: &Terminal) -> Result<Exit, Failure> {
    let plan = load(&arguments.plan)?;
    let state = journal::read(&plan.state_dir)?.unwrap_or_default();
    let prepared = prepare(plan, &state).await?;
    let believed = prepared.doubts.believed(&state);
    for finding in prepared.graph.findings.iter().filter(|one| is_unsafe(one)) {
        offer(&format!("{}\n\n", describe(finding)));
    }
    for sentence in closed::sentences(&closed::closed(&state)) {
        offer(&format!("{sentence}\n\n"));
    }
    let mut differing = 0;
    let missing = missing(
        prepared.graph.database_names(),
        &state,
        &prepared.inspection.target,
    );
    for database in &prepared.graph.databases {
        let mut comparison = compare_now(&prepared, database).await?;
        let gone = missing.iter().find(|one| one.database == database.name);
        let gone_warning = gone.map(|gone| {
            let what = gone.what(|name| escape_control(name).into_owned());
            what.to_string()
        });
        let behind = behind(&prepared, &database.name);
        let unfinished = unfinished(&prepared, &believed, &database.name);
        let mut steps = state.steps.keys();
        let is_begun = steps.any(|step| step.is_about(&database.name));
        if let Some(comparison) = &mut comparison {
            comparison.warnings.extend(unfinished.clone());
            comparison.warnings.extend(gone_warning);
            comparison.warnings.extend(behind.clone());
        }
        let errors = restore_errors(&prepared, &state, &database.name);
        offer(&comparison::render(
            &database.name,
            comparison.as_ref(),
            &errors,
            terminal.columns(),
        ));
        // What could not be restored is missing, which no count of rows shows, and so is what a run that did not come to its
        // end left undone. Another database of its name is not what was verified, whatever it holds.
        let matches = gone.is_none()
            && !(is_begun && unfinished.is_some())
            && behind.is_none()
            && errors.is_empty()
            && comparison.is_some_and(|found| found.mismatches().next().is_none());
        differing += usize::from(!matches);
    }
    for (name, why) in left_out(&prepared) {
        differing += 1;
        offer(&comparison::render_left_out(
            &name,
            &why,
            terminal.columns(),
        ));
    }
    offer(&format!(
        "{}: {} compared, {}\n",
        escape_control(&prepared.graph.name),
        counted(prepared.graph.databases.len(), "database"),
        comparison::differ(differing),
    ));
    offer(&comparison::scope(
        prepared.plan.verify == VerifyMode::Fast,
        terminal.columns(),
    ));
    Ok(if differing > 0 {
        Exit::Mismatched
    } else {
        Exit::Completed
    })
}

/// Databases that the plan names one by one, or began, and that are not compared, each with the reason. What the plan waives is
/// none.
fn left_out(prepared: &Prepared) -> BTreeMap<String, String> {
    let named: BTreeSet<String> = prepared.plan.databases.named().into_iter().collect();
    let is_left_out = |code| {
        matches!(
            code,
            Code::SourceDatabaseClosed
                | Code::SourceDatabaseInvalid
                | Code::SourceDatabaseTemplate
                | Code::TargetUnfinished
        )
    };
    let findings = prepared.graph.findings.iter();
    let found =
        findings.filter(|finding| is_left_out(finding.code) && finding.severity != Severity::Info);
    let mut left_out: BTreeMap<String, String> = found
        .filter_map(|finding| {
            let name = finding.database.clone()?;
            let is_expected = finding.severity == Severity::Block || named.contains(&name);
            is_expected.then(|| (name, finding.message.clone()))
        })
        .collect();
    let today = jiff::Zoned::now().date();
    if !is_waived(Code::PlanIncludeMatchesNothing, &prepared.plan.waive, today) {
        let source = &prepared.inspection.source;
        let absent = named
            .into_iter()
            .filter(|name| source.database(name).is_none());
        let why = "the source has no such database, and databases.include names it";
        left_out.extend(absent.map(|name| (name, why.to_owned())));
    }
    left_out
}

/// What a person has to know of the target beside what is in it.
fn is_unsafe(finding: &Finding) -> bool {
    let code = matches!(
        finding.code,
        Code::TargetStillTuned
            | Code::TargetLeftUnsafe
            | Code::TargetCrashedUnsafe
            | Code::TargetPromoted
            | Code::TargetPromotedBehind
            | Code::TargetWentBack
            | Code::SourcePromoted
            | Code::SourceStale
            | Code::SourceWentBack
    );
    code && finding.severity != Severity::Info
}

/// What the database's last restore could not restore, and the plan does not accept now.
fn restore_errors(prepared: &Prepared, state: &State, database: &str) -> Vec<RestoreError> {
    let restore = StepId::database(&database.into(), Kind::Restore);
    let errors = state.steps.get(&restore).into_iter();
    errors
        .flat_map(|step| step.output.restore_errors())
        .filter(|error| !accepted(&prepared.plan.accept, database, &error.object))
        .cloned()
        .collect()
}

/// A warning where the target was promoted and has not all that was done in the database: no count shows it.
fn behind(prepared: &Prepared, database: &str) -> Option<String> {
    let mut findings = prepared.graph.findings.iter();
    let is_about = |one: &&Finding| {
        one.code == Code::TargetPromotedBehind && one.database.as_deref() == Some(database)
    };
    let found = findings.find(is_about);
    let found = found.filter(|one| one.severity != Severity::Info)?;
    Some(found.message.clone())
}

/// A warning where the database's migration did not come to its end.
fn unfinished(prepared: &Prepared, state: &State, database: &str) -> Option<String> {
    let mut steps = prepared.graph.steps.iter().map(|step| &step.id);
    let open = steps.find(|id| id.is_about(database) && !state.is_done(id))?;
    let what = match state.steps.get(open).map(|step| step.status) {
        Some(Status::Failed) => "failed",
        _ => "is not done",
    };
    Some(format!(
        "its migration is not complete ({} {what}), so more may be missing",
        escape_control(&open.to_string())
    ))
}

/// Counts a database on both sides; `None`: the target has none of this name.
async fn compare_now(
    prepared: &Prepared,
    database: &DatabaseSummary,
) -> Result<Option<Comparison>, Failure> {
    let target = &prepared.inspection.target;
    if target.database(&database.name).is_none() {
        return Ok(None);
    }
    let (source, source_objects) = count(prepared, Side::Source, database).await?;
    let (target, target_objects) = count(prepared, Side::Target, database).await?;
    let mut comparison = compare_all(prepared, database, source, target);
    let of_objects = large_objects::compare(Some(source_objects), Some(target_objects));
    comparison.tables.extend(of_objects);
    Ok(Some(comparison))
}

fn is_delayed(database: &DatabaseSummary, table: &TableName) -> bool {
    database.delayed.binary_search(table).is_ok()
}

/// A delayed table was counted on both sides, whatever the plan's mode is.
fn compare_all(
    prepared: &Prepared,
    database: &DatabaseSummary,
    source: Vec<TableCount>,
    target: Vec<TableCount>,
) -> Comparison {
    let split = |counts: Vec<TableCount>| -> (Vec<TableCount>, Vec<TableCount>) {
        counts
            .into_iter()
            .partition(|count| is_delayed(database, &count.table))
    };
    let ((source_delayed, source), (target_delayed, target)) = (split(source), split(target));
    let of_source = prepared.inspection.source.database(&database.name);
    let contents = of_source.and_then(|database| database.contents.as_ref());
    let moving = contents.map(|contents| contents.hashed_by_enum.clone());
    let moving = moving.unwrap_or_default();
    let mut comparison = compare(&source, &target, prepared.plan.verify, &moving);
    let delayed = compare(&source_delayed, &target_delayed, VerifyMode::Exact, &moving);
    comparison.tables.extend(delayed.tables);
    comparison.warnings.extend(delayed.warnings);
    comparison
}

/// The rows of its tables on one side, and how many large objects it has.
async fn count(
    prepared: &Prepared,
    side: Side,
    database: &DatabaseSummary,
) -> Result<(Vec<TableCount>, u64), Failure> {
    let (endpoint, budget) = match side {
        Side::Source => (&prepared.source, prepared.graph.source.budget),
        Side::Target => (&prepared.target, prepared.graph.target.budget),
    };
    let queries = prepared
        .plan
        .parallelism
        .verify_concurrency
        .min(budget)
        .max(1) as usize;
    let application = Application::new(&prepared.plan.name);
    let session =
        Session::new(&application.application_name_for(&format!("{}/verify", database.name)))
            .lock_timeout(prepared.plan.source_lock_timeout);
    let pool = Pool::new(endpoint, &database.name, &session, queries)
        .map_err(Failure::with(Exit::NotStarted))?;
    let stop = CancellationToken::new();
    let how = |table: &TableName| {
        let is_delayed = is_delayed(database, table);
        Some(Rows::by(prepared.plan.verify, is_delayed))
    };
    let counts = count_tables(&pool, None, side, queries, &stop, how, |_, _| {}).await;
    let counts = counts.map_err(Failure::with(Exit::NotStarted))?;
    let large_objects = count_large_objects(&pool, &stop, None).await;
    Ok((
        counts,
        large_objects
            .map_err(Failure::with(Exit::NotStarted))?
            .number,
    ))
}
