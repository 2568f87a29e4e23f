//! What users changed of the languages, operator families and tablespaces that initdb made.

use std::collections::BTreeMap;

use crate::catalog::{NotMoved, NotMovedKind};
use crate::finding::{Code, Finding, Severity};

/// About the server: one for each tablespace.
pub(super) fn tablespaces(globals: bool, not_moved: &[NotMoved]) -> impl Iterator<Item = Finding> {
    let mut statements: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let found = not_moved.iter();
    for found in found.filter(|found| globals && found.what == NotMovedKind::SystemTablespace) {
        let of_one = statements.entry(&found.object).or_default();
        of_one.push(&found.detail);
    }
    statements.into_iter().map(|(name, statements)| {
        let message = "each server has its own tablespace of this name, and pg_dumpall leaves it out: what was set for the source's \
                       (costs that decide about plans, privileges, owner, comment) does not hold on the target";
        Finding::new(Code::SourceSystemTablespace, message)
            .object(format!("TABLESPACE {name}"))
            .fix(format!(
                "on the target after the run, what shall hold there as well: {}",
                statements.join("; ")
            ))
    })
}

/// About a database that migrates.
pub(super) fn in_database(not_moved: &[NotMoved]) -> impl Iterator<Item = Finding> {
    not_moved.iter().filter_map(|found| {
        let (object, detail) = (&found.object, &found.detail);
        let (message, fix) = match found.what {
            NotMovedKind::LanguagePrivilege => (
                format!(
                    "its privileges are not those of the target, and pg_dump does not bring them along: beside its owner, on the source \
                     {detail} may use it"
                ),
                "GRANT and REVOKE USAGE ON LANGUAGE … on the target after the run".to_owned(),
            ),
            NotMovedKind::FamilyMember => (
                "it is a part of the system, and pg_dump leaves out what users added to it: on the target, indexes of this family do not \
                 serve these operators"
                    .to_owned(),
                format!(
                    "on the target after the run: ALTER {} ADD {detail}",
                    object.replacen("operator family", "OPERATOR FAMILY", 1)
                ),
            ),
            _ => return None,
        };
        let finding = Finding::new(Code::SourceSystemObject, message);
        Some(finding.severity(Severity::Warn).object(object).fix(fix))
    })
}
