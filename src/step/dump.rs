//! `dump`: pg_dump of one database under the shared snapshot.

use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::time::Duration;

use super::child::{directory_bytes, failure, invocation};
use super::{Context, StepError};
use crate::event::{Progress, Unit};
use crate::graph::{Output, SNAPSHOT, archive};
use crate::plan::Side;
use crate::process::Finished;

/// How often the archive's size is looked at.
const LOOK: Duration = Duration::from_secs(1);

/// Dumps the database into an archive of its own. What an attempt before left there is removed.
pub async fn run(context: &Context) -> Result<Output, StepError> {
    let archive = archive(context.plan(), context.database_name());
    into(context, &archive).await
}

/// Runs the step's pg_dump under the step's snapshot, into an archive that is not there yet or is removed.
pub(super) async fn into(context: &Context, archive: &Path) -> Result<Output, StepError> {
    let snapshot = context
        .snapshot
        .as_ref()
        .ok_or_else(|| StepError::fault("a dump shares a snapshot"))?;
    make_room(archive)?;

    let command: Vec<String> = context
        .step()
        .command
        .iter()
        .map(|argument| match argument.as_str() {
            SNAPSHOT => format!("--snapshot={}", snapshot.id()),
            other => other.to_owned(),
        })
        .collect();
    let child = invocation(context, Side::Source, &command).run(&context.shared.stop, |_| {});
    let finished = {
        let mut child = std::pin::pin!(child);
        let mut look = tokio::time::interval(LOOK);
        loop {
            tokio::select! {
                finished = &mut child => break finished,
                _ = look.tick() => context.report(Progress {
                    done: directory_bytes(archive).await,
                    total: None,
                    unit: Unit::Bytes,
                }),
            }
        }
    };
    match finished.and_then(Finished::success) {
        Ok(_) => {
            let bytes = directory_bytes(archive).await;
            context.report(Progress {
                done: bytes,
                total: Some(bytes),
                unit: Unit::Bytes,
            });
            Ok(Output {
                archive_bytes: Some(bytes),
                snapshot: Some(snapshot.id().to_owned()),
                ..Output::default()
            })
        }
        Err(error) => Err(failure(context, error)),
    }
}

/// Makes the archive's parent directory and removes an archive that is there: a half-written one, since a
/// whole one would not be dumped again.
fn make_room(archive: &Path) -> Result<(), StepError> {
    let make = || -> std::io::Result<()> {
        match std::fs::remove_dir_all(archive) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let parent = archive.parent().unwrap_or(archive);
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(parent)
    };
    make().map_err(|error| {
        StepError::new(format!(
            "cannot prepare the archive's directory {}: {error}\nlook at the permissions and the free space of \
             dump.root",
            archive.display()
        ))
    })
}
