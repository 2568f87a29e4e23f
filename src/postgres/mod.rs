//! Connections to PostgreSQL servers.
//!
//! [`resolve`] finds out how a server is reached, [`connect()`], [`Pool`] and [`Snapshot`] reach it. All of
//! them set their sessions up in one way ([`Session`]) and fail in one way ([`Error`]).

mod application;
mod class;
mod connect;
mod dialer;
mod endpoint;
mod environment;
mod error;
mod event_triggers;
mod exhausted;
mod gate;
mod handshake;
mod help;
mod identifier;
mod leftovers;
mod notices;
mod password_file;
mod place;
mod pool;
mod pooler;
mod retry;
mod service_file;
mod session;
mod sighting;
mod snapshot;
mod tls;
mod verifier;

pub(crate) use crate::escape::{escape_control, escape_control_lines, escape_json};
pub(crate) use crate::names::quote_identifier;
pub(crate) use application::{Application, application_name};
pub(crate) use class::Class;
pub(crate) use connect::{Connection, connect};
pub(crate) use endpoint::resolve;
pub(crate) use environment::{Environment, Failure};
pub(crate) use error::Error;
pub(crate) use exhausted::{Exhausted, says_full};
pub(crate) use help::READ_ONLY;
pub(crate) use identifier::{conninfo, quote_literal, quote_qualified};
pub(crate) use leftovers::terminate_leftovers;
pub(crate) use notices::Notices;
pub(crate) use pool::Pool;
pub(crate) use retry::{Impatient, LAST_ATTEMPT, with_patience, with_retries};
pub(crate) use session::{Session, VALUES_FROM_TEXT};
pub(crate) use snapshot::Snapshot;
