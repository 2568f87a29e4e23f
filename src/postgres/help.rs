//! What to do about the usual failures of a connection.
//!
//! Nothing but advice depends on what is found out here: whether a step is tried again is decided in
//! [`super::class`].

use std::io;
use std::net::IpAddr;

use rustls::CertificateError;
use tokio_postgres::error::SqlState;

use super::class::{io_error, tls_error};
use super::exhausted::Exhausted;
use super::gate::Refusal;
use super::handshake::NoTls;
use super::place::Place;
use crate::escape::escape_control;
use crate::names::quote_identifier;
use crate::names::{Continuity, Stranger};
use crate::plan::{Endpoint, Side};

/// Advice about a target that can only be read.
pub(crate) const READ_ONLY: &str = "The target is a standby, or its own default_transaction_read_only is on: its owner or provider protects it \
     from being written to, as providers do where the disk is almost full. Make room, switch that off and run again; or overrule \
     it by `target.override_read_only` = true.";

/// Advice about an error of the client library, where there is any that the error does not hold.
pub(super) fn for_error(error: &tokio_postgres::Error, place: &Place) -> Option<String> {
    let exhausted = error.as_db_error().and_then(Exhausted::from_server);
    if let Some(exhausted) = exhausted {
        let server = place.endpoint().to_string();
        Some(format!("{}: {}", exhausted.what(&server), exhausted.help()))
    } else if let Some(code) = error.code() {
        for_sqlstate(code, place)
    } else if let Some(error) = tls_error(error) {
        Some(for_tls(error, place.endpoint()))
    } else if let Some(error) = io_error(error) {
        for_beginning(error, place.endpoint()).or_else(|| for_io(error, place))
    } else {
        for_refusal(error, place.endpoint())
    }
}

/// Advice about a server that does not answer.
pub(super) fn for_timeout(place: &Place) -> String {
    let Endpoint {
        side, host, port, ..
    } = place.endpoint();
    format!(
        "Something between here and {host}:{port} drops the packets, or the server is overloaded: \
         check `{side}.host` and `{side}.port`, firewalls and routes, or raise `{side}.connect_timeout`."
    )
}

/// Advice about a pooler that answers in the server's place.
pub(super) fn for_pooler(place: &Place) -> String {
    let side = place.endpoint().side;
    format!(
        "What a run sets on its sessions would stay on sessions that applications get next, so nothing was set: let \
         `{side}.host` and `{side}.port` lead to the server itself."
    )
}

/// Advice about a server that is not the one before.
pub(super) fn for_stranger(place: &Place, stranger: Stranger) -> String {
    let side = place.endpoint().side;
    let Stranger { before, now } = stranger;
    if before.other_identifier(&now).is_some() {
        return format!(
            "Another cluster has the address of the {side} now. This run does nothing more there. Let `{side}.host` and \
             `{side}.port` lead to the {side} that the run began with, and run again: the next run looks at what is there, and says \
             what it does again."
        );
    }
    let what = match before.compare(&now) {
        Continuity::Promoted { .. } => "A standby took over, which may lack what was written last.",
        _ => {
            "A clone, another replica (behind a load balancer they answer in turn), or a machine that was put back to an older state \
             answers."
        }
    };
    format!(
        "{what} This run does nothing more there. Let `{side}.host` lead to one server, and run again: the next run looks \
         at what is there, and says what it does again."
    )
}

fn for_sqlstate(code: &SqlState, place: &Place) -> Option<String> {
    let Endpoint { side, user, .. } = place.endpoint();
    let user = escape_control(user);
    let database = escape_control(place.database());
    if *code == SqlState::INVALID_PASSWORD {
        Some(format!(
            "Check `{side}.user` (\"{user}\") and where its password comes from: `{side}.password`, \
             the service's, or the password file."
        ))
    } else if *code == SqlState::INVALID_AUTHORIZATION_SPECIFICATION {
        Some(format!(
            "The server's pg_hba.conf must admit user \"{user}\" to database \"{database}\" from this \
             host, and the role must exist and have LOGIN. Whether the connection is encrypted \
             depends on `{side}.sslmode`, now `{}`; a client certificate is `{side}.sslcert`.",
            place.endpoint().sslmode.as_str()
        ))
    } else if *code == SqlState::INVALID_CATALOG_NAME {
        Some(format!(
            "The database does not exist (any more): check `{side}.database`, and whether \"{database}\" \
             was dropped or renamed."
        ))
    } else if *code == SqlState::TOO_MANY_CONNECTIONS {
        Some(format!(
            "Terminate idle sessions, raise max_connections or the connection limit of the role or \
             database, or lower `{side}.max_connections` in the plan."
        ))
    } else if *code == SqlState::CANNOT_CONNECT_NOW {
        Some(
            "The server is starting up, shutting down or in recovery: try again when it accepts \
             connections."
                .to_owned(),
        )
    } else if *code == SqlState::LOCK_NOT_AVAILABLE {
        Some(
            "Another session holds the lock: see pg_locks and pg_blocking_pids(). `source.lock_timeout` \
             says how long we wait for one."
                .to_owned(),
        )
    } else if *code == SqlState::READ_ONLY_SQL_TRANSACTION && *side == Side::Target {
        Some(READ_ONLY.to_owned())
    } else if *code == SqlState::INSUFFICIENT_PRIVILEGE {
        Some(format!(
            "Grant the privilege to {}, or choose another `{side}.user`.",
            escape_control(&quote_identifier(&place.endpoint().user))
        ))
    } else {
        None
    }
}

/// Advice about a server that does not have, or asks for, what the plan says.
fn for_beginning(error: &io::Error, endpoint: &Endpoint) -> Option<String> {
    let Endpoint { side, sslmode, .. } = endpoint;
    let inner = error.get_ref()?;
    if inner.is::<NoTls>() {
        return Some(format!(
            "`{side}.sslmode` = \"{}\" requires TLS, and the server does not support it: set ssl = on there, \
             or choose `prefer` or `disable`.",
            sslmode.as_str()
        ));
    }
    Some(match inner.downcast_ref()? {
        Refusal::PasswordInClear => format!(
            "`{side}.sslmode` = \"{}\" does not make sure of TLS, and whoever is between could read the password: set `{side}.sslmode` \
             to \"verify-full\" (or \"require\"), have the server ask for scram-sha-256 (pg_hba.conf), or say \
             `{side}.require_auth` = \"password\" where the network is yours.",
            sslmode.as_str()
        ),
        Refusal::Method { .. } | Refusal::Nothing { .. } => format!(
            "Have the server ask for it (pg_hba.conf, password_encryption), or change `{side}.require_auth` (where the plan does not \
             have it: require_auth of the service, or PGREQUIREAUTH). What answers may not be the server."
        ),
        Refusal::Unknown(_) => "Have the server ask for scram-sha-256 (pg_hba.conf).".to_owned(),
    })
}

fn for_io(error: &io::Error, place: &Place) -> Option<String> {
    let Endpoint {
        side, host, port, ..
    } = place.endpoint();
    Some(match error.kind() {
        io::ErrorKind::ConnectionRefused => format!(
            "No server is listening there: check that it is running, that `{side}.host` and `{side}.port` \
             are right, and that its listen_addresses includes this address."
        ),
        io::ErrorKind::NotFound if host.starts_with('/') => format!(
            "There is no socket {host}/.s.PGSQL.{port}: check that the server is running, and that {host} \
             is in its unix_socket_directories."
        ),
        io::ErrorKind::PermissionDenied if host.starts_with('/') => {
            format!(
                "This user does not have permission to open the socket in {host}: see \
                 unix_socket_permissions."
            )
        }
        io::ErrorKind::TimedOut => for_timeout(place),
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => {
            format!("There is no route to {host}: check `{side}.host` and the network.")
        }
        io::ErrorKind::UnexpectedEof
        | io::ErrorKind::ConnectionReset
        | io::ErrorKind::BrokenPipe => {
            "The other end closed the connection: the server's log says why, if it was the server; a \
             proxy or a firewall may have cut it."
                .to_owned()
        }
        // getaddrinfo's own errors have no number of the operating system's.
        _ if error.raw_os_error().is_none() && host.parse::<IpAddr>().is_err() => format!(
            "The host name \"{}\" cannot be resolved: check `{side}.host` and the name service.",
            escape_control(host)
        ),
        _ => return None,
    })
}

fn for_tls(error: &rustls::Error, endpoint: &Endpoint) -> String {
    let Endpoint { side, host, .. } = endpoint;
    let host = escape_control(host);
    match error {
        rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer) => format!(
            "The server's certificate is not signed by a CA in `{side}.sslrootcert`{}.",
            match &endpoint.sslrootcert {
                Some(file) => format!(", {}", file.display()),
                None => String::new(),
            }
        ),
        rustls::Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => format!(
            "The server's certificate is for another host: set `{side}.host` to the name in it instead of \
             \"{host}\" (only subjectAltName counts, a common name does not), or accept any certificate of this CA by \
             `{side}.sslmode` = \"verify-ca\"."
        ),
        rustls::Error::InvalidCertificate(
            CertificateError::Expired | CertificateError::ExpiredContext { .. },
        ) => "The server's certificate has expired: renew it on the server.".to_owned(),
        rustls::Error::InvalidCertificate(CertificateError::Revoked) => {
            "The server's certificate was revoked: let its owner give it another one.".to_owned()
        }
        rustls::Error::InvalidCertificate(
            CertificateError::UnknownRevocationStatus | CertificateError::ExpiredRevocationList
            | CertificateError::ExpiredRevocationListContext { .. },
        ) => format!(
            "`{side}.sslcrl` has no list of this CA, or one that has expired: get the CA's present one."
        ),
        rustls::Error::InvalidCertificate(_) => format!(
            "The server's certificate cannot be verified. Certificates of X.509 version 1 and with \
             SHA-1 signatures are not accepted: reissue it (version 3, subjectAltName, SHA-256), or \
             give up the check by `{side}.sslmode` = \"require\" without `{side}.sslrootcert`."
        ),
        rustls::Error::AlertReceived(_) => format!(
            "The server ended the handshake; its log says why. It may want a client certificate \
             (`{side}.sslcert`, `{side}.sslkey`), or support nothing newer than TLS 1.1."
        ),
        rustls::Error::PeerIncompatible(_) => "The server's TLS settings allow nothing that this \
             program supports: TLS 1.2 or 1.3 with an ECDHE cipher (see ssl_min_protocol_version and \
             ssl_ciphers)."
            .to_owned(),
        _ => format!("See the server's log and `{side}.sslmode`."),
    }
}

/// Errors of the client library that come from nothing else: their kind shows only in their text.
fn for_refusal(error: &tokio_postgres::Error, endpoint: &Endpoint) -> Option<String> {
    let Endpoint { side, .. } = endpoint;
    match error.to_string().as_str() {
        "invalid configuration" if endpoint.password.is_none() => Some(format!(
            "The server asks for a password and there is none: set `{side}.password`, or add a line \
             for this server to the password file."
        )),
        _ => None,
    }
}
