//! Whether the opening of a database that was about to be committed was: a run that was killed at that moment does not know, so the
//! target is asked (PostgreSQL manual, 9.27 "Transaction ID and Snapshot Information Functions").

use super::found::find;
use crate::journal::{Change, Opening};
use crate::plan::Side;
use crate::postgres::{Class, Connection, Session, connect, escape_control};
use crate::step::{Context, StepError};

/// The transaction that the session is in.
pub(super) async fn opening(
    connection: &Connection,
    refused: Vec<String>,
) -> Result<Opening, StepError> {
    let row = connection
        .query_one(
            "SELECT txid_current(), extract(epoch FROM pg_postmaster_start_time())::text",
            &[],
        )
        .await
        .map_err(connection.failed("ask for the number of the transaction"))?;
    Ok(Opening {
        transaction: Some(row.get(0)),
        server_started: row.get(1),
        refused,
    })
}

/// What became of a transaction, and whether the server was started again since. A number that no transaction with it or a later one
/// ended is of one that is under way, or one that the server gave out before a crash, and forgot.
pub(crate) const TRANSACTION_STATUS: &str = "\
    SELECT CASE WHEN $1::bigint < txid_snapshot_xmax(txid_current_snapshot()) THEN txid_status($1) \
                WHEN EXISTS (SELECT FROM pg_catalog.pg_stat_activity \
                             WHERE backend_xid::text::bigint = $1 % 4294967296) THEN 'in progress' \
                ELSE 'aborted' END, \
           extract(epoch FROM pg_postmaster_start_time())::text <> $2::text";

/// Whether nobody was let in although that is on record as about to be committed.
///
/// # Errors
///
/// A target that cannot be asked, or in which the transaction is still under way.
pub(crate) async fn stays_closed(
    connection: &Connection,
    database: &str,
    opening: &Opening,
) -> Result<bool, StepError> {
    if let Some(transaction) = opening.transaction {
        let row = connection
            .query_one(TRANSACTION_STATUS, &[&transaction, &opening.server_started])
            .await
            .map_err(connection.failed("ask whether the database was opened"))?;
        let (status, is_restarted): (Option<&str>, bool) = (row.get(0), row.get(1));
        match status {
            Some("aborted") => return Ok(true),
            Some("committed") if !is_restarted => return Ok(false),
            // A crash may have given the number to another; or the server does not know it any more.
            Some("committed") | None => {}
            Some(_) => {
                return Err(StepError::new(format!(
                    "the opening of the database \"{}\" by an earlier attempt is still under way on the target (transaction \
                     {transaction})",
                    escape_control(database)
                ))
                .class(Class::Retry));
            }
        }
    }
    let found = find(connection, database).await?;
    Ok(found.is_some_and(|found| !found.is_open))
}

/// Whether others were let in, as is on record as about to be committed. Where they were not, it is put on record that the database
/// is closed as before.
///
/// # Errors
///
/// As for [`stays_closed`].
pub(crate) async fn was_let_in(
    context: &Context,
    database: &str,
    opening: &Opening,
) -> Result<bool, StepError> {
    let target = context.endpoint(Side::Target);
    let session = Session::new(&context.application());
    let connection = connect(target, &target.database, &session).await?;
    let stays_closed = stays_closed(&connection, database, opening).await;
    connection.close().await;
    if !stays_closed? {
        return Ok(true);
    }
    let database = database.to_owned();
    context.record(Change::StayClosed { database }).await?;
    Ok(false)
}
