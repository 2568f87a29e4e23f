//! `dump`: pg_dump of one database under the shared snapshot.

mod contents;
mod patterns;

use std::path::Path;
use std::time::Duration;

use tokio::sync::Notify;

use super::archive::{self, make_room};
use super::child::{ProgramWarnings, failure, invocation};
use super::snapshot::ensure_same_definitions;
use super::{Context, LockedSnapshot, StepError};
use crate::event::{Progress, Unit};
use crate::failpoint::reach;
use crate::graph::{self, SNAPSHOT};
use crate::names::{Dumped, Kind, Output, Product, RegularDump, TableName};
use crate::plan::Side;
use crate::process::Finished;

/// As the load reads it (`VALUES_FROM_TEXT`).
const MONEY: (&str, &str) = ("lc_monetary", "C");

/// What pg_dump says (`--verbose`) when it has read all definitions.
const FIRST_CONTENTS: &str = "dumping contents of table";

/// How often the archive's size is looked at.
const LOOK: Duration = Duration::from_secs(1);

/// Dumps the database into an archive of its own. What an attempt before left there is removed.
pub(super) async fn run(context: &Context) -> Result<Output, StepError> {
    let path = graph::archive(context.plan(), context.database_name());
    let (dump, warnings) = into(context, &path).await?;
    let delayed: Vec<TableName> = context.delayed_tables().into_iter().collect();
    let snapshot = context.snapshot.iter();
    let sequences = snapshot.flat_map(|snapshot| snapshot.sequences().to_vec());
    // By these a later snapshot is compared with this one.
    let meanings = match &context.snapshot {
        Some(snapshot) if !delayed.is_empty() => snapshot.meanings().to_vec(),
        _ => Vec::new(),
    };
    Ok(Output {
        warnings,
        product: Product::Dump(RegularDump {
            dump,
            delayed,
            sequences: sequences.collect(),
            meanings,
        }),
    })
}

/// Runs the step's pg_dump under the step's snapshot, into an archive that is not there yet or is removed. Returns what
/// pg_dump warned of as well.
pub(super) async fn into(
    context: &Context,
    path: &Path,
) -> Result<(Dumped, Vec<String>), StepError> {
    let snapshot = context
        .snapshot
        .as_ref()
        .ok_or_else(|| StepError::fault("a dump shares a snapshot"))?;
    let owner = context.state_id()?;
    make_room(path, owner)?;
    reach!("{} made room", context.step().id);
    let written = write(context, path, snapshot).await;
    if written.is_err()
        && let Err(error) = archive::remove(path, owner)
    {
        let (error, _) = error.into_parts();
        tracing::warn!(step = %context.step().id, "the half-written archive stays: {error}");
    }
    written
}

/// Fails where the database that has the name now is not the one that this run looked at: the target's was made as that is.
fn ensure_same_database(context: &Context, snapshot: &LockedSnapshot) -> Result<(), StepError> {
    let seen = context.database()?;
    if snapshot.database() == seen.oid {
        return Ok(());
    }
    Err(StepError::new(format!(
        "database \"{}\": on the source, another database got this name after this run looked at it (object id {} instead of {})",
        context.shown_database(),
        snapshot.database(),
        seen.oid
    ))
    .help("run again: what this run made of it is made again as the one is that has the name now"))
}

/// Runs pg_dump, and reads what it wrote.
async fn write(
    context: &Context,
    path: &Path,
    snapshot: &LockedSnapshot,
) -> Result<(Dumped, Vec<String>), StepError> {
    ensure_same_database(context, snapshot)?;
    let command: Vec<String> = context
        .step()
        .command
        .iter()
        .map(|argument| match argument.as_str() {
            SNAPSHOT => format!("--snapshot={}", snapshot.id()),
            other => other.to_owned(),
        })
        .collect();
    let command = patterns::encoded(context, &command).await?;
    let mut warnings = ProgramWarnings::default();
    let child = invocation(context, Side::Source, &command, &[MONEY]).await?;
    // Delayed tables are dumped without them.
    let reads_definitions = context.step().id.kind == Kind::Dump;
    let stop = context.stop.child_token();
    let has_read = Notify::new();
    let child = child.run(&stop, |line| {
        if reads_definitions && line.contains(FIRST_CONTENTS) {
            has_read.notify_one();
        }
        warnings.push_line(line);
    });
    let mut definitions: Option<Result<(), StepError>> = None;
    let finished = {
        let mut child = std::pin::pin!(child);
        let mut look = tokio::time::interval(LOOK);
        loop {
            tokio::select! {
                finished = &mut child => break finished,
                () = has_read.notified(), if definitions.is_none() => {
                    let same = ensure_same_definitions(context, snapshot).await;
                    if same.is_err() {
                        stop.cancel();
                    }
                    definitions = Some(same);
                }
                _ = look.tick() => context.report(Progress {
                    done: archive::bytes(path).await,
                    total: None,
                    unit: Unit::Bytes,
                }),
            }
        }
    };
    // Where they are not, it was stopped for that.
    let is_checked = definitions.is_some();
    if !context.stop.is_cancelled() {
        definitions.unwrap_or(Ok(()))?;
    }
    let finished = finished
        .and_then(Finished::success)
        .map_err(|error| failure(context, error));
    if reads_definitions && !is_checked && !context.stop.is_cancelled() {
        let same = ensure_same_definitions(context, snapshot).await;
        // pg_dump fails on what is gone; a source that cannot be asked either is its own error.
        if finished.is_ok() || same.as_ref().is_err_and(|error| error.snapshot_lost) {
            same?;
        }
    }
    finished?;
    contents::ensure(context, path, snapshot).await?;
    // Before anything can happen to it: a run that goes on compares.
    let seal = archive::seal(path, context.step().jobs, &context.stop).await;
    let seal = seal.map_err(|error| {
        if context.stop.is_cancelled() {
            return StepError::interrupted();
        }
        StepError::new(format!(
            "cannot read the archive {} that pg_dump has just written: {error}",
            path.display()
        ))
        .help("look at the file system of dump.root")
    })?;
    context.report(Progress {
        done: seal.bytes,
        total: Some(seal.bytes),
        unit: Unit::Bytes,
    });
    let dumped = Dumped {
        archive: seal,
        snapshot: snapshot.id().to_owned(),
        oldest_transaction: Some(snapshot.oldest_transaction()),
        source_read_only: context.plan().source_read_only,
        database: Some(snapshot.database()),
        source: context.endpoint(Side::Source).watch.latest(),
    };
    Ok((dumped, warnings.into_lines(context)))
}
