//! What plans compile to. The servers are synthetic, the schedule is the real one.

mod compiling;
mod scale;
mod scheduling;
pub(crate) mod synthetic;
