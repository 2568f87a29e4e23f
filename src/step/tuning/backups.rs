//! Backups of the target that ended while its settings were those for the load.

use std::collections::BTreeMap;

use crate::journal::TunedSetting;
use crate::postgres::{Connection, escape_control};

use super::durable;

/// Names them, a warning each, by their backup history files (PostgreSQL manual, 25.3.3): a backup that a program takes with
/// `pg_backup_start` shows nowhere else. A server that archives no WAL removes such a file at once, and a role may not be let see
/// them: then there is nothing to name.
pub(super) async fn ended_meanwhile(
    connection: &Connection,
    tuned: &BTreeMap<String, TunedSetting>,
) -> Vec<String> {
    let Some(since) = durable::unsafe_setting(tuned).and_then(|one| one.since.seen) else {
        return Vec::new();
    };
    if connection.version().major() < 1000 {
        return Vec::new();
    }
    // The file's time is in whole seconds.
    let since = (since.seen / 1_000_000) as f64;
    let ended = "SELECT name, pg_catalog.to_char(modification AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"') \
                 FROM pg_catalog.pg_ls_waldir() WHERE name LIKE '%.backup' \
                 AND modification >= pg_catalog.to_timestamp($1) ORDER BY name";
    let ended = match connection.query(ended, &[&since]).await {
        Ok(ended) => ended,
        Err(error) => {
            tracing::debug!(%error, "cannot look for backup history files");
            return Vec::new();
        }
    };
    let mut warnings = under_way(connection).await;
    for row in ended {
        let (name, at): (String, String) = (row.get(0), row.get(1));
        let read = "SELECT pg_catalog.pg_read_file('pg_wal/' || $1::text, 0, 4096, true)";
        let history = connection.query_one(read, &[&name]).await;
        let history: Option<String> = history.ok().and_then(|row| row.get(0));
        warnings.push(warning(&name, &at, history.as_deref()));
    }
    warnings
}

/// Of a backup that has not ended, its session is all there is, by its last statement.
async fn under_way(connection: &Connection) -> Vec<String> {
    let sessions = "SELECT pid::text || coalesce(', ' || nullif(application_name, ''), '') || coalesce(', of ' || usename, '') \
                    FROM pg_catalog.pg_stat_activity \
                    WHERE pid <> pg_catalog.pg_backend_pid() AND query ~* 'pg_(backup_start|start_backup)'";
    let sessions = connection.query(sessions, &[]).await.unwrap_or_default();
    let warn = |row: &tokio_postgres::Row| {
        format!(
            "a backup of the target is under way that began with its settings for the load, or may have (session {}): it may have fsync and the \
             like off in its postgresql.auto.conf, and half a load; take it again",
            escape_control(row.get(0))
        )
    };
    sessions.iter().map(warn).collect()
}

fn warning(name: &str, ended: &str, history: Option<&str>) -> String {
    let line = |key: &str| {
        let mut lines = history.unwrap_or_default().lines();
        lines.find_map(|line| line.strip_prefix(key)).map(str::trim)
    };
    let label = line("LABEL:").map_or(String::new(), |label| {
        format!("{:?}, ", escape_control(label))
    });
    let began = line("START TIME:").map_or(String::new(), |time| {
        format!("begun at {}, ", escape_control(time))
    });
    format!(
        "a backup of the target ended while fsync or full_page_writes was off for the load ({label}{began}ended at {ended}, {}): it may have \
         these settings in its postgresql.auto.conf, and half a load; take it again, and remove it where backups are chosen by age",
        escape_control(name)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backup_is_named_by_what_can_be_read() {
        let history = "START WAL LOCATION: 0/2000028 (file 000000010000000000000002)\n\
                       START TIME: 2026-11-02 01:00:00 UTC\nLABEL: nightly\nSTART TIMELINE: 1\n";
        let named = warning("1.backup", "2026-11-02T01:02:03Z", Some(history));
        assert!(
            named.contains(
                "(\"nightly\", begun at 2026-11-02 01:00:00 UTC, ended at 2026-11-02T01:02:03Z, 1.backup)"
            ),
            "{named}"
        );
        let unread = warning("1.backup", "2026-11-02T01:02:03Z", None);
        assert!(
            unread.contains("(ended at 2026-11-02T01:02:03Z, 1.backup)"),
            "{unread}"
        );
    }
}
