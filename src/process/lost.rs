//! The one failure of client programs that is worth another attempt.

/// What libpq says when a connection is gone or cannot be made (fe-misc.c, fe-exec.c, fe-connect.c), in the
/// language that children are given. The programs show no SQLSTATE, so there is nothing else to go by.
const LOST: [&str; 6] = [
    "server closed the connection unexpectedly",
    "SSL connection has been closed unexpectedly",
    "no connection to the server",
    "could not receive data from server",
    "could not send data to server",
    // The same credentials let us in a moment ago.
    "error: connection to server ",
];

/// Whether a line of a client program's standard error says that its connection was lost.
pub(super) fn is_lost_connection(line: &str) -> bool {
    LOST.iter().any(|words| line.contains(words))
}
