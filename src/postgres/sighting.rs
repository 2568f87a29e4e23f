//! Asking a server who it is, in every session that is set up.

use tokio_postgres::{Client, SimpleQueryMessage, SimpleQueryRow};

use crate::catalog::Version;
use crate::names::Sighting;

/// The statements that set a session up, and the question, in one message. Everybody may call these functions, and none gives
/// out a transaction id. Where one was taken from us the question is put without the system identifier, and where that is refused
/// as well the session is set up without. `before`: a server that did not tell its identifier is not asked for it again.
///
/// # Errors
///
/// Statements that the server refuses; a connection that breaks.
pub(super) async fn set_up(
    client: &Client,
    setup: &str,
    version: Version,
    before: Option<Sighting>,
) -> Result<Option<Sighting>, tokio_postgres::Error> {
    let tells = before.is_none_or(|before| before.identifier.is_some());
    let with_identifier = version.major() >= 906 && tells;
    let mut questions = vec![question(version, false)];
    if with_identifier {
        questions.insert(0, question(version, true));
    }
    for question in questions {
        match client.simple_query(&format!("{setup}{question}")).await {
            Ok(messages) => {
                let mut rows = messages.iter().filter_map(|message| match message {
                    SimpleQueryMessage::Row(row) => Some(row),
                    _ => None,
                });
                // Some of what sets the session up has a row as well.
                return Ok(rows.next_back().and_then(read));
            }
            // The server refused something, and took back the whole message.
            Err(error) if error.as_db_error().is_some() && !client.is_closed() => {
                tracing::debug!(%error, "the server does not tell its history");
            }
            Err(error) => return Err(error),
        }
    }
    client.batch_execute(setup).await?;
    Ok(None)
}

/// By the functions of the version. What is written and not flushed a crash may take back. 9.5 tells no more than what it wrote.
fn question(version: Version, with_identifier: bool) -> String {
    let (file, replayed, flushed, difference) = match version.major() {
        1000.. => (
            "pg_walfile_name",
            "pg_last_wal_replay_lsn",
            "pg_current_wal_flush_lsn",
            "pg_wal_lsn_diff",
        ),
        906.. => (
            "pg_xlogfile_name",
            "pg_last_xlog_replay_location",
            "pg_current_xlog_flush_location",
            "pg_xlog_location_diff",
        ),
        _ => (
            "pg_xlogfile_name",
            "pg_last_xlog_replay_location",
            "pg_current_xlog_location",
            "pg_xlog_location_diff",
        ),
    };
    let identifier = match with_identifier {
        true => "(SELECT system_identifier FROM pg_catalog.pg_control_system())",
        false => "NULL",
    };
    let microseconds =
        |moment: &str| format!("(pg_catalog.date_part('epoch', {moment}) * 1000000)::int8");
    format!(
        "SELECT CASE WHEN NOT pg_catalog.pg_is_in_recovery() THEN pg_catalog.{file}(pg_catalog.{flushed}()) END, \
                pg_catalog.{difference}(CASE WHEN pg_catalog.pg_is_in_recovery() THEN pg_catalog.{replayed}() \
                    ELSE pg_catalog.{flushed}() END, '0/0')::int8, \
                pg_catalog.txid_snapshot_xmax(pg_catalog.txid_current_snapshot()), \
                {}, {}, {identifier}",
        microseconds("pg_catalog.pg_postmaster_start_time()"),
        microseconds("pg_catalog.clock_timestamp()"),
    )
}

/// The name of a WAL file begins with the timeline, in eight hexadecimal digits. Unlike `pg_control_checkpoint()` it has the
/// new one from the moment of a promotion on.
fn read(row: &SimpleQueryRow) -> Option<Sighting> {
    let timeline = row
        .get(0)
        .and_then(|name| u32::from_str_radix(name.get(..8)?, 16).ok());
    Some(Sighting {
        identifier: row.get(5).and_then(|identifier| identifier.parse().ok()),
        timeline,
        position: row.get(1)?.parse().ok()?,
        next_transaction: row.get(2)?.parse().ok()?,
        started: row.get(3)?.parse().ok()?,
        seen: row.get(4)?.parse().ok()?,
    })
}
