//! `pg-migrate plan --format markdown`: tables for a change ticket.

use super::format::{bytes, count};
use super::plan_text::{claims, finding_counts, is_blocked, moves, place};
use crate::finding::Severity;
use crate::graph::{Graph, Resource, Step};
use crate::names::list_of_tables;
use crate::postgres::escape_control;
use crate::shell;

/// The plan in GitHub's Markdown: the same text for the same graph.
pub(crate) fn render(graph: &Graph) -> String {
    let mut out = format!("# Migration plan {}\n\n", cell(&graph.name));
    if is_blocked(graph) {
        out.push_str("**The run does not start until what blocks it is fixed.**\n\n");
    }
    out.push_str(&format!("- Moves {}\n", moves(graph)));
    out.push_str(&format!(
        "- Findings: {}\n",
        finding_counts(&graph.findings)
    ));
    out.push_str(&format!("- Fingerprint: `{}`\n\n", graph.fingerprint));
    servers(&mut out, graph);
    findings(&mut out, graph);
    databases(&mut out, graph);
    steps(&mut out, graph);
    commands(&mut out, graph);
    out
}

fn servers(out: &mut String, graph: &Graph) {
    head(
        out,
        &[
            "Server",
            "PostgreSQL",
            "Connections of this run",
            "At most at a time",
        ],
    );
    let sides = [
        ("source", &graph.source, Resource::SourceConnections),
        ("target", &graph.target, Resource::TargetConnections),
    ];
    for (title, server, connections) in sides {
        row(
            out,
            &[
                title.to_owned(),
                server.version.to_string(),
                count(server.budget.into()),
                count(graph.peaks.get(connections).into()),
            ],
        );
    }
}

fn findings(out: &mut String, graph: &Graph) {
    if graph.findings.is_empty() {
        return;
    }
    out.push_str("\n## Findings\n\n");
    head(out, &["Severity", "Code", "Where", "What", "Fix"]);
    for severity in Severity::ALL {
        for finding in graph
            .findings
            .iter()
            .filter(|finding| finding.severity == severity)
        {
            row(
                out,
                &[
                    severity.as_str().to_owned(),
                    cell(finding.code.as_str()),
                    cell(&place(finding)),
                    cell(&finding.message),
                    cell(finding.fix.as_deref().unwrap_or_default()),
                ],
            );
        }
    }
}

fn databases(out: &mut String, graph: &Graph) {
    out.push_str("\n## Databases\n\n");
    head(out, &["Database", "Size", "Tables", "Delayed"]);
    for database in &graph.databases {
        row(
            out,
            &[
                cell(&database.name),
                bytes(database.bytes),
                count(database.tables as u64),
                cell(&list_of_tables(&database.delayed)),
            ],
        );
    }
}

fn steps(out: &mut String, graph: &Graph) {
    out.push_str("\n## Steps\n\n");
    head(out, &["Step", "After", "Takes"]);
    for step in &graph.steps {
        let needs: Vec<String> = step
            .needs
            .iter()
            .map(|need| cell(&graph.steps[*need].id.to_string()))
            .collect();
        row(
            out,
            &[
                cell(&step.id.to_string()),
                needs.join(", "),
                claims(&step.claims),
            ],
        );
    }
}

fn commands(out: &mut String, graph: &Graph) {
    let mut with_command = graph
        .steps
        .iter()
        .filter(|step| !step.command.is_empty())
        .peekable();
    if with_command.peek().is_none() {
        return;
    }
    let lines: Vec<String> = with_command.map(command).collect();
    // A fence is longer than any that the text could hold.
    let fence = "`".repeat(
        lines
            .iter()
            .map(|line| longest_run(line, '`'))
            .max()
            .unwrap_or(0)
            .max(2)
            + 1,
    );
    out.push_str(&format!(
        "\n## Commands\n\n{fence}sh\n{}{fence}\n",
        lines.concat()
    ));
}

fn command(step: &Step) -> String {
    format!(
        "# {}\n{}\n",
        escape_control(&step.id.to_string()),
        shell::words(&step.command).join(" ")
    )
}

fn longest_run(text: &str, of: char) -> usize {
    text.split(|c| c != of).map(str::len).max().unwrap_or(0)
}

fn head(out: &mut String, titles: &[&str]) {
    out.push_str(&format!("| {} |\n", titles.join(" | ")));
    out.push_str(&format!("|{}\n", " --- |".repeat(titles.len())));
}

fn row(out: &mut String, cells: &[String]) {
    out.push_str(&format!("| {} |\n", cells.join(" | ")));
}

/// A text as a cell of a table: whatever means something to Markdown or HTML means itself, and no address becomes a link.
fn cell(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for (position, line) in text.lines().enumerate() {
        if position > 0 {
            escaped.push_str("<br>");
        }
        for c in escape_control(line).chars() {
            match c {
                '/' if escaped.ends_with(':') => escaped.push_str("\\/"),
                '.' if escaped.ends_with("www") || escaped.ends_with("WWW") => {
                    escaped.push_str("\\.")
                }
                '<' => escaped.push_str("&lt;"),
                '>' => escaped.push_str("&gt;"),
                '&' => escaped.push_str("&amp;"),
                '\\' | '|' | '`' | '*' | '_' | '[' | ']' | '#' | '~' => escaped.extend(['\\', c]),
                c => escaped.push(c),
            }
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::samples;

    #[test]
    fn makes_tables_for_a_ticket() {
        let mut graph = samples::graph();
        graph.databases.truncate(2);
        graph.steps.truncate(5);
        insta::assert_snapshot!(render(&graph), @r#"
        # Migration plan erp-10-to-18

        **The run does not start until what blocks it is fixed.**

        - Moves 2 databases, 361 MB, 15 tables, in 5 steps
        - Findings: 1 block, 2 fix, 1 info
        - Fingerprint: `sha256:6f1ed002ab5595859014ebf0951522d9`

        | Server | PostgreSQL | Connections of this run | At most at a time |
        | --- | --- | --- | --- |
        | source | 10.23 | 80 | 61 |
        | target | 18.6 | 90 | 53 |

        ## Findings

        | Severity | Code | Where | What | Fix |
        | --- | --- | --- | --- | --- |
        | block | target/database-not-empty | we\\u{1b}\[31mird "db" | the target has a database of this name, and it is not empty | drop it, or leave the database out with databases.exclude |
        | fix | source/with-oids | erp public.orders | the table has oids, and pg\_dump of 12 and later leaves them out without a word | ALTER TABLE public.orders SET WITHOUT OIDS; |
        | fix | source/with-oids | erp public."order\|lines" | the table has oids, and pg\_dump of 12 and later leaves them out without a word | ALTER TABLE public."order\|lines" SET WITHOUT OIDS; |
        | info | source/dump-jobs-lowered |  | dump\_jobs lowered from 24 to 4 |  |

        ## Databases

        | Database | Size | Tables | Delayed |
        | --- | --- | --- | --- |
        | crm | 20.0 MB | 3 |  |
        | we\\u{1b}\[31mird "db" | 341 MB | 12 |  |

        ## Steps

        | Step | After | Takes |
        | --- | --- | --- |
        | tune-target |  |  |
        | globals | tune-target |  |
        | crm/create | globals | 1 target.connections |
        | crm/dump | crm/create | 5 source.connections, 1 source.databases |
        | crm/source-counts | crm/create |  |

        ## Commands

        ```sh
        # crm/dump
        pg_dump -Fd -j 4 -Z zstd:5 --file dump -d crm
        ```
        "#);
    }

    #[test]
    fn no_name_makes_a_link() {
        assert_eq!(
            cell("https://evil.example <a href=x>www.evil.example [x](y)"),
            "https:\\//evil.example &lt;a href=x&gt;www\\.evil.example \\[x\\](y)"
        );
    }

    #[test]
    fn every_row_has_as_many_cells_as_its_head() {
        let text = render(&samples::graph());
        let cells = |line: &str| {
            line.replace("\\\\", "")
                .replace("\\|", "")
                .matches('|')
                .count()
        };
        let tables = text.split("\n\n").filter(|block| block.starts_with('|'));
        let mut seen = 0;
        for table in tables {
            let head = cells(table.lines().next().unwrap());
            assert!(table.lines().all(|line| cells(line) == head), "{table}");
            seen += 1;
        }
        assert_eq!(seen, 4);
    }

    #[test]
    fn a_fence_is_longer_than_any_in_the_commands() {
        let mut graph = samples::graph();
        graph
            .steps
            .get_mut(3)
            .unwrap()
            .command
            .push("a````b".to_owned());
        assert!(render(&graph).contains("\n`````sh\n"));
    }
}
