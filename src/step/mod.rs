//! How each kind of step works, a file each. A step knows nothing of other steps, of budgets or of the
//! journal.

mod child;
mod context;
mod counts;
pub mod create;
mod dump;
mod error;
pub mod globals;
mod restore;
mod verify;

pub use context::{ChangeRequest, Context, Shared};
pub use error::StepError;

use crate::graph::{Kind, Output};
use crate::plan::Side;
use crate::postgres::{Class, Session, connect};

/// Runs one attempt of a step.
pub async fn run(context: &Context) -> Result<Output, StepError> {
    let kind = context.step().id.kind;
    match kind {
        Kind::Globals => globals::run(context).await,
        Kind::Create => create::run(context).await,
        Kind::Dump => dump::run(context).await,
        Kind::SourceCounts => counts::run(context, Side::Source).await,
        Kind::Restore => restore::run(context).await,
        Kind::TargetCounts => counts::run(context, Side::Target).await,
        Kind::Verify => verify::run(context).await,
        Kind::TuneTarget
        | Kind::RestoreSettings
        | Kind::DelayedDump
        | Kind::DropIndexes
        | Kind::DelayedRestore
        | Kind::RecreateIndexes
        | Kind::DelayedVerify => Err(StepError::fault(format!("no graph has a step {kind} yet"))),
    }
}

/// The failure of a client program, worth another attempt if the server cannot be reached now, or not
/// under the conditions that the program met: then it is the connection that failed, not the program's work.
async fn retry_if_unreachable(context: &Context, side: Side, error: StepError) -> StepError {
    if error.class != Class::Fail {
        return error;
    }
    let session = Session::new(&context.application());
    let endpoint = context.endpoint(side);
    match connect(endpoint, &endpoint.database, &session).await {
        Ok(connection) => {
            connection.close().await;
            error
        }
        Err(unreachable) if unreachable.class() == Class::Retry => StepError {
            class: Class::Retry,
            message: format!("{}\n{unreachable}", error.message),
            ..error
        },
        Err(_) => error,
    }
}
