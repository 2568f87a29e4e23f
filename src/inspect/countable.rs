//! The tables whose rows are compared.

use super::contents::kind;
use super::query::{self, USER_SCHEMA};
use crate::catalog::Version;
use crate::names::{RelationKind, TableName};
use crate::plan::Side;
use crate::postgres::{Connection, Error};

/// What the server has on record about the number of a table's rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Estimates {
    /// `pg_class.reltuples`, by the last ANALYZE, VACUUM or CREATE INDEX.
    Analyzed,
    /// The live rows that the cumulative statistics counted (PostgreSQL manual, 27.2).
    Loaded,
}

impl Estimates {
    /// A dump for 18 brings the source's `reltuples` along, so on such a target they prove nothing. What the
    /// load did there is in the counters.
    pub(super) fn for_side(side: Side, version: Version) -> Estimates {
        match side {
            Side::Target if version.major() >= 1800 => Estimates::Loaded,
            _ => Estimates::Analyzed,
        }
    }

    /// As `bigint`; NULL: unknown. Counters are lost in a crash, so zero means something for a file without a
    /// page alone.
    fn sql(self, major: u32) -> &'static str {
        match self {
            // -1 without an analysis; before 14 it was 0, as for an empty table.
            Estimates::Analyzed if major < 1400 => "nullif(c.reltuples, 0)::bigint",
            Estimates::Analyzed => "nullif(c.reltuples, -1)::bigint",
            Estimates::Loaded => {
                "CASE WHEN c.relkind NOT IN ('r', 'm') THEN NULL \
                      WHEN pg_relation_size(c.oid) = 0 THEN 0 \
                      ELSE nullif(pg_stat_get_live_tuples(c.oid), 0) END"
            }
        }
    }
}

/// A table, as far as counting goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Countable {
    pub name: TableName,
    pub kind: RelationKind,
    /// A materialized view that was never refreshed cannot be read.
    pub populated: bool,
    /// `None`: unknown, which is not the same as none.
    pub estimated_rows: Option<u64>,
    /// `WHERE …`: which rows are the user's, of an extension's configuration table (PostgreSQL manual,
    /// 36.17.3).
    pub condition: Option<String>,
    /// That extension, with its version.
    pub extension: Option<String>,
}

/// The tables of the connection's database whose data a dump takes: those of users, and those that an
/// extension marked as its configuration. What else belongs to an extension comes with it.
pub(super) async fn countable(
    connection: &Connection,
    estimates: Estimates,
) -> Result<Vec<Countable>, Error> {
    let estimate = estimates.sql(connection.version().major());
    let rows = query::rows(
        connection,
        "list the tables",
        &format!(
            "SELECT n.nspname::text, c.relname::text, c.relkind::text, c.relispopulated, {estimate}, \
                    e.condition, e.extension \
             FROM pg_catalog.pg_class c \
             JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
             LEFT JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_class'::regclass \
                  AND d.objid = c.oid AND d.objsubid = 0 AND d.deptype = 'e' \
             LEFT JOIN (SELECT unnest(extconfig) AS config, unnest(extcondition) AS condition, \
                               extname::text || ' ' || extversion AS extension \
                        FROM pg_catalog.pg_extension) e ON e.config = c.oid \
             WHERE c.relkind IN ('r', 'p', 'f', 'm') AND {USER_SCHEMA} \
               AND (d.objid IS NULL OR e.config IS NOT NULL)"
        ),
    )
    .await?;
    Ok(rows
        .iter()
        .map(|row| Countable {
            name: TableName {
                schema: row.get(0),
                name: row.get(1),
            },
            kind: kind(row.get(2)),
            populated: row.get(3),
            estimated_rows: row
                .get::<_, Option<i64>>(4)
                .and_then(|rows| u64::try_from(rows).ok()),
            condition: row.get(5),
            extension: row.get(6),
        })
        .collect())
}
