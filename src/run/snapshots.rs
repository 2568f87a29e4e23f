//! The snapshots that steps share: exported by the first step of each, ended after its last, and looked at
//! in between, because vacuum on the source waits for them.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::{Mutex, mpsc};
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::failpoint::reach;
use crate::graph::{Graph, PerSnapshot, SnapshotIndex, Step};
use crate::journal::Change;
use crate::plan::Side;
use crate::step::snapshot;
use crate::step::{LockedSnapshot, Shared, StepError};

/// How often the snapshots are looked at. A proxy cuts sessions that say nothing for long, and the one that holds a snapshot
/// has nothing else to say.
const LOOK: Duration = Duration::from_secs(5);

/// How long such a look may take.
const LOOK_TIMEOUT: Duration = Duration::from_secs(5);

/// From this age on the user should know: a queue table that is emptied and filled all the time bloats many times over in an
/// hour without vacuum.
const OLD: SignedDuration = SignedDuration::from_hours(1);

/// On a busy source it does not take an hour: no row that these transactions deleted or replaced can be removed.
const MANY_TRANSACTIONS: u64 = 1_000_000;

pub(super) struct Snapshots {
    snapshots: PerSnapshot<Mutex<Option<Held>>>,
}

struct Held {
    database: String,
    snapshot: Arc<LockedSnapshot>,
    /// The user was told that it is old.
    is_known: bool,
}

/// A snapshot that has been open for long.
#[derive(Debug)]
pub(super) struct OldSnapshot {
    pub(super) database: String,
    pub(super) message: String,
}

impl Snapshots {
    pub(super) fn new(graph: &Graph) -> Self {
        Snapshots {
            snapshots: graph.snapshots.iter().map(|_| Mutex::new(None)).collect(),
        }
    }

    /// Asks the sessions of the open snapshots something from time to time, for as long as they are open, and says so once for
    /// each that has been for long. Never returns.
    pub(super) async fn watch(&self, old: mpsc::UnboundedSender<OldSnapshot>) {
        let mut ticks = interval(LOOK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            // One that does not answer keeps no other waiting.
            let looks = self.snapshots.iter().map(|slot| look(slot, &old));
            join_all(looks).await;
        }
    }

    /// The snapshot, exported if this is the first to ask.
    ///
    /// # Errors
    ///
    /// Where it cannot be exported, or was lost since: then it is forgotten, and the steps that shared it
    /// have to be redone together.
    pub(super) async fn get(
        &self,
        index: SnapshotIndex,
        shared: &Shared,
        step: &Step,
    ) -> Result<Arc<LockedSnapshot>, StepError> {
        let mut slot = self.snapshots[index].lock().await;
        match &*slot {
            Some(held) if held.snapshot.is_alive() => return Ok(Arc::clone(&held.snapshot)),
            Some(_) => {
                *slot = None;
                return Err(StepError::new(format!(
                    "the snapshot {} was lost: its connection to the source ended",
                    shared.graph.snapshots[index].id
                ))
                .snapshot_lost());
            }
            None => {}
        }
        let database = step
            .id
            .database_name()
            .map(|name| &**name)
            .ok_or_else(|| StepError::fault("a snapshot is of a database"))?;
        let source = shared.inspection.source.version;
        let snapshot = snapshot::export(shared, step).await?;
        reach!("{database} snapshot exported");
        tracing::info!(
            database,
            snapshot = snapshot.id(),
            server = %source,
            side = %Side::Source,
            "snapshot exported"
        );
        // `status` tells its age.
        shared
            .record(Change::HoldSnapshot {
                database: database.to_owned(),
                snapshot: snapshot.id().to_owned(),
            })
            .await?;
        let snapshot = Arc::new(snapshot);
        *slot = Some(Held {
            database: database.to_owned(),
            snapshot: Arc::clone(&snapshot),
            is_known: false,
        });
        Ok(snapshot)
    }

    /// Ends the snapshot for all steps that share it, so that whoever waits for its locks gets them: they begin again with
    /// a new one.
    pub(super) async fn give_up(&self, index: SnapshotIndex, snapshot: &Arc<LockedSnapshot>) {
        let mut slot = self.snapshots[index].lock().await;
        if let Some(held) = &*slot
            && Arc::ptr_eq(&held.snapshot, snapshot)
        {
            *slot = None;
        }
        snapshot.give_up();
    }

    /// Ends the snapshot, and waits until its connection is gone. Returns its database; `None`: there
    /// was none.
    pub(super) async fn close(&self, index: SnapshotIndex) -> Option<String> {
        let held = self.snapshots[index].lock().await.take()?;
        if let Some(snapshot) = Arc::into_inner(held.snapshot) {
            snapshot.close().await;
        }
        Some(held.database)
    }

    pub(super) async fn close_all(&self) {
        for index in self.snapshots.positions() {
            self.close(index).await;
        }
    }
}

/// Asks one of them, and tells that it is old the first time that it is.
async fn look(slot: &Mutex<Option<Held>>, old: &mpsc::UnboundedSender<OldSnapshot>) {
    let mut slot = slot.lock().await;
    let Some(held) = slot.as_mut() else { return };
    let transactions = timeout(LOOK_TIMEOUT, held.snapshot.transactions_since()).await;
    let transactions = match transactions {
        Ok(Ok(transactions)) => transactions,
        // The steps that share it notice what has become of it.
        Ok(Err(_)) | Err(_) => 0,
    };
    let age = Timestamp::now().duration_since(held.snapshot.taken());
    if !held.is_known
        && let Some(message) = warning(held.snapshot.id(), age, transactions)
    {
        held.is_known = true;
        // A run that has ended does not mind.
        let _ = old.send(OldSnapshot {
            database: held.database.clone(),
            message,
        });
    }
}

/// The warning about a snapshot of this age, if any.
fn warning(id: &str, age: SignedDuration, transactions: u64) -> Option<String> {
    if age < OLD && transactions < MANY_TRANSACTIONS {
        return None;
    }
    let minutes = age.as_mins();
    Some(format!(
        "its snapshot {id} on the source is {minutes} min old, and {transactions} transactions or more have begun since: \
         vacuum there cannot remove what they deleted or replaced until the dump and the counts under it are done; more \
         dump jobs shorten that, and so does delay.snapshot = \"later\" where delayed tables share it"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_snapshot_is_said_by_time_or_by_transactions() {
        let minutes = SignedDuration::from_mins;
        assert_eq!(warning("1-1", minutes(59), 999_999), None);
        assert!(warning("1-1", minutes(60), 0).is_some());
        insta::assert_snapshot!(warning("00000003-1", minutes(7), 1_000_000).unwrap(), @r#"its snapshot 00000003-1 on the source is 7 min old, and 1000000 transactions or more have begun since: vacuum there cannot remove what they deleted or replaced until the dump and the counts under it are done; more dump jobs shorten that, and so does delay.snapshot = "later" where delayed tables share it"#);
    }
}
