//! What somebody should know about the settings for the load.

use super::{Load, Tuning, TuningSetting, value};
use crate::catalog::ServerFacts;
use crate::catalog::parameter::{Changeable, Parameter};
use crate::finding::{Code, Finding, Severity};
use crate::graph::preflight::server_finding;
use crate::plan::Plan;

/// Databases that a finding names.
const NAMED: usize = 5;

/// Why nothing can be changed by ALTER SYSTEM, and what would help.
pub(super) struct Obstacle {
    why: String,
    fix: String,
}

/// What keeps our role from ALTER SYSTEM altogether; `None`: nothing does.
pub(super) fn why_not_alter(target: &ServerFacts) -> Option<Obstacle> {
    let configuration = &target.configuration;
    let role = &target.user;
    let is_off = |name: &str| {
        let parameter = configuration.parameters.get(name);
        parameter.is_some_and(|parameter| parameter.setting == "off")
    };
    if is_off("allow_alter_system") {
        return Some(Obstacle {
            why: "the server allows no ALTER SYSTEM (allow_alter_system = off)".to_owned(),
            fix: "set allow_alter_system = on for the time of the load".to_owned(),
        });
    }
    let mut parameters = configuration.parameters.values();
    if !parameters.any(|parameter| parameter.may_alter_system) {
        return Some(Obstacle {
            why: format!("the role \"{role}\" may not run ALTER SYSTEM"),
            fix: match target.version.major() >= 1500 {
                true => "use a superuser for [target], or GRANT ALTER SYSTEM ON PARAMETER …, SELECT ON \
                         pg_file_settings and EXECUTE ON FUNCTION pg_show_all_file_settings(), pg_reload_conf() \
                         to the role"
                    .to_owned(),
                false => "use a superuser for [target]".to_owned(),
            },
        });
    }
    if !configuration.reads_file_settings {
        return Some(Obstacle {
            why: format!(
                "the role \"{role}\" may not read pg_file_settings, and what postgresql.auto.conf holds could not \
                 be put back"
            ),
            fix: "GRANT SELECT ON pg_file_settings, and EXECUTE ON FUNCTION pg_show_all_file_settings(), to the \
                  role"
                .to_owned(),
        });
    }
    if !configuration.may_reload {
        return Some(Obstacle {
            why: format!("the role \"{role}\" may not call pg_reload_conf()"),
            fix: "GRANT EXECUTE ON FUNCTION pg_reload_conf() to the role".to_owned(),
        });
    }
    None
}

/// A setting of the plan for which the target has no parameter. That of an extension which is not loaded would
/// have no effect.
pub(super) fn unknown(name: &str, target: &ServerFacts) -> Finding {
    let (severity, message, fix) = match name.split_once('.') {
        Some((extension, _)) => (
            Severity::Warn,
            format!("{name} is not set for the load: the target has not loaded {extension}"),
            "load it on the target, or remove the setting from the plan",
        ),
        None => (
            Severity::Block,
            format!(
                "target.tuning.settings has {name}, and PostgreSQL {} has no such parameter",
                target.version
            ),
            "correct the name, or remove the setting from the plan",
        ),
    };
    Finding {
        object: Some(name.to_owned()),
        ..server_finding(severity, Code::TargetTuningUnknown, message, fix)
    }
}

/// A setting that the target would not take.
pub(super) fn refused(parameter: &Parameter, value: &str) -> Option<Finding> {
    let name = &parameter.name;
    let (code, message, fix) = match parameter.changeable {
        Changeable::Never => (
            Code::TargetTuningFixed,
            format!("{name} cannot be set"),
            "remove the setting from the plan",
        ),
        Changeable::Restart => (
            Code::TargetTuningRestart,
            format!(
                "{name} takes effect only when the server is started again, which this program does not do"
            ),
            "set it yourself and restart the target before the run, and remove it from the plan",
        ),
        _ => (
            Code::TargetTuningValue,
            format!(
                "{name}: {value:?} {}",
                value::check(parameter, value).err()?
            ),
            "correct the value in target.tuning.settings",
        ),
    };
    Some(Finding {
        object: Some(name.clone()),
        ..server_finding(Severity::Block, code, message, fix)
    })
}

/// Settings that can be set neither for the server nor for our sessions.
pub(super) fn out_of_reach(
    parameters: &[&Parameter],
    target: &ServerFacts,
    obstacle: Option<&Obstacle>,
) -> Vec<Finding> {
    let finding = |names: Vec<&str>, why: &str, fix: &str| {
        (!names.is_empty()).then(|| {
            server_finding(
                Severity::Info,
                Code::TargetTuningOutOfReach,
                format!("not set for the load: {} ({why})", names.join(", ")),
                fix,
            )
        })
    };
    let names = |is_fixed: bool| {
        let parameters = parameters.iter();
        parameters
            .filter(|parameter| parameter.is_fixed == is_fixed)
            .map(|parameter| parameter.name.as_str())
            .collect::<Vec<_>>()
    };
    let fixed = finding(
        names(true),
        "what the server's command line or environment says wins over ALTER SYSTEM",
        "set them where the server is started",
    );
    let others = names(false);
    let grant = format!(
        "GRANT ALTER SYSTEM ON PARAMETER {} to the role",
        others.join(", ")
    );
    let no_privilege = format!(
        "the role \"{}\" lacks the privilege ALTER SYSTEM on that",
        target.user
    );
    let (why, fix) = obstacle.map_or((no_privilege.as_str(), grant.as_str()), |obstacle| {
        (obstacle.why.as_str(), obstacle.fix.as_str())
    });
    [fixed, finding(others, why, fix)]
        .into_iter()
        .flatten()
        .collect()
}

/// What is set, and what that means for the target and for others who use it.
pub(super) fn of_tuning(
    plan: &Plan,
    target: &ServerFacts,
    tuning: &Tuning,
    load: &Load<'_>,
) -> Vec<Finding> {
    let configuration = &target.configuration;
    let dangers = tuning.unsafe_settings();
    let system: Vec<&TuningSetting> = tuning.system().collect();
    let session: Vec<&TuningSetting> = tuning
        .settings
        .iter()
        .filter(|setting| !system.contains(setting))
        .collect();
    let info = |code: Code, message: String| Finding {
        fix: None,
        ..server_finding(Severity::Info, code, message, "")
    };
    let mut findings = Vec::new();
    if !system.is_empty() {
        findings.push(info(
            Code::TargetTuning,
            format!(
                "for the load, ALTER SYSTEM sets {} in the whole target; what postgresql.auto.conf holds now \
                 comes back when the run ends",
                list(&system)
            ),
        ));
    }
    if !session.is_empty() {
        findings.push(info(
            Code::TargetTuningSession,
            format!(
                "for the load, this run's own sessions on the target set {}",
                list(&session)
            ),
        ));
    }
    if system.iter().any(|setting| setting.name == "max_wal_size") {
        findings.push(info(
            Code::TargetTuningWal,
            "WAL up to max_wal_size stays in the target's pg_wal, whose free space cannot be seen from here".into(),
        ));
    }
    if !system.is_empty() && configuration.is_edited_by_hand == Some(true) {
        findings.push(server_finding(
            Severity::Warn,
            Code::TargetAutoConfEdited,
            "the target's postgresql.auto.conf was edited by hand: its settings come back, its comments and doubled \
             entries do not, because ALTER SYSTEM writes the file anew"
                .into(),
            "keep a copy of the file, or move comments and settings to postgresql.conf",
        ));
    }
    if !dangers.is_empty() {
        findings.extend(of_dangers(plan, target, &dangers.join(" and "), load));
    }
    let idle: Vec<&str> = configuration
        .slots
        .iter()
        .filter(|slot| !slot.is_active)
        .map(|slot| slot.name.as_str())
        .collect();
    if !idle.is_empty() {
        findings.push(server_finding(
            Severity::Warn,
            Code::TargetIdleSlots,
            format!(
                "nobody reads from the target's replication slots {}: all WAL of the load stays in pg_wal until \
                 somebody does, whatever max_wal_size says",
                named(&idle)
            ),
            "drop the slots (pg_drop_replication_slot), or limit them by max_slot_wal_keep_size (13 and later)",
        ));
    }
    findings
}

/// What switching off fsync or full_page_writes means.
fn of_dangers(plan: &Plan, target: &ServerFacts, dangers: &str, load: &Load<'_>) -> Vec<Finding> {
    let configuration = &target.configuration;
    let mut findings = vec![server_finding(
        Severity::Info,
        Code::TargetTuningUnsafe,
        format!(
            "with {dangers} off, the target's cluster is lost should its operating system crash during the load: it \
             would have to be made and loaded anew"
        ),
        "set target.tuning.mode = \"safe\" to rule that out",
    )];
    if !load.others.is_empty() {
        let (severity, fix) = match plan.tuning.shared_target {
            false => (
                Severity::Block,
                "set target.tuning.mode = \"safe\", or accept the danger by target.tuning.shared_target = true",
            ),
            true => (
                Severity::Warn,
                "set target.tuning.mode = \"safe\" to rule that out",
            ),
        };
        findings.push(server_finding(
            severity,
            Code::TargetShared,
            format!(
                "the target serves other databases ({}), which a crash of its operating system during the load \
                 would lose as well: {dangers} can only be off for the whole server",
                named(&load.others)
            ),
            fix,
        ));
    }
    let setting = |name: &str| {
        let parameter = configuration.parameters.get(name);
        parameter.map_or("", |parameter| parameter.setting.as_str())
    };
    if configuration.replicas > 0 {
        let waits = match setting("synchronous_standby_names") {
            "" => "",
            _ => ", and commits do not wait for them during the load",
        };
        findings.push(server_finding(
            Severity::Warn,
            Code::TargetTuningReplicas,
            format!(
                "{} replicas are connected to the target: after a crash they may hold what it lost, and have to be \
                 made anew; no base backup can be taken from them while full_page_writes is off{waits}",
                configuration.replicas
            ),
            "set target.tuning.mode = \"safe\", or make the replicas after the migration",
        ));
    }
    if !matches!(setting("archive_mode"), "" | "off") {
        findings.push(server_finding(
            Severity::Warn,
            Code::TargetTuningArchiving,
            "archive_mode is on: all WAL of the load is archived, and after a crash the archive may hold what the \
             target lost"
                .into(),
            "switch archiving off for the load (it needs a restart), or take a base backup after it",
        ));
    } else if configuration.replicas == 0
        && configuration.slots.is_empty()
        && matches!(setting("wal_level"), "replica" | "logical")
    {
        findings.push(server_finding(
            Severity::Info,
            Code::TargetWalLevel,
            format!(
                "wal_level is {}: the load writes everything to the WAL as well, which nobody reads now",
                setting("wal_level")
            ),
            "wal_level = minimal and max_wal_senders = 0 spare that; both need a restart before and after the load, \
             and a base backup afterwards",
        ));
    }
    if !configuration.may_checkpoint || !configuration.may_run_programs {
        findings.push(server_finding(
            Severity::Warn,
            Code::TargetTuningNoSync,
            format!(
                "the role \"{}\" may not see to it that what the load wrote reaches the disk (CHECKPOINT, then sync \
                 by COPY … TO PROGRAM)",
                target.user
            ),
            "after the run, CHECKPOINT as a superuser and run sync on the target's host; or GRANT pg_checkpoint, \
             pg_execute_server_program to the role",
        ));
    }
    findings
}

/// `fsync = off, work_mem = 1GB`.
fn list(settings: &[&TuningSetting]) -> String {
    let settings = settings.iter();
    let texts: Vec<String> = settings
        .map(|setting| format!("{} = {}", setting.name, setting.value))
        .collect();
    texts.join(", ")
}

/// `a, b, c and 12 more`.
fn named(names: &[&str]) -> String {
    let shown = names[..names.len().min(NAMED)].join(", ");
    match names.len().saturating_sub(NAMED) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}
