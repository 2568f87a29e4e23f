//! What one database holds.

use std::collections::{BTreeMap, BTreeSet};

use tokio_postgres::Row;

use super::load_order::{large_object_tables, load_order_constraints};
use super::query::{self, USER_SCHEMA, member_of_extension};
use crate::catalog::{
    AttachedIndex, Contents, EventTrigger, FunctionSetting, Placed, PlacedKind, Relation,
    TableTrigger,
};
use crate::names::{RelationKind, TableName};
use crate::postgres::{Connection, Error};

/// Reads what the connection's database holds.
pub(crate) async fn read(connection: &Connection) -> Result<Contents, Error> {
    let version = connection.version();
    let oids = if version.major() < 1200 {
        "c.relhasoids"
    } else {
        "false"
    };
    let forced = if version.major() >= 905 {
        "c.relrowsecurity AND c.relforcerowsecurity"
    } else {
        "false"
    };
    let rows = query::rows(
        connection,
        "list the tables",
        &format!(
            "SELECT c.oid, n.nspname::text, c.relname::text, c.relkind::text, \
                        c.relpersistence::text = 'u', c.relispopulated, c.relpages, c.reltuples, \
                        row_security_active(c.oid), {oids}, e.extname::text, \
                        ARRAY(SELECT i.inhparent FROM pg_catalog.pg_inherits i \
                              WHERE i.inhrelid = c.oid ORDER BY i.inhseqno), {forced} \
                 FROM pg_catalog.pg_class c \
                 JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
                 LEFT JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_class'::regclass \
                      AND d.objid = c.oid AND d.objsubid = 0 AND d.deptype = 'e' \
                 LEFT JOIN pg_catalog.pg_extension e ON e.oid = d.refobjid \
                 WHERE c.relkind IN ('r', 'p', 'f', 'm') AND {USER_SCHEMA} \
                 ORDER BY n.nspname::text COLLATE \"C\", c.relname::text COLLATE \"C\""
        ),
    )
    .await?;
    let relations = rows
        .iter()
        .map(|row| {
            let pages: i32 = row.get(6);
            let tuples: f32 = row.get(7);
            Relation {
                oid: row.get(0),
                schema: row.get(1),
                name: row.get(2),
                kind: kind(row.get(3)),
                parents: row.get(11),
                unlogged: row.get(4),
                populated: row.get(5),
                bytes: u64::try_from(pages).unwrap_or(0) * 8192,
                estimated_rows: estimate(tuples, version.major()),
                row_security: row.get(8),
                forces_row_security: row.get(12),
                has_oids: row.get(9),
                extension: row.get(10),
            }
        })
        .collect();
    let counts = query::row(
        connection,
        "count the objects",
        &format!(
            "SELECT \
                 (SELECT count(*) FROM pg_catalog.pg_index i \
                    JOIN pg_catalog.pg_class c ON c.oid = i.indrelid \
                    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE {USER_SCHEMA}) \
                 + (SELECT count(*) FROM pg_catalog.pg_constraint WHERE contype = 'f'), \
                 (SELECT count(*) FROM pg_catalog.pg_largeobject_metadata), \
                 (SELECT count(*) FROM pg_catalog.pg_proc p \
                    JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace WHERE {USER_SCHEMA}) \
                 + (SELECT count(*) FROM pg_catalog.pg_type t \
                    JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace WHERE {USER_SCHEMA}) \
                 + (SELECT count(*) FROM pg_catalog.pg_class c \
                    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
                    WHERE c.relkind IN ('v', 'S') AND {USER_SCHEMA}) \
                 + (SELECT count(*) FROM pg_catalog.pg_namespace n \
                    WHERE n.nspname <> 'public' AND {USER_SCHEMA}) \
                 + (SELECT count(*) FROM pg_catalog.pg_extension WHERE extname <> 'plpgsql'), \
                 (SELECT coalesce(sum(pg_relation_size(oid)), 0)::bigint FROM pg_catalog.pg_class \
                    WHERE relkind IN ('r', 'i', 't', 'm', 'S') AND NOT relisshared), \
                 (SELECT count(*) FROM pg_catalog.pg_extension WHERE extname <> 'plpgsql'), \
                 (SELECT count(*) FROM pg_catalog.pg_proc p \
                    JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace \
                    WHERE {USER_SCHEMA} AND NOT {}) \
                 + (SELECT count(*) FROM pg_catalog.pg_type t \
                    JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace \
                    WHERE {USER_SCHEMA} AND t.typtype IN ('b', 'd', 'e', 'r') AND NOT {} \
                      AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_type e WHERE e.typarray = t.oid)) \
                 + (SELECT count(*) FROM pg_catalog.pg_class c \
                    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
                    WHERE c.relkind IN ('v', 'S', 'f', 'c') AND {USER_SCHEMA} AND NOT {}) \
                 + (SELECT count(*) FROM pg_catalog.pg_namespace n \
                    WHERE n.nspname <> 'public' AND {USER_SCHEMA} AND NOT {})",
            member_of_extension("pg_proc", "p"),
            member_of_extension("pg_type", "t"),
            member_of_extension("pg_class", "c"),
            member_of_extension("pg_namespace", "n"),
        ),
    )
    .await?;
    let attached_indexes = if version.major() >= 1100 {
        attached_indexes(connection).await?
    } else {
        Vec::new()
    };
    let hashed_by_enum = if version.major() >= 1100 {
        hashed_by_enum(connection).await?
    } else {
        BTreeMap::new()
    };
    let indexed_tables = indexed_tables(connection).await?;
    let always_triggers = always_triggers(connection).await?;
    let computed = super::computed::computed(connection).await?;
    let load_order_constraints = load_order_constraints(connection).await?;
    let event_triggers = event_triggers(connection).await?;
    let (unreadable, unreadable_large_objects) = unreadable(connection).await?;
    let configured_extensions = query::pairs(
        connection,
        "list the extensions with configuration tables",
        "SELECT extname::text, extversion FROM pg_catalog.pg_extension WHERE extconfig IS NOT NULL",
    )
    .await?;
    let extension_versions = query::pairs(
        connection,
        "list the extensions",
        "SELECT extname::text, extversion FROM pg_catalog.pg_extension",
    )
    .await?;
    let extensions_in_columns = extensions_in_columns(connection).await?;
    let function_settings = function_settings(connection).await?;
    let number = |column| u64::try_from(counts.get::<_, i64>(column)).unwrap_or(0);
    Ok(Contents {
        relations,
        indexes: u32::try_from(number(0)).unwrap_or(u32::MAX),
        attached_indexes,
        indexed_tables,
        always_triggers,
        computed,
        load_order_constraints,
        event_triggers,
        hashed_by_enum,
        large_objects: number(1),
        large_object_tables: large_object_tables(connection).await?,
        unreadable,
        unreadable_large_objects,
        names_not_utf8: Vec::new(),
        parts_not_utf8: BTreeMap::new(),
        user_objects: number(2),
        own_objects: number(5),
        configured_extensions,
        extension_versions,
        extensions_in_columns,
        not_moved: Vec::new(),
        own: Vec::new(),
        without_default_privileges: Vec::new(),
        function_settings,
        oversized: Vec::new(),
        extensions: number(4),
        placed: placed(connection).await?,
        bytes: number(3),
    })
}

/// Of columns of tables that are not extensions' own, also of an array or a domain of such a type.
async fn extensions_in_columns(connection: &Connection) -> Result<BTreeSet<String>, Error> {
    let names = query::texts(
        connection,
        "list the extensions whose types columns have",
        &format!(
            "SELECT DISTINCT e.extname::text FROM pg_catalog.pg_attribute a \
         JOIN pg_catalog.pg_class c ON c.oid = a.attrelid AND c.relkind IN ('r', 'p') \
         JOIN pg_catalog.pg_type t ON t.oid = a.atttypid \
         JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_type'::pg_catalog.regclass \
           AND d.objid IN (t.oid, t.typelem, t.typbasetype) AND d.deptype = 'e' \
         JOIN pg_catalog.pg_extension e ON e.oid = d.refobjid \
         WHERE a.attnum > 0 AND NOT a.attisdropped AND NOT {}",
            member_of_extension("pg_class", "c")
        ),
    )
    .await?;
    Ok(names.into_iter().collect())
}

/// What a dump would read and our role may not: tables, with what an extension marked as its configuration, and
/// sequences; and how many large objects.
async fn unreadable(connection: &Connection) -> Result<(Vec<TableName>, u64), Error> {
    let rows = query::rows(
        connection,
        "ask for our rights to read the tables",
        &format!(
            "SELECT n.nspname::text, c.relname::text \
             FROM pg_catalog.pg_class c \
             JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
             LEFT JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_class'::regclass \
                  AND d.objid = c.oid AND d.objsubid = 0 AND d.deptype = 'e' \
             LEFT JOIN (SELECT unnest(extconfig) AS config FROM pg_catalog.pg_extension) e ON e.config = c.oid \
             WHERE (c.relkind IN ('r', 'p', 'S') OR c.relkind = 'm' AND c.relispopulated) AND {USER_SCHEMA} \
               AND (d.objid IS NULL OR e.config IS NOT NULL) \
               AND NOT (has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT')) \
             ORDER BY n.nspname::text COLLATE \"C\", c.relname::text COLLATE \"C\""
        ),
    )
    .await?;
    let tables = rows.iter().map(|row| TableName {
        schema: row.get(0),
        name: row.get(1),
    });
    // A superuser is a member of every role.
    let large_objects = query::row(
        connection,
        "ask for our rights to read the large objects",
        "SELECT count(*) FROM pg_catalog.pg_largeobject_metadata m \
         WHERE NOT pg_has_role(m.lomowner, 'USAGE') \
           AND NOT EXISTS (SELECT 1 FROM pg_catalog.aclexplode(m.lomacl) a \
                           WHERE a.privilege_type = 'SELECT' \
                             AND (a.grantee = 0 OR pg_has_role(a.grantee, 'USAGE')))",
    )
    .await?;
    let large_objects = u64::try_from(large_objects.get::<_, i64>(0)).unwrap_or(0);
    Ok((tables.collect(), large_objects))
}

/// What of the connection's database is in another tablespace than its default one. What belongs to an extension is made
/// by it, wherever that is.
pub(super) async fn placed(connection: &Connection) -> Result<Vec<Placed>, Error> {
    let rows = query::rows(
        connection,
        "list what is in other tablespaces",
        &format!(
            "SELECT n.nspname::text, c.relname::text, c.relkind::text, s.spcname::text \
             FROM pg_catalog.pg_class c \
             JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
             JOIN pg_catalog.pg_tablespace s ON s.oid = c.reltablespace \
             LEFT JOIN pg_catalog.pg_index i ON i.indexrelid = c.oid \
             WHERE c.relkind IN ('r', 'p', 'm', 'i', 'I') AND {USER_SCHEMA} \
               AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_depend d \
                               WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.deptype = 'e' \
                                 AND d.objid = coalesce(i.indrelid, c.oid)) \
             ORDER BY n.nspname::text COLLATE \"C\", c.relname::text COLLATE \"C\""
        ),
    )
    .await?;
    let placed = rows.iter().map(|row| Placed {
        name: TableName::new(row.get::<_, &str>(0), row.get::<_, &str>(1)),
        kind: match row.get(2) {
            "i" | "I" => PlacedKind::Index,
            "m" => PlacedKind::MaterializedView,
            _ => PlacedKind::Table,
        },
        tablespace: row.get(3),
    });
    Ok(placed.collect())
}

/// What functions set for themselves, but those of extensions.
async fn function_settings(connection: &Connection) -> Result<Vec<FunctionSetting>, Error> {
    let rows = query::rows(
        connection,
        "list what functions set",
        &format!(
            "SELECT p.oid::regprocedure::text, c.setting \
             FROM pg_catalog.pg_proc p \
             JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace, \
                  LATERAL unnest(p.proconfig) WITH ORDINALITY AS c(setting, position) \
             WHERE {USER_SCHEMA} \
               AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_depend d \
                               WHERE d.classid = 'pg_catalog.pg_proc'::regclass AND d.objid = p.oid \
                                 AND d.deptype = 'e') \
             ORDER BY p.oid::regprocedure::text COLLATE \"C\", c.position"
        ),
    )
    .await?;
    let setting = |row: &Row| {
        let (name, value) = row.get::<_, &str>(1).split_once('=')?;
        Some(FunctionSetting {
            function: row.get(0),
            name: name.to_owned(),
            value: value.to_owned(),
        })
    };
    Ok(rows.iter().filter_map(setting).collect())
}

/// Partitions of tables that are split by the hash of an enum, each with the topmost of these. The hash is that of the
/// value's object id, so another server puts rows elsewhere; pg_dump asks the same (`getPartitioningInfo`).
async fn hashed_by_enum(connection: &Connection) -> Result<BTreeMap<TableName, TableName>, Error> {
    let rows = query::rows(
        connection,
        "list the partitions by the hash of an enum",
        "WITH RECURSIVE tree AS ( \
             SELECT partrelid AS root, partrelid AS part, 0 AS depth FROM pg_catalog.pg_partitioned_table \
             WHERE partstrat = 'h' \
               AND (SELECT o.oid FROM pg_catalog.pg_opclass o JOIN pg_catalog.pg_am a ON a.oid = o.opcmethod \
                    WHERE o.opcname = 'enum_ops' AND o.opcnamespace = 'pg_catalog'::regnamespace \
                      AND a.amname = 'hash') = ANY (partclass) \
             UNION ALL \
             SELECT t.root, i.inhrelid, t.depth + 1 FROM tree t \
             JOIN pg_catalog.pg_inherits i ON i.inhparent = t.part) \
         SELECT DISTINCT ON (t.part) n.nspname::text, c.relname::text, rn.nspname::text, r.relname::text \
         FROM tree t \
         JOIN pg_catalog.pg_class c ON c.oid = t.part JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         JOIN pg_catalog.pg_class r ON r.oid = t.root JOIN pg_catalog.pg_namespace rn ON rn.oid = r.relnamespace \
         WHERE c.relkind = 'r' ORDER BY t.part, t.depth DESC",
    )
    .await?;
    let name = |row: &Row, column: usize| TableName {
        schema: row.get(column),
        name: row.get(column + 1),
    };
    Ok(rows
        .iter()
        .map(|row| (name(row, 0), name(row, 2)))
        .collect())
}

/// Tables with an index that a delayed load would drop.
async fn indexed_tables(connection: &Connection) -> Result<Vec<TableName>, Error> {
    let rows = query::rows(
        connection,
        "list the tables with secondary indexes",
        &format!(
            "SELECT DISTINCT n.nspname::text, t.relname::text FROM pg_catalog.pg_index x \
             JOIN pg_catalog.pg_class i ON i.oid = x.indexrelid \
             JOIN pg_catalog.pg_class t ON t.oid = x.indrelid AND t.relkind = 'r' \
             JOIN pg_catalog.pg_namespace n ON n.oid = t.relnamespace \
             WHERE {} AND {USER_SCHEMA} ORDER BY 1, 2",
            super::delayed::DROPPABLE
        ),
    )
    .await?;
    Ok(rows
        .iter()
        .map(|row| TableName {
            schema: row.get(0),
            name: row.get(1),
        })
        .collect())
}

/// Triggers that fire in sessions of replicas too.
async fn always_triggers(connection: &Connection) -> Result<Vec<TableTrigger>, Error> {
    let rows = query::rows(
        connection,
        "list the triggers that fire always",
        &format!(
            "SELECT n.nspname::text, t.relname::text, g.tgname::text FROM pg_catalog.pg_trigger g \
             JOIN pg_catalog.pg_class t ON t.oid = g.tgrelid AND t.relkind = 'r' \
             JOIN pg_catalog.pg_namespace n ON n.oid = t.relnamespace \
             WHERE NOT g.tgisinternal AND g.tgenabled IN ('A', 'R') AND {USER_SCHEMA} ORDER BY 1, 2, 3"
        ),
    )
    .await?;
    Ok(rows
        .iter()
        .map(|row| TableTrigger {
            table: TableName {
                schema: row.get(0),
                name: row.get(1),
            },
            name: row.get(2),
        })
        .collect())
}

/// Event triggers that fire in ordinary sessions.
async fn event_triggers(connection: &Connection) -> Result<Vec<EventTrigger>, Error> {
    let rows = query::rows(
        connection,
        "list the event triggers",
        "SELECT evtname::text, evtevent::text FROM pg_catalog.pg_event_trigger \
         WHERE evtenabled IN ('O', 'A') ORDER BY evtname::text COLLATE \"C\"",
    )
    .await?;
    Ok(rows
        .iter()
        .map(|row| EventTrigger {
            name: row.get(0),
            event: row.get(1),
        })
        .collect())
}

/// Indexes that a delayed load would drop, were they not attached.
async fn attached_indexes(connection: &Connection) -> Result<Vec<AttachedIndex>, Error> {
    let rows = query::rows(
        connection,
        "list the indexes of partitions",
        &format!(
            "SELECT n.nspname::text, t.relname::text, i.relname::text, pn.nspname::text, p.relname::text \
             FROM pg_catalog.pg_inherits h \
             JOIN pg_catalog.pg_index x ON x.indexrelid = h.inhrelid \
             JOIN pg_catalog.pg_class i ON i.oid = h.inhrelid AND i.relkind = 'i' \
             JOIN pg_catalog.pg_class t ON t.oid = x.indrelid \
             JOIN pg_catalog.pg_namespace n ON n.oid = t.relnamespace \
             JOIN pg_catalog.pg_class p ON p.oid = h.inhparent \
             JOIN pg_catalog.pg_namespace pn ON pn.oid = p.relnamespace \
             WHERE NOT x.indisunique AND NOT x.indisexclusion AND NOT x.indisreplident AND {USER_SCHEMA} \
             ORDER BY n.nspname::text COLLATE \"C\", i.relname::text COLLATE \"C\""
        ),
    )
    .await?;
    Ok(rows
        .iter()
        .map(|row| AttachedIndex {
            table: TableName {
                schema: row.get(0),
                name: row.get(1),
            },
            name: row.get(2),
            parent: TableName {
                schema: row.get(3),
                name: row.get(4),
            },
        })
        .collect())
}

/// `pg_class.relkind` (PostgreSQL manual, 52.11) of the kinds that the query selects.
pub(crate) fn kind(relkind: &str) -> RelationKind {
    match relkind {
        "p" => RelationKind::PartitionedTable,
        "f" => RelationKind::ForeignTable,
        "m" => RelationKind::MaterializedView,
        _ => RelationKind::Table,
    }
}

/// `reltuples` is −1 for a table that was never analyzed; before 14 it is 0, as for an empty table.
fn estimate(tuples: f32, major: u32) -> Option<u64> {
    let unknown = tuples < 0.0 || (major < 1400 && tuples == 0.0);
    (!unknown).then_some(tuples as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_that_was_never_analyzed_has_no_estimate() {
        assert_eq!(estimate(-1.0, 1800), None);
        assert_eq!(estimate(0.0, 1300), None);
        assert_eq!(estimate(0.0, 1400), Some(0));
        assert_eq!(estimate(42.0, 905), Some(42));
    }
}
