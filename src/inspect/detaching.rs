//! Partitions that are being detached without a lock on their table.

use super::query;
use crate::names::TableName;
use crate::postgres::{Connection, Error};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PendingDetach {
    pub(crate) partition: TableName,
    pub(crate) parent: TableName,
}

impl PendingDetach {
    /// The statement that ends what was cancelled.
    pub(crate) fn finalize(&self) -> String {
        let (parent, partition) = (self.parent.quoted(), self.partition.quoted());
        format!("ALTER TABLE {parent} DETACH PARTITION {partition} FINALIZE")
    }
}

/// The partitions whose DETACH … CONCURRENTLY has begun and not ended, as the connection's transaction sees it: to those who read
/// they are no part of their table any more, and pg_dump attaches them all the same.
pub(crate) async fn pending_detaches(connection: &Connection) -> Result<Vec<PendingDetach>, Error> {
    if connection.version().major() < 1400 {
        return Ok(Vec::new());
    }
    let rows = query::rows(
        connection,
        "list the partitions that are being detached",
        "SELECT n.nspname::text, c.relname::text, pn.nspname::text, p.relname::text \
         FROM pg_catalog.pg_inherits i \
         JOIN pg_catalog.pg_class c ON c.oid = i.inhrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         JOIN pg_catalog.pg_class p ON p.oid = i.inhparent JOIN pg_catalog.pg_namespace pn ON pn.oid = p.relnamespace \
         WHERE i.inhdetachpending ORDER BY 1, 2",
    )
    .await?;
    let pending = rows.iter().map(|row| PendingDetach {
        partition: TableName::new(row.get::<_, &str>(0), row.get::<_, &str>(1)),
        parent: TableName::new(row.get::<_, &str>(2), row.get::<_, &str>(3)),
    });
    Ok(pending.collect())
}
