//! Findings about what earlier runs left on the target, by the journal of the plan.

use std::collections::{BTreeSet, HashSet};

use crate::catalog::{
    Contents, Database, Inspection, Privilege, Role, SAFEGUARDS, ServerFacts, ServerSetting, value,
};
use crate::finding::{Code, Finding};
use crate::graph::select;
use crate::journal::{Created, State, Status};
use crate::names::{Kind, LOAD_LOGIN, Product, StepId, TableName};
use crate::plan::Plan;
use crate::preflight::{self, Changed, Unfinished};
use crate::run::{
    Doubt, Doubts, Marking, Older, is_missing, is_other_server, missing, obstacle_to_remaking,
};

/// `state`: without what is not believed.
pub(super) fn findings(
    plan: &Plan,
    state: &State,
    inspection: &Inspection,
    doubts: &Doubts,
) -> Vec<Finding> {
    let mut found: Vec<Finding> = [still_tuned(state), found_unsafe(plan, state, inspection)]
        .into_iter()
        .flatten()
        .collect();
    found.extend(state.damage.as_deref().map(preflight::for_damage));
    found.extend(gone(plan, state, inspection));
    found.extend(changed(doubts));
    found.extend(dropped_next(plan, state, inspection));
    found.extend(not_remade(plan, state, inspection));
    found.extend(unfinished(plan, state, inspection));
    found.extend(opened(state, &inspection.target));
    found.extend(dumped_before(plan, state, inspection));
    let differed = state.differences.iter().filter(|(name, _)| {
        !is_created_next(name, state) && !is_missing(name, state, &inspection.target)
    });
    found.extend(differed.map(|(name, tables)| {
        let tables: Vec<TableName> = tables.iter().cloned().collect();
        preflight::for_difference(name, &tables)
    }));
    found
}

/// Findings by the target's mark.
pub(super) fn by_mark(
    marking: &Marking,
    state: &State,
    target: &ServerFacts,
    doubts: &Doubts,
) -> Vec<Finding> {
    let mut found = Vec::new();
    // A server that went back, took over too early, or is another one, has none, and is told.
    let is_gone = marking.older.as_ref().is_some_and(Older::is_gone);
    if is_gone && doubts.target.is_none() && !is_other_server(state, target) {
        found.push(preflight::for_mark_gone());
    }
    if state.damage.is_none() {
        found.extend(marking.damage.as_deref().map(preflight::for_damage));
    }
    if marking.is_closed {
        found.push(preflight::for_mark_closed(&target.user));
    }
    if state.tuned.is_empty() {
        let settings = marking.others.iter().flat_map(|other| &other.settings);
        let names: Vec<&str> = settings.map(|(name, _)| name.as_str()).collect();
        let is_unsafe = !switched_off(target).is_empty();
        found.extend(preflight::for_settings_left_by_another(&names, is_unsafe));
    }
    let databases = marking.others.iter().flat_map(|other| &other.databases);
    let half_done = databases.filter(|one| {
        let there = target.database(&one.name);
        !one.is_handed_over && there.is_some_and(|there| Some(there.oid) == one.oid)
    });
    found.extend(half_done.map(|one| preflight::for_half_done_by_another(&one.name)));
    found
}

/// Findings about roles and tablespaces that were on the target before, and that this plan did not make.
pub(super) fn roles_there(
    plan: &Plan,
    marking: &Marking,
    state: &State,
    inspection: &Inspection,
) -> Vec<Finding> {
    let mut found = preflight::for_roles_there(plan, inspection, |role| {
        is_ours(role, marking, state, &inspection.source)
    });
    found.extend(preflight::for_tablespaces_there(plan, inspection, |name| {
        let known = state.roles.get(&format!("tablespace \"{name}\""));
        known.map(|tablespace| tablespace.after.is_some())
    }));
    found
}

/// Whether this plan made the target's role, or set it to the end before, and the target is as it was since; or one of its name under another
/// state directory, which handed nothing over and has the same source: its state was lost. Where clients have a database of it, the role is
/// theirs. A role that was there, and that a run which died was about to set, is compared again: it may have been changed since.
fn is_ours(role: &Role, marking: &Marking, state: &State, source: &ServerFacts) -> bool {
    let others = marking.others.iter();
    let mut others = others.filter(|other| {
        other.roles.get(&role.name) == Some(&role.oid) && other.source == source.system_identifier
    });
    let known = state.roles.get(&format!("role \"{}\"", role.name));
    known.is_some_and(|known| known.after.is_some())
        || state.created_roles.get(&role.name) == Some(&Some(role.oid))
        || others.any(|other| !other.databases.iter().any(|one| one.is_handed_over))
}

/// Roles of the target that the run leaves as they are, although the source has some of these names: its bootstrap superuser, those
/// that its replication goes by, and those of which nothing is known to differ; now or when this plan first met them.
pub(super) fn kept_roles(
    plan: &Plan,
    marking: &Marking,
    state: &State,
    inspection: &Inspection,
) -> BTreeSet<String> {
    let target = &inspection.target;
    let globals = state.output_of(&StepId::server(Kind::Globals));
    let before = globals.and_then(|output| match &output.product {
        Product::Globals(read) => Some(&read.kept),
        _ => None,
    });
    let today = jiff::Zoned::now().date();
    let is_kept = |role: &&Role| {
        let was_kept = before.is_some_and(|before| before.contains(&role.name));
        let is_alike = was_kept || preflight::differs_in_salt_alone(plan, inspection, role);
        let subject = format!("ROLE {}", role.name);
        let is_asked_for =
            || preflight::is_waived_for(Code::TargetRoleDiffers, &subject, &plan.waive, today);
        let is_left = role.sends_wal || is_alike && !is_asked_for();
        role.name != target.user
            && (role.is_bootstrap_superuser()
                || is_left && !is_ours(role, marking, state, &inspection.source))
    };
    let roles = target.roles.iter().filter(is_kept);
    roles.map(|role| role.name.clone()).collect()
}

/// Findings about databases that no run of this plan opened, and that clients may connect to all the same.
fn opened(state: &State, target: &ServerFacts) -> Vec<Finding> {
    let is_ours = |name: &&String| matches!(state.created.get(*name), Some(Created::WithOid(_)));
    let closed = state.closed.iter().filter(is_ours);
    let closed = closed.filter(|name| state.is_closed(name));
    let open = closed.filter(|name| {
        let there = target.database(name);
        there.is_some_and(|there| {
            state.made(name) == Some(there.oid) && lets_others_in(there, &target.user)
        })
    });
    open.map(|name| preflight::for_opened(name)).collect()
}

fn lets_others_in(database: &Database, user: &str) -> bool {
    // That by which a restore loads rows is ours.
    let login = format!("{LOAD_LOGIN}{}", database.oid);
    let is_of_others = |one: &Privilege| {
        let grantee = one.grantee.as_deref();
        grantee != Some(user) && grantee != Some(&login)
    };
    let may_connect = database.privileges.as_ref().is_none_or(|privileges| {
        let mut privileges = privileges.iter();
        privileges.any(|one| one.privilege == "CONNECT" && is_of_others(one))
    });
    database.allows_connections && may_connect
}

/// A finding where a run left the target with its settings for the load, or is at work with them.
fn still_tuned(state: &State) -> Option<Finding> {
    let names: Vec<&str> = state.tuned.keys().map(String::as_str).collect();
    preflight::for_settings_left(&names)
}

/// A finding where one of the [`SAFEGUARDS`] is off, and no run of this plan did that: another plan's, or one whose state is lost.
fn found_unsafe(plan: &Plan, state: &State, inspection: &Inspection) -> Option<Finding> {
    let mut off = switched_off(&inspection.target);
    off.retain(|found| !state.tuned.contains_key(&found.name));
    preflight::for_found_unsafe(plan.tuning.found_unsafe, &off)
}

/// Those of the [`SAFEGUARDS`] that are off in the target's own configuration.
fn switched_off(target: &ServerFacts) -> Vec<&ServerSetting> {
    let own = &target.configuration.own;
    let known = SAFEGUARDS.iter().filter_map(|name| own.get(*name));
    known
        .filter(|found| value::boolean(&found.setting) == Some(false))
        .collect()
}

/// Findings about databases that this plan made, and that the target does not have any more.
fn gone(plan: &Plan, state: &State, inspection: &Inspection) -> Vec<Finding> {
    let databases = select(plan, &inspection.source);
    let names = databases.iter().map(|database| &database.name);
    let missing = missing(names, state, &inspection.target);
    missing.iter().map(preflight::for_missing).collect()
}

/// Findings about servers that are not as they were, and about databases of the source that are others.
fn changed(doubts: &Doubts) -> Vec<Finding> {
    fn of(doubt: &Doubt) -> Changed<'_> {
        Changed {
            continuity: doubt.continuity,
            difference: &doubt.difference,
            again: &doubt.databases.again,
            in_use: &doubt.databases.in_use,
        }
    }
    let target = doubts.target.as_ref().map(of);
    let source = doubts.source.as_ref().map(of);
    let behind = doubts
        .target
        .iter()
        .filter_map(|doubt| doubt.behind.as_ref());
    let behind = behind.flat_map(|behind| {
        let names = behind.in_use.iter();
        names.map(|name| preflight::for_promoted_behind(name, &behind.difference))
    });
    let replaced = |databases: &[String], is_verified| -> Vec<Finding> {
        let databases = databases.iter();
        databases
            .map(|name| preflight::for_replaced_source(name, is_verified))
            .collect()
    };
    target
        .and_then(|changed| preflight::for_changed_target(&changed))
        .into_iter()
        .chain(behind)
        .chain(source.and_then(|changed| preflight::for_changed_source(&changed)))
        .chain(replaced(&doubts.replaced.again, false))
        .chain(replaced(&doubts.replaced.in_use, true))
        .collect()
}

/// Findings about databases that this plan created and that the next run drops.
fn dropped_next(plan: &Plan, state: &State, inspection: &Inspection) -> Vec<Finding> {
    let databases = select(plan, &inspection.source);
    let databases = databases.iter().map(|database| &database.name);
    let found = databases.filter(|name| {
        let is_dropped = match state.created.get(*name) {
            None => false,
            Some(Created::Begun | Created::WithOid(_)) => true,
            Some(Created::Found(_)) => {
                is_filled(name, state, &inspection.target)
                    && why_not_remade(name, state, &inspection.target).is_none()
            }
        };
        is_dropped
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

/// Whether the next run uses a database as it is that was there, empty, and that this plan did not fill yet.
pub(super) fn is_found_again(name: &str, state: &State, target: &ServerFacts) -> bool {
    matches!(state.created.get(name), Some(Created::Found(_)))
        && is_created_next(name, state)
        && !is_filled(name, state, target)
}

/// Whether a database that was there, empty, holds something now. What could not be looked into may hold anything.
fn is_filled(name: &str, state: &State, target: &ServerFacts) -> bool {
    let existing = target.database(name);
    let existing = existing.filter(|existing| state.made(name) == Some(existing.oid));
    existing.is_some_and(|existing| {
        let contents = existing.contents.as_ref();
        !contents.is_some_and(Contents::is_empty)
    })
}

/// Findings about databases that were there, empty, that this plan filled, and that have to be made again by hand.
fn not_remade(plan: &Plan, state: &State, inspection: &Inspection) -> Vec<Finding> {
    let target = &inspection.target;
    let databases = select(plan, &inspection.source);
    let found = databases.iter().filter_map(|database| {
        let name = &database.name;
        let is_found = matches!(state.created.get(name), Some(Created::Found(_)));
        let is_wanted = is_found && is_created_next(name, state) && is_filled(name, state, target);
        let obstacle = is_wanted.then(|| why_not_remade(name, state, target))??;
        Some(preflight::for_not_remade(name, &obstacle))
    });
    found.collect()
}

fn why_not_remade(name: &str, state: &State, target: &ServerFacts) -> Option<String> {
    let own = state.found.get(name).and_then(Option::as_deref);
    obstacle_to_remaking(target.database(name)?, own, target)
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

/// Dumps that are done, of databases that are verified and of those that are not. Not of a plan that is completed: its run says it itself.
fn dumped_before(plan: &Plan, state: &State, inspection: &Inspection) -> Option<Finding> {
    let selected = select(plan, &inspection.source);
    let mut names = selected.iter().map(|database| database.name.as_str());
    let is_verified =
        |name: &str| state.verified.contains_key(name) && how_unfinished(state, name).is_none();
    if state.is_completed() && names.all(is_verified) {
        return None;
    }
    let dumps = state.steps.iter().filter_map(|(step, dump)| {
        let name = step.database_name()?;
        let is_meant =
            step.kind == Kind::Dump && dump.status == Status::Done && plan.databases.takes(name);
        // What the plan says now tells nothing of the time of a dump before.
        let was_read_only = plan.source_read_only && dump.output.source_was_read_only();
        (is_meant && !was_read_only).then_some((&**name, dump.started))
    });
    let mut dumps: Vec<_> = dumps.collect();
    dumps.sort_by_key(|(name, begun)| (*begun, *name));
    let (verified, dumps): (Vec<_>, Vec<_>) = dumps.into_iter().partition(|(name, _)| {
        let verify = StepId::database(&(*name).into(), Kind::Verify);
        state.is_done(&verify) || state.verified.contains_key(*name)
    });
    preflight::for_dumps_of_earlier_run(&dumps, &verified)
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
