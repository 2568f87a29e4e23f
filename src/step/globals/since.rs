//! What changed of roles and tablespaces since this plan migrated them, by digests of what both servers say of them.

use std::collections::{BTreeMap, BTreeSet};

use sha2::{Digest, Sha256};

use super::plan::subject_of;
use super::statement::Statement;
use crate::escape::hexadecimal;
use crate::journal::RoleState;

/// The statements of a dump about each role and tablespace, by what messages call it: `role "app"`.
pub(crate) type BySubject<'a> = BTreeMap<String, BTreeSet<&'a str>>;

/// Groups the statements of a dump by what they are about; the settings of the script itself are about nothing.
pub(crate) fn by_subject<'a>(statements: &[&'a str]) -> BySubject<'a> {
    let mut subjects = BySubject::new();
    for sql in statements {
        if let Some(subject) = subject_of(&Statement::classify(sql)) {
            subjects.entry(subject).or_default().insert(sql);
        }
    }
    subjects
}

/// SHA-256 of each subject's statements. It stands in the journal, where no password verifier may.
pub(crate) fn digests(subjects: &BySubject<'_>) -> BTreeMap<String, String> {
    let of = |statements: &BTreeSet<&str>| {
        let mut hash = Sha256::new();
        for sql in statements {
            hash.update(sql.as_bytes());
            hash.update([0]);
        }
        hexadecimal(&hash.finalize())
    };
    let subjects = subjects.iter();
    subjects
        .map(|(subject, statements)| (subject.clone(), of(statements)))
        .collect()
}

/// What is to be done about one subject of the source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Since {
    /// It is new, or changed on the source alone, or its migration did not end.
    Migrate,
    /// The source says what it said when it was migrated.
    Unchanged,
    /// It changed on the source, and the target says the same.
    Same,
    /// It changed on both sides, or it cannot be told whether it did on the target.
    ChangedOnBoth,
}

/// Decides by what the journal says, and by the digests of both servers now. What a person changed on the target since
/// is not overridden.
pub(crate) fn since(before: Option<&RoleState>, source: &str, target: Option<&str>) -> Since {
    let Some(RoleState {
        source: was,
        after: Some(after),
    }) = before
    else {
        return Since::Migrate;
    };
    if was == source {
        return Since::Unchanged;
    }
    if target == Some(source) {
        return Since::Same;
    }
    match &after.target {
        Some(then) if target == Some(then) => Since::Migrate,
        _ => Since::ChangedOnBoth,
    }
}

/// Memberships and settings that the target has and the source does not, in words: what a role lost on the source
/// since, or had on the target before.
pub(crate) fn only_on_target(source: &BTreeSet<&str>, target: &BTreeSet<&str>) -> Vec<String> {
    let words = |statements: &BTreeSet<&str>| -> BTreeSet<String> {
        let statements = statements.iter().map(|sql| Statement::classify(sql));
        statements
            .filter_map(|statement| match statement {
                Statement::GrantRole { role, .. } => {
                    Some(format!("is a member of role \"{role}\""))
                }
                Statement::AlterRoleSet { parameter, .. } => {
                    Some(format!("has a setting {parameter}"))
                }
                Statement::CommentOnRole { .. } => Some("has a comment".to_owned()),
                _ => None,
            })
            .collect()
    };
    words(target).difference(&words(source)).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::MigratedSubject;

    fn before(source: &str, target: Option<&str>) -> RoleState {
        let after = MigratedSubject {
            target: target.map(str::to_owned),
            warnings: Vec::new(),
        };
        RoleState {
            source: source.to_owned(),
            after: Some(after),
        }
    }

    #[test]
    fn what_changed_on_the_source_alone_is_brought_along() {
        let known = before("a", Some("A"));
        assert_eq!(since(None, "a", Some("X")), Since::Migrate);
        assert_eq!(since(Some(&known), "a", Some("X")), Since::Unchanged);
        assert_eq!(since(Some(&known), "b", Some("A")), Since::Migrate);
        assert_eq!(since(Some(&known), "b", Some("b")), Since::Same);
        assert_eq!(since(Some(&known), "b", Some("B")), Since::ChangedOnBoth);
        // It was dropped on the target.
        assert_eq!(since(Some(&known), "b", None), Since::ChangedOnBoth);
        let unseen = before("a", None);
        assert_eq!(since(Some(&unseen), "b", Some("A")), Since::ChangedOnBoth);
        let begun = RoleState {
            after: None,
            ..known
        };
        assert_eq!(since(Some(&begun), "b", Some("B")), Since::Migrate);
    }

    #[test]
    fn statements_are_grouped_by_what_they_are_about() {
        let statements = [
            "SET client_encoding = 'UTF8'",
            "CREATE ROLE app",
            "ALTER ROLE app WITH LOGIN PASSWORD 'x'",
            "GRANT team TO app",
            "CREATE TABLESPACE fast OWNER app LOCATION '/srv'",
        ];
        let subjects = by_subject(&statements);
        let names: Vec<&String> = subjects.keys().collect();
        assert_eq!(names, ["role \"app\"", "tablespace \"fast\""]);
        assert_eq!(subjects["role \"app\""].len(), 3);
        let source = BTreeSet::from(["CREATE ROLE app"]);
        assert_eq!(
            only_on_target(&source, &subjects["role \"app\""]),
            ["is a member of role \"team\""]
        );
    }
}
