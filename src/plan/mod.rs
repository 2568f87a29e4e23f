//! The plan file: from TOML text to a validated [`Plan`]. No network and no catalog here.
//!
//! `document` holds the file's shape (serde, JSON Schema) and `scalar` its texts that mean
//! something, `model` what the rest of the program works with. `parse` goes from one to the
//! other, by way of `structure` (the file against the schema) and `consistency` (keys against
//! each other), and gathers every [`Problem`] before it gives up. `template` writes a plan.

mod consistency;
mod convert;
mod document;
pub(crate) mod keys;
mod model;
mod parse;
pub(crate) mod password;
mod problem;
mod protection;
mod scalar;
mod schema;
mod secret;
mod structure;
pub(crate) mod template;

pub use model::*;
pub use parse::{load, parse};
pub use problem::PlanError;
pub(crate) use protection::{ChannelBinding, Method, Protection, RequireAuth, Seen, TlsVersion};
pub use schema::{schema, schema_text};
