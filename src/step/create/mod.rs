//! The `create` step: a database of the source, created on the target, still empty.

mod apply;
mod discard;
mod found;
mod opened;
mod privileges;
mod remake;
mod settings;
mod sql;
mod statement;

pub(crate) use apply::{is_left_out, open, run};
pub(crate) use discard::{Existing, drop_asked};
pub(crate) use found::{refuse_what_is_open, refuse_who_was_let_in};
pub(crate) use opened::{TRANSACTION_STATUS, stays_closed, was_let_in};
pub(crate) use remake::obstacle;
pub(super) use settings::value_of;
