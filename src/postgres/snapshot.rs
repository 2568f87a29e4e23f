//! Exported snapshots: several sessions, and pg_dump, see the same state of a database
//! (PostgreSQL manual, 9.28.5 "Snapshot Synchronization Functions").

use jiff::Timestamp;
use tokio::sync::Mutex;
use tokio_postgres::Row;
use tokio_util::sync::CancellationToken;

use super::connect::Connection;
use super::error::Error;

/// A snapshot, alive as long as this is: its transaction stays open on a connection of its own, with every lock that it has.
#[derive(Debug)]
pub(crate) struct Snapshot {
    id: String,
    taken: Timestamp,
    oldest_transaction: i64,
    database: u32,
    connection: Connection,
    /// Queries of steps on the snapshot's own connection, one at a time.
    queries: Mutex<()>,
    ended: CancellationToken,
    given_up: CancellationToken,
}

impl Snapshot {
    /// Begins the transaction of a snapshot. None is taken yet, unlike with other isolation levels: the first query does
    /// that, and LOCK TABLE is none (PostgreSQL manual, 13.2.2 and "LOCK").
    pub(crate) async fn begin(connection: &Connection) -> Result<(), Error> {
        connection
            .batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            .await
            .map_err(connection.failed("begin the transaction of a snapshot"))
    }

    /// Exports the snapshot of the transaction that was begun on the connection, which takes it if no query did before.
    ///
    /// # Errors
    ///
    /// As the server reports it; for a connection of a pool as well.
    pub(crate) async fn export(connection: Connection) -> Result<Self, Error> {
        let ended = connection
            .ended()
            .ok_or_else(|| Error::interrupted(connection.place(), "export a snapshot"))?;
        let taken = Timestamp::now();
        let row = connection
            .query_one(
                "SELECT pg_catalog.pg_export_snapshot(), \
                        pg_catalog.txid_snapshot_xmin(pg_catalog.txid_current_snapshot()), \
                        (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())",
                &[],
            )
            .await
            .map_err(connection.failed("export a snapshot"))?;
        let read = || Ok((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?));
        let (id, oldest_transaction, database) =
            read().map_err(connection.failed("read the id of a snapshot"))?;
        Ok(Snapshot {
            id,
            taken,
            oldest_transaction,
            database,
            connection,
            queries: Mutex::default(),
            ended,
            given_up: CancellationToken::new(),
        })
    }

    /// The one row of a query on the snapshot's own connection, which never waits for a lock that its transaction has. A
    /// query that fails leaves the snapshot as it was.
    pub(crate) async fn query_one(
        &self,
        action: &str,
        stop: &CancellationToken,
        sql: &str,
    ) -> Result<Row, Error> {
        let connection = &self.connection;
        let query = connection.attempt(action, stop, connection.query_one(sql, &[]));
        self.apart(action, query).await
    }

    /// As [`Self::query_one`], how many rows `COPY … TO STDOUT` yields.
    pub(crate) async fn copied_rows(
        &self,
        action: &str,
        stop: &CancellationToken,
        sql: &str,
    ) -> Result<u64, Error> {
        let query = self.connection.copied_rows(action, stop, sql);
        self.apart(action, query).await
    }

    /// Awaits a query of the snapshot's own connection.
    async fn apart<T>(
        &self,
        action: &str,
        query: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let connection = &self.connection;
        let _one_at_a_time = self.queries.lock().await;
        connection
            .batch_execute("SAVEPOINT before_query")
            .await
            .map_err(connection.failed(action))?;
        let result = query.await;
        connection
            .batch_execute("ROLLBACK TO SAVEPOINT before_query; RELEASE SAVEPOINT before_query")
            .await
            .map_err(connection.failed(action))?;
        result
    }

    /// Ends the snapshot and its locks at once, for those who wait for them: whoever reads under it has to begin again.
    pub(crate) fn give_up(&self) {
        self.given_up.cancel();
        self.connection.hang_up();
    }

    /// Resolves when [`Self::give_up`] was called.
    pub(crate) async fn when_given_up(&self) {
        self.given_up.cancelled().await;
    }

    pub(crate) fn is_given_up(&self) -> bool {
        self.given_up.is_cancelled()
    }

    /// For `SET TRANSACTION SNAPSHOT` and `pg_dump --snapshot`.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// When it was exported, by this machine's clock, or a moment before.
    pub(crate) fn taken(&self) -> Timestamp {
        self.taken
    }

    /// The oldest transaction that had not ended when it was taken (`txid_snapshot_xmin`), with its epoch. Those
    /// before it had, and so had their subtransactions.
    pub(crate) fn oldest_transaction(&self) -> i64 {
        self.oldest_transaction
    }

    /// The object id of its database, which keeps its name as long as the snapshot is alive.
    pub(crate) fn database(&self) -> u32 {
        self.database
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
