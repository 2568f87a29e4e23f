//! What was done, on disk: records, replay, writer, lock, and the plan that they are about. Never decides what runs.

mod record;
mod replay;
mod state;
mod store;
pub(crate) mod stored;

pub use record::*;
pub use replay::{DamagedLine, Replay, is_record, replay};
pub(crate) use state::*;
pub(crate) use store::*;

#[cfg(test)]
mod scale_tests;
