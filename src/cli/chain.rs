//! Findings about a source that is itself the target of a migration that did not come to its end.

use crate::catalog::Inspection;
use crate::finding::Finding;
use crate::graph::select;
use crate::plan::Plan;
use crate::preflight::{self, HalfDone};
use crate::run::{Lacks, LeftDatabase, SourceMark};

/// With these off, a crash of the machine loses what a step was called done for.
const UNSAFE: [&str; 2] = ["fsync", "full_page_writes"];

pub(super) fn findings(plan: &Plan, mark: &SourceMark, inspection: &Inspection) -> Vec<Finding> {
    let selected = select(plan, &inspection.source);
    // Another of the name was made by a person since.
    let is_it = |left: &&LeftDatabase| {
        let mut selected = selected.iter().filter(|one| one.name == left.name);
        selected.any(|one| left.oid.is_none_or(|oid| oid == one.oid))
    };
    let databases = mark.left.databases.iter().filter(is_it).map(|left| {
        let half_done = match left.lacks {
            Lacks::Verification => HalfDone::Unverified,
            Lacks::Opening => HalfDone::NotOpened,
            Lacks::DelayedTables => HalfDone::Delayed,
        };
        preflight::for_half_done_source(&left.name, &left.plan, half_done)
    });
    let settings = &mark.left.settings;
    let is_unsafe = settings.iter().any(|name| UNSAFE.contains(&&**name));
    let user = &inspection.source.user;
    let unreadable = mark.unreadable.as_deref();
    databases
        .chain(preflight::for_settings_left_on_source(settings, is_unsafe))
        .chain(mark.damage.as_deref().map(preflight::for_damaged_source))
        .chain(unreadable.map(|error| preflight::for_unreadable_source_mark(user, error)))
        .collect()
}
