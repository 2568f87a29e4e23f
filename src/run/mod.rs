//! The runner: joins schedule, journal and steps on tokio.

pub mod event;
