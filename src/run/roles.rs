//! Roles that changed on the source while a run was under way.

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::dispatcher::Endings;
use super::job::Job;
use crate::event::Event;
use crate::journal::{self, Entry, Journal};
use crate::names::{Kind, StepId};
use crate::postgres::Application;
use crate::step::{Context, Shared, globals};

/// Reads the source's roles once more after a run, and tells what changed since its `globals`.
///
/// # Errors
///
/// A journal that cannot be written.
pub(super) async fn tell_changes(
    shared: &Arc<Shared>,
    journal: &mut Journal,
    endings: &Endings,
) -> Result<(), journal::Error> {
    let id = StepId::server(Kind::Globals);
    let mut steps = shared.graph.steps.iter_with_positions();
    let step = steps.find(|(_, step)| step.id == id);
    let read = journal.state().output_of(&id).cloned();
    // A run after one that failed or was stopped brings along by itself what changed.
    if endings.failed > 0 || endings.signal.is_some() {
        return Ok(());
    }
    let (Some((index, _)), Some(read)) = (step, read) else {
        return Ok(());
    };
    let context = Context::new(Arc::clone(shared), index);
    let warnings = match globals::changed_since(&context, &read.product, "during the run").await {
        Ok(changes) => changes,
        Err(error) => vec![format!(
            "it could not be seen whether roles of the source changed during the run: {}",
            error
        )],
    };
    for message in warnings {
        tracing::warn!("{message}");
        journal.append(Entry::Warning {
            database: None,
            message: message.clone(),
        })?;
        // Nobody listening is no reason to stop.
        let _ = shared.events.send(Event::Warning {
            database: None,
            message,
        });
    }
    Ok(())
}

/// What changed of the source's roles since the plan was completed. Such a run moves nothing, so it is told and left.
pub(crate) async fn changed_since_completion(job: Job) -> Vec<String> {
    let id = StepId::server(Kind::Globals);
    let read = job.journal.state().output_of(&id).cloned();
    let step = {
        let mut steps = job.graph.steps.iter_with_positions();
        steps
            .find(|(_, step)| step.id == id)
            .map(|(index, _)| index)
    };
    let (Some(index), Some(read)) = (step, read) else {
        return Vec::new();
    };
    // Nothing is recorded, and nobody listens.
    let (changes, _) = mpsc::channel(1);
    let (events, _) = mpsc::unbounded_channel();
    let shared = Arc::new(Shared {
        application: Application::for_state(&job.plan.name, job.journal.id()),
        plan: job.plan,
        source: job.source,
        target: job.target,
        inspection: job.inspection,
        graph: job.graph,
        stop: CancellationToken::new(),
        events,
        changes,
    });
    let context = Context::new(shared, index);
    let when = "since the plan was completed";
    match globals::changed_since(&context, &read.product, when).await {
        Ok(changes) => changes,
        Err(error) => vec![format!(
            "it could not be seen whether roles of the source changed {when}: {error}"
        )],
    }
}
