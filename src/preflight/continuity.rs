//! A server that is not as a run of this plan saw it last: what of its work is done again, and what a person has to decide.

use crate::catalog::ServerFacts;
use crate::finding::{Code, Finding, Severity};
use crate::names::Continuity;
use crate::plan::Side;

/// A server that is not as it was, with the databases that this is about.
pub(crate) struct Changed<'a> {
    pub continuity: Continuity,
    /// What shows it.
    pub difference: &'a str,
    /// What the next run does again.
    pub again: &'a [String],
    /// Verified, so that clients may use them.
    pub in_use: &'a [String],
}

/// How a changed server is called.
struct Words {
    side: Side,
    promoted: (Code, &'static str),
    went_back: Code,
    /// What may be wrong for that.
    danger: &'static str,
    again: &'static str,
    in_use: &'static str,
}

const TARGET: Words = Words {
    side: Side::Target,
    promoted: (
        Code::TargetPromoted,
        "was promoted since a run of this plan saw it last",
    ),
    went_back: Code::TargetWentBack,
    danger: "what was restored and counted as done may be gone",
    again: "the next run creates and restores again",
    in_use: "verified before, and not looked at again by a run, because clients may use them",
};

const SOURCE: Words = Words {
    side: Side::Source,
    promoted: (
        Code::SourcePromoted,
        "failed over since a run of this plan saw it last",
    ),
    went_back: Code::SourceWentBack,
    danger: "it may lack rows that were dumped, and have others",
    again: "the next run dumps again",
    in_use: "dumped before and verified, so that they stay as they are",
};

/// What `verify` does not settle.
const ROWS: &str = "`pg-migrate verify` compares rows and sequences alone, and no indexes, constraints and privileges";

/// About the target. What clients may use is not made again without being asked for.
pub(crate) fn for_changed_target(changed: &Changed<'_>) -> Option<Finding> {
    let finding = finding(changed, &TARGET)?;
    let code = finding.code;
    Some(match changed.continuity {
        Continuity::Promoted { .. } if changed.in_use.is_empty() => {
            finding.severity(Severity::Warn)
        }
        Continuity::Promoted { to, .. } => finding.fix(format!(
            "where the standby had all of the WAL (synchronous replication, an orderly switchover): a waiver for {code} with object = \
             \"{}\" believes it; otherwise `pg-migrate reset PLAN --database NAME --drop NAME` for each that may lack something: {ROWS}",
            timeline(to)
        )),
        _ => finding.fix(format!(
            "let [target] lead to the server that this plan began with; where this is it, and its machine was put back to an \
             older state: `pg-migrate reset PLAN --database NAME --drop NAME` for each verified database that is gone or may lack \
             something ({ROWS}), and a waiver for {code}"
        )),
    })
}

/// About the source.
pub(crate) fn for_changed_source(changed: &Changed<'_>) -> Option<Finding> {
    let finding = finding(changed, &SOURCE)?;
    let code = finding.code;
    let compare = "`pg-migrate verify` compares both servers; a verified database that shall be as the source is now: \
                   `pg-migrate reset PLAN --database NAME --drop NAME`, if what is in it is not needed";
    Some(finding.fix(match changed.continuity {
        Continuity::Promoted { .. } => compare.to_owned(),
        _ => format!(
            "let [source] lead to the server that this plan began with; where this is it, a waiver for {code} goes on; {compare}"
        ),
    }))
}

/// `None`: no database is concerned.
fn finding(changed: &Changed<'_>, words: &Words) -> Option<Finding> {
    let Changed {
        difference,
        again,
        in_use,
        ..
    } = changed;
    if again.is_empty() && in_use.is_empty() {
        return None;
    }
    let (code, what) = match changed.continuity {
        Continuity::Same => return None,
        Continuity::Promoted { .. } => words.promoted,
        Continuity::WentBack | Continuity::AnotherServer => (
            words.went_back,
            "is another server, or in an older state, than when a run of this plan saw it last",
        ),
    };
    let Words { side, danger, .. } = words;
    let mut message = format!("the {side} {what} ({difference}): {danger}");
    for (databases, what) in [(again, words.again), (in_use, words.in_use)] {
        if !databases.is_empty() {
            message.push_str(&format!("; {what}: {}", list(databases)));
        }
    }
    let finding = Finding::new(code, message);
    Some(match changed.continuity {
        Continuity::Promoted { to, .. } => finding.object(timeline(to)),
        _ => finding,
    })
}

/// A promotion, as a waiver names it: each begins a timeline of its own.
fn timeline(number: u32) -> String {
    format!("TIMELINE {number}")
}

/// A database that clients may use, on a target that was promoted and whose mark lacks some of what was done to it.
pub(crate) fn for_promoted_behind(database: &str, difference: &str) -> Finding {
    let message = format!(
        "the standby that took over as the target had not all that this plan did in this database ({difference}): it may lack rows, \
         indexes, constraints and privileges, and may still be closed to clients"
    );
    let code = Code::TargetPromotedBehind;
    Finding::new(code, message).database(database).fix(format!(
        "`pg-migrate reset PLAN --database NAME --drop NAME`, and run: it is moved again ({ROWS}); where the server that was the target \
         before can be had again, let [target] lead to it; where you made it whole by hand, a waiver for {code} with object = its name"
    ))
}

/// A server that does not say where it is in its history.
pub(super) fn for_no_history(server: &ServerFacts, side: Side) -> Option<Finding> {
    if server.seen.is_some() {
        return None;
    }
    let (code, then) = match side {
        Side::Source => (Code::SourceNoHistory, "is not noticed"),
        Side::Target => (
            Code::TargetNoHistory,
            "is noticed by the target's mark alone",
        ),
    };
    let user = &server.user;
    let message = format!(
        "role {user} may not ask the {side} for its WAL position, timeline and start: a fail-over, a clone or a machine that was put \
         back to an earlier state {then}"
    );
    Some(Finding::new(code, message).fix(format!(
        "GRANT EXECUTE ON FUNCTION pg_current_wal_flush_lsn() TO {user}; where it is another, the log of RUST_LOG=debug names it"
    )))
}

/// Another database of the source has the name of the one that was dumped.
pub(crate) fn for_replaced_source(database: &str, is_verified: bool) -> Finding {
    let what = if is_verified {
        "it is verified, and stays on the target as it is"
    } else {
        "the next run dumps it again"
    };
    let message = format!(
        "the source's database of this name is not the one that was dumped: that was dropped or renamed since; {what}"
    );
    let finding = Finding::new(Code::SourceDatabaseReplaced, message).database(database);
    if is_verified {
        finding.fix(
            "`pg-migrate reset PLAN --database NAME --drop NAME`, if the target shall have the one that has the name now and \
             what is there is not needed",
        )
    } else {
        finding.severity(Severity::Info)
    }
}

fn list(names: &[String]) -> String {
    let quoted = names.iter().map(|name| format!("\"{name}\""));
    quoted.collect::<Vec<_>>().join(", ")
}
