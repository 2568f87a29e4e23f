//! Why a run did not start, or could not go on.

use miette::Diagnostic;

use super::signal::Signal;
use crate::journal::{self, Position};
use crate::mark::{self, Standing};
use crate::postgres::Class;

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
    #[error("another run, with a copy of this plan's state directory, is at work on the {target}")]
    #[diagnostic(help(
        "let that one end, and go on with its directory; its sessions are those in pg_stat_activity whose application_name \
         starts with pg-migrate/. One that does not live any more is not waited for"
    ))]
    HeldByCopy { target: String },
    #[error("the state directory and the target do not agree: {what}")]
    #[diagnostic(help(
        "nothing was changed. Go on with the state directory that belongs to the target's mark (another machine, a copy, a later \
         backup). Where it is lost for good, `pg-migrate discard PLAN` lists what was made on the target, whether clients may use it, and \
         drops what is not needed; to keep it, leave it out (databases.exclude) of a plan of another name. `pg-migrate revert PLAN` \
         restores settings that the target still has for the load"
    ))]
    OtherState { what: String },
    #[error(transparent)]
    #[diagnostic(transparent)]
    Mark(#[from] mark::Error),
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
    #[error(
        "nothing was dropped: the target is another server than the one that this plan migrated to: its system identifier was {was}, \
         now it is {is}"
    )]
    #[diagnostic(help("let [target] of the plan lead to that one"))]
    AnotherTarget { was: String, is: String },
    #[error(
        "the target is another server than the one whose settings this plan changed, or in an older state: {difference}"
    )]
    #[diagnostic(help(
        "on that other server the settings for the load are still set: let [target] of the plan lead there, and `pg-migrate \
         revert` restores them; where this is that server, and its machine was put back to an older state, a waiver for \
         target/went-back lets them be restored here"
    ))]
    OlderTarget { difference: String },
    #[error(
        "the target's settings could not be restored, and are still those for the load:\n{what}"
    )]
    #[diagnostic(help(
        "fix the cause, then `pg-migrate revert` restores them, or the next `pg-migrate run` does before anything else"
    ))]
    RestoreFailed { what: String, class: Class },
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

impl Error {
    /// The mark `entry` says more than, or something else than, a journal that ends with `last`.
    pub(super) fn other_state(
        standing: Standing,
        entry: &mark::Entry,
        last: Option<Position>,
    ) -> Error {
        let shown = |position: Position| format!("change {} of {}", position.number, position.at);
        let marked = shown(entry.position);
        let ends = last.map_or_else(
            || "is empty".to_owned(),
            |last| format!("ends with {}", shown(last)),
        );
        let mut what = match standing {
            Standing::Diverged => format!(
                "the target's mark has {marked}, which the journal does not have, though it {ends}: a run went on with a copy of the directory"
            ),
            _ => format!(
                "the target's mark is newer: it has {marked}, and the journal {ends}: the directory was put back to an earlier state, or a run \
                 went on with a copy of it"
            ),
        };
        if !entry.settings.is_empty() {
            let settings = entry.settings.iter().map(|(name, before)| match before {
                Some(before) => format!("{name} (before: {before})"),
                None => name.clone(),
            });
            let settings: Vec<String> = settings.collect();
            what.push_str(&format!(
                "\nby the mark these settings of the target are still those for the load, with which a crash may lose data: {}; ALTER \
                 SYSTEM RESET each, or SET what it was before, and SELECT pg_reload_conf(), which `pg-migrate revert` does",
                settings.join(", ")
            ));
        }
        Error::OtherState { what }
    }
}
