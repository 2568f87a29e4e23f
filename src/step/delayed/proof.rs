//! What the proofs of constraints share that a load as a replica does not check.

use futures_util::{StreamExt, TryStreamExt, stream};
use tokio_postgres::Row;

use crate::catalog::Version;
use crate::names::TableName;
use crate::postgres::{Connection, Pool};
use crate::step::{Context, StepError};

/// A constraint of the target that counts as valid, and that rows break.
pub(super) struct Broken {
    pub(super) table: TableName,
    pub(super) message: String,
    /// Of a foreign key: the table that lacks the rows.
    pub(super) parent: Option<TableName>,
}

/// The delayed tables of these schemas and names, and the partitioned tables that they are parts of.
pub(super) const DELAYED: &str = "\
    WITH RECURSIVE delayed (oid) AS ( \
        SELECT c.oid FROM pg_catalog.pg_class c \
        JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
        WHERE (n.nspname::text, c.relname::text) IN (SELECT * FROM unnest($1::text[], $2::text[])) \
        UNION SELECT i.inhparent FROM delayed JOIN pg_catalog.pg_inherits i ON i.inhrelid = delayed.oid \
        JOIN pg_catalog.pg_class p ON p.oid = i.inhparent AND p.relkind = 'p')";

/// The parameters of [`DELAYED`]: schemas, and names.
pub(super) fn delayed_names(context: &Context) -> (Vec<String>, Vec<String>) {
    let tables = context.delayed_tables().into_iter();
    tables.map(|table| (table.schema, table.name)).unzip()
}

/// Of `pg_constraint o`: those that no constraint of a partitioned table made for its partitions.
pub(super) fn top_level(version: Version) -> &'static str {
    if version.major() >= 1100 {
        "o.conparentid = 0"
    } else {
        "true"
    }
}

/// The rows of a query that begins with the delayed tables. `what`: what it reads, for the error.
pub(super) async fn of_delayed(
    context: &Context,
    connection: &Connection,
    what: &str,
    sql: &str,
) -> Result<Vec<Row>, StepError> {
    let (schemas, names) = delayed_names(context);
    let rows = connection
        .query(&format!("{DELAYED} {sql}"), &[&schemas, &names])
        .await
        .map_err(connection.failed(format!("read the {what} of the delayed tables")))?;
    Ok(rows)
}

/// Proves each constraint by its own query, with so many queries at a time. Yields those that rows of the target break.
pub(super) async fn each<'a, C, F>(
    pool: &'a Pool,
    constraints: Vec<C>,
    queries: usize,
    prove: impl Fn(&'a Pool, C) -> F,
) -> Result<Vec<Broken>, StepError>
where
    F: Future<Output = Result<Option<Broken>, StepError>>,
{
    let found: Vec<Option<Broken>> = stream::iter(constraints)
        .map(|constraint| prove(pool, constraint))
        .buffer_unordered(queries)
        .try_collect()
        .await?;
    Ok(found.into_iter().flatten().collect())
}
