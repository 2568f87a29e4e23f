//! The connections of one step to one database.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use deadpool_postgres::{
    Connect, Manager, ManagerConfig, PoolError, RecyclingMethod, Runtime, TimeoutType, Timeouts,
};
use tokio::task::JoinHandle;
use tokio_postgres::{Client, Config};
use tokio_util::sync::DropGuard;

use super::connect::{Connection, connect};
use super::dialer::{CONNECT, Dialer};
use super::error::Error;
use super::session::Session;
use crate::plan::Endpoint;

/// A limited number of connections to one database, opened when they are needed and set up alike.
///
/// When the pool is dropped its connections end, those that are lent out too: no connection
/// outlives the step that it was claimed for.
pub(crate) struct Pool {
    inner: deadpool_postgres::Pool,
    dialer: Arc<Dialer>,
    _stop: DropGuard,
}

impl Pool {
    /// A pool of at most `max_size` connections; nothing is opened yet.
    pub(crate) fn new(
        endpoint: &Endpoint,
        database: &str,
        session: &Session,
        max_size: usize,
    ) -> Result<Self, Error> {
        let dialer = Dialer::new(endpoint, database, session)?;
        let recycling = ManagerConfig {
            // Fails in a transaction that failed, unlike an empty query: such a connection is of no
            // more use under a snapshot.
            recycling_method: RecyclingMethod::Custom("SELECT 1".to_owned()),
        };
        let connect = PoolConnect(Arc::clone(&dialer));
        let manager = Manager::from_connect(Config::new(), connect, recycling);
        let inner = deadpool_postgres::Pool::builder(manager)
            .max_size(max_size.max(1))
            .runtime(Runtime::Tokio1)
            .timeouts(Timeouts {
                wait: None,
                create: dialer.limit(),
                recycle: dialer.limit(),
            })
            .build()
            .expect("a runtime is given");
        let stop = dialer.stop.clone().drop_guard();
        Ok(Pool {
            inner,
            dialer,
            _stop: stop,
        })
    }

    /// A connection that sees what is there now: one beside those of the pool where these are under a snapshot.
    pub(crate) async fn apart(&self) -> Result<Connection, Error> {
        if self.dialer.session().snapshot().is_none() {
            return self.get().await;
        }
        let place = &self.dialer.place;
        let session = self.dialer.session().clone().without_snapshot();
        connect(place.endpoint(), place.database(), &session).await
    }

    /// A connection, as soon as one is free. It comes back to the pool when it is dropped.
    pub(crate) async fn get(&self) -> Result<Connection, Error> {
        match self.inner.get().await {
            Ok(object) => Ok(Connection::pooled(object, Arc::clone(&self.dialer))),
            Err(PoolError::Backend(error)) => Err(self.dialer.explain(CONNECT, error)),
            Err(PoolError::Timeout(TimeoutType::Create | TimeoutType::Recycle)) => {
                let limit = self.dialer.limit().unwrap_or_default();
                Err(Error::timeout(&self.dialer.place, CONNECT, limit))
            }
            // The other errors cannot occur: there is a runtime, waiting has no limit, and no hooks are set.
            Err(_) => Err(Error::interrupted(&self.dialer.place, CONNECT)),
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        // Idle connections end in good order, ahead of `_stop`, which ends the rest.
        self.inner.close();
    }
}

struct PoolConnect(Arc<Dialer>);

impl Connect for PoolConnect {
    fn connect(
        &self,
        _: &Config,
    ) -> Pin<
        Box<
            dyn Future<Output = Result<(Client, JoinHandle<()>), tokio_postgres::Error>>
                + Send
                + '_,
        >,
    > {
        Box::pin(async {
            let (client, ended) = self.0.dial().await?;
            // deadpool aborts this task with the client. It only watches: the task that drives the
            // connection goes on, and sends Terminate.
            let watch = tokio::spawn(async move { ended.cancelled().await });
            Ok((client, watch))
        })
    }
}
