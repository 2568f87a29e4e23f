//! The run's own connection to the target: it keeps the target for this plan.

use tokio_util::sync::CancellationToken;

use crate::plan::{Endpoint, Plan};
use crate::postgres::{Connection, Error, Session, connect};

/// The advisory lock's key, one for all plans: "pg-m" and "igra" as numbers.
const KEY: (i32, i32) = (0x7067_2d6d, 0x6967_7261);

/// The target, kept for one run until this is dropped.
pub(super) struct Control {
    connection: Connection,
    /// Cancelled when the connection has ended, and with it the lock.
    pub(super) lost: CancellationToken,
}

impl Control {
    /// Takes the target for this run. `None`: another run has it.
    ///
    /// # Errors
    ///
    /// A target that cannot be reached.
    pub(super) async fn take(plan: &Plan, target: &Endpoint) -> Result<Option<Control>, Error> {
        let session = Session::new(&format!("pg-migrate/{}/control", plan.name));
        let connection = connect(target, &target.database, &session).await?;
        let row = connection
            .query_one("SELECT pg_try_advisory_lock($1, $2)", &[&KEY.0, &KEY.1])
            .await
            .map_err(connection.failed("take the advisory lock of this run"))?;
        if !row.get::<_, bool>(0) {
            return Ok(None);
        }
        let lost = connection.ended().unwrap_or_default();
        Ok(Some(Control { connection, lost }))
    }

    /// Gives the target back.
    pub(super) async fn release(self) {
        self.connection.close().await;
    }
}
