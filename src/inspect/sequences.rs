//! Where the sequences of a database stand.

use super::query::{self, USER_SCHEMA};
use crate::names::{SequenceValue, TableName};
use crate::postgres::{Connection, Error};

/// Sequences that one query reads.
const AT_A_TIME: usize = 200;

/// A sequence, where it stands now. It does not go by snapshots: what is read is at least what any snapshot before it
/// shows, unless it was set back in between.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sequence {
    pub(crate) value: SequenceValue,
    pub(crate) increment: i64,
    /// ALTER SEQUENCE … RESTART gives it another.
    pub(crate) file: Option<u32>,
    /// Begins again at its end, so that no value is behind another.
    pub(crate) cycles: bool,
    /// A crash of its server sets it back to its start.
    pub(crate) is_unlogged: bool,
    /// Where it begins.
    pub(crate) start: i64,
    /// The extension that it belongs to and that did not mark it as its configuration: no dump brings along where it stands.
    pub(crate) extension: Option<String>,
}

impl Sequence {
    /// Whether it is not as CREATE SEQUENCE made it.
    pub(crate) fn is_used(&self) -> bool {
        self.value.is_called || self.value.last != self.start
    }

    /// Whether it was set back since it was `before`, or may have been. One that cycles may as well have come round to where it stands.
    pub(crate) fn was_set_back_since(&self, before: &Sequence) -> bool {
        self.file != before.file || !self.cycles && self.is_behind(before)
    }

    /// Whether it stands before the place where `before` stood, and so gives out values again.
    pub(crate) fn is_behind(&self, before: &Sequence) -> bool {
        let (then, now) = (
            before.value.given_out(self.increment),
            self.value.given_out(self.increment),
        );
        (now - then) * i128::from(self.increment.signum()) < 0
    }
}

/// A sequence of an extension that stays where the extension's script leaves it on the target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ScriptedSequence {
    pub(crate) name: TableName,
    pub(crate) extension: String,
    /// `None`: our role may not read it, or no standby can.
    pub(crate) sequence: Option<Sequence>,
}

/// Of a sequence `c` that belongs to the extension `e`: it gives values to a table that `e` marked as its configuration, by a
/// column that owns it or has it as its default.
const COUNTS_CONFIGURATION: &str = "\
    (EXISTS (SELECT FROM pg_catalog.pg_depend u \
             WHERE u.classid = 'pg_catalog.pg_class'::regclass AND u.objid = c.oid \
               AND u.refclassid = 'pg_catalog.pg_class'::regclass AND u.deptype IN ('a', 'i') \
               AND u.refobjid = ANY (e.extconfig)) \
     OR EXISTS (SELECT FROM pg_catalog.pg_depend u JOIN pg_catalog.pg_attrdef f ON f.oid = u.objid \
                WHERE u.classid = 'pg_catalog.pg_attrdef'::regclass \
                  AND u.refclassid = 'pg_catalog.pg_class'::regclass AND u.refobjid = c.oid \
                  AND f.adrelid = ANY (e.extconfig)))";

/// Whether our role may read the sequence `c`, and the server can: a standby cannot read one that is unlogged.
const IS_READABLE: &str = "\
    (has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT') \
     AND NOT (c.relpersistence = 'u' AND pg_is_in_recovery()))";

/// What a listing tells of a sequence.
struct Listed {
    name: TableName,
    oid: u32,
    extension: Option<String>,
    is_readable: bool,
    is_unlogged: bool,
}

/// Every sequence that a dump takes or whose rows it takes, and that our role may read, by name: those of users, those that an
/// extension marked as its configuration, and those that count the rows of its configuration tables, which no dump brings along.
/// A standby cannot read one that is unlogged.
pub(crate) async fn sequences(connection: &Connection) -> Result<Vec<Sequence>, Error> {
    let condition = format!(
        "{IS_READABLE} AND (e.oid IS NULL OR c.oid = ANY (e.extconfig) OR {COUNTS_CONFIGURATION})"
    );
    let listed = list(connection, &condition).await?;
    read(connection, &listed).await
}

/// Every other sequence of extensions, by name.
pub(crate) async fn scripted_sequences(
    connection: &Connection,
) -> Result<Vec<ScriptedSequence>, Error> {
    let condition = format!(
        "e.oid IS NOT NULL AND NOT c.oid = ANY (coalesce(e.extconfig, '{{}}')) AND NOT {COUNTS_CONFIGURATION}"
    );
    let listed = list(connection, &condition).await?;
    let (readable, others): (Vec<Listed>, Vec<Listed>) =
        listed.into_iter().partition(|listed| listed.is_readable);
    let scripted = |name, extension: Option<String>, sequence| ScriptedSequence {
        name,
        extension: extension.unwrap_or_default(),
        sequence,
    };
    let readable = read(connection, &readable).await?.into_iter();
    let readable = readable.map(|sequence| {
        let (schema, name) = sequence.value.name();
        let name = TableName::new(schema, name);
        scripted(name, sequence.extension.clone(), Some(sequence))
    });
    let others = others.into_iter();
    let others = others.map(|listed| scripted(listed.name, listed.extension, None));
    let mut all: Vec<ScriptedSequence> = readable.chain(others).collect();
    all.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(all)
}

/// The sequences `c` in `n` that may belong to the extension `e`, on a condition.
async fn list(connection: &Connection, condition: &str) -> Result<Vec<Listed>, Error> {
    let rows = query::rows(
        connection,
        "list the sequences",
        &format!(
            "SELECT n.nspname::text, c.relname::text, c.oid, \
                    CASE WHEN NOT c.oid = ANY (coalesce(e.extconfig, '{{}}')) THEN e.extname::text END, {IS_READABLE}, \
                    c.relpersistence = 'u' \
             FROM pg_catalog.pg_class c \
             JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
             LEFT JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = c.oid \
                  AND d.objsubid = 0 AND d.deptype = 'e' \
             LEFT JOIN pg_catalog.pg_extension e ON e.oid = d.refobjid \
             WHERE c.relkind = 'S' AND {USER_SCHEMA} AND {condition} \
             ORDER BY n.nspname::text COLLATE \"C\", c.relname::text COLLATE \"C\""
        ),
    )
    .await?;
    let listed = rows.iter().map(|row| Listed {
        name: TableName::new(row.get::<_, String>(0), row.get::<_, String>(1)),
        oid: row.get(2),
        extension: row.get(3),
        is_readable: row.get(4),
        is_unlogged: row.get(5),
    });
    Ok(listed.collect())
}

async fn read(connection: &Connection, listed: &[Listed]) -> Result<Vec<Sequence>, Error> {
    let is_old = connection.version().major() < 1000;
    let mut sequences = Vec::with_capacity(listed.len());
    for listed in listed.chunks(AT_A_TIME) {
        let queries = listed.iter().enumerate();
        let queries: Vec<String> = queries
            .map(|(number, listed)| reading(number, &listed.name, listed.oid, is_old))
            .collect();
        let rows = query::rows(
            connection,
            "read the sequences",
            &queries.join(" UNION ALL "),
        )
        .await?;
        for row in &rows {
            let number: i32 = row.get(0);
            let Listed {
                name,
                extension,
                is_unlogged,
                ..
            } = &listed[number as usize];
            sequences.push(Sequence {
                value: SequenceValue {
                    schema: name.schema.clone(),
                    sequence: name.name.clone(),
                    last: row.get(1),
                    is_called: row.get(2),
                },
                increment: row.get(3),
                cycles: row.get(4),
                is_unlogged: *is_unlogged,
                start: row.get(5),
                file: row.get(6),
                extension: extension.clone(),
            });
        }
    }
    Ok(sequences)
}

/// The query of one sequence; until 9.6 it says of itself what it is.
fn reading(number: usize, name: &TableName, oid: u32, is_old: bool) -> String {
    let name = name.quoted();
    let (columns, catalog) = if is_old {
        ("s.increment_by, s.is_cycled, s.start_value", String::new())
    } else {
        (
            "q.seqincrement, q.seqcycle, q.seqstart",
            format!(" JOIN pg_catalog.pg_sequence q ON q.seqrelid = {oid}"),
        )
    };
    format!(
        "SELECT {number}, s.last_value, s.is_called, {columns}, pg_catalog.pg_relation_filenode({oid}) FROM {name} s{catalog}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sequence(last: i64, increment: i64, file: u32) -> Sequence {
        Sequence {
            value: SequenceValue {
                schema: "public".into(),
                sequence: "s".into(),
                last,
                is_called: true,
            },
            increment,
            file: Some(file),
            cycles: false,
            is_unlogged: false,
            start: 1,
            extension: None,
        }
    }

    #[test]
    fn a_sequence_goes_back_by_its_direction_or_by_another_file() {
        let up = |last, file| sequence(last, 1, file);
        assert!(!up(7, 1).was_set_back_since(&up(7, 1)));
        assert!(!up(9, 1).was_set_back_since(&up(7, 1)));
        assert!(up(5, 1).was_set_back_since(&up(7, 1)));
        // Restarted, and counted on since.
        assert!(up(9, 2).was_set_back_since(&up(7, 1)));
        let down = |last| sequence(last, -1, 1);
        assert!(!down(-9).was_set_back_since(&down(-7)));
        assert!(down(-5).was_set_back_since(&down(-7)));
        let cycling = Sequence {
            cycles: true,
            ..up(1, 1)
        };
        assert!(!cycling.was_set_back_since(&up(7, 1)));
        assert!(cycling.is_behind(&up(7, 1)));
        assert!(cycling.was_set_back_since(&up(7, 2)));
    }
}
