//! `pg-migrate check`.

use super::arguments::CheckArguments;
use super::failure::Failure;
use super::output::{Terminal, offer};
use super::prepare::{describe, load, prepare};
use crate::exit::Exit;
use crate::finding::Severity;
use crate::journal;
use crate::plan::{ChannelBinding, Endpoint, Method, SslMode};
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
    for endpoint in [&prepared.source, &prepared.target] {
        text.push_str(&format!("{}\n", protection(endpoint)));
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

/// How the connections to a server are protected, on one line.
fn protection(endpoint: &Endpoint) -> String {
    let link = endpoint.protection.seen.get();
    let has_root = endpoint.sslrootcert.is_some();
    let checked = match endpoint.sslmode {
        SslMode::VerifyFull => "certificate and host name verified",
        SslMode::VerifyCa => "certificate verified, host name not",
        SslMode::Require if has_root => "certificate verified, host name not",
        _ => "certificate not verified",
    };
    let encryption = match link.tls {
        Some(version) => format!("{}, {checked}", version.as_str()),
        None if endpoint.is_socket() => "a socket of this machine".to_owned(),
        None => "not encrypted".to_owned(),
    };
    let authentication = match link.method {
        // Of a socket nothing was seen.
        None if endpoint.is_socket() => String::new(),
        None | Some(Method::None) => "; no password or ticket asked for".to_owned(),
        Some(method) => {
            let is_bound = method == Method::ScramSha256
                && link.tls.is_some()
                && link.offers_binding
                && endpoint.protection.channel_binding != ChannelBinding::Disable;
            let bound = if is_bound {
                " with channel binding"
            } else {
                ""
            };
            format!("; authenticated by {}{bound}", method.as_str())
        }
    };
    format!("{endpoint}: {encryption}{authentication}")
}
