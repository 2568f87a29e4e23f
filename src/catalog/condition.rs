//! What a source is in the middle of.

/// A transaction that PREPARE TRANSACTION left (PostgreSQL manual, 53.17 `pg_prepared_xacts`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PreparedTransaction {
    pub database: String,
    pub gid: String,
    pub owner: String,
}

/// Why a standby does not show what its primary has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stale {
    /// `pg_wal_replay_pause()`, or the pause at a recovery target.
    Paused,
    /// `recovery_min_apply_delay`.
    Delayed,
    /// It receives nothing from a primary.
    Unconnected,
    /// It has received so many bytes of WAL that it does not replay, and its replay stands still.
    Waiting { bytes: u64 },
}

/// A source at the time of the look.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Condition {
    pub prepared: Vec<PreparedTransaction>,
    /// Of a standby; `None`: it follows.
    pub stale: Option<Stale>,
}
