//! A source that nobody writes to, as the plan says (`source.read_only`): whether somebody did.

use futures_util::{StreamExt, stream};

use super::warn::warn;
use crate::inspect::written;
use crate::journal::{self, Entry, Journal, State};
use crate::names::{Kind, Since, StepId, WriteMark};
use crate::postgres::{self, Session, connect, escape_control};
use crate::step::Shared;

/// Databases that are looked at at a time.
const AT_A_TIME: usize = 4;

/// Puts on record how much was written so far to the source's databases that are not dumped yet, where the plan says that nobody
/// writes to them. What a run before has on record of one that it dumped stays.
///
/// # Errors
///
/// A journal that cannot be written.
pub(super) async fn begin(shared: &Shared, journal: &mut Journal) -> Result<(), journal::Error> {
    if !shared.plan.source_read_only {
        return Ok(());
    }
    let state = journal.state();
    let is_new = |name: &&String| {
        !state.source_written.contains_key(*name) && !state.is_done(&dump_of(name))
    };
    let new: Vec<&String> = shared.graph.database_names().filter(is_new).collect();
    for (database, looked) in look_at_all(shared, new).await {
        match looked {
            Ok(written) => journal.append(Entry::SourceWritten {
                database: database.clone(),
                written,
            })?,
            // Told at the end.
            Err(error) => {
                tracing::warn!(database, %error, "cannot look how much was written to the source");
            }
        }
    }
    Ok(())
}

/// Tells which databases of the source were written to since. Not those that were dumped when the plan did not say so yet: the run
/// tells how old such dumps are.
///
/// # Errors
///
/// A journal that cannot be written.
pub(super) async fn tell_writes(
    shared: &Shared,
    journal: &mut Journal,
) -> Result<(), journal::Error> {
    if !shared.plan.source_read_only {
        return Ok(());
    }
    let state = journal.state();
    let names = shared.graph.database_names();
    let names = names.filter(|name| is_said_of_dump(name, state));
    for (name, now) in look_at_all(shared, names).await {
        let before = journal.state().source_written.get(name);
        let since = match (before, &now) {
            (Some(before), Ok(now)) => before.compare(now),
            _ => Since::Unknown,
        };
        let what = match since {
            Since::Unwritten => continue,
            Since::Written if shared.inspection.source.in_recovery => {
                "transactions were committed on the primary since the run that dumped it began, in this database or in another, which \
                 cannot be seen on a standby"
            }
            Since::Written => "it was written to since the run that dumped it began",
            Since::Unknown => {
                "it could not be seen whether it was written to since the run that dumped it began"
            }
        };
        let message = format!(
            "the plan says that nobody writes to the source (source.read_only), and {what}: what was written after its snapshot is \
             not on the target; a session that was connected before writes on after default_transaction_read_only was switched on, \
             until it is ended (pg_terminate_backend); then `pg-migrate reset PLAN --database {0} --drop {0}`, and run again",
            escape_control(name)
        );
        warn(shared, journal, Some(name.clone()), message)?;
    }
    Ok(())
}

/// Whether the plan said it when the database was dumped, if it was.
fn is_said_of_dump(name: &str, state: &State) -> bool {
    let dump = state.output_of(&dump_of(name));
    dump.is_none_or(|dump| dump.source_was_read_only())
}

fn dump_of(name: &str) -> StepId {
    StepId::database(&name.into(), Kind::Dump)
}

/// In their order.
async fn look_at_all<'a>(
    shared: &Shared,
    databases: impl IntoIterator<Item = &'a String>,
) -> Vec<(&'a String, Result<WriteMark, postgres::Error>)> {
    stream::iter(databases)
        .map(|name| async move { (name, look(shared, name).await) })
        .buffered(AT_A_TIME)
        .collect()
        .await
}

async fn look(shared: &Shared, database: &str) -> Result<WriteMark, postgres::Error> {
    let session = Session::new(&shared.application.application_name_for("quiet"));
    let connection = connect(&shared.source, database, &session).await?;
    let written = written(&connection, &shared.application).await;
    connection.close().await;
    written
}
