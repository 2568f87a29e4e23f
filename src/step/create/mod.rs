//! The `create` step: a database of the source, made anew on the target, still empty.

mod privileges;
mod settings;
mod sql;

pub use sql::*;
