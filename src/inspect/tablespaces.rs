//! Tablespaces that the target could make.

use super::query;
use crate::postgres::{Connection, Error};

/// Tablespaces of the source that the target lacks and that its role, a superuser, can make there: the directory is there,
/// empty. Only superusers see that. Whether the server may also write to it, the attempt tells.
pub(super) async fn makeable(
    source: &Connection,
    target: &Connection,
) -> Result<Vec<String>, Error> {
    // Before 9.6 a file that is missing is an error.
    if target.version().major() < 906 {
        return Ok(Vec::new());
    }
    let rows = query::rows(
        source,
        "ask where the tablespaces are",
        "SELECT spcname::text, pg_tablespace_location(oid) FROM pg_catalog.pg_tablespace \
         WHERE spcname NOT IN ('pg_default', 'pg_global') ORDER BY spcname::text COLLATE \"C\"",
    )
    .await?;
    let mut makeable = Vec::new();
    for row in &rows {
        let location: &str = row.get(1);
        let looked = target
            .query_one(
                "SELECT $1 LIKE '/%' AND coalesce((pg_catalog.pg_stat_file($1, true)).isdir, false) \
                    AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_ls_dir($1, true, false))",
                &[&location],
            )
            .await;
        match looked {
            Ok(found) if found.get(0) => makeable.push(row.get(0)),
            Ok(_) => {}
            // A directory that the server may not look into is not its own.
            Err(error) if error.as_db_error().is_some() => {
                tracing::debug!(%error, location, "the target cannot look at the place of a tablespace");
            }
            Err(error) => return Err(target.failed("look at the place of a tablespace")(error)),
        }
    }
    Ok(makeable)
}
