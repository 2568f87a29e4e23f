//! Sequences of the target that stand behind the rows: those of the regular dump, where clients of the source set them back
//! before pg_dump read them; and those of a later snapshot, which the regular dump brought as they stood before the rows
//! that come now.

mod set_back;
mod used;

pub(super) use set_back::{before_move, in_several_rows, set_back};
pub(super) use used::{advance_to_rows, made};

use std::borrow::Cow;
use std::collections::HashMap;

use used::of_tables;

use crate::inspect::{Sequence, sequences};
use crate::names::{MadeSequence, SequenceValue, TableName};
use crate::plan::Side;
use crate::postgres::{Connection, escape_control};
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
    let wanted = wanted(context).await?;
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

/// Where they stood on the source when the delayed tables were dumped.
async fn wanted(context: &Context) -> Result<Cow<'_, [SequenceValue]>, StepError> {
    let dump = context.delayed_dump()?;
    Ok(match &dump.sequences {
        _ if !dump.is_later() => Cow::Borrowed(&context.regular_dump()?.sequences),
        Some(sequences) => Cow::Borrowed(sequences),
        // Where they stand now, they are not behind the rows either.
        None => Cow::Owned(on_source(context).await?),
    })
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

/// How a sequence counts on the target.
struct Counting {
    last: i64,
    is_called: bool,
    increment: i64,
    cache: i64,
    cycles: bool,
}

impl Counting {
    fn given_out(&self) -> i128 {
        SequenceValue {
            schema: String::new(),
            sequence: String::new(),
            last: self.last,
            is_called: self.is_called,
        }
        .given_out(self.increment)
    }
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
    let ahead = (source - now.given_out()) * i128::from(now.increment.signum());
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
