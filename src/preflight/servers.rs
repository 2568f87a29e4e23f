//! The two servers: their versions, and whether one can be read from and the other be written to.

use crate::catalog::{Inspection, ServerFacts, Stale, value};
use crate::finding::{Code, Finding, Severity};
use crate::names::some_of;
use crate::plan::Plan;

/// Transactions that a finding names.
const NAMED: usize = 5;

/// About both together.
pub(super) fn for_versions(inspection: &Inspection) -> Vec<Finding> {
    let Inspection { source, target, .. } = inspection;
    [
        older_than_source(source, target),
        same_server(source, target),
    ]
    .into_iter()
    .flatten()
    .collect()
}

pub(super) fn for_source(plan: &Plan, source: &ServerFacts) -> Vec<Finding> {
    [
        source_standby(source),
        stale_standby(source),
        old_snapshots(plan, source),
        hides_damage(plan, source),
        prepared_transactions(source),
    ]
    .into_iter()
    .flatten()
    .collect()
}

pub(super) fn for_target(target: &ServerFacts) -> Vec<Finding> {
    [
        target_standby(target),
        no_synchronous_standby(target),
        archiver_fails(target),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn older_than_source(source: &ServerFacts, target: &ServerFacts) -> Option<Finding> {
    (target.version.major() < source.version.major()).then(|| {
        let message = format!(
            "the target is of version {}, older than the source ({})",
            target.version, source.version
        );
        Finding::new(Code::TargetOlderThanSource, message)
            .fix("exchange [source] and [target], or use a newer target")
    })
}

fn same_server(source: &ServerFacts, target: &ServerFacts) -> Option<Finding> {
    let is_same = source.started == target.started
        && source.system_identifier.is_some()
        && source.system_identifier == target.system_identifier;
    is_same.then(|| {
        Finding::new(
            Code::TargetSameServer,
            "source and target are the same server",
        )
        .fix("correct the host or the port of [source] or [target]")
    })
}

fn source_standby(source: &ServerFacts) -> Option<Finding> {
    if !source.in_recovery {
        return None;
    }
    // Exporting a snapshot on a standby is new in 10.
    if source.version.major() < 1000 {
        let message = format!(
            "the source is a standby of version {}, which cannot export a snapshot",
            source.version
        );
        return Some(
            Finding::new(Code::SourceStandby, message)
                .severity(Severity::Block)
                .fix("use its primary as the source"),
        );
    }
    Some(
        Finding::new(
            Code::SourceStandby,
            "the source is a standby: it cancels long queries when it has to apply changes; whether the server that it follows has all \
             that the primary has cannot be seen from it, where that is a standby too",
        )
        .fix("raise max_standby_streaming_delay on the standby, or set hot_standby_feedback = on"),
    )
}

/// Dump, counts and verification would agree about what the primary had long ago.
fn stale_standby(source: &ServerFacts) -> Option<Finding> {
    let waiting;
    let (why, fix) = match source.condition.stale? {
        Stale::Paused => (
            "its replay is paused",
            "SELECT pg_wal_replay_resume() there",
        ),
        Stale::Delayed => (
            "it replays late (recovery_min_apply_delay)",
            "set recovery_min_apply_delay = 0 there",
        ),
        Stale::Unconnected => (
            "it receives nothing from a primary",
            "look why it does not stream (primary_conninfo, its log)",
        ),
        Stale::Waiting { bytes } => {
            waiting = format!(
                "its replay stands still, and {bytes} bytes of WAL that it received wait for it"
            );
            (
                waiting.as_str(),
                "end the query or the transaction that the replay waits for there (pg_stat_activity; \
                 max_standby_streaming_delay says how long it may wait)",
            )
        }
    };
    let message = format!("the source is a standby that does not show what its primary has: {why}");
    Some(Finding::new(Code::SourceStale, message).fix(format!(
        "{fix}, or use the primary as the source; where an old state is wanted, or the standby follows by archive alone, waive \
         source/stale"
    )))
}

/// What reads as empty is dumped and counted as empty.
fn hides_damage(plan: &Plan, source: &ServerFacts) -> Option<Finding> {
    let names = [
        "ignore_checksum_failure",
        "ignore_system_indexes",
        "zero_damaged_pages",
    ];
    let is_on = |value: &str| value::boolean(value) == Some(true);
    let own = names
        .iter()
        .filter_map(|name| source.configuration.own.get(*name));
    let mut on: Vec<String> = own
        .filter(|own| is_on(&own.setting))
        .map(|own| format!("{} (by {})", own.name, own.origin))
        .collect();
    // Those of our sessions win over the server's.
    let of_role = source.role_settings.iter().map(|setting| (None, setting));
    let databases = source.databases.iter();
    let databases = databases.filter(|database| plan.databases.takes(&database.name));
    let of_databases = databases.flat_map(|database| {
        let settings = database.settings.iter();
        settings.map(|setting| (Some(&database.name), setting))
    });
    for (database, setting) in of_role.chain(of_databases) {
        let role = setting.role.as_ref();
        let is_ours = role.is_none_or(|role| *role == source.user);
        if !is_ours || !names.contains(&setting.name.as_str()) || !is_on(&setting.value) {
            continue;
        }
        let by = match (role, database) {
            (Some(role), Some(database)) => {
                format!("ALTER ROLE \"{role}\" IN DATABASE \"{database}\"")
            }
            (Some(role), None) => format!("ALTER ROLE \"{role}\""),
            (None, Some(database)) => format!("ALTER DATABASE \"{database}\""),
            (None, None) => continue,
        };
        on.push(format!("{} (by {by})", setting.name));
    }
    (!on.is_empty()).then(|| {
        let message = format!(
            "the source is told to pass over damage: {} is on, so that rows which it cannot read are left out of the dump and of \
             the counts alike",
            some_of(&on, NAMED)
        );
        Finding::new(Code::SourceHidesDamage, message)
            .fix("switch it off on the source and run again: damage is an error then, with its table")
    })
}

fn prepared_transactions(source: &ServerFacts) -> Option<Finding> {
    let all = &source.condition.prepared;
    let named: Vec<String> = all
        .iter()
        .map(|one| format!("\"{}\" of {} in \"{}\"", one.gid, one.owner, one.database))
        .collect();
    (!named.is_empty()).then(|| {
        let message = format!(
            "transactions are prepared on the source and not committed ({}): their rows do not migrate, and they cannot be committed \
             on the target",
            some_of(&named, NAMED)
        );
        Finding::new(Code::SourcePreparedTransactions, message)
            .fix("COMMIT PREPARED or ROLLBACK PREPARED each before the run, as whoever prepared it says")
    })
}

/// Whether a snapshot may grow too old without an error. Who imported one is not told "snapshot too old": the check compares a
/// page's position in the WAL with that of the snapshot (snapmgr.h, `TestForOldSnapshot`), which an imported one lacks.
fn old_snapshots(plan: &Plan, source: &ServerFacts) -> Option<Finding> {
    let name = "old_snapshot_threshold";
    let found = source.configuration.own.get(name)?;
    if found.setting == "-1" || plan.source_read_only {
        return None;
    }
    let message = format!(
        "{name} is {} min on the source (by {}): a dump that takes longer reads tables that were vacuumed meanwhile as they are \
         then, not as its snapshot shows them, and no error says so",
        found.setting, found.origin
    );
    Some(Finding::new(Code::SourceOldSnapshots, message).fix(format!(
        "set {name} = -1 there and restart it; or set source.read_only = true where it is not written to during the run"
    )))
}

/// Commits wait for ever, also those of clients after the migration.
fn no_synchronous_standby(target: &ServerFacts) -> Option<Finding> {
    let configuration = &target.configuration;
    let name = "synchronous_standby_names";
    let names = &configuration.parameters.get(name)?.setting;
    let commit = configuration.own.get("synchronous_commit");
    let is_waited = commit.is_none_or(|own| !matches!(&*own.setting, "off" | "local"));
    if names.is_empty() || !is_waited || configuration.synchronous_replicas > 0 {
        return None;
    }
    let message = format!(
        "commits on the target wait for a synchronous standby ({name} = {names}), and none is connected: they wait until one is, \
         those of this run's sessions as well unless its tuning switches synchronous_commit off for them"
    );
    Some(Finding::new(Code::TargetSynchronousStandby, message).fix(format!(
        "start the standby; or, until it is there, ALTER SYSTEM SET {name} = '' and SELECT pg_reload_conf() on the target"
    )))
}

/// What the load writes stays in `pg_wal` then.
fn archiver_fails(target: &ServerFacts) -> Option<Finding> {
    let why = target.configuration.not_archived.as_ref()?;
    let message = format!(
        "archive_mode is on for the target, and {why}: all WAL of the load stays in pg_wal, whatever max_wal_size says, and a server \
         whose pg_wal is full goes down"
    );
    Some(Finding::new(Code::TargetArchiverFails, message).fix(
        "repair archive_command (or archive_library), and look at pg_stat_archiver; or switch archive_mode off for the load, which \
         needs a restart, and take a base backup after it",
    ))
}

fn target_standby(target: &ServerFacts) -> Option<Finding> {
    target.in_recovery.then(|| {
        Finding::new(
            Code::TargetStandby,
            "the target is a standby: nothing can be written to it",
        )
        .fix("use its primary as the target")
    })
}
