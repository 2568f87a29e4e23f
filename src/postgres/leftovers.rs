//! Sessions that a killed run left on a server.

use super::application::Application;
use super::connect::Connection;
use super::error::Error;

/// Terminates the sessions of the application's state directory on a server, except our own and the one that is kept, and
/// returns how many there are. They may take a while to end.
///
/// # Errors
///
/// As the server reports it.
pub(crate) async fn terminate_leftovers(
    connection: &Connection,
    application: &Application,
    kept: Option<i32>,
) -> Result<u32, Error> {
    let mark = application.mark();
    // Every name ends with an empty mark.
    if mark.is_empty() {
        return Ok(0);
    }
    let row = connection
        .query_one(
            "SELECT count(pg_catalog.pg_terminate_backend(pid)) FROM pg_catalog.pg_stat_activity \
             WHERE application_name LIKE 'pg-migrate/%' AND right(application_name, length($1)) = $1 \
               AND usename = current_user AND pid <> pg_catalog.pg_backend_pid() \
               AND pid IS DISTINCT FROM $2",
            &[&mark, &kept],
        )
        .await
        .map_err(connection.failed("end the sessions that a killed run left"))?;
    Ok(u32::try_from(row.get::<_, i64>(0)).unwrap_or(u32::MAX))
}
