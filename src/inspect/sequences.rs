//! Where the sequences of a database stand.

use super::contents::USER_SCHEMA;
use super::query;
use crate::names::{SequenceValue, TableName};
use crate::postgres::{Connection, Error};

/// Every sequence that a dump takes, by name. A sequence does not go by snapshots: what is read is at least what any
/// snapshot before it shows.
pub(crate) async fn sequences(connection: &Connection) -> Result<Vec<SequenceValue>, Error> {
    let names = query::rows(
        connection,
        "list the sequences",
        &format!(
            "SELECT n.nspname::text, c.relname::text FROM pg_catalog.pg_class c \
             JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
             WHERE c.relkind = 'S' AND {USER_SCHEMA} \
               AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d \
                               WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = c.oid \
                                 AND d.objsubid = 0 AND d.deptype = 'e' \
                                 AND NOT EXISTS (SELECT FROM pg_catalog.pg_extension e \
                                                 WHERE c.oid = ANY (e.extconfig))) \
             ORDER BY n.nspname::text COLLATE \"C\", c.relname::text COLLATE \"C\""
        ),
    )
    .await?;
    let mut values = Vec::with_capacity(names.len());
    for row in &names {
        let sequence = TableName::new(row.get::<_, String>(0), row.get::<_, String>(1));
        let sql = format!("SELECT last_value, is_called FROM {}", sequence.quoted());
        let value = query::row(
            connection,
            &format!("read the sequence {}", sequence.quoted()),
            &sql,
        )
        .await?;
        values.push(SequenceValue {
            schema: sequence.schema,
            sequence: sequence.name,
            last: value.get(0),
            is_called: value.get(1),
        });
    }
    Ok(values)
}
