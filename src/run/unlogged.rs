//! Unlogged tables that a crash of the target emptied.
//!
//! Crash recovery truncates them, because the write-ahead log holds nothing of their rows (PostgreSQL manual, CREATE
//! TABLE, "UNLOGGED"). A dump brings these rows along, so a crash after they were restored takes away what was
//! verified, or was to be, and no server says so.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use crate::catalog::{Inspection, Relation};
use crate::graph::{DatabaseSummary, Graph, StepIndex};
use crate::journal::{self, Journal, Outcome, State, Status};
use crate::names::{Kind, Product, RelationKind, StepId, TableName};
use crate::plan::{Endpoint, Plan};
use crate::postgres::{
    self, Application, Connection, Session, connect, escape_control, with_retries,
};
use crate::step::{Shared, StepError};

use super::dispatcher::Endings;
use super::signal::Signals;
use super::warn::warn;

/// An unlogged table to which rows were brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Table {
    name: TableName,
    /// As they were counted on the source.
    rows: u64,
}

/// A database with unlogged tables: those to look at, or those that were found to have lost their rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unlogged {
    pub(super) database: String,
    pub(super) tables: Vec<Table>,
}

/// What the check needs.
pub(super) struct UnloggedCheck<'a> {
    pub(super) plan: &'a Plan,
    pub(super) target: &'a Endpoint,
    pub(super) application: &'a Application,
}

/// What to look at before a run goes on: databases that were restored and are not verified yet.
pub(super) fn not_yet_verified(
    graph: &Graph,
    state: &State,
    inspection: &Inspection,
) -> Vec<Unlogged> {
    let databases = graph.databases.iter().filter_map(|database| {
        let is_done = |kind| state.is_done(&StepId::database(&database.name.as_str().into(), kind));
        let wanted = is_done(Kind::Restore) && is_unverified(state, &database.name);
        let parts = wanted.then_some((true, false))?;
        of_database(database, state, inspection, parts)
    });
    databases.collect()
}

/// Whether clients cannot have been let into the database: its verification opens it as soon as it finds no difference.
fn is_unverified(state: &State, database: &str) -> bool {
    if state.verified.contains_key(database) {
        return false;
    }
    match state
        .steps
        .get(&StepId::database(&database.into(), Kind::Verify))
    {
        None => true,
        Some(verify) => {
            let tables = verify.output.compared();
            verify.status == Status::Failed && tables.iter().any(|table| !table.matches)
        }
    }
}

/// What to look at after a run: whatever was verified and is not `confirmed`.
pub(super) fn verified(
    graph: &Graph,
    state: &State,
    inspection: &Inspection,
    confirmed: &HashSet<StepId>,
) -> Vec<Unlogged> {
    let databases = graph.databases.iter().filter_map(|database| {
        let is_new = |kind| {
            let id = StepId::database(&database.name.as_str().into(), kind);
            state.is_done(&id) && !confirmed.contains(&id)
        };
        let parts = (is_new(Kind::Verify), is_new(Kind::DelayedVerify));
        of_database(database, state, inspection, parts)
    });
    databases.collect()
}

/// The steps that were done when a run that was about their database last found everything there at its end: what became of
/// it since is its owner's. Runs are told by their order, not by a clock, which may have been set back.
pub(super) fn confirmed(graph: &Graph, state: &State, done: &[StepIndex]) -> HashSet<StepId> {
    let (mut of_all, mut of_database) = (None, HashMap::new());
    for (number, run) in state.runs.iter().enumerate() {
        match (run.ended, &run.databases) {
            (Some((_, Outcome::Completed, _)), None) => of_all = Some(number),
            (Some((_, Outcome::Completed, _)), Some(databases)) => {
                of_database.extend(databases.iter().map(|name| (name.as_str(), number)));
            }
            _ => {}
        }
    }
    let steps = done.iter().map(|step| &graph.steps[*step].id);
    let confirmed = steps.filter(|id| {
        let name = id.database_name();
        let completed = name
            .and_then(|name| of_database.get(&**name).copied())
            .max(of_all);
        let step = state.steps.get(id);
        step.is_some_and(|step| completed.is_some_and(|completed| step.run <= completed))
    });
    confirmed.cloned().collect()
}

/// The unlogged tables of the database's regular part, of its delayed part, or of both, that got rows. `None`: there
/// are none, as in most databases.
fn of_database(
    database: &DatabaseSummary,
    state: &State,
    inspection: &Inspection,
    (regular, delayed): (bool, bool),
) -> Option<Unlogged> {
    let name: Arc<str> = database.name.as_str().into();
    let output_of = |kind| state.output_of(&StepId::database(&name, kind));
    let later: &[TableName] = match output_of(Kind::Dump).map(|output| &output.product) {
        Some(Product::Dump(dump)) => &dump.delayed,
        _ => &[],
    };
    let counted = output_of(Kind::SourceCounts)?;
    // Under a snapshot of their own the delayed tables are counted once more, and that is what came.
    let counts = output_of(Kind::DelayedDump)
        .into_iter()
        .flat_map(|dump| dump.counts())
        .chain(counted.counts());
    let rows_of = |table: &TableName| counts.clone().find(|count| count.table == *table)?.rows;
    let contents = inspection
        .source
        .database(&database.name)?
        .contents
        .as_ref();
    let unlogged: BTreeSet<TableName> = contents
        .into_iter()
        .flat_map(|contents| &contents.relations)
        .filter(|relation| relation.unlogged && relation.kind == RelationKind::Table)
        .map(Relation::table_name)
        .collect();
    let tables: Vec<Table> = unlogged
        .into_iter()
        .filter_map(|name| {
            let is_delayed = later.contains(&name);
            let wanted = if is_delayed { delayed } else { regular };
            let rows = rows_of(&name).filter(|rows| *rows > 0)?;
            wanted.then_some(Table { name, rows })
        })
        .collect();
    (!tables.is_empty()).then(|| Unlogged {
        database: database.name.clone(),
        tables,
    })
}

impl UnloggedCheck<'_> {
    /// Those of the tables that a crash of the target emptied, and the databases that cannot be looked at. A connection
    /// that breaks and a lock that another session holds are tried again, as often as the plan retries a step.
    pub(super) async fn emptied(
        &self,
        suspects: Vec<Unlogged>,
    ) -> (Vec<Unlogged>, Vec<(String, postgres::Error)>) {
        let (mut emptied, mut failed) = (Vec::new(), Vec::new());
        for suspect in suspects {
            let tables = with_retries(&self.plan.retry, postgres::Error::class, |_| {
                self.emptied_in(&suspect)
            });
            let tables = tables.await;
            let database = suspect.database;
            match tables {
                Ok(tables) if tables.is_empty() => {}
                Ok(tables) => emptied.push(Unlogged { database, tables }),
                Err(error) => failed.push((database, error)),
            }
        }
        (emptied, failed)
    }

    async fn emptied_in(&self, suspect: &Unlogged) -> Result<Vec<Table>, postgres::Error> {
        let target = match self.open(&suspect.database).await {
            Ok(connection) => connection,
            // Its owner dropped it (invalid_catalog_name).
            Err(error) if error.sqlstate() == Some("3D000") => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut emptied = Vec::new();
        for table in &suspect.tables {
            if is_emptied(&target, table).await? {
                emptied.push(table.clone());
            }
        }
        target.close().await;
        Ok(emptied)
    }

    async fn open(&self, database: &str) -> Result<Connection, postgres::Error> {
        let session = Session::new(&self.application.application_name_for("unlogged"))
            .lock_timeout(self.plan.source_lock_timeout);
        connect(self.target, database, &session).await
    }
}

/// Whether fewer rows are there than were brought, and the server knows of fewer that ever came in: its counters go in the
/// same crash recovery (PostgreSQL manual, 27.2), so that a client which removed the rows is told from a crash.
async fn is_emptied(target: &Connection, table: &Table) -> Result<bool, postgres::Error> {
    let (name, rows) = (table.name.quoted(), table.rows);
    let look = async || -> Result<bool, tokio_postgres::Error> {
        let inserted = "SELECT pg_catalog.pg_stat_get_tuples_inserted($1::text::regclass)";
        let inserted: i64 = target.query_one(inserted, &[&name]).await?.get(0);
        if u64::try_from(inserted).unwrap_or(0) >= rows {
            return Ok(false);
        }
        let there = format!("SELECT count(*) FROM (SELECT FROM ONLY {name} LIMIT {rows}) brought");
        let there: i64 = target.query_one(&there, &[]).await?.get(0);
        Ok(u64::try_from(there).unwrap_or(0) < rows)
    };
    match look().await {
        Ok(emptied) => Ok(emptied),
        // A client dropped or renamed it (undefined_table).
        Err(error) if error.code().is_some_and(|code| code.code() == "42P01") => Ok(false),
        Err(error) => Err(target.failed(format!("look for rows in {name}"))(error)),
    }
}

/// Looks at what was verified, after the last step of a run that no signal stopped. Clients may use these databases, so
/// nothing is done again: what was lost is recorded as a difference, and a check that failed as a failure.
///
/// # Errors
///
/// A journal that cannot be written.
pub(super) async fn recheck_after_run(
    shared: &Shared,
    journal: &mut Journal,
    confirmed: &HashSet<StepId>,
    signals: &mut Signals,
    endings: &mut Endings,
) -> Result<(), journal::Error> {
    if endings.signal.is_some() {
        return Ok(());
    }
    let suspects = verified(
        &shared.graph,
        journal.state(),
        &shared.inspection,
        confirmed,
    );
    let look = UnloggedCheck {
        plan: &shared.plan,
        target: &shared.target,
        application: &shared.application,
    };
    let Some(found) = endings
        .unless_signalled(signals, look.emptied(suspects))
        .await
    else {
        return Ok(());
    };
    let (emptied, failed) = found;
    let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    endings.failed += number(emptied.len()) + number(failed.len());
    endings.mismatched += number(emptied.len());
    let warnings: Vec<(String, String)> = emptied
        .into_iter()
        .map(|found| (found.database.clone(), warning(&found)))
        .chain(
            failed
                .into_iter()
                .map(|(database, error)| (database, check_failed(error))),
        )
        .collect();
    for (database, message) in warnings {
        warn(shared, journal, Some(database), message)?;
    }
    Ok(())
}

/// What the owner of a database has to know whose tables were emptied.
pub(super) fn warning(emptied: &Unlogged) -> String {
    let tables: Vec<String> = emptied
        .tables
        .iter()
        .map(|table| {
            format!(
                "{} ({} rows were verified)",
                escape_control(&table.name.to_string()),
                table.rows
            )
        })
        .collect();
    format!(
        "a crash of the target emptied unlogged tables after they were restored: {}; fill them again from the source \
         (pg_dump --data-only --table=TABLE, for instance) and run again, or, where the database is not in use on the \
         target yet, `pg-migrate reset PLAN --database NAME --drop NAME`: the next run creates it again",
        tables.join(", ")
    )
}

/// The warning where the check failed.
pub(super) fn check_failed(error: postgres::Error) -> String {
    let (reason, help) = StepError::from(error).into_parts();
    // On one line, also where the server said DETAIL and HINT.
    let told: Vec<&str> = reason
        .lines()
        .chain(help.iter().flat_map(|help| help.lines()))
        .collect();
    format!(
        "cannot check whether a crash of the target emptied unlogged tables since they were restored: {}; run \
         again once the cause is gone",
        told.join("; ")
    )
}

#[cfg(test)]
#[path = "unlogged_tests.rs"]
mod tests;
