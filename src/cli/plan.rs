//! `pg-migrate plan`.

use super::arguments::{PlanArguments, PlanFormat};
use super::failure::Failure;
use super::output::{Terminal, offer, print, tell};
use super::prepare::{load, prepare};
use crate::exit::Exit;
use crate::journal::{self, Lock, stored};
use crate::report::{plan_diagram, plan_json, plan_markdown, plan_text};

/// Fixed, so that a ticket shows the same text whatever terminal it was made on.
const COLUMNS: usize = 100;

pub(super) async fn run(arguments: PlanArguments, _: &Terminal) -> Result<Exit, Failure> {
    let plan = load(&arguments.plan)?;
    // Sealing while a run is under way would replace the plan that its journal is about.
    let lock = if arguments.dry_run {
        None
    } else {
        Some(Lock::take(&plan.state_dir)?)
    };
    let state = journal::read(&plan.state_dir)?.unwrap_or_default();
    let prepared = prepare(plan, &state).await?;
    let json = plan_json::render(&prepared.graph);
    let text = match arguments.format {
        PlanFormat::Text => plan_text::render(&prepared.graph, COLUMNS),
        PlanFormat::Json => json.clone(),
        PlanFormat::Markdown => plan_markdown::render(&prepared.graph),
        PlanFormat::Mermaid => plan_diagram::mermaid(&prepared.graph),
        PlanFormat::Dot => plan_diagram::dot(&prepared.graph),
    };
    if lock.is_none() {
        print(&text)?;
        // What blocks the run is in what was printed.
        let blocked = prepared.graph.blockers().next().is_some();
        return Ok(if blocked {
            Exit::NotStarted
        } else {
            Exit::Completed
        });
    }
    // It is there to be sealed.
    offer(&text);
    prepared.refuse_other_servers(&state)?;
    prepared.refuse_blockers()?;
    let state_dir = &prepared.plan.state_dir;
    stored::write(state_dir, &json, &prepared.basis(), true)?;
    tell!(
        "sealed as {} in {}; `pg-migrate run` refuses anything else",
        prepared.graph.fingerprint,
        state_dir.display()
    );
    Ok(Exit::Completed)
}
