//! What the source is in the middle of.

use std::time::Duration;

use tokio::time::{Instant, sleep};

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

/// How long a standby whose replay goes on may stay at one position.
const STANDSTILL: Duration = Duration::from_secs(2);

/// Bytes at most that are received and are nothing to replay: the header of a WAL page, where the next one begins.
const PAGE_HEADER: i64 = 40;

/// `received`: where the WAL ends that was received, within its page. The shortest record is hardly longer than a header.
fn to_replay(left: Option<i64>, received: Option<i64>) -> Option<i64> {
    let is_header = received.is_some_and(|received| received <= PAGE_HEADER);
    left.filter(|left| *left > if is_header { PAGE_HEADER } else { 0 })
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
        (true, ..) => waiting(connection).await?,
    })
}

/// A replay that waits for a query, as long as `max_standby_streaming_delay` lets it.
async fn waiting(connection: &Connection) -> Result<Option<Stale>, Error> {
    let before = replay(connection).await?;
    if before.1.is_none() {
        return Ok(None);
    }
    sleep(STANDSTILL).await;
    let (position, bytes) = replay(connection).await?;
    Ok(bytes
        .filter(|_| position == before.0)
        .map(|bytes| Stale::Waiting { bytes }))
}

/// Up to where a standby has replayed, and how many bytes it received that it has not; `None`: nothing.
async fn replay(connection: &Connection) -> Result<(Option<String>, Option<u64>), Error> {
    let row = query::row(
        connection,
        "look what the standby has not replayed",
        "SELECT pg_catalog.pg_last_wal_replay_lsn()::text, \
                pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_last_wal_receive_lsn(), pg_catalog.pg_last_wal_replay_lsn())::int8, \
                (pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_last_wal_receive_lsn(), '0/0') \
                 % pg_catalog.current_setting('wal_block_size')::int)::int8",
    )
    .await?;
    let bytes = to_replay(row.get(1), row.get(2));
    Ok((row.get(0), bytes.and_then(|bytes| bytes.try_into().ok())))
}

/// How often to look.
const LOOK: Duration = Duration::from_millis(100);

/// Waits, on a standby, until it streams and has replayed what its primary had written by now, as far as both know. `Some`: why it has
/// not after that time, in words.
///
/// # Errors
///
/// A server that cannot be asked.
pub(crate) async fn await_replay(
    connection: &Connection,
    patience: Duration,
) -> Result<Option<String>, Error> {
    if connection.version().major() < 1000 {
        return Ok(None);
    }
    let deadline = Instant::now() + patience;
    let mut written: Option<String> = None;
    loop {
        // What the primary said last of the end of its WAL (walreceiver.c, ProcessWalSndrMessage); a role may not be let see it.
        let row = connection
            .query_one(
                "SELECT i.is_standby, EXISTS (SELECT FROM pg_catalog.pg_stat_wal_receiver), \
                        CASE WHEN i.is_standby THEN coalesce($1::text::pg_lsn, greatest(pg_catalog.pg_last_wal_receive_lsn(), \
                            (SELECT max(latest_end_lsn) FROM pg_catalog.pg_stat_wal_receiver)))::text END, \
                        CASE WHEN i.is_standby THEN pg_catalog.pg_last_wal_replay_lsn()::text END \
                 FROM (SELECT pg_catalog.pg_is_in_recovery()) AS i (is_standby)",
                &[&written],
            )
            .await
            .map_err(connection.failed("look what the standby has replayed"))?;
        if !row.get::<_, bool>(0) {
            return Ok(None);
        }
        let streams: bool = row.get(1);
        if streams {
            written = row.get(2);
        }
        let left = connection
            .query_one(
                "SELECT pg_catalog.pg_wal_lsn_diff($1::text::pg_lsn, $2::text::pg_lsn)::int8, \
                        (pg_catalog.pg_wal_lsn_diff($1::text::pg_lsn, '0/0') % pg_catalog.current_setting('wal_block_size')::int)::int8",
                &[&written, &row.get::<_, Option<String>>(3)],
            )
            .await
            .map_err(connection.failed("look what the standby has not replayed"))?;
        let left = to_replay(left.get(0), left.get(1));
        let why = match (streams, left) {
            (false, _) => "receives nothing from a primary".to_owned(),
            (true, Some(left)) => format!(
                "has not replayed {left} bytes of what its primary wrote before the snapshot"
            ),
            (true, None) => return Ok(None),
        };
        if Instant::now() >= deadline {
            return Ok(Some(why));
        }
        sleep(LOOK).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_header_is_nothing_to_replay_and_a_commit_is() {
        assert_eq!(to_replay(Some(40), Some(40)), None);
        assert_eq!(to_replay(Some(24), Some(24)), None);
        assert_eq!(to_replay(Some(34), Some(1000)), Some(34));
        assert_eq!(to_replay(Some(0), Some(1000)), None);
        assert_eq!(to_replay(None, None), None);
    }
}
