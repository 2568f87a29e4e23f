//! What somebody should know about the delayed tables of a database.

use std::collections::HashSet;

use super::delay::DelayedTable;
use super::{Finding, Severity};
use crate::catalog::Contents;
use crate::names::TableName;

/// Everything about the delayed tables of one database.
pub fn of(database: &str, contents: &Contents, delayed: &[DelayedTable]) -> Vec<Finding> {
    let tables: HashSet<&TableName> = delayed.iter().map(|table| &table.name).collect();
    let mut findings = kept_indexes(database, contents, &tables);
    findings.extend(load_order(database, contents, &tables));
    findings
}

/// The secondary indexes of delayed tables that stay during the load, with the reason.
fn kept_indexes(
    database: &str,
    contents: &Contents,
    delayed: &HashSet<&TableName>,
) -> Vec<Finding> {
    contents
        .attached_indexes
        .iter()
        .filter(|index| delayed.contains(&index.table))
        .map(|index| Finding {
            severity: Severity::Info,
            code: "delay/index-kept".into(),
            database: Some(database.to_owned()),
            object: Some(TableName::new(&*index.table.schema, &*index.name).to_string()),
            message: format!(
                "it stays while {} is loaded, which takes longer for that: it is attached to the partitioned index \
                 {}, and cannot be dropped but with that one and the indexes of all partitions, delayed or not",
                index.table, index.parent
            ),
            fix: None,
        })
        .collect()
}

/// Constraints with which the regular phase or the load would fail.
fn load_order(database: &str, contents: &Contents, delayed: &HashSet<&TableName>) -> Vec<Finding> {
    let constraints = contents.load_order_constraints.iter();
    constraints
        .filter(|constraint| delayed.contains(&constraint.table))
        .filter_map(|found| {
            let (table, constraint) = (&found.table, &found.constraint);
            let (severity, code, message, fix) = match &found.referring {
                Some(referring) if delayed.contains(referring) => return None,
                Some(referring) => (
                    Severity::Block,
                    "delay/referenced",
                    format!(
                        "{referring} refers to it by the foreign key {constraint}, which the regular phase could \
                         not make: the rows that {referring} refers to would not be there yet"
                    ),
                    format!("delay {referring} as well, or do not delay {table}"),
                ),
                None => (
                    Severity::Warn,
                    "delay/not-valid-check",
                    format!(
                        "the check {constraint} is NOT VALID: rows that violate it are in a regular restore before the \
                         check is, but the delayed load would fail on them"
                    ),
                    format!("ALTER TABLE … VALIDATE CONSTRAINT on the source, or do not delay {table}"),
                ),
            };
            Some(Finding {
                severity,
                code: code.into(),
                database: Some(database.to_owned()),
                object: Some(table.to_string()),
                message,
                fix: Some(fix),
            })
        })
        .collect()
}
