//! Definitions that pg_dump lets the server put into words, which it does by its catalogs as they are then, whatever the snapshot
//! shows: arguments of functions, triggers, names of indexes and of columns of views, extended statistics. Everything else of them pg_dump reads under the
//! snapshot, so that an object that is replaced in between would arrive as it never was, or, where it has no words for it any more,
//! not at all. A view that is gone makes pg_dump fail, which a new snapshot helps as well.
//!
//! So it is with the names of all that other objects refer to: a column, an index or a privilege has the object's name as it is then,
//! and CREATE the one that the snapshot shows. Where one object has got the name of another in between, they would refer to the wrong one.
//! Those of tables, of their columns and row types are kept by the locks of the dump, those of array types by their elements'.

use super::not_moved::INITDB;
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
         SELECT c.oid, CASE c.relkind WHEN 'v' THEN 'view ' WHEN 'm' THEN 'materialized view ' WHEN 'f' THEN 'foreign table ' \
                    WHEN 'S' THEN 'sequence ' ELSE 'index ' END || n.nspname || '.' || c.relname, \
                pg_catalog.concat_ws(' ', c.relname, (SELECT pg_catalog.string_agg(a.attname, ' ' ORDER BY a.attnum) \
                    FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND c.relkind IN ('v', 'm', 'f'))) \
         FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         WHERE c.relkind IN ('i', 'I', 'v', 'm', 'f', 'S') AND {USER_SCHEMA}{statistics}{}",
        names()
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

/// Of what others refer to and nothing but the name is put into words; of roles those that own something in the database, or have
/// privileges there.
fn names() -> String {
    let in_schemas = [
        ("pg_collation", "collation", "coll"),
        ("pg_opclass", "operator class", "opc"),
        ("pg_operator", "operator", "opr"),
        ("pg_opfamily", "operator family", "opf"),
        ("pg_ts_config", "text search configuration", "cfg"),
        ("pg_ts_dict", "text search dictionary", "dict"),
        ("pg_ts_parser", "text search parser", "prs"),
        ("pg_ts_template", "text search template", "tmpl"),
        ("pg_type", "type", "typ"),
    ];
    let mut sql: String = in_schemas
        .map(|(catalog, kind, prefix)| {
            let which = match catalog {
                "pg_type" => {
                    "AND NOT EXISTS (SELECT FROM pg_catalog.pg_type e WHERE e.typarray = o.oid) \
                     AND NOT EXISTS (SELECT FROM pg_catalog.pg_class c WHERE c.oid = o.typrelid AND c.relkind <> 'c')"
                }
                _ => "",
            };
            format!(
                " UNION ALL SELECT o.oid, '{kind} ' || n.nspname || '.' || o.{prefix}name, '' FROM pg_catalog.{catalog} o \
                 JOIN pg_catalog.pg_namespace n ON n.oid = o.{prefix}namespace WHERE {USER_SCHEMA} {which}"
            )
        })
        .concat();
    sql.push_str(&format!(
        " UNION ALL SELECT n.oid, 'schema ' || n.nspname, '' FROM pg_catalog.pg_namespace n WHERE {USER_SCHEMA} \
         UNION ALL SELECT r.oid, 'role ' || r.rolname, '' FROM pg_catalog.pg_roles r \
         WHERE r.oid = {INITDB} OR r.oid IN (SELECT s.refobjid FROM pg_catalog.pg_shdepend s \
               JOIN pg_catalog.pg_database d ON d.oid = s.dbid AND d.datname = pg_catalog.current_database() \
               WHERE s.refclassid = 'pg_catalog.pg_authid'::pg_catalog.regclass)"
    ));
    sql
}
