//! The report as text: one row a database, then what needs action.

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};

use super::closed;
use super::color::{Color, Tone};
use super::comparison::difference;
use super::document::{
    DatabaseOutcome, DatabaseReport, Report, StepOutcome, StepReport, WithoutEnd,
};
use super::format::{bytes, count, counted, duration};
use super::width::{name, width, wrap};
use crate::journal::Outcome;
use crate::postgres::escape_control;
use crate::shell;

/// Entries of a list that are shown; all are in the report.
const SHOWN: usize = 20;
/// Columns that a database's name has at least, however narrow the terminal.
const NAME: usize = 12;

/// The summary of a run, for a terminal of this width.
pub(crate) fn render(report: &Report, columns: usize, color: Color) -> String {
    let mut out = String::new();
    unsafe_target(&mut out, report, columns, color);
    headline(&mut out, report, columns, color);
    if !report.databases.is_empty() {
        out.push('\n');
        table(&mut out, report, columns, color);
    }
    let mut page = Page {
        out,
        columns,
        color,
    };
    failures(&mut page, report);
    differences(&mut page, report);
    restore_errors(&mut page, report);
    warnings(&mut page, report);
    what_next(&mut page, report);
    page.out
}

/// Before anything else: every minute counts.
fn unsafe_target(out: &mut String, report: &Report, columns: usize, color: Color) {
    if report.settings_restored || report.without_end == Some(WithoutEnd::UnderWay) {
        return;
    }
    let text = "The target still has its settings for the load, with which a crash may lose data: `pg-migrate revert PLAN` restores \
                its own settings.";
    let mut lines = String::new();
    wrap(&mut lines, "", text, columns);
    for line in lines.lines() {
        out.push_str(&color.paint(Tone::Bad, line));
        out.push('\n');
    }
    out.push('\n');
}

fn headline(out: &mut String, report: &Report, columns: usize, color: Color) {
    let (tone, word) = match report.outcome {
        _ if report.without_end == Some(WithoutEnd::UnderWay) => (Tone::Plain, "UNDER WAY"),
        _ if report.without_end == Some(WithoutEnd::Reset) => (Tone::Attention, "RESET"),
        Outcome::Completed => (Tone::Good, "completed"),
        Outcome::Failed => (Tone::Bad, "FAILED"),
        Outcome::Mismatched => (Tone::Bad, "MISMATCHED"),
        Outcome::Interrupted => (Tone::Attention, "INTERRUPTED"),
    };
    let mut text = format!("{} {word}", escape_control(&report.name));
    match report.finished {
        Some(finished) => {
            let took = finished - report.started;
            let seconds = took.total(jiff::Unit::Second).unwrap_or(0.0);
            text.push_str(&format!(" in {}", duration(seconds)));
        }
        None => text.push_str(match report.without_end {
            Some(WithoutEnd::UnderWay) => ": this is how far the run is",
            Some(WithoutEnd::Reset) => ": `pg-migrate reset` forgot steps since the last run",
            None => ": the run was killed",
        }),
    }
    if report.resumed {
        text.push_str(", resumed from an earlier run");
    }
    if let Some(code) = report.exit_code {
        text.push_str(&format!(" (exit code {code})"));
    }
    let mut lines = String::new();
    wrap(&mut lines, "", &text, columns);
    for line in lines.lines() {
        out.push_str(&color.paint(tone, line));
        out.push('\n');
    }
}

/// What a row of the table says.
struct Row {
    name: String,
    tone: Tone,
    cells: Vec<String>,
}

fn table(out: &mut String, report: &Report, columns: usize, color: Color) {
    let delayed = report
        .databases
        .iter()
        .any(|database| database.seconds.delayed > 0.0);
    let mut header = vec!["outcome", "size", "tables", "rows", "regular"];
    if delayed {
        header.push("delayed");
    }
    let mut rows: Vec<Row> = report
        .databases
        .iter()
        .map(|database| row(database, delayed))
        .collect();
    if rows.len() > 1 {
        rows.push(totals(report, delayed));
    }

    // The name has what the other columns leave, so that the table fits.
    let others: usize = (0..header.len())
        .map(|column| {
            let cells = rows.iter().map(|row| width(&row.cells[column]));
            2 + cells.max().unwrap_or(0).max(header[column].len())
        })
        .sum();
    let room = columns.saturating_sub(others).max(NAME);

    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled)
        .force_no_tty();
    table.set_header(std::iter::once("database").chain(header));
    for row in &rows {
        table.add_row(std::iter::once(name(&row.name, room)).chain(row.cells.iter().cloned()));
    }
    for (position, column) in table.column_iter_mut().enumerate() {
        column.set_padding((if position == 0 { 0 } else { 2 }, 0));
        if position > 1 {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    for (position, line) in table.lines().enumerate() {
        // The header is the first line.
        let tone = position
            .checked_sub(1)
            .map_or(Tone::Plain, |row| rows[row].tone);
        out.push_str(&color.paint(tone, line.trim_end()));
        out.push('\n');
    }
}

fn row(database: &DatabaseReport, delayed: bool) -> Row {
    let compared = database.tables.len();
    let matched = database.tables.iter().filter(|table| table.matches).count();
    let rows = database.tables.iter().filter_map(|table| table.target_rows);
    let mut cells = vec![
        database.outcome.as_str().to_owned(),
        bytes(database.bytes),
        format!("{}/{}", count(matched as u64), count(compared as u64)),
        count(rows.sum()),
        seconds(database.seconds.regular),
    ];
    if delayed {
        cells.push(seconds(database.seconds.delayed));
    }
    Row {
        name: database.name.clone(),
        tone: match database.outcome {
            DatabaseOutcome::Completed => Tone::Plain,
            DatabaseOutcome::Failed | DatabaseOutcome::Mismatched => Tone::Bad,
            DatabaseOutcome::Interrupted | DatabaseOutcome::Pending => Tone::Attention,
        },
        cells,
    }
}

fn totals(report: &Report, delayed: bool) -> Row {
    let databases = &report.databases;
    let tables = || databases.iter().flat_map(|database| &database.tables);
    let completed = databases
        .iter()
        .filter(|database| database.outcome == DatabaseOutcome::Completed)
        .count();
    let mut cells = vec![
        format!(
            "{}/{}",
            count(completed as u64),
            count(databases.len() as u64)
        ),
        bytes(databases.iter().map(|database| database.bytes).sum()),
        format!(
            "{}/{}",
            count(tables().filter(|table| table.matches).count() as u64),
            count(tables().count() as u64)
        ),
        count(tables().filter_map(|table| table.target_rows).sum()),
        // Databases migrate side by side: a sum of their times would be no time that anything took.
        String::new(),
    ];
    if delayed {
        cells.push(String::new());
    }
    Row {
        name: "total".to_owned(),
        tone: Tone::Plain,
        cells,
    }
}

fn seconds(seconds: f64) -> String {
    if seconds > 0.0 {
        duration(seconds)
    } else {
        "-".to_owned()
    }
}

/// The lists below the table.
struct Page {
    out: String,
    columns: usize,
    color: Color,
}

impl Page {
    fn section(&mut self, tone: Tone, title: &str) {
        self.out.push('\n');
        self.out.push_str(&self.color.paint(tone, title));
        self.out.push('\n');
    }

    fn entry(&mut self, text: &str) {
        wrap(&mut self.out, "  - ", text, self.columns);
    }

    /// A list of at most [`SHOWN`] entries, or nothing where there are none.
    fn list(&mut self, tone: Tone, title: &str, entries: impl Iterator<Item = String>) {
        let mut entries = entries.peekable();
        if entries.peek().is_none() {
            return;
        }
        self.section(tone, title);
        for entry in entries.by_ref().take(SHOWN) {
            self.entry(&entry);
        }
        let more = entries.count();
        if more > 0 {
            self.entry(&format!("and {} more, see report.json", count(more as u64)));
        }
    }
}

/// Every step of the report with its id.
fn steps(report: &Report) -> impl Iterator<Item = (String, &StepReport)> {
    let server = report
        .server
        .steps
        .iter()
        .map(|step| (step.kind.to_string(), step));
    let databases = report.databases.iter().flat_map(|database| {
        database.steps.iter().map(move |step| {
            (
                format!("{}/{}", escape_control(&database.name), step.kind),
                step,
            )
        })
    });
    server.chain(databases)
}

fn failures(page: &mut Page, report: &Report) {
    let failed = steps(report)
        .filter(|(_, step)| step.state == StepOutcome::Failed)
        .map(|(id, step)| {
            let attempts = counted(step.attempts as usize, "attempt");
            let error = step.error.as_deref().filter(|error| !error.is_empty());
            format!(
                "{id} ({attempts}): {}",
                error.unwrap_or("no error on record")
            )
        });
    page.list(Tone::Bad, "Failed steps", failed);
    let skipped = steps(report)
        .filter(|(_, step)| step.state == StepOutcome::Skipped)
        .count();
    if skipped > 0 {
        let (steps, they_need) = if skipped == 1 {
            ("1 step was".to_owned(), "it needs")
        } else {
            (format!("{} steps were", count(skipped as u64)), "they need")
        };
        page.entry(&format!(
            "{steps} not started: a step that {they_need} failed"
        ));
    }
}

fn differences(page: &mut Page, report: &Report) {
    let tables = report.databases.iter().flat_map(|database| {
        let differing = database.tables.iter().filter(|table| !table.matches);
        let name = escape_control(&database.name);
        differing.map(move |table| format!("{name} {}", difference(table)))
    });
    page.list(Tone::Bad, "Tables that differ", tables);
}

fn restore_errors(page: &mut Page, report: &Report) {
    let server = report
        .server
        .restore_errors
        .iter()
        .map(|entry| (None, entry));
    let databases = report.databases.iter().flat_map(|database| {
        let name = Some(database.name.as_str());
        database
            .restore_errors
            .iter()
            .map(move |entry| (name, entry))
    });
    let entries: Vec<_> = server.chain(databases).collect();
    let unaccepted = entries.iter().filter(|(_, entry)| !entry.accepted);
    let lines = unaccepted.map(|(database, entry)| {
        let about = database.map_or(String::new(), |name| format!("{} ", escape_control(name)));
        format!(
            "{about}{}: {}",
            escape_control(&entry.object),
            entry.message
        )
    });
    page.list(
        Tone::Bad,
        "Restore errors that the plan does not accept",
        lines,
    );
    let accepted = entries.iter().filter(|(_, entry)| entry.accepted).count();
    if accepted > 0 {
        page.out.push('\n');
        let text = format!(
            "{} accepted by the plan, see report.json",
            counted(accepted, "restore error")
        );
        wrap(&mut page.out, "", &text, page.columns);
    }
}

fn warnings(page: &mut Page, report: &Report) {
    let server = report.server.warnings.iter().cloned();
    let databases = report.databases.iter().flat_map(|database| {
        let name = escape_control(&database.name);
        database
            .warnings
            .iter()
            .map(move |warning| format!("{name}: {warning}"))
    });
    page.list(Tone::Attention, "Warnings", server.chain(databases));
}

fn what_next(page: &mut Page, report: &Report) {
    if report.without_end == Some(WithoutEnd::UnderWay) {
        return;
    }
    let mut advice = Vec::new();
    advice.extend(closed::sentences(&report.closed));
    match report.outcome {
        Outcome::Completed => {}
        Outcome::Failed => advice.push(
            "Fix the cause, then `pg-migrate run PLAN` resumes: what is done is not done again. What the \
             client programs wrote is in the state directory, under log/. A restore error that is expected \
             goes into the plan under [[accept]]."
                .to_owned(),
        ),
        Outcome::Mismatched => {}
        Outcome::Interrupted if report.without_end == Some(WithoutEnd::Reset) => advice.push(
            "`pg-migrate run PLAN` does what was forgotten again.".to_owned(),
        ),
        Outcome::Interrupted => advice.push(
            "`pg-migrate run PLAN` resumes: what is done is not done again.".to_owned(),
        ),
    }
    let refused = report.databases.iter().find(|database| {
        let mut errors = database.restore_errors.iter();
        errors.any(|error| !error.accepted)
    });
    if let Some(database) = refused {
        advice.push(format!(
            "Restore errors whose cause is on the source stay in the archive: fix the cause there, and \
             `pg-migrate reset PLAN --database {} --step dump` before the next run has it dumped again.",
            shell::quote(&database.name)
        ));
    }
    let mismatched = report
        .databases
        .iter()
        .find(|database| database.outcome == DatabaseOutcome::Mismatched);
    if let Some(database) = mismatched {
        advice.push(format!(
            "Find out why the tables differ: whether another session wrote to the target, or an object is missing there. \
             `pg-migrate verify PLAN` compares again; `pg-migrate reset PLAN --database {name} --drop {name}` \
             and another run drop the target's database and move it again.",
            name = shell::quote(&database.name)
        ));
    }
    page.list(Tone::Plain, "What to do next", advice.into_iter());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::samples;
    use crate::report::samples::table as table_result;

    #[test]
    fn says_what_happened_and_what_to_do() {
        insta::assert_snapshot!(render(&samples::report(), 80, Color::Off), @r#"
        The target still has its settings for the load, with which a crash may lose
        data: `pg-migrate revert PLAN` restores its own settings.

        erp-10-to-18 FAILED in 1h 06m 40s, resumed from an earlier run (exit code 4)

        database                       outcome         size  tables       rows  regular
        crm                            completed    20.0 MB     2/2  1,234,577   1m 34s
        we\u{1b}[31mird "db"           mismatched    341 MB     1/3      1,002   13.1 s
        請求書管理シス…集計二〇二四年  failed        5.0 GB     0/0          0  25m 01s
        erp                            interrupted   1.2 TB     0/0          0    1.0 s
        total                          1/4           1.2 TB     3/5  1,235,579

        Failed steps
          - we\u{1b}[31mird "db"/verify (1 attempt): 2 of 3 tables differ
          - 請求書管理システム顧客別売上集計二〇二四年/restore (5 attempts): pg_restore
            ended with 1 on the target:
              ERROR:  could not access file "$libdir/legacy": No such file or directory
          - 2 steps were not started: a step that they need failed

        Tables that differ
          - we\u{1b}[31mird "db" public.gone: 7 rows on the source, not on the target
          - we\u{1b}[31mird "db" public.more\u{1b}[1m: 1,000 rows on the source, 1,001
            rows on the target

        Restore errors that the plan does not accept
          - 請求書管理システム顧客別売上集計二〇二四年 FUNCTION legacy.hash(text): could
            not access file "$libdir/legacy": No such file or directory

        1 restore error accepted by the plan, see report.json

        Warnings
          - role "app" moved without its password

        What to do next
          - Fix the cause, then `pg-migrate run PLAN` resumes: what is done is not done
            again. What the client programs wrote is in the state directory, under log/.
            A restore error that is expected goes into the plan under [[accept]].
          - Restore errors whose cause is on the source stay in the archive: fix the
            cause there, and `pg-migrate reset PLAN --database
            '請求書管理システム顧客別売上集計二〇二四年' --step dump` before the next
            run has it dumped again.
          - Find out why the tables differ: whether another session wrote to the target,
            or an object is missing there. `pg-migrate verify PLAN` compares again;
            `pg-migrate reset PLAN --database $'we\033[31mird "db"' --drop
            $'we\033[31mird "db"'` and another run drop the target's database and move
            it again.
        "#);
    }

    #[test]
    fn a_good_run_of_one_database_needs_few_words() {
        let mut report = samples::report();
        report.outcome = Outcome::Completed;
        report.exit_code = Some(0);
        report.resumed = false;
        report.settings_restored = true;
        report.databases.truncate(1);
        report.server.warnings.clear();
        report.server.steps.truncate(2);
        insta::assert_snapshot!(render(&report, 80, Color::Off), @"
        erp-10-to-18 completed in 1h 06m 40s (exit code 0)

        database  outcome       size  tables       rows  regular
        crm       completed  20.0 MB     2/2  1,234,577   1m 34s
        ");
    }

    #[test]
    fn the_delayed_phase_has_a_column_of_its_own() {
        let mut report = samples::report();
        report.databases.truncate(1);
        report.databases[0].seconds.delayed = 61.0;
        report.settings_restored = true;
        let text = render(&report, 80, Color::Off);
        let lines: Vec<&str> = text.lines().skip(2).take(2).collect();
        insta::assert_snapshot!(lines.join("\n"), @"
        database  outcome       size  tables       rows  regular  delayed
        crm       completed  20.0 MB     2/2  1,234,577   1m 34s   1m 01s
        ");
    }

    #[test]
    fn lists_are_bounded() {
        let mut report = samples::report();
        report.databases[0].tables = (0..1_023)
            .map(|number| table_result(&format!("t{number}"), Some(1), Some(2)))
            .collect();
        let text = render(&report, 80, Color::Off);
        assert!(
            text.contains("\n  - and 1,005 more, see report.json\n"),
            "{text}"
        );
        assert_eq!(text.matches("crm public.t").count(), SHOWN);
    }

    #[test]
    fn every_line_fits_and_colours_change_nothing_else() {
        for columns in [60, 80, 200] {
            let plain = render(&samples::report(), columns, Color::Off);
            for line in plain.lines() {
                // A word that is too long for a line stays whole.
                assert!(width(line) <= columns || columns == 60, "{line}");
            }
            let colored = render(&samples::report(), columns, Color::On);
            let mut stripped = colored.clone();
            for code in ["\x1b[0m", "\x1b[31m", "\x1b[32m", "\x1b[33m"] {
                stripped = stripped.replace(code, "");
            }
            assert_eq!(stripped, plain);
            assert_ne!(colored, plain);
        }
    }
}
