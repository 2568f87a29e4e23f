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

/// Databases of the target that have nothing to do with this plan.
pub(super) struct Others<'a> {
    /// Those that hold something, or that could not be looked into. The `postgres` of a new server is not one of them.
    pub serving: Vec<&'a str>,
    /// `postgres`, where it holds what administrators and agents put there, and no rows.
    pub prepared: Option<&'a str>,
}

pub(super) fn others<'a>(
    target: &'a ServerFacts,
    migrating: &[&Database],
    created: &BTreeSet<String>,
) -> Others<'a> {
    let migrating: HashSet<&str> = migrating
        .iter()
        .map(|database| database.name.as_str())
        .collect();
    let holding = target
        .databases
        .iter()
        .filter(|database| !matches!(database.name.as_str(), "template0" | "template1"))
        .filter(|database| !migrating.contains(database.name.as_str()))
        .filter(|database| !created.contains(&database.name))
        .filter(|database| {
            let contents = database.contents.as_ref();
            contents.is_none_or(|contents| !contents.is_empty() && !contents.is_of_extensions())
        });
    let is_prepared = |database: &&Database| {
        let contents = database.contents.as_ref();
        database.is_of_installation() && contents.is_some_and(|contents| !contents.has_rows())
    };
    let (prepared, serving): (Vec<&Database>, Vec<&Database>) = holding.partition(is_prepared);
    let mut serving: Vec<&str> = serving.iter().map(|one| one.name.as_str()).collect();
    serving.sort_unstable();
    Others {
        serving,
        prepared: prepared.first().map(|one| one.name.as_str()),
    }
}
