//! `pg-migrate reset`.

use std::collections::{BTreeSet, HashMap};

use super::arguments::ResetArguments;
use super::failure::Failure;
use super::prepare::load;
use crate::escape::escape_control;
use crate::exit::Exit;
use crate::graph::{PerStep, Step, StepIndex};
use crate::journal::{Entry, Journal, Lock, stored};
use crate::names::{Kind, StepId};

pub fn run(arguments: ResetArguments) -> Result<Exit, Failure> {
    let plan = load(&arguments.plan)?;
    let mut journal = Journal::open(&plan.state_dir, Lock::take(&plan.state_dir)?)?;
    let stored = stored::read(&plan.state_dir)?;
    let Some(stored) = stored.filter(|_| !journal.state().runs.is_empty()) else {
        return Err(Failure::message(
            Exit::WrongInput,
            format!(
                "{}: nothing was run, so there is nothing to forget",
                plan.name
            ),
            "`pg-migrate run` comes first",
        ));
    };
    let chosen = |id: &StepId| {
        arguments
            .database
            .as_ref()
            .is_none_or(|database| id.is_about(database))
            && arguments.step.is_none_or(|kind| id.kind == kind)
    };
    let steps: Vec<StepId> = with_followers(&stored.steps, chosen)
        .into_iter()
        .filter(|id| journal.state().steps.contains_key(id))
        .collect();
    if steps.is_empty() {
        return Err(Failure::message(
            Exit::WrongInput,
            "no step on record matches --database and --step",
            "`pg-migrate status` lists the steps on record",
        ));
    }
    for step in &steps {
        eprintln!("to be done again: {}", escape_control(&step.to_string()));
    }
    journal.append(Entry::RunStarted {
        program: env!("CARGO_PKG_VERSION").to_owned(),
        fingerprint: stored.fingerprint,
        source: stored.basis.source.0,
        target: stored.basis.target.0,
        findings: Vec::new(),
    })?;
    journal.append(Entry::Forgotten {
        steps,
        reason: "pg-migrate reset".to_owned(),
    })?;
    Ok(Exit::Completed)
}

/// The chosen steps and all that need them. A restore that is done again needs its database made again, a
/// dump its counts under the same snapshot, and the other way round.
fn with_followers(steps: &PerStep<Step>, chosen: impl Fn(&StepId) -> bool) -> Vec<StepId> {
    let mut followers: PerStep<Vec<StepIndex>> = steps.iter().map(|_| Vec::new()).collect();
    let mut by_subject: HashMap<(Option<&str>, Kind), Vec<StepIndex>> = HashMap::new();
    for (index, step) in steps.iter_with_positions() {
        for need in &step.needs {
            // What was loaded stays loaded, whatever the target's settings and roles are.
            if !steps[*need].id.kind.is_server_level() {
                followers[*need].push(index);
            }
        }
        let database = step.id.database_name().map(|name| &**name);
        let of_kind = by_subject.entry((database, step.id.kind)).or_default();
        of_kind.push(index);
    }
    let mut waiting: Vec<StepIndex> = steps
        .positions()
        .filter(|index| chosen(&steps[*index].id))
        .collect();
    let mut picked: BTreeSet<StepIndex> = waiting.iter().copied().collect();
    while let Some(index) = waiting.pop() {
        let id = &steps[index].id;
        let database = id.database_name().map(|name| &**name);
        let drawn_in = id.kind.traits().forgotten_with.iter();
        let drawn_in = drawn_in.flat_map(|kind| by_subject.get(&(database, *kind)));
        for follower in drawn_in.flatten().chain(&followers[index]) {
            if picked.insert(*follower) {
                waiting.push(*follower);
            }
        }
    }
    picked
        .into_iter()
        .map(|index| steps[index].id.clone())
        .collect()
}
