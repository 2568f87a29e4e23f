//! What earlier runs left on the target: of this plan, by its journal, or of another.

use crate::finding::{Code, Finding, Severity};

/// Settings that a run of this plan has changed and not restored, by its journal.
pub(crate) fn for_settings_left(names: &[&str]) -> Option<Finding> {
    (!names.is_empty()).then(|| {
        let message = format!(
            "a run of this plan has changed settings of the target and not restored them yet: {}",
            names.join(", ")
        );
        Finding::new(Code::TargetStillTuned, message).fix(
            "wait for the run, if it is at work; otherwise `pg-migrate revert` restores them, and so does the next run \
             before anything else",
        )
    })
}

/// The target's machine went down while it did not wait for the disk. `what`: what was seen then.
pub(crate) fn for_damage(what: &str) -> Finding {
    Finding::new(Code::TargetCrashedUnsafe, what).fix(
        "create the cluster again (initdb), and begin again under another name in the plan; where the machine was shut down \
         in order, a waiver for target/crashed-unsafe goes on",
    )
}

/// What an earlier run of the plan began in a database that the plan does not move any more.
pub(crate) enum Unfinished {
    /// It was verified, and no other role may connect yet.
    Closed,
    /// It was verified, and its delayed tables are not loaded or not verified.
    Delayed,
    /// It was not verified, and no other role may connect.
    Unverified,
}

pub(crate) fn for_unfinished(database: &str, unfinished: &Unfinished) -> Finding {
    let (severity, what, fix) = match unfinished {
        Unfinished::Closed => (
            Severity::Block,
            "it is verified and still closed to other roles",
            "take it into the plan again and run; where the source has it no more, set its owner and privileges by hand and \
             waive this for it",
        ),
        Unfinished::Delayed => (
            Severity::Block,
            "its delayed tables are not loaded and verified, and their indexes may be missing",
            "take it into the plan again and run; or drop it on the target; or finish it by hand and waive this for it",
        ),
        Unfinished::Unverified => (
            Severity::Warn,
            "it is not verified, and closed to other roles",
            "take it into the plan again and run, or drop it on the target",
        ),
    };
    let message = format!(
        "an earlier run of this plan created this database on the target, and the plan does not move it any more: {what}"
    );
    Finding::new(Code::TargetUnfinished, message)
        .severity(severity)
        .database(database)
        .fix(fix)
}
