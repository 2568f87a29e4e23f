//! The `globals` step: roles, memberships and tablespaces.
//!
//! `pg_dumpall --globals-only --encoding=UTF8` writes a script for psql. `split` cuts it into
//! statements, `statement` says what each one is, `plan` decides what happens with it on the target. `since` tells what
//! changed on either side since an earlier run.

mod apply;
mod chosen;
mod dump;
mod lexer;
mod membership;
mod plan;
mod since;
mod split;
mod statement;

pub(crate) use apply::run;
pub(crate) use dump::changed_since;
pub use plan::*;
pub use split::*;
pub use statement::*;
