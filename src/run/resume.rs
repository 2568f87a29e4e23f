//! Which steps are done, by the journal. A pure function of the record.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::archives::restored_by;
use crate::graph::{Graph, Kind, StepId};
use crate::journal::{State, Status};
use crate::plan::VerifyMode;

/// What a run takes over from the runs before it.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Resume {
    /// Positions in the graph of steps that are done.
    pub done: Vec<u32>,
    /// Steps that are on record and have to be done again, with the reason.
    pub forgotten: Vec<(StepId, &'static str)>,
    /// What was done cannot be combined with the plan as it is now, and must not be done again without being
    /// asked for. Nothing may start.
    pub conflicts: Vec<String>,
}

/// What of the plan decides, beside its graph.
#[derive(Debug, Clone, Copy, Default)]
pub struct Terms {
    pub source_is_read_only: bool,
    pub verify: VerifyMode,
}

/// Works out what is done. `is_emptied` tells whether a crash of the target emptied unlogged tables of a database that
/// was restored and is not verified, `archive_is_whole` whether the archive of a dump, which is still to be restored, is
/// as it was written.
///
/// A start without an end is not done. Beyond that:
///
/// - A database that was being restored is made again, so its `create` is redone. So is one whose unlogged tables were
///   emptied before it was verified, with all that followed its restore.
/// - Steps that share a snapshot are redone together unless all of them are done under the same: the snapshot died
///   with its run. Where the plan says that nobody writes to the source, a new one is as good.
/// - Where delayed tables share the snapshot and are not dumped yet, so is the whole database, but not once it
///   was verified: clients may write to it.
/// - A dump whose archive is gone or damaged is redone while something still needs it.
/// - After a difference the target is counted anew, because somebody may have mended it.
/// - Where the delayed tables are others than when the database was dumped, the whole database is redone. Once
///   it was verified, clients may write to it: that is a conflict.
/// - Where the source was counted by another mode than the plan's is now, that is done anew, but not once the
///   database was restored: then it is compared in the mode of old.
/// - The target is tuned by every run that has something else to do, and put back by every run.
pub fn resume(
    graph: &Graph,
    state: &State,
    terms: Terms,
    is_emptied: impl Fn(&str) -> bool,
    archive_is_whole: impl Fn(&StepId) -> bool,
) -> Resume {
    let status = |id: &StepId| state.steps.get(id).map(|step| step.status);
    let is_done = |id: &StepId| state.is_done(id);
    let mut again: Vec<(StepId, &'static str)> = Vec::new();
    let mut redo = |id: StepId, reason| {
        if status(&id).is_some() && !again.iter().any(|(other, _)| *other == id) {
            again.push((id, reason));
        }
    };
    let mut conflicts = Vec::new();
    for database in &graph.databases {
        let name: Arc<str> = database.name.as_str().into();
        let of = |kind| StepId::of(&name, kind);
        let is_handed_over = is_done(&of(Kind::Verify));
        let dumped = state.output_of(&of(Kind::Dump));
        if let Some(dumped) = dumped.filter(|dump| dump.delayed != database.delayed) {
            let steps = graph.steps.iter().map(|step| &step.id);
            let mut steps = steps.filter(|id| id.database.as_ref() == Some(&name));
            let is_loaded = dumped.delayed.is_empty() || is_done(&of(Kind::DelayedVerify));
            if !is_handed_over {
                for kind in Kind::ALL {
                    redo(of(kind), "its delayed tables are others now");
                }
            } else if !is_loaded || !steps.all(is_done) {
                conflicts.push(format!(
                    "database \"{name}\": its delayed tables were [{}] when it was dumped, now they are [{}]",
                    dumped.delayed.join(", "),
                    database.delayed.join(", ")
                ));
            }
        }
    }
    for hold in &graph.holds {
        let members: Vec<&StepId> = hold
            .steps
            .iter()
            .map(|step| &graph.steps[*step as usize].id)
            .collect();
        let Some(database) = members.first().and_then(|id| id.database.clone()) else {
            continue;
        };
        let of = |kind| StepId::of(&database, kind);
        let is_emptied =
            is_done(&of(Kind::Restore)) && !is_done(&of(Kind::Verify)) && is_emptied(&database);
        let is_restored = is_done(&of(Kind::Restore)) && !is_emptied;
        let archive_gone = |id: &StepId| {
            let is_to_restore = restored_by(id).is_some_and(|restore| match restore.kind {
                Kind::Restore => !is_restored,
                _ => !is_done(&restore),
            });
            is_done(id) && is_to_restore && !archive_is_whole(id)
        };
        if is_emptied {
            for kind in [
                Kind::Create,
                Kind::Restore,
                Kind::TargetCounts,
                Kind::Verify,
            ] {
                redo(
                    of(kind),
                    "its unlogged tables were emptied by a crash of the target",
                );
            }
        } else if status(&of(Kind::Restore)).is_some() && !is_restored {
            redo(of(Kind::Create), "its restore did not end");
        }
        if is_restored && status(&of(Kind::Verify)) == Some(Status::Failed) {
            redo(
                of(Kind::TargetCounts),
                "the target is counted anew after a difference",
            );
        }
        let other_mode = |id: &StepId| {
            let is_estimated = state.steps.get(id).map(|step| step.output.estimated);
            id.kind == Kind::SourceCounts
                && is_done(id)
                && !is_restored
                && is_estimated != Some(terms.verify == VerifyMode::Fast)
        };
        for id in members.iter().filter(|id| other_mode(id)) {
            redo((*id).clone(), "verify.mode was another when it was counted");
        }
        for id in members.iter().filter(|id| archive_gone(id)) {
            redo((*id).clone(), "its archive is gone or damaged");
        }
        let snapshot_of = |kind| state.output_of(&of(kind)).map(|output| &output.snapshot);
        let whole = snapshot_of(Kind::Dump) == snapshot_of(Kind::SourceCounts)
            && members
                .iter()
                .all(|id| is_done(id) && !archive_gone(id) && !other_mode(id));
        if whole || terms.source_is_read_only || members.len() == 1 {
            continue;
        }
        if !is_restored {
            for id in members {
                redo(id.clone(), "the snapshot that it shared is gone");
            }
        } else if !is_done(&of(Kind::Verify)) {
            // Nobody was told yet that the database may be used.
            for kind in Kind::REGULAR {
                redo(of(kind), "the snapshot of its delayed tables is gone");
            }
        }
    }
    let is_again = |id: &StepId| again.iter().any(|(other, _)| other == id);
    let has_work = graph
        .steps
        .iter()
        .any(|step| !step.id.kind.is_tuning() && (!is_done(&step.id) || is_again(&step.id)));
    for kind in [Kind::TuneTarget, Kind::RestoreSettings] {
        let id = StepId::server(kind);
        if has_work && status(&id).is_some() {
            again.push((
                id,
                "every run that loads tunes the target, and puts it back",
            ));
        }
    }
    let forgotten: BTreeSet<&StepId> = again.iter().map(|(id, _)| id).collect();
    let done = graph
        .steps
        .iter()
        .enumerate()
        .filter(|(_, step)| is_done(&step.id) && !forgotten.contains(&step.id))
        .map(|(index, _)| index as u32)
        .collect();
    Resume {
        done,
        forgotten: again,
        conflicts,
    }
}

#[cfg(test)]
#[path = "resume_tests.rs"]
mod tests;
