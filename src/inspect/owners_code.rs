//! Code of the source's owners that runs with our rights where rows are loaded.
//!
//! PostgreSQL runs index expressions, materialized views and ANALYZE as the table's owner, in a security-restricted operation. What COPY
//! evaluates for each row, and what the check of a new foreign key casts, it runs as whoever loads, a superuser mostly: the owner of a
//! function in it could become one. What COPY evaluates can be left to a login without rights (`step::restore::login`).

use crate::postgres::quote_literal;

/// When the code runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum When<'a> {
    /// Only while rows are loaded into tables that have nothing yet: CHECK constraints of tables.
    Rows,
    /// While rows are loaded into this table, named as SQL does, which clients may have given more: PostgreSQL computes the entries of
    /// its indexes, and the defaults of columns that no row brings a value of, as whoever loads.
    Load(&'a str),
    /// When something is made, too. A CHECK constraint that is added to a table which has its rows is checked: pg_dump leaves one out of
    /// CREATE TABLE if a function in it needs the table, or its row type. The check of a foreign key casts, and plans with the table's
    /// indexes. CREATE TABLE computes what is constant in generated columns and partition keys, and coerces the bounds of partitions to
    /// their type, a domain perhaps; so does the import of statistics.
    Definitions,
}

/// Functions of roles that are not superusers, each with its role and the places that call it then, also by way of operators; and functions
/// of PostgreSQL that run a query which they are given, in places of such roles.
pub(super) fn sql(major: u32, when: When<'_>) -> String {
    // The dependencies of a generated column are its own (12 to 14), or those of its expression.
    let generated = match major {
        1200.. => {
            "UNION ALL SELECT e.class, e.oid, e.sub, 'generated column ' || quote_ident(a.attname) || ' of ' || a.attrelid::regclass, -1 \
             FROM pg_catalog.pg_attrdef d JOIN pg_catalog.pg_attribute a ON a.attrelid = d.adrelid AND a.attnum = d.adnum, \
                  LATERAL (VALUES ('pg_catalog.pg_attrdef'::regclass, d.oid, 0), \
                                  ('pg_catalog.pg_class'::regclass, a.attrelid, a.attnum::int)) AS e (class, oid, sub) \
             WHERE a.attgenerated <> ''"
        }
        _ => "",
    };
    let partitioned = match major {
        1000.. => {
            "UNION ALL SELECT 'pg_catalog.pg_class'::regclass, p.partrelid, 0, 'partition key of ' || p.partrelid::regclass, -1 \
             FROM pg_catalog.pg_partitioned_table p WHERE p.partexprs IS NOT NULL"
        }
        _ => "",
    };
    let late_tables = "t.relkind = 'p' OR EXISTS (SELECT FROM pg_catalog.pg_inherits i WHERE i.inhrelid = t.oid) \
         OR EXISTS (SELECT FROM pg_catalog.pg_constraint k WHERE k.contype = 'f' AND t.oid IN (k.conrelid, k.confrelid))";
    let statistics = match major {
        1400.. => format!(
            "UNION ALL SELECT 'pg_catalog.pg_statistic_ext'::regclass, s.oid, 0, 'statistics ' || quote_ident(s.stxname), -1 \
             FROM pg_catalog.pg_statistic_ext s JOIN pg_catalog.pg_class t ON t.oid = s.stxrelid WHERE {late_tables}"
        ),
        _ => String::new(),
    };
    let condition = match when {
        When::Rows => "NOT of.is_late",
        When::Definitions => "of.is_late",
        When::Load(_) => "true",
    };
    let (loaded, of_loaded) = match when {
        When::Load(table) => (
            format!(
                "loaded (oid) AS (SELECT {}::regclass::oid \
                     UNION SELECT i.inhrelid FROM loaded l JOIN pg_catalog.pg_inherits i ON i.inhparent = l.oid), ",
                quote_literal(table)
            ),
            "UNION ALL SELECT 'pg_catalog.pg_class'::regclass, x.indexrelid, 0, 'index ' || x.indexrelid::regclass, 0 \
             FROM pg_catalog.pg_index x JOIN loaded ON loaded.oid = x.indrelid \
             UNION ALL SELECT 'pg_catalog.pg_attrdef'::regclass, d.oid, 0, 'default of a column of ' || d.adrelid::regclass, 0 \
             FROM pg_catalog.pg_attrdef d JOIN loaded ON loaded.oid = d.adrelid",
        ),
        _ => (String::new(), ""),
    };
    format!(
        "WITH RECURSIVE {loaded} place (class, oid, sub, name, of) AS ( \
             SELECT 'pg_catalog.pg_constraint'::regclass, c.oid, 0, 'constraint ' || quote_ident(c.conname) || ' of ' || \
                    CASE WHEN c.contypid = 0 THEN c.conrelid::regclass::text ELSE c.contypid::regtype::text END, \
                    CASE WHEN c.contype = 'c' AND c.contypid = 0 THEN c.conrelid::bigint ELSE -1 END \
             FROM pg_catalog.pg_constraint c WHERE c.contype IN ('c', 'f') \
             UNION ALL SELECT 'pg_catalog.pg_cast'::regclass, c.oid, 0, \
                    'cast (' || c.castsource::regtype || ' AS ' || c.casttarget::regtype || ')', -1 \
             FROM pg_catalog.pg_cast c \
             WHERE (c.castcontext = 'i' OR c.casttarget IN ('json'::regtype, 'jsonb'::regtype)) AND c.oid >= 16384 \
             UNION ALL SELECT 'pg_catalog.pg_class'::regclass, x.indexrelid, 0, 'index ' || x.indexrelid::regclass, -1 \
             FROM pg_catalog.pg_index x JOIN pg_catalog.pg_class t ON t.oid = x.indrelid \
             WHERE {late_tables} {statistics} {generated} {partitioned} {of_loaded}), \
         reached (name, of, class, oid) AS ( \
             SELECT p.name, p.of, d.refclassid, d.refobjid FROM place p \
             JOIN pg_catalog.pg_depend d ON d.classid = p.class AND d.objid = p.oid AND d.objsubid = p.sub \
             WHERE d.refclassid IN ('pg_catalog.pg_proc'::regclass, 'pg_catalog.pg_operator'::regclass) \
             UNION SELECT r.name, r.of, d.refclassid, d.refobjid FROM reached r \
             JOIN pg_catalog.pg_depend d ON d.classid = r.class AND d.objid = r.oid \
             WHERE r.class = 'pg_catalog.pg_operator'::regclass AND d.refclassid = 'pg_catalog.pg_proc'::regclass), \
         called AS ( \
             SELECT r.name, r.of, f.oid, o.rolname FROM reached r \
             JOIN pg_catalog.pg_proc f ON r.class = 'pg_catalog.pg_proc'::regclass AND f.oid = r.oid \
             JOIN pg_catalog.pg_roles o ON o.oid = f.proowner AND NOT o.rolsuper \
             UNION ALL SELECT p.name, p.of, f.oid, o.rolname FROM place p \
             JOIN pg_catalog.pg_constraint c ON p.class = 'pg_catalog.pg_constraint'::regclass AND c.oid = p.oid \
             LEFT JOIN pg_catalog.pg_class t ON t.oid = c.conrelid LEFT JOIN pg_catalog.pg_type y ON y.oid = c.contypid \
             JOIN pg_catalog.pg_roles w ON w.oid = coalesce(t.relowner, y.typowner) AND NOT w.rolsuper \
             JOIN pg_catalog.pg_proc f ON f.pronamespace = 'pg_catalog'::regnamespace \
                  AND (f.proname ~ '_to_xml' OR f.proname IN ('ts_rewrite', 'ts_stat')) \
             JOIN pg_catalog.pg_roles o ON o.oid = f.proowner \
             WHERE pg_catalog.pg_get_constraintdef(c.oid) ~ ('\\m' || f.proname || '\\(')), \
         needed (function, class, oid) AS ( \
             SELECT oid, 'pg_catalog.pg_proc'::regclass::oid, oid FROM called \
             UNION SELECT n.function, d.refclassid, d.refobjid FROM needed n \
             JOIN pg_catalog.pg_depend d ON d.classid = n.class AND d.objid = n.oid AND d.refobjid >= 16384) \
         SELECT c.oid::regprocedure::text, quote_ident(c.rolname) || ', called by ' || string_agg(DISTINCT c.name, ', ') \
         FROM called c, LATERAL ( \
             SELECT c.of = -1 OR EXISTS (SELECT FROM needed n WHERE n.function = c.oid AND n.oid = c.of \
                 AND n.class IN ('pg_catalog.pg_class'::regclass, 'pg_catalog.pg_type'::regclass)) AS is_late) of \
         WHERE {condition} GROUP BY c.oid, c.rolname ORDER BY 1"
    )
}
