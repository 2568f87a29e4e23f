//! `pg-migrate revert`.

use std::collections::BTreeMap;

use super::arguments::RevertArguments;
use super::failure::Failure;
use super::output::{Terminal, tell};
use super::prepare::{load, target};
use crate::exit::Exit;
use crate::finding::Code;
use crate::journal::{self, Journal, Lock, TunedSetting, stored};
use crate::plan::{Endpoint, FoundUnsafe, Plan};
use crate::postgres::escape_control_lines;
use crate::preflight::is_waived;
use crate::report::{closed, document};
use crate::run::{self, SettingsRestored, Signals};

/// Changes only settings: what was migrated stays, and the next `run` resumes.
pub(super) async fn run(arguments: RevertArguments, terminal: &Terminal) -> Result<Exit, Failure> {
    let plan = load(&arguments.plan)?;
    // A signal must not leave half of the settings changed: it ends the waiting for a target that is away.
    let mut signals = Signals::catch()?;
    // Reading must not create a state directory where there is none.
    let state = journal::read(&plan.state_dir)?;
    let was_run = state.is_some();
    let target = target(&plan).await?;
    let id = Lock::id_of(&plan.state_dir);
    let known = (&state.unwrap_or_default(), id.as_deref());
    let mut on_record = None;
    if was_run
        || !run::marked_settings(&plan, &target, known)
            .await?
            .is_empty()
    {
        let mut journal = Journal::open(&plan.state_dir, Lock::take(&plan.state_dir)?)?;
        let restored = restore_also_marked(&plan, &target, &mut journal, &mut signals).await?;
        on_record = journal.state().damage.clone();
        for sentence in closed::sentences(&closed::closed(journal.state())) {
            tell!("{sentence}");
        }
        if let Some(restored) = restored {
            if let Err(failure) = rewrite_report(&plan, &journal) {
                terminal.show(&failure);
            }
            let damage = restored.damage.or(on_record);
            refuse_damage(&plan, &target, Exit::StepFailed, damage).await?;
            return Ok(Exit::Completed);
        }
    }
    refuse_damage(&plan, &target, Exit::NotStarted, on_record).await?;
    let off = run::safeguards_off(&plan, &target).await?;
    if !off.is_empty() && plan.tuning.found_unsafe == FoundUnsafe::Refuse {
        return Err(Failure::message(
            Exit::NotStarted,
            format!(
                "nothing on record to restore, by the state directory and by the target's mark; but the target is unsafe: {} off",
                off.join(", ")
            ),
            "`pg-migrate check` says where that comes from and how to switch it on; where the server's owner wants it so, \
             target.tuning.found_unsafe = \"keep\"",
        ));
    }
    tell!(
        "{}: nothing to restore, no setting of the target is still as this plan changed it",
        plan.name
    );
    Ok(Exit::Completed)
}

/// A cluster that may be damaged is not done with once its settings are as before, until the plan says that it is sound. `known`: by the
/// state directory; otherwise the target's mark may say it.
async fn refuse_damage(
    plan: &Plan,
    target: &Endpoint,
    exit: Exit,
    known: Option<String>,
) -> Result<(), Failure> {
    let id = Lock::id_of(&plan.state_dir);
    let damage = match known {
        Some(damage) => Some(damage),
        // What is restored stays so.
        None => run::marked_damage(plan, target, id.as_deref())
            .await
            .unwrap_or_else(|error| {
                tell!(
                    "warning: whether the target may be damaged cannot be read in its mark: {}",
                    escape_control_lines(&error.to_string())
                );
                None
            }),
    };
    let today = jiff::Zoned::now().date();
    let is_sound = is_waived(Code::TargetCrashedUnsafe, &plan.waive, today);
    let Some(damage) = damage.filter(|_| !is_sound) else {
        return Ok(());
    };
    Err(Failure::message(
        exit,
        format!("no setting is left as the load had it, and the target may be damaged: {damage}"),
        "`pg-migrate explain target/crashed-unsafe` tells what to do; where the machine was shut down in order, a waiver for it goes on",
    ))
}

/// As [`restore_settings`], also what the target's mark alone knows of: the state directory was lost, or put back to an earlier
/// state.
pub(super) async fn restore_also_marked(
    plan: &Plan,
    target: &Endpoint,
    journal: &mut Journal,
    signals: &mut Signals,
) -> Result<Option<SettingsRestored>, Failure> {
    let marked = match journal.state().tuned.is_empty() {
        true => {
            let known = (journal.state(), Some(journal.id()));
            run::marked_settings(plan, target, known).await?
        }
        false => BTreeMap::new(),
    };
    restore((plan, target), journal, &marked, signals).await
}

/// Restores the settings that a killed run left changed, and says so. `None`: there were none.
pub(super) async fn restore_settings(
    plan: &Plan,
    journal: &mut Journal,
    signals: &mut Signals,
) -> Result<Option<SettingsRestored>, Failure> {
    // A run that has nothing to restore asks for no password here.
    if journal.state().tuned.is_empty() {
        return Ok(None);
    }
    let target = target(plan).await?;
    restore((plan, &target), journal, &BTreeMap::new(), signals).await
}

async fn restore(
    (plan, target): (&Plan, &Endpoint),
    journal: &mut Journal,
    marked: &BTreeMap<String, TunedSetting>,
    signals: &mut Signals,
) -> Result<Option<SettingsRestored>, Failure> {
    if journal.state().tuned.is_empty() && marked.is_empty() {
        return Ok(None);
    }
    tell!("{}: restoring the settings of the {target}", plan.name);
    let today = jiff::Zoned::now().date();
    let may_be_older = is_waived(Code::TargetWentBack, &plan.waive, today);
    let patience = plan.retry.restore_settings.as_secs();
    let mut told = String::new();
    let tell_once = |error: &str| {
        tracing::warn!("the target's settings are not restored yet: {error}");
        if told != error {
            error.clone_into(&mut told);
            tell!(
                "  not yet: {}; it is tried for {patience} s, SIGINT gives it up",
                escape_control_lines(error)
            );
        }
    };
    let restored = run::restore_settings(
        plan,
        target,
        journal,
        marked,
        may_be_older,
        signals,
        tell_once,
    )
    .await;
    let restored = restored.inspect_err(|error| {
        if !matches!(
            error,
            run::Error::GivenUp(_) | run::Error::RestoreFailed { .. }
        ) {
            tell!(
                "  the target still has its settings for the load, with which a crash may lose data"
            );
        }
    })?;
    let Some(outcome) = restored else {
        return Ok(None);
    };
    for line in &outcome.done {
        tell!("  {}", escape_control_lines(line));
    }
    for warning in &outcome.warnings {
        tracing::warn!("{warning}");
        tell!("warning: {}", escape_control_lines(warning));
    }
    if outcome.done.is_empty() && outcome.warnings.is_empty() {
        tell!("  they were already as before the load");
    }
    Ok(Some(outcome))
}

/// The report on disk would go on saying that the settings are changed.
fn rewrite_report(plan: &Plan, journal: &Journal) -> Result<(), Failure> {
    let path = document::path(&plan.state_dir);
    let stored = stored::read(&plan.state_dir)?;
    let (true, Some(stored)) = (path.exists(), stored) else {
        return Ok(());
    };
    let report = document::build(
        &plan.name,
        &stored.databases,
        &stored.steps,
        journal.state(),
    );
    if let Some(report) = report {
        document::write(&report, &path)?;
    }
    Ok(())
}
