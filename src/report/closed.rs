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
    /// No role may connect to it: it was about to be dropped, as a person asked for.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub shut: bool,
    /// A difference is on record of it, which was found after its verification.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub differs: bool,
}

/// By name.
pub(crate) fn closed(state: &State) -> Vec<ClosedDatabase> {
    let names = state.closed.union(&state.shut);
    names
        .map(|name| ClosedDatabase {
            name: name.clone(),
            verified: state.verified.contains_key(name),
            shut: state.shut.contains(name),
            differs: state.verified.contains_key(name) && state.differences.contains_key(name),
        })
        .collect()
}

/// What a person should know of them: a sentence for those of each kind.
pub(crate) fn sentences(closed: &[ClosedDatabase]) -> Vec<String> {
    let named_if = |is_meant: &dyn Fn(&ClosedDatabase) -> bool| {
        let names = closed.iter().filter(|one| is_meant(one));
        let names: Vec<String> = names
            .map(|one| format!("\"{}\"", escape_control(&one.name)))
            .collect();
        (!names.is_empty()).then(|| names.join(", "))
    };
    let named = |verified: bool, shut: bool| {
        named_if(&|one| one.verified == verified && one.shut == shut && (shut || !one.differs))
    };
    let differing = named_if(&|one| one.differs && !one.shut);
    let differing = differing.map(|names| {
        format!(
            "Closed to clients because of a difference: {names}. `pg-migrate run PLAN` opens such a database where the plan waives \
             target/differed for it, or where it is made again (`pg-migrate reset PLAN --database NAME --drop NAME`). \
             `pg-migrate revert` does not."
        )
    });
    let verified = named(true, false).map(|names| {
        format!(
            "Verified, and closed to clients: {names}. Only the run's role may connect on the target (CONNECT is revoked from \
             the others); `pg-migrate run PLAN` gives them the owner, privileges and settings that they have on the source. \
             `pg-migrate revert` does not."
        )
    });
    let shut = [true, false]
        .into_iter()
        .flat_map(|verified| named(verified, true));
    let shut = shut.map(|names| {
        format!(
            "About to be dropped and made again: {names}. No role may connect on the target (ALLOW_CONNECTIONS is false); \
             `pg-migrate run PLAN` goes on with that, and where it was written to since it was verified it lets the roles connect \
             again. `pg-migrate revert` does not."
        )
    });
    let others = named(false, false).map(|names| {
        format!(
            "Not verified, and closed to clients until they are: {names}. `pg-migrate run PLAN` goes on with them."
        )
    });
    let opened = verified.into_iter().chain(differing);
    opened.chain(shut).chain(others).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_verified_is_told_apart() {
        let one = |name: &str, verified, shut| ClosedDatabase {
            name: name.into(),
            verified,
            shut,
            differs: name == "logs",
        };
        let said = sentences(&[
            one("crm", false, false),
            one("erp", true, false),
            one("hr", true, false),
            one("logs", true, false),
            one("old", true, true),
        ]);
        insta::assert_snapshot!(said.join("\n"), @r#"
        Verified, and closed to clients: "erp", "hr". Only the run's role may connect on the target (CONNECT is revoked from the others); `pg-migrate run PLAN` gives them the owner, privileges and settings that they have on the source. `pg-migrate revert` does not.
        Closed to clients because of a difference: "logs". `pg-migrate run PLAN` opens such a database where the plan waives target/differed for it, or where it is made again (`pg-migrate reset PLAN --database NAME --drop NAME`). `pg-migrate revert` does not.
        About to be dropped and made again: "old". No role may connect on the target (ALLOW_CONNECTIONS is false); `pg-migrate run PLAN` goes on with that, and where it was written to since it was verified it lets the roles connect again. `pg-migrate revert` does not.
        Not verified, and closed to clients until they are: "crm". `pg-migrate run PLAN` goes on with them.
        "#);
        assert!(sentences(&[]).is_empty());
    }
}
