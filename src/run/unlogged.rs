//! Unlogged tables that a crash of the target emptied.
//!
//! Crash recovery truncates them, because the write-ahead log holds nothing of their rows (PostgreSQL manual, CREATE
//! TABLE, "UNLOGGED"). A dump brings these rows along, so a crash after they were restored takes away what was
//! verified, or was to be, and no server says so.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use crate::catalog::{Inspection, Relation};
use crate::graph::{DatabaseSummary, Graph, StepIndex};
use crate::inspect::{filled, sequences};
use crate::journal::{self, Journal, Outcome, State, Status};
use crate::names::{Filled, Kind, Product, RelationKind, SequenceValue, StepId, TableName};
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
    /// Tells them from those of clients; `None`: an earlier version did not write it down.
    filled: Option<Filled>,
    /// As many rows came in since the crash.
    is_refilled: bool,
}

/// A database with unlogged tables: those to look at, or those that were found to have lost their rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unlogged {
    pub(super) database: String,
    pub(super) tables: Vec<Table>,
    /// Where the sequences stood that were brought, the unlogged ones among them; or those that are behind that.
    pub(super) sequences: Vec<SequenceValue>,
    /// When those were brought.
    filled: Option<Filled>,
}

impl Unlogged {
    /// A crash emptied nothing that was not filled again since.
    fn is_refilled(&self) -> bool {
        self.sequences.is_empty() && self.tables.iter().all(|table| table.is_refilled)
    }
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
        // Its verification moves its sequences on.
        let mut found = of_database(database, state, inspection, parts)?;
        found.sequences.clear();
        (!found.tables.is_empty()).then_some(found)
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

/// The unlogged tables of the database's regular part, of its delayed part, or of both, that got rows, and what sequences were
/// brought. `None`: there are none.
fn of_database(
    database: &DatabaseSummary,
    state: &State,
    inspection: &Inspection,
    (regular, delayed): (bool, bool),
) -> Option<Unlogged> {
    let name: Arc<str> = database.name.as_str().into();
    let output_of = |kind| state.output_of(&StepId::database(&name, kind));
    let (later, brought): (&[TableName], &[SequenceValue]) =
        match output_of(Kind::Dump).map(|output| &output.product) {
            Some(Product::Dump(dump)) => (&dump.delayed, &dump.sequences),
            _ => (&[], &[]),
        };
    let mut sequences = match regular || delayed {
        true => brought.to_vec(),
        false => Vec::new(),
    };
    if let Some(Product::DelayedDump(dump)) =
        output_of(Kind::DelayedDump).map(|output| &output.product)
        && delayed
    {
        sequences.extend(dump.sequences.iter().flatten().cloned());
    }
    let filled = state.filled.get(&database.name);
    let loads = state.loads.get(&database.name);
    let filled_by_load = |table: &TableName| {
        let load = loads
            .into_iter()
            .flatten()
            .rfind(|load| load.table == *table)?;
        Some(Filled {
            statistics: load.statistics.clone()?,
            transaction: load.transaction,
        })
    };
    let counted = output_of(Kind::SourceCounts)?;
    // Under a snapshot of their own the delayed tables are counted once more, and that is what came.
    let counts = output_of(Kind::DelayedDump)
        .into_iter()
        .flat_map(|dump| dump.counts())
        .chain(counted.counts());
    let rows_of = |table: &TableName| counts.clone().find(|count| count.table == *table)?.rows;
    // A table that was unlogged when it was dumped may be logged on the source by now.
    let sides = [&inspection.source, &inspection.target];
    let there = sides
        .into_iter()
        .filter_map(|side| side.database(&database.name)?.contents.as_ref());
    let unlogged: BTreeSet<TableName> = there
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
            let filled = match is_delayed {
                true => filled_by_load(&name),
                false => filled.cloned(),
            };
            wanted.then_some(Table {
                name,
                rows,
                filled,
                is_refilled: false,
            })
        })
        .collect();
    (!tables.is_empty() || !sequences.is_empty()).then(|| Unlogged {
        database: database.name.clone(),
        tables,
        sequences,
        filled: filled.cloned(),
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
            let found = with_retries(&self.plan.retry, postgres::Error::class, |_| {
                self.emptied_in(&suspect)
            });
            match found.await {
                Ok(found) => emptied.extend(found),
                Err(error) => failed.push((suspect.database, error)),
            }
        }
        (emptied, failed)
    }

    async fn emptied_in(&self, suspect: &Unlogged) -> Result<Option<Unlogged>, postgres::Error> {
        let target = match self.open(&suspect.database).await {
            Ok(connection) => connection,
            // Its owner dropped it (invalid_catalog_name).
            Err(error) if error.sqlstate() == Some("3D000") => return Ok(None),
            Err(error) => return Err(error),
        };
        let now = filled(&target).await?;
        let may_have_crashed = |then: &Option<Filled>| match (then, &now) {
            (Some(then), Some(now)) => then.statistics != now.statistics,
            _ => true,
        };
        let mut found = Unlogged {
            tables: Vec::new(),
            sequences: Vec::new(),
            ..suspect.clone()
        };
        for table in &suspect.tables {
            let filled = table.filled.as_ref();
            let filled = filled.filter(|_| may_have_crashed(&table.filled));
            if let Some(is_refilled) = is_emptied(&target, table, filled).await? {
                let table = table.clone();
                found.tables.push(Table {
                    is_refilled,
                    ..table
                });
            }
        }
        if !suspect.sequences.is_empty() && may_have_crashed(&suspect.filled) {
            found.sequences = set_back(&target, &suspect.sequences).await?;
        }
        target.close().await;
        Ok((!found.tables.is_empty() || !found.sequences.is_empty()).then_some(found))
    }

    async fn open(&self, database: &str) -> Result<Connection, postgres::Error> {
        let session = Session::new(&self.application.application_name_for("unlogged"))
            .lock_timeout(self.plan.source_lock_timeout);
        connect(self.target, database, &session).await
    }
}

/// Those of the sequences that are unlogged and behind where they were brought to. One that cycles is behind no other, so it counts
/// where it was never used since its start.
async fn set_back(
    target: &Connection,
    brought: &[SequenceValue],
) -> Result<Vec<SequenceValue>, postgres::Error> {
    let now = sequences(target).await?;
    let unlogged = now.iter().filter(|sequence| sequence.is_unlogged);
    let unlogged: HashMap<_, _> = unlogged.map(|now| (now.value.name(), now)).collect();
    let is_behind = |brought: &SequenceValue| {
        unlogged.get(&brought.name()).is_some_and(|now| {
            let (then, at) = (
                brought.given_out(now.increment),
                now.value.given_out(now.increment),
            );
            match now.cycles {
                true => then != at && !now.value.is_called,
                false => (at - then) * i128::from(now.increment.signum()) < 0,
            }
        })
    };
    let mut behind: Vec<SequenceValue> = brought
        .iter()
        .filter(|one| is_behind(one))
        .cloned()
        .collect();
    behind.sort_by(|a, b| a.name().cmp(&b.name()));
    // Of a later snapshot they are brought once more.
    behind.reverse();
    behind.dedup_by(|a, b| a.name() == b.name());
    behind.reverse();
    Ok(behind)
}

/// Whether a crash took the rows that were brought; `Some(true)`: as many came in since. Either fewer are there, and the server knows
/// of fewer that ever came in: its counters go in the same crash recovery (PostgreSQL manual, 27.2), so that a client which removed
/// the rows is told from a crash. Or it crashed, and none that is there was there before. `filled`: when that was, where a crash may
/// have come since.
async fn is_emptied(
    target: &Connection,
    table: &Table,
    filled: Option<&Filled>,
) -> Result<Option<bool>, postgres::Error> {
    let (name, rows) = (table.name.quoted(), table.rows);
    let look = async || -> Result<Option<bool>, tokio_postgres::Error> {
        let inserted = "SELECT pg_catalog.pg_stat_get_tuples_inserted($1::text::regclass)";
        let inserted: i64 = target.query_one(inserted, &[&name]).await?.get(0);
        let has_counted = u64::try_from(inserted).unwrap_or(0) >= rows;
        if has_counted && filled.is_none() {
            return Ok(None);
        }
        let there = format!("SELECT count(*) FROM (SELECT FROM ONLY {name} LIMIT {rows}) brought");
        let there: i64 = target.query_one(&there, &[]).await?.get(0);
        if !has_counted && u64::try_from(there).unwrap_or(0) < rows {
            return Ok(Some(false));
        }
        let Some(filled) = filled else {
            return Ok(None);
        };
        let first = format!(
            "SELECT EXISTS (SELECT FROM ONLY {name} WHERE age(xmin) >= age('{}'::xid))",
            filled.transaction % (1 << 32)
        );
        let is_there: bool = target.query_one(&first, &[]).await?.get(0);
        Ok((!is_there).then_some(true))
    };
    match look().await {
        Ok(emptied) => Ok(emptied),
        // A client dropped or renamed it (undefined_table).
        Err(error) if error.code().is_some_and(|code| code.code() == "42P01") => Ok(None),
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
    // Once it was told, what is in them is their owner's.
    let state = journal.state();
    let (told, emptied): (Vec<Unlogged>, Vec<Unlogged>) = emptied
        .into_iter()
        .partition(|found| found.is_refilled() && was_told(state, &found.database));
    let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    endings.failed += number(emptied.len()) + number(failed.len());
    endings.mismatched += number(emptied.len());
    let warnings: Vec<(String, String)> = emptied
        .into_iter()
        .map(|found| (found.database.clone(), warning(&found)))
        .chain(
            told.into_iter()
                .map(|found| (found.database.clone(), refilled(&found))),
        )
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

const EMPTIED: &str = "a crash of the target emptied unlogged tables after they were restored: ";
const SET_BACK: &str =
    "a crash of the target set unlogged sequences back after they were restored: ";

/// Whether a run before told that tables of the database were emptied.
fn was_told(state: &State, database: &str) -> bool {
    let warnings = state.runs.iter().flat_map(|run| &run.warnings);
    warnings
        .filter(|(about, _)| about.as_deref() == Some(database))
        .any(|(_, message)| message.contains(EMPTIED))
}

fn list(tables: &[Table]) -> String {
    let tables: Vec<String> = tables
        .iter()
        .map(|table| {
            format!(
                "{} ({} rows were verified{})",
                escape_control(&table.name.to_string()),
                table.rows,
                match table.is_refilled {
                    true => "; all that are there came since",
                    false => "",
                }
            )
        })
        .collect();
    tables.join(", ")
}

/// What the owner of a database has to know whose tables were emptied, or whose sequences were set back.
pub(super) fn warning(emptied: &Unlogged) -> String {
    let mut parts = Vec::new();
    if !emptied.tables.is_empty() {
        parts.push(format!(
            "{EMPTIED}{}; fill them again from the source (pg_dump --data-only --table=TABLE, for instance) and run again, or, \
             where the database is not in use on the target yet, `pg-migrate reset PLAN --database NAME --drop NAME`: the next run \
             creates it again",
            list(&emptied.tables)
        ));
    }
    if !emptied.sequences.is_empty() {
        let sequences: Vec<String> = emptied
            .sequences
            .iter()
            .map(|brought| {
                let name = TableName::new(&*brought.schema, &*brought.sequence);
                format!("{} ({})", escape_control(&name.to_string()), brought.last)
            })
            .collect();
        parts.push(format!(
            "{SET_BACK}{}; set them to where they stood on the source, which is in brackets, or beyond what is in use (setval), look \
             for values that were given out twice since, and run again",
            sequences.join(", ")
        ));
    }
    parts.join("; ")
}

/// The warning where they were filled since that was told.
fn refilled(emptied: &Unlogged) -> String {
    format!(
        "{EMPTIED}{}; as many rows came in since as had been verified, or more: whether they are the same is not known",
        list(&emptied.tables)
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
