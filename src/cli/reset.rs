//! `pg-migrate reset`.

use std::collections::{BTreeSet, HashMap};

use super::arguments::ResetArguments;
use super::failure::Failure;
use super::output::tell;
use super::prepare::load;
use crate::escape::escape_control;
use crate::exit::Exit;
use crate::graph::{PerStep, Step, StepIndex};
use crate::journal::{Created, Entry, Journal, Lock, Outcome, RESET, State, stored};
use crate::names::{Kind, StepId};

pub(super) fn run(arguments: ResetArguments) -> Result<Exit, Failure> {
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
    let state = journal.state();
    let steps: Vec<StepId> = with_followers(&stored.steps, chosen)
        .into_iter()
        .filter(|id| state.steps.contains_key(id))
        .collect();
    if steps.is_empty() {
        return Err(Failure::message(
            Exit::WrongInput,
            "no step on record matches --database and --step",
            "`pg-migrate status` lists the steps on record",
        ));
    }
    if !state.tuned.is_empty() {
        let names: Vec<&str> = state.tuned.keys().map(String::as_str).collect();
        tell!(
            "the target still has its settings for the load, with which a crash may lose data ({}): `pg-migrate revert` restores \
             them, and so does the next run before anything else",
            names.join(", ")
        );
    }
    let dropped = dropped(&steps, state);
    refuse_unnamed(&dropped, state, &arguments.drop)?;
    for step in &steps {
        tell!("to be done again: {}", escape_control(&step.to_string()));
    }
    for database in &dropped {
        if let Some(why) = kept(state, database) {
            tell!(
                "the next run does not drop the database \"{}\": {why}; if what is in it is not needed, DROP DATABASE on the \
                 target before the next run, which creates it",
                escape_control(database)
            );
            continue;
        }
        tell!(
            "the next run drops and recreates the database \"{}\"{}",
            escape_control(database),
            match state.verified.contains_key(database) {
                true => ", unless it was written to since it was verified",
                false => "",
            }
        );
    }
    journal.append(Entry::RunStarted {
        program: env!("CARGO_PKG_VERSION").to_owned(),
        fingerprint: stored.fingerprint,
        source: stored.basis.source.0,
        target: stored.basis.target.0,
        findings: Vec::new(),
        databases: None,
    })?;
    journal.append(Entry::Forgotten {
        steps,
        reason: RESET.to_owned(),
        drop: arguments.drop,
    })?;
    journal.append(Entry::RunEnded {
        outcome: Outcome::Interrupted,
        exit_code: Exit::Completed.code(),
    })?;
    Ok(Exit::Completed)
}

/// Why the next run will refuse to drop a database, as far as the record tells.
fn kept(state: &State, database: &str) -> Option<&'static str> {
    let own = state.found.get(database).and_then(Option::as_ref);
    match (state.created.get(database), state.verified.get(database)) {
        (Some(Created::Found(_)), _) if own.is_none_or(|own| !own.is_empty()) => Some(
            "it was there before this plan filled it, and not everything that it had can be made again",
        ),
        (_, Some(None)) => Some(
            "what clients wrote to it since it was verified cannot be told from what this plan wrote",
        ),
        _ => None,
    }
}

/// The databases that this plan created and that the next run drops once these steps are forgotten.
fn dropped(steps: &[StepId], state: &State) -> BTreeSet<String> {
    steps
        .iter()
        .filter(|id| id.kind == Kind::Create)
        .filter_map(|id| id.database_name())
        .map(|name| name.to_string())
        .filter(|name| state.created.contains_key(name))
        .collect()
}

/// What was verified may be in use, so it is dropped only where it was named; what is named and would stay is a mistake.
fn refuse_unnamed(
    dropped: &BTreeSet<String>,
    state: &State,
    named: &[String],
) -> Result<(), Failure> {
    let list = |names: &[&String]| -> String {
        let lines = names
            .iter()
            .map(|name| format!("\n- {}", escape_control(name)));
        lines.collect()
    };
    let verified = dropped
        .iter()
        .filter(|name| state.verified.contains_key(*name));
    let unnamed: Vec<&String> = verified.filter(|name| !named.contains(name)).collect();
    if !unnamed.is_empty() {
        return Err(Failure::message(
            Exit::WrongInput,
            format!(
                "nothing was forgotten: the next run would drop and recreate these databases, which were verified, so that \
                 clients may use them:{}",
                list(&unnamed)
            ),
            "name each by --drop DB if what is in it is not needed; or choose by --database and --step what is done again",
        ));
    }
    let kept: Vec<&String> = named
        .iter()
        .filter(|name| !dropped.contains(*name))
        .collect();
    if !kept.is_empty() {
        return Err(Failure::message(
            Exit::WrongInput,
            format!(
                "nothing was forgotten: --drop names databases that the next run would not drop:{}",
                list(&kept)
            ),
            "--database and --step choose what is forgotten; without --step, a database is created again",
        ));
    }
    Ok(())
}

/// The chosen steps and all that need them. A restore that is done again needs its database made again, a
/// dump its counts under the same snapshot, and the other way round. A database stays whatever becomes of the roles: it has its
/// owners.
fn with_followers(steps: &PerStep<Step>, chosen: impl Fn(&StepId) -> bool) -> Vec<StepId> {
    let mut followers: PerStep<Vec<StepIndex>> = steps.iter().map(|_| Vec::new()).collect();
    let mut by_subject: HashMap<(Option<&str>, Kind), Vec<StepIndex>> = HashMap::new();
    for (index, step) in steps.iter_with_positions() {
        let database = step.id.database_name().map(|name| &**name);
        for need in &step.needs {
            // What was loaded stays loaded, whatever the target's settings and roles are.
            if !steps[*need].id.kind.is_server_level() {
                followers[*need].push(index);
            }
        }
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
