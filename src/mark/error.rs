//! What is wrong with the mark.

use miette::Diagnostic;
use tokio_postgres::error::SqlState;

use crate::catalog::MARK_DATABASE;
use crate::postgres::{self, Class};

/// What is wrong with the mark.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub(crate) enum Error {
    #[error(transparent)]
    #[diagnostic(transparent)]
    Postgres(#[from] postgres::Error),
    #[error(
        "another run of this plan, with this state directory or a copy of it, took the target over, so this one writes nothing more"
    )]
    #[diagnostic(help(
        "let that one end; `pg-migrate status` in its directory shows how far it is"
    ))]
    TakenOver,
    #[error(
        "the target's mark says less than this run wrote to it: under the run the target was put back to an older state, so nothing more is \
         written"
    )]
    #[diagnostic(help(
        "run again: what is gone with that is found out then, and `pg-migrate check` tells it"
    ))]
    WentBack,
    #[error(
        "the target has a database \"{MARK_DATABASE}\" that is not pg-migrate's, where it would keep what it did"
    )]
    #[diagnostic(help("rename it on the target, and run again"))]
    Foreign,
    #[error(
        "the database \"{MARK_DATABASE}\" of the {server}, or something in it, belongs to {owners}: no superuser, as the role is that \
         pg-migrate connects as there, so that nothing in it is read or believed"
    )]
    #[diagnostic(help(
        "functions and triggers of their owners would run with our rights. Where a plan of theirs keeps what it does there, connect as that \
         role; otherwise rename or drop the database, and run again"
    ))]
    NotTrusted { server: String, owners: String },
}

impl Error {
    /// It is not known what the mark says.
    pub(crate) fn is_unreachable(&self) -> bool {
        matches!(self, Error::Postgres(_))
    }

    /// Our role lacks a privilege.
    pub(super) fn is_forbidden(&self) -> bool {
        let forbidden = SqlState::INSUFFICIENT_PRIVILEGE;
        matches!(self, Error::Postgres(error) if error.sqlstate() == Some(forbidden.code()))
    }

    /// There is no such database, schema or table.
    pub(crate) fn is_gone(&self) -> bool {
        let Error::Postgres(error) = self else {
            return false;
        };
        let codes = [
            SqlState::INVALID_CATALOG_NAME,
            SqlState::INVALID_SCHEMA_NAME,
            SqlState::UNDEFINED_TABLE,
        ];
        codes
            .iter()
            .any(|code| error.sqlstate() == Some(code.code()))
    }

    pub(crate) fn class(&self) -> Class {
        match self {
            Error::Postgres(error) => error.class(),
            Error::TakenOver | Error::WentBack | Error::Foreign | Error::NotTrusted { .. } => {
                Class::Fail
            }
        }
    }
}
