//! Plans and servers in, findings out.

mod not_moved;
mod plans;
mod subjects;
mod waivers;

use crate::finding::{Code, Finding, Severity};
use crate::graph::Graph;

/// A finding a line, in the graph's order.
fn lines(graph: &Graph) -> String {
    let line = |finding: &Finding| {
        let place: Vec<&str> = [&finding.database, &finding.object]
            .into_iter()
            .flatten()
            .map(String::as_str)
            .collect();
        format!(
            "{:?} {} [{}] {}\n  fix: {}\n",
            finding.severity,
            finding.code,
            place.join(" "),
            finding.message,
            finding.fix.as_deref().unwrap_or("none")
        )
    };
    graph.findings.iter().map(line).collect()
}

fn codes(graph: &Graph) -> Vec<(Severity, Code)> {
    graph
        .findings
        .iter()
        .map(|finding| (finding.severity, finding.code))
        .collect()
}
