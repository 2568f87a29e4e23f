//! Connections to PostgreSQL servers.
