//! `pg-migrate plan --format mermaid` and `--format dot`: the graph as a picture.

use std::collections::BTreeSet;

use indexmap::IndexMap;

use super::format::{bytes, counted};
use crate::finding::Finding;
use crate::graph::Graph;
use crate::postgres::escape_control;

/// A graph of more steps is drawn with one node a database: with a node a step, it could not be read.
const STEPS_DRAWN: usize = 300;

/// The graph for Mermaid: the same text for the same graph.
pub(crate) fn mermaid(graph: &Graph) -> String {
    let picture = Picture::from_graph(graph);
    let label = |text: &str| {
        // Mermaid reads `#35;` as the character of that number. What is not plain goes that way, so that
        // no name can end a label or mean Markdown or HTML.
        let mut escaped = String::with_capacity(text.len());
        for c in text.chars() {
            if c == '\n' {
                escaped.push_str("<br/>");
            } else if c.is_alphanumeric() || " -_.,/:()".contains(c) {
                escaped.push(c);
            } else {
                escaped.push_str(&format!("#{};", u32::from(c)));
            }
        }
        format!("\"{escaped}\"")
    };
    let mut out = String::from("flowchart LR\n");
    // Braces after `%%` would be a directive.
    out.push_str(&comments(graph, "  %%").replace(['{', '}'], "|"));
    for (position, group) in picture.groups.iter().enumerate() {
        let indent = match &group.title {
            Some(title) => {
                out.push_str(&format!("  subgraph g{position}[{}]\n", label(title)));
                "    "
            }
            None => "  ",
        };
        for (node, text) in &group.nodes {
            out.push_str(&format!("{indent}n{node}[{}]\n", label(text)));
        }
        if group.title.is_some() {
            out.push_str("  end\n");
        }
    }
    for (from, to) in &picture.edges {
        out.push_str(&format!("  n{from} --> n{to}\n"));
    }
    out
}

/// The graph for Graphviz: the same text for the same graph.
pub(crate) fn dot(graph: &Graph) -> String {
    let picture = Picture::from_graph(graph);
    let label = |text: &str| {
        let text = text.replace('\\', "\\\\").replace('"', "\\\"");
        format!("\"{}\"", text.replace('\n', "\\n"))
    };
    let mut out = format!(
        "digraph {} {{\n  rankdir=LR;\n  node [shape=box];\n",
        label(&escape_control(&graph.name))
    );
    out.push_str(&comments(graph, "  //"));
    for (position, group) in picture.groups.iter().enumerate() {
        let indent = match &group.title {
            Some(title) => {
                out.push_str(&format!(
                    "  subgraph cluster_{position} {{\n    label={};\n",
                    label(title)
                ));
                "    "
            }
            None => "  ",
        };
        for (node, text) in &group.nodes {
            out.push_str(&format!("{indent}n{node} [label={}];\n", label(text)));
        }
        if group.title.is_some() {
            out.push_str("  }\n");
        }
    }
    for (from, to) in &picture.edges {
        out.push_str(&format!("  n{from} -> n{to};\n"));
    }
    out.push_str("}\n");
    out
}

/// The findings, a comment each: a picture has no room for them, and they must not be missed.
fn comments(graph: &Graph, mark: &str) -> String {
    let line = |finding: &Finding| {
        let severity = finding.severity.as_str();
        let text = finding.to_string();
        format!("{mark} {severity} {}\n", escape_control(&text))
    };
    graph.findings.iter().map(line).collect()
}

/// Nodes by group, and which comes after which.
struct Picture {
    groups: Vec<Group>,
    edges: BTreeSet<(usize, usize)>,
}

struct Group {
    /// `None`: the nodes stand alone.
    title: Option<String>,
    nodes: Vec<(usize, String)>,
}

impl Picture {
    fn from_graph(graph: &Graph) -> Self {
        if graph.steps.len() > STEPS_DRAWN {
            Picture::of_databases(graph)
        } else {
            Picture::of_steps(graph)
        }
    }

    fn of_steps(graph: &Graph) -> Self {
        let mut groups: IndexMap<Option<&str>, Group> = IndexMap::new();
        for (position, step) in graph.steps.iter().enumerate() {
            let database = step.id.database_name().map(|name| &**name);
            let group = groups.entry(database).or_insert_with(|| Group {
                title: database.map(|name| escape_control(name).into_owned()),
                nodes: Vec::new(),
            });
            group.nodes.push((position, step.id.kind.to_string()));
        }
        Picture {
            groups: groups.into_values().collect(),
            edges: edges(graph, |step| step),
        }
    }

    fn of_databases(graph: &Graph) -> Self {
        // A node has the position of the first step that it stands for.
        let mut nodes: IndexMap<&str, (usize, usize)> = IndexMap::new();
        let mut server = Vec::new();
        let mut node_of = Vec::with_capacity(graph.steps.len());
        for (position, step) in graph.steps.iter().enumerate() {
            node_of.push(match step.id.database_name().map(|name| &**name) {
                Some(database) => {
                    let (node, steps) = nodes.entry(database).or_insert((position, 0));
                    *steps += 1;
                    *node
                }
                None => {
                    server.push((position, step.id.kind.to_string()));
                    position
                }
            });
        }
        let sizes: IndexMap<&str, u64> = graph
            .databases
            .iter()
            .map(|database| (&*database.name, database.bytes))
            .collect();
        server.extend(nodes.into_iter().map(|(name, (node, steps))| {
            let size = sizes
                .get(name)
                .map_or(String::new(), |size| format!(", {}", bytes(*size)));
            let label = format!("{}\n{}{size}", escape_control(name), counted(steps, "step"));
            (node, label)
        }));
        Picture {
            groups: vec![Group {
                title: None,
                nodes: server,
            }],
            edges: edges(graph, |step| node_of[step]),
        }
    }
}

fn edges(graph: &Graph, node: impl Fn(usize) -> usize) -> BTreeSet<(usize, usize)> {
    let steps = graph.steps.iter().enumerate();
    steps
        .flat_map(|(position, step)| {
            step.needs
                .iter()
                .map(move |need| (usize::from(*need), position))
        })
        .map(|(from, to)| (node(from), node(to)))
        .filter(|(from, to)| from != to)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::samples;

    fn small() -> Graph {
        let mut graph = samples::graph();
        // Two databases, one of them with a name that would break out of a label.
        graph.steps.truncate(12);
        graph
    }

    #[test]
    fn mermaid_draws_steps_by_database() {
        insta::assert_snapshot!(mermaid(&small()), @r#"
        flowchart LR
          %% block target/database-not-empty: database "we\u|1b|[31mird "db"": the target has a database of this name, and it is not empty
          %% fix source/with-oids: database "erp", public.orders: the table has oids, and pg_dump of 12 and later leaves them out without a word
          %% fix source/with-oids: database "erp", public."order|lines": the table has oids, and pg_dump of 12 and later leaves them out without a word
          %% info source/dump-jobs-lowered: dump_jobs lowered from 24 to 4
          n0["tune-target"]
          n1["globals"]
          subgraph g1["crm"]
            n2["create"]
            n3["dump"]
            n4["source-counts"]
            n5["restore"]
            n6["target-counts"]
            n7["verify"]
          end
          subgraph g2["we#92;u#123;1b#125;#91;31mird #34;db#34;"]
            n8["create"]
            n9["dump"]
            n10["source-counts"]
            n11["restore"]
          end
          n0 --> n1
          n1 --> n2
          n1 --> n8
          n2 --> n3
          n2 --> n4
          n3 --> n5
          n4 --> n7
          n5 --> n6
          n6 --> n7
          n8 --> n9
          n8 --> n10
          n9 --> n11
        "#);
    }

    #[test]
    fn dot_draws_steps_by_database() {
        insta::assert_snapshot!(dot(&small()), @r#"
        digraph "erp-10-to-18" {
          rankdir=LR;
          node [shape=box];
          // block target/database-not-empty: database "we\u{1b}[31mird "db"": the target has a database of this name, and it is not empty
          // fix source/with-oids: database "erp", public.orders: the table has oids, and pg_dump of 12 and later leaves them out without a word
          // fix source/with-oids: database "erp", public."order|lines": the table has oids, and pg_dump of 12 and later leaves them out without a word
          // info source/dump-jobs-lowered: dump_jobs lowered from 24 to 4
          n0 [label="tune-target"];
          n1 [label="globals"];
          subgraph cluster_1 {
            label="crm";
            n2 [label="create"];
            n3 [label="dump"];
            n4 [label="source-counts"];
            n5 [label="restore"];
            n6 [label="target-counts"];
            n7 [label="verify"];
          }
          subgraph cluster_2 {
            label="we\\u{1b}[31mird \"db\"";
            n8 [label="create"];
            n9 [label="dump"];
            n10 [label="source-counts"];
            n11 [label="restore"];
          }
          n0 -> n1;
          n1 -> n2;
          n1 -> n8;
          n2 -> n3;
          n2 -> n4;
          n3 -> n5;
          n4 -> n7;
          n5 -> n6;
          n6 -> n7;
          n8 -> n9;
          n8 -> n10;
          n9 -> n11;
        }
        "#);
    }

    #[test]
    fn a_large_graph_has_a_node_a_database() {
        let graph = samples::wide_graph(60);
        assert!(graph.steps.len() > STEPS_DRAWN);
        let text = mermaid(&graph);
        assert!(
            text.contains("n2[\"tenant_000<br/>6 steps, 1.0 GB\"]\n"),
            "{text}"
        );
        assert_eq!(text.matches(" --> ").count(), 61);
        assert_eq!(dot(&graph).matches(" -> ").count(), 61);
    }
}
