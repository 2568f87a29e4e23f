//! What another migration, to our source, left there.

use crate::finding::{Code, Finding, Severity};

/// What a database of the source lacks, by its mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HalfDone {
    Unverified,
    NotOpened,
    Delayed,
}

/// A database of the source that a plan made there, and did not bring to an end.
pub(crate) fn for_half_done_source(database: &str, by: &str, half_done: HalfDone) -> Finding {
    let what = match half_done {
        HalfDone::Unverified => "did not verify it: it may be restored in part, or not at all",
        HalfDone::NotOpened => {
            "verified it and did not open it: its owner, privileges and settings are not set"
        }
        HalfDone::Delayed => {
            "did not load its delayed tables, or did not make their indexes again: rows and indexes may be missing"
        }
    };
    let message = format!(
        "by the source's mark (database pg_migrate_mark), plan \"{by}\" moved this database to the server that is our source, and {what}; \
         it would be copied as it is, and the counts would match"
    );
    Finding::new(Code::SourceUnfinished, message)
        .database(database)
        .fix(
            "let that plan come to its end first (`pg-migrate run` with its state directory); or migrate from its source; where this \
             database is known to be whole, a waiver for source/unfinished",
        )
}

/// Settings of the source that a plan changed for its load there. `is_unsafe`: one of them keeps data safe.
pub(crate) fn for_settings_left_on_source(names: &[String], is_unsafe: bool) -> Option<Finding> {
    let severity = match is_unsafe {
        true => Severity::Block,
        false => Severity::Warn,
    };
    (!names.is_empty()).then(|| {
        let message = format!(
            "by the source's mark (database pg_migrate_mark), a plan that migrated to the server that is our source changed settings there \
             and did not restore them: {}",
            names.join(", ")
        );
        Finding::new(Code::SourceLeftUnsafe, message)
            .severity(severity)
            .fix("wait for that run, if it is at work; otherwise `pg-migrate revert` with that plan, then run again")
    })
}

/// The source's machine went down while it did not wait for the disk. `what`: what was seen then, when it was a target.
pub(crate) fn for_damaged_source(what: &str) -> Finding {
    let message = format!(
        "by the source's mark (database pg_migrate_mark), from when it was the target of a migration: {what}"
    );
    Finding::new(Code::SourceLeftUnsafe, message).fix(
        "migrate from the server that it was filled from, or fill it again; where the machine was shut down in order, a waiver for \
         source/left-unsafe",
    )
}

/// The source's mark cannot be read.
pub(crate) fn for_unreadable_source_mark(user: &str, error: &str) -> Finding {
    let message = format!(
        "the source was the target of a migration, and what that left half done is not known: role {user} cannot read the mark there \
         (database pg_migrate_mark): {error}"
    );
    Finding::new(Code::SourceMarkUnreadable, message).fix(
        "use the role that made it for [source], or as that role on the source, in database pg_migrate_mark: GRANT USAGE ON SCHEMA mark \
         TO it; GRANT SELECT ON ALL TABLES IN SCHEMA mark TO it; where that migration came to its end, a waiver for \
         source/mark-unreadable",
    )
}
