//! Why a run did not start, or could not go on.

use miette::Diagnostic;

use super::signal::Signal;
use crate::journal;

/// Why a run did not start, or could not go on.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub(crate) enum Error {
    #[error(transparent)]
    #[diagnostic(transparent)]
    Journal(#[from] journal::Error),
    #[error("another run holds the {target}")]
    #[diagnostic(help(
        "wait until it has ended; its sessions are those in pg_stat_activity whose application_name starts with \
         pg-migrate/"
    ))]
    TargetHeld { target: String },
    #[error(transparent)]
    #[diagnostic(transparent)]
    Postgres(#[from] crate::postgres::Error),
    #[error(
        "the target is another server than the one whose settings this plan changed: its system identifier was {was}, now it is {is}"
    )]
    #[diagnostic(help(
        "the settings for the load are still set on that other server; let [target] of the plan lead there, and \
         `pg-migrate revert` restores them"
    ))]
    OtherTarget { was: String, is: String },
    #[error("the target's settings could not be restored, and are still those for the load:\n{0}")]
    #[diagnostic(help(
        "fix the cause, then `pg-migrate revert` restores them, or the next `pg-migrate run` does before anything else"
    ))]
    RestoreFailed(String),
    #[error(
        "{0} received; the target's settings were not restored yet, and are still those for the load"
    )]
    #[diagnostic(help(
        "with them a crash may lose data: `pg-migrate revert` restores them, or the next `pg-migrate run` does before \
         anything else"
    ))]
    GivenUp(Signal),
    #[error("{sessions} sessions that a killed run of this plan left on the {server} do not end")]
    #[diagnostic(help(
        "look at them in pg_stat_activity (application_name starts with pg-migrate/): what they wait for keeps them; \
         then run again"
    ))]
    Leftovers { server: String, sessions: u32 },
    #[error(
        "client programs that a killed run of this plan left on this machine do not end: process {0}"
    )]
    #[diagnostic(help(
        "look at them with ps: SIGKILL does not end what waits for a disk or a file system (state D); fix that, then \
         run again"
    ))]
    LeftoverPrograms(String),
    #[error("{what}")]
    Archives {
        what: String,
        #[help]
        help: Option<String>,
    },
    #[error("what was done cannot be combined with the plan as it is now:\n{0}")]
    #[diagnostic(help(
        "clients may write to the database since it was verified, so it is not created again by itself; put the plan \
         back as it was, or, if the database is not in use on the target, `pg-migrate reset PLAN --database NAME --drop \
         NAME`: the next run drops it and creates it again, unless it was written to since"
    ))]
    Conflict(String),
    #[error("what was verified is not there:\n{what}")]
    Missing {
        what: String,
        #[help]
        help: String,
    },
    #[error("what was to be dropped is in use:\n{0}")]
    #[diagnostic(help("{}", crate::step::used::KEEP_OR_DROP))]
    InUse(String),
    #[error("the graph cannot be run: {0}")]
    DoesNotFit(#[from] crate::schedule::DoesNotFit),
}
