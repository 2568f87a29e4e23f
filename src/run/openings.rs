//! Databases that a run before this one was about to open when it died.

use super::error::Error;
use crate::journal::{Change, Journal};
use crate::plan::Endpoint;
use crate::postgres::{Application, Session, connect};
use crate::step::create::stays_closed;

/// Asks the target about each of them, and puts on record which lets nobody in: that is counted, and looked at, as one that was never
/// about to be opened. Those of which it cannot tell yet their steps ask about.
///
/// # Errors
///
/// A target that cannot be reached; a journal that cannot be written.
pub(super) async fn settle(
    target: &Endpoint,
    application: &Application,
    journal: &mut Journal,
) -> Result<(), Error> {
    let let_in = journal.state().let_in.clone();
    if let_in.is_empty() {
        return Ok(());
    }
    let session = Session::new(&application.application_name_for("control"));
    let connection = connect(target, &target.database, &session).await?;
    for (database, opening) in let_in {
        match stays_closed(&connection, &database, &opening).await {
            Ok(true) => {
                journal.append(Change::StayClosed { database }.into())?;
            }
            Ok(false) => {}
            Err(error) => {
                tracing::warn!(database, %error, "cannot tell whether the database was opened");
            }
        }
    }
    connection.close().await;
    Ok(())
}
