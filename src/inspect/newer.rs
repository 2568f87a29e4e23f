//! What the target's version has or does otherwise than that of the source, and no dump can say.

use std::collections::HashSet;

use super::not_moved;
use super::query::{self, USER_SCHEMA, member_of_extension};
use super::stemmers;
use crate::catalog::{Newer, NotMoved, NotMovedKind};
use crate::postgres::{Connection, Error};

/// Each function once for every number of arguments that it can be called with, of a VARIADIC one up to eight more: its types are those of
/// the call.
const CALLS: &str = "\
    SELECT p.oid, p.pronamespace, p.prorettype, p.proname, a.types, p.proname || '(' || array_to_string(ARRAY( \
               SELECT format_type(type, NULL) FROM unnest(a.types) WITH ORDINALITY AS t (type, position) ORDER BY position), ', ') || ')' AS call \
    FROM pg_catalog.pg_proc p, \
         generate_series((p.pronargs - p.pronargdefaults)::int, p.pronargs + CASE p.provariadic WHEN 0 THEN 0 ELSE 8 END) AS n, \
         LATERAL (SELECT ARRAY(SELECT CASE WHEN p.provariadic <> 0 AND i >= p.pronargs THEN p.provariadic ELSE p.proargtypes[i - 1] END \
                               FROM generate_series(1, n) AS i) AS types) AS a";

/// The planner takes every function for one of a thousand arguments, and what is found in no time would be compiled.
async fn without_jit(connection: &Connection) -> Result<(), Error> {
    let sql = "SELECT pg_catalog.set_config(name, 'off', false) FROM pg_catalog.pg_settings WHERE name = 'jit'";
    query::texts(connection, "switch off jit", sql).await?;
    Ok(())
}

/// What is new on the target. The connections may lead to any database.
pub(super) async fn of_target(source: &Connection, target: &Connection) -> Result<Newer, Error> {
    if source.version().major() == target.version().major() {
        return Ok(Newer::default());
    }
    let calls = format!(
        "SELECT DISTINCT call FROM ({CALLS}) AS calls WHERE pronamespace = 'pg_catalog'::regnamespace"
    );
    without_jit(source).await?;
    without_jit(target).await?;
    let action = "list the functions of the system";
    let of_source = query::texts(source, action, &calls).await?;
    let mut functions = query::texts(target, action, &calls).await?;
    let of_source: HashSet<String> = of_source.into_iter().collect();
    functions.retain(|call| !of_source.contains(call));
    let known: HashSet<(&str, usize)> =
        of_source.iter().map(|call| name_and_number(call)).collect();
    let is_new = |call: &&String| !known.contains(&name_and_number(call));
    let names = functions.iter().filter(is_new).cloned().collect();
    Ok(Newer {
        functions,
        names,
        stemmers: stemmers::that_differ(source, target).await?,
    })
}

/// What a call is called, and how many arguments it has.
fn name_and_number(call: &str) -> (&str, usize) {
    let (name, types) = call.split_once('(').unwrap_or((call, ")"));
    let types = types.trim_end_matches(')').split(", ");
    (name, types.filter(|name| !name.is_empty()).count())
}

/// What of the connection's database, one of the source, is otherwise there.
pub(super) async fn read(connection: &Connection, newer: &Newer) -> Result<Vec<NotMoved>, Error> {
    let mut found = Vec::new();
    if connection.version().major() < 1800 {
        found.extend(
            not_moved::read(connection, NotMovedKind::NullableChild, NULLABLE_CHILDREN).await?,
        );
    }
    if (1000..1700).contains(&connection.version().major()) {
        found.extend(
            not_moved::read(
                connection,
                NotMovedKind::PartitionIdentity,
                PARTITION_IDENTITY,
            )
            .await?,
        );
    }
    if !newer.functions.is_empty() {
        without_jit(connection).await?;
        let rows = connection
            .query(&shadowed(), &[&newer.functions, &newer.names])
            .await
            .map_err(
                connection.failed("look for functions that are new in the target's pg_catalog"),
            )?;
        found.extend(rows.iter().map(|row| NotMoved {
            what: NotMovedKind::ShadowedFunction,
            object: row.get(0),
            detail: row.get(1),
        }));
    }
    Ok(found)
}

/// Functions of users that are called as such of the target's system are, and those for which another may be taken, with that: the types
/// are not the same, but of one category, within which PostgreSQL converts them, or any will do. Triggers call theirs by other means.
fn shadowed() -> String {
    format!(
        "WITH ours AS ( \
             SELECT c.* FROM ({CALLS}) c JOIN pg_catalog.pg_proc p ON p.oid = c.oid \
             JOIN pg_catalog.pg_namespace n ON n.oid = c.pronamespace \
             WHERE p.oid >= 16384 AND {USER_SCHEMA} AND NOT {} \
               AND c.prorettype NOT IN ('trigger'::regtype, 'event_trigger'::regtype)), \
         same AS (SELECT oid FROM ours WHERE call = ANY ($1)), \
         known AS (SELECT t.oid, format_type(t.oid, NULL) AS type FROM pg_catalog.pg_type t \
                   WHERE t.typnamespace = 'pg_catalog'::regnamespace), \
         system (call, name, types) AS ( \
             SELECT call, split_part(call, '(', 1), ARRAY( \
                 SELECT known.oid FROM unnest(string_to_array(rtrim(split_part(call, '(', 2), ')'), ', ')) \
                     WITH ORDINALITY AS t (type, position) LEFT JOIN known USING (type) ORDER BY position) \
             FROM unnest($2::text[]) AS call \
             WHERE split_part(call, '(', 1) IN (SELECT proname FROM ours)) \
         SELECT DISTINCT oid::regprocedure::text, '' FROM same \
         UNION SELECT o.oid::regprocedure::text, string_agg(DISTINCT s.call, ', ') FROM ours o \
         JOIN system s ON s.name = o.proname AND cardinality(s.types) = cardinality(o.types) \
         WHERE o.oid NOT IN (SELECT oid FROM same) \
           AND NOT EXISTS (SELECT FROM unnest(s.types, o.types) AS pair (theirs, own) \
                           LEFT JOIN pg_catalog.pg_type t ON t.oid = theirs LEFT JOIN pg_catalog.pg_type y ON y.oid = own \
                           WHERE (theirs = own OR 'P' IN (t.typcategory, y.typcategory) \
                                  OR t.typcategory = y.typcategory AND t.typcategory IN ('B', 'D', 'I', 'N', 'S', 'T', 'V')) IS NOT TRUE) \
         GROUP BY 1 ORDER BY 1",
        member_of_extension("pg_proc", "p")
    )
}

/// Columns of partitioned tables that take no values but their own, and those of their partitions do: up to 16.
const PARTITION_IDENTITY: &str = "\
    SELECT n.nspname || '.' || c.relname, string_agg(a.attname, ', ' ORDER BY a.attnum) \
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
    JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND a.attidentity = 'a' AND NOT a.attisdropped \
    WHERE c.relkind = 'p' AND EXISTS (SELECT FROM pg_catalog.pg_inherits i WHERE i.inhparent = c.oid) GROUP BY 1 ORDER BY 1";

/// Columns that may be NULL in tables that inherit them from such as are NOT NULL there: up to 17.
const NULLABLE_CHILDREN: &str = "\
    WITH RECURSIVE below (oid, attname) AS ( \
        SELECT i.inhrelid, a.attname FROM pg_catalog.pg_inherits i \
        JOIN pg_catalog.pg_attribute a ON a.attrelid = i.inhparent AND a.attnum > 0 AND a.attnotnull AND NOT a.attisdropped \
        UNION SELECT i.inhrelid, below.attname FROM below JOIN pg_catalog.pg_inherits i ON i.inhparent = below.oid) \
    SELECT n.nspname || '.' || c.relname, string_agg(a.attname, ', ' ORDER BY a.attnum) \
    FROM below JOIN pg_catalog.pg_attribute a ON a.attrelid = below.oid AND a.attname = below.attname AND NOT a.attnotnull \
    JOIN pg_catalog.pg_class c ON c.oid = below.oid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
    GROUP BY 1 ORDER BY 1";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_told_by_name_and_number() {
        assert_eq!(name_and_number("uuidv7()"), ("uuidv7", 0));
        assert_eq!(name_and_number("uuidv7(interval)"), ("uuidv7", 1));
        assert_eq!(
            name_and_number("date_add(timestamp with time zone, interval, text)"),
            ("date_add", 3)
        );
    }
}
