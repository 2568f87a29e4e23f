//! Which databases migrate, and what a reader might miss among them.

use std::collections::BTreeSet;

use globset::GlobMatcher;

use crate::catalog::{Database, LeftOut, ServerFacts};
use crate::finding::{Code, Finding, Severity};
use crate::plan::Plan;

/// What earlier runs of the plan did, by its journal.
pub(crate) struct Earlier<'a> {
    /// Databases that they created on the target.
    pub created: &'a BTreeSet<String>,
    /// Of those, the ones that clients may use: nothing is lost where the source has them no more.
    pub in_use: &'a BTreeSet<String>,
}

/// `selected`: the databases that migrate.
pub(crate) fn for_selection(
    plan: &Plan,
    source: &ServerFacts,
    selected: &[&Database],
    earlier: &Earlier<'_>,
) -> Vec<Finding> {
    let named: BTreeSet<String> = plan.databases.named().into_iter().collect();
    let mut found = left_out(plan, source, &named, earlier);
    found.extend(includes_without_match(plan, source, earlier));
    found.extend(overrides_without_match(plan, selected));
    found.extend(no_databases(selected));
    let included = included_of_installation(plan, source);
    if included.is_empty() {
        found.extend(postgres_database(source, selected));
    }
    found.extend(included);
    found
}

/// Databases that the plan names and that cannot migrate.
fn left_out(
    plan: &Plan,
    source: &ServerFacts,
    named: &BTreeSet<String>,
    earlier: &Earlier<'_>,
) -> Vec<Finding> {
    let databases = source.databases.iter();
    databases
        .filter(|database| !database.is_of_installation() && plan.databases.takes(&database.name))
        .filter_map(|database| {
            let finding = match database.left_out()? {
                LeftOut::Invalid => Finding::new(
                    Code::SourceDatabaseInvalid,
                    "DROP DATABASE was interrupted (datconnlimit is -2), so it cannot be connected to; it does not \
                     migrate",
                )
                .fix("DROP DATABASE on the source, or exclude it"),
                LeftOut::Closed => Finding::new(
                    Code::SourceDatabaseClosed,
                    "it allows no connections (ALLOW_CONNECTIONS is false), so it cannot be read; it does not migrate",
                )
                .fix("ALTER DATABASE … ALLOW_CONNECTIONS true on the source, or exclude it"),
                LeftOut::Template => Finding::new(
                    Code::SourceDatabaseTemplate,
                    "it is a template (IS_TEMPLATE is true); it does not migrate",
                )
                .fix("ALTER DATABASE … IS_TEMPLATE false on the source, or exclude it"),
            };
            let finding = finding.database(&database.name);
            Some(match why_expected(&database.name, named, earlier) {
                Some(why) => {
                    let message = format!("{}, and {why}", finding.message);
                    Finding { message, ..finding }.severity(Severity::Block)
                }
                None => finding,
            })
        })
        .collect()
}

/// Why the run may not end well without this database, as the end of a sentence; `None`: it is one of many that a pattern
/// matches, or clients of the target use it already.
fn why_expected(
    name: &str,
    named: &BTreeSet<String>,
    earlier: &Earlier<'_>,
) -> Option<&'static str> {
    if earlier.in_use.contains(name) {
        None
    } else if earlier.created.contains(name) {
        Some("an earlier run of this plan began it and did not verify it")
    } else if named.contains(name) {
        Some("databases.include names it")
    } else {
        None
    }
}

fn includes_without_match(
    plan: &Plan,
    source: &ServerFacts,
    earlier: &Earlier<'_>,
) -> Vec<Finding> {
    let has_match = |glob: &GlobMatcher| {
        let mut databases = source.databases.iter();
        databases.any(|database| glob.is_match(&database.name))
    };
    let globs = plan.databases.include.iter();
    globs
        .filter(|glob| glob.glob().glob() != "*" && !has_match(glob))
        .map(|glob| {
            let message = format!(
                "databases.include has {:?}, which no database of the source matches",
                glob.glob().glob()
            );
            let name = plan.databases.named_by(glob);
            let is_expected = name.is_some_and(|name| !earlier.in_use.contains(&name));
            let severity = match is_expected {
                true => Severity::Block,
                false => Severity::Warn,
            };
            Finding::new(Code::PlanIncludeMatchesNothing, message)
                .severity(severity)
                .fix("correct the pattern, or remove it")
        })
        .collect()
}

/// Patterns that are about databases of the installation and no others: what is in these is wanted.
fn included_of_installation(plan: &Plan, source: &ServerFacts) -> Vec<Finding> {
    let databases = || source.databases.iter();
    let names_user_database = |glob: &GlobMatcher| {
        databases().any(|database| !database.is_of_installation() && glob.is_match(&database.name))
    };
    let globs = plan.databases.include.iter();
    let globs = globs.filter(|glob| glob.glob().glob() != "*" && !names_user_database(glob));
    globs
        .flat_map(|glob| {
            databases().filter(|database| {
                database.is_of_installation() && glob.is_match(&database.name)
            })
        })
        .map(|database| {
            let message = format!(
                "databases.include names \"{}\", which does not migrate: each server has its own",
                database.name
            );
            Finding::new(Code::SourcePostgresDatabase, message)
                .severity(Severity::Block)
                .database(&database.name)
                .fix(
                    "remove it from databases.include; what is in it has to be moved to another database before the run, or \
                     migrated by hand",
                )
        })
        .collect()
}

fn overrides_without_match(plan: &Plan, selected: &[&Database]) -> Vec<Finding> {
    let entries = plan.overrides.iter().enumerate();
    entries
        .filter(|(_, entry)| {
            let names = |database: &&Database| {
                let mut globs = entry.databases.iter();
                globs.any(|glob| glob.is_match(&database.name))
            };
            !selected.iter().any(names)
        })
        .map(|(position, _)| {
            let message = format!(
                "[[override]] number {} names no database that migrates",
                position + 1
            );
            Finding::new(Code::PlanOverrideMatchesNothing, message)
                .fix("correct its `databases`, or remove it")
        })
        .collect()
}

fn no_databases(selected: &[&Database]) -> Option<Finding> {
    selected.is_empty().then(|| {
        Finding::new(
            Code::SourceNoDatabases,
            "no database of the source migrates",
        )
        .fix("look at databases.include and databases.exclude")
    })
}

/// Where nothing else migrates, a run would end well and would have moved nothing.
fn postgres_database(source: &ServerFacts, selected: &[&Database]) -> Option<Finding> {
    let postgres = source.database("postgres")?;
    let contents = postgres.contents.as_ref()?;
    (!contents.is_empty()).then(|| {
        let (severity, besides) = if selected.is_empty() {
            (Severity::Block, ", and there is no other database")
        } else {
            (Severity::Warn, "")
        };
        let message = format!(
            "the database \"postgres\" holds user objects{besides}; it does not migrate, because each server has its own"
        );
        Finding::new(Code::SourcePostgresDatabase, message)
        .severity(severity)
        .database("postgres")
        .fix("move them to another database, or migrate them by hand")
    })
}
