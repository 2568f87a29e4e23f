//! The one place that says what a failure means: a retry, the end, or that we asked for it.

use std::error::Error as StdError;
use std::io;

use tokio_postgres::error::SqlState;

/// What a failure means for the step that met it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    /// The same step may succeed a little later.
    Retry,
    /// It would fail again.
    Fail,
    /// We asked for it: the run is stopping.
    Interrupted,
}

impl Class {
    /// Whether the same statement or connection may succeed a little later. Kept narrow on purpose:
    /// what is not listed fails.
    pub(super) fn from_client(error: &tokio_postgres::Error) -> Class {
        if let Some(code) = error.code() {
            classify_sqlstate(code)
        } else if error.is_closed() {
            Class::Retry
        } else {
            io_error(error).map_or(Class::Fail, |error| classify_io(error.kind()))
        }
    }

    /// By the SQLSTATE alone (PostgreSQL manual, Appendix A).
    pub(crate) fn from_sqlstate(code: &str) -> Class {
        classify_sqlstate(&SqlState::from_code(code))
    }
}

fn classify_sqlstate(code: &SqlState) -> Class {
    const RETRY: [SqlState; 7] = [
        // The server shuts down, one of its other processes crashed, or it is not up yet.
        SqlState::ADMIN_SHUTDOWN,
        SqlState::CRASH_SHUTDOWN,
        SqlState::CANNOT_CONNECT_NOW,
        SqlState::TOO_MANY_CONNECTIONS,
        // Also what a standby says when replay cancels a query.
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
            assert_eq!(Class::from_sqlstate(code), Class::Retry, "{code}");
        }
        for code in fail {
            assert_eq!(Class::from_sqlstate(code), Class::Fail, "{code}");
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
}
