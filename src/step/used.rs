//! Whether clients wrote to a database since it was verified: what may be dropped, and what is theirs.

use crate::inspect::written;
use crate::names::{Since, WriteMark};
use crate::plan::Endpoint;
use crate::postgres::{Application, Connection, Error, Session, connect};

/// What a person does about a database that was to be dropped and was written to.
pub(crate) const KEEP_OR_DROP: &str = "look at what is in it; if nobody needs it, DROP DATABASE on the target, and run again: \
     the run creates it; to keep it as it is, exclude it (databases.exclude)";

/// Compares how much was written to a database of the target with what had been when it was verified. A database that is
/// gone was written to by nobody.
pub(crate) async fn written_since(
    target: &Endpoint,
    database: &str,
    session: &Session,
    application: &Application,
    before: Option<&WriteMark>,
) -> Result<Since, Error> {
    let connection = match connect(target, database, session).await {
        Ok(connection) => connection,
        // invalid_catalog_name
        Err(error) if error.sqlstate() == Some("3D000") => return Ok(Since::Unwritten),
        Err(error) => return Err(error),
    };
    let since = written_since_in(&connection, application, before).await?;
    connection.close().await;
    Ok(since)
}

/// As [`written_since`], of the connection's database.
pub(super) async fn written_since_in(
    connection: &Connection,
    application: &Application,
    before: Option<&WriteMark>,
) -> Result<Since, Error> {
    let Some(before) = before else {
        return Ok(Since::Unknown);
    };
    Ok(before.compare(&written(connection, application).await?))
}

/// Why it is not dropped.
pub(crate) fn written_words(database: &str, since: Since) -> String {
    let why = match since {
        Since::Unwritten => "nothing was written to it since it was verified",
        Since::Written => "it was written to since it was verified (pg_stat_database)",
        Since::Unknown => {
            "it cannot be known whether it was written to since it was verified: the target's statistics were reset or lost \
             in a crash, do not count everything (track_counts), or hold the delayed load as well"
        }
    };
    format!("the database \"{database}\" is not dropped: {why}")
}
