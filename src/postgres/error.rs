//! What can go wrong with a connection, and the one place that says what is worth a retry.

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use miette::Diagnostic;
use tokio_postgres::error::{DbError, SqlState};
use tokio_util::sync::CancellationToken;

use super::help;
use crate::escape::{escape_control, escape_control_lines};
use crate::plan::Endpoint;

/// What a failure means for the step that met it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// The same step may succeed a little later.
    Retry,
    /// It would fail again.
    Fail,
    /// We asked for it: the run is stopping.
    Interrupted,
}

/// A statement or a connection that failed: what was tried, where, and the server's own words.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} ({place})")]
pub struct Error {
    place: Place,
    /// What was tried, as a verb phrase: `count the rows of public.t`.
    action: String,
    #[source]
    source: Box<Cause>,
    class: Class,
    help: Option<String>,
}

/// A server and one of its databases, for messages.
#[derive(Debug, Clone)]
pub struct Place {
    endpoint: Arc<Endpoint>,
    database: Arc<str>,
}

/// Why, without the layers that say nothing.
#[derive(Debug, thiserror::Error)]
enum Cause {
    /// The server said so.
    #[error("{0}")]
    Server(ServerMessage),
    /// The client library said so.
    #[error(transparent)]
    Client(tokio_postgres::Error),
    /// The connection was lost earlier, for this reason.
    #[error("the connection was lost: {0}")]
    Lost(String),
    #[error("no answer within {} s", .0.as_secs_f64())]
    Timeout(Duration),
    /// A certificate or key of ours is unusable.
    #[error(transparent)]
    Tls(#[from] super::tls::TlsError),
    #[error("stopped")]
    Interrupted,
}

/// An ErrorResponse (PostgreSQL manual, 54.8 "Error and Notice Message Fields").
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerMessage {
    pub severity: String,
    pub code: String,
    pub message: String,
    pub detail: Option<String>,
    pub hint: Option<String>,
    /// `CONTEXT` in psql: the functions that were running.
    pub context: Option<String>,
}

impl From<&DbError> for ServerMessage {
    fn from(error: &DbError) -> Self {
        ServerMessage {
            severity: error.severity().to_owned(),
            code: error.code().code().to_owned(),
            message: error.message().to_owned(),
            detail: error.detail().map(str::to_owned),
            hint: error.hint().map(str::to_owned),
            context: error.where_().map(str::to_owned),
        }
    }
}

impl fmt::Display for ServerMessage {
    /// As psql shows it, with the SQLSTATE.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let message = escape_control_lines(&self.message);
        write!(f, "{}: {message} (SQLSTATE {})", self.severity, self.code)?;
        let parts = [
            ("DETAIL", &self.detail),
            ("HINT", &self.hint),
            ("CONTEXT", &self.context),
        ];
        for (name, part) in parts {
            if let Some(text) = part {
                write!(f, "\n{name}: {}", escape_control_lines(text))?;
            }
        }
        Ok(())
    }
}

impl Place {
    pub fn new(endpoint: &Endpoint, database: &str) -> Self {
        Place {
            endpoint: Arc::new(endpoint.clone()),
            database: database.into(),
        }
    }

    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    pub fn database(&self) -> &str {
        &self.database
    }

    /// Turns an error of the client library into ours. `action` is a verb phrase.
    pub fn error(&self, action: impl Into<String>, error: tokio_postgres::Error) -> Error {
        let class = classify(&error);
        let help = help::for_error(&error, self);
        let source = match error.as_db_error() {
            Some(server) => Cause::Server(server.into()),
            None => Cause::Client(error),
        };
        self.build(action, source, class, help)
    }

    /// As [`Place::error`], where the connection had ended before, for a known reason.
    pub(super) fn lost(&self, action: impl Into<String>, reason: &tokio_postgres::Error) -> Error {
        let help = help::for_error(reason, self);
        self.build(action, Cause::Lost(chain(reason)), classify(reason), help)
    }

    pub(super) fn timeout(&self, action: impl Into<String>, after: Duration) -> Error {
        let help = help::for_timeout(self);
        self.build(action, Cause::Timeout(after), Class::Retry, Some(help))
    }

    pub(super) fn tls(&self, action: impl Into<String>, error: super::tls::TlsError) -> Error {
        let help = error.help().map(|help| help.to_string());
        self.build(action, Cause::Tls(error), Class::Fail, help)
    }

    /// Something that was given up because the run is stopping.
    pub fn interrupted(&self, action: impl Into<String>) -> Error {
        self.build(action, Cause::Interrupted, Class::Interrupted, None)
    }

    fn build(
        &self,
        action: impl Into<String>,
        source: Cause,
        class: Class,
        help: Option<String>,
    ) -> Error {
        Error {
            place: self.clone(),
            action: action.into(),
            source: Box::new(source),
            class,
            help,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let database = escape_control(&self.database);
        write!(f, "database \"{database}\" of the {}", self.endpoint)
    }
}

impl Error {
    pub fn class(&self) -> Class {
        self.class
    }

    /// What the server said, where it was the server.
    pub fn server_message(&self) -> Option<&ServerMessage> {
        match &*self.source {
            Cause::Server(message) => Some(message),
            _ => None,
        }
    }

    /// The server's SQLSTATE (PostgreSQL manual, Appendix A), where it was the server.
    pub fn sqlstate(&self) -> Option<&str> {
        self.server_message().map(|message| message.code.as_str())
    }

    /// The same error, met while the run was stopping if `stop` says so: then it was our doing.
    pub fn during(mut self, stop: &CancellationToken) -> Self {
        if stop.is_cancelled() {
            self.class = Class::Interrupted;
        }
        self
    }
}

impl Diagnostic for Error {
    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.help
            .as_ref()
            .map(|help| Box::new(help) as Box<dyn fmt::Display>)
    }
}

/// Whether the same statement or connection may succeed a little later. Kept narrow on purpose:
/// what is not listed fails.
pub fn classify(error: &tokio_postgres::Error) -> Class {
    if let Some(code) = error.code() {
        classify_sqlstate(code)
    } else if error.is_closed() {
        Class::Retry
    } else {
        io_error(error).map_or(Class::Fail, |error| classify_io(error.kind()))
    }
}

/// As [`classify`], by the SQLSTATE alone (PostgreSQL manual, Appendix A).
pub fn class_of_sqlstate(code: &str) -> Class {
    classify_sqlstate(&SqlState::from_code(code))
}

fn classify_sqlstate(code: &SqlState) -> Class {
    const RETRY: [SqlState; 7] = [
        // The server goes down, crashed beside us, or is not up yet.
        SqlState::ADMIN_SHUTDOWN,
        SqlState::CRASH_SHUTDOWN,
        SqlState::CANNOT_CONNECT_NOW,
        SqlState::TOO_MANY_CONNECTIONS,
        // Also what a standby says when replay wins over a query.
        SqlState::T_R_SERIALIZATION_FAILURE,
        SqlState::T_R_DEADLOCK_DETECTED,
        SqlState::LOCK_NOT_AVAILABLE,
    ];
    // Class 08: connection exceptions.
    if code.code().starts_with("08") || RETRY.contains(code) {
        Class::Retry
    } else {
        Class::Fail
    }
}

fn classify_io(kind: io::ErrorKind) -> Class {
    match kind {
        // A certificate that does not verify, an impossible host name, a socket we may not open.
        io::ErrorKind::InvalidData
        | io::ErrorKind::InvalidInput
        | io::ErrorKind::PermissionDenied
        | io::ErrorKind::Unsupported => Class::Fail,
        _ => Class::Retry,
    }
}

/// The I/O error that an error of the client library comes from, if any.
pub(super) fn io_error(error: &tokio_postgres::Error) -> Option<&io::Error> {
    error.source()?.downcast_ref()
}

/// The TLS error that an error of the client library comes from, if any.
pub(super) fn tls_error(error: &tokio_postgres::Error) -> Option<&rustls::Error> {
    // An io::Error's `source` skips the error it wraps, so its content is asked for instead.
    io_error(error)?.get_ref()?.downcast_ref()
}

/// The error and what it comes from, on one line.
pub(super) fn chain(error: &tokio_postgres::Error) -> String {
    if let Some(server) = error.as_db_error() {
        return ServerMessage::from(server).to_string();
    }
    match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sqlstates_are_classified() {
        let retry = [
            "08000", "08003", "08006", "08P01", "57P01", "57P02", "57P03", "53300", "40P01",
            "40001", "55P03",
        ];
        let fail = [
            "57014", // statement_timeout
            "57P04", // the database was dropped
            "28P01", "28000", "3D000", "42P01", "42501", "53100", "53200", "23505", "25006",
            "25P02", "25P03", "22023", "XX000", "55000",
        ];
        for code in retry {
            assert_eq!(
                classify_sqlstate(&SqlState::from_code(code)),
                Class::Retry,
                "{code}"
            );
        }
        for code in fail {
            assert_eq!(
                classify_sqlstate(&SqlState::from_code(code)),
                Class::Fail,
                "{code}"
            );
        }
    }

    #[test]
    fn io_errors_are_classified() {
        use io::ErrorKind::*;
        for kind in [
            ConnectionRefused,
            ConnectionReset,
            ConnectionAborted,
            BrokenPipe,
            TimedOut,
            UnexpectedEof,
            HostUnreachable,
            NetworkUnreachable,
            NotFound,
            Other,
        ] {
            assert_eq!(classify_io(kind), Class::Retry, "{kind}");
        }
        for kind in [InvalidData, InvalidInput, PermissionDenied, Unsupported] {
            assert_eq!(classify_io(kind), Class::Fail, "{kind}");
        }
    }

    #[test]
    fn a_server_message_is_shown_whole_and_harmless() {
        let message = ServerMessage {
            severity: "ERROR".into(),
            code: "23505".into(),
            message: "duplicate key value violates \"k\u{1b}[31m\"".into(),
            detail: Some("Key (id)=(1)\nalready exists.".into()),
            hint: Some("Choose another.".into()),
            context: None,
        };
        insta::assert_snapshot!(message, @r#"
        ERROR: duplicate key value violates "k\u{1b}[31m" (SQLSTATE 23505)
        DETAIL: Key (id)=(1)
        already exists.
        HINT: Choose another.
        "#);
    }
}
