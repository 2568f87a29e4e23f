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
pub mod restore_log;
mod spawner;
mod transient;

pub use child::{ChildError, Finished, Invocation, Stdout};
pub use client::client_facts;
pub use environment::PgEnvironment;
pub use leftovers::kill_leftovers;
pub use local::LocalEnvironment;
