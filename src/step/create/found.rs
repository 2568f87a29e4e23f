//! A database of the target, looked for by its name.

use crate::postgres::Connection;
use crate::step::StepError;

/// A database of the target.
pub(super) struct Found {
    pub oid: u32,
    /// What a DROP DATABASE that was interrupted leaves, from 16 on and in the last minors before: nobody can connect to
    /// it, and all that can be done with it is to drop it (PostgreSQL manual, 23.5 "Destroying a Database").
    pub is_invalid: bool,
}

/// The database of this name.
pub(super) async fn find(connection: &Connection, name: &str) -> Result<Option<Found>, StepError> {
    let row = connection
        .query_opt(
            "SELECT oid, datconnlimit = -2 FROM pg_catalog.pg_database WHERE datname = $1",
            &[&name],
        )
        .await
        .map_err(connection.failed("look for the database"))?;
    Ok(row.map(|row| Found {
        oid: row.get(0),
        is_invalid: row.get(1),
    }))
}
