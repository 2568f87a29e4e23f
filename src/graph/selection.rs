//! Which databases migrate, and why others do not.

use std::collections::{BTreeSet, HashSet};

use crate::catalog::{Database, ServerFacts};
use crate::finding::{Code, Finding, Severity};
use crate::plan::Plan;

/// What every installation brings along. The first holds nothing of a user by convention, the others are
/// what new databases are made of.
const MAINTENANCE: [&str; 3] = ["postgres", "template0", "template1"];

/// The databases that migrate, smallest first, and a finding for each that a reader might miss.
pub fn select<'a>(plan: &Plan, source: &'a ServerFacts) -> (Vec<&'a Database>, Vec<Finding>) {
    let mut findings = Vec::new();
    let mut selected = Vec::new();
    let candidates: Vec<&Database> = source
        .databases
        .iter()
        .filter(|database| !MAINTENANCE.contains(&database.name.as_str()))
        .collect();
    for database in &candidates {
        if !plan.databases.takes(&database.name) {
            continue;
        }
        match reason_to_leave_out(database) {
            Some(finding) => findings.push(finding),
            None => selected.push(*database),
        }
    }
    selected.sort_by(|a, b| (a.bytes, &a.name).cmp(&(b.bytes, &b.name)));

    for glob in &plan.databases.include {
        let matches = |database: &&Database| glob.is_match(&database.name);
        if glob.glob().glob() != "*" && !candidates.iter().any(matches) {
            findings.push(Finding {
                severity: Severity::Warn,
                code: Code::PlanIncludeMatchesNothing,
                database: None,
                object: None,
                message: format!(
                    "databases.include has {:?}, which no database of the source matches",
                    glob.glob().glob()
                ),
                fix: Some("correct the pattern, or remove it".into()),
            });
        }
    }
    for (position, entry) in plan.overrides.iter().enumerate() {
        let matches = |database: &&Database| {
            entry
                .databases
                .iter()
                .any(|glob| glob.is_match(&database.name))
        };
        if !selected.iter().any(matches) {
            findings.push(Finding {
                severity: Severity::Warn,
                code: Code::PlanOverrideMatchesNothing,
                database: None,
                object: None,
                message: format!(
                    "[[override]] number {} names no database that migrates",
                    position + 1
                ),
                fix: Some("correct its `databases`, or remove it".into()),
            });
        }
    }
    if selected.is_empty() {
        findings.push(Finding {
            severity: Severity::Warn,
            code: Code::SourceNoDatabases,
            database: None,
            object: None,
            message: "no database of the source migrates".into(),
            fix: Some("look at databases.include and databases.exclude".into()),
        });
    }
    let postgres = source
        .database("postgres")
        .and_then(|database| database.contents.as_ref());
    if postgres.is_some_and(|contents| !contents.is_empty()) {
        findings.push(Finding {
            severity: Severity::Warn,
            code: Code::SourcePostgresDatabase,
            database: Some("postgres".into()),
            object: None,
            message:
                "the database \"postgres\" holds objects of users; it does not migrate, because \
                      every server brings its own"
                    .into(),
            fix: Some("move them to a database of their own, or migrate them by hand".into()),
        });
    }
    (selected, findings)
}

/// Databases of the target that have nothing to do with this plan and hold something, or that nobody could
/// look into. The `postgres` of a new server is none of them.
pub fn others<'a>(
    target: &'a ServerFacts,
    migrating: &[&Database],
    created: &BTreeSet<String>,
) -> Vec<&'a str> {
    let migrating: HashSet<&str> = migrating
        .iter()
        .map(|database| database.name.as_str())
        .collect();
    let mut others: Vec<&str> = target
        .databases
        .iter()
        .filter(|database| !matches!(database.name.as_str(), "template0" | "template1"))
        .filter(|database| !migrating.contains(database.name.as_str()))
        .filter(|database| !created.contains(&database.name))
        .filter(|database| {
            let contents = database.contents.as_ref();
            contents.is_none_or(|contents| !contents.is_empty())
        })
        .map(|database| database.name.as_str())
        .collect();
    others.sort_unstable();
    others
}

fn reason_to_leave_out(database: &Database) -> Option<Finding> {
    let (code, message, fix) = if database.connection_limit == -2 {
        (
            Code::SourceDatabaseInvalid,
            "DROP DATABASE was interrupted (datconnlimit is -2), so nobody can connect to it; it does \
             not migrate",
            "DROP DATABASE on the source, or exclude it",
        )
    } else if !database.allows_connections {
        (
            Code::SourceDatabaseClosed,
            "nobody may connect to it (ALLOW_CONNECTIONS is false), so it cannot be read; it does not \
             migrate",
            "ALTER DATABASE … ALLOW_CONNECTIONS true on the source, or exclude it",
        )
    } else if database.is_template {
        (
            Code::SourceDatabaseTemplate,
            "it is a template (IS_TEMPLATE is true); it does not migrate",
            "ALTER DATABASE … IS_TEMPLATE false on the source, or exclude it",
        )
    } else {
        return None;
    };
    Some(Finding {
        severity: Severity::Warn,
        code,
        database: Some(database.name.clone()),
        object: None,
        message: message.into(),
        fix: Some(fix.into()),
    })
}
