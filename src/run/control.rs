//! The run's own connection to the target: it keeps the target for this plan.

use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::error::Error;
use super::leftovers;
use crate::journal::Journal;
use crate::plan::{Endpoint, Plan, Retry};
use crate::postgres::{self, Application, Class, Connection, Session, connect, with_retries};

/// The advisory lock's key, one for all plans: "pg-m" and "igra" as numbers.
const KEY: (i32, i32) = (0x7067_2d6d, 0x6967_7261);

/// How long giving the target back may take.
const RELEASE: Duration = Duration::from_secs(5);

/// The target, kept for one run until this is released or dropped.
pub(super) struct Control {
    /// Cancelled when the target could not be kept.
    pub(super) lost: CancellationToken,
    release: CancellationToken,
    keeper: JoinHandle<()>,
}

/// How the target is taken, at first and again.
struct Keeper {
    target: Endpoint,
    session: Session,
    retry: Retry,
    lost: CancellationToken,
    release: CancellationToken,
}

impl Control {
    /// Takes the target for this run, after client programs and sessions that a killed run of the same state directory
    /// left are ended. A connection that breaks is made again, as often as the plan retries a step.
    ///
    /// # Errors
    ///
    /// [`Error::TargetHeld`] where another run has it; a target that cannot be reached.
    pub(super) async fn take(
        application: &Application,
        target: &Endpoint,
        retry: Retry,
    ) -> Result<Control, Error> {
        // Programs first: they may connect again.
        leftovers::end_programs(application).await?;
        leftovers::end(target, application).await?;
        let keeper = Keeper {
            target: target.clone(),
            session: Session::new(&application.application_name_for("control")),
            retry,
            lost: CancellationToken::new(),
            release: CancellationToken::new(),
        };
        let Some(connection) = keeper.take().await? else {
            return Err(Error::TargetHeld {
                target: target.to_string(),
            });
        };
        Ok(Control {
            lost: keeper.lost.clone(),
            release: keeper.release.clone(),
            keeper: tokio::spawn(keeper.keep(connection)),
        })
    }

    /// Gives the target back.
    pub(super) async fn release(mut self) {
        self.release.cancel();
        if timeout(RELEASE, &mut self.keeper).await.is_err() {
            tracing::warn!("the connection that held the target did not end in time");
        }
    }
}

/// Refuses a target that a run of another plan, or of another state, is at work on.
///
/// # Errors
///
/// That it is; a target that cannot be reached.
pub(crate) async fn refuse_held_target(
    plan: &Plan,
    target: &Endpoint,
    journal: &Journal,
) -> Result<(), Error> {
    let application = Application::for_state(&plan.name, journal.id());
    let control = Control::take(&application, target, plan.retry).await?;
    control.release().await;
    Ok(())
}

impl Drop for Control {
    fn drop(&mut self) {
        self.release.cancel();
    }
}

impl Keeper {
    /// `None`: another session has it.
    async fn take(&self) -> Result<Option<Connection>, postgres::Error> {
        let connection = connect(&self.target, &self.target.database, &self.session).await?;
        let row = connection
            .query_one(
                "SELECT pg_catalog.pg_try_advisory_lock($1, $2)",
                &[&KEY.0, &KEY.1],
            )
            .await
            .map_err(connection.failed("take the advisory lock of this run"))?;
        if row.get::<_, bool>(0) {
            if !is_held_elsewhere(&connection).await? {
                return Ok(Some(connection));
            }
            connection
                .execute(
                    "SELECT pg_catalog.pg_advisory_unlock($1, $2)",
                    &[&KEY.0, &KEY.1],
                )
                .await
                .map_err(connection.failed("give the advisory lock of this run back"))?;
        }
        // Where the connection broke on its way, the server may still keep its session.
        connection
            .execute(
                "SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity \
                 WHERE application_name = $1 AND usename = current_user AND pid <> pg_backend_pid()",
                &[&self.session.application()],
            )
            .await
            .map_err(connection.failed("end the session that held the target before"))?;
        connection.close().await;
        Ok(None)
    }

    async fn keep(self, mut connection: Connection) {
        loop {
            let ended = connection.ended().unwrap_or_default();
            tokio::select! {
                () = ended.cancelled() => {}
                () = self.release.cancelled() => return connection.close().await,
            }
            tracing::warn!(server = %self.target, "the connection that holds the target was lost");
            tokio::select! {
                again = self.take_again() => match again {
                    Some(again) => connection = again,
                    None => return self.lost.cancel(),
                },
                () = self.release.cancelled() => return,
            }
        }
    }

    async fn take_again(&self) -> Option<Connection> {
        // The first attempt is the connection that was just lost.
        let retry = Retry {
            attempts: self.retry.attempts.saturating_add(1),
            ..self.retry
        };
        let whatever_it_was = |_: &String| Class::Retry;
        let taken = with_retries(&retry, whatever_it_was, |attempt| async move {
            if attempt == 1 {
                return Err("the connection was lost".to_owned());
            }
            match self.take().await {
                Ok(Some(connection)) => Ok(connection),
                Ok(None) => Err("another session holds the target".to_owned()),
                Err(error) => Err(error.to_string()),
            }
        });
        match taken.await {
            Ok(connection) => {
                tracing::info!(server = %self.target, "the target is held again");
                Some(connection)
            }
            Err(error) => {
                tracing::warn!(server = %self.target, error, "the target cannot be held again");
                None
            }
        }
    }
}

/// Whether another session has the lock as well, which it can in another database: an advisory lock is one of a
/// database (PostgreSQL manual, 13.3.5), a run's target is the whole server. `pg_locks` shows the locks of all
/// databases to everybody; two keys of 32 bits are its `classid` and `objid`, and its `objsubid` is 2 then (53.13).
///
/// Each run looks after it has taken its own, so that of two that come at once one sees the other, or both do.
async fn is_held_elsewhere(connection: &Connection) -> Result<bool, postgres::Error> {
    let row = connection
        .query_one(
            "SELECT EXISTS (SELECT FROM pg_catalog.pg_locks WHERE locktype = 'advisory' AND granted \
             AND classid::int8 = $1::int4 AND objid::int8 = $2::int4 AND objsubid = 2 \
             AND pid <> pg_catalog.pg_backend_pid())",
            &[&KEY.0, &KEY.1],
        )
        .await
        .map_err(connection.failed("look for another run in the other databases"))?;
    Ok(row.get(0))
}
