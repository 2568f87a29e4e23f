//! Failures of client programs that are worth another attempt.
//!
//! The programs show no SQLSTATE. What they print is turned into one here, and the one place that decides by
//! SQLSTATE (`postgres::class`) decides. Messages are in English: the client's because children are run so, the
//! server's where our role may ask for that.

use crate::postgres::Class;

/// What libpq (fe-misc.c, fe-exec.c, fe-connect.c, fe-secure-openssl.c), the resolver and servers say, and the
/// SQLSTATE that goes with it.
const WORDS: [(&str, &str); 26] = [
    ("server closed the connection unexpectedly", "08006"),
    ("SSL connection has been closed unexpectedly", "08006"),
    // What follows is the operating system's message: EOF detected, Connection timed out, Connection reset by peer.
    ("SSL SYSCALL error: ", "08006"),
    // OpenSSL 3 about a connection that ends without close_notify.
    ("SSL error: unexpected eof while reading", "08006"),
    ("no connection to the server", "08003"),
    ("could not receive data from server", "08006"),
    ("could not send data to server", "08006"),
    // EAI_AGAIN, as glibc and musl have it. A name that does not exist is another error.
    ("to address: Temporary failure in name resolution", "08001"),
    ("to address: Try again", "08001"),
    // Since 14. The same credentials let us in a moment ago, so what else the line says has to tell otherwise.
    ("error: connection to server ", "08001"),
    // Before 14.
    ("could not connect to server: ", "08001"),
    ("failed: timeout expired", "08001"),
    // All that pg_dumpall says of the database that it is told to connect to. We connected there ourselves before.
    ("pg_dumpall: error: could not connect to database ", "08001"),
    ("canceling statement due to lock timeout", "55P03"),
    // The programs switch this timeout off, but for `--lock-wait-timeout` of pg_dump, which is made of it.
    ("canceling statement due to statement timeout", "55P03"),
    ("could not obtain lock on", "55P03"),
    ("deadlock detected", "40P01"),
    ("could not serialize access", "40001"),
    ("canceling statement due to conflict with recovery", "40001"),
    (
        "terminating connection due to conflict with recovery",
        "40001",
    ),
    (
        "terminating connection due to administrator command",
        "57P01",
    ),
    (
        "terminating connection because of crash of another server process",
        "57P02",
    ),
    ("the database system is ", "57P03"),
    ("too many clients already", "53300"),
    ("too many connections for ", "53300"),
    ("remaining connection slots are reserved", "53300"),
];

/// What is said where a server, or libpq in its name, rejects us, and would do so again a moment later. All the words
/// of an entry are in one line, in their order. Servers send an SQLSTATE with theirs, for libpq's the nearest is taken.
const REFUSALS: [(&[&str], &str); 14] = [
    (&["FATAL:  password authentication failed for "], "28P01"),
    (&["FATAL:  ", " authentication failed for user "], "28000"),
    (&["FATAL:  no pg_hba.conf entry "], "28000"),
    (&["FATAL:  pg_hba.conf rejects "], "28000"),
    (&["FATAL:  role ", " does not exist"], "28000"),
    (&["FATAL:  role ", " is not permitted to log in"], "28000"),
    (&["FATAL:  database ", " does not exist"], "3D000"),
    (
        &[
            "FATAL:  database ",
            " is not currently accepting connections",
        ],
        "55000",
    ),
    (&["FATAL:  permission denied for database "], "42501"),
    (&["fe_sendauth: no password supplied"], "28P01"),
    (&["SSL error: certificate verify failed"], "28000"),
    (
        &["server certificate for ", " does not match host name "],
        "28000",
    ),
    (&["root certificate file ", " does not exist"], "28000"),
    (
        &["server does not support SSL, but SSL was required"],
        "28000",
    ),
];

/// Whether a line of a client program's standard error speaks of something that may not happen again.
///
/// Where a refusal is a line of its own, another line decides: with `sslmode=prefer` libpq tries again without TLS
/// whatever the reason, and then says what became of either attempt.
pub(super) fn is_transient(line: &str) -> bool {
    let refusal = REFUSALS
        .iter()
        .find(|(words, _)| holds_in_order(line, words))
        .map(|(_, sqlstate)| *sqlstate);
    match refusal {
        Some(sqlstate) => Class::from_sqlstate(sqlstate) == Class::Retry,
        None => WORDS
            .iter()
            .filter(|(words, _)| line.contains(words))
            .any(|(_, sqlstate)| Class::from_sqlstate(sqlstate) == Class::Retry),
    }
}

/// Whether a line of a client program's standard error says that the server did not let it in as who it said to be: for the
/// password perhaps.
pub(super) fn is_login_refused(line: &str) -> bool {
    let mut refusals = REFUSALS.iter();
    refusals.any(|(words, sqlstate)| {
        matches!(*sqlstate, "28P01" | "28000")
            && words[0].starts_with("FATAL:  ")
            && holds_in_order(line, words)
    })
}

/// Whether a line of a client program's standard error says that another session is in the way of a lock.
pub(super) fn is_lock_refused(line: &str) -> bool {
    WORDS
        .iter()
        .any(|(words, sqlstate)| *sqlstate == "55P03" && line.contains(words))
}

fn holds_in_order(line: &str, words: &[&str]) -> bool {
    let rest = words.iter().try_fold(line, |rest, words| {
        rest.split_once(words).map(|(_, rest)| rest)
    });
    rest.is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sqlstate_of_the_list_is_worth_a_retry() {
        for (words, sqlstate) in WORDS {
            assert_eq!(Class::from_sqlstate(sqlstate), Class::Retry, "{words}");
            assert!(is_transient(&format!(
                "pg_dump: error: query failed: ERROR:  {words}x"
            )));
        }
        assert!(!is_transient(
            "pg_dump: error: permission denied for table t"
        ));
    }

    #[test]
    fn no_refusal_is_worth_a_retry() {
        for (words, sqlstate) in REFUSALS {
            assert_eq!(Class::from_sqlstate(sqlstate), Class::Fail, "{words:?}");
            let said = words.join("x");
            let line = format!("pg_dump: error: connection to server at \"h\" failed: {said}");
            assert!(!is_transient(&line), "{line}");
        }
    }

    #[test]
    fn refusals_of_a_password_are_told_from_others() {
        for (line, expected) in [
            (
                "FATAL:  password authentication failed for user \"u\"",
                true,
            ),
            ("FATAL:  PAM authentication failed for user \"u\"", true),
            ("FATAL:  database \"d\" does not exist", false),
            ("fe_sendauth: no password supplied", false),
            ("FATAL:  the database system is starting up", false),
        ] {
            let line = format!("pg_dump: error: connection to server at \"h\" failed: {line}");
            assert_eq!(is_login_refused(&line), expected, "{line}");
        }
    }

    /// What the programs print, whole.
    #[test]
    fn lost_connections_are_tried_again() {
        for line in [
            "pg_dump: error: Dumping the contents of table \"t\" failed: PQgetCopyData() failed.",
            "pg_dump: detail: Error message from server: permission denied",
            "pg_restore: error: could not execute query: ERROR:  SSL is not what this is about",
            "pg_dump: error: could not translate host name \"db\" to address: Name or service not known",
            "pg_restore: error: could not execute query: ERROR:  role \"late\" does not exist",
        ] {
            assert!(!is_transient(line), "{line}");
        }
        for line in [
            "pg_dump: detail: Error message from server: SSL SYSCALL error: EOF detected",
            "pg_dump: error: query failed: SSL SYSCALL error: Connection timed out",
            "pg_restore: error: could not execute query: SSL SYSCALL error: Connection reset by peer",
            "pg_dump: detail: Error message from server: SSL error: unexpected eof while reading",
            "pg_dump: error: query failed: SSL connection has been closed unexpectedly",
            "pg_dump: error: could not translate host name \"db\" to address: Temporary failure in name resolution",
            "pg_dump: error: connection to database \"erp\" failed: could not translate host name \"db\" to address: \
             Temporary failure in name resolution",
            "pg_dump: error: connection to server at \"db\" (192.0.2.1), port 5432 failed: Connection refused",
            "pg_dump: error: connection to server at \"db\" (192.0.2.1), port 5432 failed: FATAL:  the database system \
             is starting up",
            "pg_dump: error: connection to database \"erp\" failed: could not connect to server: Connection refused",
            "pg_dump: error: connection to database \"erp\" failed: timeout expired",
        ] {
            assert!(is_transient(line), "{line}");
        }
    }

    #[test]
    fn a_rejected_connection_is_not_tried_again() {
        let to = "pg_dump: error: connection to server at \"db\" (192.0.2.1), port 5432 failed: ";
        for said in [
            "FATAL:  password authentication failed for user \"app\"",
            "FATAL:  LDAP authentication failed for user \"app\"",
            "FATAL:  database \"erp\" does not exist",
            "FATAL:  role \"app\" does not exist",
            "FATAL:  role \"app\" is not permitted to log in",
            "FATAL:  no pg_hba.conf entry for host \"192.0.2.9\", user \"app\", database \"erp\", no encryption",
            "fe_sendauth: no password supplied",
            "SSL error: certificate verify failed",
            "server does not support SSL, but SSL was required",
        ] {
            assert!(!is_transient(&format!("{to}{said}")), "{said}");
        }
    }
}
