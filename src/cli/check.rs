//! `pg-migrate check`.

use super::arguments::CheckArguments;
use super::failure::Failure;
use super::output::{Terminal, offer};
use super::prepare::{describe, load, prepare};
use crate::exit::Exit;
use crate::finding::Severity;
use crate::journal;
use crate::report::counted;

pub(super) async fn run(arguments: CheckArguments, _: &Terminal) -> Result<Exit, Failure> {
    let plan = load(&arguments.plan)?;
    if arguments.offline {
        offer(&format!("{}: the plan file is valid\n", plan.name));
        return Ok(Exit::Completed);
    }
    let state = journal::read(&plan.state_dir)?.unwrap_or_default();
    let prepared = prepare(plan, &state).await?;
    let graph = &prepared.graph;
    let mut text = String::new();
    for (severity, title) in [
        (Severity::Block, "blocks the run"),
        (Severity::Fix, "should be fixed before the run"),
        (Severity::Warn, "should be known before the run"),
        (Severity::Info, "for information"),
    ] {
        let findings: Vec<String> = graph
            .findings
            .iter()
            .filter(|finding| finding.severity == severity)
            .map(describe)
            .collect();
        if !findings.is_empty() {
            text.push_str(&format!("{title}:\n\n{}\n\n", findings.join("\n\n")));
        }
    }
    let blockers = graph.blockers().count();
    text.push_str(&format!(
        "{}: {}, {}, {}\n",
        graph.name,
        counted(graph.databases.len(), "database"),
        counted(graph.findings.len(), "finding"),
        match blockers {
            0 => "nothing blocks the run".to_owned(),
            1 => "1 of them blocks the run".to_owned(),
            several => format!("{several} of them block the run"),
        }
    ));
    if !graph.findings.is_empty() {
        text.push_str(
            "`pg-migrate explain CODE` tells why a finding matters and how to accept it\n",
        );
    }
    offer(&text);
    Ok(if blockers > 0 {
        Exit::NotStarted
    } else {
        Exit::Completed
    })
}
