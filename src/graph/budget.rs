//! What a run may use of each server, and how many jobs fit into it.

use super::{Amounts, Resource};
use crate::catalog::{Inspection, ServerFacts};
use crate::plan::{Parallelism, Plan, Side};
use crate::preflight::{Budget, Fitted};

/// Connections that the run keeps on the target from its first step to its last: the advisory lock, and
/// the look at how far a restore is.
pub(crate) const CONTROL_CONNECTIONS: u32 = 1;

/// A database cannot be dumped with less: the snapshot's connection, pg_dump's, and one for counting.
pub(crate) const LEAST_PER_SOURCE_DATABASE: u32 = 3;

/// A database cannot be restored with less than one connection beside the run's own.
pub(crate) const LEAST_ON_TARGET: u32 = CONTROL_CONNECTIONS + 1;

/// Connections of a parallel pg_dump or pg_restore: one for the leader and one a job.
pub(crate) fn connections_of(jobs: u32) -> u32 {
    if jobs <= 1 { 1 } else { 1 + jobs }
}

/// The most jobs whose connections fit into `connections`, and no more than `wanted`.
fn jobs_within(connections: u32, wanted: u32) -> u32 {
    if connections <= 2 {
        1
    } else {
        wanted.min(connections - 1)
    }
}

/// Connections that the server has free for the run: `max_connections` less the reserved ones, those in
/// use, and a twentieth (three at least) for clients that come meanwhile.
pub(crate) fn free_connections(server: &ServerFacts) -> u32 {
    let reserve = (server.max_connections / 20).max(3);
    server
        .max_connections
        .saturating_sub(server.reserved_connections)
        .saturating_sub(server.used_connections)
        .saturating_sub(reserve)
}

/// Files that this process has open beside its connections: logs, archives, the pipes of client programs.
const OTHER_FILES: u32 = 64;

/// What neither the plan nor the server's free connections help over: the role's own limit, less one for looks between the
/// steps, and what files this process may have open, for both servers.
pub(crate) fn hard_limit(server: &ServerFacts, open_files: Option<u32>) -> u32 {
    let of_role = server.left_to_role.map(|left| left.saturating_sub(1));
    let of_files = open_files.map(limit_of_files);
    let limits = of_role.into_iter().chain(of_files);
    limits.min().unwrap_or(u32::MAX)
}

/// Connections to one server that files allow.
pub(crate) fn limit_of_files(open_files: u32) -> u32 {
    open_files.saturating_sub(OTHER_FILES) / 2
}

/// What a run may use of a server where the plan does not say. The source serves its clients while it is read, and keeps
/// three quarters of its connections for them. Where their sessions cannot be seen, what is free is a guess, and half
/// of that is left.
pub(crate) fn default_budget(side: Side, server: &ServerFacts) -> u32 {
    let free = free_connections(server);
    let most = match side {
        Side::Source => (server.max_connections / 4).max(LEAST_PER_SOURCE_DATABASE),
        Side::Target => free,
    };
    let budget = most.min(free);
    if server.sees_sessions {
        budget
    } else {
        (budget / 2).max(least(side)).min(budget)
    }
}

/// How many databases, jobs and queries run at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Share {
    pub dump_parallel: u32,
    pub restore_parallel: u32,
    /// The most jobs that a dump can have while every slot is in use.
    pub dump_jobs: u32,
    pub restore_jobs: u32,
    /// Count queries at a time for one database.
    pub count_queries: u32,
}

impl Share {
    /// For a database of which either server admits no more connections than that.
    pub(super) fn within(self, source: Option<u32>, target: Option<u32>) -> Share {
        let (source, target) = (source.unwrap_or(u32::MAX), target.unwrap_or(u32::MAX));
        let count_queries = self.count_queries.min(source / 3).min(target).max(1);
        let for_dump = source.saturating_sub(1 + count_queries);
        Share {
            dump_jobs: jobs_within(for_dump, self.dump_jobs),
            restore_jobs: jobs_within(target, self.restore_jobs),
            count_queries,
            ..self
        }
    }
}

/// Fits what the plan wants into the budgets of both servers.
pub(crate) fn share(wanted: &Parallelism, databases: u32, source: u32, target: u32) -> Share {
    let most = databases.max(1);
    let dump_parallel = wanted
        .dump_parallel
        .min(most)
        .min(source / LEAST_PER_SOURCE_DATABASE)
        .max(1);
    let for_restores = target.saturating_sub(CONTROL_CONNECTIONS);
    let restore_parallel = wanted.restore_parallel.min(most).min(for_restores).max(1);
    let per_dump = source / dump_parallel;
    let per_restore = for_restores / restore_parallel;
    let count_queries = (wanted.verify_concurrency / dump_parallel.max(restore_parallel))
        .min(per_dump / 3)
        .min(per_restore)
        .max(1);
    Share {
        dump_parallel,
        restore_parallel,
        dump_jobs: jobs_within(per_dump.saturating_sub(1 + count_queries), u32::MAX),
        restore_jobs: jobs_within(per_restore, u32::MAX),
        count_queries,
    }
}

/// What the plan wants of each server, and what the run may have.
pub(super) fn fitted<'a>(
    plan: &Plan,
    inspection: &'a Inspection,
    share: &Share,
    databases: u32,
) -> [Budget<'a>; 2] {
    let wanted = &plan.parallelism;
    let budget = |side, server, slots: [u32; 2], jobs: [u32; 2]| Budget {
        side,
        server,
        free: free_connections(server),
        by_default: default_budget(side, server),
        at_most: hard_limit(server, inspection.open_files),
        files: inspection.open_files.map(limit_of_files),
        given: plan.server(side).max_connections,
        least: least(side),
        databases: Fitted {
            wanted: slots[0].min(databases),
            granted: slots[1],
        },
        jobs: Fitted {
            wanted: jobs[0],
            granted: jobs[1],
        },
    };
    [
        budget(
            Side::Source,
            &inspection.source,
            [wanted.dump_parallel, share.dump_parallel],
            [wanted.dump_jobs, share.dump_jobs],
        ),
        budget(
            Side::Target,
            &inspection.target,
            [wanted.restore_parallel, share.restore_parallel],
            [wanted.restore_jobs, share.restore_jobs],
        ),
    ]
}

/// Everything there is to claim. The run's own connections are set aside beforehand.
pub(crate) fn budgets(share: &Share, wanted: &Parallelism, source: u32, target: u32) -> Amounts {
    Amounts::new(&[
        (Resource::SourceConnections, source),
        (Resource::SourceDatabases, share.dump_parallel),
        (
            Resource::TargetConnections,
            target.saturating_sub(CONTROL_CONNECTIONS),
        ),
        (Resource::TargetDatabases, share.restore_parallel),
        (Resource::VerifyQueries, wanted.verify_concurrency),
    ])
}

/// Memory for index builds on the target (`maintenance_work_mem` counts per build, shared among its workers).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct IndexMemory {
    pub total_mb: u32,
    pub per_build_mb: u32,
}

/// Without a value in the plan, so many builds run at a time.
pub(crate) const BUILDS_BY_DEFAULT: u32 = 4;

impl IndexMemory {
    /// By `delay.index_memory` and the `maintenance_work_mem` that a build will have, in bytes.
    pub(crate) fn for_plan(plan: &Plan, maintenance_work_mem: u64) -> Self {
        let mb = |bytes: u64| u32::try_from(bytes >> 20).unwrap_or(u32::MAX).max(1);
        let per_build_mb = mb(maintenance_work_mem);
        let total_mb = match plan.delay.index_memory {
            // One build always fits, or none would ever start.
            Some(bytes) => mb(bytes).max(per_build_mb),
            None => per_build_mb.saturating_mul(BUILDS_BY_DEFAULT),
        };
        IndexMemory {
            total_mb,
            per_build_mb,
        }
    }

    /// How many builds fit at a time.
    pub(crate) fn builds(&self) -> u32 {
        (self.total_mb / self.per_build_mb).max(1)
    }
}

/// The fewest connections with which a run can work.
pub(crate) fn least(side: Side) -> u32 {
    match side {
        Side::Source => LEAST_PER_SOURCE_DATABASE,
        Side::Target => LEAST_ON_TARGET,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::catalog::Version;
    use crate::graph::tests::synthetic::server;

    const DEFAULTS: Parallelism = Parallelism {
        dump_parallel: 6,
        restore_parallel: 6,
        dump_jobs: 24,
        restore_jobs: 12,
        verify_concurrency: 16,
    };

    #[test]
    fn a_live_source_keeps_most_of_its_connections() {
        let mut facts = server(Version(160_004), Vec::new());
        assert_eq!(default_budget(Side::Source, &facts), 25);
        assert_eq!(default_budget(Side::Target, &facts), 92);
        facts.used_connections = 80;
        assert_eq!(default_budget(Side::Source, &facts), 12);
        facts.sees_sessions = false;
        assert_eq!(default_budget(Side::Source, &facts), 6);
        assert_eq!(default_budget(Side::Target, &facts), 6);
        facts.used_connections = 91;
        assert_eq!(default_budget(Side::Source, &facts), 1);
    }

    #[test]
    fn limits_of_the_role_and_of_this_process_are_hard() {
        let mut facts = server(Version(160_004), Vec::new());
        assert_eq!(hard_limit(&facts, None), u32::MAX);
        assert_eq!(hard_limit(&facts, Some(1024)), 480);
        facts.left_to_role = Some(8);
        assert_eq!(hard_limit(&facts, Some(1024)), 7);
        assert_eq!(hard_limit(&facts, Some(70)), 3);
        facts.left_to_role = Some(0);
        assert_eq!(hard_limit(&facts, Some(10)), 0);
    }

    #[test]
    fn what_a_database_admits_is_kept_to() {
        let share = share(&DEFAULTS, 12, 90, 90);
        assert_eq!(share.within(None, None), share);
        for left in LEAST_PER_SOURCE_DATABASE..40 {
            let within = share.within(Some(left), Some(left));
            let dump = 1 + connections_of(within.dump_jobs) + within.count_queries;
            assert!(dump <= left, "{left}: {within:?}");
            let restore = connections_of(within.restore_jobs).max(within.count_queries);
            assert!(restore <= left, "{left}: {within:?}");
        }
    }

    #[test]
    fn the_reference_tools_defaults_fit_a_default_server() {
        let share = share(&DEFAULTS, 12, 90, 90);
        assert_eq!(share.dump_parallel, 6);
        assert_eq!(share.count_queries, 2);
        assert_eq!(share.dump_jobs, 11);
        assert_eq!(share.restore_jobs, 13);
    }

    #[test]
    fn with_room_for_one_database_one_is_dumped_at_a_time() {
        let share = share(&DEFAULTS, 12, 5, 3);
        assert_eq!(share.dump_parallel, 1);
        assert_eq!(share.restore_parallel, 2);
        assert_eq!(share.dump_jobs, 2);
        assert_eq!(share.restore_jobs, 1);
    }

    proptest! {
        #[test]
        fn what_every_slot_needs_at_a_time_fits_the_budget(
            dump_parallel in 1..40_u32,
            restore_parallel in 1..40_u32,
            verify_concurrency in 1..64_u32,
            databases in 0..3_000_u32,
            source in LEAST_PER_SOURCE_DATABASE..500,
            target in LEAST_ON_TARGET..500,
        ) {
            let wanted = Parallelism { dump_parallel, restore_parallel, verify_concurrency, ..DEFAULTS };
            let share = share(&wanted, databases, source, target);
            let dump = 1 + connections_of(share.dump_jobs) + share.count_queries;
            prop_assert!(share.dump_parallel * dump <= source);
            let restore = connections_of(share.restore_jobs).max(share.count_queries);
            prop_assert!(share.restore_parallel * restore <= target - CONTROL_CONNECTIONS);
            prop_assert!(share.count_queries <= verify_concurrency);
        }
    }
}
