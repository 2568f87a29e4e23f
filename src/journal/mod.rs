//! What was done, on disk: records, replay, writer, lock. Never decides what runs.

mod record;
mod state;

pub use record::*;
pub use state::*;
