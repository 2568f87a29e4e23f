//! The snapshot that steps share, taken when every table that will be dumped is locked.
//!
//! A snapshot does not show everything as it was: a table that was truncated, rewritten or replaced by a transaction that
//! commits after it was taken shows neither the old rows nor the new (PostgreSQL manual, 13.6 "Caveats"). So nobody may do
//! that between the snapshot and the dump: the locks come first, and stay until the snapshot ends.
//!
//! Nor does a snapshot, or a lock on a table, keep types as they are, by which the server writes values: those of enums and
//! composite types are looked at again after each step that read under the snapshot. Of functions, triggers and indexes pg_dump
//! reads a part under the snapshot and lets the server put the rest into words, as it is then, the names of what others refer to among
//! it: they are looked at again when it has read them all.
//!
//! A partition that is being detached without a lock on its table is no part of it any more under the snapshot, and pg_dump attaches
//! it all the same: until that has ended, there is no snapshot.
//!
//! Sequences do not go by snapshots, and no lock keeps clients from setting them back (`setval`, ALTER SEQUENCE … RESTART)
//! before pg_dump reads them. So where they stand is read at once, before and after the snapshot is taken.
//!
//! No lock is waited for while others are held: a client must not wait for us longer than a moment, nor be ended as the
//! victim of a deadlock with us.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::time::Duration;

use tokio::time::sleep;

use super::locked_snapshot::LockedSnapshot;
use super::{Context, Shared, StepError};
use crate::graph::{Step, accepts_stale_source};
use crate::inspect::{
    Definition, DumpedTable, PendingDetach, Sequence, await_replay, definitions, dumped_tables,
    pending_detaches, sequences, tables_in_use, type_meanings, unlocked_tables,
};
use crate::names::{Kind, Output, SequenceValue, TableName, TypeMeaning};
use crate::plan::{DelaySnapshot, Side};
use crate::postgres::{Class, Connection, Error, Session, Snapshot, connect, escape_control};

/// Tables that one statement locks.
const AT_A_TIME: usize = 500;

/// So often the tables are locked in vain: other sessions alter one after the other.
const TRIES: u32 = 50;

/// Between two of them, where there is nothing to wait for.
const PAUSE: Duration = Duration::from_millis(50);

/// How long a standby may take to replay what it has.
const REPLAY: Duration = Duration::from_secs(60);

/// Takes a snapshot of the database for the step, and exports it.
pub(crate) async fn export(shared: &Shared, step: &Step) -> Result<LockedSnapshot, StepError> {
    let database = step
        .id
        .database_name()
        .map(|name| &**name)
        .ok_or_else(|| StepError::fault("a snapshot is of a database"))?;
    let wanted = wanted(shared, step, database);
    let wanted = |tables: Vec<DumpedTable>| -> Vec<DumpedTable> {
        let is_wanted = |table: &DumpedTable| {
            let only = wanted.as_ref();
            only.is_none_or(|only| only.contains(&table.name))
        };
        tables.into_iter().filter(is_wanted).collect()
    };
    let application = shared
        .application
        .application_name_for(&format!("{database}/snapshot"));
    let session = Session::new(&application).lock_timeout(shared.plan.source_lock_timeout);
    let connection = connect(&shared.source, database, &session).await?;
    if shared.inspection.source.in_recovery && !accepts_stale_source(&shared.plan) {
        await_primary(&connection, database).await?;
    }
    let mut detaching = Vec::new();
    for _ in 0..TRIES {
        let tables = wanted(dumped_tables(&connection).await?);
        let before = unless_in_the_way(sequences(&connection).await)?;
        Snapshot::begin(&connection).await?;
        let is_locked = lock(&connection, &tables).await?;
        // The first query, which takes the snapshot. A table may be new since they were listed.
        let is_locked = is_locked && wanted(unlocked_tables(&connection).await?).is_empty();
        // Only a dump of definitions says which partitions a table has.
        if is_locked && step.id.kind != Kind::DelayedDump {
            detaching = pending_detaches(&connection).await?;
        }
        if is_locked
            && detaching.is_empty()
            && let Some(before) = before
            && let Some(sequences) = sequences_since(&connection, before).await?
        {
            let tables = wanted(dumped_tables(&connection).await?);
            let meanings = type_meanings(&connection).await?;
            let definitions = definitions(&connection).await?;
            let snapshot = Snapshot::export(connection).await?;
            let looked_at = (meanings, definitions);
            return Ok(LockedSnapshot::new(snapshot, tables, looked_at, sequences));
        }
        roll_back(&connection).await?;
        let in_use = wanted(tables_in_use(&connection).await?);
        await_others(shared, &connection, &in_use).await?;
    }
    if let Some(pending) = detaching.first() {
        return Err(still_detaching(database, pending));
    }
    Err(StepError::new(format!(
        "the tables of the database \"{}\" cannot be locked all at a time: other sessions keep altering them, or set its \
         sequences back",
        escape_control(database)
    ))
    .help("look for them in pg_locks (AccessExclusiveLock) and pg_stat_activity on the source")
    .class(Class::Retry))
}

/// What the primary committed before is in the snapshot of a standby only where it is replayed.
async fn await_primary(connection: &Connection, database: &str) -> Result<(), StepError> {
    let Some(why) = await_replay(connection, REPLAY).await? else {
        return Ok(());
    };
    Err(StepError::new(format!(
        "database \"{}\": the source is a standby that {why}, though it had {} s for that: what was committed on the primary would be \
         missing",
        escape_control(database),
        REPLAY.as_secs()
    ))
    .help(
        "look why it does not stream (primary_conninfo, its log), or what its replay waits for (a query, this run's own dumps among \
         them: hot_standby_feedback = on; pg_wal_replay_resume()); or use the primary as the source; where an old state is wanted, or \
         the standby follows by archive alone, waive source/stale",
    )
    .class(Class::Retry))
}

/// The partition is no part of its table any more, and pg_dump would attach it again.
fn still_detaching(database: &str, pending: &PendingDetach) -> StepError {
    StepError::new(format!(
        "database \"{}\": the partition {} is being detached from {} (DETACH PARTITION … CONCURRENTLY), which has not ended",
        escape_control(database),
        escape_control(&pending.partition.to_string()),
        escape_control(&pending.parent.to_string()),
    ))
    .help(format!(
        "look for it in pg_stat_activity on the source; where no session is at it any more: {}",
        escape_control(&pending.finalize())
    ))
    .class(Class::Retry)
}

/// What a step read under the snapshot, unless tables or types are not what they were. While the snapshot lives its locks
/// prevent that for tables, but for the names of schemas: and tables are read by their names.
///
/// # Errors
///
/// Those of the step, and tables that cannot be looked at.
pub(super) async fn ensure_same_tables(
    context: &Context,
    snapshot: &LockedSnapshot,
    result: Result<Output, StepError>,
) -> Result<Output, StepError> {
    // Where it is tried again in any case, the next attempt finds out.
    if matches!(&result, Err(error) if error.class != Class::Fail) {
        return result;
    }
    let changed = changed(context, snapshot).await;
    if matches!(&changed, Ok(changed) if changed.is_empty()) || result.is_err() && changed.is_err()
    {
        return result;
    }
    let mut shown = changed?;
    shown.truncate(5);
    Err(StepError::new(format!(
        "database \"{}\": while tables were read, other sessions truncated, rewrote or dropped some of them, renamed their \
         schemas, or altered types of their columns: {}",
        context.shown_database(),
        shown.join(", ")
    ))
    .snapshot_lost())
}

/// Fails where functions, triggers, indexes or names are not what they were when the snapshot was taken: pg_dump, which has read them all by
/// now, may have read them half as they were and half as they are.
///
/// # Errors
///
/// As said, so that the snapshot is given up; a source that cannot be asked.
pub(super) async fn ensure_same_definitions(
    context: &Context,
    snapshot: &LockedSnapshot,
) -> Result<(), StepError> {
    let connection = context.connect(Side::Source).await?;
    let now: HashSet<Definition> = definitions(&connection).await?.into_iter().collect();
    connection.close().await;
    let then = snapshot.definitions().iter();
    let changed = then.filter(|definition| !now.contains(definition));
    let mut shown: Vec<String> = changed
        .map(|definition| escape_control(&definition.object).into_owned())
        .collect();
    if shown.is_empty() {
        return Ok(());
    }
    shown.sort();
    shown.truncate(5);
    Err(StepError::new(format!(
        "database \"{}\": while its definitions were read, other sessions replaced, renamed or dropped some of them: {}",
        context.shown_database(),
        shown.join(", ")
    ))
    .snapshot_lost())
}

/// Tables and types that are no longer there as the snapshot has them, as messages show them.
async fn changed(context: &Context, snapshot: &LockedSnapshot) -> Result<Vec<String>, StepError> {
    let connection = context.connect(Side::Source).await?;
    let now: HashSet<DumpedTable> = dumped_tables(&connection).await?.into_iter().collect();
    let meanings: HashSet<TypeMeaning> = type_meanings(&connection).await?.into_iter().collect();
    connection.close().await;
    let tables = snapshot.tables().iter();
    let tables = tables
        .filter(|table| !now.contains(table))
        .map(|table| escape_control(&table.name.to_string()).into_owned());
    let types: BTreeSet<u32> = snapshot
        .meanings()
        .iter()
        .filter(|meaning| !meanings.contains(meaning))
        .map(|meaning| meaning.type_oid)
        .collect();
    let types = types
        .into_iter()
        .map(|oid| format!("type {oid} (SELECT {oid}::regtype)"));
    Ok(tables.chain(types).collect())
}

/// The tables that are read under the snapshot; `None`: all. Delayed tables are dumped alone under a later one, for hours it
/// may be, and nothing keeps clients from altering the others.
fn wanted(shared: &Shared, step: &Step, database: &str) -> Option<HashSet<TableName>> {
    let is_later =
        step.id.kind == Kind::DelayedDump && shared.plan.delay.snapshot == DelaySnapshot::Later;
    let databases = shared.graph.databases.iter();
    is_later.then(|| {
        databases
            .filter(|summary| summary.name == database)
            .flat_map(|summary| summary.delayed.iter().cloned())
            .collect()
    })
}

/// Locks all of the tables, or says that another session is in the way of one.
async fn lock(connection: &Connection, tables: &[DumpedTable]) -> Result<bool, Error> {
    for tables in tables.chunks(AT_A_TIME) {
        let names: Vec<String> = tables.iter().map(|table| table.name.quoted()).collect();
        // ONLY: partitions and children are in the list themselves.
        let sql = format!(
            "LOCK TABLE ONLY {} IN ACCESS SHARE MODE NOWAIT",
            names.join(", ONLY ")
        );
        let locked = connection
            .batch_execute(&sql)
            .await
            .map_err(connection.failed("lock the tables that will be dumped"));
        match locked {
            Ok(()) => {}
            Err(error) if is_in_the_way(&error) => return Ok(false),
            Err(error) => return Err(error),
        }
    }
    Ok(true)
}

/// Where the sequences stand once the snapshot is taken, unless one was set back since they stood as `before`: then rows that
/// the snapshot shows may have later values than either look found. One that cycles, and may have come round, stood where it was
/// the further.
async fn sequences_since(
    connection: &Connection,
    before: Vec<Sequence>,
) -> Result<Option<Vec<SequenceValue>>, Error> {
    const ACTION: &str = "look at the sequences under a snapshot";
    // No session is waited for long while tables are locked: clients may wait for these, and others lock sequences.
    connection
        .batch_execute("SAVEPOINT sequences; SET LOCAL lock_timeout = '10ms'")
        .await
        .map_err(connection.failed(ACTION))?;
    let now = sequences(connection).await;
    connection
        .batch_execute("ROLLBACK TO SAVEPOINT sequences; RELEASE SAVEPOINT sequences")
        .await
        .map_err(connection.failed(ACTION))?;
    let Some(now) = unless_in_the_way(now)? else {
        return Ok(None);
    };
    let before: HashMap<(&str, &str), &Sequence> = before
        .iter()
        .map(|sequence| (sequence.value.name(), sequence))
        .collect();
    let was_set_back = now.iter().any(|sequence| {
        let before = before.get(&sequence.value.name());
        before.is_some_and(|before| sequence.was_set_back_since(before))
    });
    if was_set_back {
        return Ok(None);
    }
    let furthest = now.iter().map(|sequence| {
        let before = before.get(&sequence.value.name());
        let before = before.filter(|before| sequence.is_behind(before));
        before.map_or(&sequence.value, |before| &before.value)
    });
    Ok(Some(furthest.cloned().collect()))
}

/// What was read; `None` where another session was in the way.
fn unless_in_the_way<T>(result: Result<T, Error>) -> Result<Option<T>, Error> {
    match result {
        Ok(read) => Ok(Some(read)),
        Err(error) if is_in_the_way(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// It is locked by another session, or was dropped, renamed or moved since the tables were listed.
fn is_in_the_way(error: &Error) -> bool {
    matches!(error.sqlstate(), Some("55P03" | "42P01" | "3F000"))
}

/// Waits until nobody has one of the tables for themselves, without keeping any locked.
async fn await_others(
    shared: &Shared,
    connection: &Connection,
    in_use: &[DumpedTable],
) -> Result<(), StepError> {
    let Some(table) = in_use.first() else {
        sleep(PAUSE).await;
        return Ok(());
    };
    let name = table.name.quoted();
    let sql = format!("BEGIN; LOCK TABLE ONLY {name} IN ACCESS SHARE MODE; COMMIT");
    let waited = connection
        .attempt(
            format!("lock {name}"),
            &shared.stop,
            connection.batch_execute(&sql),
        )
        .await;
    match waited {
        Ok(()) => Ok(()),
        // It is another table now, or none.
        Err(error) if matches!(error.sqlstate(), Some("42P01" | "3F000")) => {
            Ok(roll_back(connection).await?)
        }
        Err(error) => Err(error.into()),
    }
}

async fn roll_back(connection: &Connection) -> Result<(), Error> {
    connection
        .batch_execute("ROLLBACK")
        .await
        .map_err(connection.failed("let the locks of the tables go"))
}
