//! `pg-migrate plan --format json`.

use serde::Serialize;

use crate::finding::Finding;
use crate::graph::{Amounts, DatabaseSummary, Graph, ServerSummary, TuningSetting};
use crate::names::{Kind, StepId};
use crate::postgres::escape_json;

/// The compiled plan as JSON, with an end of line: the same bytes for the same graph.
///
/// A step about the whole server has `null` for its database; a step that runs no program has no
/// `command`. `tune-target` has `settings`, each with its name, value and `scope`: `system` (ALTER SYSTEM),
/// `session` (this run's own sessions) or `both`.
pub(crate) fn render(graph: &Graph) -> String {
    let text = serde_json::to_string_pretty(&Document::from_graph(graph))
        .expect("a plan has no keys but strings");
    escape_json(&text) + "\n"
}

#[derive(Serialize)]
struct Document<'a> {
    name: &'a str,
    fingerprint: &'a str,
    servers: Servers,
    databases: &'a [DatabaseSummary],
    steps: Vec<Step<'a>>,
    peaks: &'a Amounts,
    findings: &'a [Finding],
}

#[derive(Serialize)]
struct Servers {
    source: Server,
    target: Server,
}

#[derive(Serialize)]
struct Server {
    version: String,
    budget: u32,
}

#[derive(Serialize)]
struct Step<'a> {
    id: &'a StepId,
    kind: Kind,
    database: Option<&'a str>,
    needs: Vec<&'a StepId>,
    claims: &'a Amounts,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    command: &'a [String],
    #[serde(skip_serializing_if = "<[TuningSetting]>::is_empty")]
    settings: &'a [TuningSetting],
}

impl<'a> Document<'a> {
    fn from_graph(graph: &'a Graph) -> Self {
        let server = |server: &ServerSummary| Server {
            version: server.version.to_string(),
            budget: server.budget,
        };
        Document {
            name: &graph.name,
            fingerprint: &graph.fingerprint,
            servers: Servers {
                source: server(&graph.source),
                target: server(&graph.target),
            },
            databases: &graph.databases,
            steps: graph
                .steps
                .iter()
                .map(|step| Step {
                    id: &step.id,
                    kind: step.id.kind,
                    database: step.id.database_name().map(|name| &**name),
                    needs: step
                        .needs
                        .iter()
                        .map(|need| &graph.steps[*need].id)
                        .collect(),
                    claims: &step.claims,
                    command: &step.command,
                    settings: match &graph.tuning {
                        Some(tuning) if step.id.kind == Kind::TuneTarget => &tuning.settings,
                        _ => &[],
                    },
                })
                .collect(),
            peaks: &graph.peaks,
            findings: &graph.findings,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::samples;

    #[test]
    fn holds_the_promised_keys_in_their_order() {
        let mut graph = samples::graph();
        graph.databases.drain(..3);
        graph.steps.truncate(4);
        graph.findings.drain(2..);
        insta::assert_snapshot!(render(&graph), @r#"
        {
          "name": "erp-10-to-18",
          "fingerprint": "sha256:6f1ed002ab5595859014ebf0951522d9",
          "servers": {
            "source": {
              "version": "10.23",
              "budget": 80
            },
            "target": {
              "version": "18.6",
              "budget": 90
            }
          },
          "databases": [
            {
              "name": "erp",
              "bytes": 1288490188800,
              "tables": 1042,
              "delayed": [
                "public.events"
              ]
            }
          ],
          "steps": [
            {
              "id": "tune-target",
              "kind": "tune-target",
              "database": null,
              "needs": [],
              "claims": {}
            },
            {
              "id": "globals",
              "kind": "globals",
              "database": null,
              "needs": [
                "tune-target"
              ],
              "claims": {}
            },
            {
              "id": "crm/create",
              "kind": "create",
              "database": "crm",
              "needs": [
                "globals"
              ],
              "claims": {
                "target.connections": 1
              }
            },
            {
              "id": "crm/dump",
              "kind": "dump",
              "database": "crm",
              "needs": [
                "crm/create"
              ],
              "claims": {
                "source.connections": 5,
                "source.databases": 1
              },
              "command": [
                "pg_dump",
                "-Fd",
                "-j",
                "4",
                "-Z",
                "zstd:5",
                "--file",
                "dump",
                "-d",
                "crm"
              ]
            }
          ],
          "peaks": {
            "source.connections": 61,
            "target.connections": 53
          },
          "findings": [
            {
              "severity": "block",
              "code": "target/database-not-empty",
              "database": "we\u001b[31mird \"db\"",
              "object": null,
              "message": "the target has a database of this name, and it is not empty",
              "fix": "drop it, or leave the database out with databases.exclude"
            },
            {
              "severity": "fix",
              "code": "source/with-oids",
              "database": "erp",
              "object": "public.orders",
              "message": "the table has oids, and pg_dump of 12 and later leaves them out without a word",
              "fix": "ALTER TABLE public.orders SET WITHOUT OIDS;"
            }
          ]
        }
        "#);
    }

    #[test]
    fn the_step_that_tunes_says_what_it_sets() {
        let mut graph = samples::graph();
        graph.tuning = Some(samples::tuning());
        let document: serde_json::Value = serde_json::from_str(&render(&graph)).unwrap();
        let settings = serde_json::json!([
            {"name": "fsync", "value": "off", "scope": "system"},
            {"name": "maintenance_work_mem", "value": "2GB", "scope": "both"},
            {"name": "wal_compression", "value": "pglz", "scope": "session"},
        ]);
        assert_eq!(document["steps"][0]["settings"], settings);
        assert!(document["steps"][1].get("settings").is_none());
    }

    #[test]
    fn the_same_graph_gives_the_same_bytes() {
        assert_eq!(render(&samples::graph()), render(&samples::graph()));
        let steps: serde_json::Value = serde_json::from_str(&render(&samples::graph())).unwrap();
        for step in steps["steps"].as_array().unwrap() {
            let id: StepId = step["id"].as_str().unwrap().parse().unwrap();
            assert_eq!(step["kind"], id.kind.as_str());
            assert_eq!(
                step["database"].as_str(),
                id.database_name().map(|name| &**name)
            );
        }
    }
}
