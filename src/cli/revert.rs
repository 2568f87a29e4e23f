//! `pg-migrate revert`.

use super::arguments::RevertArguments;
use super::failure::Failure;
use super::prepare::load;
use crate::exit::Exit;
use crate::journal::{self, Journal, Lock, stored};
use crate::plan::Plan;
use crate::postgres::{escape_control_lines, resolve};
use crate::process::LocalEnvironment;
use crate::report::document;
use crate::run::{self, Signals};

/// Touches the settings alone: what was migrated stays, and the next `run` goes on.
pub async fn run(arguments: RevertArguments) -> Result<Exit, Failure> {
    let plan = load(&arguments.plan)?;
    // A signal does not leave half of it undone.
    let _signals = Signals::catch()?;
    // Looking does not make a state directory where there is none.
    let was_run = journal::read(&plan.state_dir)?.is_some();
    if was_run {
        let mut journal = Journal::open(&plan.state_dir, Lock::take(&plan.state_dir)?)?;
        if put_back(&plan, &mut journal).await? {
            return rewrite_report(&plan, &journal).map(|()| Exit::Completed);
        }
    }
    eprintln!(
        "{}: nothing to put back, this plan has changed no setting of the target that is still changed",
        plan.name
    );
    Ok(Exit::Completed)
}

/// Puts back what a run left that had no time to, and says so. `false`: there was nothing.
pub async fn put_back(plan: &Plan, journal: &mut Journal) -> Result<bool, Failure> {
    if journal.state().tuned.is_empty() {
        return Ok(false);
    }
    let target = resolve(&plan.target, &LocalEnvironment)
        .await
        .map_err(Failure::with(Exit::WrongInput))?
        .endpoint;
    eprintln!("{}: putting the settings of the {target} back", plan.name);
    let Some(outcome) = run::put_back(plan, &target, journal).await? else {
        return Ok(false);
    };
    for line in &outcome.done {
        eprintln!("  {}", escape_control_lines(line));
    }
    for warning in &outcome.warnings {
        tracing::warn!("{warning}");
        eprintln!("warning: {}", escape_control_lines(warning));
    }
    if outcome.done.is_empty() && outcome.warnings.is_empty() {
        eprintln!("  they are as they were before the load");
    }
    Ok(true)
}

/// A report on disk that says otherwise would mislead.
fn rewrite_report(plan: &Plan, journal: &Journal) -> Result<(), Failure> {
    let path = plan.state_dir.join("report.json");
    let stored = stored::read(&plan.state_dir)
        .map_err(|error| Failure::message(Exit::Unexpected, error, ""))?;
    let (true, Some(stored)) = (path.exists(), stored) else {
        return Ok(());
    };
    let report = document::build(
        &plan.name,
        &stored.databases,
        &stored.steps,
        journal.state(),
    );
    match report {
        Some(report) => document::write(&report, &path).map_err(|error| {
            Failure::message(
                Exit::Unexpected,
                error,
                "look at the free space of state.dir",
            )
        }),
        None => Ok(()),
    }
}
