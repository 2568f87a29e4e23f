//! `pg-migrate reset`.

use std::collections::BTreeSet;

use super::arguments::ResetArguments;
use super::failure::Failure;
use super::prepare::load;
use crate::escape::escape_control;
use crate::exit::Exit;
use crate::graph::{Kind, Step, StepId};
use crate::journal::{Entry, Journal, Lock, stored};

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
            .is_none_or(|database| id.database.as_deref() == Some(database))
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
fn with_followers(steps: &[Step], chosen: impl Fn(&StepId) -> bool) -> Vec<StepId> {
    let mut picked: BTreeSet<usize> = (0..steps.len())
        .filter(|index| chosen(&steps[*index].id))
        .collect();
    loop {
        let before = picked.len();
        for (index, step) in steps.iter().enumerate() {
            let follows = step
                .needs
                .iter()
                // What was loaded stays loaded, whatever the target's settings are.
                .any(|need| {
                    let need = *need as usize;
                    picked.contains(&need) && steps[need].id.kind != Kind::TuneTarget
                });
            let together = |kind| {
                let Some(database) = &step.id.database else {
                    return false;
                };
                let id = StepId::of(database, kind);
                picked.iter().any(|index| steps[*index].id == id)
            };
            let drawn_in = match step.id.kind {
                Kind::Create => together(Kind::Restore),
                Kind::Dump => together(Kind::SourceCounts),
                Kind::SourceCounts => together(Kind::Dump),
                _ => false,
            };
            if follows || drawn_in {
                picked.insert(index);
            }
        }
        if picked.len() == before {
            return picked
                .into_iter()
                .map(|index| steps[index].id.clone())
                .collect();
        }
    }
}
