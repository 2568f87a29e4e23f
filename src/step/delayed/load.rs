//! `delayed-restore`: the rows of the delayed tables, each table in one transaction of our own session.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use tokio_postgres::error::SqlState;

use super::super::archive::{LIST, ensure_as_sealed};
use super::copy::{CopyError, Script};
use super::waiting::{LOCK_TIMEOUT, patiently};
use super::{columns, keys, loaded, order, owners};
use crate::event::{Progress, Unit};
use crate::failpoint::reach;
use crate::graph::delayed_archive;
use crate::journal::Change;
use crate::names::{
    BeforeMove, Load, Loaded, Output, Product, RelationKind, TableCount, TableName,
};
use crate::plan::Side;
use crate::postgres::{Connection, escape_control, quote_literal};
use crate::process::restore_log::{TableRows, Toc};
use crate::process::{Finished, Invocation};
use crate::step::child::{ProgramWarnings, failure};
use crate::step::restore::list;
use crate::step::{Context, StepError, create, made_tables, ours, regular, sequences};

/// Loads every table of the archive that is not loaded yet, the largest first. Yields the rows of each.
pub(crate) async fn load(context: &Context) -> Result<Output, StepError> {
    let archive = delayed_archive(context.plan(), context.database_name());
    let sealed = &context.delayed_dump()?.dump.archive;
    ensure_as_sealed(context, &archive, sealed).await?;
    let listing = list(context, &archive, None).await?;
    let entries = by_size(&archive, Toc::table_rows(&listing));
    create::refuse_what_is_open(context).await?;
    let loaded = loaded::committed(context).await?;
    ensure_fit(context, &loaded).await?;
    loaded::fit_together(context, &loaded)?;
    // Where no index was dropped.
    let told = regular::look_before_the_first_write(context).await?;
    context.notices.extend(told);
    let found = sequences::before_move(context).await?;
    let told = found.told.clone();
    let all = load_all(context, &archive, (loaded, entries), found).await;
    // Told where the load fails as well: clients write on meanwhile.
    all.map_err(|error| told.into_iter().fold(error, StepError::help))
}

/// As [`load`]. `found`: what was known of the sequences before they are moved on.
async fn load_all(
    context: &Context,
    archive: &Path,
    (loaded, entries): (Vec<Load>, Vec<TableRows>),
    found: BeforeMove,
) -> Result<Output, StepError> {
    sequences::advance_for_delayed(context).await?;
    let sent = AtomicU64::new(0);
    let (before, missing) = loaded::without(context, loaded, entries)?;
    let tables: HashMap<u32, u32> = missing
        .iter()
        .map(|rows| (rows.dump_id, rows.table))
        .collect();
    let mut loads: Vec<Load> = Vec::with_capacity(missing.len());
    for mut turn in order::turns(context, missing).await? {
        while !turn.is_empty() {
            let (loaded, refused) = load_turn(context, archive, &tables, turn, &sent).await?;
            turn = refused.iter().map(|(dump_id, _)| *dump_id).collect();
            if let (true, Some((_, error))) = (loaded.is_empty(), refused.into_iter().next()) {
                return Err(error);
            }
            loads.extend(loaded);
        }
    }
    // A client may have set them to what the tables held meanwhile.
    let BeforeMove { told, set_back } = sequences::set_back(context, &found).await?;
    context.notices.extend(told);
    let said = sequences::advance_for_delayed(context).await?;
    context.notices.extend(said);
    let said = sequences::advance_to_rows(context).await?;
    context.notices.extend(said);
    let remarks = before.iter().chain(&loads).flat_map(|load| &load.remarks);
    context.notices.extend(columns::told(remarks));
    let mut counts: Vec<TableCount> = before
        .into_iter()
        .chain(loads)
        .map(|load| TableCount {
            table: load.table,
            kind: RelationKind::Table,
            rows: Some(load.rows),
            extension: None,
        })
        .collect();
    counts.sort_by(|a, b| a.table.cmp(&b.table));
    Ok(Product::DelayedLoad(Loaded { counts, set_back }).into())
}

/// The indexes may have been dropped for an archive that was made before this one.
async fn ensure_fit(context: &Context, loaded: &[Load]) -> Result<(), StepError> {
    let connection = ours::open(context, &context.session(Side::Target)).await?;
    let roots = context.hashed_by_enum()?;
    let is_of = |load: &Load, table: &TableName| {
        load.table == *table || roots.get(table) == Some(&load.table)
    };
    // What is left of a partitioned table that was loaded in part is looked at under its lock.
    let is_missing = |table: &TableName| !loaded.iter().any(|load| is_of(load, table));
    let replaced = columns::ensure_names(context, &connection, is_missing).await?;
    context.notices.extend(replaced.iter().map(|table| {
        let table = escape_control(&table.to_string()).into_owned();
        format!(
            "the table {table} that the restore made was dropped on the target since, with what clients wrote to it: the rows are \
             loaded into the one that has its name now"
        )
    }));
    // What need not keep rows from being loaded is told as it is when they are.
    columns::ensure_fit(context, &connection, is_missing).await?;
    connection.close().await;
    Ok(())
}

/// Loads what may be loaded at a time. Of tables whose foreign keys lead back to them, as those of a partitioned table that
/// refers to itself, no order can be told by the keys, but by the rows there may be one: with each that is not loaded for
/// lack of its parents comes why.
async fn load_turn(
    context: &Context,
    archive: &Path,
    tables: &HashMap<u32, u32>,
    turn: Vec<u32>,
    sent: &AtomicU64,
) -> Result<(Vec<Load>, Vec<(u32, StepError)>), StepError> {
    let results: Vec<Result<Load, (u32, StepError)>> = stream::iter(turn)
        .map(async |dump_id| {
            let table = tables[&dump_id];
            match Box::pin(load_table(
                context,
                archive,
                TableRows { dump_id, table },
                sent,
            ))
            .await
            {
                Err(error) if error.parent_missing => Ok(Err((dump_id, error))),
                result => result.map(Ok),
            }
        })
        .buffer_unordered(context.step().jobs as usize)
        .try_collect()
        .await?;
    let (mut loaded, mut refused) = (Vec::new(), Vec::new());
    for result in results {
        match result {
            Ok(load) => loaded.push(load),
            Err(error) => refused.push(error),
        }
    }
    Ok((loaded, refused))
}

/// Largest first. The rows of an entry are in a file named after its dump id.
fn by_size(archive: &Path, mut entries: Vec<TableRows>) -> Vec<TableRows> {
    let size = |id: u32| {
        let endings = ["dat", "dat.gz", "dat.lz4", "dat.zst"];
        let files = endings.map(|ending| archive.join(format!("{id}.{ending}")));
        files
            .iter()
            .filter_map(|file| file.metadata().ok())
            .map(|file| file.len())
            .sum::<u64>()
    };
    entries.sort_by_cached_key(|rows| (std::cmp::Reverse(size(rows.dump_id)), rows.dump_id));
    entries
}

/// One entry of the archive, in one transaction: all of its rows are there, or none.
async fn load_table(
    context: &Context,
    archive: &Path,
    entry: TableRows,
    sent: &AtomicU64,
) -> Result<Load, StepError> {
    let list = entry_list(archive, entry.dump_id)?;
    let connection = ours::open(context, &context.session(Side::Target).for_load()).await?;
    let child = Invocation::new("pg_restore")
        .arguments([
            "--data-only".as_ref(),
            "--use-list".as_ref(),
            list.as_os_str(),
            "--file=-".as_ref(),
            archive.as_os_str(),
        ])
        .log(context.log_file());
    let copy = async |stdout| copy_table(context, &connection, stdout, sent).await;
    let stop = &context.shared.stop;
    let mut warnings = ProgramWarnings::default();
    let (finished, copied) = child
        .stream(stop, |line| warnings.push_line(line), copy)
        .await
        .map_err(|error| failure(context, error))?;
    context.notices.extend(warnings.into_lines(context));
    let interrupted = finished.interrupted;
    let mut load = match (copied, finished.success()) {
        (Ok(load), Ok(Finished { .. })) => load,
        // What the server said is the cause, what the child said of a closed pipe is not.
        (Err(error), _) if !interrupted => return Err(error),
        (_, Err(error)) => return Err(failure(context, error)),
        (Err(error), Ok(_)) => return Err(error),
    };
    load.dump_id = entry.dump_id;
    load.source_table = Some(entry.table);
    load.archive = Some(context.delayed_dump()?.dump.archive.digest.clone());
    context
        .record(Change::CommitLoad {
            database: context.database_name().to_owned(),
            load: load.clone(),
        })
        .await?;
    // Waited for, so that it may be believed: rows that were loaded are not to be told from those of clients for ever.
    connection
        .batch_execute("SET LOCAL synchronous_commit = local; COMMIT")
        .await
        .map_err(connection.failed(format!("commit the load of {}", load.table)))?;
    reach!("committed the load of {}", load.table);
    loaded::record(context, &load).await?;
    connection.close().await;
    let _ = std::fs::remove_file(list);
    Ok(load)
}

/// A file that names the one entry, for `pg_restore --use-list`.
fn entry_list(archive: &Path, id: u32) -> Result<PathBuf, StepError> {
    let path = archive.join(format!("{id}.{LIST}"));
    std::fs::write(&path, format!("{id};\n")).map_err(|error| {
        StepError::new(format!("cannot write {}: {error}", path.display()))
            .help("look at the free space of dump.root")
    })?;
    Ok(path)
}

/// The archive's statement for a session that speaks UTF-8. The rows are in the database's own encoding: it may have bytes that
/// mean nothing in another, and that no conversion takes.
async fn readable<R>(connection: &Connection, script: &Script<R>) -> Result<String, StepError> {
    let (statement, encoding) = (&script.statement, script.encoding.as_str());
    let text = if encoding == "UTF8" || statement.is_ascii() {
        String::from_utf8(statement.clone()).map_err(StepError::fault)?
    } else {
        let row = connection
            .query_one(
                "SELECT pg_catalog.convert_from($1, $2)",
                &[&statement, &encoding],
            )
            .await
            .map_err(
                connection.failed(format!("read the archive's COPY statement in {encoding}")),
            )?;
        row.try_get(0)
            .map_err(connection.failed("read the names in the archive's COPY statement"))?
    };
    Ok(match encoding {
        "UTF8" => text,
        _ => format!("{text} WITH (ENCODING {})", quote_literal(encoding)),
    })
}

/// Begins a transaction and copies the rows. The transaction is left open.
async fn copy_table(
    context: &Context,
    connection: &Connection,
    stdout: tokio::process::ChildStdout,
    sent: &AtomicU64,
) -> Result<Load, StepError> {
    let script = Script::open(stdout)
        .await
        .map_err(|error| failed(connection, "the delayed load", error))?
        .ok_or_else(|| StepError::new("an entry of the delayed archive holds no rows to copy"))?;
    let statement = readable(connection, &script).await?;
    // pg_dump quotes all identifiers.
    let table = statement
        .strip_prefix("COPY ")
        .and_then(TableName::parse_quoted_prefix)
        .ok_or_else(|| StepError::fault(format!("no table in {statement}")))?;
    let name = table.quoted();
    let action = format!("load {name}");
    let switched_off = patiently(context, || Box::pin(begin(context, connection, &name))).await?;
    owners::look(context, connection, &name).await?;
    loaded::refuse_other_rows(context, connection, &table).await?;
    // Of its partitions too, where they are loaded by way of it.
    let roots = context.hashed_by_enum()?;
    let is_meant = |other: &TableName| *other == table || roots.get(other) == Some(&table);
    // A release may have altered it while others were loaded.
    let remarks = Box::pin(columns::ensure_fit(context, connection, is_meant)).await?;

    let on_bytes = |bytes| {
        context.report(Progress {
            done: sent.fetch_add(bytes, Ordering::Relaxed) + bytes,
            total: None,
            unit: Unit::Bytes,
        });
    };
    let copy = async {
        let sink = connection.copy_in::<_, Bytes>(&statement).await?;
        let mut sink = pin!(sink);
        script.send(sink.as_mut(), on_bytes).await?;
        Ok::<u64, CopyError>(sink.finish().await?)
    };
    let result = tokio::select! {
        result = copy => result,
        () = context.shared.stop.cancelled() => return Err(StepError::interrupted()),
    };
    reach!("copied {name}");
    let rows = match result {
        Ok(rows) => rows,
        Err(error) => {
            return Err(Box::pin(explain(context, connection, &name, &action, error)).await);
        }
    };
    // Until it is committed, the table that has the rows keeps its name.
    Box::pin(columns::ensure_names(context, connection, is_meant)).await?;
    let target_table = Box::pin(made_tables::oid_of(connection, &table)).await?;
    for trigger in &switched_off {
        connection
            .batch_execute(&trigger.as_it_was())
            .await
            .map_err(connection.failed(format!(
                "switch the trigger {} of {} on again",
                trigger.name, trigger.table
            )))?;
    }
    let row = connection
        .query_one(
            "SELECT txid_current(), extract(epoch FROM pg_postmaster_start_time())::text, \
                    extract(epoch FROM stats_reset)::text FROM pg_catalog.pg_stat_archiver",
            &[],
        )
        .await
        .map_err(connection.failed(&action))?;
    Ok(Load {
        table,
        dump_id: 0,
        source_table: None,
        target_table,
        archive: None,
        transaction: row.get(0),
        server_started: row.get(1),
        statistics: row.get(2),
        rows,
        remarks,
        committed: false,
    })
}

/// Triggers that would fire during the load, with how they are enabled now: those of the table that the rows are copied to, and, where
/// that is a partitioned one, those of all partitions below it. From 11 to 14, those that a partition has from its parent are marked as
/// internal, as are those of foreign keys and of deferrable unique constraints.
const TRIGGERS: &str = "\
    WITH RECURSIVE parts (part) AS ( \
        SELECT $1::text::regclass::oid \
        UNION SELECT i.inhrelid FROM parts \
        JOIN pg_catalog.pg_inherits i ON i.inhparent = parts.part \
        JOIN pg_catalog.pg_class p ON p.oid = i.inhparent AND p.relkind = 'p') \
    SELECT quote_ident(n.nspname) || '.' || quote_ident(r.relname), quote_ident(t.tgname), t.tgenabled::text \
    FROM parts \
    JOIN pg_catalog.pg_class r ON r.oid = parts.part \
    JOIN pg_catalog.pg_namespace n ON n.oid = r.relnamespace \
    JOIN pg_catalog.pg_trigger t ON t.tgrelid = r.oid \
    LEFT JOIN pg_catalog.pg_constraint c ON c.oid = t.tgconstraint \
    WHERE t.tgenabled::text = ANY ($2) AND (NOT t.tgisinternal OR coalesce(c.contype = 't', true)) \
    ORDER BY r.oid, t.oid";

/// A trigger that would fire, as SQL names it.
struct Firing {
    table: String,
    name: String,
    /// `pg_trigger.tgenabled`
    mode: String,
}

impl Firing {
    /// ONLY: those that partitions have from their parent are listed themselves, and may be enabled otherwise.
    fn off(&self) -> String {
        format!(
            "ALTER TABLE ONLY {} DISABLE TRIGGER {}",
            self.table, self.name
        )
    }

    fn as_it_was(&self) -> String {
        let enable = match self.mode.as_str() {
            "A" => "ENABLE ALWAYS",
            "R" => "ENABLE REPLICA",
            _ => "ENABLE",
        };
        format!(
            "ALTER TABLE ONLY {} {enable} TRIGGER {}",
            self.table, self.name
        )
    }
}

/// Begins the transaction of a load in which no trigger fires: for this session alone where the role may set
/// `session_replication_role`, and the triggers that fire all the same switched off within the transaction,
/// so that no other session ever sees them off and no crash leaves them off. Returns those, and how they were enabled.
async fn begin(
    context: &Context,
    connection: &Connection,
    name: &str,
) -> Result<Vec<Firing>, StepError> {
    let mut begin = "BEGIN; SET LOCAL xmloption = content;".to_owned();
    if context.shared.inspection.target.sets_replication_role {
        begin += " SET LOCAL session_replication_role = replica;";
    }
    connection
        .batch_execute(&begin)
        .await
        .map_err(connection.failed(format!("begin the load of {name}")))?;
    reach!("began the load of {name}");
    if let Err(error) = lock(context, connection, name).await {
        let _ = connection.batch_execute("ROLLBACK").await;
        return Err(error);
    }
    let firing = firing(context, connection, name).await?;
    if firing.is_empty() {
        return Ok(firing);
    }
    let off: String = firing
        .iter()
        .map(|trigger| format!(" {};", trigger.off()))
        .collect();
    let timeout = LOCK_TIMEOUT.as_millis();
    let sql = format!("SET LOCAL lock_timeout = {timeout};{off} SET LOCAL lock_timeout = 0");
    let switched_off = connection.batch_execute(&sql).await;
    if switched_off.is_err() {
        // It may be tried again.
        let _ = connection.batch_execute("ROLLBACK").await;
    }
    switched_off.map_err(|error| cannot_switch_off(connection, name, error))?;
    Ok(firing)
}

/// Until the end of the load nobody gives the table, or what it is loaded by way of, a trigger, an index, a partition, or another
/// shape, so that what is looked at from here on is what the rows get to. Clients read and write it meanwhile; who waits for this lock
/// keeps none of them waiting, so it may be waited for as long as it takes.
async fn lock(context: &Context, connection: &Connection, name: &str) -> Result<(), StepError> {
    let row = connection
        .query_one(
            "SELECT relkind = 'p' FROM pg_catalog.pg_class WHERE oid = $1::text::regclass",
            &[&name],
        )
        .await
        .map_err(connection.failed(format!("look for {name}")))?;
    let only = if row.get(0) { "" } else { "ONLY " };
    let sql = format!("LOCK TABLE {only}{name} IN SHARE UPDATE EXCLUSIVE MODE");
    let locked = connection.batch_execute(&sql);
    let stop = &context.shared.stop;
    let action = format!("lock {name} for its load");
    Ok(connection.attempt(action, stop, locked).await?)
}

fn cannot_switch_off(
    connection: &Connection,
    name: &str,
    error: tokio_postgres::Error,
) -> StepError {
    let is_refused = error.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE);
    let what = format!("switch off the triggers of {name} that fire in a load");
    let failure: StepError = connection.failed(what)(error).into();
    if !is_refused || connection.version().major() >= 1500 {
        return failure;
    }
    failure.help(
        "on this version, only a superuser may switch off a trigger that a partition has from its parent table: use a \
         superuser for [target], or drop the trigger of the parent table on the target, run again, and create it again \
         after the run",
    )
}

async fn firing(
    context: &Context,
    connection: &Connection,
    name: &str,
) -> Result<Vec<Firing>, StepError> {
    // Enabled always, and for replicas; or always, and for others.
    let modes: Vec<&str> = if context.shared.inspection.target.sets_replication_role {
        vec!["A", "R"]
    } else {
        vec!["A", "O"]
    };
    let rows = connection
        .query(TRIGGERS, &[&name, &modes])
        .await
        .map_err(connection.failed(format!("read the triggers of {name}")))?;
    let firing = rows.iter().map(|row| Firing {
        table: row.get(0),
        name: row.get(1),
        mode: row.get(2),
    });
    Ok(firing.collect())
}

/// What went wrong, and for rows that clients inserted already, which.
async fn explain(
    context: &Context,
    connection: &Connection,
    name: &str,
    action: &str,
    error: CopyError,
) -> StepError {
    let taken = match &error {
        CopyError::Server(error) => error.code() == Some(&SqlState::UNIQUE_VIOLATION),
        _ => false,
    };
    let mut failure = failed(connection, action, error);
    if taken {
        let range = match connection.batch_execute("ROLLBACK").await {
            Ok(()) => keys::key_range(context, name).await,
            Err(_) => None,
        };
        if let Some(range) = range {
            failure = failure
                .help(format!(
                    "before the load {name} holds {range}; nothing of the load was kept"
                ))
                .help("remove or renumber the rows that have keys of the source, and run again");
        }
    }
    failure
}

fn failed(connection: &Connection, action: &str, error: CopyError) -> StepError {
    match error {
        CopyError::Server(error) => connection.failed(action)(error).into(),
        other => StepError::new(format!("cannot {action}: {other}")),
    }
}
