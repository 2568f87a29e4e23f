//! Databases of the target that clients cannot connect to yet, by the journal.

use serde::{Deserialize, Serialize};

use crate::journal::State;
use crate::postgres::escape_control;

/// A database that a run of this plan has closed and not opened yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ClosedDatabase {
    pub name: String,
    /// What is in it was compared with the source: only its owner, privileges and settings are missing.
    pub verified: bool,
}

/// By name.
pub(crate) fn closed(state: &State) -> Vec<ClosedDatabase> {
    let names = state.closed.union(&state.shut);
    names
        .map(|name| ClosedDatabase {
            name: name.clone(),
            verified: state.verified.contains_key(name),
        })
        .collect()
}

/// What a person should know of them: a sentence for those that are verified, and one for the others.
pub(crate) fn sentences(closed: &[ClosedDatabase]) -> Vec<String> {
    let named = |verified: bool| {
        let names = closed.iter().filter(|one| one.verified == verified);
        let names: Vec<String> = names
            .map(|one| format!("\"{}\"", escape_control(&one.name)))
            .collect();
        (!names.is_empty()).then(|| names.join(", "))
    };
    let verified = named(true).map(|names| {
        format!(
            "Verified, and closed to clients: {names}. Only the run's role may connect on the target (CONNECT is revoked from \
             the others); `pg-migrate run PLAN` gives them the owner, privileges and settings that they have on the source. \
             `pg-migrate revert` does not."
        )
    });
    let others = named(false).map(|names| {
        format!(
            "Not verified, and closed to clients until they are: {names}. `pg-migrate run PLAN` goes on with them."
        )
    });
    verified.into_iter().chain(others).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_verified_is_told_apart() {
        let one = |name: &str, verified| ClosedDatabase {
            name: name.into(),
            verified,
        };
        let said = sentences(&[one("crm", false), one("erp", true), one("hr", true)]);
        insta::assert_snapshot!(said.join("\n"), @r#"
        Verified, and closed to clients: "erp", "hr". Only the run's role may connect on the target (CONNECT is revoked from the others); `pg-migrate run PLAN` gives them the owner, privileges and settings that they have on the source. `pg-migrate revert` does not.
        Not verified, and closed to clients until they are: "crm". `pg-migrate run PLAN` goes on with them.
        "#);
        assert!(sentences(&[]).is_empty());
    }
}
