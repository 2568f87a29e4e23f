//! What the source is in the middle of.

use super::query;
use crate::catalog::{Condition, PreparedTransaction, Stale};
use crate::postgres::{Connection, Error};

pub(super) async fn read(connection: &Connection) -> Result<Condition, Error> {
    let rows = query::rows(
        connection,
        "list the prepared transactions",
        "SELECT database::text, gid, owner::text FROM pg_catalog.pg_prepared_xacts \
         ORDER BY database::text COLLATE \"C\", gid COLLATE \"C\"",
    )
    .await?;
    let prepared = rows.iter().map(|row| PreparedTransaction {
        database: row.get(0),
        gid: row.get(1),
        owner: row.get(2),
    });
    Ok(Condition {
        prepared: prepared.collect(),
        stale: stale(connection).await?,
    })
}

/// A standby before 10 cannot be a source at all.
async fn stale(connection: &Connection) -> Result<Option<Stale>, Error> {
    if connection.version().major() < 1000 {
        return Ok(None);
    }
    // The setting is one since 12; before it was in recovery.conf, where no session sees it.
    let row = query::row(
        connection,
        "look whether the standby follows",
        "SELECT pg_catalog.pg_is_in_recovery(), \
                CASE WHEN pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_is_wal_replay_paused() END, \
                coalesce(pg_catalog.current_setting('recovery_min_apply_delay', true), '0') <> '0', \
                EXISTS (SELECT FROM pg_catalog.pg_stat_wal_receiver)",
    )
    .await?;
    let paused: Option<bool> = row.get(1);
    Ok(match (row.get(0), paused, row.get(2), row.get(3)) {
        (false, ..) => None,
        (true, Some(true), ..) => Some(Stale::Paused),
        (true, _, true, _) => Some(Stale::Delayed),
        (true, _, _, false) => Some(Stale::Unconnected),
        (true, ..) => None,
    })
}
