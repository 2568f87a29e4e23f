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
}

impl Sequence {
    /// Whether it was set back since it was `before`, or may have been. One that cycles may as well have come round to where it stands.
    pub(crate) fn was_set_back_since(&self, before: &Sequence) -> bool {
        self.file != before.file || !self.cycles && self.is_behind(before)
    }

    /// Whether it stands before the place where `before` stood.
    pub(crate) fn is_behind(&self, before: &Sequence) -> bool {
        let (then, now) = (
            before.value.given_out(self.increment),
            self.value.given_out(self.increment),
        );
        (now - then) * i128::from(self.increment.signum()) < 0
    }
}

/// Every sequence that a dump takes and our role may read, by name. A standby cannot read one that is unlogged.
pub(crate) async fn sequences(connection: &Connection) -> Result<Vec<Sequence>, Error> {
    let is_old = connection.version().major() < 1000;
    let rows = query::rows(
        connection,
        "list the sequences",
        &format!(
            "SELECT n.nspname::text, c.relname::text, c.oid, c.relpersistence = 'u' FROM pg_catalog.pg_class c \
             JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
             WHERE c.relkind = 'S' AND {USER_SCHEMA} \
               AND has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT') \
               AND NOT (c.relpersistence = 'u' AND pg_is_in_recovery()) \
               AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d \
                               WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = c.oid \
                                 AND d.objsubid = 0 AND d.deptype = 'e' \
                                 AND NOT EXISTS (SELECT FROM pg_catalog.pg_extension e \
                                                 WHERE c.oid = ANY (e.extconfig))) \
             ORDER BY n.nspname::text COLLATE \"C\", c.relname::text COLLATE \"C\""
        ),
    )
    .await?;
    let names: Vec<(TableName, u32, bool)> = rows
        .iter()
        .map(|row| {
            let name = TableName::new(row.get::<_, String>(0), row.get::<_, String>(1));
            (name, row.get(2), row.get(3))
        })
        .collect();
    let mut sequences = Vec::with_capacity(names.len());
    for names in names.chunks(AT_A_TIME) {
        let queries = names.iter().enumerate();
        let queries: Vec<String> = queries
            .map(|(number, (name, oid, _))| reading(number, name, *oid, is_old))
            .collect();
        let rows = query::rows(
            connection,
            "read the sequences",
            &queries.join(" UNION ALL "),
        )
        .await?;
        for row in &rows {
            let number: i32 = row.get(0);
            let (name, _, is_unlogged) = &names[number as usize];
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
                file: row.get(5),
            });
        }
    }
    Ok(sequences)
}

/// The query of one sequence; until 9.6 it says of itself what it is.
fn reading(number: usize, name: &TableName, oid: u32, is_old: bool) -> String {
    let name = name.quoted();
    let (columns, catalog) = if is_old {
        ("s.increment_by, s.is_cycled", String::new())
    } else {
        (
            "q.seqincrement, q.seqcycle",
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
