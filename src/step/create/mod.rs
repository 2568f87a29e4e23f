//! The `create` step: a database of the source, created on the target, still empty.

mod apply;
mod privileges;
mod settings;
mod sql;
mod statement;

pub use apply::{apply_post_load_settings, run};
pub(super) use settings::value_of;
