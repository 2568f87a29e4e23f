//! Child processes: the PostgreSQL client programs.
//!
//! The only place that starts any. Each runs in a process group of its own, ends when this
//! process ends, however that happens, and leaves its standard error whole.

mod child;
mod client;
mod environment;
mod leftovers;
mod local;
mod output;
pub(crate) mod restore_log;
mod spawner;
mod transient;

pub(crate) use child::{ChildError, Finished, Invocation, Stdout};
pub(crate) use client::client_facts;
pub(crate) use environment::{PgEnvironment, keep_from_children};
pub(crate) use leftovers::kill_leftovers;
pub(crate) use local::{LocalEnvironment, open_files};
