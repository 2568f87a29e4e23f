//! The settings for the load that are set, and what that means for the target and for whoever else uses it.

use crate::catalog::{ServerFacts, value};
use crate::finding::{Code, Finding, Severity};
use crate::names::some_of;
use crate::plan::Plan;

/// Databases and slots that a finding names.
const NAMED: usize = 5;

/// What is set for the load.
pub(crate) struct TuningFacts<'a> {
    /// By ALTER SYSTEM, names and values.
    pub system: Vec<(&'a str, &'a str)>,
    /// In this run's own sessions alone.
    pub session: Vec<(&'a str, &'a str)>,
    /// Those for the whole server with which a crash of its operating system loses the cluster.
    pub dangers: Vec<&'a str>,
    /// `autovacuum` is off in the whole server.
    pub no_autovacuum: bool,
    /// Databases of the target that this plan did not make and that hold something, or may.
    pub others: &'a [&'a str],
    /// One that it did not make either, and that holds no rows.
    pub prepared: Option<&'a str>,
    /// Databases of this plan that clients may use already, where settings with which a crash of the target's operating
    /// system loses the cluster are left out because of them.
    pub in_use: &'a [&'a str],
}

pub(crate) fn for_tuning(
    plan: &Plan,
    target: &ServerFacts,
    tuning: &TuningFacts<'_>,
) -> Vec<Finding> {
    let mut found = Vec::new();
    found.extend(set_for_the_server(tuning));
    found.extend(set_for_our_sessions(tuning));
    found.extend(wal_grows(target, tuning));
    found.extend(auto_conf_edited(target, tuning));
    if !tuning.dangers.is_empty() {
        found.extend(for_dangers(plan, target, tuning));
    }
    found.extend(clients_spared(tuning));
    found.extend(no_autovacuum(plan, tuning));
    found.extend(base_backup(target, tuning));
    found.extend(idle_slots(target));
    found
}

fn clients_spared(tuning: &TuningFacts<'_>) -> Option<Finding> {
    (!tuning.in_use.is_empty()).then(|| {
        let message = format!(
            "clients may use databases that this plan has verified ({}): fsync and full_page_writes stay as they are",
            some_of(tuning.in_use, NAMED)
        );
        Finding::new(Code::TargetTuningClients, message)
    })
}

/// What `fsync` or `full_page_writes` off means.
fn for_dangers(plan: &Plan, target: &ServerFacts, tuning: &TuningFacts<'_>) -> Vec<Finding> {
    let mut found = vec![cluster_at_risk(tuning), opening(plan, tuning)];
    found.extend(shared(plan, tuning).or_else(|| prepared(tuning)));
    found.extend(replicas(target));
    found.extend(archiving(target).or_else(|| wal_level(target)));
    found.extend(no_sync(target));
    found
}

/// The memory that index builds may take in the worst case.
pub(crate) struct MemoryUse<'a> {
    /// At a time.
    pub builds: u32,
    /// `maintenance_work_mem`, as it is set.
    pub value: &'a str,
    /// Bytes of all builds together.
    pub bytes: u64,
    /// The target's memory in bytes; `is_read`: it is known, not estimated.
    pub memory: u64,
    pub is_read: bool,
    /// Bytes of it that shared buffers take.
    pub shared: u64,
}

pub(crate) fn for_memory(memory: &MemoryUse<'_>) -> Finding {
    let name = "maintenance_work_mem";
    let value = memory.value;
    let total = if memory.is_read {
        format!("of the target's {} of memory", rounded(memory.memory))
    } else {
        format!(
            "of the target's memory, whose size may not be read (estimated as {} from effective_cache_size and \
             shared_buffers)",
            rounded(memory.memory)
        )
    };
    let builds = match memory.builds {
        1 => format!("an index build with {name} = {value} takes"),
        builds => format!("{builds} index builds at a time with {name} = {value} each take"),
    };
    let message = format!("{builds} up to {} {total}", rounded(memory.bytes));
    let finding = Finding::new(Code::TargetTuningMemory, message);
    let is_too_much = memory.bytes > memory.memory.saturating_sub(memory.shared) / 4 * 3;
    if !is_too_much {
        return finding;
    }
    finding.severity(Severity::Warn).fix(
        "lower parallelism.restore_parallel or parallelism.restore_jobs, or set maintenance_work_mem in \
         [target.tuning.settings]",
    )
}

/// When clients are let into verified databases.
fn opening(plan: &Plan, tuning: &TuningFacts<'_>) -> Finding {
    let dangers = tuning.dangers.join(" and ");
    if plan.tuning.open_early {
        let message = format!(
            "clients are let into each database as soon as it is verified, with {dangers} still off \
             (target.tuning.open_early): a crash of the target's operating system then loses what they committed, and the \
             source does not have it"
        );
        return Finding::new(Code::TargetOpensEarly, message)
            .fix("remove target.tuning.open_early, or set target.tuning.mode = \"safe\"");
    }
    let message = format!(
        "databases belong to this run's role, and no other role may connect, until they are verified and {dangers} are \
         as before: restore-settings opens them"
    );
    Finding::new(Code::TargetOpensLate, message)
}

fn set_for_the_server(tuning: &TuningFacts<'_>) -> Option<Finding> {
    (!tuning.system.is_empty()).then(|| {
        let message = format!(
            "for the load, ALTER SYSTEM sets {} in the whole target; what postgresql.auto.conf holds now is \
             restored when the run ends",
            list(&tuning.system)
        );
        Finding::new(Code::TargetTuning, message)
    })
}

fn set_for_our_sessions(tuning: &TuningFacts<'_>) -> Option<Finding> {
    (!tuning.session.is_empty()).then(|| {
        let message = format!(
            "for the load, this run's own sessions on the target set {}",
            list(&tuning.session)
        );
        Finding::new(Code::TargetTuningSession, message)
    })
}

fn wal_grows(target: &ServerFacts, tuning: &TuningFacts<'_>) -> Option<Finding> {
    let mut system = tuning.system.iter();
    if let Some((_, value)) = system.find(|(name, _)| *name == "max_wal_size") {
        let message = format!(
            "WAL of about {value} (max_wal_size) stays in the target's pg_wal, whose free space cannot be seen from here: a server \
             whose pg_wal is full goes down"
        );
        return Some(Finding::new(Code::TargetTuningWal, message));
    }
    let parameters = &target.configuration.parameters;
    let now = parameters
        .get("max_wal_size")
        .filter(|_| !tuning.system.is_empty())?;
    let size = value::memory_text(value::bytes(now, &now.setting)?);
    let message = format!(
        "the target's max_wal_size stays {size}, because the free space of its pg_wal cannot be seen from here"
    );
    let fix = "where pg_wal has room, max_wal_size = \"8GB\" in target.tuning.settings saves the load checkpoints";
    Some(Finding::new(Code::TargetTuningWal, message).fix(fix))
}

fn auto_conf_edited(target: &ServerFacts, tuning: &TuningFacts<'_>) -> Option<Finding> {
    let is_edited = target.configuration.is_edited_by_hand == Some(true);
    (is_edited && !tuning.system.is_empty()).then(|| {
        Finding::new(
            Code::TargetAutoConfEdited,
            "the target's postgresql.auto.conf was edited by hand: its settings are restored, its comments and duplicate \
             entries are not, because ALTER SYSTEM rewrites the file",
        )
        .fix("keep a copy of the file, or move comments and settings to postgresql.conf")
    })
}

/// Where clients are let in before the run ends.
fn no_autovacuum(plan: &Plan, tuning: &TuningFacts<'_>) -> Option<Finding> {
    let opens_early = tuning.dangers.is_empty() || plan.tuning.open_early;
    (tuning.no_autovacuum && opens_early).then(|| {
        Finding::new(
            Code::TargetTuningAutovacuum,
            "clients are let into each database as soon as it is verified, with autovacuum still off for the whole server: until the \
             run ends nothing removes the rows that they leave dead, nor analyzes what they write",
        )
        .fix("autovacuum = \"on\" in target.tuning.settings")
    })
}

/// What is copied meanwhile is copied with the settings for the load.
fn base_backup(target: &ServerFacts, tuning: &TuningFacts<'_>) -> Option<Finding> {
    let backups = target.configuration.base_backups;
    (backups > 0 && !tuning.system.is_empty()).then(|| {
        let are = match backups {
            1 => "a base backup of the target is being taken".to_owned(),
            more => format!("{more} base backups of the target are being taken"),
        };
        let message = format!(
            "{are}: a server that is started from it may have what ALTER SYSTEM sets for the load ({}), and would keep that",
            list(&tuning.system)
        );
        Finding::new(Code::TargetBaseBackup, message)
            .fix("let it end before the run, and take the next one after it")
    })
}

fn idle_slots(target: &ServerFacts) -> Option<Finding> {
    let slots = target.configuration.slots.iter();
    let idle: Vec<&str> = slots
        .filter(|slot| !slot.is_active)
        .map(|slot| slot.name.as_str())
        .collect();
    (!idle.is_empty()).then(|| {
        let message = format!(
            "replication slots of the target are not in use ({}): all WAL of the load stays in pg_wal until they are read \
             or dropped, whatever max_wal_size says",
            some_of(&idle, NAMED)
        );
        Finding::new(Code::TargetIdleSlots, message).fix(
            "drop the slots (pg_drop_replication_slot), or limit them by max_slot_wal_keep_size (13 and later)",
        )
    })
}

fn cluster_at_risk(tuning: &TuningFacts<'_>) -> Finding {
    let message = format!(
        "with {} off, the target's cluster is lost if its operating system crashes during the load: it would have to be \
         created and loaded again",
        tuning.dangers.join(" and ")
    );
    Finding::new(Code::TargetTuningUnsafe, message)
        .fix("set target.tuning.mode = \"safe\" to rule that out")
}

fn shared(plan: &Plan, tuning: &TuningFacts<'_>) -> Option<Finding> {
    if tuning.others.is_empty() {
        return None;
    }
    let message = format!(
        "the target serves other databases ({}), which would also be lost if its operating system crashed during the \
         load: {} can only be off for the whole server",
        some_of(tuning.others, NAMED),
        tuning.dangers.join(" and ")
    );
    let finding = Finding::new(Code::TargetShared, message);
    Some(if plan.tuning.shared_target {
        finding
            .severity(Severity::Warn)
            .fix("set target.tuning.mode = \"safe\" to rule that out")
    } else {
        finding.fix(
            "set target.tuning.mode = \"safe\", or accept the danger by target.tuning.shared_target = true",
        )
    })
}

/// Nothing of it is overwritten, and what a crash would lose of it can be made again.
fn prepared(tuning: &TuningFacts<'_>) -> Option<Finding> {
    let name = tuning.prepared?;
    let message = format!(
        "the database \"{name}\" of the target holds objects that were made there (of an agent, say), and no tables of users: the run \
         does not touch them, and they would have to be made again if the target's operating system crashed during the load, \
         while {} is off",
        tuning.dangers.join(" and ")
    );
    let finding = Finding::new(Code::TargetShared, message).severity(Severity::Warn);
    Some(finding.fix("nothing, where whoever made them can do so again; target.tuning.mode = \"safe\" rules that out"))
}

fn replicas(target: &ServerFacts) -> Option<Finding> {
    let replicas = target.configuration.replicas;
    let waits = match setting(target, "synchronous_standby_names") {
        "" => "",
        _ => ", and commits do not wait for them during the load",
    };
    (replicas > 0).then(|| {
        let message = format!(
            "{} connected to the target: after a crash, replicas may hold what it lost, and have to be created again; \
             no base backup can be taken from them while full_page_writes is off{waits}",
            match replicas {
                1 => "1 replica is".to_owned(),
                more => format!("{more} replicas are"),
            }
        );
        Finding::new(Code::TargetTuningReplicas, message).fix(
            "set target.tuning.mode = \"safe\", or create the replicas after the migration",
        )
    })
}

fn archiving(target: &ServerFacts) -> Option<Finding> {
    let is_on = !matches!(setting(target, "archive_mode"), "" | "off");
    is_on.then(|| {
        Finding::new(
            Code::TargetTuningArchiving,
            "archive_mode is on: all WAL of the load is archived, and after a crash the archive may hold what the \
             target lost",
        )
        .fix("turn archiving off for the load (it needs a restart), or take a base backup after it")
    })
}

fn wal_level(target: &ServerFacts) -> Option<Finding> {
    let configuration = &target.configuration;
    let level = setting(target, "wal_level");
    let has_reader = configuration.replicas > 0 || !configuration.slots.is_empty();
    (!has_reader && matches!(level, "replica" | "logical")).then(|| {
        let message = format!(
            "wal_level is {level}: the load also writes everything to the WAL, which no replica or archive reads now"
        );
        Finding::new(Code::TargetWalLevel, message).fix(
            "wal_level = minimal and max_wal_senders = 0 avoid that; both need a restart before and after the load, and \
             a base backup afterwards",
        )
    })
}

fn no_sync(target: &ServerFacts) -> Option<Finding> {
    let configuration = &target.configuration;
    let may_sync = configuration.may_checkpoint && configuration.may_run_programs;
    (!may_sync).then(|| {
        let message = format!(
            "the role \"{}\" may not flush to disk what the load wrote (CHECKPOINT, then sync by COPY … TO PROGRAM)",
            target.user
        );
        Finding::new(Code::TargetTuningNoSync, message).fix(
            "after the run, CHECKPOINT as a superuser and run sync on the target's host; or GRANT pg_checkpoint, \
             pg_execute_server_program to the role",
        )
    })
}

/// The value of a parameter now; empty where the server has none of this name.
fn setting<'a>(target: &'a ServerFacts, name: &str) -> &'a str {
    let parameter = target.configuration.parameters.get(name);
    parameter.map_or("", |parameter| parameter.setting.as_str())
}

/// `fsync = off, work_mem = 1GB`.
fn list(settings: &[(&str, &str)]) -> String {
    let settings = settings.iter();
    let texts: Vec<String> = settings
        .map(|(name, value)| format!("{name} = {value}"))
        .collect();
    texts.join(", ")
}

/// For people: `23.5 GB`.
fn rounded(bytes: u64) -> String {
    let gigabytes = bytes as f64 / (1_u64 << 30) as f64;
    if gigabytes < 1.0 {
        format!("{} MB", bytes >> 20)
    } else {
        format!("{gigabytes:.1} GB")
    }
}
