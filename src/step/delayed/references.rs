//! Foreign keys from and to delayed tables, proved by a query: a load as a replica checks none, and a parent may have been
//! deleted before its children came, or have come after the snapshot of the regular dump.

use tokio_postgres::Row;

use super::proof::{self, Broken, top_level};
use crate::names::TableName;
use crate::postgres::{Connection, Pool, escape_control, quote_identifier};
use crate::step::{Context, StepError};

/// The constraints that count as valid, of delayed tables or of partitioned tables that they are parts of, with the columns
/// and the operators by which the server compares them (PostgreSQL manual, 52.13). Those that a constraint of a partitioned
/// table made for partitions are proved with that one.
const FOREIGN_KEYS: &str = "\
    SELECT o.conname::text, o.confmatchtype::text = 'f', \
           cn.nspname::text, c.relname::text, c.relkind::text = 'p', \
           pn.nspname::text, p.relname::text, p.relkind::text = 'p', \
           columns.child, columns.parent, columns.operator, columns.collation, HAS_PERIOD \
    FROM pg_catalog.pg_constraint o \
    JOIN pg_catalog.pg_class c ON c.oid = o.conrelid JOIN pg_catalog.pg_namespace cn ON cn.oid = c.relnamespace \
    JOIN pg_catalog.pg_class p ON p.oid = o.confrelid JOIN pg_catalog.pg_namespace pn ON pn.oid = p.relnamespace \
    CROSS JOIN LATERAL ( \
        SELECT array_agg(ca.attname::text ORDER BY k.position) AS child, \
               array_agg(pa.attname::text ORDER BY k.position) AS parent, \
               array_agg(quote_ident(opn.nspname) || '.' || op.oprname ORDER BY k.position) AS operator, \
               array_agg(CASE WHEN pa.attcollation <> ca.attcollation AND pa.attcollation <> 0 \
                              THEN quote_ident(con.nspname) || '.' || quote_ident(co.collname) ELSE '' END \
                         ORDER BY k.position) AS collation \
        FROM unnest(o.conkey, o.confkey, o.conpfeqop) WITH ORDINALITY AS k (child, parent, operator, position) \
        JOIN pg_catalog.pg_attribute ca ON ca.attrelid = o.conrelid AND ca.attnum = k.child \
        JOIN pg_catalog.pg_attribute pa ON pa.attrelid = o.confrelid AND pa.attnum = k.parent \
        JOIN pg_catalog.pg_operator op ON op.oid = k.operator \
        JOIN pg_catalog.pg_namespace opn ON opn.oid = op.oprnamespace \
        LEFT JOIN pg_catalog.pg_collation co ON co.oid = pa.attcollation \
        LEFT JOIN pg_catalog.pg_namespace con ON con.oid = co.collnamespace) columns \
    WHERE o.contype = 'f' AND o.convalidated AND TOP_LEVEL \
      AND (o.conrelid IN (SELECT oid FROM delayed) OR o.confrelid IN (SELECT oid FROM delayed)) \
    ORDER BY cn.nspname::text COLLATE \"C\", c.relname::text COLLATE \"C\", o.conname::text COLLATE \"C\"";

/// Proves every foreign key from or to a delayed table. Yields those that rows of the target break. No key is named: keys are
/// clients' data.
pub(super) async fn prove(
    context: &Context,
    pool: &Pool,
    queries: usize,
) -> Result<Vec<Broken>, StepError> {
    let keys = {
        let connection = pool.get().await?;
        foreign_keys(context, &connection).await?
    };
    proof::each(pool, keys, queries, |pool, one| orphans(context, pool, one)).await
}

/// One side of a foreign key.
struct End {
    table: TableName,
    is_partitioned: bool,
    columns: Vec<String>,
}

struct ForeignKey {
    name: String,
    is_full: bool,
    /// The last column is a period, which those of several rows of the parent may cover together.
    has_period: bool,
    child: End,
    parent: End,
    operators: Vec<String>,
    collations: Vec<String>,
}

async fn foreign_keys(
    context: &Context,
    connection: &Connection,
) -> Result<Vec<ForeignKey>, StepError> {
    let has_period = if connection.version().major() >= 1800 {
        "o.conperiod"
    } else {
        "false"
    };
    let sql = FOREIGN_KEYS
        .replace("TOP_LEVEL", top_level(connection.version()))
        .replace("HAS_PERIOD", has_period);
    let rows = proof::of_delayed(context, connection, "foreign keys", &sql).await?;
    Ok(rows.iter().map(foreign_key).collect())
}

fn foreign_key(row: &Row) -> ForeignKey {
    let end = |first: usize, columns: usize| End {
        table: TableName {
            schema: row.get(first),
            name: row.get(first + 1),
        },
        is_partitioned: row.get(first + 2),
        columns: row.get(columns),
    };
    ForeignKey {
        name: row.get(0),
        is_full: row.get(1),
        has_period: row.get(12),
        child: end(2, 8),
        parent: end(5, 9),
        operators: row.get(10),
        collations: row.get(11),
    }
}

/// The rows of the referring table without their parent, as the server finds them when it adds a foreign key.
fn query(key: &ForeignKey) -> String {
    let from = |end: &End| {
        // Rows of tables that inherit by INHERITS are no part of the key.
        let only = if end.is_partitioned { "" } else { "ONLY " };
        format!("{only}{}", end.table.quoted())
    };
    let columns: Vec<String> = key
        .child
        .columns
        .iter()
        .map(|column| format!("c.{}", quote_identifier(column)))
        .collect();
    let pairs: Vec<String> = (0..columns.len())
        .map(|index| {
            let collation = match key.collations[index].as_str() {
                "" => String::new(),
                collation => format!(" COLLATE {collation}"),
            };
            format!(
                "p.{} OPERATOR({}) {}{collation}",
                quote_identifier(&key.parent.columns[index]),
                key.operators[index],
                columns[index]
            )
        })
        .collect();
    // MATCH FULL wants all or none (PostgreSQL manual, CREATE TABLE).
    let joined = if key.is_full { " OR " } else { " AND " };
    let filled: Vec<String> = columns
        .iter()
        .map(|column| format!("{column} IS NOT NULL"))
        .collect();
    // What overlaps has to cover the whole, as the server asks for each row that is inserted (18).
    let covers = match (key.has_period, columns.last(), key.parent.columns.last()) {
        (true, Some(child), Some(parent)) => format!(
            " HAVING {child} OPERATOR(pg_catalog.<@) pg_catalog.range_agg(p.{})",
            quote_identifier(parent)
        ),
        _ => String::new(),
    };
    format!(
        "SELECT count(*), count(DISTINCT ROW({})) FROM {} c \
         WHERE ({}) AND NOT EXISTS (SELECT FROM {} p WHERE {}{covers})",
        columns.join(", "),
        from(&key.child),
        filled.join(joined),
        from(&key.parent),
        pairs.join(" AND ")
    )
}

async fn orphans(
    context: &Context,
    pool: &Pool,
    key: ForeignKey,
) -> Result<Option<Broken>, StepError> {
    let connection = pool.get().await?;
    let name = quote_identifier(&key.name);
    let row = connection
        .attempt(
            format!(
                "prove the foreign key {name} of {}",
                key.child.table.quoted()
            ),
            &context.shared.stop,
            connection.query_one(&query(&key), &[]),
        )
        .await?;
    let (rows, keys): (i64, i64) = (row.get(0), row.get(1));
    Ok((rows > 0).then(|| Broken {
        message: escape_control(&format!(
            "the foreign key {} of {}: {rows} of its rows refer to {keys} keys that are not in {}",
            key.name, key.child.table, key.parent.table
        ))
        .into_owned(),
        table: key.child.table,
        parent: Some(key.parent.table),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_query_finds_what_has_no_parent() {
        let end = |name: &str, is_partitioned, columns: &[&str]| End {
            table: TableName::new("public", name),
            is_partitioned,
            columns: columns.iter().map(|name| (*name).to_owned()).collect(),
        };
        let mut key = ForeignKey {
            name: "k".into(),
            is_full: false,
            has_period: false,
            child: end("child", true, &["a", "b"]),
            parent: end("parent", false, &["x", "y"]),
            operators: vec!["pg_catalog.=".into(), "pg_catalog.=".into()],
            collations: vec![String::new(), "pg_catalog.\"C\"".into()],
        };
        insta::assert_snapshot!(query(&key), @r#"SELECT count(*), count(DISTINCT ROW(c."a", c."b")) FROM "public"."child" c WHERE (c."a" IS NOT NULL AND c."b" IS NOT NULL) AND NOT EXISTS (SELECT FROM ONLY "public"."parent" p WHERE p."x" OPERATOR(pg_catalog.=) c."a" AND p."y" OPERATOR(pg_catalog.=) c."b" COLLATE pg_catalog."C")"#);
        key.has_period = true;
        assert!(query(&key).ends_with(
            r#"COLLATE pg_catalog."C" HAVING c."b" OPERATOR(pg_catalog.<@) pg_catalog.range_agg(p."y"))"#
        ));
        key.is_full = true;
        assert!(query(&key).contains(r#"(c."a" IS NOT NULL OR c."b" IS NOT NULL)"#));
    }
}
