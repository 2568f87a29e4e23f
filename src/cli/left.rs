//! Findings about what earlier runs left on the target, by the journal of the plan.

use std::collections::HashSet;

use crate::catalog::{Inspection, value};
use crate::finding::Finding;
use crate::graph::select;
use crate::journal::{Created, State};
use crate::names::{Kind, Product, StepId};
use crate::plan::Plan;
use crate::preflight::{self, Unfinished};
use crate::run::{is_missing, missing};

pub(super) fn findings(plan: &Plan, state: &State, inspection: &Inspection) -> Vec<Finding> {
    let mut found: Vec<Finding> = [still_tuned(state), found_unsafe(plan, state, inspection)]
        .into_iter()
        .flatten()
        .collect();
    found.extend(state.damage.as_deref().map(preflight::for_damage));
    found.extend(gone(plan, state, inspection));
    found.extend(promoted(state, inspection));
    found.extend(dropped_next(plan, state, inspection));
    found.extend(unfinished(plan, state, inspection));
    found
}

/// A finding where a run left the target with its settings for the load, or is at work with them.
fn still_tuned(state: &State) -> Option<Finding> {
    let names: Vec<&str> = state.tuned.keys().map(String::as_str).collect();
    preflight::for_settings_left(&names)
}

/// Settings with which the target loses what it was given: in a crash of its operating system, a moment's commits, or, with
/// nobody who vacuums, by and by.
const SAFEGUARDS: [&str; 4] = [
    "fsync",
    "full_page_writes",
    "synchronous_commit",
    "autovacuum",
];

/// A finding where one of them is off, and no run of this plan did that: another plan's, or one whose state is lost.
fn found_unsafe(plan: &Plan, state: &State, inspection: &Inspection) -> Option<Finding> {
    let own = &inspection.target.configuration.own;
    let off: Vec<_> = SAFEGUARDS
        .iter()
        .filter(|name| !state.tuned.contains_key(**name))
        .filter_map(|name| own.get(*name))
        .filter(|found| value::boolean(&found.setting) == Some(false))
        .collect();
    preflight::for_found_unsafe(plan.tuning.found_unsafe, &off)
}

/// Findings about databases that this plan made, and that the target does not have any more.
fn gone(plan: &Plan, state: &State, inspection: &Inspection) -> Vec<Finding> {
    let databases = select(plan, &inspection.source);
    let names = databases.iter().map(|database| &database.name);
    let missing = missing(names, state, &inspection.target);
    missing.iter().map(preflight::for_missing).collect()
}

/// A finding where the target was promoted since the last run: it may lack what that restored last.
fn promoted(state: &State, inspection: &Inspection) -> Option<Finding> {
    let (was, is) = (state.target_timeline?, inspection.target.timeline?);
    (was != is && !state.created.is_empty()).then(|| preflight::for_promoted(was, is))
}

/// Findings about databases that this plan created and that the next run drops.
fn dropped_next(plan: &Plan, state: &State, inspection: &Inspection) -> Vec<Finding> {
    let databases = select(plan, &inspection.source);
    let databases = databases.iter().map(|database| &database.name);
    let found = databases.filter(|name| {
        // What was there before is not dropped: that it is not empty is another finding.
        let is_ours = matches!(
            state.created.get(*name),
            Some(Created::Begun | Created::WithOid(_))
        );
        is_ours
            && inspection.target.database(name).is_some()
            && !is_missing(name, state, &inspection.target)
            && is_created_next(name, state)
    });
    found
        .map(|name| preflight::for_dropped(name, state.verified.contains_key(name)))
        .collect()
}

/// Whether the next run creates the database, again perhaps.
fn is_created_next(name: &str, state: &State) -> bool {
    let id = |kind| StepId::database(&name.into(), kind);
    let (create, restore) = (id(Kind::Create), id(Kind::Restore));
    // A restore that did not end has its database created again.
    let is_begun = state.steps.contains_key(&restore) && !state.is_done(&restore);
    !state.is_done(&create) || is_begun
}

/// Whether the next run would have to drop a database that was there, empty, before this plan filled it.
pub(super) fn is_to_be_emptied(name: &str, state: &State) -> bool {
    matches!(state.created.get(name), Some(Created::Found(_))) && is_created_next(name, state)
}

/// Findings about databases that this plan began, and does not move any more.
fn unfinished(plan: &Plan, state: &State, inspection: &Inspection) -> Vec<Finding> {
    let selected = select(plan, &inspection.source);
    let selected: HashSet<&str> = selected.iter().map(|database| &*database.name).collect();
    let left = state.created.keys().filter(|name| {
        !selected.contains(name.as_str())
            && inspection.target.database(name).is_some()
            && !is_missing(name, state, &inspection.target)
    });
    left.filter_map(|name| {
        let unfinished = how_unfinished(state, name)?;
        Some(preflight::for_unfinished(name, &unfinished))
    })
    .collect()
}

fn how_unfinished(state: &State, name: &str) -> Option<Unfinished> {
    let is_closed = state.closed.contains(name);
    if !state.verified.contains_key(name) {
        return is_closed.then_some(Unfinished::Unverified);
    }
    let id = |kind| StepId::database(&name.into(), kind);
    let dump = state.output_of(&id(Kind::Dump));
    let has_delayed = dump.is_some_and(
        |dump| matches!(&dump.product, Product::Dump(dump) if !dump.delayed.is_empty()),
    );
    if has_delayed && !state.is_done(&id(Kind::DelayedVerify)) {
        return Some(Unfinished::Delayed);
    }
    is_closed.then_some(Unfinished::Closed)
}
