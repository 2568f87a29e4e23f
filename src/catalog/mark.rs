//! The small database of ours in which a target says what was done to it.

/// Its name. No plan migrates it.
pub(crate) const MARK_DATABASE: &str = "pg_migrate_mark";

/// What its comment begins with, which tells it from another of its name.
const COMMENT: &str = "pg-migrate: ";

/// Its comment.
pub(crate) const MARK_COMMENT: &str = "pg-migrate: what plans did to this server, so that a lost, copied or older state directory does \
                                       no harm; pg-migrate discard removes it";

/// Whether a database is one.
pub(crate) fn is_mark(name: &str, comment: Option<&str>) -> bool {
    name == MARK_DATABASE && comment.is_some_and(|comment| comment.starts_with(COMMENT))
}
