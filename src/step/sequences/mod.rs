//! Sequences of the target that stand behind the rows: those of the regular dump, where clients of the source set them back
//! before pg_dump read them; and those of a later snapshot, which the regular dump brought as they stood before the rows
//! that come now.

mod moves;
mod set_back;
mod used;

pub(super) use set_back::{before_move, in_several_rows, set_back};
pub(super) use used::{advance_to_rows, made};

use std::borrow::Cow;
use std::collections::HashMap;

use moves::{action, advance_one, counting, open, quoted};
use used::of_tables;

use crate::inspect::{Sequence, sequences};
use crate::names::{MadeSequence, SequenceValue, TableName};
use crate::plan::Side;
use crate::postgres::{Connection, escape_control};
use crate::step::{Context, StepError};

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

async fn on_source(context: &Context) -> Result<Vec<SequenceValue>, StepError> {
    let connection = context.connect(Side::Source).await?;
    let found = sequences(&connection).await?;
    connection.close().await;
    Ok(found.into_iter().map(|sequence| sequence.value).collect())
}
