//! Definitions that pg_dump lets the server put into words, which it does by its catalogs as they are then, whatever the snapshot
//! shows: arguments of functions, triggers, names of indexes and of columns of views, extended statistics. Everything else of them pg_dump reads under the
//! snapshot, so that an object that is replaced in between would arrive as it never was, or, where it has no words for it any more,
//! not at all. A view that is gone makes pg_dump fail, which a new snapshot helps as well.

use super::query::{self, USER_SCHEMA};
use crate::postgres::{Connection, Error};

/// What the server says of an object, as far as no lock of a dump keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Definition {
    pub(crate) oid: u32,
    /// As messages call it.
    pub(crate) object: String,
    digest: String,
}

/// The definitions that the connection's transaction sees. A function's body is read under the snapshot, a trigger's state as well, and
/// a constraint or a view is put into words by it.
pub(crate) async fn definitions(connection: &Connection) -> Result<Vec<Definition>, Error> {
    let body = if connection.version().major() >= 1400 {
        "p.prosqlbody::text"
    } else {
        "''"
    };
    let statistics = match connection.version().major() {
        ..1000 => String::new(),
        1000..1400 => statistics("''"),
        _ => statistics("s.stxexprs::text"),
    };
    let sql = format!(
        "SELECT p.oid, 'function ' || n.nspname || '.' || p.proname, pg_catalog.md5(pg_catalog.concat_ws(' ', \
                p.proname, p.pronamespace, p.proargtypes::text, p.proallargtypes::text, p.proargmodes::text, \
                p.proargnames::text, p.proargdefaults::text, p.prorettype, p.proretset, {body})) \
         FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace WHERE {USER_SCHEMA} \
         UNION ALL \
         SELECT t.oid, 'trigger ' || t.tgname || ' on ' || n.nspname || '.' || c.relname, \
                pg_catalog.md5(pg_catalog.concat_ws(' ', t.tgname, t.tgfoid, t.tgtype, t.tgdeferrable, t.tginitdeferred, \
                t.tgattr::text, pg_catalog.encode(t.tgargs, 'hex'), t.tgqual::text)) \
         FROM pg_catalog.pg_trigger t JOIN pg_catalog.pg_class c ON c.oid = t.tgrelid \
         JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE NOT t.tgisinternal AND {USER_SCHEMA} \
         UNION ALL \
         SELECT c.oid, CASE WHEN c.relkind IN ('i', 'I') THEN 'index ' ELSE 'view ' END || n.nspname || '.' || c.relname, \
                pg_catalog.concat_ws(' ', c.relname, (SELECT pg_catalog.string_agg(a.attname, ' ' ORDER BY a.attnum) \
                    FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND c.relkind IN ('v', 'm'))) \
         FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         WHERE c.relkind IN ('i', 'I', 'v', 'm', 'f') AND {USER_SCHEMA}{statistics}"
    );
    let rows = query::rows(connection, "read definitions", &sql).await?;
    Ok(rows
        .iter()
        .map(|row| Definition {
            oid: row.get(0),
            object: row.get(1),
            digest: row.get(2),
        })
        .collect())
}

/// `expressions`: those that the version has.
fn statistics(expressions: &str) -> String {
    format!(
        " UNION ALL \
         SELECT s.oid, 'statistics ' || n.nspname || '.' || s.stxname, pg_catalog.md5(pg_catalog.concat_ws(' ', \
                s.stxname, s.stxnamespace, s.stxrelid, s.stxkeys::text, s.stxkind::text, {expressions})) \
         FROM pg_catalog.pg_statistic_ext s JOIN pg_catalog.pg_namespace n ON n.oid = s.stxnamespace WHERE {USER_SCHEMA}"
    )
}
