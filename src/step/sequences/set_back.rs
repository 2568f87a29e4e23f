//! Numbers that both servers gave out: to clients of each, or again, because a sequence was set back.

use std::collections::HashMap;

use super::moves::{Move, counting, next_move, open};
use super::used::{of_tables, used_by};
use super::wanted;
use crate::journal::Change;
use crate::names::{BeforeMove, SequenceValue, TableName, some_of};
use crate::postgres::{escape_control, quote_identifier};
use crate::step::{Context, StepError};

/// Sequences that are named.
const NAMED: usize = 8;

/// What is to be known before the sequences are moved on, which is put on record: from then on, what stands further on tells nothing of
/// clients.
pub(in crate::step) async fn before_move(context: &Context) -> Result<BeforeMove, StepError> {
    let stood = context.restored().map_or(&[][..], |made| &made.stood);
    let mut found = set_back_since(context, stood).await?;
    let known = match &context.before_move {
        Some(known) => known.clone(),
        None => {
            found.told.extend(given_out_twice(context).await?);
            BeforeMove::default()
        }
    };
    let all = together(&known, found);
    // The mark of what was written may be one of after the first time.
    if context.before_move.is_none() || context.restored.is_some() || all != known {
        record(context, &all).await?;
    }
    Ok(all)
}

/// What was known, and which of those that were moved on do not stand there any more, which is put on record before they are moved on
/// again.
pub(in crate::step) async fn set_back(
    context: &Context,
    known: &BeforeMove,
) -> Result<BeforeMove, StepError> {
    let found = set_back_since(context, &wanted(context).await?).await?;
    let all = together(known, found);
    if all != *known {
        record(context, &all).await?;
    }
    Ok(all)
}

async fn record(context: &Context, found: &BeforeMove) -> Result<(), StepError> {
    context
        .record(Change::MoveSequences {
            database: context.database_name().to_owned(),
            found: found.clone(),
        })
        .await
}

/// All that was found, each once.
fn together(known: &BeforeMove, found: BeforeMove) -> BeforeMove {
    let mut all = known.clone();
    for told in found.told {
        if !all.told.contains(&told) {
            all.told.push(told);
        }
    }
    for sequence in found.set_back {
        if !all.set_back.contains(&sequence) {
            all.set_back.push(sequence);
        }
    }
    all
}

/// Those of the delayed tables, and of no table, that stand before the place where they stood then. One that cycles may have come round.
async fn set_back_since(
    context: &Context,
    then: &[SequenceValue],
) -> Result<BeforeMove, StepError> {
    let mut found = BeforeMove::default();
    if then.is_empty() {
        return Ok(found);
    }
    let connection = open(context).await?;
    let of_delayed = of_tables(&connection, &context.delayed_tables()).await?;
    let mut shown = Vec::new();
    for then in then {
        let name = TableName::new(&*then.schema, &*then.sequence);
        if !of_delayed.contains(&name) {
            continue;
        }
        let Some(now) = counting(&connection, then).await? else {
            continue;
        };
        if !now.cycles && next_move(then, &now) != Move::Stay {
            let given_out = then.given_out(now.increment);
            shown.push(format!(
                "{name} (at {}, after {given_out})",
                now.given_out()
            ));
            found.set_back.push(name);
        }
    }
    connection.close().await;
    if !shown.is_empty() {
        found.told.push(format!(
            "database \"{}\": before the delayed rows were there, sequences were set back on the target, or made again: {}; they go on \
             after what the source gave out, and what clients got of them since may be in the delayed rows as well: look whether what \
             refers to such a number means the client's row or the source's, and let no application set a sequence by the rows that are \
             there until the run has ended",
            context.shown_database(),
            escape_control(&some_of(&shown, NAMED))
        ));
    }
    Ok(found)
}

/// Columns in which loaded rows and others have the same number of these sequences, and that no unique key keeps from it, each with its
/// table. That several rows of the source have one is nothing of the target's; a loaded row that a client changed since is another.
pub(in crate::step) async fn in_several_rows(
    context: &Context,
    set_back: &[TableName],
) -> Result<Vec<(TableName, String)>, StepError> {
    let mut found = Vec::new();
    if set_back.is_empty() {
        return Ok(found);
    }
    // Rows bear the low half of the number of the transaction that wrote them (PostgreSQL manual, 5.6 "System Columns").
    let loads = context.loads.iter();
    let loads = loads.map(|load| (load.transaction & 0xffff_ffff).to_string());
    let loads: Vec<String> = loads.collect();
    let is_loaded = format!("xmin = ANY ('{{{}}}'::xid[])", loads.join(","));
    let connection = open(context).await?;
    for used in used_by(&connection, &context.delayed_tables()).await? {
        // Operators of other types may be anybody's.
        if used.is_unique || !used.is_plain || !set_back.contains(&used.sequence) {
            continue;
        }
        let (table, column) = (used.table.quoted(), quote_identifier(&used.column));
        let sql = format!(
            "SELECT count(*) FROM (SELECT FROM {table} WHERE {column} IS NOT NULL GROUP BY {column} \
                 HAVING bool_or({is_loaded}) AND NOT bool_and({is_loaded})) AS several"
        );
        let action = format!("look for numbers that loaded rows of {table} and others have");
        let query = connection.query_one(&sql, &[]);
        let row = connection.attempt(action, &context.stop, query).await?;
        let numbers: i64 = row.get(0);
        if numbers > 0 {
            let note = format!(
                "{numbers} numbers of the column {} are in several rows each: the sequence {} was set back on the target before the delayed \
                 rows were there, so that clients' rows have numbers of loaded ones, and no unique key is on the column; give the clients' \
                 rows other numbers",
                used.column, used.sequence
            );
            found.push((used.table, note));
        }
    }
    connection.close().await;
    Ok(found)
}

/// Those that gave out values on both servers, to clients of each, after the regular dump and before a later one: what a value stands for on
/// one server is not what it stands for on the other. Before any is moved on.
async fn given_out_twice(context: &Context) -> Result<Option<String>, StepError> {
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
        let (here, there) = (source.given_out(by), counting.given_out());
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
            escape_control(&some_of(&twice, NAMED))
        )
    }))
}
