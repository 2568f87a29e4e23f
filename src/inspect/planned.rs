//! Tables that no query of ours is planned for.
//!
//! The planner of PostgreSQL reads the expressions of a table's indexes and extended statistics, and calls functions in them that
//! count as immutable and have constant arguments, with the rights of whoever asks. Where such a function is another's, asking as a
//! superuser would give its owner those rights, on either server and in a read-only transaction too. `COPY table TO` is not
//! planned.

use std::collections::HashMap;

use super::query;
use crate::names::TableName;
use crate::postgres::{Connection, Error};

/// The tables of the connection's database that are not to be planned for, and of each the list of columns by which COPY tells its rows
/// with little effort: empty where it has to be all of them.
///
/// # Errors
///
/// A catalog that cannot be read.
pub(super) async fn not_to_be_planned(
    connection: &Connection,
) -> Result<HashMap<TableName, String>, Error> {
    let major = connection.version().major();
    let statistics = match major {
        ..1000 => "",
        _ => {
            "UNION ALL SELECT 'pg_catalog.pg_statistic_ext'::regclass, s.oid FROM pg_catalog.pg_statistic_ext s \
             WHERE s.stxrelid = c.oid"
        }
    };
    // COPY does not name generated columns.
    let is_stored = match major {
        ..1200 => "",
        _ => "AND a.attgenerated = ''",
    };
    let sql = format!(
        "SELECT n.nspname::text, c.relname::text, \
                (SELECT quote_ident(a.attname) FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_type t ON t.oid = a.atttypid \
                 WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped {is_stored} \
                   AND t.typtype = 'b' AND t.oid < 16384 \
                 ORDER BY t.typlen < 0, t.typlen, a.attnum LIMIT 1) \
         FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         WHERE c.relkind IN ('r', 'm') AND c.oid >= 16384 AND EXISTS ( \
            SELECT FROM ( \
                SELECT 'pg_catalog.pg_class'::regclass, i.indexrelid FROM pg_catalog.pg_index i \
                WHERE i.indrelid = c.oid AND (i.indexprs IS NOT NULL OR i.indpred IS NOT NULL) \
                {statistics}) o (class, object) \
            JOIN pg_catalog.pg_depend d ON d.classid = o.class AND d.objid = o.object AND d.refobjid >= 16384 \
            LEFT JOIN pg_catalog.pg_proc f ON d.refclassid = 'pg_catalog.pg_proc'::regclass AND f.oid = d.refobjid \
            LEFT JOIN pg_catalog.pg_operator p ON d.refclassid = 'pg_catalog.pg_operator'::regclass AND p.oid = d.refobjid \
            LEFT JOIN pg_catalog.pg_type t ON d.refclassid = 'pg_catalog.pg_type'::regclass AND t.oid = d.refobjid \
            LEFT JOIN pg_catalog.pg_type e ON e.oid = t.typelem \
            JOIN pg_catalog.pg_roles r ON r.oid = coalesce(f.proowner, p.oprowner, t.typowner) \
            WHERE NOT r.rolsuper AND coalesce(e.typtype, t.typtype, 'f') <> 'e')"
    );
    let action = "list the tables whose indexes call functions of users";
    let rows = query::rows(connection, action, &sql).await?;
    let tables = rows.iter().map(|row| {
        let column: Option<String> = row.get(2);
        let columns = column.map(|column| format!("({column})"));
        let table = TableName::new(row.get::<_, String>(0), row.get::<_, String>(1));
        (table, columns.unwrap_or_default())
    });
    Ok(tables.collect())
}
