//! Sequences that columns of the delayed tables use.

use std::collections::{BTreeSet, HashSet};

use super::moves::{advance_one, counting, open};
use crate::names::{MadeSequence, SequenceValue, TableName};
use crate::postgres::{Connection, escape_control, quote_identifier};
use crate::step::{Context, StepError};

/// Sequences that columns of the delayed tables use on the target, and that the source does not have so: a client put them into the
/// places of others. Once the rows are there, these are moved on to the largest value of the column (the smallest, where they count
/// down). Yields which, a line each.
pub(in crate::step) async fn advance_to_rows(context: &Context) -> Result<Vec<String>, StepError> {
    let dump = context.delayed_dump()?;
    let Some(of_source) = (match dump.is_later() {
        true => dump.sequences.as_ref(),
        false => Some(&context.regular_dump()?.sequences),
    }) else {
        return Ok(Vec::new());
    };
    let made = context.restored().map(|made| &made.sequences);
    let connection = open(context).await?;
    let mut said = Vec::new();
    for used in used_by(&connection, &context.delayed_tables()).await? {
        let of_name = SequenceValue {
            schema: used.sequence.schema.clone(),
            sequence: used.sequence.name.clone(),
            last: 0,
            is_called: true,
        };
        let is_of_source = of_source.iter().any(|one| one.name() == of_name.name());
        let is_moved = match made {
            None => is_of_source,
            Some(made) => made.iter().any(|made| {
                made.oid == used.oid
                    && made.gave_to(&used.table, &used.column)
                    && (is_of_source || made.sequence != used.sequence)
            }),
        };
        if is_moved {
            continue;
        }
        said.extend(used.advance(&connection, &of_name).await?);
    }
    connection.close().await;
    Ok(said
        .iter()
        .map(|line| escape_control(line).into_owned())
        .collect())
}

/// The sequences of the restored database that the delayed tables use, and those of no table.
pub(in crate::step) async fn made(
    connection: &Connection,
    tables: &BTreeSet<TableName>,
) -> Result<Vec<MadeSequence>, StepError> {
    let names = of_tables(connection, tables).await?;
    let used = used_by(connection, tables).await?;
    let (schemas, names): (Vec<String>, Vec<String>) = names
        .into_iter()
        .map(|name| (name.schema, name.name))
        .unzip();
    let rows = connection
        .query(
            "SELECT n.nspname::text, s.relname::text, s.oid FROM pg_catalog.pg_class s \
             JOIN pg_catalog.pg_namespace n ON n.oid = s.relnamespace \
             WHERE s.relkind = 'S' AND (n.nspname::text, s.relname::text) IN (SELECT * FROM unnest($1::text[], $2::text[])) \
             ORDER BY n.nspname::text COLLATE \"C\", s.relname::text COLLATE \"C\"",
            &[&schemas, &names],
        )
        .await
        .map_err(connection.failed("read which sequences the delayed tables use"))?;
    let made = rows.iter().map(|row| MadeSequence {
        sequence: TableName::new(row.get::<_, &str>(0), row.get::<_, &str>(1)),
        oid: row.get(2),
        used_by: used
            .iter()
            .filter(|used| used.oid == row.get::<_, u32>(2))
            .map(|used| (used.table.clone(), used.column.clone()))
            .collect(),
    });
    Ok(made.collect())
}

/// A sequence that a column gets its values of.
pub(super) struct Used {
    oid: u32,
    pub(super) sequence: TableName,
    pub(super) table: TableName,
    pub(super) column: String,
    /// The column has whole numbers, as the sequence gave them out.
    pub(super) is_plain: bool,
    /// No two rows have the same.
    pub(super) is_unique: bool,
    lowest: i64,
    highest: i64,
    /// The table's owner may count on it by himself.
    is_owners: bool,
}

/// Of these tables, and of those that they are partitions or children of.
pub(super) async fn used_by(
    connection: &Connection,
    tables: &BTreeSet<TableName>,
) -> Result<Vec<Used>, StepError> {
    let names: Vec<String> = tables.iter().map(TableName::quoted).collect();
    let rows = connection
        .query(
            "WITH RECURSIVE delayed (oid) AS ( \
                 SELECT pg_catalog.to_regclass(name)::oid FROM unnest($1::text[]) AS name \
                 UNION SELECT i.inhparent FROM delayed JOIN pg_catalog.pg_inherits i ON i.inhrelid = delayed.oid), \
             used (sequence, relation, number) AS ( \
                 SELECT d.objid, d.refobjid, d.refobjsubid FROM pg_catalog.pg_depend d \
                 WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass \
                   AND d.refobjsubid > 0 AND d.deptype IN ('a', 'i') \
                 UNION SELECT d.refobjid, f.adrelid, f.adnum::int FROM pg_catalog.pg_depend d \
                 JOIN pg_catalog.pg_attrdef f ON f.oid = d.objid \
                 WHERE d.classid = 'pg_catalog.pg_attrdef'::pg_catalog.regclass \
                   AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass) \
             SELECT s.oid, n.nspname::text, s.relname::text, tn.nspname::text, t.relname::text, a.attname::text, \
                    a.atttypid IN ('int2'::pg_catalog.regtype, 'int4'::pg_catalog.regtype, 'int8'::pg_catalog.regtype) \
                    AND coalesce(pg_catalog.pg_get_expr(f.adbin, f.adrelid) ~ '^\\(?nextval\\([^()]*\\)\\)?(::[a-z]+)?$', true), \
                    q.seqmin, q.seqmax, pg_catalog.has_sequence_privilege(t.relowner, s.oid, 'USAGE, UPDATE'), \
                    EXISTS (SELECT FROM pg_catalog.pg_index x WHERE x.indrelid = t.oid AND x.indisunique AND x.indisvalid \
                              AND x.indpred IS NULL AND x.indnatts = 1 AND x.indkey[0] = a.attnum) \
             FROM used JOIN pg_catalog.pg_class s ON s.oid = used.sequence AND s.relkind = 'S' \
             JOIN pg_catalog.pg_sequence q ON q.seqrelid = s.oid AND NOT q.seqcycle \
             JOIN pg_catalog.pg_namespace n ON n.oid = s.relnamespace \
             JOIN pg_catalog.pg_class t ON t.oid = used.relation AND t.relkind IN ('r', 'p') \
             JOIN pg_catalog.pg_namespace tn ON tn.oid = t.relnamespace \
             JOIN pg_catalog.pg_attribute a ON a.attrelid = t.oid AND a.attnum = used.number \
             LEFT JOIN pg_catalog.pg_attrdef f ON f.adrelid = t.oid AND f.adnum = a.attnum \
             WHERE used.relation IN (SELECT oid FROM delayed) \
             ORDER BY n.nspname::text COLLATE \"C\", s.relname::text COLLATE \"C\", t.oid, a.attnum",
            &[&names],
        )
        .await
        .map_err(connection.failed("look for the sequences that the delayed tables use"))?;
    let name = |schema: &str, name: &str| TableName::new(schema, name);
    let used = rows.iter().map(|row| Used {
        oid: row.get(0),
        sequence: name(row.get(1), row.get(2)),
        table: name(row.get(3), row.get(4)),
        column: row.get(5),
        is_plain: row.get(6),
        lowest: row.get(7),
        highest: row.get(8),
        is_owners: row.get(9),
        is_unique: row.get(10),
    });
    Ok(used.collect())
}

impl Used {
    /// Moves it on to the column's values. What a person should know of that.
    async fn advance(
        &self,
        connection: &Connection,
        of_name: &SequenceValue,
    ) -> Result<Option<String>, StepError> {
        let (sequence, table, column) = (&self.sequence, &self.table, &self.column);
        let what = format!("the sequence {sequence}, which the column {column} of {table} uses");
        // His defaults may name any.
        if !self.is_owners {
            return Ok(Some(format!(
                "{what}, is not the one of the source, and the owner of the table may not use it, so it was not moved: where it is meant, \
                 setval it to the largest value there"
            )));
        }
        if !self.is_plain {
            return Ok(Some(format!(
                "{what}, is not the one of the source: whether it stands behind the rows is not known, look at it"
            )));
        }
        let Some(counting) = counting(connection, of_name).await? else {
            return Ok(None);
        };
        let (extreme, word) = match counting.increment > 0 {
            true => ("max", "largest"),
            false => ("min", "smallest"),
        };
        let column = quote_identifier(column);
        let row = connection
            .query_one(
                &format!("SELECT {extreme}({column})::int8 FROM {}", table.quoted()),
                &[],
            )
            .await
            .map_err(connection.failed(format!(
                "look for the {word} {column} of {}",
                table.quoted()
            )))?;
        let Some(last) = row.get::<_, Option<i64>>(0) else {
            return Ok(None);
        };
        if last < self.lowest || last > self.highest {
            return Ok(Some(format!(
                "{what}, is not the one of the source, and cannot go on after {last}, the {word} value there: its limits are {} and {}",
                self.lowest, self.highest
            )));
        }
        let wanted = SequenceValue {
            last,
            ..of_name.clone()
        };
        let is_moved = advance_one(connection, &wanted, &counting).await?;
        Ok(is_moved.then(|| {
            format!("{what}, is not the one of the source: it was moved on to {last}, the {word} value there")
        }))
    }
}

/// The sequences that these tables, or tables that they are partitions or children of, own or read by default, and those that no table
/// names: a trigger may read one for them.
pub(super) async fn of_tables(
    connection: &Connection,
    tables: &BTreeSet<TableName>,
) -> Result<HashSet<TableName>, StepError> {
    let names: Vec<String> = tables.iter().map(TableName::quoted).collect();
    let rows = connection
        .query(
            "WITH RECURSIVE delayed (oid) AS ( \
                 SELECT pg_catalog.to_regclass(name)::oid FROM unnest($1::text[]) AS name \
                 UNION SELECT i.inhparent FROM delayed JOIN pg_catalog.pg_inherits i ON i.inhrelid = delayed.oid), \
             used (sequence, by) AS ( \
                 SELECT d.objid, d.refobjid FROM pg_catalog.pg_depend d \
                 JOIN pg_catalog.pg_class c ON c.oid = d.refobjid AND c.relkind IN ('r', 'p', 'f') \
                 WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass \
                 UNION ALL SELECT d.refobjid, f.adrelid FROM pg_catalog.pg_depend d \
                 JOIN pg_catalog.pg_attrdef f ON f.oid = d.objid \
                 WHERE d.classid = 'pg_catalog.pg_attrdef'::pg_catalog.regclass \
                   AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass) \
             SELECT n.nspname::text, s.relname::text FROM pg_catalog.pg_class s \
             JOIN pg_catalog.pg_namespace n ON n.oid = s.relnamespace \
             WHERE s.relkind = 'S' AND (s.oid IN (SELECT sequence FROM used WHERE by IN (SELECT oid FROM delayed)) \
                                        OR s.oid NOT IN (SELECT sequence FROM used))",
            &[&names],
        )
        .await
        .map_err(connection.failed("look for the sequences of the delayed tables"))?;
    let names = rows.iter();
    Ok(names
        .map(|row| TableName::new(row.get::<_, &str>(0), row.get::<_, &str>(1)))
        .collect())
}
