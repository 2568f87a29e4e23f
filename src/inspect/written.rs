//! How much was written to a database, by its server's cumulative statistics.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::sleep;

use super::query;
use crate::names::{Filled, Lasting, TableName, WriteMark};
use crate::postgres::{Application, Connection, Error, quote_literal};

/// Before 15 the statistics go to a collector, and what it shows may be half a second old (`PGSTAT_STAT_INTERVAL`).
const COLLECTOR_DELAY: Duration = Duration::from_millis(700);

/// How often, and how long, to look whether sessions of ours that have ended are gone: they report what they wrote last. What one of a busy
/// server reports after the look would be taken for another's.
const LOOK: Duration = Duration::from_millis(50);
const LOOKS: u32 = 400;

/// What ANALYZE writes, by autovacuum as well, is nothing of a client's. Each side of the difference counts every row. A standby counts
/// nothing that its primary writes: there it is the next transaction id, which every write moves on, in whatever database.
const WRITTEN: &str = "\
    SELECT d.oid, \
           CASE WHEN pg_is_in_recovery() THEN txid_snapshot_xmax(txid_current_snapshot()) \
                ELSE s.tup_inserted + s.tup_updated + s.tup_deleted - coalesce(analyzed.rows, 0) END::bigint, \
           s.xact_commit, s.stats_reset::text, \
           current_setting('track_counts')::boolean \
           AND NOT EXISTS (SELECT FROM pg_catalog.pg_db_role_setting r, unnest(r.setconfig) c(setting) \
                           WHERE r.setdatabase IN (0, d.oid) \
                             AND CASE WHEN lower(c.setting) LIKE 'track\\_counts=%' \
                                      THEN NOT split_part(c.setting, '=', 2)::boolean END), \
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
        SELECT oid FROM pg_catalog.pg_class WHERE relpersistence = 't' \
        UNION ALL SELECT oid FROM pg_catalog.pg_type \
            WHERE typnamespace IN (SELECT oid FROM pg_catalog.pg_namespace WHERE nspname ~ '^pg_(toast_)?temp_') \
        UNION ALL SELECT oid FROM pg_catalog.pg_namespace WHERE nspname ~ '^pg_(toast_)?temp_'";

/// What the delayed phase writes to: the tables that are named, those that hang below them, all materialized views, and the indexes
/// and TOAST tables of those.
fn of_delayed(tables: &BTreeSet<TableName>) -> String {
    let names: Vec<String> = tables
        .iter()
        .map(|table| quote_literal(&table.quoted()))
        .collect();
    format!(
        "SELECT oid FROM ( \
             WITH RECURSIVE named (oid) AS ( \
                 SELECT pg_catalog.to_regclass(name)::oid FROM unnest(ARRAY[{}]::text[]) AS name \
                 UNION SELECT i.inhrelid FROM named JOIN pg_catalog.pg_inherits i ON i.inhparent = named.oid), \
             kept (oid) AS ( \
                 SELECT oid FROM named WHERE oid IS NOT NULL \
                 UNION SELECT oid FROM pg_catalog.pg_class WHERE relkind = 'm'), \
             toasted (oid) AS ( \
                 SELECT oid FROM kept \
                 UNION SELECT c.reltoastrelid FROM kept JOIN pg_catalog.pg_class c USING (oid) WHERE c.reltoastrelid <> 0) \
             SELECT oid FROM toasted \
             UNION SELECT x.indexrelid FROM toasted JOIN pg_catalog.pg_index x ON x.indrelid = toasted.oid) delayed",
        names.join(", ")
    )
}

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
    FROM pg_catalog.pg_class WHERE relpersistence <> 't' AND oid NOT IN (SELECT oid FROM apart)";

const ROWS: &str = "\
    SELECT coalesce(sum(pg_stat_get_tuples_inserted(oid) + pg_stat_get_tuples_updated(oid) \
                        + pg_stat_get_tuples_deleted(oid)), 0)::bigint \
    FROM pg_catalog.pg_class \
    WHERE oid IN ('pg_catalog.pg_largeobject'::regclass, 'pg_catalog.pg_user_mapping'::regclass) \
       OR relkind IN ('r', 'm') AND relpersistence <> 't' AND relnamespace <> 'pg_catalog'::regnamespace \
          AND oid NOT IN (SELECT oid FROM apart)";

/// Those that are unlogged are set back by a crash, and are looked at by themselves.
const SEQUENCES: &str = "\
    SELECT coalesce(sum(hashtext(concat_ws('|', oid, CASE WHEN has_sequence_privilege(oid, 'SELECT,USAGE') \
                                                          THEN pg_catalog.pg_sequence_last_value(oid) END))), 0)::bigint \
    FROM pg_catalog.pg_class WHERE relkind = 'S' AND relpersistence = 'p'";

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
        "pg_inherits" => &["inhrelid", "inhparent"],
        "pg_rewrite" => &["ev_class"],
        "pg_trigger" => &["tgrelid"],
        "pg_description" => &["objoid"],
        "pg_depend" => &["objid", "refobjid"],
        _ => &[],
    }
}

/// Each row version has a place and a transaction of its own.
fn digest(catalogs: &[String], apart: &str) -> String {
    let versions = catalogs.iter().map(|catalog| {
        let is_lasting = about(catalog)
            .iter()
            .map(|column| format!("{column} NOT IN (SELECT oid FROM apart)"));
        let is_lasting: Vec<String> = is_lasting.collect();
        let condition = match &is_lasting[..] {
            [] => "true".to_owned(),
            conditions => conditions.join(" AND "),
        };
        format!("SELECT '{catalog}' || ctid::text || xmin::text AS said FROM pg_catalog.{catalog} WHERE {condition}")
    });
    let parts: Vec<String> = versions.chain([RELATIONS.to_owned()]).collect();
    format!(
        "{apart} SELECT coalesce(sum(hashtext(said)), 0)::bigint FROM ({}) said",
        parts.join(" UNION ALL ")
    )
}

/// `but`: relations of which nothing is counted besides the temporary ones, as a query.
async fn lasting(connection: &Connection, but: Option<String>) -> Result<Option<Lasting>, Error> {
    if connection.version().major() < 1000 {
        return Ok(None);
    }
    let action = "read what stays of what was written";
    let catalogs = query::texts(connection, action, CATALOGS).await?;
    let apart = match but {
        None => format!("WITH apart AS ({TEMPORARY})"),
        Some(but) => format!("WITH apart AS ({TEMPORARY} UNION ALL {but})"),
    };
    let digest = query::row(connection, action, &digest(&catalogs, &apart)).await?;
    let rows = query::row(connection, action, &format!("{apart} {ROWS}")).await?;
    let sequences = query::row(connection, action, SEQUENCES).await?;
    Ok(Some(Lasting {
        rows: rows.get(0),
        catalogs: digest.get(0),
        sequences: Some(sequences.get(0)),
    }))
}

/// What tells later what of unlogged tables is of before this moment. `None`: the server does not tell.
pub(crate) async fn filled(connection: &Connection) -> Result<Option<Filled>, Error> {
    let row = query::row(
        connection,
        "look whether the server crashed",
        "SELECT extract(epoch FROM stats_reset)::text, txid_snapshot_xmax(txid_current_snapshot()) - 1 \
         FROM pg_catalog.pg_stat_archiver",
    )
    .await?;
    let statistics: Option<String> = row.get(0);
    Ok(statistics.map(|statistics| Filled {
        statistics,
        transaction: row.get(1),
    }))
}

/// How much was written to the connection's database so far.
pub(crate) async fn written(
    connection: &Connection,
    application: &Application,
) -> Result<WriteMark, Error> {
    look(connection, application, None).await
}

async fn look(
    connection: &Connection,
    application: &Application,
    but: Option<String>,
) -> Result<WriteMark, Error> {
    await_our_sessions(connection, application).await?;
    if connection.version().major() < 1500 {
        sleep(COLLECTOR_DELAY).await;
    }
    let row = query::row(connection, "read how much was written", WRITTEN).await?;
    let counts: bool = row.get(4);
    Ok(WriteMark {
        oid: row.get(0),
        rows: row.get(1),
        transactions: row.get(2),
        reset: row.get(3),
        uncounted: !counts,
        lasting: match row.get(5) {
            true => None,
            false => lasting(connection, but).await?,
        },
    })
}

/// As [`written`], of what the load of these tables, the refresh of materialized views and the indexes of either do not change: a mark
/// for [`WriteMark::compare_regular`]. `None`: an older server does not tell.
pub(crate) async fn written_to_others(
    connection: &Connection,
    application: &Application,
    tables: &BTreeSet<TableName>,
) -> Result<Option<WriteMark>, Error> {
    let mark = look(connection, application, Some(of_delayed(tables))).await?;
    Ok(Some(mark).filter(|mark| mark.lasting.is_some()))
}

/// Waits a moment until no other session of this run is in the database. Whether they are gone.
pub(crate) async fn await_our_sessions(
    connection: &Connection,
    application: &Application,
) -> Result<bool, Error> {
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
            return Ok(true);
        }
        sleep(LOOK).await;
    }
    Ok(false)
}
