//! How much was written to a database, by its server's cumulative statistics.

use std::time::Duration;

use tokio::time::sleep;

use super::query;
use crate::names::{Lasting, WriteMark};
use crate::postgres::{Application, Connection, Error};

/// Before 15 the statistics go to a collector, and what it shows may be half a second old (`PGSTAT_STAT_INTERVAL`).
const COLLECTOR_DELAY: Duration = Duration::from_millis(700);

/// How often, and how long, to look whether sessions of ours that have ended are gone: they report what they wrote last.
const LOOK: Duration = Duration::from_millis(50);
const LOOKS: u32 = 40;

/// What ANALYZE writes, by autovacuum as well, is nothing of a client's. Each side of the difference counts every row. A standby counts
/// nothing that its primary writes: there it is the next transaction id, which every write moves on, in whatever database.
const WRITTEN: &str = "\
    SELECT d.oid, \
           CASE WHEN pg_is_in_recovery() THEN txid_snapshot_xmax(txid_current_snapshot()) \
                ELSE s.tup_inserted + s.tup_updated + s.tup_deleted - coalesce(analyzed.rows, 0) END::bigint, \
           s.xact_commit, s.stats_reset::text, \
           current_setting('track_counts')::boolean \
           AND NOT EXISTS (SELECT FROM pg_catalog.pg_db_role_setting r, unnest(r.setconfig) c(setting) \
                           WHERE c.setting LIKE 'track\\_counts=%'), \
           pg_is_in_recovery() \
    FROM pg_catalog.pg_database d \
    JOIN pg_catalog.pg_stat_database s ON s.datid = d.oid \
    LEFT JOIN (SELECT sum(pg_stat_get_tuples_inserted(r.oid) + pg_stat_get_tuples_updated(r.oid) \
                          + pg_stat_get_tuples_deleted(r.oid)) AS rows \
               FROM pg_catalog.pg_class c \
               JOIN pg_catalog.pg_class r ON r.oid IN (c.oid, c.reltoastrelid) \
               WHERE c.relnamespace = 'pg_catalog'::regnamespace \
                 AND c.relname IN ('pg_statistic', 'pg_statistic_ext_data')) analyzed ON true \
    WHERE d.datname = current_database()";

/// The relations of temporary tables, and what their catalog rows hang on.
const TEMPORARY: &str = "\
    WITH temporary AS ( \
        SELECT oid FROM pg_catalog.pg_class WHERE relpersistence = 't' \
        UNION ALL SELECT oid FROM pg_catalog.pg_type \
            WHERE typnamespace IN (SELECT oid FROM pg_catalog.pg_namespace WHERE nspname ~ '^pg_(toast_)?temp_') \
        UNION ALL SELECT oid FROM pg_catalog.pg_namespace WHERE nspname ~ '^pg_(toast_)?temp_')";

/// Catalogs of the database itself, but for what ANALYZE writes, and what only superusers may read: large objects' data and
/// user mappings, which are counted.
const CATALOGS: &str = "\
    SELECT relname::text FROM pg_catalog.pg_class \
    WHERE relnamespace = 'pg_catalog'::regnamespace AND relkind = 'r' AND NOT relisshared \
      AND relname NOT IN ('pg_class', 'pg_statistic', 'pg_statistic_ext_data', 'pg_largeobject', \
                          'pg_user_mapping') \
      AND pg_catalog.has_table_privilege(oid, 'SELECT') ORDER BY 1";

/// REINDEX gives an index another file, VACUUM and ANALYZE write the estimates and flags, which are not in it. Row by row as JSON it
/// would take seconds where there are thousands of tables.
const RELATIONS: &str = "\
    SELECT concat_ws('|', oid, relname, relnamespace, reltype, reloftype, relowner, relam, reltablespace, reltoastrelid, relisshared, \
                     relpersistence, relkind, relnatts, relchecks, relrowsecurity, relforcerowsecurity, relispopulated, \
                     relreplident, relispartition, relacl, reloptions, relpartbound, \
                     CASE WHEN relkind IN ('i', 'I') THEN 0 ELSE relfilenode END) AS said \
    FROM pg_catalog.pg_class WHERE relpersistence <> 't'";

const LASTING_ROWS: &str = "\
    SELECT coalesce(sum(pg_stat_get_tuples_inserted(oid) + pg_stat_get_tuples_updated(oid) \
                        + pg_stat_get_tuples_deleted(oid)), 0)::bigint \
    FROM pg_catalog.pg_class \
    WHERE oid IN ('pg_catalog.pg_largeobject'::regclass, 'pg_catalog.pg_user_mapping'::regclass) \
       OR relkind IN ('r', 'm') AND relpersistence <> 't' AND relnamespace <> 'pg_catalog'::regnamespace";

/// The columns of a catalog that say which relation, type or schema its row is about. A row about one that is temporary says
/// nothing of what stays.
fn about(catalog: &str) -> &'static [&'static str] {
    match catalog {
        "pg_namespace" | "pg_type" => &["oid"],
        "pg_attribute" => &["attrelid"],
        "pg_attrdef" => &["adrelid"],
        "pg_constraint" => &["conrelid"],
        "pg_index" => &["indrelid"],
        "pg_sequence" => &["seqrelid"],
        "pg_depend" => &["objid", "refobjid"],
        _ => &[],
    }
}

/// Each row version has a place and a transaction of its own.
fn digest(catalogs: &[String]) -> String {
    let versions = catalogs.iter().map(|catalog| {
        let is_lasting = about(catalog)
            .iter()
            .map(|column| format!("{column} NOT IN (SELECT oid FROM temporary)"));
        let is_lasting: Vec<String> = is_lasting.collect();
        let condition = match &is_lasting[..] {
            [] => "true".to_owned(),
            conditions => conditions.join(" AND "),
        };
        format!("SELECT '{catalog}' || ctid::text || xmin::text AS said FROM pg_catalog.{catalog} WHERE {condition}")
    });
    let parts: Vec<String> = versions.chain([RELATIONS.to_owned()]).collect();
    format!(
        "{TEMPORARY} SELECT coalesce(sum(hashtext(said)), 0)::bigint FROM ({}) said",
        parts.join(" UNION ALL ")
    )
}

async fn lasting(connection: &Connection) -> Result<Option<Lasting>, Error> {
    if connection.version().major() < 1000 {
        return Ok(None);
    }
    let action = "read what stays of what was written";
    let catalogs = query::texts(connection, action, CATALOGS).await?;
    let digest = query::row(connection, action, &digest(&catalogs)).await?;
    let rows = query::row(connection, action, LASTING_ROWS).await?;
    Ok(Some(Lasting {
        rows: rows.get(0),
        catalogs: digest.get(0),
    }))
}

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
    if !counts {
        return Ok(None);
    }
    Ok(Some(WriteMark {
        oid: row.get(0),
        rows: row.get(1),
        transactions: row.get(2),
        reset: row.get(3),
        lasting: match row.get(5) {
            true => None,
            false => lasting(connection).await?,
        },
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
