//! How each kind of step works, a file each. A step knows nothing of other steps, of budgets or of the
//! journal.

pub mod archive;
mod child;
mod context;
mod counts;
pub mod create;
mod delayed;
mod dump;
mod error;
pub mod globals;
mod restore;
pub mod tuning;
mod verify;

pub use context::{ChangeRequest, Context, Shared};
pub use error::StepError;

use crate::failpoint::reach;
use crate::names::{Kind, Output};
use crate::plan::Side;

/// Runs one attempt of a step.
pub async fn run(context: &Context) -> Result<Output, StepError> {
    let id = &context.step().id;
    reach!("{id} start");
    let result = match id.kind {
        Kind::Globals => globals::run(context).await,
        Kind::Create => create::run(context).await,
        Kind::Dump => dump::run(context).await,
        Kind::SourceCounts => counts::run(context, Side::Source).await,
        Kind::Restore => restore::run(context).await,
        Kind::TargetCounts => counts::run(context, Side::Target).await,
        Kind::Verify => verify::run(context).await,
        Kind::DelayedDump => delayed::dump(context).await,
        Kind::DropIndexes => delayed::drop_indexes(context).await,
        Kind::DelayedRestore => delayed::load(context).await,
        Kind::RecreateIndexes => delayed::recreate_indexes(context).await,
        Kind::DelayedVerify => delayed::verify(context).await,
        Kind::TuneTarget => tuning::tune(context).await,
        Kind::RestoreSettings => tuning::restore(context).await,
    };
    if result.is_ok() && writes_to_target(id.kind) {
        reach!("{id} to be kept");
        tuning::flush_commits(context).await?;
    }
    reach!("{id} end");
    result
}

/// Steps whose work on the target is committed in transactions.
fn writes_to_target(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::Globals
            | Kind::Create
            | Kind::Restore
            | Kind::Verify
            | Kind::DropIndexes
            | Kind::DelayedRestore
            | Kind::RecreateIndexes
    )
}
