//! What earlier runs left on the target: of this plan, by its journal, or of another.

use crate::finding::{Code, Finding, Severity};
use crate::names::{TableName, some_of};

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

/// Settings that a run of this plan with another state directory has changed and not restored, by the target's mark. Where a person
/// has switched on by hand what keeps data safe, the others are left.
pub(crate) fn for_settings_left_by_another(names: &[&str], is_unsafe: bool) -> Option<Finding> {
    (!names.is_empty()).then(|| {
        let message = format!(
            "by the target's mark, a run of a plan of this name with another state directory, which may be lost, has changed settings \
             of the target and not restored them yet: {}",
            names.join(", ")
        );
        let severity = match is_unsafe {
            true => Severity::Block,
            false => Severity::Warn,
        };
        Finding::new(Code::TargetLeftUnsafe, message).severity(severity).fix(
            "wait for that run, if it is at work; otherwise `pg-migrate revert` restores them as the mark says they were before",
        )
    })
}

/// A database that a run with another state directory made and did not open.
pub(crate) fn for_half_done_by_another(database: &str) -> Finding {
    let message = "by the target's mark, a plan of this name with another state directory, which may be lost, made this database and \
                   did not open it: it may be incomplete, and closed to clients";
    Finding::new(Code::TargetUnfinished, message)
        .severity(Severity::Warn)
        .database(database)
        .fix(
            "go on with that state directory; where it is lost, `pg-migrate discard PLAN --drop NAME`, and run; or set its owner and \
             privileges by hand, if it is whole",
        )
}

/// The mark was given what this plan did, and has nothing of it.
pub(crate) fn for_mark_gone() -> Finding {
    Finding::new(
        Code::TargetMarkGone,
        "the target's mark (database pg_migrate_mark) has nothing of what this plan did there: it was dropped, or the target is in \
         an older state",
    )
    .fix(
        "where a person dropped it, and this state directory is the newest of this plan: a waiver for target/mark-gone, and the run \
         makes it again; where the target or the state directory was put back to an earlier state, go on with the one that it \
         belongs to",
    )
}

/// Our role may not use the mark.
pub(crate) fn for_mark_closed(user: &str) -> Finding {
    Finding::new(
        Code::TargetMarkNotWritable,
        format!(
            "role {user} may not write to the target's mark (database pg_migrate_mark), which another role made: a state directory \
             that is put back to an earlier state, or copied, would not be noticed"
        ),
    )
    .fix(
        "run as the role that made it; or, where what it says is not needed any more, `pg-migrate discard` as that role, or DROP \
         DATABASE pg_migrate_mark; or a waiver for target/mark-not-writable goes on without",
    )
}

/// Other roles may connect to a database that is not done.
pub(crate) fn for_opened(database: &str) -> Finding {
    Finding::new(
        Code::TargetOpened,
        "no run of this plan opened this database, by its state directory, and other roles may connect to it",
    )
    .database(database)
    .fix(
        "where a run went on with another copy of the state directory, go on with that one; where a person granted CONNECT, REVOKE \
         CONNECT ON DATABASE it, and run again; where nobody needs what is in it, DROP DATABASE on the target; to keep it as it is, \
         exclude it (databases.exclude)",
    )
}

/// Dumps of an earlier run that are still to be restored or verified: the databases' names, and when each was begun, the oldest
/// first.
pub(crate) fn for_dumps_of_earlier_run(
    dumps: &[(&str, jiff::Timestamp)],
    verified: &[(&str, jiff::Timestamp)],
) -> Option<Finding> {
    let named = |dumps: &[(&str, jiff::Timestamp)]| {
        let named = dumps.iter();
        let named: Vec<String> = named
            .map(|(name, begun)| format!("\"{name}\" ({begun:.0})"))
            .collect();
        some_of(&named, 5)
    };
    let (mut parts, mut fixes) = (Vec::new(), Vec::new());
    if let Some((_, oldest)) = dumps.first() {
        parts.push(format!(
            "an earlier run dumped these databases, the first at {oldest:.0}, and the run goes on with what the source had then: {}",
            named(dumps)
        ));
        fixes.push(
            "pg-migrate reset PLAN --database DB --step dump for each that is to be dumped again",
        );
    }
    if let Some((_, oldest)) = verified.first() {
        parts.push(format!(
            "earlier runs verified these, by dumps the first of which is of {oldest:.0}, and they stay as they are: {}",
            named(verified)
        ));
        fixes.push("pg-migrate reset PLAN --database DB --drop DB for each that is verified and is to be moved again");
    }
    if parts.is_empty() {
        return None;
    }
    parts.push("what was written to the source since is not moved".to_owned());
    let fix = format!(
        "where somebody wrote to the source since: {}",
        fixes.join("; ")
    );
    Some(Finding::new(Code::SourceDumpOfEarlierRun, parts.join("; ")).fix(fix))
}

/// A difference that a verification found, of a database that was not made again since.
pub(crate) fn for_difference(database: &str, tables: &[TableName]) -> Finding {
    let message = match tables {
        [] => {
            "a verification found that another session wrote to it while it was closed".to_owned()
        }
        tables => format!(
            "a verification found that these tables differ from the source's, or that another session changed them: {}",
            some_of(tables, 5)
        ),
    };
    Finding::new(Code::TargetDiffered, message)
        .database(database)
        .fix(
            "pg-migrate reset PLAN --database it --step create (--drop it once it was verified), and run again; where a person \
             corrected the rows and stands for them, a waiver, and run again: what differs still is a difference then, too",
        )
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
