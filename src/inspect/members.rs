//! What can be changed of the tables, functions, types and text search objects of an extension after it was created. Its script makes
//! them, and whether a constraint, an index or a trigger is the script's does not show: it is no member of its own.

use super::query;
use crate::postgres::{Connection, Error};

/// A part of an object that belongs to an extension.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Member {
    pub(crate) extension: String,
    pub(crate) version: String,
    /// The table, function, type or the like.
    pub(crate) object: String,
    /// `index by_day`, `row level security`.
    pub(crate) part: String,
    /// As the server puts it into words.
    pub(crate) definition: String,
}

/// Of the tables of extensions, of their functions and text search objects, and which types, schemas and foreign-data wrappers they have;
/// constraints for NOT NULL (18 and later) are told with the columns. What scripts hardly ever set is a part only where it is set, so that
/// it is missed on the target whatever version its script is of; so is an owner who is neither the extension's nor the one that ran initdb,
/// to whom belongs what a trusted extension makes.
const MEMBERS: &str = "\
    WITH member AS MATERIALIZED ( \
        SELECT e.extname, e.extversion, e.extowner, d.classid, d.objid FROM pg_catalog.pg_depend d \
        JOIN pg_catalog.pg_extension e ON e.oid = d.refobjid AND d.refclassid = 'pg_catalog.pg_extension'::regclass \
        WHERE d.deptype = 'e' AND e.extname <> 'plpgsql'), \
    relation AS MATERIALIZED ( \
        SELECT m.extname, m.extversion, m.extowner, c.*, c.oid AS id, c.oid::regclass::text AS object FROM member m \
        JOIN pg_catalog.pg_class c ON c.oid = m.objid \
        WHERE m.classid = 'pg_catalog.pg_class'::regclass AND c.relkind IN ('r', 'p', 'f', 'v', 'm', 'S')) \
    SELECT r.extname::text, r.extversion, r.object, part.name, part.definition FROM relation r, LATERAL ( \
        SELECT 'row level security', concat_ws(' ', r.relrowsecurity, r.relforcerowsecurity) \
        WHERE r.relrowsecurity OR r.relforcerowsecurity \
        UNION ALL SELECT 'storage parameters', r.reloptions::text WHERE r.reloptions IS NOT NULL \
        UNION ALL SELECT 'replica identity', r.relreplident::text WHERE r.relreplident NOT IN ('d', 'n') \
        UNION ALL SELECT 'owner', pg_get_userbyid(r.relowner)::text WHERE r.relowner NOT IN (r.extowner, 10) \
        UNION ALL SELECT 'comment', coalesce(obj_description(r.id, 'pg_class'), '') \
        UNION ALL SELECT 'column ' || a.attname, concat_ws(' ', format_type(a.atttypid, a.atttypmod), \
                  CASE WHEN a.attnotnull THEN 'NOT NULL' END, pg_get_expr(d.adbin, d.adrelid)) \
        FROM pg_catalog.pg_attribute a \
        LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum \
        WHERE a.attrelid = r.id AND a.attnum > 0 AND NOT a.attisdropped AND r.relkind NOT IN ('v', 'm', 'S') \
        UNION ALL SELECT 'constraint ' || k.conname, pg_get_constraintdef(k.oid) \
        FROM pg_catalog.pg_constraint k WHERE k.conrelid = r.id AND k.contype <> 'n' \
        UNION ALL SELECT 'index ' || i.relname, pg_get_indexdef(i.oid) \
        FROM pg_catalog.pg_index x JOIN pg_catalog.pg_class i ON i.oid = x.indexrelid WHERE x.indrelid = r.id \
        UNION ALL SELECT 'trigger ' || t.tgname, concat_ws(' ', pg_get_triggerdef(t.oid), t.tgenabled) \
        FROM pg_catalog.pg_trigger t WHERE t.tgrelid = r.id AND NOT t.tgisinternal \
        UNION ALL SELECT 'rule ' || w.rulename, w.ev_enabled::text \
        FROM pg_catalog.pg_rewrite w WHERE w.ev_class = r.id AND w.rulename <> '_RETURN' \
        UNION ALL SELECT 'policy ' || p.polname, concat_ws(' ', p.polcmd, pg_get_expr(p.polqual, p.polrelid), \
                  pg_get_expr(p.polwithcheck, p.polrelid)) \
        FROM pg_catalog.pg_policy p WHERE p.polrelid = r.id) AS part (name, definition) \
    UNION ALL \
    SELECT m.extname::text, m.extversion, p.oid::regprocedure::text, part.name, part.definition FROM member m \
    JOIN pg_catalog.pg_proc p ON p.oid = m.objid JOIN pg_catalog.pg_language l ON l.oid = p.prolang, LATERAL ( \
        SELECT 'body', CASE WHEN l.lanname NOT IN ('c', 'internal') THEN md5(p.prosrc) ELSE '' END \
        UNION ALL SELECT 'security definer', '' WHERE p.prosecdef \
        UNION ALL SELECT 'leakproof', '' WHERE p.proleakproof \
        UNION ALL SELECT 'settings', p.proconfig::text WHERE p.proconfig IS NOT NULL \
        UNION ALL SELECT 'volatility', p.provolatile::text \
        UNION ALL SELECT 'parallel safety', p.proparallel::text \
        UNION ALL SELECT 'strictness', p.proisstrict::text \
        UNION ALL SELECT 'cost', concat_ws(' ', p.procost, p.prorows) \
        UNION ALL SELECT 'owner', pg_get_userbyid(p.proowner)::text WHERE p.proowner NOT IN (m.extowner, 10) \
        UNION ALL SELECT 'comment', coalesce(obj_description(p.oid, 'pg_proc'), '')) AS part (name, definition) \
    WHERE m.classid = 'pg_catalog.pg_proc'::regclass \
    UNION ALL \
    SELECT m.extname::text, m.extversion, o.object, part.name, part.definition FROM member m JOIN ( \
        SELECT 'pg_catalog.pg_type'::regclass AS class, t.oid, t.oid::regtype::text AS object, t.typowner AS owner, 'type' AS name, \
               t.typtype::text AS definition \
        FROM pg_catalog.pg_type t WHERE t.typtype IN ('b', 'd', 'e', 'r') AND t.typelem = 0 \
        UNION ALL SELECT 'pg_catalog.pg_namespace'::regclass, n.oid, 'schema ' || quote_ident(n.nspname), n.nspowner, 'schema', '' \
        FROM pg_catalog.pg_namespace n \
        UNION ALL SELECT 'pg_catalog.pg_ts_dict'::regclass, d.oid, 'text search dictionary ' || d.oid::regdictionary, d.dictowner, \
               'options', coalesce(d.dictinitoption, '') FROM pg_catalog.pg_ts_dict d \
        UNION ALL SELECT 'pg_catalog.pg_ts_config'::regclass, c.oid, 'text search configuration ' || c.oid::regconfig, c.cfgowner, \
               'mappings', (SELECT string_agg(concat_ws(' ', g.maptokentype, g.mapdict::regdictionary), ', ' \
                                              ORDER BY g.maptokentype, g.mapseqno) \
                            FROM pg_catalog.pg_ts_config_map g WHERE g.mapcfg = c.oid) FROM pg_catalog.pg_ts_config c \
        UNION ALL SELECT 'pg_catalog.pg_foreign_data_wrapper'::regclass, w.oid, 'foreign-data wrapper ' || quote_ident(w.fdwname), w.fdwowner, \
               'options', coalesce(w.fdwoptions::text, '') FROM pg_catalog.pg_foreign_data_wrapper w) o \
        ON o.class = m.classid AND o.oid = m.objid, LATERAL ( \
        SELECT o.name, coalesce(o.definition, '') UNION ALL SELECT 'owner', pg_get_userbyid(o.owner)::text WHERE o.owner NOT IN (m.extowner, 10)) AS part (name, definition) \
    ORDER BY 1, 3, 4";

/// Every part of what belongs to extensions in the connection's database.
pub(crate) async fn members(connection: &Connection) -> Result<Vec<Member>, Error> {
    // Row level security is of 9.5, forced or not; before 12 a WITH query is materialized in any case.
    let major = connection.version().major();
    if major < 905 {
        return Ok(Vec::new());
    }
    let mut sql = MEMBERS.to_owned();
    if major < 906 {
        sql = sql.replace("p.proparallel::text", "'u'");
    }
    if major < 1200 {
        sql = sql.replace("AS MATERIALIZED", "AS");
    }
    let rows = query::rows(connection, "read the members of extensions", &sql).await?;
    let member = |row: &tokio_postgres::Row| Member {
        extension: row.get(0),
        version: row.get(1),
        object: row.get(2),
        part: row.get(3),
        definition: row.get(4),
    };
    Ok(rows.iter().map(member).collect())
}
