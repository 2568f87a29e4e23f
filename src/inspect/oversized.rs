//! Rows that COPY cannot write: their text would be more than a gigabyte.
//!
//! The server builds a row's text in a buffer of at most 1 GB (`MaxAllocSize`), and a bytea takes two characters a byte. Only
//! tables that have stored much out of line can hold such a row. The lengths of values are in the pointers to them, so a look
//! reads the table and not the values; even so it is given up soon, because it runs on a server with clients.

use std::time::{Duration, Instant};

use super::planned::not_to_be_planned;
use super::query::{self, USER_SCHEMA};
use crate::catalog::Oversized;
use crate::names::TableName;
use crate::postgres::{Connection, Error, quote_identifier};

/// What a table has to have stored out of line, compressed perhaps, to be looked at: less is no room for a row that matters,
/// but where it is compressed very well, and then the dump says so.
const LEAST_STORED: u64 = 256 << 20;

/// The longest text of a row.
const LONGEST: u64 = 0x3fff_ffff;

/// How long one table, and all of a database, may take.
const OF_A_TABLE: Duration = Duration::from_secs(10);
const OF_A_DATABASE: Duration = Duration::from_secs(30);

/// Rows whose keys are written to the log.
const LOGGED: u32 = 20;

/// A table that may hold such rows.
struct Suspect {
    table: TableName,
    columns: Vec<String>,
    /// Of each column: its text is twice as long as its value.
    is_bytea: Vec<bool>,
    key: Vec<String>,
}

/// The columns of tables whose rows are too long. What cannot be looked at is left to the dump, which says so as well.
pub(super) async fn read(connection: &Connection) -> Result<Vec<Oversized>, Error> {
    let begun = Instant::now();
    let mut found = Vec::new();
    let unplanned = not_to_be_planned(connection).await?;
    let mut suspects = suspects(connection).await?;
    suspects.retain(|suspect| !unplanned.contains_key(&suspect.table));
    for suspect in suspects {
        if begun.elapsed() > OF_A_DATABASE {
            tracing::info!(
                "not every large table was asked for its largest rows: it takes too long"
            );
            break;
        }
        match look(connection, &suspect).await {
            Ok(oversized) => found.extend(oversized),
            Err(error) => {
                connection.batch_execute("ROLLBACK").await.ok();
                let table = suspect.table.to_string();
                tracing::info!(table, %error, "the table was not asked for its largest rows");
            }
        }
    }
    Ok(found)
}

async fn suspects(connection: &Connection) -> Result<Vec<Suspect>, Error> {
    let rows = query::rows(
        connection,
        "look for tables with large values",
        &format!(
            "SELECT n.nspname::text, c.relname::text, array_agg(a.attname::text ORDER BY a.attnum), \
                    array_agg(b.oid = 'pg_catalog.bytea'::regtype ORDER BY a.attnum), \
                    ARRAY(SELECT k.attname::text FROM pg_catalog.pg_index i \
                          JOIN pg_catalog.pg_attribute k ON k.attrelid = c.oid AND k.attnum = ANY (i.indkey) \
                          WHERE i.indrelid = c.oid AND i.indisprimary ORDER BY k.attnum) \
             FROM pg_catalog.pg_class c \
             JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
             JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped \
             JOIN pg_catalog.pg_type t ON t.oid = a.atttypid \
             JOIN pg_catalog.pg_type b ON b.oid = coalesce(nullif(t.typbasetype, 0), t.oid) \
             WHERE c.relkind = 'r' AND c.reltoastrelid <> 0 AND {USER_SCHEMA} \
               AND b.oid IN ('pg_catalog.bytea'::regtype, 'pg_catalog.text'::regtype, 'pg_catalog.varchar'::regtype) \
               AND has_table_privilege(c.oid, 'SELECT') \
               AND pg_catalog.pg_relation_size(c.reltoastrelid) > {LEAST_STORED} \
             GROUP BY c.oid, n.nspname, c.relname ORDER BY 1, 2"
        ),
    )
    .await?;
    let suspects = rows.iter().map(|row| Suspect {
        table: TableName {
            schema: row.get(0),
            name: row.get(1),
        },
        columns: row.get(2),
        is_bytea: row.get(3),
        key: row.get(4),
    });
    Ok(suspects.collect())
}

/// In a transaction that the timeout ends with, and with it the lock.
async fn look(
    connection: &Connection,
    suspect: &Suspect,
) -> Result<Option<Oversized>, tokio_postgres::Error> {
    let table = suspect.table.quoted();
    let lengths: Vec<String> = suspect
        .columns
        .iter()
        .zip(&suspect.is_bytea)
        .map(|(column, is_bytea)| {
            let length = format!("octet_length({})", quote_identifier(column));
            let times = if *is_bytea { 2 } else { 1 };
            format!("coalesce({length}, 0)::bigint * {times}")
        })
        .collect();
    let is_too_long = format!("{} >= {LONGEST}", lengths.join(" + "));
    let largest: Vec<String> = lengths
        .iter()
        .map(|length| format!("max({length})"))
        .collect();
    connection
        .batch_execute(&format!(
            "BEGIN; SET LOCAL statement_timeout = {}",
            OF_A_TABLE.as_millis()
        ))
        .await?;
    let row = connection
        .query_one(
            &format!(
                "SELECT count(*), ARRAY[{}] FROM ONLY {table} WHERE {is_too_long}",
                largest.join(", ")
            ),
            &[],
        )
        .await?;
    let rows: i64 = row.get(0);
    let found = if rows > 0 {
        let largest: Vec<Option<i64>> = row.get(1);
        log_keys(connection, suspect, &is_too_long).await?;
        let columns = suspect.columns.iter().zip(largest);
        let longest = columns.max_by_key(|(_, length)| *length);
        longest.map(|(column, _)| Oversized {
            table: suspect.table.clone(),
            column: column.clone(),
            rows: u64::try_from(rows).unwrap_or(0),
        })
    } else {
        None
    };
    connection.batch_execute("COMMIT").await?;
    Ok(found)
}

/// Which rows they are: in the log, since keys may be anybody's data.
async fn log_keys(
    connection: &Connection,
    suspect: &Suspect,
    is_too_long: &str,
) -> Result<(), tokio_postgres::Error> {
    let key = if suspect.key.is_empty() {
        "ctid".to_owned()
    } else {
        let columns = suspect.key.iter().map(|column| quote_identifier(column));
        columns.collect::<Vec<_>>().join(", ")
    };
    let table = suspect.table.quoted();
    let sql =
        format!("SELECT ROW({key})::text FROM ONLY {table} WHERE {is_too_long} LIMIT {LOGGED}");
    for row in connection.query(&sql, &[]).await? {
        let row: String = row.get(0);
        tracing::warn!(table, key, row, "the row is too long for COPY");
    }
    Ok(())
}
