//! What a server ran out of. No plan accepts that: what was to be made is not there for a reason that has nothing to do with
//! it, and comes when there is room.

use tokio_postgres::error::DbError;

/// What is used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exhausted {
    Disk,
    /// `/dev/shm`, as a container may have too little of it.
    SharedMemory,
    Memory,
    /// The table of locks, which is in shared memory.
    Locks,
    /// A limit that was set (`temp_file_limit`).
    Limit,
}

/// What follows the name of a file: the operating system's words for ENOSPC and EDQUOT.
const FULL: [&str; 2] = ["No space left on device", "Disk quota exceeded"];

impl Exhausted {
    /// By a message, in English, without its severity. Only its first line counts: what comes below may quote anything.
    pub(crate) fn from_message(message: &str) -> Option<Exhausted> {
        // A row that is too long for the buffer of its text: no memory helps.
        if message.contains("Cannot enlarge string buffer") {
            return None;
        }
        let first = message.lines().next().unwrap_or_default().trim_end();
        if first.starts_with("could not resize shared memory segment ") {
            Some(Exhausted::SharedMemory)
        } else if first == "out of shared memory" {
            Some(Exhausted::Locks)
        } else if first == "out of memory" || first.starts_with("out of memory ") {
            Some(Exhausted::Memory)
        } else if first.starts_with("temporary file size exceeds temp_file_limit") {
            Some(Exhausted::Limit)
        } else if says_full(first)
            || (first.starts_with("could not extend file ") && first.contains(": wrote only "))
        {
            Some(Exhausted::Disk)
        } else {
            None
        }
    }

    /// By the message, which tells more, or the SQLSTATE (class 53, "Insufficient Resources").
    pub(super) fn from_server(error: &DbError) -> Option<Exhausted> {
        Exhausted::from_message(error.message()).or(match error.code().code() {
            "53100" => Some(Exhausted::Disk),
            "53200" => Some(Exhausted::Memory),
            "53400" => Some(Exhausted::Limit),
            _ => None,
        })
    }

    /// What is the matter. `server`: as messages call it.
    pub(crate) fn what(self, server: &str) -> String {
        match self {
            Exhausted::Disk => format!("a disk of the {server} is full"),
            Exhausted::SharedMemory => {
                format!("the {server} has no more room in /dev/shm for its shared memory")
            }
            Exhausted::Memory => format!("the {server} ran out of memory"),
            Exhausted::Locks => format!("the {server} has no more room in its table of locks"),
            Exhausted::Limit => format!("a limit of the {server} was reached"),
        }
    }

    /// What to do about it.
    pub(crate) fn help(self) -> &'static str {
        match self {
            Exhausted::Disk => {
                "make room where the message says: its data directory, a tablespace, or where pg_wal is; then run again"
            }
            Exhausted::SharedMemory => {
                "give it a larger /dev/shm (of a container: --shm-size), or set max_parallel_maintenance_workers = 0 under \
                 [target.tuning.settings]; then run again"
            }
            Exhausted::Memory => {
                "lower parallelism.restore_jobs, or maintenance_work_mem under [target.tuning.settings], or give it more \
                 memory; its log says what used it; then run again"
            }
            Exhausted::Locks => "raise max_locks_per_transaction there, restart it, and run again",
            Exhausted::Limit => {
                "raise the limit that the message names for our role, and run again"
            }
        }
    }
}

/// Whether a line ends with the operating system's words for a full disk.
pub(crate) fn says_full(line: &str) -> bool {
    FULL.iter().any(|words| line.trim_end().ends_with(words))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_used_up_is_told_by_the_first_line() {
        for (message, expected) in [
            (
                "could not extend file \"base/1/2\": No space left on device\nhint: Check free disk space.",
                Some(Exhausted::Disk),
            ),
            (
                "could not extend file \"base/1/2\": wrote only 4096 of 8192 bytes at block 7",
                Some(Exhausted::Disk),
            ),
            (
                "could not write to file \"base/pgsql_tmp/x\": Disk quota exceeded",
                Some(Exhausted::Disk),
            ),
            (
                "could not resize shared memory segment \"/PostgreSQL.1\" to 67128672 bytes: No space left on device",
                Some(Exhausted::SharedMemory),
            ),
            ("out of shared memory", Some(Exhausted::Locks)),
            (
                "out of memory\ndetail: Failed on request",
                Some(Exhausted::Memory),
            ),
            (
                "temporary file size exceeds temp_file_limit (1024kB)",
                Some(Exhausted::Limit),
            ),
            (
                "out of memory\nDETAIL:  Cannot enlarge string buffer containing 1073741822 bytes by 1 more bytes.",
                None,
            ),
            ("relation \"out of memory\" does not exist", None),
            ("a trigger says\nNo space left on device", None),
            ("", None),
        ] {
            assert_eq!(Exhausted::from_message(message), expected, "{message}");
        }
    }
}
