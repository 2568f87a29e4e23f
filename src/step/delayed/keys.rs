//! Which rows clients inserted into a delayed table before its rows came.

use super::waiting::LOCK_TIMEOUT;
use crate::plan::Side;
use crate::postgres::Connection;
use crate::step::{Context, ours};

/// The columns of the primary key of a table. No view is one, and what has the name keeps it under our lock.
const KEY: &str = "\
    SELECT string_agg(quote_ident(a.attname), ', ' ORDER BY a.attnum) \
    FROM pg_catalog.pg_class c \
    JOIN pg_catalog.pg_index i ON i.indrelid = c.oid AND i.indisprimary \
    JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey) \
    WHERE c.oid = $1::text::regclass AND c.relkind IN ('r', 'p')";

/// `3 rows that clients inserted, with id from 1 to 7`. `None`: it has no primary key, or cannot be read.
pub(super) async fn key_range(context: &Context, name: &str) -> Option<String> {
    let session = context.session(Side::Target).lock_timeout(LOCK_TIMEOUT);
    let connection = ours::open(context, &session).await.ok()?;
    let range = read(&connection, name).await;
    connection.close().await;
    range
}

async fn read(connection: &Connection, name: &str) -> Option<String> {
    let lock = format!("BEGIN READ ONLY; LOCK TABLE {name} IN ACCESS SHARE MODE");
    connection.batch_execute(&lock).await.ok()?;
    let key = connection.query_opt(KEY, &[&name]).await.ok()??;
    let key: String = key.get::<_, Option<String>>(0)?;
    let row = connection
        .query_one(
            &format!(
                "SELECT count(*), \
                        (SELECT ROW({key})::text FROM {name} ORDER BY {key} LIMIT 1), \
                        (SELECT ROW({key})::text FROM {name} ORDER BY ROW({key}) DESC LIMIT 1) FROM {name}"
            ),
            &[],
        )
        .await
        .ok()?;
    let text = |column| row.get::<_, Option<String>>(column);
    let bare = |key: String| key.trim_start_matches('(').trim_end_matches(')').to_owned();
    Some(format!(
        "{} rows that clients inserted, with {key} from {} to {}",
        row.get::<_, i64>(0),
        bare(text(1)?),
        bare(text(2)?)
    ))
}
