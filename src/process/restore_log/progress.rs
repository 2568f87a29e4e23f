//! How far pg_dump and pg_restore are, by what they write under `--verbose`.

use super::{Line, starts_with_any};

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

/// Counts the tables whose data `pg_dump --verbose` has written.
#[derive(Debug, Clone)]
pub struct DumpProgress {
    is_parallel: bool,
    done: u64,
}

impl DumpProgress {
    /// `jobs` as in `pg_dump --jobs`.
    pub fn new(jobs: u32) -> Self {
        DumpProgress {
            is_parallel: jobs > 1,
            done: 0,
        }
    }

    /// Takes one line of pg_dump's stderr, without its line break.
    pub fn push_line(&mut self, line: &str) {
        let Some(Line { text, .. }) = Line::parse(line, "pg_dump:") else {
            return;
        };
        let counts = if self.is_parallel {
            text.strip_prefix("finished item ")
                .and_then(|item| item.split_once(' '))
                .is_some_and(|(_, entry)| entry.starts_with("TABLE DATA "))
        } else {
            text.starts_with("dumping contents of table ")
        };
        self.done += u64::from(counts);
    }

    /// Tables done, or under way where pg_dump has only one job.
    pub fn tables(&self) -> u64 {
        self.done
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tables(stderr: &str, jobs: u32) -> u64 {
        let mut progress = DumpProgress::new(jobs);
        stderr.lines().for_each(|line| progress.push_line(line));
        progress.tables()
    }

    #[test]
    fn a_finished_dump_counted_every_table() {
        let one = include_str!("../../../tests/restore-log/pg_dump-18-jobs-1.stderr");
        assert_eq!(tables(one, 1), 9);
        let four = include_str!("../../../tests/restore-log/pg_dump-18-jobs-4.stderr");
        let listing = include_str!("../../../tests/restore-log/client-18.list");
        let listed = listing.lines().filter(|line| line.contains(" TABLE DATA "));
        assert_eq!(tables(four, 4), listed.count() as u64);
    }
}
