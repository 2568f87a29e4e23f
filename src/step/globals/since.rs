//! What changed of roles and tablespaces since this plan migrated them, by digests of what both servers say of them.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use sha2::{Digest, Sha256};

use super::lexer::{TokenKind, tokens};
use super::membership::{explicit, used_otherwise};
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
    /// It is new, or changed on the source alone, or its migration did not end, or the target has it no more.
    Migrate,
    /// The source says what it said when it was migrated.
    Unchanged,
    /// So it does, and the target says something else than then.
    ChangedOnTarget,
    /// It changed on the source, and the target says the same.
    Same,
    /// It changed on both sides, or it cannot be told whether it did on the target: by a person, or by a run that did not end.
    ChangedOnBoth,
}

/// Decides by what the journal says, and by the digests of both servers now. What a person changed on the target since
/// is not overridden.
pub(crate) fn since(before: Option<&RoleState>, source: &str, target: Option<&str>) -> Since {
    let Some(RoleState {
        source: was,
        after: Some(after),
        begun,
    }) = before
    else {
        return Since::Migrate;
    };
    // It was dropped or renamed on the target: the plan's are made, as databases are.
    let Some(target) = target else {
        return Since::Migrate;
    };
    if was == source && begun.is_none() {
        return match &after.target {
            Some(then) if target != then => Since::ChangedOnTarget,
            _ => Since::Unchanged,
        };
    }
    if target == source {
        return Since::Same;
    }
    match &after.target {
        Some(then) if target == then => Since::Migrate,
        _ => Since::ChangedOnBoth,
    }
}

/// What the target has of a subject and the source does not, in words: what it lost on the source since, or had on the target
/// before. `with_passwords`: the source's are known.
pub(crate) fn only_on_target(
    source: &BTreeSet<&str>,
    target: &BTreeSet<&str>,
    with_passwords: bool,
) -> Vec<String> {
    let words = |statements: &BTreeSet<&str>| -> BTreeSet<String> {
        let statements = statements.iter();
        statements
            .flat_map(|sql| words_of(sql, with_passwords))
            .collect()
    };
    let (source_words, target_words) = (words(source), words(target));
    let only = target_words.difference(&source_words).cloned();
    only.chain(used_otherwise(source, target)).collect()
}

fn words_of(sql: &str, with_passwords: bool) -> Vec<String> {
    let granted = || {
        let words: Vec<&str> = words(sql).collect();
        let is_grant = words
            .first()
            .is_some_and(|word| word.eq_ignore_ascii_case("grant"));
        let privileges = words.into_iter().skip(1);
        let privileges = privileges.take_while(|word| !word.eq_ignore_ascii_case("on"));
        let privileges: Vec<&str> = privileges.collect();
        is_grant.then(|| privileges.join(" "))
    };
    match Statement::classify(sql) {
        Statement::GrantRole { role, .. } => {
            let administers = words(sql).any(|word| word.eq_ignore_ascii_case("admin"));
            let more = administers.then(|| format!("may grant role \"{role}\" to others"));
            let member = format!("is a member of role \"{role}\"");
            [Some(member), more].into_iter().flatten().collect()
        }
        Statement::AlterRole { .. } => {
            let clauses = CLAUSES.iter().filter(|clause| clause.is_in(sql));
            let clauses = clauses.filter(|clause| with_passwords || clause.keyword != "password");
            clauses
                .map(|clause| format!("has {}", clause.what))
                .collect()
        }
        Statement::AlterRoleSet { parameter, .. } => vec![format!("has a setting {parameter}")],
        Statement::CommentOnRole { .. } => vec!["has a comment".to_owned()],
        Statement::PrivilegeOnParameter { parameter, .. } => granted()
            .map(|privileges| format!("has {privileges} on parameter {parameter}"))
            .into_iter()
            .collect(),
        Statement::PrivilegeOnTablespace { name, .. } => granted()
            .map(|privileges| format!("has {privileges} on tablespace \"{name}\""))
            .into_iter()
            .collect(),
        Statement::CreateTablespace { owner, .. } => owner
            .map(|owner| format!("belongs to role \"{owner}\""))
            .into_iter()
            .collect(),
        _ => Vec::new(),
    }
}

/// A clause of `ALTER ROLE … WITH` that pg_dumpall writes only where it says something else than the default.
struct Clause {
    /// Its first word.
    keyword: &'static str,
    /// What is there in its place where it is taken away.
    default: &'static str,
    what: &'static str,
}

const CLAUSES: [Clause; 3] = [
    Clause {
        keyword: "connection",
        default: "CONNECTION LIMIT -1",
        what: "a limit of connections",
    },
    Clause {
        keyword: "password",
        default: "PASSWORD NULL",
        what: "a password",
    },
    Clause {
        keyword: "valid",
        default: "VALID UNTIL 'infinity'",
        what: "a time until which its password is valid",
    },
];

impl Clause {
    fn is_in(&self, sql: &str) -> bool {
        let mut after = words(sql).skip_while(|word| !word.eq_ignore_ascii_case("with"));
        after.any(|word| word.eq_ignore_ascii_case(self.keyword))
    }
}

fn words(sql: &str) -> impl Iterator<Item = &str> {
    tokens(sql)
        .filter(|token| token.kind == TokenKind::Word)
        .map(|token| &sql[token.span])
}

/// What decides about the statements of the source.
pub(crate) struct Completion<'a> {
    pub source: &'a BySubject<'a>,
    pub target: &'a BySubject<'a>,
    /// The source's passwords are known.
    pub with_passwords: bool,
    /// Memberships have options on the target (16 and later).
    pub with_options: bool,
}

/// The statement of the source, with what takes away again what only the target has, where it is about attributes or memberships of a
/// role that this plan made. Its other statements are left as they are.
pub(crate) fn completed<'a>(
    sql: &'a str,
    by: &Completion<'_>,
    is_made: impl Fn(&str) -> bool,
) -> Cow<'a, str> {
    let statement = Statement::classify(sql);
    let subject = subject_of(&statement);
    let subject = subject.as_ref();
    let there = subject.and_then(|subject| by.target.get(subject));
    let with_passwords = by.with_passwords;
    let role = match &statement {
        Statement::AlterRole { role, .. } if is_made(role) => role,
        Statement::GrantRole { role, member, .. } if by.with_options && is_made(member) => {
            let is_there = |sql: &&str| matches!(Statement::classify(sql), Statement::GrantRole { role: of, .. } if of == *role);
            let of_source = subject.and_then(|subject| by.source.get(subject));
            return match of_source {
                Some(of_source) if there.into_iter().flatten().any(is_there) => {
                    explicit(sql, of_source).into()
                }
                _ => sql.into(),
            };
        }
        _ => return sql.into(),
    };
    let is_there = |clause: &Clause| {
        let mut statements = there.into_iter().flatten();
        statements.any(|sql| {
            matches!(Statement::classify(sql), Statement::AlterRole { role: of, .. } if of == *role)
                && clause.is_in(sql)
        })
    };
    let lost = CLAUSES.iter().filter(|clause| {
        !clause.is_in(sql) && is_there(clause) && (with_passwords || clause.keyword != "password")
    });
    let lost: Vec<&str> = lost.map(|clause| clause.default).collect();
    if lost.is_empty() {
        return sql.into();
    }
    format!("{} {}", sql.trim_end_matches(';'), lost.join(" ")).into()
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
            begun: None,
        }
    }

    #[test]
    fn what_changed_on_the_source_alone_is_brought_along() {
        let known = before("a", Some("A"));
        assert_eq!(since(None, "a", Some("X")), Since::Migrate);
        assert_eq!(since(Some(&known), "a", Some("A")), Since::Unchanged);
        assert_eq!(since(Some(&known), "a", Some("X")), Since::ChangedOnTarget);
        assert_eq!(since(Some(&known), "b", Some("A")), Since::Migrate);
        assert_eq!(since(Some(&known), "b", Some("b")), Since::Same);
        assert_eq!(since(Some(&known), "b", Some("B")), Since::ChangedOnBoth);
        // It was dropped on the target.
        assert_eq!(since(Some(&known), "a", None), Since::Migrate);
        assert_eq!(since(Some(&known), "b", None), Since::Migrate);
        let unseen = before("a", None);
        assert_eq!(since(Some(&unseen), "b", Some("A")), Since::ChangedOnBoth);
        assert_eq!(since(Some(&unseen), "a", Some("A")), Since::Unchanged);
        let begun = RoleState {
            source: "b".to_owned(),
            begun: Some(2),
            ..known.clone()
        };
        assert_eq!(since(Some(&begun), "b", Some("A")), Since::Migrate);
        assert_eq!(since(Some(&begun), "b", Some("b")), Since::Same);
        assert_eq!(since(Some(&begun), "b", Some("B")), Since::ChangedOnBoth);
        assert_eq!(since(Some(&begun), "b", None), Since::Migrate);
        let first = RoleState {
            after: None,
            ..begun
        };
        assert_eq!(since(Some(&first), "b", Some("B")), Since::Migrate);
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
            only_on_target(&source, &subjects["role \"app\""], false),
            ["is a member of role \"team\""]
        );
    }

    #[test]
    fn what_a_role_lost_is_taken_away_or_told() {
        let was = [
            "ALTER ROLE app WITH LOGIN CONNECTION LIMIT 5 PASSWORD 'x' VALID UNTIL '2030-01-01'",
            "GRANT team TO app WITH ADMIN OPTION GRANTED BY postgres",
            "GRANT SET ON PARAMETER work_mem TO app",
            "CREATE TABLESPACE fast OWNER app LOCATION '/srv'",
        ];
        let now = [
            "ALTER ROLE app WITH LOGIN",
            "GRANT team TO app GRANTED BY postgres",
            "CREATE TABLESPACE fast OWNER other LOCATION '/srv'",
        ];
        let (target, source) = (by_subject(&was), by_subject(&now));
        let complete = |is_made: bool, with_passwords| {
            let by = Completion {
                source: &source,
                target: &target,
                with_passwords,
                with_options: false,
            };
            completed(now[0], &by, |_| is_made).into_owned()
        };
        assert_eq!(
            complete(true, true),
            "ALTER ROLE app WITH LOGIN CONNECTION LIMIT -1 PASSWORD NULL VALID UNTIL 'infinity'"
        );
        assert!(!complete(true, false).contains("PASSWORD"));
        assert_eq!(complete(false, true), now[0]);
        let role = "role \"app\"";
        assert_eq!(
            only_on_target(&source[role], &target[role], true),
            [
                "has SET on parameter work_mem",
                "has a limit of connections",
                "has a password",
                "has a time until which its password is valid",
                "may grant role \"team\" to others",
            ]
        );
        let tablespace = "tablespace \"fast\"";
        assert_eq!(
            only_on_target(&source[tablespace], &target[tablespace], true),
            ["belongs to role \"app\""]
        );
    }
}
