//! `verify`: the counts of both sides, compared, and the database opened as it is on the source.

use super::{Context, StepError, create};
use crate::graph::{Kind, Output, archive};
use crate::verify::compare;

/// Compares, and removes the archive of a database that is complete unless the plan keeps it.
pub async fn run(context: &Context) -> Result<Output, StepError> {
    let counts = |kind| {
        context
            .inputs
            .get(&kind)
            .map(|output| output.counts.as_slice())
            .ok_or_else(|| StepError::fault(format!("the journal holds no {kind}")))
    };
    let comparison = compare(
        counts(Kind::SourceCounts)?,
        counts(Kind::TargetCounts)?,
        context.plan().verify,
    );
    let differing: Vec<String> = comparison
        .mismatches()
        .map(|table| format!("{}.{}", table.schema, table.table))
        .collect();
    let output = Output {
        tables: comparison.tables,
        warnings: comparison.warnings,
        ..Output::default()
    };
    if differing.is_empty() {
        create::finish(context).await?;
        if !context.plan().dump.keep {
            remove_archive(context).await?;
        }
        return Ok(output);
    }
    let database = context.database_name();
    let shown = differing
        .iter()
        .take(5)
        .cloned()
        .collect::<Vec<_>>()
        .join(", ");
    let more = differing.len().saturating_sub(5);
    let more = if more > 0 {
        format!(" and {more} more")
    } else {
        String::new()
    };
    Err(StepError::new(format!(
        "database \"{database}\": {} of {} tables differ between source and target: {shown}{more}\n\
         do not use this database on the target yet; look for writes to it since the restore, mend the cause, \
         and run again: the target is counted anew",
        differing.len(),
        output.tables.len()
    ))
    .with_output(output))
}

async fn remove_archive(context: &Context) -> Result<(), StepError> {
    let path = archive(context.plan(), context.database_name());
    match tokio::fs::remove_dir_all(&path).await {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(StepError::new(format!(
            "cannot remove the archive {}: {error}\nthe database is complete; remove the archive by hand, or set \
             dump.keep = true",
            path.display()
        ))),
        _ => Ok(()),
    }
}
