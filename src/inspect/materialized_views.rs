//! Materialized views, and which read which.

use super::query;
use crate::names::TableName;
use crate::postgres::{Connection, Error};

/// A materialized view.
pub(crate) struct MaterializedView {
    pub(crate) oid: u32,
    pub(crate) table: TableName,
    /// Whether it can be read.
    pub(crate) is_filled: bool,
    /// Materialized views that it reads by the catalog, through other views as well.
    pub(crate) reads: Vec<u32>,
    /// Those whose names are in the text of a function that it calls, or that are behind such a name.
    pub(crate) names: Vec<u32>,
}

impl MaterializedView {
    /// Whether it has to be computed after the other one. What a function names is believed only where it makes no circle.
    pub(crate) fn is_after(&self, other: &MaterializedView) -> bool {
        let is_back = || other.reads.contains(&self.oid) || other.names.contains(&self.oid);
        self.reads.contains(&other.oid) || self.names.contains(&other.oid) && !is_back()
    }
}

/// What depends on what, as far as `pg_depend` knows it, and from a view to its rule. What the text of a function reads is in no
/// catalog, so it is looked through for the names of views and functions.
const VIEWS: &str = "\
    WITH RECURSIVE named (class, oid, name) AS ( \
        SELECT 'pg_catalog.pg_class'::regclass::oid, oid, lower(relname::text) FROM pg_catalog.pg_class \
        WHERE relkind IN ('v', 'm') AND oid >= 16384 \
        UNION ALL SELECT 'pg_catalog.pg_proc'::regclass::oid, oid, lower(proname::text) FROM pg_catalog.pg_proc \
        WHERE oid >= 16384), \
    reached (view, class, oid, is_certain) AS ( \
        SELECT oid, 'pg_catalog.pg_class'::regclass::oid, oid, true FROM pg_catalog.pg_class \
        WHERE relkind = 'm' \
        UNION SELECT reached.view, used.class, used.oid, reached.is_certain AND used.is_certain \
        FROM reached CROSS JOIN LATERAL ( \
            SELECT d.refclassid, d.refobjid, true FROM pg_catalog.pg_depend d \
            WHERE d.classid = reached.class AND d.objid = reached.oid AND d.deptype <> 'e' \
            UNION ALL SELECT 'pg_catalog.pg_rewrite'::regclass::oid, r.oid, true FROM pg_catalog.pg_rewrite r \
            WHERE reached.class = 'pg_catalog.pg_class'::regclass AND r.ev_class = reached.oid AND r.rulename = '_RETURN' \
            UNION ALL SELECT named.class, named.oid, false FROM pg_catalog.pg_proc f \
            JOIN pg_catalog.pg_language l ON l.oid = f.prolang AND l.lanname NOT IN ('internal', 'c') \
            JOIN named ON position(named.name IN lower(f.prosrc)) > 0 \
            WHERE reached.class = 'pg_catalog.pg_proc'::regclass AND f.oid = reached.oid) used (class, oid, is_certain)) \
    SELECT c.oid, n.nspname::text, c.relname::text, c.relispopulated, \
           ARRAY(SELECT u.oid FROM reached JOIN pg_catalog.pg_class u ON u.oid = reached.oid \
                 WHERE reached.view = c.oid AND reached.class = 'pg_catalog.pg_class'::regclass \
                   AND u.relkind = 'm' AND u.oid <> c.oid AND reached.is_certain), \
           ARRAY(SELECT u.oid FROM reached JOIN pg_catalog.pg_class u ON u.oid = reached.oid \
                 WHERE reached.view = c.oid AND reached.class = 'pg_catalog.pg_class'::regclass \
                   AND u.relkind = 'm' AND u.oid <> c.oid AND NOT reached.is_certain) \
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
    WHERE c.relkind = 'm' \
    ORDER BY n.nspname::text COLLATE \"C\", c.relname::text COLLATE \"C\"";

/// The materialized views, by schema and name.
///
/// # Errors
///
/// A catalog that cannot be read.
pub(crate) async fn materialized_views(
    connection: &Connection,
) -> Result<Vec<MaterializedView>, Error> {
    let rows = query::rows(connection, "list the materialized views", VIEWS).await?;
    let views = rows.iter().map(|row| MaterializedView {
        oid: row.get(0),
        table: TableName {
            schema: row.get(1),
            name: row.get(2),
        },
        is_filled: row.get(3),
        reads: row.get(4),
        names: row.get(5),
    });
    Ok(views.collect())
}
