//! Failures of client programs that are worth another attempt.
//!
//! The programs show no SQLSTATE. What they print is turned into one here, and the one place that decides by
//! SQLSTATE (`postgres::error`) decides. Messages are in English: the client's because children are run so, the
//! server's where our role may ask for that.

use crate::postgres::{Class, class_of_sqlstate};

/// What libpq (fe-misc.c, fe-exec.c, fe-connect.c) and servers say, and the SQLSTATE that goes with it.
const WORDS: [(&str, &str); 19] = [
    ("server closed the connection unexpectedly", "08006"),
    ("SSL connection has been closed unexpectedly", "08006"),
    ("no connection to the server", "08003"),
    ("could not receive data from server", "08006"),
    ("could not send data to server", "08006"),
    // The same credentials let us in a moment ago.
    ("error: connection to server ", "08001"),
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

/// Whether a line of a client program's standard error speaks of something that may not happen again.
pub(super) fn is_transient(line: &str) -> bool {
    WORDS
        .iter()
        .filter(|(words, _)| line.contains(words))
        .any(|(_, sqlstate)| class_of_sqlstate(sqlstate) == Class::Retry)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sqlstate_of_the_list_is_worth_a_retry() {
        for (words, sqlstate) in WORDS {
            assert_eq!(class_of_sqlstate(sqlstate), Class::Retry, "{words}");
            assert!(is_transient(&format!(
                "pg_dump: error: query failed: ERROR:  {words}x"
            )));
        }
        assert!(!is_transient(
            "pg_dump: error: permission denied for table t"
        ));
    }
}
