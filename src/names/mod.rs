//! The words that graph, journal, events, inspect and verify share: tables, kinds of steps, ids of steps, and what
//! steps hand on. Depends on nothing else of the program.

mod journal_v1;
mod kind;
mod output;
mod step_id;
mod table;
mod written;

pub use journal_v1::OutputV1;
pub use kind::{Kind, Phase, Scope};
pub use output::*;
pub use step_id::{StepId, Subject};
pub use table::{RelationKind, TableName, list_of_tables};
pub use written::{Since, WriteMark};
