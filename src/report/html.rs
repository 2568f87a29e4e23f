//! `pg-migrate report --format html`: the report as one page that needs nothing but itself.
//!
//! `page.html` says how it looks; what it shows is worked out here, in words ready to be shown.

use jiff::Timestamp;
use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment};
use serde::Serialize;

use super::closed;
use super::document::{
    DatabaseOutcome, DatabaseReport, Report, StepOutcome, StepReport, WithoutEnd,
};
use super::format::{bytes, count, counted, duration, seconds_between};
use crate::journal::Outcome;
use crate::names::{RestoreError, TableResult};
use crate::postgres::escape_control;

/// Tables of one database that the page shows, those that differ first; all are in the report.
const TABLES: usize = 500;
/// A step's bar has at least this part of the timeline, in percent: a short step can be seen, too.
const BAR: f64 = 0.3;

/// The report as a page of HTML.
pub(crate) fn render(report: &Report) -> String {
    let mut environment = Environment::new();
    environment.set_auto_escape_callback(|_| AutoEscape::Html);
    environment
        .add_template("page", include_str!("page.html"))
        .and_then(|()| {
            environment
                .get_template("page")?
                .render(Serde(Page::from_report(report)))
        })
        .expect("the page is part of the program and fits what it is given")
}

#[derive(Serialize)]
struct Page {
    name: String,
    /// A class of the page's style: good, bad, attention.
    tone: &'static str,
    outcome: &'static str,
    facts: Vec<(&'static str, String)>,
    settings_restored: bool,
    closed: Vec<String>,
    parts: Vec<Part>,
}

/// A database, or the server.
#[derive(Serialize)]
struct Part {
    title: String,
    is_server: bool,
    tone: &'static str,
    outcome: &'static str,
    /// Shown unfolded, since it needs action.
    open: bool,
    size: String,
    compared: bool,
    matched: String,
    regular: String,
    delayed: String,
    steps: Vec<StepRow>,
    has_timeline: bool,
    tables: Vec<TableRow>,
    tables_left_out: String,
    restore_errors: Vec<RestoreErrorRow>,
    warnings: Vec<String>,
}

#[derive(Serialize)]
struct StepRow {
    kind: &'static str,
    tone: &'static str,
    state: &'static str,
    seconds: String,
    attempts: u32,
    error: String,
    /// Of the last run's time, in percent; `None`: the step did nothing in it.
    bar: Option<Bar>,
}

#[derive(Serialize)]
struct Bar {
    left: String,
    width: String,
}

#[derive(Serialize)]
struct TableRow {
    name: String,
    source: String,
    target: String,
    matches: bool,
    note: String,
}

#[derive(Serialize)]
struct RestoreErrorRow {
    object: String,
    message: String,
    accepted: bool,
}

impl Page {
    fn from_report(report: &Report) -> Self {
        let (tone, outcome) = match report.outcome {
            _ if report.without_end == Some(WithoutEnd::UnderWay) => ("attention", "under way"),
            _ if report.without_end == Some(WithoutEnd::Reset) => ("attention", "reset"),
            Outcome::Completed => ("good", "completed"),
            Outcome::Failed => ("bad", "failed"),
            Outcome::Mismatched => ("bad", "mismatched"),
            Outcome::Interrupted => ("attention", "interrupted"),
        };
        let times = Times::from_report(report);
        let mut parts = Vec::new();
        if !report.server.steps.is_empty() {
            parts.push(server(report, &times));
        }
        parts.extend(report.databases.iter().map(|part| database(part, &times)));
        Page {
            name: escape_control(&report.name).into_owned(),
            tone,
            outcome,
            facts: facts(report),
            settings_restored: report.settings_restored
                || report.without_end == Some(WithoutEnd::UnderWay),
            closed: match report.without_end {
                Some(WithoutEnd::UnderWay) => Vec::new(),
                _ => closed::sentences(&report.closed),
            },
            parts,
        }
    }
}

fn facts(report: &Report) -> Vec<(&'static str, String)> {
    let tables = || {
        report
            .databases
            .iter()
            .flat_map(|database| &database.tables)
    };
    let completed = report
        .databases
        .iter()
        .filter(|database| database.outcome == DatabaseOutcome::Completed)
        .count();
    let mut facts = vec![
        (
            "databases completed",
            format!(
                "{} of {}",
                count(completed as u64),
                count(report.databases.len() as u64)
            ),
        ),
        (
            "size",
            bytes(report.databases.iter().map(|database| database.bytes).sum()),
        ),
        ("tables matched", matched(tables())),
        (
            "rows on the target",
            count(tables().filter_map(|table| table.target_rows).sum()),
        ),
        ("started", clock(report.started)),
    ];
    if let Some(finished) = report.finished {
        facts.push(("finished", clock(finished)));
        facts.push(("took", duration(seconds_between(report.started, finished))));
    }
    if let Some(code) = report.exit_code {
        facts.push(("exit code", code.to_string()));
    }
    facts.push((
        "resumed",
        if report.resumed { "yes" } else { "no" }.to_owned(),
    ));
    facts
}

fn server(report: &Report, times: &Times) -> Part {
    let server = &report.server;
    let failed = server
        .steps
        .iter()
        .any(|step| step.state == StepOutcome::Failed);
    let done = server
        .steps
        .iter()
        .all(|step| step.state == StepOutcome::Done);
    let (tone, outcome) = match (failed, done) {
        (true, _) => ("bad", "failed"),
        (false, true) => ("good", "completed"),
        (false, false) => ("attention", "incomplete"),
    };
    Part {
        title: "Server: settings, roles, tablespaces".to_owned(),
        is_server: true,
        tone,
        outcome,
        open: failed,
        size: String::new(),
        compared: false,
        matched: String::new(),
        regular: String::new(),
        delayed: String::new(),
        steps: steps(&server.steps, times),
        has_timeline: times.any(&server.steps),
        tables: Vec::new(),
        tables_left_out: String::new(),
        restore_errors: restore_errors(&server.restore_errors),
        warnings: server
            .warnings
            .iter()
            .map(|warning| shown(warning))
            .collect(),
    }
}

fn database(database: &DatabaseReport, times: &Times) -> Part {
    let mut tables: Vec<&TableResult> = database.tables.iter().collect();
    tables.sort_by_key(|table| table.matches);
    let left_out = tables.len().saturating_sub(TABLES);
    Part {
        title: escape_control(&database.name).into_owned(),
        is_server: false,
        tone: match database.outcome {
            DatabaseOutcome::Completed => "good",
            DatabaseOutcome::Failed | DatabaseOutcome::Mismatched => "bad",
            DatabaseOutcome::Interrupted | DatabaseOutcome::Pending => "attention",
        },
        outcome: database.outcome.as_str(),
        open: matches!(
            database.outcome,
            DatabaseOutcome::Failed | DatabaseOutcome::Mismatched
        ),
        size: bytes(database.bytes),
        compared: !database.tables.is_empty(),
        matched: matched(database.tables.iter()),
        regular: seconds(database.seconds.regular),
        delayed: seconds(database.seconds.delayed),
        steps: steps(&database.steps, times),
        has_timeline: times.any(&database.steps),
        tables: tables.into_iter().take(TABLES).map(table).collect(),
        tables_left_out: match left_out {
            0 => String::new(),
            number => counted(number, "table"),
        },
        restore_errors: restore_errors(&database.restore_errors),
        warnings: database
            .warnings
            .iter()
            .map(|warning| shown(warning))
            .collect(),
    }
}

fn steps(steps: &[StepReport], times: &Times) -> Vec<StepRow> {
    steps
        .iter()
        .map(|step| StepRow {
            kind: step.kind.as_str(),
            tone: match step.state {
                StepOutcome::Done => "good",
                StepOutcome::Failed => "bad",
                StepOutcome::Skipped | StepOutcome::Pending => "attention",
            },
            state: step.state.as_str(),
            seconds: seconds(step.seconds),
            attempts: step.attempts,
            error: step.error.as_deref().map(shown).unwrap_or_default(),
            bar: times.bar(step),
        })
        .collect()
}

fn table(table: &TableResult) -> TableRow {
    let rows = |rows: Option<u64>| rows.map_or("unknown".to_owned(), count);
    TableRow {
        name: escape_control(&table.table.to_string()).into_owned(),
        source: rows(table.source_rows),
        target: rows(table.target_rows),
        matches: table.matches,
        note: table.note.as_deref().map(shown).unwrap_or_default(),
    }
}

fn restore_errors(entries: &[RestoreError]) -> Vec<RestoreErrorRow> {
    entries
        .iter()
        .map(|entry| RestoreErrorRow {
            object: escape_control(&entry.object).into_owned(),
            message: shown(&entry.message),
            accepted: entry.accepted,
        })
        .collect()
}

fn matched<'a>(tables: impl Iterator<Item = &'a TableResult>) -> String {
    let (mut matched, mut compared) = (0, 0);
    for table in tables {
        matched += u64::from(table.matches);
        compared += 1;
    }
    format!("{} of {}", count(matched), count(compared))
}

/// The time that the timeline stands for: the last run's.
struct Times {
    from: Timestamp,
    seconds: f64,
}

impl Times {
    fn from_report(report: &Report) -> Self {
        let databases = report.databases.iter().flat_map(|database| &database.steps);
        let last_end = databases
            .chain(&report.server.steps)
            .filter_map(|step| {
                let started = step.started.filter(|started| *started >= report.started)?;
                Some(seconds_between(report.started, started) + step.seconds)
            })
            .fold(0.0, f64::max);
        let finished = report
            .finished
            .map_or(0.0, |at| seconds_between(report.started, at));
        Times {
            from: report.started,
            seconds: last_end.max(finished),
        }
    }

    fn bar(&self, step: &StepReport) -> Option<Bar> {
        let started = step.started.filter(|started| *started >= self.from)?;
        if self.seconds <= 0.0 {
            return None;
        }
        let width = (100.0 * step.seconds / self.seconds).clamp(BAR, 100.0);
        let left = 100.0 * seconds_between(self.from, started) / self.seconds;
        Some(Bar {
            left: format!("{:.2}", left.min(100.0 - width)),
            width: format!("{width:.2}"),
        })
    }

    fn any(&self, steps: &[StepReport]) -> bool {
        steps.iter().any(|step| self.bar(step).is_some())
    }
}

/// A text of many lines without what a browser, or who copies from it, could trip over.
fn shown(text: &str) -> String {
    let lines: Vec<_> = text.lines().map(escape_control).collect();
    lines.join("\n")
}

fn seconds(seconds: f64) -> String {
    if seconds > 0.0 {
        duration(seconds)
    } else {
        String::new()
    }
}

fn clock(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::samples;

    #[test]
    fn needs_nothing_but_itself() {
        let page = render(&samples::report());
        for outside in [
            "http:", "https:", "src=", "href=", "@import", "url(", "<script",
        ] {
            assert!(!page.contains(outside), "{outside}");
        }
        assert!(page.contains("prefers-color-scheme"));
    }

    #[test]
    fn names_and_errors_mean_themselves() {
        let mut report = samples::report();
        report.databases[0].name = "<script>alert('x')</script>".to_owned();
        report.databases[0].warnings = vec!["a\u{7}b".to_owned()];
        let page = render(&report);
        assert!(!page.contains("<script"), "{page}");
        assert!(page.contains("&lt;script&gt;"), "{page}");
        assert!(
            !page.contains(|c: char| c.is_control() && c != '\n'),
            "{page}"
        );
        assert!(page.contains(samples::LONG));
    }

    #[test]
    fn shows_what_needs_action() {
        let page = render(&samples::report());
        let open = page.matches("<details open").count();
        assert_eq!(open, 2, "one that failed, one that differs");
        assert!(page.contains("legacy.hash(text)"));
        assert!(page.contains("settings for the load"));
        assert!(page.contains("public.gone"));
    }

    #[test]
    fn bars_lie_within_the_last_run() {
        let report = samples::report();
        let times = Times::from_report(&report);
        assert_eq!(times.seconds, 4_000.0);
        let steps = &report.databases[0].steps;
        assert!(times.bar(&steps[0]).is_none(), "done in the run before");
        let bar = times.bar(&steps[3]).unwrap();
        assert_eq!((bar.left.as_str(), bar.width.as_str()), ("0.03", "1.50"));
    }

    #[test]
    fn many_tables_are_bounded_and_differences_come_first() {
        let mut report = samples::report();
        report.databases.truncate(1);
        report.databases[0].tables = (0..1_200)
            .map(|number| {
                let rows = Some(u64::from(number < 1_199));
                samples::table(&format!("t{number}"), Some(1), rows)
            })
            .collect();
        let page = render(&report);
        assert!(page.contains("700 tables"), "{page}");
        let last = page
            .find("public.t1199")
            .expect("the one that differs is shown");
        assert!(last < page.find("public.t0").unwrap());
    }
}
