//! What can be changed of the tables, functions and types of an extension after it was created. Its script makes them, and whether a
//! constraint, an index or a trigger is the script's does not show: it is no member of its own.

use super::query;
use crate::postgres::{Connection, Error};

/// A part of a table or function that belongs to an extension.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Member {
    pub(crate) extension: String,
    pub(crate) version: String,
    /// The table, function or type.
    pub(crate) object: String,
    /// `index by_day`, `row level security`.
    pub(crate) part: String,
    /// As the server puts it into words.
    pub(crate) definition: String,
}

/// Of the tables of extensions, of their functions, and which types they have; constraints for NOT NULL (18 and later) are told with the columns.
const MEMBERS: &str = "\
    WITH member AS MATERIALIZED ( \
        SELECT e.extname, e.extversion, d.classid, d.objid FROM pg_catalog.pg_depend d \
        JOIN pg_catalog.pg_extension e ON e.oid = d.refobjid AND d.refclassid = 'pg_catalog.pg_extension'::regclass \
        WHERE d.deptype = 'e' AND e.extname <> 'plpgsql'), \
    relation AS MATERIALIZED ( \
        SELECT m.extname, m.extversion, c.*, c.oid AS id, c.oid::regclass::text AS object FROM member m \
        JOIN pg_catalog.pg_class c ON c.oid = m.objid \
        WHERE m.classid = 'pg_catalog.pg_class'::regclass AND c.relkind IN ('r', 'p', 'f', 'v', 'm')) \
    SELECT r.extname::text, r.extversion, r.object, part.name, part.definition FROM relation r, LATERAL ( \
        SELECT 'row level security', concat_ws(' ', r.relrowsecurity, r.relforcerowsecurity) \
        UNION ALL SELECT 'storage parameters', coalesce(r.reloptions::text, '') \
        UNION ALL SELECT 'replica identity', r.relreplident::text \
        UNION ALL SELECT 'comment', coalesce(obj_description(r.id, 'pg_class'), '') \
        UNION ALL SELECT 'column ' || a.attname, concat_ws(' ', format_type(a.atttypid, a.atttypmod), \
                  CASE WHEN a.attnotnull THEN 'NOT NULL' END, pg_get_expr(d.adbin, d.adrelid)) \
        FROM pg_catalog.pg_attribute a \
        LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum \
        WHERE a.attrelid = r.id AND a.attnum > 0 AND NOT a.attisdropped AND r.relkind NOT IN ('v', 'm') \
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
        UNION ALL SELECT 'security and settings', concat_ws(' ', p.prosecdef, p.proconfig::text) \
        UNION ALL SELECT 'comment', coalesce(obj_description(p.oid, 'pg_proc'), '')) AS part (name, definition) \
    WHERE m.classid = 'pg_catalog.pg_proc'::regclass \
    UNION ALL \
    SELECT m.extname::text, m.extversion, t.oid::regtype::text, 'type', t.typtype::text FROM member m \
    JOIN pg_catalog.pg_type t ON t.oid = m.objid \
    WHERE m.classid = 'pg_catalog.pg_type'::regclass AND t.typtype IN ('b', 'd', 'e', 'r') AND t.typelem = 0 \
    ORDER BY 1, 3, 4";

/// Every part of what belongs to extensions in the connection's database.
pub(crate) async fn members(connection: &Connection) -> Result<Vec<Member>, Error> {
    // Row level security is of 9.5, forced or not; before 12 a WITH query is materialized in any case.
    if connection.version().major() < 905 {
        return Ok(Vec::new());
    }
    let sql = if connection.version().major() < 1200 {
        MEMBERS.replace("AS MATERIALIZED", "AS")
    } else {
        MEMBERS.to_owned()
    };
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
