//! Deferrable primary keys, unique and exclusion constraints of delayed tables, proved by a query. What keeps rows from being in each
//! other's way there is a trigger that does not fire in a load as a replica; rows that clients inserted already may have the
//! same keys.

use tokio_postgres::Row;

use super::proof::{self, Broken, top_level};
use crate::names::TableName;
use crate::postgres::{Connection, Pool, escape_control, quote_identifier};
use crate::step::{Context, StepError};

/// The deferrable constraints, with their keys, the operators of those that exclude, the collations by which the index compares,
/// and the rows that it is about. A key may be an expression.
const CONSTRAINTS: &str = "\
    SELECT o.conname::text, n.nspname::text, c.relname::text, c.relkind::text = 'p', keys.key, keys.operator, \
           pg_catalog.pg_get_expr(x.indpred, x.indrelid), NULLS_EQUAL \
    FROM pg_catalog.pg_constraint o \
    JOIN pg_catalog.pg_class c ON c.oid = o.conrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
    JOIN pg_catalog.pg_index x ON x.indexrelid = o.conindid \
    CROSS JOIN LATERAL ( \
        SELECT array_agg(pg_catalog.pg_get_indexdef(x.indexrelid, k.position::int, false) \
                         || CASE WHEN co.oid IS NULL THEN '' \
                                 ELSE ' COLLATE ' || quote_ident(con.nspname) || '.' || quote_ident(co.collname) END \
                         ORDER BY k.position) AS key, \
               array_agg(quote_ident(opn.nspname) || '.' || op.oprname ORDER BY k.position) AS operator \
        FROM unnest(o.conkey, o.conexclop) WITH ORDINALITY AS k (attribute, operator, position) \
        LEFT JOIN pg_catalog.pg_operator op ON op.oid = k.operator \
        LEFT JOIN pg_catalog.pg_namespace opn ON opn.oid = op.oprnamespace \
        LEFT JOIN pg_catalog.pg_collation co ON co.oid = x.indcollation[k.position - 1] \
        LEFT JOIN pg_catalog.pg_namespace con ON con.oid = co.collnamespace) keys \
    WHERE o.contype IN ('p', 'u', 'x') AND o.condeferrable AND TOP_LEVEL AND o.conrelid IN (SELECT oid FROM delayed) \
    ORDER BY n.nspname::text COLLATE \"C\", c.relname::text COLLATE \"C\", o.conname::text COLLATE \"C\"";

/// Proves every deferrable constraint of this kind of the delayed tables. Yields those that rows of the target break. No key is
/// named: keys are clients' data.
pub(super) async fn prove(
    context: &Context,
    pool: &Pool,
    queries: usize,
) -> Result<Vec<Broken>, StepError> {
    let constraints = {
        let connection = pool.get().await?;
        constraints(context, &connection).await?
    };
    proof::each(pool, constraints, queries, |pool, one| {
        conflicts(context, pool, one)
    })
    .await
}

struct Constraint {
    name: String,
    table: TableName,
    is_partitioned: bool,
    keys: Vec<String>,
    /// That of each key by which two rows exclude each other; none where equal keys do.
    operators: Vec<Option<String>>,
    predicate: Option<String>,
    nulls_are_equal: bool,
}

async fn constraints(
    context: &Context,
    connection: &Connection,
) -> Result<Vec<Constraint>, StepError> {
    let nulls_equal = if connection.version().major() >= 1500 {
        "x.indnullsnotdistinct"
    } else {
        "false"
    };
    let sql = CONSTRAINTS
        .replace("TOP_LEVEL", top_level(connection.version()))
        .replace("NULLS_EQUAL", nulls_equal);
    let rows = proof::of_delayed(context, connection, "deferrable constraints", &sql).await?;
    Ok(rows.iter().map(constraint).collect())
}

fn constraint(row: &Row) -> Constraint {
    Constraint {
        name: row.get(0),
        table: TableName {
            schema: row.get(1),
            name: row.get(2),
        },
        is_partitioned: row.get(3),
        keys: row.get(4),
        operators: row.get(5),
        predicate: row.get(6),
        nulls_are_equal: row.get(7),
    }
}

/// How many rows have a key, or one that excludes it, that another row has as well.
fn query(constraint: &Constraint) -> String {
    // Rows of tables that inherit by INHERITS are no part of the constraint.
    let only = if constraint.is_partitioned {
        ""
    } else {
        "ONLY "
    };
    let table = format!("{only}{}", constraint.table.quoted());
    let filter = match &constraint.predicate {
        Some(predicate) => format!(" WHERE {predicate}"),
        None => String::new(),
    };
    let names: Vec<String> = (1..=constraint.keys.len())
        .map(|n| format!("key_{n}"))
        .collect();
    let keys: Vec<String> = constraint
        .keys
        .iter()
        .zip(&names)
        .map(|(key, name)| format!("{key} AS {name}"))
        .collect();
    let keys = keys.join(", ");
    if constraint.operators.iter().all(Option::is_none) {
        let filled: Vec<String> = names
            .iter()
            .map(|name| format!("{name} IS NOT NULL"))
            .collect();
        let filled = if constraint.nulls_are_equal {
            "true".to_owned()
        } else {
            filled.join(" AND ")
        };
        let names = names.join(", ");
        return format!(
            "SELECT coalesce(sum(rows), 0)::bigint FROM (SELECT count(*) AS rows \
             FROM (SELECT {keys} FROM {table}{filter}) k WHERE {filled} GROUP BY {names} HAVING count(*) > 1) found"
        );
    }
    let pairs: Vec<String> = names
        .iter()
        .zip(&constraint.operators)
        .filter_map(|(name, operator)| {
            Some(format!(
                "a.{name} OPERATOR({}) b.{name}",
                operator.as_ref()?
            ))
        })
        .collect();
    let rows = format!("(SELECT tableoid AS part, ctid AS place, {keys} FROM {table}{filter})");
    format!(
        "SELECT count(*) FROM {rows} a WHERE EXISTS (SELECT FROM {rows} b \
         WHERE (a.part, a.place) <> (b.part, b.place) AND {})",
        pairs.join(" AND ")
    )
}

async fn conflicts(
    context: &Context,
    pool: &Pool,
    constraint: Constraint,
) -> Result<Option<Broken>, StepError> {
    let connection = pool.get().await?;
    let row = connection
        .attempt(
            format!(
                "prove the constraint {} of {}",
                quote_identifier(&constraint.name),
                constraint.table.quoted()
            ),
            &context.shared.stop,
            connection.query_one(&query(&constraint), &[]),
        )
        .await?;
    let rows: i64 = row.get(0);
    let message = format!(
        "the deferrable constraint {} of {}: {rows} of its rows are in each other's way",
        constraint.name, constraint.table
    );
    Ok((rows > 0).then(|| Broken {
        message: escape_control(&message).into_owned(),
        table: constraint.table,
        parent: None,
    }))
}
