//! One part of a database's properties, as SQL.

/// One part of a database's properties.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Statement {
    /// May be several statements: they go in one simple-query message, so that a role that the first
    /// one takes on does not outlive a failure of the second.
    pub sql: String,
    /// What the statement is about, for messages: `setting work_mem`.
    pub what: String,
    /// A refusal by the server is a warning, and the database is complete without it.
    pub is_optional: bool,
}
