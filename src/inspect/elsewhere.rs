//! What arrives as it is and means something else on another server, is computed there again, or runs with other rights.

use super::not_moved;
use super::owners_code::{self, When};
use super::query::USER_SCHEMA;
use crate::catalog::{NotMoved, NotMovedKind};
use crate::plan::Endpoint;
use crate::postgres::{Connection, Error};

/// Tables with columns of certain types, of their own.
fn tables_with(of_types: &str) -> String {
    format!(
        "SELECT n.nspname || '.' || c.relname, string_agg(a.attname || ' ' || format_type(a.atttypid, NULL), ', ' ORDER BY a.attnum) \
         FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON c.oid = a.attrelid \
         JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         JOIN pg_catalog.pg_type t ON t.oid = a.atttypid LEFT JOIN pg_catalog.pg_type e ON e.oid = t.typelem \
         WHERE c.relkind IN ('r', 'p') AND a.attinhcount = 0 AND a.attnum > 0 AND NOT a.attisdropped AND {USER_SCHEMA} AND {of_types} \
         GROUP BY n.nspname, c.relname ORDER BY 1"
    )
}

/// Columns of what one server counts for itself: transaction ids, snapshots, positions of the WAL, row versions.
const SERVER_VALUES: &str = "\
    t.oid < 16384 \
    AND coalesce(e.typname, t.typname) IN ('xid', 'xid8', 'cid', 'tid', 'txid_snapshot', 'pg_snapshot', 'pg_lsn')";

/// Columns of the numbers by which one server's catalogs and large objects go. What arrives by name (regclass and the like) is another
/// type, as are domains for large objects alone (lo).
const OBJECT_NUMBERS: &str = "t.oid < 16384 AND coalesce(e.typname, t.typname) = 'oid'";

/// Subscriptions that are enabled, where our role may bring subscriptions along.
const SUBSCRIPTIONS: &str = "\
    SELECT s.subname::text, coalesce(s.subslotname::text, '') FROM pg_catalog.pg_subscription s \
    JOIN pg_catalog.pg_database d ON d.oid = s.subdbid \
    WHERE d.datname = current_database() AND s.subenabled \
      AND (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user) ORDER BY 1";

/// Columns of what text search made, in domains and arrays of these too. What is generated is computed again.
const LEXEMES: &str = "\
    t.oid IN (WITH RECURSIVE made_of (oid) AS ( \
                  SELECT unnest(ARRAY['tsvector'::regtype, 'tsquery'::regtype])::oid \
                  UNION SELECT o.oid FROM made_of JOIN pg_catalog.pg_type o \
                  ON o.typbasetype = made_of.oid OR o.typelem = made_of.oid AND o.typlen = -1) \
              SELECT oid FROM made_of) AND GENERATED = ''";

/// Materialized views with rows.
fn views_computed_again() -> String {
    format!(
        "SELECT n.nspname || '.' || c.relname, ''::text FROM pg_catalog.pg_class c \
         JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         WHERE c.relkind = 'm' AND c.relispopulated AND {USER_SCHEMA} ORDER BY 1"
    )
}

/// Foreign servers that lead to the source itself, by the plan's words or by its address.
const LEADS_HERE: &str = "\
    SELECT s.srvname::text, concat_ws(':', coalesce(o.hostaddr, o.host), o.port) FROM pg_catalog.pg_foreign_server s, LATERAL ( \
        SELECT max(v.option_value) FILTER (WHERE v.option_name = 'host') AS host, \
               max(v.option_value) FILTER (WHERE v.option_name = 'hostaddr') AS hostaddr, \
               coalesce(max(v.option_value) FILTER (WHERE v.option_name = 'port'), '5432') AS port \
        FROM pg_options_to_table(s.srvoptions) v) o \
    WHERE (o.host = ANY ($1) OR o.hostaddr = ANY ($1) OR host(inet_server_addr()) IN (o.host, o.hostaddr)) \
      AND o.port IN ($2, inet_server_port()::text) ORDER BY 1";

/// Functions of owners that a load of rows into this table, named as SQL does, runs.
pub(crate) async fn owners_code_in_load(
    connection: &Connection,
    table: &str,
) -> Result<Vec<NotMoved>, Error> {
    let sql = owners_code::sql(connection.version().major(), When::Load(table));
    not_moved::read(connection, NotMovedKind::OwnersCodeInRows, &sql).await
}

/// Reads all of that in the connection's database.
pub(super) async fn read(
    connection: &Connection,
    endpoint: &Endpoint,
) -> Result<Vec<NotMoved>, Error> {
    let mut found = Vec::new();
    let generated = match connection.version().major() {
        1200.. => "a.attgenerated",
        _ => "''",
    };
    let lexemes = LEXEMES.replace("GENERATED", generated);
    for (what, sql) in [
        (NotMovedKind::ServerValues, tables_with(SERVER_VALUES)),
        (NotMovedKind::ObjectNumbers, tables_with(OBJECT_NUMBERS)),
        (NotMovedKind::StoredLexemes, tables_with(&lexemes)),
        (NotMovedKind::ViewComputedAgain, views_computed_again()),
        (
            NotMovedKind::OwnersCode,
            owners_code::sql(connection.version().major(), When::Definitions),
        ),
        (
            NotMovedKind::OwnersCodeInRows,
            owners_code::sql(connection.version().major(), When::Rows),
        ),
    ] {
        found.extend(not_moved::read(connection, what, &sql).await?);
    }
    if connection.version().major() >= 1000 {
        found.extend(not_moved::read(connection, NotMovedKind::Subscription, SUBSCRIPTIONS).await?);
    }
    let hosts: Vec<String> = [
        Some(endpoint.host.clone()),
        endpoint.hostaddr.map(|address| address.to_string()),
    ]
    .into_iter()
    .flatten()
    .collect();
    let rows = connection
        .query(LEADS_HERE, &[&hosts, &endpoint.port.to_string()])
        .await
        .map_err(connection.failed("read where foreign servers lead"))?;
    found.extend(rows.iter().map(|row| NotMoved {
        what: NotMovedKind::LeadsToSource,
        object: row.get(0),
        detail: row.get(1),
    }));
    Ok(found)
}
