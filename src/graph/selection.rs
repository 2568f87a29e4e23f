//! Which databases migrate, and which others the target has.

use std::collections::{BTreeSet, HashSet};

use crate::catalog::{Database, ServerFacts};
use crate::plan::Plan;

/// The databases that migrate, smallest first.
pub(crate) fn select<'a>(plan: &Plan, source: &'a ServerFacts) -> Vec<&'a Database> {
    let databases = source.databases.iter();
    let mut selected: Vec<&Database> = databases
        .filter(|database| is_selected(plan, database))
        .collect();
    selected.sort_by(|a, b| (a.bytes, &a.name).cmp(&(b.bytes, &b.name)));
    selected
}

/// Whether a database of the source migrates.
pub(crate) fn is_selected(plan: &Plan, database: &Database) -> bool {
    !database.is_of_installation()
        && plan.databases.takes(&database.name)
        && database.left_out().is_none()
}

/// Databases of the target that have nothing to do with this plan and hold something, or that could not be
/// looked into. The `postgres` of a new server is not one of them.
pub(super) fn others<'a>(
    target: &'a ServerFacts,
    migrating: &[&Database],
    created: &BTreeSet<String>,
) -> Vec<&'a str> {
    let migrating: HashSet<&str> = migrating
        .iter()
        .map(|database| database.name.as_str())
        .collect();
    let mut others: Vec<&str> = target
        .databases
        .iter()
        .filter(|database| !matches!(database.name.as_str(), "template0" | "template1"))
        .filter(|database| !migrating.contains(database.name.as_str()))
        .filter(|database| !created.contains(&database.name))
        .filter(|database| {
            let contents = database.contents.as_ref();
            contents.is_none_or(|contents| !contents.is_empty())
        })
        .map(|database| database.name.as_str())
        .collect();
    others.sort_unstable();
    others
}
