//! The `create` step: a database of the source, made anew on the target, still empty.

mod apply;
mod privileges;
mod settings;
mod sql;
mod statement;

pub(crate) use apply::{finish, run};
pub(super) use settings::value_of;
