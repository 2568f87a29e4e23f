//! How far pg_restore is, by what it writes under `--verbose`.

use super::line::starts_with_any;

/// Counts the entries of an archive that are done.
#[derive(Debug, Clone)]
pub(super) struct ItemCount {
    is_parallel: bool,
    done: u64,
}

impl ItemCount {
    pub(super) fn new(jobs: u32) -> Self {
        ItemCount {
            is_parallel: jobs > 1,
            done: 0,
        }
    }

    /// Takes a line of pg_restore without the program's name. Returns whether it counted.
    pub(super) fn push(&mut self, text: &str) -> bool {
        let counts = self.counts(text);
        self.done += u64::from(counts);
        counts
    }

    fn counts(&self, text: &str) -> bool {
        // With jobs, definitions are processed one after the other by the leader, which names each
        // before it starts; workers take the rest, and the leader tells when one is finished. Alone,
        // pg_restore names what it creates, and says nothing when that is done.
        if self.is_parallel {
            starts_with_any(text, &["processing item ", "finished item "])
        } else {
            starts_with_any(
                text,
                &[
                    "creating ",
                    "processing data for table ",
                    "processing BLOBS",
                ],
            ) || (text.starts_with("executing ") && !text.starts_with("executing SELECT "))
        }
    }

    pub(super) fn done(&self) -> u64 {
        self.done
    }
}
