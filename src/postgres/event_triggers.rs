//! Event triggers of the databases that we connect to, switched off for our sessions.
//!
//! A login trigger runs for every session, ours among them, and writes a row or refuses it; others log or forbid what the
//! run does. From 17 on, a superuser can switch them off (`event_triggers`), for login triggers with the connection itself.
//! Older servers, roles that may not and poolers refuse such a connection: then it is made without.

use std::collections::HashSet;
use std::sync::{LazyLock, Mutex, PoisonError};

use crate::plan::Endpoint;

/// In the `options` of a connection.
pub(super) const OFF: &str = "-c event_triggers=off";

/// Servers that refused it to a role: host, port and role. Each is asked once.
static REFUSED: LazyLock<Mutex<HashSet<(String, u16, String)>>> = LazyLock::new(Mutex::default);

/// Whether the server has not refused it yet.
pub(super) fn can_be_off(endpoint: &Endpoint) -> bool {
    let refused = REFUSED.lock().unwrap_or_else(PoisonError::into_inner);
    !refused.contains(&key(endpoint))
}

pub(super) fn remember_refusal(endpoint: &Endpoint) {
    let mut refused = REFUSED.lock().unwrap_or_else(PoisonError::into_inner);
    refused.insert(key(endpoint));
}

/// The parameter does not exist, may not be set, or no options are taken (by poolers, as a violation of the protocol).
pub(super) fn is_refusal(error: &tokio_postgres::Error) -> bool {
    matches!(
        error.code().map(tokio_postgres::error::SqlState::code),
        Some("42704" | "42501" | "08P01")
    )
}

fn key(endpoint: &Endpoint) -> (String, u16, String) {
    let Endpoint {
        host, port, user, ..
    } = endpoint;
    (host.clone(), *port, user.clone())
}
