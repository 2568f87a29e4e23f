//! How much was written to a database, by its server's cumulative statistics.

use std::time::Duration;

use tokio::time::sleep;

use super::query;
use crate::names::WriteMark;
use crate::postgres::{Application, Connection, Error};

/// Before 15 the statistics go to a collector, and what it shows may be half a second old (`PGSTAT_STAT_INTERVAL`).
const COLLECTOR_DELAY: Duration = Duration::from_millis(700);

/// How often, and how long, to look whether sessions of ours that have ended are gone: they report what they wrote last.
const LOOK: Duration = Duration::from_millis(50);
const LOOKS: u32 = 40;

/// What ANALYZE writes, by autovacuum as well, is nothing of a client's. Each side of the difference counts every row.
const WRITTEN: &str = "\
    SELECT d.oid, \
           (s.tup_inserted + s.tup_updated + s.tup_deleted - coalesce(analyzed.rows, 0))::bigint, \
           s.xact_commit, s.stats_reset::text, \
           current_setting('track_counts')::boolean \
           AND NOT EXISTS (SELECT FROM pg_catalog.pg_db_role_setting r, unnest(r.setconfig) c(setting) \
                           WHERE c.setting LIKE 'track\\_counts=%') \
    FROM pg_catalog.pg_database d \
    JOIN pg_catalog.pg_stat_database s ON s.datid = d.oid \
    LEFT JOIN (SELECT sum(pg_stat_get_tuples_inserted(r.oid) + pg_stat_get_tuples_updated(r.oid) \
                          + pg_stat_get_tuples_deleted(r.oid)) AS rows \
               FROM pg_catalog.pg_class c \
               JOIN pg_catalog.pg_class r ON r.oid IN (c.oid, c.reltoastrelid) \
               WHERE c.relnamespace = 'pg_catalog'::regnamespace \
                 AND c.relname IN ('pg_statistic', 'pg_statistic_ext_data')) analyzed ON true \
    WHERE d.datname = current_database()";

/// How much was written to the connection's database so far. `None`: the server does not count it, or not for everybody.
pub(crate) async fn written(
    connection: &Connection,
    application: &Application,
) -> Result<Option<WriteMark>, Error> {
    await_our_sessions(connection, application).await?;
    if connection.version().major() < 1500 {
        sleep(COLLECTOR_DELAY).await;
    }
    let row = query::row(connection, "read how much was written", WRITTEN).await?;
    let counts: bool = row.get(4);
    Ok(counts.then(|| WriteMark {
        oid: row.get(0),
        rows: row.get(1),
        transactions: row.get(2),
        reset: row.get(3),
    }))
}

/// Waits a moment until no other session of this run is in the database.
async fn await_our_sessions(
    connection: &Connection,
    application: &Application,
) -> Result<(), Error> {
    for _ in 0..LOOKS {
        let names = query::texts(
            connection,
            "look for sessions that end",
            "SELECT application_name FROM pg_catalog.pg_stat_activity \
             WHERE datname = current_database() AND pid <> pg_catalog.pg_backend_pid() \
               AND application_name LIKE 'pg-migrate/%'",
        )
        .await?;
        if !names.iter().any(|name| application.owns(name)) {
            break;
        }
        sleep(LOOK).await;
    }
    Ok(())
}
