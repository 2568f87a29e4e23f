//! What somebody should know about the delayed tables of a database.

use std::collections::HashSet;

use super::delay::DelayedTable;
use crate::catalog::Contents;
use crate::finding::{Code, Finding, Severity};

/// Schemas and names.
type Tables<'a> = HashSet<(&'a str, &'a str)>;

/// Everything about the delayed tables of one database.
pub fn of(database: &str, contents: &Contents, delayed: &[DelayedTable]) -> Vec<Finding> {
    let tables = delayed
        .iter()
        .map(|table| (table.schema.as_str(), table.name.as_str()))
        .collect();
    let mut findings = kept_indexes(database, contents, &tables);
    findings.extend(hurdles(database, contents, &tables));
    findings
}

/// The secondary indexes of delayed tables that stay during the load, with the reason.
fn kept_indexes(database: &str, contents: &Contents, delayed: &Tables<'_>) -> Vec<Finding> {
    contents
        .attached_indexes
        .iter()
        .filter(|index| delayed.contains(&(index.schema.as_str(), index.table.as_str())))
        .map(|index| Finding {
            severity: Severity::Info,
            code: Code::DelayIndexKept,
            database: Some(database.to_owned()),
            object: Some(format!("{}.{}", index.schema, index.name)),
            message: format!(
                "it stays while {}.{} is loaded, which takes longer for that: it is attached to the partitioned index \
                 {}, and cannot be dropped but with that one and the indexes of all partitions, delayed or not",
                index.schema, index.table, index.parent
            ),
            fix: None,
        })
        .collect()
}

/// Constraints with which the regular phase or the load would fail.
fn hurdles(database: &str, contents: &Contents, delayed: &Tables<'_>) -> Vec<Finding> {
    let hurdles = contents.hurdles.iter();
    let hurdles = hurdles.filter(|hurdle| delayed.contains(&(&hurdle.schema, &hurdle.table)));
    hurdles
        .filter_map(|hurdle| {
            let table = format!("{}.{}", hurdle.schema, hurdle.table);
            let constraint = &hurdle.constraint;
            let (severity, code, message, fix) = match &hurdle.referring {
                Some((schema, name)) if delayed.contains(&(schema, name)) => return None,
                Some((schema, name)) => (
                    Severity::Block,
                    Code::DelayReferenced,
                    format!(
                        "{schema}.{name} refers to it by the foreign key {constraint}, which the regular phase could \
                         not make: the rows that {schema}.{name} refers to would not be there yet"
                    ),
                    format!("delay {schema}.{name} as well, or do not delay {table}"),
                ),
                None => (
                    Severity::Warn,
                    Code::DelayNotValidCheck,
                    format!(
                        "the check {constraint} is NOT VALID: rows that violate it are in a regular restore before the \
                         check is, but the delayed load would fail on them"
                    ),
                    format!("ALTER TABLE … VALIDATE CONSTRAINT on the source, or do not delay {table}"),
                ),
            };
            Some(Finding {
                severity,
                code,
                database: Some(database.to_owned()),
                object: Some(table),
                message,
                fix: Some(fix),
            })
        })
        .collect()
}
