//! Facts in, findings out: what a reader should know about two servers and a plan before the run.
//!
//! A file per subject, a function per check. A check is pure: it is given what `inspect` saw and what `graph` decided, and
//! says what it finds; nothing is decided here. The functions whose names begin with `for_` are the entrances, and read as
//! tables of contents. What can be found at all is listed in [`crate::finding::Code`].

mod budgets;
mod chain;
mod clients;
mod continuity;
mod databases;
mod delay;
mod elsewhere;
mod fences;
mod found;
mod groups_there;
mod holes;
mod left;
mod libraries;
mod locks;
mod lost_settings;
mod newer;
mod not_moved;
mod objects;
mod other_settings;
mod plan_keys;
mod roles;
mod roles_there;
mod selection;
mod servers;
mod settings;
mod system;
mod tablespaces;
mod tablespaces_there;
#[cfg(test)]
mod tests;
mod tuning;
mod waivers;
mod words;

pub(crate) use budgets::{Budget, Fitted, for_budgets, for_database_limit};
pub(crate) use chain::{
    HalfDone, for_damaged_source, for_half_done_source, for_settings_left_on_source,
    for_unreadable_source_mark,
};
pub(crate) use clients::{for_compression, for_dump_root, for_dump_space};
pub(crate) use continuity::{
    Changed, for_changed_source, for_changed_target, for_promoted_behind, for_replaced_source,
};
pub(crate) use databases::{for_dropped, for_missing, for_not_remade};
pub(crate) use delay::{
    for_delay_pattern, for_delayed_tables, for_later_snapshot, for_new_table, for_refused_table,
};
pub(crate) use found::for_found_unsafe;
pub(crate) use left::{
    Unfinished, for_damage, for_difference, for_dumps_of_earlier_run, for_half_done_by_another,
    for_mark_closed, for_mark_gone, for_opened, for_settings_left, for_settings_left_by_another,
    for_unfinished,
};
pub(crate) use locks::for_lock_table;
pub(crate) use not_moved::for_appeared;
pub(crate) use roles_there::{differs_in_salt_alone, for_roles_there};
pub(crate) use selection::{Earlier, for_selection};
pub(crate) use settings::{for_setting, for_settings_out_of_reach, for_unknown_setting};
pub(crate) use tablespaces::for_tablespaces;
pub(crate) use tablespaces_there::for_tablespaces_there;
pub(crate) use tuning::{MemoryUse, TuningFacts, for_memory, for_tuning};
pub(crate) use waivers::{is_waived, is_waived_for, waive};

use std::collections::BTreeSet;

use crate::catalog::{Database, Inspection};
use crate::finding::Finding;
use crate::plan::{Plan, Side};

/// About the servers, the client programs and the roles.
pub(crate) fn for_servers(plan: &Plan, inspection: &Inspection) -> Vec<Finding> {
    [
        clients::for_clients(plan, inspection),
        holes::for_versions(inspection),
        servers::for_versions(inspection),
        servers::for_source(plan, &inspection.source),
        servers::for_target(&inspection.target),
        found::for_read_only(plan, &inspection.target)
            .into_iter()
            .collect(),
        [
            continuity::for_no_history(&inspection.source, Side::Source),
            continuity::for_no_history(&inspection.target, Side::Target),
        ]
        .into_iter()
        .flatten()
        .collect(),
        roles::for_source(plan, &inspection.source),
        roles::for_target(plan, inspection),
        libraries::for_roles(plan.globals, &inspection.target),
        not_moved::for_server(plan.globals, inspection),
        lost_settings::for_roles(plan, inspection),
        lost_settings::for_missing_roles(plan, inspection),
        other_settings::for_servers(inspection)
            .into_iter()
            .collect(),
        plan_keys::for_plan(plan),
        match plan.globals {
            true => fences::for_roles(&inspection.source),
            false => Vec::new(),
        },
    ]
    .concat()
}

/// About one database that migrates. `created`: the target's databases that this plan created.
pub(crate) fn for_database(
    plan: &Plan,
    database: &Database,
    inspection: &Inspection,
    created: &BTreeSet<String>,
) -> Vec<Finding> {
    let Inspection { source, target, .. } = inspection;
    [
        databases::for_database(database, source, target, created),
        objects::for_database(database, source, target),
        libraries::for_database(database, target),
        not_moved::for_database(plan, database, target),
        lost_settings::for_database(plan, database, inspection),
        fences::for_database(database).into_iter().collect(),
    ]
    .concat()
}
