//! Connections to PostgreSQL servers.

mod identifier;

pub use identifier::escape_control;
