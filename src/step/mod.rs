//! How each kind of step works, a file each. A step knows nothing of other steps, of budgets or of the
//! journal.

pub(crate) mod archive;
mod child;
mod context;
mod continuity;
mod counts;
pub(crate) mod create;
mod delayed;
mod dump;
mod error;
mod exhausted;
pub(crate) mod globals;
mod locked_snapshot;
mod made_tables;
mod others;
mod ours;
mod regular;
mod restore;
mod sequences;
pub(crate) mod snapshot;
pub(crate) mod tuning;
pub(crate) mod used;
mod verify;

pub(crate) use context::{ChangeRequest, Context, Shared, ToOpen};
pub(crate) use error::StepError;
pub(crate) use locked_snapshot::LockedSnapshot;

use crate::failpoint::reach;
use crate::journal::Change;
use crate::mark;
use crate::names::{Kind, Output};
use crate::plan::Side;
use crate::postgres::Class;

/// Runs one attempt of a step.
pub(crate) async fn run(context: &Context) -> Result<Output, StepError> {
    let id = &context.step().id;
    let traits = id.kind.traits();
    let (writes_to_target, in_target) = (traits.writes_to_target, traits.in_target_database);
    reach!("{id} start");
    if let Some(mark) = &context.shared.mark
        && (writes_to_target || id.kind.is_tuning())
    {
        let ours = mark.ensure_ours().await;
        // A target that is away is waited for longer to restore its settings than for anything else.
        let is_away = ours.as_ref().is_err_and(mark::Error::is_unreachable);
        if !(is_away && id.kind == Kind::RestoreSettings) {
            ours?;
        }
    }
    // An attempt after another begins with a new database.
    if in_target && !(id.kind == Kind::Restore && context.is_retry) {
        ours::check(context).await?;
    }
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
    let result = result.map(|mut output| {
        output.warnings.extend(context.notices.take());
        output
    });
    let mut result = match &context.snapshot {
        Some(snapshot) => snapshot::ensure_same_tables(context, snapshot, result).await,
        None => result,
    };
    let is_unverified = matches!(id.kind, Kind::Restore | Kind::TargetCounts | Kind::Verify)
        && context.verified.is_none();
    if is_unverified
        && result
            .as_ref()
            .is_err_and(|error| error.class == Class::Fail)
    {
        let told = others::leave(context).await;
        result = result.map_err(|error| told.into_iter().fold(error, StepError::help));
    }
    if result.is_ok() && in_target {
        ours::check(context).await?;
    }
    if result.is_ok() && writes_to_target {
        reach!("{id} to be kept");
        tuning::flush_commits(context).await?;
    }
    // Those that only read have asked already, in their own way.
    if result.is_ok() && (writes_to_target || id.kind.is_tuning()) {
        continuity::ensure_same_servers(context).await?;
        context
            .record(Change::StepKept { step: id.clone() })
            .await?;
    }
    reach!("{id} end");
    result
}
