//! Archives of runs before this one: whether they may be restored.

use std::collections::{HashMap, HashSet};
use std::io;
use std::path::PathBuf;

use tokio_util::sync::CancellationToken;

use crate::graph::{Graph, archive, delayed_archive};
use crate::journal::State;
use crate::names::{Kind, StepId};
use crate::plan::Plan;
use crate::step::archive::is_as_sealed;

/// The step that restores what a step dumped.
pub(super) fn restored_by(dump: &StepId) -> Option<StepId> {
    let kind = dump.kind.traits().restored_by?;
    Some(StepId::database(dump.database_name()?, kind))
}

/// Reads the archives that are on record and have to be restored, be it again because what was restored is `lost`,
/// and returns the dumps whose archive is as it was written. Those that `stop` leaves unread are not among them.
pub(super) async fn whole(
    graph: &Graph,
    state: &State,
    plan: &Plan,
    lost: &HashMap<String, &str>,
    stop: &CancellationToken,
) -> HashSet<StepId> {
    let mut whole = HashSet::new();
    for step in graph.steps.iter() {
        let id = &step.id;
        let (Some(restore), Some(output)) = (restored_by(id), state.output_of(id)) else {
            continue;
        };
        let is_lost = restore.kind == Kind::Restore
            && restore
                .database_name()
                .is_some_and(|name| lost.contains_key(&**name));
        if state.is_done(&restore) && !is_lost {
            continue;
        }
        let path = archive_of(plan, id);
        let is_whole = match output.dumped().map(|dump| &dump.archive) {
            Some(sealed) => {
                tracing::info!(step = %id, bytes = sealed.bytes, "checking the archive of an earlier run");
                is_as_sealed(&path, sealed, step.jobs, stop).await
            }
            None => Err(io::ErrorKind::NotFound.into()),
        };
        match is_whole {
            Ok(true) => {
                whole.insert(id.clone());
            }
            Ok(false) => tracing::warn!(
                step = %id, archive = %path.display(), "the archive is not as it was written"
            ),
            Err(error) => tracing::warn!(
                step = %id, archive = %path.display(), %error, "the archive cannot be read"
            ),
        }
    }
    whole
}

/// Where a step that dumps puts its archive.
fn archive_of(plan: &Plan, dump: &StepId) -> PathBuf {
    let database = dump.database_name().map_or("", |name| name);
    match dump.kind {
        Kind::DelayedDump => delayed_archive(plan, database),
        _ => archive(plan, database),
    }
}
