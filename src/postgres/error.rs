//! What can go wrong with a connection.

use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

use miette::Diagnostic;
use tokio_postgres::error::DbError;
use tokio_util::sync::CancellationToken;

use super::class::Class;
use super::help;
use super::place::Place;
use super::pooler::Pooler;
use super::tls::TlsError;
use crate::escape::escape_control_lines;
use crate::names::Stranger;

/// A statement or a connection that failed: what was tried, where, and the server's own words.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} ({place})")]
pub(crate) struct Error {
    place: Place,
    /// What was tried, as a verb phrase: `count the rows of public.t`.
    action: String,
    #[source]
    source: Box<Cause>,
    class: Class,
    help: Option<String>,
}

/// Why, without the layers of the client library that say nothing.
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
    /// A file with a certificate or key cannot be used.
    #[error(transparent)]
    Tls(TlsError),
    #[error("a connection pooler answers instead of the server ({})", match .0 {
        Pooler::Transaction => "its sessions change from one query to the next",
        Pooler::Session => "the session is another than the one that was promised",
    })]
    Pooler(Pooler),
    #[error("what answers is another server than the one before, or not as it was: {}", .0.before.difference(&.0.now))]
    Stranger(Stranger),
    /// Names of the server's own objects.
    #[error("these names are not UTF-8: {0}")]
    Names(String),
    #[error("stopped")]
    Interrupted,
}

/// An ErrorResponse (PostgreSQL manual, 54.8 "Error and Notice Message Fields").
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ServerMessage {
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

impl Error {
    /// An error of the client library, in our words. `action` is a verb phrase.
    pub(super) fn from_client(
        place: &Place,
        action: impl Into<String>,
        error: tokio_postgres::Error,
    ) -> Error {
        let class = Class::from_client(&error);
        let help = help::for_error(&error, place);
        let cause = match error.as_db_error() {
            Some(server) => Cause::Server(server.into()),
            None => Cause::Client(error),
        };
        Error::new(place, action, cause, class, help)
    }

    /// The connection had ended before, for a known reason.
    pub(super) fn lost(
        place: &Place,
        action: impl Into<String>,
        reason: &tokio_postgres::Error,
    ) -> Error {
        let help = help::for_error(reason, place);
        let cause = Cause::Lost(chain(reason));
        Error::new(place, action, cause, Class::from_client(reason), help)
    }

    pub(super) fn timeout(place: &Place, action: impl Into<String>, after: Duration) -> Error {
        let help = help::for_timeout(place);
        Error::new(
            place,
            action,
            Cause::Timeout(after),
            Class::Retry,
            Some(help),
        )
    }

    pub(super) fn tls(place: &Place, action: impl Into<String>, error: TlsError) -> Error {
        let help = error.help().map(|help| help.to_string());
        Error::new(place, action, Cause::Tls(error), Class::Fail, help)
    }

    /// What answers is not the server.
    pub(super) fn pooler(place: &Place, action: impl Into<String>, pooler: Pooler) -> Error {
        let help = help::for_pooler(place);
        Error::new(
            place,
            action,
            Cause::Pooler(pooler),
            Class::Fail,
            Some(help),
        )
    }

    /// What answers is not the server that the run began with, or not as it was.
    pub(super) fn stranger(place: &Place, action: impl Into<String>, stranger: Stranger) -> Error {
        let help = help::for_stranger(place, stranger);
        let cause = Cause::Stranger(stranger);
        Error::new(place, action, cause, Class::Fail, Some(help))
    }

    /// Names that no text of ours can hold.
    pub(super) fn names(place: &Place, action: impl Into<String>, names: String) -> Error {
        let help = "rename them there, as in DO $$ BEGIN EXECUTE format('ALTER ROLE %I RENAME TO new_name', E'caf\\xe9'); \
                    END $$, in a session of a database with encoding SQL_ASCII";
        let cause = Cause::Names(names);
        Error::new(place, action, cause, Class::Fail, Some(help.to_owned()))
    }

    /// Something that was given up because the run is stopping.
    pub(super) fn interrupted(place: &Place, action: impl Into<String>) -> Error {
        Error::new(place, action, Cause::Interrupted, Class::Interrupted, None)
    }

    fn new(
        place: &Place,
        action: impl Into<String>,
        source: Cause,
        class: Class,
        help: Option<String>,
    ) -> Error {
        Error {
            place: place.clone(),
            action: action.into(),
            source: Box::new(source),
            class,
            help,
        }
    }

    /// The same error about a log-in that was refused, where the password's source may say another one a little later. `note`:
    /// why there is none yet.
    pub(super) fn until_another_password(mut self, note: Option<String>) -> Self {
        self.class = Class::Retry;
        if let Some(note) = note {
            let side = self.place.endpoint().side;
            let help = self.help.take().unwrap_or_default();
            let note = escape_control_lines(&note);
            self.help = Some(format!("{help} About `{side}.password`: {note}."));
        }
        self
    }

    pub(crate) fn class(&self) -> Class {
        self.class
    }

    /// What the server said, where it was the server.
    pub(crate) fn server_message(&self) -> Option<&ServerMessage> {
        match &*self.source {
            Cause::Server(message) => Some(message),
            _ => None,
        }
    }

    /// The server's SQLSTATE (PostgreSQL manual, Appendix A), where it was the server.
    pub(crate) fn sqlstate(&self) -> Option<&str> {
        self.server_message().map(|message| message.code.as_str())
    }

    /// The same error, as an interruption if the run is stopping: then we caused it.
    pub(crate) fn during(mut self, stop: &CancellationToken) -> Self {
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

/// The error and what it comes from, on one line.
fn chain(error: &tokio_postgres::Error) -> String {
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
