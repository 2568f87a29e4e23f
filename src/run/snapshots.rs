//! The snapshots that steps share: opened by the first step of a hold, closed after its last.

use std::sync::Arc;

use tokio::sync::Mutex;

use crate::graph::{Graph, Step};
use crate::plan::Side;
use crate::postgres::{Class, Session, Snapshot};
use crate::step::{Shared, StepError};

pub(super) struct Snapshots {
    /// By the hold's position in the graph.
    holds: Vec<Mutex<Option<Arc<Snapshot>>>>,
}

impl Snapshots {
    pub(super) fn new(graph: &Graph) -> Self {
        Snapshots {
            holds: graph.holds.iter().map(|_| Mutex::new(None)).collect(),
        }
    }

    /// The hold's snapshot, exported if this is the first to ask.
    ///
    /// # Errors
    ///
    /// Where it cannot be exported, or was lost since: then it is forgotten, and the steps that shared it
    /// have to be redone together.
    pub(super) async fn get(
        &self,
        hold: u32,
        shared: &Shared,
        step: &Step,
    ) -> Result<Arc<Snapshot>, StepError> {
        let mut slot = self.holds[hold as usize].lock().await;
        match &*slot {
            Some(snapshot) if snapshot.is_alive() => return Ok(Arc::clone(snapshot)),
            Some(_) => {
                *slot = None;
                return Err(StepError {
                    class: Class::Retry,
                    snapshot_lost: true,
                    ..StepError::new(format!(
                        "the snapshot {} was lost: its connection to the source ended",
                        shared.graph.holds[hold as usize].id
                    ))
                });
            }
            None => {}
        }
        let database = step
            .id
            .database
            .as_deref()
            .ok_or_else(|| StepError::fault("a snapshot is of a database"))?;
        let session = Session::new(&shared.application.doing(&format!("{database}/snapshot")))
            .lock_timeout(shared.plan.source_lock_timeout);
        let source = shared.inspection.source.version;
        let snapshot = Snapshot::export(&shared.source, database, &session).await?;
        tracing::info!(
            database,
            snapshot = snapshot.id(),
            server = %source,
            side = %Side::Source,
            "snapshot exported"
        );
        let snapshot = Arc::new(snapshot);
        *slot = Some(Arc::clone(&snapshot));
        Ok(snapshot)
    }

    /// Ends the hold's snapshot, and waits until its connection is gone.
    pub(super) async fn close(&self, hold: u32) {
        let snapshot = self.holds[hold as usize].lock().await.take();
        if let Some(snapshot) = snapshot.and_then(Arc::into_inner) {
            snapshot.close().await;
        }
    }

    pub(super) async fn close_all(&self) {
        for hold in 0..self.holds.len() as u32 {
            self.close(hold).await;
        }
    }
}
