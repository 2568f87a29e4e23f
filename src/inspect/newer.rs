//! What the target's version has or does otherwise than that of the source, and no dump can say.

use std::collections::HashSet;

use super::not_moved;
use super::query::{self, USER_SCHEMA, member_of_extension};
use super::stemmers;
use crate::catalog::{Newer, NotMoved, NotMovedKind};
use crate::postgres::{Connection, Error};

/// Each function once for every number of arguments that it can be called with: its types are those of the call.
const CALLS: &str = "\
    SELECT p.oid, p.pronamespace, p.prorettype, p.proname || '(' || array_to_string(ARRAY( \
               SELECT format_type(a.type, NULL) FROM unnest(p.proargtypes::oid[]) WITH ORDINALITY AS a (type, position) \
               WHERE a.position <= n ORDER BY a.position), ', ') || ')' AS call \
    FROM pg_catalog.pg_proc p, generate_series((p.pronargs - p.pronargdefaults)::int, p.pronargs::int) AS n";

/// What is new on the target. The connections may lead to any database.
pub(super) async fn of_target(source: &Connection, target: &Connection) -> Result<Newer, Error> {
    if source.version().major() == target.version().major() {
        return Ok(Newer::default());
    }
    let calls = format!(
        "SELECT DISTINCT call FROM ({CALLS}) AS calls WHERE pronamespace = 'pg_catalog'::regnamespace"
    );
    let action = "list the functions of the system";
    let of_source = query::texts(source, action, &calls).await?;
    let mut functions = query::texts(target, action, &calls).await?;
    let of_source: HashSet<String> = of_source.into_iter().collect();
    functions.retain(|call| !of_source.contains(call));
    Ok(Newer {
        functions,
        stemmers: stemmers::that_differ(source, target).await?,
    })
}

/// What of the connection's database, one of the source, is otherwise there.
pub(super) async fn read(connection: &Connection, newer: &Newer) -> Result<Vec<NotMoved>, Error> {
    let mut found = Vec::new();
    if connection.version().major() < 1800 {
        found.extend(
            not_moved::read(connection, NotMovedKind::NullableChild, NULLABLE_CHILDREN).await?,
        );
    }
    if !newer.functions.is_empty() {
        let rows = connection
            .query(&shadowed(), &[&newer.functions])
            .await
            .map_err(
                connection.failed("look for functions that are new in the target's pg_catalog"),
            )?;
        found.extend(rows.iter().map(|row| NotMoved {
            what: NotMovedKind::ShadowedFunction,
            object: row.get(0),
            detail: String::new(),
        }));
    }
    Ok(found)
}

/// Functions of users that are called as such of the target's system are. Triggers call theirs by other means.
fn shadowed() -> String {
    format!(
        "SELECT DISTINCT c.oid::regprocedure::text FROM ({CALLS}) c \
         JOIN pg_catalog.pg_proc p ON p.oid = c.oid JOIN pg_catalog.pg_namespace n ON n.oid = c.pronamespace \
         WHERE p.oid >= 16384 AND {USER_SCHEMA} AND NOT {} AND c.call = ANY ($1) \
           AND c.prorettype NOT IN ('trigger'::regtype, 'event_trigger'::regtype) ORDER BY 1",
        member_of_extension("pg_proc", "p")
    )
}

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
