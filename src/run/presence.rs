//! Whether the databases that are on record are on the target: before a run relies on them, and before it says that they are
//! complete.

use super::dispatcher::Endings;
use super::error::Error;
use super::signal::Signals;
use super::warn::warn;
use crate::catalog::{Missing, Present, ServerFacts};
use crate::journal::{self, Journal, State};
use crate::names::{Kind, StepId};
use crate::postgres::{self, Session, connect, escape_control, with_retries};
use crate::step::Shared;

/// The plan's databases that are on record as made and are not on the target.
pub(crate) fn missing<'a>(
    databases: impl IntoIterator<Item = &'a String>,
    state: &State,
    target: &ServerFacts,
) -> Vec<Missing> {
    if is_other_server(state, target) {
        return Vec::new();
    }
    let present: Vec<Present> = target.databases.iter().map(Present::from).collect();
    find(databases, state, &present)
}

/// What is to be created is not missed.
fn find<'a>(
    databases: impl IntoIterator<Item = &'a String>,
    state: &State,
    present: &[Present],
) -> Vec<Missing> {
    let is_made =
        |name: &&String| state.is_done(&StepId::database(&name.as_str().into(), Kind::Create));
    let made = databases.into_iter().filter(is_made);
    made.filter_map(|name| find_one(name, state, present))
        .collect()
}

fn find_one(name: &str, state: &State, present: &[Present]) -> Option<Missing> {
    Missing::find(
        name,
        state.made(name),
        state.verified.contains_key(name),
        present,
    )
}

/// Whether another database has the name of one that this plan made.
pub(crate) fn is_replaced(name: &str, state: &State, target: &ServerFacts) -> bool {
    let missing = find_on(name, state, target);
    missing.is_some_and(|missing| missing.is_replaced)
}

/// Whether what this plan made is not there to be dropped, whatever has its name.
pub(crate) fn is_missing(name: &str, state: &State, target: &ServerFacts) -> bool {
    find_on(name, state, target).is_some()
}

fn find_on(name: &str, state: &State, target: &ServerFacts) -> Option<Missing> {
    if is_other_server(state, target) {
        return None;
    }
    let present: Vec<Present> = target.databases.iter().map(Present::from).collect();
    find_one(name, state, &present)
}

/// The record is not about this server, which is refused for that.
pub(crate) fn is_other_server(state: &State, target: &ServerFacts) -> bool {
    let last = state.runs.last();
    last.is_some_and(|run| run.target != target.system_identifier)
}

/// Why a run does not start: clients may have used the database, so it is not made again without being asked for.
pub(super) fn refusal(missing: &[Missing]) -> Option<Error> {
    let verified = || missing.iter().filter(|one| one.is_verified);
    let helps: Vec<String> = verified().map(help).collect();
    (!helps.is_empty()).then(|| {
        let what: Vec<String> = verified().map(told).collect();
        Error::Missing {
            what: what.join("\n"),
            help: helps.join("\n"),
        }
    })
}

fn told(missing: &Missing) -> String {
    let name = escape_control(&missing.database);
    format!("database \"{name}\": {}", missing.what(shown))
}

fn help(missing: &Missing) -> String {
    missing.help(shown)
}

fn shown(name: &str) -> String {
    escape_control(name).into_owned()
}

/// Looks for what was verified, after the last step of a run that no signal stopped: what is gone is a failure.
///
/// # Errors
///
/// A journal that cannot be written.
pub(super) async fn recheck_after_run(
    shared: &Shared,
    journal: &mut Journal,
    signals: &mut Signals,
    endings: &mut Endings,
) -> Result<(), journal::Error> {
    if endings.signal.is_some() {
        return Ok(());
    }
    let read = with_retries(&shared.plan.retry, postgres::Error::class, |_| {
        databases(shared)
    });
    let Some(present) = endings.unless_signalled(signals, read).await else {
        return Ok(());
    };
    let warnings: Vec<(Option<String>, String)> = match present {
        Ok(present) => find(shared.graph.database_names(), journal.state(), &present)
            .into_iter()
            .filter(|missing| missing.is_verified)
            .map(|missing| {
                let message = format!("{}; {}", missing.what(shown), help(&missing));
                (Some(missing.database), message)
            })
            .collect(),
        Err(error) => {
            let message = format!(
                "cannot look whether the databases that were verified are still on the target: {error}; run again once the \
                 cause is gone"
            );
            vec![(None, message)]
        }
    };
    endings.failed += u32::try_from(warnings.len()).unwrap_or(u32::MAX);
    for (database, message) in warnings {
        warn(shared, journal, database, message)?;
    }
    Ok(())
}

/// The databases that the target has now.
async fn databases(shared: &Shared) -> Result<Vec<Present>, postgres::Error> {
    let target = &shared.target;
    let session = Session::new(&shared.application.application_name_for("presence"));
    let connection = connect(target, &target.database, &session).await?;
    let rows = connection
        .query(
            "SELECT oid, datname::text, datconnlimit = -2 FROM pg_catalog.pg_database",
            &[],
        )
        .await
        .map_err(connection.failed("list the databases"))?;
    connection.close().await;
    let present = rows.iter().map(|row| Present {
        oid: row.get(0),
        name: row.get(1),
        is_invalid: row.get(2),
    });
    Ok(present.collect())
}
