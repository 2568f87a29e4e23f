//! What a killed run left: client programs on this machine, and sessions on a server.
//!
//! The programs end with their runner, but one that was stopped (SIGSTOP) gets the signal when it goes on. A server
//! notices that a client is gone only when it reads or writes: until then a session goes on dumping, building an
//! index, or waiting to commit.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::error::Error;
use crate::plan::Endpoint;
use crate::postgres::{Application, Session, connect, terminate_leftovers};
use crate::process::kill_leftovers;

/// How long either may take to end.
const PATIENCE: Duration = Duration::from_secs(60);

/// Ends the programs, and waits until they are gone. As for [`end`], only who has the target may.
///
/// # Errors
///
/// Programs that do not end.
pub(super) async fn end_programs(application: &Application) -> Result<(), Error> {
    let deadline = Instant::now() + PATIENCE;
    let mut is_first = true;
    loop {
        let programs = kill_leftovers(application);
        if programs.is_empty() {
            return Ok(());
        }
        let shown = programs.iter().map(ToString::to_string);
        let shown = shown.collect::<Vec<_>>().join(", ");
        if is_first {
            is_first = false;
            tracing::warn!(
                processes = shown,
                "ending client programs that a killed run left"
            );
        }
        if Instant::now() > deadline {
            return Err(Error::LeftoverPrograms(shown));
        }
        sleep(Duration::from_millis(50)).await;
    }
}

/// Ends the sessions, except one, and waits until they are gone. Only who has the target may: whatever else runs under its
/// id is dead, or was taken over from.
///
/// # Errors
///
/// A server that cannot be reached; sessions that do not end.
pub(super) async fn end(
    endpoint: &Endpoint,
    application: &Application,
    kept: Option<i32>,
) -> Result<(), Error> {
    let session = Session::new(&application.application_name_for("control"));
    let connection = connect(endpoint, &endpoint.database, &session).await?;
    let deadline = Instant::now() + PATIENCE;
    let mut is_first = true;
    loop {
        let sessions = terminate_leftovers(&connection, application, kept).await?;
        if sessions == 0 {
            break;
        }
        if is_first {
            is_first = false;
            tracing::warn!(server = %endpoint, sessions, "ending sessions that a killed run left");
        }
        if Instant::now() > deadline {
            return Err(Error::Leftovers {
                server: endpoint.to_string(),
                sessions,
            });
        }
        sleep(Duration::from_millis(50)).await;
    }
    connection.close().await;
    Ok(())
}
