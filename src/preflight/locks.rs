//! The table in memory that all sessions of a server keep their locks in.

use super::words::counted;
use crate::catalog::{Database, ServerFacts};
use crate::finding::{Code, Finding};

/// About the source, where so many of the databases are dumped at a time. The target needs no such room: pg_restore commits
/// each statement by itself, and so does whatever comes after it.
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
            "the run needs room for up to {needed} locks on tables and indexes of the source, {} at a time, and the server has \
             room for about {}, for all sessions together (max_locks_per_transaction, for each of max_connections and \
             max_prepared_transactions): \"out of shared memory\" is likely",
            counted(at_a_time, "database"),
            source.lock_slots
        );
        // Clients have locks as well.
        let factor = (2 * needed).div_ceil(source.lock_slots.max(1));
        let largest = locks.first().copied().unwrap_or_default();
        let or_fewer = if at_a_time > 1 && largest <= source.lock_slots {
            ", or lower parallelism.dump_parallel"
        } else {
            ""
        };
        Finding::new(Code::SourceLockTable, message).fix(format!(
            "raise max_locks_per_transaction on the source to {factor} times what it is (a restart){or_fewer}"
        ))
    })
}

/// The room that a database takes. Each thing that is locked has one place, whoever locks it; and the server has twice as
/// many places for who holds what: the snapshot, pg_dump and its jobs each have a lock on every table until the dump ends,
/// and the sessions that count the rows have one on every table and its indexes.
fn locks(database: &Database) -> u64 {
    const HOLDERS_OF_A_TABLE: u64 = 4;
    const HOLDERS_OF_A_LOCK: u64 = 2;
    let contents = database.contents.iter();
    contents
        .map(|contents| {
            let (tables, indexes) = (contents.relations.len() as u64, u64::from(contents.indexes));
            let held = HOLDERS_OF_A_TABLE * tables + indexes;
            (tables + indexes).max(held.div_ceil(HOLDERS_OF_A_LOCK))
        })
        .sum()
}
