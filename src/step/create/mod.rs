//! The `create` step: a database of the source, made anew on the target, still empty.

mod apply;
mod privileges;
mod settings;
mod sql;

pub use apply::{open, run};
pub(super) use settings::value_of;
pub use sql::*;
