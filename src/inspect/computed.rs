//! What is computed when rows are loaded, or an index is built, and kept: by functions that read other tables, or that users may have
//! replaced since.

use super::delayed::DROPPABLE;
use super::query::{self, USER_SCHEMA, member_of_extension};
use crate::catalog::Computed;
use crate::names::TableName;
use crate::postgres::{Connection, Error};

/// Indexes by expressions or with predicates, and stored generated columns, each with the tables that functions in them read (its own
/// only by way of a materialized view): by
/// `pg_depend`, and, of functions whose text is kept as it was written, by the names of tables, views and functions in it.
const COMPUTED: &str = "\
    WITH RECURSIVE named (class, oid, name, is_word) AS ( \
        SELECT 'pg_catalog.pg_class'::regclass::oid, oid, lower(relname::text), relname::text ~ '^[A-Za-z0-9_]+$' \
        FROM pg_catalog.pg_class WHERE relkind IN ('r', 'p', 'v', 'm') AND oid >= 16384 \
        UNION ALL SELECT 'pg_catalog.pg_proc'::regclass::oid, oid, lower(proname::text), proname::text ~ '^[A-Za-z0-9_]+$' \
        FROM pg_catalog.pg_proc WHERE oid >= 16384), \
    kept (class, oid, part, of_table, part_of) AS ( \
        SELECT 'pg_catalog.pg_class'::regclass::oid, x.indexrelid, 0, x.indrelid, x.indexrelid \
        FROM pg_catalog.pg_index x JOIN pg_catalog.pg_class i ON i.oid = x.indexrelid \
        WHERE i.relkind = 'i' AND (x.indexprs IS NOT NULL OR x.indpred IS NOT NULL) \
        GENERATED), \
    reached (kept, part, class, oid) AS ( \
        SELECT kept.part_of, kept.part, d.refclassid, d.refobjid FROM kept JOIN pg_catalog.pg_depend d \
        ON d.classid = kept.class AND d.objid = kept.oid \
           AND (kept.part = 0 OR kept.class = 'pg_catalog.pg_attrdef'::regclass OR d.objsubid = kept.part) \
        WHERE d.refobjid >= 16384 AND d.refclassid IN ('pg_catalog.pg_proc'::regclass, 'pg_catalog.pg_operator'::regclass) \
        UNION SELECT reached.kept, reached.part, used.class, used.oid FROM reached CROSS JOIN LATERAL ( \
            SELECT d.refclassid, d.refobjid FROM pg_catalog.pg_depend d \
            WHERE d.classid = reached.class AND d.objid = reached.oid AND d.deptype <> 'e' AND d.refobjid >= 16384 \
              AND reached.class <> 'pg_catalog.pg_class'::regclass \
              AND d.refclassid IN ('pg_catalog.pg_proc'::regclass, 'pg_catalog.pg_operator'::regclass, \
                                   'pg_catalog.pg_class'::regclass) \
            UNION ALL SELECT 'pg_catalog.pg_rewrite'::regclass::oid, r.oid FROM pg_catalog.pg_rewrite r \
            WHERE reached.class = 'pg_catalog.pg_class'::regclass AND r.ev_class = reached.oid AND r.rulename = '_RETURN' \
            UNION ALL SELECT 'pg_catalog.pg_class'::regclass::oid, h.inhrelid FROM pg_catalog.pg_inherits h \
            WHERE reached.class = 'pg_catalog.pg_class'::regclass AND h.inhparent = reached.oid \
            UNION ALL SELECT named.class, named.oid FROM pg_catalog.pg_proc f \
            JOIN pg_catalog.pg_language l ON l.oid = f.prolang AND l.lanname NOT IN ('internal', 'c') \
            JOIN named ON position(named.name IN lower(f.prosrc)) > 0 \
                      AND (NOT named.is_word \
                           OR named.name = ANY (regexp_split_to_array(lower(f.prosrc), '[^a-z0-9_]+'))) \
            WHERE reached.class = 'pg_catalog.pg_proc'::regclass AND f.oid = reached.oid) used (class, oid)) \
    SELECT tn.nspname::text, t.relname::text, \
           k.part = 0, \
           CASE WHEN k.part = 0 THEN i.relname::text ELSE a.attname::text END, \
           EXISTS (SELECT FROM pg_catalog.pg_index x WHERE x.indexrelid = i.oid AND k.part = 0 AND DROPPABLE), \
           rn.nspname::text, r.relname::text, k.reads_views \
    FROM (SELECT part_of AS oid, part, of_table, \
                 EXISTS (SELECT FROM reached m JOIN pg_catalog.pg_class v ON v.oid = m.oid AND v.relkind = 'm' \
                         WHERE m.kept = kept.part_of AND m.part = kept.part AND v.oid <> kept.of_table \
                           AND m.class = 'pg_catalog.pg_class'::regclass) AS reads_views \
          FROM kept GROUP BY part_of, part, of_table) k \
    JOIN pg_catalog.pg_class t ON t.oid = k.of_table \
    JOIN pg_catalog.pg_namespace tn ON tn.oid = t.relnamespace \
    JOIN pg_catalog.pg_class i ON i.oid = k.oid \
    JOIN reached ON reached.kept = k.oid AND reached.part = k.part AND reached.class = 'pg_catalog.pg_class'::regclass \
    JOIN pg_catalog.pg_class r ON r.oid = reached.oid AND r.relkind = 'r' AND (r.oid <> t.oid OR k.reads_views) \
    JOIN pg_catalog.pg_namespace rn ON rn.oid = r.relnamespace \
    LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = k.of_table AND a.attnum = k.part AND k.part > 0 \
    WHERE USER_TABLE \
    ORDER BY tn.nspname::text COLLATE \"C\", t.relname::text COLLATE \"C\", 4, rn.nspname::text COLLATE \"C\", \
             r.relname::text COLLATE \"C\"";

/// Their dependencies are those of the column (12 to 14), or of its expression.
const GENERATED: &str = "\
    UNION ALL SELECT 'pg_catalog.pg_attrdef'::regclass::oid, d.oid, d.adnum::int, d.adrelid, d.adrelid \
    FROM pg_catalog.pg_attrdef d JOIN pg_catalog.pg_attribute a ON a.attrelid = d.adrelid AND a.attnum = d.adnum \
    WHERE a.attgenerated = 's' \
    UNION ALL SELECT 'pg_catalog.pg_class'::regclass::oid, d.adrelid, d.adnum::int, d.adrelid, d.adrelid \
    FROM pg_catalog.pg_attrdef d JOIN pg_catalog.pg_attribute a ON a.attrelid = d.adrelid AND a.attnum = d.adnum \
    WHERE a.attgenerated = 's'";

/// The indexes and stored generated columns of users' tables that functions which read other tables have a part in, by table and name.
///
/// # Errors
///
/// A catalog that cannot be read.
pub(crate) async fn computed(connection: &Connection) -> Result<Vec<Computed>, Error> {
    let generated = if connection.version().major() >= 1200 {
        GENERATED
    } else {
        ""
    };
    let sql = COMPUTED
        .replace("GENERATED", generated)
        .replace(
            "USER_TABLE",
            &USER_SCHEMA.replace("n.nspname", "tn.nspname"),
        )
        .replace("DROPPABLE", DROPPABLE);
    let action = "list what is computed by functions that read other tables";
    let mut found: Vec<Computed> = Vec::new();
    for row in query::rows(connection, action, &sql).await? {
        let table = |first: usize| TableName {
            schema: row.get(first),
            name: row.get(first + 1),
        };
        let (of, is_index, name): (TableName, bool, String) = (table(0), row.get(2), row.get(3));
        let reads = table(5);
        match found.last_mut() {
            Some(last) if (&last.table, last.is_index, &last.name) == (&of, is_index, &name) => {
                last.reads.push(reads);
            }
            _ => found.push(Computed {
                table: of,
                name,
                is_index,
                is_made_again: row.get(4),
                reads_views: row.get(7),
                reads: vec![reads],
            }),
        }
    }
    Ok(found)
}

/// Selects stored generated columns whose expressions call functions of users, or operators of such, or have a text search configuration, a dictionary or a
/// collation of theirs, which may have been others when the values were stored.
/// Of partitions those that have an expression of their own.
pub(super) fn generated_columns(major: u32) -> String {
    let depends = match major {
        1500.. => "d.classid = 'pg_catalog.pg_attrdef'::regclass AND d.objid = f.oid",
        _ => {
            "d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = c.oid AND d.objsubid = a.attnum"
        }
    };
    let inherited = "SELECT pg_get_expr(pf.adbin, pf.adrelid) FROM pg_catalog.pg_inherits i \
                     JOIN pg_catalog.pg_attribute pa ON pa.attrelid = i.inhparent AND pa.attname = a.attname \
                     JOIN pg_catalog.pg_attrdef pf ON pf.adrelid = pa.attrelid AND pf.adnum = pa.attnum WHERE i.inhrelid = c.oid";
    let mut used = format!(
        "SELECT 'pg_catalog.pg_proc'::regclass AS class, p.oid, p.oid::regprocedure::text AS name FROM pg_catalog.pg_proc p \
         WHERE p.oid >= 16384 AND NOT {function_of_extension} \
         UNION ALL SELECT 'pg_catalog.pg_operator'::regclass, o.oid, p.oid::regprocedure::text FROM pg_catalog.pg_operator o \
         JOIN pg_catalog.pg_proc p ON p.oid = o.oprcode WHERE p.oid >= 16384 AND NOT {function_of_extension}",
        function_of_extension = member_of_extension("pg_proc", "p")
    );
    for (catalog, name) in [
        (
            "pg_collation",
            "'collation ' || o.collnamespace::regnamespace || '.' || quote_ident(o.collname)",
        ),
        (
            "pg_ts_config",
            "'text search configuration ' || o.oid::regconfig",
        ),
        (
            "pg_ts_dict",
            "'text search dictionary ' || o.oid::regdictionary",
        ),
    ] {
        used.push_str(&format!(
            " UNION ALL SELECT 'pg_catalog.{catalog}'::regclass, o.oid, {name} FROM pg_catalog.{catalog} o \
             WHERE o.oid >= 16384 AND NOT {}",
            member_of_extension(catalog, "o")
        ));
    }
    format!(
        "SELECT n.nspname || '.' || c.relname, a.attname || ' (' || string_agg(DISTINCT used.name, ', ') || ')' \
         FROM pg_catalog.pg_attribute a \
         JOIN pg_catalog.pg_class c ON c.oid = a.attrelid AND c.relkind IN ('r', 'p') \
         JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         JOIN pg_catalog.pg_attrdef f ON f.adrelid = c.oid AND f.adnum = a.attnum \
         JOIN pg_catalog.pg_depend d ON {depends} \
         JOIN ({used}) used ON used.class = d.refclassid AND used.oid = d.refobjid \
         WHERE a.attgenerated = 's' AND NOT a.attisdropped AND {USER_SCHEMA} \
           AND (NOT c.relispartition OR pg_get_expr(f.adbin, f.adrelid) <> ({inherited} LIMIT 1)) \
         GROUP BY n.nspname, c.relname, a.attname ORDER BY 1, 2"
    )
}
