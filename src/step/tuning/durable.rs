//! Flushing to disk what was written while no commit waited for it.
//!
//! With fsync on again, only what is written from then on is waited for: the requests of before were
//! dropped (sync.c, `ProcessSyncRequests`). So the whole operating system is asked to write what it holds.
//! The checkpoint before it brings out what is still in shared buffers, and starts a time in which every
//! page is written whole to the WAL again.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::journal::TunedSetting;
use crate::plan::FoundUnsafe;
use crate::postgres::Connection;
use crate::step::StepError;

pub(super) const FSYNC: &str = "fsync";
const FULL_PAGE_WRITES: &str = "full_page_writes";

/// How long to wait for other sessions' statements that began without fsync.
const OTHER_SESSIONS: Duration = Duration::from_secs(10);

/// Whether the settings were such that something may not be on disk.
pub(super) fn is_needed(tuned: &BTreeMap<String, TunedSetting>) -> bool {
    unsafe_setting(tuned).is_some()
}

/// Of the settings that this plan changed, one with which something may not be on disk.
pub(super) fn unsafe_setting(tuned: &BTreeMap<String, TunedSetting>) -> Option<&TunedSetting> {
    tuned.get(FSYNC).or_else(|| tuned.get(FULL_PAGE_WRITES))
}

/// Flushes everything to disk, as far as the role may. The settings from before are in effect. Returns
/// what the user has to do still.
///
/// # Errors
///
/// One of the settings is still off, where the plan does not say that the server's owner wants it so.
pub(super) async fn flush(
    connection: &Connection,
    found_unsafe: FoundUnsafe,
) -> Result<Vec<String>, StepError> {
    let rows = connection
        .query(
            "SELECT name, coalesce(sourcefile || ', line ' || sourceline, source) FROM pg_catalog.pg_settings \
             WHERE name IN ('fsync', 'full_page_writes') AND setting = 'off' ORDER BY name",
            &[],
        )
        .await
        .map_err(connection.failed("read fsync and full_page_writes"))?;
    let off: Vec<(String, String)> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    if let (Some((name, origin)), FoundUnsafe::Refuse) = (off.first(), found_unsafe) {
        return Err(StepError::new(format!(
            "{name} is off on the target (by {origin}), though what this plan set is taken back: it was set by another session or a file during the \
             run, and what was loaded may not be on disk"
        ))
        .help(format!(
            "take that back on the target, SELECT pg_reload_conf(), and run again: no database is opened before; where the server's \
             owner wants {name} off, target.tuning.found_unsafe = \"keep\""
        )));
    }
    if off.iter().any(|(name, _)| name == FSYNC) {
        // So it was before the load, and the server's owner knows.
        return Ok(Vec::new());
    }
    let mut warnings = Vec::new();
    warnings.extend(await_other_sessions(connection).await?);
    warnings.extend(checkpoint_and_sync(connection).await);
    Ok(warnings)
}

/// A statement that is under way goes on by the old settings: a session reads the new ones between two
/// statements (postgres.c, `PostgresMain`).
async fn await_other_sessions(connection: &Connection) -> Result<Option<String>, StepError> {
    let clients = if connection.version().major() >= 1000 {
        "AND backend_type = 'client backend'"
    } else {
        ""
    };
    let sql = format!(
        "SELECT count(*) FROM pg_catalog.pg_stat_activity \
         WHERE state = 'active' AND pid <> pg_backend_pid() {clients} \
           AND query_start < pg_catalog.pg_conf_load_time()"
    );
    let deadline = Instant::now() + OTHER_SESSIONS;
    loop {
        let row = connection
            .query_one(&sql, &[])
            .await
            .map_err(connection.failed("look for statements under way"))?;
        match row.get::<_, i64>(0) {
            0 => return Ok(None),
            left if Instant::now() > deadline => {
                return Ok(Some(format!(
                    "{left} statements of other sessions have been under way on the target since before fsync was on again, and \
                     do not wait for the disk until they end; run CHECKPOINT when they have ended"
                )));
            }
            _ => sleep(Duration::from_millis(100)).await,
        }
    }
}

/// A failure is a warning here: the settings are back, and a person can do the rest.
async fn checkpoint_and_sync(connection: &Connection) -> Option<String> {
    let statements = [
        ("CHECKPOINT", "CHECKPOINT"),
        ("sync", "COPY (SELECT 1) TO PROGRAM 'sync'"),
    ];
    for (what, sql) in statements {
        if let Err(error) = connection.batch_execute(sql).await {
            let reason = match error.as_db_error() {
                Some(server) => server.message().to_owned(),
                None => error.to_string(),
            };
            return Some(format!(
                "fsync is on again on the target, but {what} could not be run there ({reason}): what was written \
                 during the load may not be on disk yet, and a crash of the operating system could lose it; run \
                 CHECKPOINT as a superuser, then sync on the target's host"
            ));
        }
    }
    None
}

/// Waits until what this run committed without waiting is on disk (`synchronous_commit = off`). It waits
/// neither for other sessions' commits nor for standbys.
pub(super) async fn flush_wal(connection: &Connection) -> Result<(), StepError> {
    if connection.version().major() < 906 {
        return Ok(());
    }
    // The WAL is written in one piece: with the end of it, all before it.
    connection
        .batch_execute(
            "SET synchronous_commit = local; \
             SELECT pg_catalog.pg_logical_emit_message(true, 'pg-migrate', 'the end of the load')",
        )
        .await
        .map_err(connection.failed("wait for the WAL to reach the disk"))?;
    Ok(())
}
