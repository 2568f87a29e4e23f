//! Exported snapshots: several sessions, and pg_dump, see the same state of a database
//! (PostgreSQL manual, 9.28.5 "Snapshot Synchronization Functions").

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use super::connect::{Connection, open};
use super::error::Error;
use super::session::Session;
use crate::plan::Endpoint;

/// A snapshot, alive as long as this is: its transaction stays open on a connection of its own.
#[derive(Debug)]
pub(crate) struct Snapshot {
    id: String,
    taken: Timestamp,
    oldest_transaction: i64,
    connection: Connection,
    ended: CancellationToken,
}

impl Snapshot {
    /// Takes a snapshot of `database` and exports it.
    pub(crate) async fn export(
        endpoint: &Endpoint,
        database: &str,
        session: &Session,
    ) -> Result<Self, Error> {
        let (connection, ended) = open(endpoint, database, session).await?;
        let taken = Timestamp::now();
        connection
            .batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            .await
            .map_err(connection.failed("begin the transaction of a snapshot"))?;
        let row = connection
            .query_one(
                "SELECT pg_catalog.pg_export_snapshot(), \
                        pg_catalog.txid_snapshot_xmin(pg_catalog.txid_current_snapshot())",
                &[],
            )
            .await
            .map_err(connection.failed("export a snapshot"))?;
        let read = || Ok((row.try_get(0)?, row.try_get(1)?));
        let (id, oldest_transaction) =
            read().map_err(connection.failed("read the id of a snapshot"))?;
        Ok(Snapshot {
            id,
            taken,
            oldest_transaction,
            connection,
            ended,
        })
    }

    /// For `SET TRANSACTION SNAPSHOT` and `pg_dump --snapshot`.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// When it was taken, by this machine's clock, not later than its transaction began.
    pub(crate) fn taken(&self) -> Timestamp {
        self.taken
    }

    /// The oldest transaction that had not ended when it was taken (`txid_snapshot_xmin`), with its epoch. Those
    /// before it had, and so had their subtransactions.
    pub(crate) fn oldest_transaction(&self) -> i64 {
        self.oldest_transaction
    }

    /// How many transactions have begun on the server since, at least: what the other active sessions show. A transaction's own
    /// view of the next transaction id stands still (`age`), so it is compared with theirs.
    pub(crate) async fn transactions_since(&self) -> Result<u64, Error> {
        const ACTION: &str = "read the age of a snapshot";
        // Within a transaction, pg_stat_activity shows what it showed first until it is cleared.
        self.connection
            .batch_execute("SELECT pg_catalog.pg_stat_clear_snapshot()")
            .await
            .map_err(self.connection.failed(ACTION))?;
        let row = self
            .connection
            .query_one(
                "SELECT (max(age(backend_xmin)) FILTER (WHERE pid = pg_backend_pid()))::bigint \
                        - min(least(age(backend_xid), age(backend_xmin)))::bigint \
                 FROM pg_catalog.pg_stat_activity",
                &[],
            )
            .await
            .map_err(self.connection.failed(ACTION))?;
        let since: Option<i64> = row.get(0);
        Ok(since.and_then(|since| since.try_into().ok()).unwrap_or(0))
    }

    /// Whether other sessions can still adopt it, as far as is known here: a connection that a
    /// network swallowed is noticed by the keep-alive probes, two minutes later at most.
    pub(crate) fn is_alive(&self) -> bool {
        !self.ended.is_cancelled()
    }

    /// Resolves when the snapshot is gone, with the reason. Never resolves while it is alive.
    pub(crate) async fn lost(&self) -> Error {
        const ACTION: &str = "keep the snapshot";
        self.ended.cancelled().await;
        self.connection
            .loss(ACTION)
            .unwrap_or_else(|| Error::interrupted(self.connection.place(), ACTION))
    }

    /// Ends the transaction and the connection, and waits until that is done.
    pub(crate) async fn close(self) {
        self.connection.close().await;
    }
}
