//! Child processes: the PostgreSQL client programs.
