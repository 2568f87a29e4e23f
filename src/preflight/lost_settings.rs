//! Settings of roles, databases and functions that the target does not take, and roles that it lacks for them.

use std::collections::BTreeSet;

use crate::catalog::{Database, Inspection, refusal};
use crate::finding::{Code, Finding};
use crate::plan::Plan;

pub(super) fn for_database(
    plan: &Plan,
    database: &Database,
    inspection: &Inspection,
) -> Vec<Finding> {
    let Inspection { source, target, .. } = inspection;
    // Another finding says that the role is missing.
    let has_role = |role: &str| plan.globals && source.has_role(role) || target.has_role(role);
    let settings = database.settings.iter();
    let settings = settings.filter(|setting| setting.role.as_deref().is_none_or(has_role));
    let refused = settings.filter_map(|setting| {
        let reason = refusal(&setting.name, &setting.value, target)?;
        let of_role = setting.role.as_ref();
        let of_role = of_role.map_or(String::new(), |role| format!(" for the role \"{role}\""));
        let message = format!("the setting{of_role} is left out on the target: {reason}");
        let reset = match &setting.role {
            Some(_) => "ALTER ROLE … IN DATABASE … RESET",
            None => "ALTER DATABASE … RESET",
        };
        Some(
            Finding::new(Code::TargetSettingRefused, message)
                .database(&database.name)
                .object(&setting.name)
                .fix(format!("{reset} on the source where nobody needs it, or make it on the target after the run")),
        )
    });
    let functions = database.contents.iter();
    let functions = functions.flat_map(|contents| &contents.function_settings);
    let functions = functions.filter_map(|setting| {
        let reason = refusal(&setting.name, &setting.value, target)?;
        let message = format!(
            "the function sets {}, and cannot be restored: {reason}",
            setting.name
        );
        Some(
            Finding::new(Code::SourceFunctionSetting, message)
                .database(&database.name)
                .object(&setting.function)
                .fix("ALTER FUNCTION … RESET on the source, or drop the function there"),
        )
    });
    refused.chain(functions).collect()
}

/// Of roles in every database; they migrate with the roles.
pub(super) fn for_roles(plan: &Plan, inspection: &Inspection) -> Vec<Finding> {
    let Inspection { source, target, .. } = inspection;
    if !plan.globals {
        return Vec::new();
    }
    let settings = source.role_settings.iter();
    settings
        .filter_map(|setting| {
            let role = setting.role.as_ref().filter(|role| !target.keeps_role(role))?;
            let reason = refusal(&setting.name, &setting.value, target)?;
            let message = format!(
                "the setting {} of the role \"{role}\" is left out on the target: {reason}",
                setting.name
            );
            Some(
                Finding::new(Code::TargetRoleSettingRefused, message)
                    .object(format!("ROLE {role}"))
                    .fix("ALTER ROLE … RESET on the source where nobody needs it, or make it on the target after the run"),
            )
        })
        .collect()
}

/// Roles that have privileges on databases that migrate, or settings there, and that nobody creates.
pub(super) fn for_missing_roles(plan: &Plan, inspection: &Inspection) -> Vec<Finding> {
    let Inspection { source, target, .. } = inspection;
    if plan.globals {
        return Vec::new();
    }
    let databases = source.databases.iter();
    let databases = databases.filter(|database| {
        plan.databases.takes(&database.name)
            && !database.is_of_installation()
            && database.left_out().is_none()
    });
    let missing: BTreeSet<&str> = databases
        .flat_map(|database| {
            let settings = database.settings.iter();
            let settings = settings.filter_map(|setting| setting.role.as_deref());
            let privileges = database.privileges.iter().flatten();
            let grantees = privileges.filter_map(|privilege| privilege.grantee.as_deref());
            settings.chain(grantees)
        })
        .filter(|role| !target.has_role(role))
        .collect();
    let missing = missing.into_iter();
    missing
        .map(|role| {
            let message = format!(
                "the role \"{role}\" has settings in databases or privileges on them, is not on the target, and \
                 globals.migrate is false: they are left out"
            );
            Finding::new(Code::TargetRoleMissing, message)
                .object(format!("ROLE {role}"))
                .fix("create the role on the target, or set globals.migrate = true")
        })
        .collect()
}
