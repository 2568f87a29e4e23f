//! Settings for the load that cannot be set: unknown, refused, or out of our role's reach.

use crate::catalog::parameter::{Changeable, Parameter};
use crate::catalog::{NoAlterSystem, ServerFacts};
use crate::finding::{Code, Finding, Severity};

/// A setting of the plan for which the target has no parameter. That of an extension which is not loaded would
/// have no effect.
pub(crate) fn for_unknown_setting(name: &str, target: &ServerFacts) -> Finding {
    let finding = match name.split_once('.') {
        Some((extension, _)) => Finding::new(
            Code::TargetTuningUnknown,
            format!("{name} is not set for the load: the target has not loaded {extension}"),
        )
        .severity(Severity::Warn)
        .fix("load it on the target, or remove the setting from the plan"),
        None => Finding::new(
            Code::TargetTuningUnknown,
            format!(
                "target.tuning.settings has {name}, and PostgreSQL {} has no such parameter",
                target.version
            ),
        )
        .fix("correct the name, or remove the setting from the plan"),
    };
    finding.object(name)
}

/// A setting that the target would not take. `problem`: what is wrong with the value, as the end of a sentence that begins
/// with it.
pub(crate) fn for_setting(
    parameter: &Parameter,
    value: &str,
    problem: Option<&str>,
) -> Option<Finding> {
    let name = &parameter.name;
    let finding = match parameter.changeable {
        Changeable::Never => Finding::new(
            Code::TargetTuningFixed,
            format!("{name} cannot be set"),
        )
        .fix("remove the setting from the plan"),
        Changeable::Restart => Finding::new(
            Code::TargetTuningRestart,
            format!(
                "{name} takes effect only when the server is started again, which pg-migrate does not do"
            ),
        )
        .fix("set it yourself and restart the target before the run, and remove it from the plan"),
        _ => Finding::new(
            Code::TargetTuningValue,
            format!("{name}: {value:?} {}", problem?),
        )
        .fix("correct the value in target.tuning.settings"),
    };
    Some(finding.object(name))
}

/// Settings that can be set neither for the server nor for our sessions.
pub(crate) fn for_settings_out_of_reach(
    parameters: &[&Parameter],
    target: &ServerFacts,
) -> Vec<Finding> {
    let (fixed, others): (Vec<&Parameter>, Vec<&Parameter>) =
        parameters.iter().partition(|parameter| parameter.is_fixed);
    [fixed_at_start(&fixed), beyond_our_rights(&others, target)]
        .into_iter()
        .flatten()
        .collect()
}

fn fixed_at_start(parameters: &[&Parameter]) -> Option<Finding> {
    out_of_reach(
        parameters,
        "the server's command line or environment overrides ALTER SYSTEM",
        "set them where the server is started",
    )
}

fn beyond_our_rights(parameters: &[&Parameter], target: &ServerFacts) -> Option<Finding> {
    let role = &target.user;
    let (why, fix) = match target.configuration.no_alter_system() {
        None => (
            format!("the role \"{role}\" lacks the privilege ALTER SYSTEM on them"),
            format!(
                "GRANT ALTER SYSTEM ON PARAMETER {} to the role",
                names(parameters)
            ),
        ),
        Some(NoAlterSystem::NotAllowed) => (
            "the server does not allow ALTER SYSTEM (allow_alter_system = off)".to_owned(),
            "set allow_alter_system = on during the load".to_owned(),
        ),
        Some(NoAlterSystem::NoPrivilege) => (
            format!("the role \"{role}\" may not run ALTER SYSTEM"),
            if target.version.major() >= 1500 {
                "use a superuser for [target], or GRANT ALTER SYSTEM ON PARAMETER …, SELECT ON pg_file_settings and \
                 EXECUTE ON FUNCTION pg_show_all_file_settings(), pg_reload_conf() to the role"
            } else {
                "use a superuser for [target]"
            }
            .to_owned(),
        ),
        Some(NoAlterSystem::FileSettingsUnreadable) => (
            format!(
                "the role \"{role}\" may not read pg_file_settings, and what postgresql.auto.conf holds could not be \
                 restored"
            ),
            "GRANT SELECT ON pg_file_settings, and EXECUTE ON FUNCTION pg_show_all_file_settings(), to the role"
                .to_owned(),
        ),
        Some(NoAlterSystem::CannotReload) => (
            format!("the role \"{role}\" may not call pg_reload_conf()"),
            "GRANT EXECUTE ON FUNCTION pg_reload_conf() to the role".to_owned(),
        ),
    };
    out_of_reach(parameters, &why, &fix)
}

fn out_of_reach(parameters: &[&Parameter], why: &str, fix: &str) -> Option<Finding> {
    (!parameters.is_empty()).then(|| {
        let message = format!("not set for the load: {} ({why})", names(parameters));
        Finding::new(Code::TargetTuningOutOfReach, message).fix(fix)
    })
}

fn names(parameters: &[&Parameter]) -> String {
    let names = parameters.iter().map(|parameter| parameter.name.as_str());
    names.collect::<Vec<_>>().join(", ")
}
