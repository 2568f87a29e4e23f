//! What the plan puts into another tablespace than the archive says.
//!
//! pg_restore creates everything where the archive says, or everything in the default tablespace of the database. So where
//! the plan chooses, it does the latter, and what belongs elsewhere is moved: tables while they are empty, which costs
//! nothing, and indexes when they are built, which copies them once.

use super::parts::Part;
use crate::catalog::{Placed, PlacedKind};
use crate::graph::NO_TABLESPACES;
use crate::plan::Side;
use crate::postgres::{Connection, quote_identifier};
use crate::step::{Context, StepError, ours};

/// Whether pg_restore leaves the tablespaces to us.
fn is_ours(context: &Context) -> bool {
    context
        .step()
        .command
        .iter()
        .any(|word| word == NO_TABLESPACES)
}

/// Of a session that pg_restore gives no tablespace: our role or the database may have a setting of its own.
pub(super) fn settings(context: &Context) -> Option<(&'static str, &'static str)> {
    is_ours(context).then_some(("default_tablespace", ""))
}

/// Moves what the part created. `session`: one in the database, if there is one.
pub(super) async fn place(
    context: &Context,
    part: Part,
    session: Option<&Connection>,
) -> Result<(), StepError> {
    if !is_ours(context) {
        return Ok(());
    }
    let placed = context.database()?.contents.iter();
    let placed = placed.flat_map(|contents| &contents.placed);
    let of_part = placed.filter(|placed| match placed.kind {
        PlacedKind::Table => part == Part::PreData,
        // One that groups by a primary key is made after it.
        PlacedKind::MaterializedView => matches!(part, Part::PreData | Part::PostData),
        PlacedKind::Index => part == Part::PostData,
    });
    let statements: Vec<String> = of_part
        .filter_map(|placed| statement(context, placed))
        .collect();
    if statements.is_empty() {
        return Ok(());
    }
    match session {
        Some(session) => execute(session, &statements).await,
        None => {
            let session = ours::open(context, &context.session(Side::Target)).await?;
            execute(&session, &statements).await?;
            session.close().await;
            Ok(())
        }
    }
}

async fn execute(session: &Connection, statements: &[String]) -> Result<(), StepError> {
    for sql in statements {
        let done = session.batch_execute(sql).await;
        done.map_err(session.failed(format!("run {sql}")))?;
    }
    Ok(())
}

/// `None`: it is in the default tablespace, and stays there. What could not be restored, and the plan accepts that, is not
/// there.
fn statement(context: &Context, placed: &Placed) -> Option<String> {
    let tablespace = context.plan().tablespaces.on_target(&placed.tablespace)?;
    Some(format!(
        "ALTER {} IF EXISTS {} SET TABLESPACE {}",
        placed.kind.word().to_uppercase(),
        placed.name.quoted(),
        quote_identifier(tablespace)
    ))
}
