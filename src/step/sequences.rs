//! Sequences of the target that stand behind the rows: those of the regular dump, where clients of the source set them back
//! before pg_dump read them; and those of a later snapshot, which the regular dump brought as they stood before the rows
//! that come now.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap, HashSet};

use crate::inspect::{Sequence, sequences};
use crate::names::{MadeSequence, SequenceValue, TableName, some_of};
use crate::plan::Side;
use crate::postgres::{Connection, escape_control, quote_identifier};
use crate::step::{Context, StepError};

/// From so many values on, a sequence is set and not counted on. So many that no client takes them between the look and
/// the change, which are one statement.
const LEAST_JUMP: i128 = 1000;

/// Moves sequences to where they stood on the source when the delayed tables were dumped, before their rows are there: no client
/// gets a key that one of them has. None is ever moved back. Of a later snapshot that is every sequence; of the regular one, which
/// the restore brought as they stood then, those of the delayed tables: a client, or a script after the restore, may have set them to
/// what the tables held without their rows. What clients set of another table's is theirs.
///
/// Yields what a person should know of those that are not there, a line each. A client may have given one another name, or have
/// put another into its place: the first is moved on under its new name, of the second [`advance_to_rows`] knows.
pub(super) async fn advance_for_delayed(context: &Context) -> Result<Vec<String>, StepError> {
    let dump = context.delayed_dump()?;
    let wanted = match &dump.sequences {
        _ if !dump.is_later() => Cow::Borrowed(&context.regular_dump()?.sequences),
        Some(sequences) => Cow::Borrowed(sequences),
        // Where they stand now, they are not behind the rows either.
        None => Cow::Owned(on_source(context).await?),
    };
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let connection = open(context).await?;
    let made = context.restored().map_or(&[][..], |made| &made.sequences);
    let of_delayed = match dump.is_later() {
        true => None,
        false => Some(of_tables(&connection, &context.delayed_tables()).await?),
    };
    let now = names_now(&connection, made).await?;
    let mut said = Vec::new();
    for sequence in wanted.iter() {
        let name = TableName::new(&*sequence.schema, &*sequence.sequence);
        let of_restore = made.iter().find(|made| made.sequence == name);
        let is_meant = of_delayed.as_ref().is_none_or(|of| of.contains(&name));
        let renamed = of_restore
            .and_then(|made| now.get(&made.oid))
            .filter(|now| **now != name);
        if let Some(now) = renamed {
            let renamed = SequenceValue {
                schema: now.schema.clone(),
                sequence: now.name.clone(),
                ..sequence.clone()
            };
            if let Some(counting) = counting(&connection, &renamed).await? {
                advance_one(&connection, &renamed, &counting).await?;
            }
            said.push(format!(
                "the sequence {name} is called {now} on the target now: it goes on under that name after the values that the \
                 source gave out"
            ));
        }
        if is_meant && let Some(counting) = counting(&connection, sequence).await? {
            advance_one(&connection, sequence, &counting).await?;
        } else if renamed.is_none()
            && (is_meant || of_restore.is_some())
            && counting(&connection, sequence).await?.is_none()
        {
            said.push(format!(
                "the sequence {name} of the source is not on the target: what the source gave out of it, the target does not know"
            ));
        }
    }
    connection.close().await;
    Ok(said
        .iter()
        .map(|line| escape_control(line).into_owned())
        .collect())
}

/// Those that gave out values on both servers, to clients of each, after the regular dump and before a later one: what a value stands for on
/// one server is not what it stands for on the other. Before any is moved on.
pub(super) async fn given_out_twice(context: &Context) -> Result<Option<String>, StepError> {
    let dump = context.delayed_dump()?;
    let stood = context.restored().map_or(&[][..], |made| &made.stood);
    let later = dump.sequences.as_ref().filter(|_| dump.is_later());
    let (Some(later), false) = (later, stood.is_empty()) else {
        return Ok(None);
    };
    let connection = open(context).await?;
    let stood: HashMap<_, _> = stood.iter().map(|one| (one.name(), one)).collect();
    let mut twice = Vec::new();
    for source in later {
        let Some(before) = stood.get(&source.name()) else {
            continue;
        };
        let Some(counting) = counting(&connection, source).await? else {
            continue;
        };
        let by = counting.increment;
        let ahead = |value: i128| (value - before.given_out(by)) * i128::from(by.signum()) > 0;
        let target = SequenceValue {
            last: counting.last,
            is_called: counting.is_called,
            ..source.clone()
        };
        let (here, there) = (source.given_out(by), target.given_out(by));
        if !counting.cycles && ahead(here) && ahead(there) {
            twice.push(format!(
                "{} (after {}: up to {here} on the source, up to {there} on the target)",
                TableName::new(&*source.schema, &*source.sequence),
                before.given_out(by)
            ));
        }
    }
    connection.close().await;
    Ok((!twice.is_empty()).then(|| {
        format!(
            "database \"{}\": after the regular dump, clients of both servers were given values of the same sequences: {}; what refers to such a value in the \
             delayed rows was written for a row of the source, and the row of this number on the target may be another one; a number may \
             come twice where no key forbids it: compare the rows that have these values",
            context.shown_database(),
            escape_control(&some_of(&twice, 8))
        )
    }))
}

/// Sequences that columns of the delayed tables use on the target, and that the source does not have so: a client put them into the
/// places of others. Once the rows are there, these are moved on to the largest value of the column (the smallest, where they count
/// down). Yields which, a line each.
pub(super) async fn advance_to_rows(context: &Context) -> Result<Vec<String>, StepError> {
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
        let is_made = made.is_none_or(|made| made.iter().any(|made| made.oid == used.oid));
        let of_name = SequenceValue {
            schema: used.sequence.schema.clone(),
            sequence: used.sequence.name.clone(),
            last: 0,
            is_called: true,
        };
        let is_of_source = of_source.iter().any(|one| one.name() == of_name.name());
        let was_renamed = made.is_some_and(|made| {
            let mut made = made.iter();
            made.any(|made| made.oid == used.oid && made.sequence != used.sequence)
        });
        if is_made && (is_of_source || was_renamed) {
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
pub(super) async fn made(
    connection: &Connection,
    tables: &BTreeSet<TableName>,
) -> Result<Vec<MadeSequence>, StepError> {
    let names = of_tables(connection, tables).await?;
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
    });
    Ok(made.collect())
}

/// What they are called now, those that are there.
async fn names_now(
    connection: &Connection,
    made: &[MadeSequence],
) -> Result<HashMap<u32, TableName>, StepError> {
    let oids: Vec<u32> = made.iter().map(|made| made.oid).collect();
    let rows = connection
        .query(
            "SELECT s.oid, n.nspname::text, s.relname::text FROM pg_catalog.pg_class s \
             JOIN pg_catalog.pg_namespace n ON n.oid = s.relnamespace WHERE s.relkind = 'S' AND s.oid = ANY ($1)",
            &[&oids],
        )
        .await
        .map_err(connection.failed("read what sequences are called"))?;
    let names = rows.iter();
    Ok(names
        .map(|row| {
            (
                row.get(0),
                TableName::new(row.get::<_, &str>(1), row.get::<_, &str>(2)),
            )
        })
        .collect())
}

/// A sequence that a column gets its values of.
struct Used {
    oid: u32,
    sequence: TableName,
    table: TableName,
    column: String,
    /// The column has whole numbers, as the sequence gave them out.
    is_plain: bool,
    lowest: i64,
    highest: i64,
    /// The table's owner may count on it by himself.
    is_owners: bool,
}

/// Of these tables, and of those that they are partitions or children of.
async fn used_by(
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
                    q.seqmin, q.seqmax, pg_catalog.has_sequence_privilege(t.relowner, s.oid, 'USAGE, UPDATE') \
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

/// Moves what pg_dump found set back to where it stood when the snapshot was taken that the rows are of. Which, a line each. So it is
/// with one that cycles: where it came round since, none of the values that it gave out then is in these rows.
/// No client uses the database yet.
pub(super) async fn advance_restored(context: &Context) -> Result<Vec<String>, StepError> {
    let wanted = &context.regular_dump()?.sequences;
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let connection = open(context).await?;
    let found = sequences(&connection).await?;
    let found: HashMap<(&str, &str), &Sequence> = found
        .iter()
        .map(|found| (found.value.name(), found))
        .collect();
    let mut said = Vec::new();
    for sequence in wanted {
        let name = TableName::new(&*sequence.schema, &*sequence.sequence);
        let name = escape_control(&name.to_string()).into_owned();
        let found = found.get(&sequence.name());
        match found {
            Some(found) if found.value == *sequence => {}
            Some(found) => {
                // Where it counts rows of a configuration table, the extension's script made it, and no dump has set it.
                let is_scripted = found.extension.is_some();
                let Some(counting) = counting(&connection, sequence).await? else {
                    continue;
                };
                let is_moved = advance_one(&connection, sequence, &counting).await?;
                if is_moved && !is_scripted {
                    said.push(format!(
                        "the sequence {name} was set back to {}{} on the source after the snapshot was taken that its tables \
                         were dumped under: on the target it goes on after {}, where it stood then",
                        found.value.last,
                        if counting.cycles { ", or came round to it," } else { "" },
                        sequence.given_out(counting.increment)
                    ));
                }
            }
            None => said.push(format!(
                "the sequence {name} is not on the target, or its role may not read it: whether it stands behind the rows \
                 is not known"
            )),
        }
    }
    connection.close().await;
    Ok(said)
}

/// Moves unlogged sequences to where they stood on the source: a crash of the target sets them back to their start. Which, a line
/// each. No client uses the database yet.
pub(super) async fn advance_unlogged(context: &Context) -> Result<Vec<String>, StepError> {
    let mut said = Vec::new();
    // Version 0.1.0 did not write down where they stood.
    let Ok(dump) = context.regular_dump() else {
        return Ok(said);
    };
    let wanted = &dump.sequences;
    if wanted.is_empty() || context.shared.inspection.target.version.major() < 1500 {
        return Ok(said);
    }
    let connection = open(context).await?;
    let found = sequences(&connection).await?;
    let unlogged: HashMap<(&str, &str), &Sequence> = found
        .iter()
        .filter(|found| found.is_unlogged)
        .map(|found| (found.value.name(), found))
        .collect();
    for sequence in wanted {
        let Some(found) = unlogged.get(&sequence.name()) else {
            continue;
        };
        let was_moved = match counting(&connection, sequence).await? {
            // One that cycles is ahead of no other, and nobody has a value of it yet.
            Some(counting) if counting.cycles && found.value != *sequence => {
                let name = quoted(sequence);
                connection
                    .query(
                        "SELECT setval($1::text::regclass, $2, $3)",
                        &[&name, &sequence.last, &sequence.is_called],
                    )
                    .await
                    .map_err(connection.failed(action(&name)))?;
                true
            }
            Some(counting) => advance_one(&connection, sequence, &counting).await?,
            None => false,
        };
        if was_moved {
            let name = TableName::new(&*sequence.schema, &*sequence.sequence);
            said.push(format!(
                "the unlogged sequence {} had been set back to {} on the target since it was restored, as a crash of the target does: it \
                 was moved to where it stood on the source",
                escape_control(&name.to_string()),
                found.value.last
            ));
        }
    }
    connection.close().await;
    Ok(said)
}

async fn open(context: &Context) -> Result<Connection, StepError> {
    let session = context.session(Side::Target);
    super::ours::open(context, &session).await
}

async fn on_source(context: &Context) -> Result<Vec<SequenceValue>, StepError> {
    let connection = context.connect(Side::Source).await?;
    let found = sequences(&connection).await?;
    connection.close().await;
    Ok(found.into_iter().map(|sequence| sequence.value).collect())
}

/// The sequences that these tables, or tables that they are partitions or children of, own or read by default, and those that no table
/// names: a trigger may read one for them.
async fn of_tables(
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

/// How a sequence counts on the target.
struct Counting {
    last: i64,
    is_called: bool,
    increment: i64,
    cache: i64,
    cycles: bool,
}

/// What is to be done about a sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Move {
    Stay,
    /// So many times `nextval`, which never takes a value that a client had.
    CountOn(i64),
    /// `setval`.
    JumpTo(i64),
}

fn action(name: &str) -> String {
    format!("move the sequence {name} to where it stood on the source")
}

fn quoted(sequence: &SequenceValue) -> String {
    TableName::new(&*sequence.schema, &*sequence.sequence).quoted()
}

/// Whether it was moved.
async fn advance_one(
    connection: &Connection,
    wanted: &SequenceValue,
    now: &Counting,
) -> Result<bool, StepError> {
    let name = quoted(wanted);
    match next_move(wanted, now) {
        Move::Stay => return Ok(false),
        Move::CountOn(values) => {
            let sql =
                "SELECT count(nextval($1::text::regclass)) FROM generate_series(1::bigint, $2)";
            connection
                .query(sql, &[&name, &values])
                .await
                .map_err(connection.failed(action(&name)))?;
        }
        Move::JumpTo(value) => {
            let before = if now.increment > 0 { "<" } else { ">" };
            let sql = format!(
                "SELECT setval($1::text::regclass, $2) FROM {name} WHERE last_value {before} $2"
            );
            connection
                .query(&sql, &[&name, &value])
                .await
                .map_err(connection.failed(action(&name)))?;
        }
    }
    Ok(true)
}

/// `None`: the target has no such sequence. A client may have dropped it.
async fn counting(
    connection: &Connection,
    wanted: &SequenceValue,
) -> Result<Option<Counting>, StepError> {
    let name = quoted(wanted);
    let row = connection
        .query_opt(
            "SELECT seqincrement, seqcache, seqcycle FROM pg_catalog.pg_sequence WHERE seqrelid = to_regclass($1)",
            &[&name],
        )
        .await
        .map_err(connection.failed(action(&name)))?;
    let Some(row) = row else { return Ok(None) };
    let value = connection
        .query_one(&format!("SELECT last_value, is_called FROM {name}"), &[])
        .await
        .map_err(connection.failed(action(&name)))?;
    Ok(Some(Counting {
        last: value.get(0),
        is_called: value.get(1),
        increment: row.get(0),
        cache: row.get(1),
        cycles: row.get(2),
    }))
}

fn next_move(wanted: &SequenceValue, now: &Counting) -> Move {
    let source = wanted.given_out(now.increment);
    let target = SequenceValue {
        last: now.last,
        is_called: now.is_called,
        ..wanted.clone()
    }
    .given_out(now.increment);
    let ahead = (source - target) * i128::from(now.increment.signum());
    let Some(value) = i64::try_from(source).ok().filter(|_| ahead > 0) else {
        return Move::Stay;
    };
    let values = ahead / i128::from(now.increment.unsigned_abs().max(1));
    match i64::try_from(values) {
        Ok(few) if values < LEAST_JUMP * i128::from(now.cache.max(1)) => Move::CountOn(few),
        _ => Move::JumpTo(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moved(source: (i64, bool), target: (i64, bool), increment: i64) -> Move {
        let wanted = SequenceValue {
            schema: "public".into(),
            sequence: "s".into(),
            last: source.0,
            is_called: source.1,
        };
        let now = Counting {
            last: target.0,
            is_called: target.1,
            increment,
            cache: 1,
            cycles: false,
        };
        next_move(&wanted, &now)
    }

    #[test]
    fn a_sequence_is_never_moved_back() {
        assert_eq!(moved((600, true), (500, true), 1), Move::CountOn(100));
        assert_eq!(moved((6000, true), (500, true), 1), Move::JumpTo(6000));
        assert_eq!(moved((500, true), (500, true), 1), Move::Stay);
        assert_eq!(moved((500, true), (700, true), 1), Move::Stay);
        assert_eq!(moved((-600, true), (-500, true), -1), Move::CountOn(100));
        assert_eq!(moved((-500, true), (-600, true), -1), Move::Stay);
    }

    #[test]
    fn one_that_was_never_used_stands_before_its_first_value() {
        assert_eq!(moved((1, false), (1, false), 1), Move::Stay);
        assert_eq!(moved((1, true), (1, false), 1), Move::CountOn(1));
        assert_eq!(moved((1, false), (1, true), 1), Move::Stay);
        assert_eq!(moved((2000, false), (1, true), 1), Move::JumpTo(1999));
        let lowest = i64::MIN;
        assert_eq!(moved((lowest, false), (lowest, false), 1), Move::Stay);
    }
}
