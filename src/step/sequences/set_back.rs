//! Numbers that both servers gave out.

use std::collections::HashMap;

use super::{counting, open};
use crate::names::{SequenceValue, TableName, some_of};
use crate::postgres::escape_control;
use crate::step::{Context, StepError};

/// Those that gave out values on both servers, to clients of each, after the regular dump and before a later one: what a value stands for on
/// one server is not what it stands for on the other. Before any is moved on.
pub(in crate::step) async fn given_out_twice(
    context: &Context,
) -> Result<Option<String>, StepError> {
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
