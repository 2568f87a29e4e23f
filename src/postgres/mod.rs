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
mod help;
mod identifier;
mod leftovers;
mod password_file;
mod place;
mod pool;
mod retry;
mod service_file;
mod session;
mod snapshot;
mod tls;
mod verifier;

pub use crate::escape::{escape_control, escape_control_lines, escape_json};
pub use application::{Application, application_name};
pub use class::Class;
pub use connect::{Connection, connect};
pub use endpoint::resolve;
pub use environment::{Environment, Failure};
pub use error::Error;
pub use identifier::{conninfo, quote_identifier, quote_literal, quote_qualified};
pub use leftovers::terminate_leftovers;
pub use pool::Pool;
pub use retry::with_retries;
pub use session::{Session, VALUES_FROM_TEXT};
pub use snapshot::Snapshot;
