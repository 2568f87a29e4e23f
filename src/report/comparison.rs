//! What `pg-migrate verify` found, a database at a time.

use super::format::counted;
use super::width::wrap;
use crate::escape::escape_control;
use crate::names::{RestoreError, TableResult};
use crate::verify::Comparison;

/// Restore errors that are shown; the report has all.
const SHOWN: usize = 20;

/// The database's result, every table that differs and what its restore could not restore, for a terminal of this width;
/// `None`: the target has no such database.
pub(crate) fn render(
    database: &str,
    comparison: Option<&Comparison>,
    restore_errors: &[RestoreError],
    columns: usize,
) -> String {
    let mut out = String::new();
    let name = escape_control(database);
    let Some(comparison) = comparison else {
        let text = format!("{name}: the target has no such database");
        wrap(&mut out, "", &text, columns);
        return out;
    };
    let result = match (comparison.tables.len(), comparison.mismatches().count()) {
        (0, _) => "no tables".to_owned(),
        (compared, 0) => format!("{} compared, no difference", counted(compared, "table")),
        (compared, differing) => {
            let differing = differ(differing);
            format!("{} compared, {differing}", counted(compared, "table"))
        }
    };
    wrap(&mut out, "", &format!("{name}: {result}"), columns);
    for warning in &comparison.warnings {
        wrap(&mut out, "  warning: ", warning, columns);
    }
    for table in comparison.mismatches() {
        wrap(&mut out, "  - ", &difference(table), columns);
    }
    for error in restore_errors.iter().take(SHOWN) {
        let object = escape_control(&error.object);
        let text = format!("restore error: {object}: {}", error.message);
        wrap(&mut out, "  - ", &text, columns);
    }
    let more = restore_errors.len().saturating_sub(SHOWN);
    if more > 0 {
        let text = format!(
            "and {}: see `pg-migrate report`",
            counted(more, "more restore error")
        );
        wrap(&mut out, "  - ", &text, columns);
    }
    out
}

/// A database that is not compared, for a terminal of this width.
pub(crate) fn render_left_out(database: &str, why: &str, columns: usize) -> String {
    let mut out = String::new();
    let text = format!(
        "{}: not compared: {}",
        escape_control(database),
        escape_control(why)
    );
    wrap(&mut out, "", &text, columns);
    out
}

/// What such a comparison does and does not tell.
pub(crate) fn scope(is_estimated: bool, columns: usize) -> String {
    let rows = if is_estimated {
        "how many rows the servers estimate each to have"
    } else {
        "how many rows each has now"
    };
    let text = format!(
        "Compared: which tables there are, {rows}, and how many large objects there are. Not compared: values, indexes, \
         constraints, triggers, functions, sequences, the contents of large objects, settings and privileges."
    );
    let mut out = String::new();
    wrap(&mut out, "", &text, columns);
    out
}

/// `1 differs`, `2 differ`.
pub(crate) fn differ(number: usize) -> String {
    if number == 1 {
        "1 differs".to_owned()
    } else {
        format!("{number} differ")
    }
}

/// `public.orders: 3 rows on the source, 2 rows on the target`.
pub(super) fn difference(table: &TableResult) -> String {
    let rows = [(table.source_rows, "source"), (table.target_rows, "target")]
        .into_iter()
        .filter_map(|(rows, side)| {
            Some(format!("{} on the {side}", counted(rows? as usize, "row")))
        });
    let rows: Vec<String> = rows.chain(table.note.clone()).collect();
    format!(
        "{}: {}",
        escape_control(&table.table.to_string()),
        rows.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::samples::{EVIL, table};

    #[test]
    fn tells_what_differs() {
        let same = Comparison {
            tables: vec![table("a", Some(1), Some(1))],
            warnings: vec!["public.cache: a materialized view, refreshed by the restore".into()],
        };
        let long = "orders_of_a_name_that_is_long";
        let other = Comparison {
            tables: vec![
                table("a", Some(1), Some(1)),
                table(long, Some(1), Some(2_000)),
            ],
            warnings: Vec::new(),
        };
        let key = RestoreError {
            object: "FK CONSTRAINT public.orders orders_customer_fkey".to_owned(),
            message: "insert or update violates it".to_owned(),
            accepted: false,
        };
        let text: String = [
            render("crm", Some(&same), &[], 60),
            render("erp", Some(&other), &[key], 60),
            render("empty", Some(&Comparison::default()), &[], 60),
            render(EVIL, None, &[], 60),
            scope(false, 60),
        ]
        .concat();
        insta::assert_snapshot!(text, @r#"
        crm: 1 table compared, no difference
          warning: public.cache: a materialized view, refreshed by
                   the restore
        erp: 2 tables compared, 1 differs
          - public.orders_of_a_name_that_is_long: 1 row on the
            source, 2,000 rows on the target
          - restore error: FK CONSTRAINT public.orders
            orders_customer_fkey: insert or update violates it
        empty: no tables
        we\u{1b}[31mird "db": the target has no such database
        Compared: which tables there are, how many rows each has
        now, and how many large objects there are. Not compared:
        values, indexes, constraints, triggers, functions,
        sequences, the contents of large objects, settings and
        privileges.
        "#);
    }
}
