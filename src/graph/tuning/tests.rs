//! Servers in, settings and findings out.

use std::collections::BTreeMap;

use super::*;
use crate::catalog::samples::{PARAMETERS, parameter};
use crate::catalog::{ReplicationSlot, Version};
use crate::finding::{Code, Severity};

/// Of a superuser on a host with 64 GB.
pub(super) fn configuration() -> Configuration {
    let names = PARAMETERS
        .lines()
        .filter_map(|line| line.split_whitespace().next());
    let parameters = names.map(|name| (name.to_owned(), parameter(name)));
    Configuration {
        parameters: parameters.collect(),
        own: BTreeMap::new(),
        of_clients: BTreeMap::new(),
        reads_file_settings: true,
        may_reload: true,
        may_checkpoint: true,
        may_run_programs: true,
        is_edited_by_hand: Some(false),
        memory: Some(64 << 30),
        replicas: 0,
        synchronous_replicas: 0,
        base_backups: 0,
        not_archived: None,
        asks_for_scram: Some(true),
        writes_passwords: Vec::new(),
        slots: Vec::new(),
    }
}

fn target() -> ServerFacts {
    ServerFacts {
        version: Version(180_004),
        system_identifier: None,
        seen: Some(crate::names::Sighting::sample()),
        started: String::new(),
        max_connections: 100,
        reserved_connections: 3,
        used_connections: 0,
        left_to_role: None,
        user: "postgres".into(),
        is_superuser: true,
        can_create_database: true,
        can_create_role: true,
        bypasses_row_security: true,
        reads_passwords: true,
        in_recovery: false,
        condition: crate::catalog::Condition::default(),
        roles: Vec::new(),
        kept_roles: Default::default(),
        role_settings: Vec::new(),
        databases: Vec::new(),
        tablespaces: Vec::new(),
        tablespace_facts: Default::default(),
        makeable_tablespaces: Vec::new(),
        locales: Vec::new(),
        sees_sessions: true,
        sets_replication_role: true,
        sets_event_triggers: true,
        sets_language: true,
        lock_slots: 6_400,
        maintenance_work_mem: 64 << 20,
        not_moved: Vec::new(),
        lacked_libraries: Vec::new(),
        newer: crate::catalog::Newer::default(),
        extension_versions: BTreeMap::new(),
        configuration: configuration(),
    }
}

/// A role of a managed service.
fn limited_target() -> ServerFacts {
    let mut target = target();
    target.user = "app".into();
    for parameter in target.configuration.parameters.values_mut() {
        parameter.may_alter_system = false;
        parameter.may_set = false;
    }
    target.configuration.reads_file_settings = false;
    target.configuration.may_reload = false;
    target.configuration.memory = None;
    target
}

fn plan(tuning: &str) -> Plan {
    let text = format!("[source]\nhost = \"a\"\n[target]\nhost = \"b\"\n{tuning}");
    crate::plan::parse(&text, std::path::Path::new("/x.toml")).unwrap()
}

fn mode(mode: &str) -> Plan {
    plan(&format!("[target.tuning]\nmode = \"{mode}\""))
}

const ALONE: Load = Load {
    jobs: 4,
    others: Vec::new(),
    prepared: None,
    in_use: Vec::new(),
};

fn shown(plan: &Plan, target: &ServerFacts, load: &Load) -> String {
    let (tuning, findings) = tune(plan, target, load);
    let mut text = String::new();
    for setting in tuning.unwrap().settings {
        text.push_str(&format!(
            "{} = {} ({:?})\n",
            setting.name, setting.value, setting.reach
        ));
    }
    for finding in findings {
        text.push_str(&format!(
            "\n{:?} {}{}\n",
            finding.severity,
            finding.code,
            finding
                .object
                .map(|name| format!(" {name}"))
                .unwrap_or_default(),
        ));
        text.push_str(&format!("  {}\n", finding.message));
        if let Some(fix) = finding.fix {
            text.push_str(&format!("  fix: {fix}\n"));
        }
    }
    text
}

fn codes(plan: &Plan, target: &ServerFacts, load: &Load) -> Vec<(Severity, Code)> {
    let (_, findings) = tune(plan, target, load);
    let findings = findings.into_iter();
    findings
        .map(|finding| (finding.severity, finding.code))
        .collect()
}

#[test]
fn fast_sets_everything_for_the_whole_server() {
    insta::assert_snapshot!(shown(&mode("fast"), &target(), &ALONE), @r#"
    fsync = off (System)
    full_page_writes = off (System)
    maintenance_work_mem = 2GB (Both)
    synchronous_commit = off (Session)
    checkpoint_completion_target = 0.9 (System)
    checkpoint_timeout = 1h (System)
    autovacuum = off (System)

    Info target/tuning
      for the load, ALTER SYSTEM sets fsync = off, full_page_writes = off, maintenance_work_mem = 2GB, checkpoint_completion_target = 0.9, checkpoint_timeout = 1h, autovacuum = off in the whole target; what postgresql.auto.conf holds now is restored when the run ends

    Info target/tuning-session
      for the load, this run's own sessions on the target set synchronous_commit = off

    Info target/tuning-wal
      the target's max_wal_size stays 1GB, because the free space of its pg_wal cannot be seen from here
      fix: where pg_wal has room, max_wal_size = "8GB" in target.tuning.settings saves the load checkpoints

    Info target/tuning-unsafe
      with fsync and full_page_writes off, the target's cluster is lost if its operating system crashes during the load: it would have to be created and loaded again
      fix: set target.tuning.mode = "safe" to rule that out

    Info target/opens-late
      databases belong to this run's role, and no other role may connect, until they are verified and fsync and full_page_writes are as before: restore-settings opens them

    Info target/wal-level
      wal_level is replica: the load also writes everything to the WAL, which no replica or archive reads now
      fix: wal_level = minimal and max_wal_senders = 0 avoid that; both need a restart before and after the load, and a base backup afterwards

    Info target/tuning-memory
      4 index builds at a time with maintenance_work_mem = 2GB each take up to 8.0 GB of the target's 64.0 GB of memory
    "#);
}

#[test]
fn safe_risks_nothing_and_leaves_other_sessions_alone() {
    insta::assert_snapshot!(shown(&mode("safe"), &target(), &ALONE), @r#"
    maintenance_work_mem = 2GB (Session)
    synchronous_commit = off (Session)
    checkpoint_completion_target = 0.9 (System)
    checkpoint_timeout = 1h (System)
    autovacuum = off (System)

    Info target/tuning
      for the load, ALTER SYSTEM sets checkpoint_completion_target = 0.9, checkpoint_timeout = 1h, autovacuum = off in the whole target; what postgresql.auto.conf holds now is restored when the run ends

    Info target/tuning-session
      for the load, this run's own sessions on the target set maintenance_work_mem = 2GB, synchronous_commit = off

    Info target/tuning-wal
      the target's max_wal_size stays 1GB, because the free space of its pg_wal cannot be seen from here
      fix: where pg_wal has room, max_wal_size = "8GB" in target.tuning.settings saves the load checkpoints

    Info target/tuning-autovacuum
      clients are let into each database as soon as it is verified, with autovacuum still off for the whole server: until the run ends nothing removes the rows that they leave dead, nor analyzes what they write
      fix: autovacuum = "on" in target.tuning.settings

    Info target/tuning-memory
      4 index builds at a time with maintenance_work_mem = 2GB each take up to 8.0 GB of the target's 64.0 GB of memory
    "#);
}

/// What lets clients in while the target is unsafe is said with its danger, and is no danger where nothing is unsafe.
#[test]
fn clients_that_are_let_in_early_are_told() {
    let mut plan = mode("fast");
    plan.tuning.open_early = true;
    let (_, findings) = tune(&plan, &target(), &ALONE);
    let early: Vec<String> = findings
        .into_iter()
        .filter(|finding| finding.code == Code::TargetOpensEarly)
        .map(|finding| format!("{:?}: {}", finding.severity, finding.message))
        .collect();
    insta::assert_snapshot!(early.join("\n"), @"Warn: clients are let into each database as soon as it is verified, with fsync and full_page_writes still off (target.tuning.open_early): a crash of the target's operating system then loses what they committed, and the source does not have it");
    assert!(!codes(&plan, &target(), &ALONE).contains(&(Severity::Info, Code::TargetOpensLate)));
    plan = mode("safe");
    plan.tuning.open_early = true;
    assert!(!codes(&plan, &target(), &ALONE).contains(&(Severity::Warn, Code::TargetOpensEarly)));
}

/// An earlier run of the plan verified and opened them.
#[test]
fn databases_that_clients_use_are_not_risked() {
    let load = Load {
        jobs: 4,
        others: Vec::new(),
        prepared: None,
        in_use: vec!["crm", "erp"],
    };
    let names = |plan: &Plan| -> Vec<String> {
        let tuning = tune(plan, &target(), &load).0.unwrap();
        tuning
            .system()
            .map(|setting| setting.name.clone())
            .collect()
    };
    let mut plan = mode("fast");
    let kept = [
        "maintenance_work_mem",
        "checkpoint_completion_target",
        "checkpoint_timeout",
    ];
    assert_eq!(names(&plan), kept);
    let spared = (Severity::Info, Code::TargetTuningClients);
    assert!(codes(&plan, &target(), &load).contains(&spared));
    assert!(!codes(&mode("safe"), &target(), &load).contains(&spared));
    plan.tuning.open_early = true;
    assert!(names(&plan).contains(&"fsync".to_owned()));
    assert!(!codes(&plan, &target(), &load).contains(&spared));
}

#[test]
fn off_sets_nothing() {
    let (tuning, findings) = tune(&mode("off"), &target(), &ALONE);
    assert_eq!((tuning, findings.len()), (None, 0));
}

#[test]
fn without_the_right_to_alter_system_sessions_are_set() {
    insta::assert_snapshot!(shown(&mode("fast"), &limited_target(), &ALONE), @r#"
    maintenance_work_mem = 496MB (Session)
    synchronous_commit = off (Session)

    Info target/tuning-session
      for the load, this run's own sessions on the target set maintenance_work_mem = 496MB, synchronous_commit = off

    Info target/tuning-out-of-reach
      not set for the load: fsync, full_page_writes, checkpoint_completion_target, checkpoint_timeout, autovacuum (the role "app" may not run ALTER SYSTEM)
      fix: use a superuser for [target], or GRANT ALTER SYSTEM ON PARAMETER …, SELECT ON pg_file_settings and EXECUTE ON FUNCTION pg_show_all_file_settings(), pg_reload_conf() to the role

    Info target/tuning-memory
      4 index builds at a time with maintenance_work_mem = 496MB each take up to 1.9 GB of the target's memory, whose size may not be read (estimated as 4.0 GB from effective_cache_size and shared_buffers)
    "#);
}

#[test]
fn a_single_missing_right_is_named() {
    let mut unreadable = target();
    unreadable.configuration.reads_file_settings = false;
    let mut no_reload = target();
    no_reload.configuration.may_reload = false;
    let mut partly = target();
    let parameters = &mut partly.configuration.parameters;
    parameters.get_mut("fsync").unwrap().may_alter_system = false;
    parameters.get_mut("checkpoint_timeout").unwrap().is_fixed = true;
    let mut forbidden = target();
    let mut allow = parameter("autovacuum");
    allow.setting = "off".into();
    let parameters = &mut forbidden.configuration.parameters;
    parameters.insert("allow_alter_system".into(), allow);
    let reasons: Vec<String> = [unreadable, no_reload, partly, forbidden]
        .iter()
        .flat_map(|target| tune(&mode("fast"), target, &ALONE).1)
        .filter(|finding| finding.code == Code::TargetTuningOutOfReach)
        .map(|finding| finding.message)
        .collect();
    insta::assert_snapshot!(reasons.join("\n"), @r#"
    not set for the load: fsync, full_page_writes, checkpoint_completion_target, checkpoint_timeout, autovacuum (the role "postgres" may not read pg_file_settings, and what postgresql.auto.conf holds could not be restored)
    not set for the load: fsync, full_page_writes, checkpoint_completion_target, checkpoint_timeout, autovacuum (the role "postgres" may not call pg_reload_conf())
    not set for the load: checkpoint_timeout (the server's command line or environment overrides ALTER SYSTEM)
    not set for the load: fsync (the role "postgres" lacks the privilege ALTER SYSTEM on them)
    not set for the load: fsync, full_page_writes, checkpoint_completion_target, checkpoint_timeout, autovacuum (the server does not allow ALTER SYSTEM (allow_alter_system = off))
    "#);
}

#[test]
fn the_plans_settings_come_on_top() {
    let plan = plan(
        "[target.tuning]\nmode = \"fast\"\n[target.tuning.settings]\nFSYNC = true\n\
         maintenance_work_mem = \"32GB\"\nwal_compression = \"pglz\"\n",
    );
    let (tuning, findings) = tune(&plan, &target(), &ALONE);
    let tuning = tuning.unwrap();
    let value = |name: &str| {
        let mut settings = tuning.settings.iter();
        settings
            .find(|setting| setting.name == name)
            .map(|setting| setting.value.as_str())
    };
    assert_eq!(value("fsync"), Some("on"));
    assert_eq!(value("wal_compression"), Some("pglz"));
    assert_eq!(tuning.unsafe_settings(), ["full_page_writes"]);
    let memory = findings
        .iter()
        .find(|finding| finding.code == Code::TargetTuningMemory)
        .unwrap();
    assert_eq!(memory.severity, Severity::Warn);
    assert!(
        memory.message.contains("up to 128.0 GB"),
        "{}",
        memory.message
    );
}

#[test]
fn settings_that_cannot_be_set_block_the_run() {
    let plan = plan(
        "[target.tuning.settings]\nblock_size = 8192\nshared_buffers = \"8GB\"\nmaintenance_wrok_mem = \"1GB\"\n\
         fsync = \"perhaps\"\n\"auto_explain.log_min_duration\" = 0\n",
    );
    let mut target = target();
    let mut block_size = parameter("shared_buffers");
    block_size.name = "block_size".into();
    block_size.changeable = Changeable::Never;
    let parameters = &mut target.configuration.parameters;
    parameters.insert("block_size".into(), block_size);
    let (_, findings) = tune(&plan, &target, &ALONE);
    let blockers: Vec<String> = findings
        .iter()
        .filter(|finding| matches!(finding.severity, Severity::Block | Severity::Warn))
        .map(|finding| {
            format!(
                "{:?} {}: {}",
                finding.severity, finding.code, finding.message
            )
        })
        .collect();
    insta::assert_snapshot!(blockers.join("\n"), @r#"
    Block target/tuning-value: fsync: "perhaps" is neither on nor off
    Block target/tuning-fixed: block_size cannot be set
    Block target/tuning-restart: shared_buffers takes effect only when the server is started again, which pg-migrate does not do
    Block target/tuning-unknown: target.tuning.settings has maintenance_wrok_mem, and PostgreSQL 18.4 has no such parameter
    Warn target/tuning-unknown: auto_explain.log_min_duration is not set for the load: the target has not loaded auto_explain
    "#);
}

#[test]
fn a_server_with_other_databases_is_not_risked_unasked() {
    let shared = Load {
        jobs: 4,
        others: vec!["crm", "erp"],
        prepared: None,
        in_use: Vec::new(),
    };
    let severity = |plan: &Plan, target: &ServerFacts| {
        codes(plan, target, &shared)
            .into_iter()
            .find(|(_, code)| *code == Code::TargetShared)
            .map(|(severity, _)| severity)
    };
    assert_eq!(severity(&mode("fast"), &target()), Some(Severity::Block));
    let accepted = plan("[target.tuning]\nshared_target = true");
    assert_eq!(severity(&accepted, &target()), Some(Severity::Warn));
    assert_eq!(severity(&mode("safe"), &target()), None);
    // Where the whole server cannot be risked, it need not be accepted.
    assert_eq!(severity(&mode("fast"), &limited_target()), None);
    let harmless = plan("[target.tuning.settings]\nfsync = \"on\"\nfull_page_writes = \"on\"");
    assert_eq!(severity(&harmless, &target()), None);
    // Others need their autovacuum.
    let (tuning, _) = tune(&mode("safe"), &target(), &shared);
    assert!(
        tuning
            .unwrap()
            .settings
            .iter()
            .all(|setting| setting.name != "autovacuum")
    );
}

#[test]
fn who_follows_the_target_is_thought_of() {
    let mut target = target();
    let configuration = &mut target.configuration;
    configuration.replicas = 2;
    configuration.slots = vec![
        ReplicationSlot {
            name: "gone".into(),
            is_active: false,
        },
        ReplicationSlot {
            name: "standby".into(),
            is_active: true,
        },
    ];
    let parameters: &mut BTreeMap<String, Parameter> = &mut configuration.parameters;
    parameters.get_mut("archive_mode").unwrap().setting = "on".into();
    parameters
        .get_mut("synchronous_standby_names")
        .unwrap()
        .setting = "s1".into();
    configuration.may_run_programs = false;
    configuration.is_edited_by_hand = Some(true);
    let (_, findings) = tune(&mode("fast"), &target, &ALONE);
    let warnings: Vec<String> = findings
        .iter()
        .filter(|finding| finding.severity == Severity::Warn)
        .map(|finding| format!("{}: {}", finding.code, finding.message))
        .collect();
    insta::assert_snapshot!(warnings.join("\n"), @r#"
    target/auto-conf-edited: the target's postgresql.auto.conf was edited by hand: its settings are restored, its comments and duplicate entries are not, because ALTER SYSTEM rewrites the file
    target/tuning-replicas: 2 replicas are connected to the target: after a crash, replicas may hold what it lost, and have to be created again; no base backup can be taken from them while full_page_writes is off, and commits do not wait for them during the load
    target/tuning-archiving: archive_mode is on: all WAL of the load is archived, and after a crash the archive may hold what the target lost
    target/tuning-no-sync: the role "postgres" may not flush to disk what the load wrote (CHECKPOINT, then sync by COPY … TO PROGRAM)
    target/idle-slots: replication slots of the target are not in use (gone): all WAL of the load stays in pg_wal until they are read or dropped, whatever max_wal_size says
    "#);
}
