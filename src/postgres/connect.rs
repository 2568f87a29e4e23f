//! One connection: opened by `sslmode`, set up, driven, and gone when it is dropped.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::Object;
use futures_util::TryStreamExt;
use tokio::time::timeout;
use tokio_postgres::Client;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::dialer::{CONNECT, Dialer, LAST_WORDS, cancel};
use super::error::Error;
use super::place::Place;
use super::session::Session;
use crate::catalog::Version;
use crate::plan::Endpoint;

/// How long the server may take to cancel a query.
const CANCEL_TIMEOUT: Duration = Duration::from_secs(5);

/// How often a connection's queries are cancelled while it sends more of them.
const CANCEL_AGAIN: Duration = Duration::from_millis(200);

/// See [`Connection::cancel_when`].
pub(crate) struct CancelGuard(tokio::task::JoinHandle<()>);

impl Drop for CancelGuard {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A connection to one database. Derefs to [`Client`]; ends when it is dropped, or goes back to
/// its pool.
pub(crate) struct Connection {
    handle: Handle,
    dialer: Arc<Dialer>,
}

enum Handle {
    Own {
        // Dropped before the guard, so that the session can end properly.
        client: Client,
        ended: CancellationToken,
        _stop: DropGuard,
    },
    Pooled(Object),
}

/// Opens a connection to `database` of the server, and sets it up as `session` says.
///
/// Each address of the host gets the endpoint's `connect_timeout` to accept the connection; all of
/// it, log-in included, gets twice as long.
pub(crate) async fn connect(
    endpoint: &Endpoint,
    database: &str,
    session: &Session,
) -> Result<Connection, Error> {
    let dialer = Dialer::new(endpoint, database, session)?;
    let dialed = match dialer.limit() {
        None => dialer.dial().await,
        Some(limit) => timeout(limit, dialer.dial())
            .await
            .map_err(|_| Error::timeout(&dialer.place, CONNECT, limit))?,
    };
    let (client, ended) = dialed.map_err(|error| dialer.explain(CONNECT, error))?;
    let handle = Handle::Own {
        client,
        ended,
        _stop: dialer.stop.clone().drop_guard(),
    };
    Ok(Connection { handle, dialer })
}

impl Connection {
    pub(super) fn pooled(object: Object, dialer: Arc<Dialer>) -> Self {
        Connection {
            handle: Handle::Pooled(object),
            dialer,
        }
    }

    /// The server's version.
    pub(crate) fn version(&self) -> Version {
        self.dialer.version()
    }

    /// Where the connection leads to, for messages.
    pub(crate) fn place(&self) -> &Place {
        &self.dialer.place
    }

    /// For `map_err`: what was tried, as a verb phrase (`read pg_database`).
    pub(crate) fn failed(
        &self,
        action: impl Into<String>,
    ) -> impl FnOnce(tokio_postgres::Error) -> Error {
        move |error| self.dialer.explain(action, error)
    }

    /// Names on the server that are not UTF-8, as they are shown.
    pub(crate) fn names_not_utf8(&self, action: impl Into<String>, names: &[String]) -> Error {
        Error::names(self.place(), action, names.join(", "))
    }

    /// Awaits a query of this connection. `action` says what is tried, as a verb phrase.
    ///
    /// When `stop` is cancelled first, the server is asked to cancel the query, and its answer is
    /// awaited for a while: a query that is just dropped goes on on the server. The error is
    /// then [`super::Class::Interrupted`].
    pub(crate) async fn attempt<T>(
        &self,
        action: impl Into<String>,
        stop: &CancellationToken,
        query: impl Future<Output = Result<T, tokio_postgres::Error>>,
    ) -> Result<T, Error> {
        let mut query = std::pin::pin!(query);
        let result = tokio::select! {
            // An answer that is there is taken, whatever came with it.
            biased;
            result = &mut query => result,
            () = stop.cancelled() => {
                cancel(self.cancel_token(), self.dialer.handshake_to_cancel()).await;
                match timeout(CANCEL_TIMEOUT, query).await {
                    Ok(result) => result,
                    Err(_) => return Err(Error::interrupted(self.place(), action)),
                }
            }
        };
        result.map_err(|error| self.dialer.explain(action, error).during(stop))
    }

    /// How many rows `COPY … TO STDOUT` yields.
    pub(crate) async fn copied_rows(
        &self,
        action: &str,
        stop: &CancellationToken,
        sql: &str,
    ) -> Result<u64, Error> {
        let copied = async {
            let mut rows = pin!(self.copy_out(sql).await?);
            let mut count = 0;
            while let Some(part) = rows.try_next().await? {
                // Line breaks in values are written as `\\n`.
                count += memchr::memchr_iter(b'\n', &part).count() as u64;
            }
            Ok(count)
        };
        self.attempt(action, stop, copied).await
    }

    /// Until the guard is dropped, has the server cancel what this connection is at when `stop` is cancelled, and what comes after
    /// that: a commit that waits for a standby, as a statement that waits for a lock, waits for ever otherwise.
    pub(crate) fn cancel_when(&self, stop: &CancellationToken) -> CancelGuard {
        let (stop, token) = (stop.clone(), self.cancel_token());
        let handshake = self.dialer.handshake_to_cancel();
        CancelGuard(tokio::spawn(async move {
            stop.cancelled().await;
            loop {
                cancel(token.clone(), handshake.clone()).await;
                tokio::time::sleep(CANCEL_AGAIN).await;
            }
        }))
    }

    /// Why the connection was lost, if it was.
    pub(crate) fn loss(&self, action: impl Into<String>) -> Option<Error> {
        let reason = self.dialer.loss.get()?;
        Some(Error::lost(self.place(), action, reason))
    }

    /// Cancelled when the connection has ended, for whatever reason. `None`: it is a pool's.
    pub(crate) fn ended(&self) -> Option<CancellationToken> {
        match &self.handle {
            Handle::Own { ended, .. } => Some(ended.clone()),
            Handle::Pooled(_) => None,
        }
    }

    /// Ends the session soon, without waiting for it; with a pool's connection, all of the pool's.
    pub(super) fn hang_up(&self) {
        self.dialer.stop.cancel();
    }

    /// Ends the session and waits until that is done; a pool's connection goes back to the pool.
    pub(crate) async fn close(self) {
        match self.handle {
            Handle::Own {
                client,
                ended,
                _stop,
            } => {
                drop(client);
                let _ = timeout(LAST_WORDS, ended.cancelled()).await;
            }
            Handle::Pooled(object) => drop(object),
        }
    }
}

impl Deref for Connection {
    type Target = Client;

    fn deref(&self) -> &Client {
        match &self.handle {
            Handle::Own { client, .. } => client,
            Handle::Pooled(object) => object,
        }
    }
}

impl DerefMut for Connection {
    fn deref_mut(&mut self) -> &mut Client {
        match &mut self.handle {
            Handle::Own { client, .. } => client,
            Handle::Pooled(object) => object,
        }
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Connection({})", self.place())
    }
}

#[cfg(test)]
#[path = "connect_tests.rs"]
mod tests;
