//! What was done, on disk: records, replay, writer, lock. Never decides what runs.

mod record;
mod replay;
mod state;
mod store;

pub use record::*;
pub use replay::{DamagedLine, Illegal, Replay, is_record, replay};
pub use state::*;
pub use store::*;

#[cfg(test)]
mod scale_tests;
