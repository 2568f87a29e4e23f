//! Code of the source's owners that runs with our rights where rows are loaded.
//!
//! PostgreSQL runs index expressions, materialized views and ANALYZE as the table's owner, in a security-restricted operation. What COPY
//! evaluates for each row, and what the check of a new foreign key casts, it runs as whoever loads, a superuser mostly: the owner of a
//! function in it could become one.

/// Functions of roles that are no superusers, each with its role and the places that call it, also by way of operators.
pub(super) fn sql(major: u32) -> String {
    // The dependencies of a generated column are its own (12 to 14), or those of its expression.
    let generated = match major {
        1200.. => {
            "UNION ALL SELECT e.class, e.oid, e.sub, 'generated column ' || quote_ident(a.attname) || ' of ' || a.attrelid::regclass \
             FROM pg_catalog.pg_attrdef d JOIN pg_catalog.pg_attribute a ON a.attrelid = d.adrelid AND a.attnum = d.adnum, \
                  LATERAL (VALUES ('pg_catalog.pg_attrdef'::regclass, d.oid, 0), \
                                  ('pg_catalog.pg_class'::regclass, a.attrelid, a.attnum::int)) AS e (class, oid, sub) \
             WHERE a.attgenerated <> ''"
        }
        _ => "",
    };
    let partitioned = match major {
        1000.. => {
            "UNION ALL SELECT 'pg_catalog.pg_class'::regclass, p.partrelid, 0, 'partition key of ' || p.partrelid::regclass \
             FROM pg_catalog.pg_partitioned_table p WHERE p.partexprs IS NOT NULL"
        }
        _ => "",
    };
    format!(
        "WITH RECURSIVE place (class, oid, sub, name) AS ( \
             SELECT 'pg_catalog.pg_constraint'::regclass, c.oid, 0, 'constraint ' || quote_ident(c.conname) || ' of ' || \
                    CASE WHEN c.contypid = 0 THEN c.conrelid::regclass::text ELSE c.contypid::regtype::text END \
             FROM pg_catalog.pg_constraint c WHERE c.contype IN ('c', 'f') \
             UNION ALL SELECT 'pg_catalog.pg_cast'::regclass, c.oid, 0, \
                    'cast (' || c.castsource::regtype || ' AS ' || c.casttarget::regtype || ')' \
             FROM pg_catalog.pg_cast c WHERE c.castcontext = 'i' AND c.oid >= 16384 {generated} {partitioned}), \
         reached (name, class, oid) AS ( \
             SELECT p.name, d.refclassid, d.refobjid FROM place p \
             JOIN pg_catalog.pg_depend d ON d.classid = p.class AND d.objid = p.oid AND d.objsubid = p.sub \
             WHERE d.refclassid IN ('pg_catalog.pg_proc'::regclass, 'pg_catalog.pg_operator'::regclass) \
             UNION SELECT r.name, d.refclassid, d.refobjid FROM reached r \
             JOIN pg_catalog.pg_depend d ON d.classid = r.class AND d.objid = r.oid \
             WHERE r.class = 'pg_catalog.pg_operator'::regclass AND d.refclassid = 'pg_catalog.pg_proc'::regclass) \
         SELECT f.oid::regprocedure::text, quote_ident(o.rolname) || ', called by ' || string_agg(DISTINCT r.name, ', ') \
         FROM reached r JOIN pg_catalog.pg_proc f ON r.class = 'pg_catalog.pg_proc'::regclass AND f.oid = r.oid \
         JOIN pg_catalog.pg_roles o ON o.oid = f.proowner AND NOT o.rolsuper \
         GROUP BY f.oid, o.rolname ORDER BY 1"
    )
}
