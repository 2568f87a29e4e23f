//! Roles, and what belongs to databases as a whole, that changed on the source while a run was under way or since.

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::dispatcher::Endings;
use super::indexes;
use super::job::Job;
use super::members;
use super::properties::{changed_since_creation, more_on_target, read_again};
use super::warn::warn;
use crate::catalog::Database;
use crate::graph::is_selected;
use crate::inspect;
use crate::journal::{self, Journal, State};
use crate::names::{Kind, StepId};
use crate::postgres::{self, Application, escape_control, with_retries};
use crate::preflight;
use crate::step::{Context, Shared, globals};

/// Reads the source's roles and databases once more after a run, and tells what changed since they were migrated.
///
/// # Errors
///
/// A journal that cannot be written.
pub(super) async fn tell_changes(
    shared: &Arc<Shared>,
    journal: &mut Journal,
    endings: &mut Endings,
) -> Result<(), journal::Error> {
    // A run after one that failed or was stopped brings along by itself what changed of roles, and tells the rest.
    if endings.failed > 0 || endings.signal.is_some() {
        return Ok(());
    }
    let state = journal.state();
    let mut messages = changes_of_roles(shared, state, "during the run").await;
    let mut made = Vec::new();
    match read_again(shared).await {
        Ok((source, target)) => {
            messages.extend(changed_since_creation(
                shared.graph.database_names(),
                state,
                &shared.plan.tablespaces,
                &source,
                &target,
            ));
            messages.extend(more_on_target(
                shared.graph.database_names(),
                &source,
                &target,
            ));
            made = made_since(shared, &source);
        }
        Err(error) => {
            // One that was made meanwhile would stay behind, and nothing else would say so.
            endings.failed += 1;
            messages.push(format!(
                "it could not be seen whether the source has databases that were made during the run, nor whether owner, privileges \
                 or settings of others changed: {error}; run again when both servers answer, and the run looks again"
            ));
        }
    }
    for message in messages {
        warn(shared, journal, None, message)?;
    }
    endings.failed += u32::try_from(made.len()).unwrap_or(u32::MAX);
    for name in made {
        let message = format!(
            "the source has a database \"{}\" that the plan takes and that was not there when this run began, so it was not moved: \
             run again, and the run adds it; or exclude it (databases.exclude)",
            escape_control(&name)
        );
        warn(shared, journal, None, message)?;
    }
    for message in appeared(shared).await {
        warn(shared, journal, None, message)?;
    }
    let members = members::not_on_target(shared).await;
    for (database, message) in members
        .into_iter()
        .chain(indexes::not_on_target(shared).await)
    {
        warn(shared, journal, database, message)?;
    }
    Ok(())
}

/// What is not moved, and was not on the source yet when the findings of this run were made.
async fn appeared(shared: &Shared) -> Vec<String> {
    let servers = (&shared.source, &shared.target);
    let names: Vec<String> = shared.graph.database_names().cloned().collect();
    let look = |_| inspect::appeared(&shared.plan, servers, &shared.inspection, names.iter());
    match with_retries(&shared.plan.retry, postgres::Error::class, look).await {
        Ok(appeared) => {
            let target = &shared.inspection.target;
            let appeared = appeared.iter();
            appeared
                .flat_map(|one| preflight::for_appeared(&shared.plan, one, target))
                .collect()
        }
        Err(error) => vec![format!(
            "it could not be seen whether the source has since this run's first look what a dump does not bring along: {error}; \
             `pg-migrate check` looks again"
        )],
    }
}

/// Databases of the source that migrate by the plan, and that this run does not know.
fn made_since(shared: &Shared, source: &[Database]) -> Vec<String> {
    let known = |name: &str| shared.graph.database_names().any(|one| one == name);
    let selected = source.iter().filter(|one| is_selected(&shared.plan, one));
    let names = selected.map(|one| one.name.clone());
    names.filter(|name| !known(name)).collect()
}

/// What changed on the source since the plan was completed. Such a run moves nothing, so it is told and left.
pub(crate) async fn changed_since_completion(job: Job) -> Vec<String> {
    // Nothing is recorded, and nobody listens.
    let (requests, _) = mpsc::channel(1);
    let (events, _) = mpsc::unbounded_channel();
    let shared = Arc::new(Shared {
        application: Application::for_state(&job.plan.name, job.journal.id()),
        plan: job.plan,
        source: job.source,
        target: job.target,
        inspection: job.inspection,
        graph: job.graph,
        stop: CancellationToken::new(),
        give_up: CancellationToken::new(),
        events,
        changes: requests,
        mark: None,
    });
    let state = job.journal.state();
    let mut changes = changes_of_roles(&shared, state, "since the plan was completed").await;
    // The servers were looked into a moment ago.
    let (source, target) = (&shared.inspection.source, &shared.inspection.target);
    changes.extend(changed_since_creation(
        shared.graph.database_names(),
        state,
        &shared.plan.tablespaces,
        &source.databases,
        &target.databases,
    ));
    changes
}

async fn changes_of_roles(shared: &Arc<Shared>, state: &State, when: &str) -> Vec<String> {
    let id = StepId::server(Kind::Globals);
    let mut steps = shared.graph.steps.iter_with_positions();
    let step = steps.find(|(_, step)| step.id == id);
    let (Some((index, _)), Some(read)) = (step, state.output_of(&id)) else {
        return Vec::new();
    };
    let context = Context::new(Arc::clone(shared), index);
    match globals::changed_since(&context, &read.product, when).await {
        Ok(changes) => changes,
        Err(error) => vec![format!(
            "it could not be seen whether roles of the source changed {when}: {error}"
        )],
    }
}
