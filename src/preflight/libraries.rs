//! Libraries that settings load into sessions, and that the target lacks.

use crate::catalog::{Database, LackedLibrary, ServerFacts};
use crate::finding::{Code, Finding, Severity};

/// What is done about it, on either server.
const INSTALL_OR_RESET: &str =
    "install the library on the target, or ALTER … RESET the setting on the source before the run";

/// In settings of roles, which hold in every database.
pub(super) fn for_roles(globals: bool, target: &ServerFacts) -> Vec<Finding> {
    let lacked = target.lacked_libraries.iter();
    lacked
        .filter(|_| globals)
        .filter(|lacked| lacked.database.is_none())
        .filter_map(|lacked| {
            let role = lacked
                .role
                .as_ref()
                .filter(|role| !target.keeps_role(role))?;
            let message = match lacked.is_certain {
                true => format!("{}, so the role cannot connect to it", missing(lacked)),
                false => format!("{}, and without it the role cannot connect", unseen(lacked)),
            };
            let finding =
                Finding::new(Code::TargetLibraryOfRole, message).object(format!("ROLE {role}"));
            Some(fitting(finding, lacked))
        })
        .collect()
}

/// In settings of a database that migrates, for all roles or one.
pub(super) fn for_database(database: &Database, target: &ServerFacts) -> Vec<Finding> {
    let lacked = target.lacked_libraries.iter();
    lacked
        .filter(|lacked| lacked.database.as_ref() == Some(&database.name))
        .map(|lacked| {
            let who = match &lacked.role {
                Some(role) => format!("role {role}"),
                None => "no client".to_owned(),
            };
            let can = if lacked.role.is_some() {
                "cannot"
            } else {
                "can"
            };
            let message = match lacked.is_certain {
                true => format!("{}, so {who} {can} connect to it", missing(lacked)),
                false => format!("{}, and without it {who} {can} connect", unseen(lacked)),
            };
            let mut finding = fitting(Finding::new(Code::TargetLibraryOfDatabase, message), lacked);
            // One role of many does not keep the run from its end.
            if lacked.role.is_some() {
                finding.severity = finding.severity.max(Severity::Fix);
            }
            finding.database(&database.name)
        })
        .collect()
}

fn missing(lacked: &LackedLibrary) -> String {
    let LackedLibrary {
        setting, library, ..
    } = lacked;
    format!("{setting} names {library}, which the target does not have")
}

fn unseen(lacked: &LackedLibrary) -> String {
    let LackedLibrary {
        setting, library, ..
    } = lacked;
    format!("{setting} names {library}; our role may not see whether the target has it")
}

fn fitting(finding: Finding, lacked: &LackedLibrary) -> Finding {
    if lacked.is_certain {
        finding.fix(INSTALL_OR_RESET)
    } else {
        finding
            .severity(Severity::Warn)
            .fix("look for the library on the target")
    }
}
