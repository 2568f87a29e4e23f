//! `pg-migrate plan`: the compiled plan for people.
//!
//! What a reviewer needs first comes first: what is moved from where to where, whether anything
//! blocks the run, and every finding. The steps come last, by database.

use indexmap::IndexMap;

use super::format::{bytes, count, counted};
use super::width::{command_lines, left, name, right, width, wrap};
use crate::finding::{Code, Finding, Severity};
use crate::graph::{Amounts, Graph, Reach, Resource, ServerSummary, Step, Tuning};
use crate::names::{Kind, StepId, list_of_tables};
use crate::postgres::escape_control;
use crate::shell;

/// Needs of one step that are named.
const NEEDS_NAMED: usize = 4;
/// Columns that a database's name has at most in the table.
const NAME: usize = 42;
/// The plan, wrapped at `columns`: the same text for the same graph.
pub(crate) fn render(graph: &Graph, columns: usize) -> String {
    let mut out = String::new();
    header(&mut out, graph, columns);
    findings(&mut out, &graph.findings, columns);
    databases(&mut out, graph, columns);
    steps(&mut out, graph, columns);
    out
}

fn header(out: &mut String, graph: &Graph, columns: usize) {
    let server = |server: &ServerSummary, connections| {
        format!(
            "PostgreSQL {}, at most {} of this run's {} at a time",
            server.version,
            graph.peaks.get(connections),
            counted(server.budget as usize, "connection"),
        )
    };
    out.push_str(&format!("Plan {}\n\n", escape_control(&graph.name)));
    for (title, text) in [
        ("source", server(&graph.source, Resource::SourceConnections)),
        ("target", server(&graph.target, Resource::TargetConnections)),
        ("moves", moves(graph)),
        ("findings", finding_counts(&graph.findings)),
        ("fingerprint", graph.fingerprint.clone()),
    ] {
        wrap(out, &left(title, 13), &text, columns);
    }
    if is_blocked(graph) {
        out.push_str("\nThe run does not start until what blocks it is fixed.\n");
    }
}

/// Whether a finding keeps the run from starting.
pub(super) fn is_blocked(graph: &Graph) -> bool {
    graph
        .findings
        .iter()
        .any(|finding| finding.severity == Severity::Block)
}

/// `12 databases, 1.2 TB, 345 tables, 3 of them delayed, in 68 steps`.
pub(super) fn moves(graph: &Graph) -> String {
    let databases = &graph.databases;
    let delayed: usize = databases
        .iter()
        .map(|database| database.delayed.len())
        .sum();
    format!(
        "{}, {}, {}{}, in {}",
        counted(databases.len(), "database"),
        bytes(databases.iter().map(|database| database.bytes).sum()),
        counted(
            databases.iter().map(|database| database.tables).sum(),
            "table"
        ),
        match delayed {
            0 => String::new(),
            delayed => format!(", {} of them delayed", count(delayed as u64)),
        },
        counted(graph.steps.len(), "step"),
    )
}

/// `1 block, 2 fix`, or `none`.
pub(super) fn finding_counts(findings: &[Finding]) -> String {
    let counts: Vec<String> = Severity::ALL
        .into_iter()
        .filter_map(|severity| {
            let number = findings
                .iter()
                .filter(|finding| finding.severity == severity)
                .count();
            (number > 0).then(|| format!("{} {}", count(number as u64), severity.as_str()))
        })
        .collect();
    if counts.is_empty() {
        "none".to_owned()
    } else {
        counts.join(", ")
    }
}

/// What the finding is about: `erp public.t`, or nothing where it is about the whole migration.
pub(super) fn place(finding: &Finding) -> String {
    let parts = [&finding.database, &finding.object];
    let parts: Vec<_> = parts
        .into_iter()
        .flatten()
        .map(|part| escape_control(part))
        .collect();
    parts.join(" ")
}

fn findings(out: &mut String, findings: &[Finding], columns: usize) {
    for severity in Severity::ALL {
        // By code, so that one cause that a thousand tables have is read once.
        let mut codes: IndexMap<Code, Vec<&Finding>> = IndexMap::new();
        for finding in findings
            .iter()
            .filter(|finding| finding.severity == severity)
        {
            codes.entry(finding.code).or_default().push(finding);
        }
        for (code, findings) in codes {
            let number = match findings.len() {
                1 => String::new(),
                number => format!(" ({})", count(number as u64)),
            };
            out.push_str(&format!("\n{} {code}{number}\n", severity.as_str()));
            for finding in findings {
                one_finding(out, finding, columns);
            }
        }
    }
}

fn one_finding(out: &mut String, finding: &Finding, columns: usize) {
    let place = place(finding);
    let text = match place.as_str() {
        "" => finding.message.clone(),
        place => format!("{place}: {}", finding.message),
    };
    wrap(out, "  - ", &text, columns);
    if let Some(fix) = &finding.fix {
        wrap(out, "    fix: ", fix, columns);
    }
}

fn databases(out: &mut String, graph: &Graph, columns: usize) {
    let databases = &graph.databases;
    if databases.is_empty() {
        out.push_str("\nNo database is moved.\n");
        return;
    }
    out.push('\n');
    let room = columns.saturating_sub(30).clamp(12, NAME);
    let names: Vec<String> = databases
        .iter()
        .map(|database| name(&database.name, room))
        .collect();
    let longest = names
        .iter()
        .map(|name| width(name))
        .max()
        .unwrap_or(0)
        .max(8);
    let mut row = |name: &str, size: &str, tables: &str, delayed: &str| {
        let line = format!(
            "  {} {} {} {}",
            left(name, longest),
            right(size, 8),
            right(tables, 8),
            right(delayed, 8)
        );
        out.push_str(line.trim_end());
        out.push('\n');
    };
    row("database", "size", "tables", "delayed");
    for (database, name) in databases.iter().zip(&names) {
        let delayed = match database.delayed.len() {
            0 => String::new(),
            number => count(number as u64),
        };
        let tables = count(database.tables as u64);
        row(name, &bytes(database.bytes), &tables, &delayed);
    }
}

fn steps(out: &mut String, graph: &Graph, columns: usize) {
    let names: IndexMap<&str, usize> = graph
        .databases
        .iter()
        .enumerate()
        .map(|(position, database)| (&*database.name, position))
        .collect();
    for (database, steps) in grouped(&graph.steps) {
        match database {
            None => out.push_str("\nServer\n"),
            Some(name) => {
                out.push_str(&format!("\nDatabase {}\n", escape_control(name)));
                let delayed = names
                    .get(name)
                    .map(|position| &graph.databases[*position].delayed);
                if let Some(delayed) = delayed.filter(|delayed| !delayed.is_empty()) {
                    wrap(out, "  delayed tables: ", &list_of_tables(delayed), columns);
                }
            }
        }
        for step in steps {
            one_step(out, step, graph, columns);
        }
    }
}

/// Steps by database, in the order in which each comes first. Steps about the whole server that come
/// after those of databases form a group of their own.
fn grouped(steps: &[Step]) -> Vec<(Option<&str>, Vec<&Step>)> {
    let mut groups: Vec<(Option<&str>, Vec<&Step>)> = Vec::new();
    let mut positions: IndexMap<&str, usize> = IndexMap::new();
    for step in steps {
        let position = match step.id.database_name().map(|name| &**name) {
            Some(database) => *positions.entry(database).or_insert_with(|| {
                groups.push((Some(database), Vec::new()));
                groups.len() - 1
            }),
            None => {
                if groups.last().is_none_or(|(database, _)| database.is_some()) {
                    groups.push((None, Vec::new()));
                }
                groups.len() - 1
            }
        };
        groups[position].1.push(step);
    }
    groups
}

fn one_step(out: &mut String, step: &Step, graph: &Graph, columns: usize) {
    let mut parts = Vec::new();
    if !step.needs.is_empty() {
        parts.push(format!("after {}", needs(step, graph)));
    }
    if step.finally {
        parts.push("runs also after failures".to_owned());
    }
    if step.claims != Amounts::default() {
        parts.push(format!("takes {}", claims(&step.claims)));
    }
    if let Some(snapshot) = step.snapshot.map(|snapshot| &graph.snapshots[snapshot]) {
        parts.push(format!(
            "shares {} ({})",
            escape_control(&snapshot.id),
            claims(&snapshot.claims)
        ));
    }
    wrap(
        out,
        &format!("  {} ", left(step.id.kind.as_str(), 16)),
        &parts.join("; "),
        columns,
    );
    if !step.command.is_empty() {
        command(out, &step.command, columns);
    }
    if let (Kind::TuneTarget, Some(tuning)) = (step.id.kind, &graph.tuning) {
        settings(out, tuning, columns);
    }
}

/// What is set for the load, by where it holds.
fn settings(out: &mut String, tuning: &Tuning, columns: usize) {
    let list = |reaches: &[Reach]| -> String {
        let settings = tuning.settings.iter();
        let listed: Vec<String> = settings
            .filter(|setting| reaches.contains(&setting.reach))
            .map(|setting| {
                escape_control(&format!("{} = {}", setting.name, setting.value)).into_owned()
            })
            .collect();
        listed.join(", ")
    };
    for (title, listed) in [
        ("ALTER SYSTEM SET", list(&[Reach::System, Reach::Both])),
        ("own sessions SET", list(&[Reach::Session])),
    ] {
        if !listed.is_empty() {
            wrap(out, &format!("    {title} "), &listed, columns);
        }
    }
}

/// `dump, source-counts`: steps of the same database by their kind, all others by their id.
fn needs(step: &Step, graph: &Graph) -> String {
    let ids = step.needs.iter().map(|need| &graph.steps[*need].id);
    let named: Vec<String> = ids
        .take(NEEDS_NAMED)
        .map(|id: &StepId| {
            if id.database_name() == step.id.database_name() {
                id.kind.to_string()
            } else {
                escape_control(&id.to_string()).into_owned()
            }
        })
        .collect();
    let mut text = named.join(", ");
    if step.needs.len() > NEEDS_NAMED {
        let more = counted(step.needs.len() - NEEDS_NAMED, "other step");
        text.push_str(&format!(" and {more}"));
    }
    text
}

/// `5 source.connections, 1 source.databases`.
pub(super) fn claims(amounts: &Amounts) -> String {
    let claims: Vec<String> = amounts
        .iter()
        .map(|(resource, amount)| format!("{} {}", count(amount.into()), resource.as_str()))
        .collect();
    claims.join(", ")
}

/// The command line as a shell would take it, broken between words with a backslash.
fn command(out: &mut String, command: &[String], columns: usize) {
    const FIRST: &str = "    $ ";
    const REST: &str = "        ";
    const GOES_ON: &str = " \\";
    let room = [FIRST, REST].map(|start| columns.saturating_sub(start.len() + GOES_ON.len()));
    let lines = command_lines(&shell::words(command), room);
    out.push_str(FIRST);
    out.push_str(&lines.join(&format!("{GOES_ON}\n{REST}")));
    out.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::samples;

    #[test]
    fn the_step_that_tunes_says_what_it_sets() {
        let mut graph = samples::graph();
        graph.tuning = Some(samples::tuning());
        let text = render(&graph, 60);
        let from = text.find("\nServer\n").unwrap();
        let to = text.find("  globals").unwrap();
        insta::assert_snapshot!(&text[from..to], @r"
        Server
          tune-target
            ALTER SYSTEM SET fsync = off, maintenance_work_mem = 2GB
            own sessions SET wal_compression = pglz
        ");
    }

    #[test]
    fn findings_first_then_databases_then_steps() {
        insta::assert_snapshot!(render(&samples::graph(), 80), @r#"
        Plan erp-10-to-18

        source       PostgreSQL 10.23, at most 61 of this run's 80 connections at a time
        target       PostgreSQL 18.6, at most 53 of this run's 90 connections at a time
        moves        4 databases, 1.2 TB, 1,197 tables, 1 of them delayed, in 32 steps
        findings     1 block, 2 fix, 1 info
        fingerprint  sha256:6f1ed002ab5595859014ebf0951522d9

        The run does not start until what blocks it is fixed.

        block target/database-not-empty
          - we\u{1b}[31mird "db": the target has a database of this name, and it is not
            empty
            fix: drop it, or leave the database out with databases.exclude

        fix source/with-oids (2)
          - erp public.orders: the table has oids, and pg_dump of 12 and later leaves
            them out without a word
            fix: ALTER TABLE public.orders SET WITHOUT OIDS;
          - erp public."order|lines": the table has oids, and pg_dump of 12 and later
            leaves them out without a word
            fix: ALTER TABLE public."order|lines" SET WITHOUT OIDS;

        info source/dump-jobs-lowered
          - dump_jobs lowered from 24 to 4

          database                                       size   tables  delayed
          crm                                         20.0 MB        3
          we\u{1b}[31mird "db"                         341 MB       12
          請求書管理システム顧客別売上集計二〇二四年   5.0 GB      140
          erp                                          1.2 TB    1,042        1

        Server
          tune-target
          globals          after tune-target

        Database crm
          create           after globals; takes 1 target.connections
          dump             after create; takes 5 source.connections, 1 source.databases
            $ pg_dump -Fd -j 4 -Z zstd:5 --file dump -d crm
          source-counts    after create
          restore          after dump; takes 13 target.connections, 1 target.databases
            $ pg_restore -j 12 -d crm dump
          target-counts    after restore
          verify           after source-counts, target-counts

        Database we\u{1b}[31mird "db"
          create           after globals; takes 1 target.connections
          dump             after create; takes 5 source.connections, 1 source.databases
            $ pg_dump -Fd -j 4 -Z zstd:5 --file dump -d $'we\033[31mird "db"'
          source-counts    after create
          restore          after dump; takes 13 target.connections, 1 target.databases
            $ pg_restore -j 12 -d $'we\033[31mird "db"' dump
          target-counts    after restore
          verify           after source-counts, target-counts

        Database 請求書管理システム顧客別売上集計二〇二四年
          create           after globals; takes 1 target.connections
          dump             after create; takes 5 source.connections, 1 source.databases
            $ pg_dump -Fd -j 4 -Z zstd:5 --file dump -d \
                '請求書管理システム顧客別売上集計二〇二四年'
          source-counts    after create
          restore          after dump; takes 13 target.connections, 1 target.databases
            $ pg_restore -j 12 -d '請求書管理システム顧客別売上集計二〇二四年' dump
          target-counts    after restore
          verify           after source-counts, target-counts

        Database erp
          delayed tables: public.events
          create           after globals; takes 1 target.connections
          dump             after create; takes 5 source.connections, 1 source.databases
            $ pg_dump -Fd -j 4 -Z zstd:5 --file dump -d erp
          source-counts    after create
          restore          after dump; takes 13 target.connections, 1 target.databases
            $ pg_restore -j 12 -d erp dump
          target-counts    after restore
          verify           after source-counts, target-counts
          delayed-dump     after verify; takes 5 source.connections, 1 source.databases
            $ pg_dump -Fd -j 4 -Z zstd:5 --file dump -d erp
          drop-indexes     after delayed-dump
          delayed-restore  after drop-indexes
          recreate-indexes after delayed-restore
          delayed-verify   after recreate-indexes

        Server
          restore-settings after crm/verify, we\u{1b}[31mird "db"/verify,
                           請求書管理システム顧客別売上集計二〇二四年/verify,
                           erp/delayed-verify; runs also after failures
        "#);
    }

    #[test]
    fn many_databases_stay_readable() {
        let mut graph = samples::wide_graph(200);
        graph.findings.clear();
        let text = render(&graph, 80);
        let head: Vec<&str> = text.lines().take(12).collect();
        insta::assert_snapshot!(head.join("\n"), @"
        Plan erp-10-to-18

        source       PostgreSQL 10.23, at most 61 of this run's 80 connections at a time
        target       PostgreSQL 18.6, at most 53 of this run's 90 connections at a time
        moves        200 databases, 200 GB, 2,000 tables, in 1,202 steps
        findings     none
        fingerprint  sha256:6f1ed002ab5595859014ebf0951522d9

          database       size   tables  delayed
          tenant_000   1.0 GB       10
          tenant_001   1.0 GB       10
          tenant_002   1.0 GB       10
        ");
        for line in text.lines() {
            assert!(width(line) <= 80, "{line}");
        }
    }

    #[test]
    fn lines_fit_and_hold_no_control_characters() {
        for columns in [80, 120, 200] {
            let text = render(&samples::graph(), columns);
            for line in text.lines() {
                assert!(width(line) <= columns, "{columns}: {line}");
                assert!(!line.contains(char::is_control), "{line:?}");
            }
        }
    }

    #[test]
    fn a_step_after_many_names_a_few() {
        let mut graph = samples::wide_graph(9);
        let step = Step {
            needs: graph.steps.positions().take(9).collect(),
            ..graph.steps.first().unwrap().clone()
        };
        graph.steps.push(step);
        let last = graph.steps.last().unwrap();
        assert_eq!(
            needs(last, &graph),
            "tune-target, globals, tenant_000/create, tenant_000/dump and 5 other steps"
        );
    }
}
