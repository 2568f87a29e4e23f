//! The table in memory that all sessions of a server keep their locks in.

use super::counted;
use crate::catalog::{Database, ServerFacts};
use crate::finding::{Code, Finding};

/// About the source, where so many of the databases are dumped at a time. Each dump and the snapshot before it lock every
/// table, and counting the rows locks the indexes as well.
pub(crate) fn for_lock_table(
    source: &ServerFacts,
    databases: &[&Database],
    at_a_time: u32,
) -> Option<Finding> {
    let mut locks: Vec<u64> = databases.iter().map(|database| locks(database)).collect();
    locks.sort_unstable_by(|a, b| b.cmp(a));
    let needed: u64 = locks.iter().take(at_a_time as usize).sum();
    (needed > source.lock_slots).then(|| {
        let message = format!(
            "the run locks up to {needed} tables and indexes of the source, {} at a time, and the server has room for about {} \
             locks of all sessions together (max_locks_per_transaction): \"out of shared memory\" is likely",
            counted(at_a_time, "database"),
            source.lock_slots
        );
        Finding::new(Code::SourceLockTable, message).fix(
            "raise max_locks_per_transaction on the source (a restart), or lower parallelism.dump_parallel",
        )
    })
}

fn locks(database: &Database) -> u64 {
    let contents = database.contents.iter();
    contents
        .map(|contents| contents.relations.len() as u64 + u64::from(contents.indexes))
        .sum()
}
