//! The words that graph, journal, events, inspect and verify share: tables, kinds of steps, ids of steps, and what
//! steps hand on. Depends on nothing else of the program.

mod columns;
mod journal_v1;
mod kind;
mod output;
mod sighting;
mod step_id;
mod table;
mod written;

/// What the name of the login begins with by which a restore may load rows; the object id of its database follows. Names that begin with
/// `pg_` are PostgreSQL's.
pub(crate) const LOAD_LOGIN: &str = "pgmigrate_load_";

pub(crate) use columns::{Column, ColumnRemark, TableColumns};
pub(crate) use journal_v1::OutputV1;
pub(crate) use kind::{Kind, Phase, Scope};
pub(crate) use output::*;
pub(crate) use sighting::{Continuity, Sighting, Sightings, Stranger, Watch, continuity};
pub(crate) use step_id::{StepId, Subject};
pub(crate) use table::{RelationKind, TableName, list_of_tables, quote_identifier, some_of};
pub(crate) use written::{Filled, Lasting, Since, WriteMark};
