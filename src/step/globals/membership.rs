//! How members use the roles that they are in. Before 16 the member says whether it inherits, in every membership alike; from 16 on each
//! membership does, and a GRANT that says nothing about it leaves one that is there as it is (PostgreSQL manual, GRANT).

use std::collections::{BTreeMap, BTreeSet};

use super::lexer::{TokenKind, tokens};
use super::statement::Statement;

/// The options of a membership, beside ADMIN.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Options {
    inherits: bool,
    sets: bool,
}

/// Of the statements about one role: those of each role that it is in. What one of several grantors gave, it has.
pub(super) fn memberships(statements: &BTreeSet<&str>) -> BTreeMap<String, Options> {
    let mut found: BTreeMap<String, Options> = BTreeMap::new();
    for sql in statements {
        if let Statement::GrantRole { role, .. } = Statement::classify(sql) {
            let now = Options {
                inherits: option(sql, "inherit").unwrap_or_else(|| inherits_by_itself(statements)),
                sets: option(sql, "set").unwrap_or(true),
            };
            let all = found.entry(role).or_insert(now);
            all.inherits |= now.inherits;
            all.sets |= now.sets;
        }
    }
    found
}

/// How a role uses those that it is in on the target, where it does otherwise on the source: in words.
pub(super) fn used_otherwise(source: &BTreeSet<&str>, target: &BTreeSet<&str>) -> Vec<String> {
    let (here, there) = (memberships(source), memberships(target));
    let mut found = Vec::new();
    for (role, now) in there {
        let Some(was) = here.get(&role) else { continue };
        let inherits = match now.inherits {
            true => format!("inherits the privileges of role \"{role}\""),
            false => format!("does not inherit the privileges of role \"{role}\""),
        };
        let sets = match now.sets {
            true => format!("may SET ROLE to role \"{role}\""),
            false => format!("may not SET ROLE to role \"{role}\""),
        };
        found.extend((was.inherits != now.inherits).then_some(inherits));
        found.extend((was.sets != now.sets).then_some(sets));
    }
    found
}

/// The GRANT of a membership that says all of its options. `of_member`: what the source says of the member.
pub(super) fn explicit(sql: &str, of_member: &BTreeSet<&str>) -> String {
    let inherits = || inherits_by_itself(of_member);
    let missing: Vec<String> = [
        ("INHERIT", option(sql, "inherit").is_none().then(inherits)),
        ("SET", option(sql, "set").is_none().then_some(true)),
    ]
    .into_iter()
    .filter_map(|(option, value)| Some(format!("{option} {}", value?.to_string().to_uppercase())))
    .collect();
    if missing.is_empty() {
        return sql.to_owned();
    }
    let sql = sql.trim_end().trim_end_matches(';');
    let (grant, grantor) = sql.split_at(grantor_at(sql));
    let joint = match options(sql).next() {
        Some(_) => ",",
        None => " WITH",
    };
    let explicit = format!(
        "{}{joint} {} {grantor}",
        grant.trim_end(),
        missing.join(", ")
    );
    explicit.trim_end().to_owned()
}

/// Where `GRANTED BY` begins, or the end.
fn grantor_at(sql: &str) -> usize {
    let words = tokens(sql).filter(|token| token.kind == TokenKind::Word);
    let words: Vec<_> = words.map(|token| token.span).collect();
    let mut pairs = words.windows(2).rev();
    let pair = pairs.find(|pair| {
        sql[pair[0].clone()].eq_ignore_ascii_case("granted")
            && sql[pair[1].clone()].eq_ignore_ascii_case("by")
    });
    pair.map_or(sql.len(), |pair| pair[0].start)
}

/// The words after `WITH`. The names before it are quoted where they are reserved words.
fn options(sql: &str) -> impl Iterator<Item = &str> {
    let end = grantor_at(sql);
    let words = tokens(&sql[..end]).filter(|token| token.kind == TokenKind::Word);
    let words = words.map(|token| &sql[token.span]);
    words
        .skip_while(|word| !word.eq_ignore_ascii_case("with"))
        .skip(1)
}

fn option(sql: &str, name: &str) -> Option<bool> {
    let mut options = options(sql).skip_while(|word| !word.eq_ignore_ascii_case(name));
    options.next()?;
    let value = options.next()?;
    Some(!value.eq_ignore_ascii_case("false"))
}

fn inherits_by_itself(of_member: &BTreeSet<&str>) -> bool {
    let says_no = |sql: &&str| {
        matches!(Statement::classify(sql), Statement::AlterRole { .. })
            && options(sql).any(|word| word.eq_ignore_ascii_case("noinherit"))
    };
    !of_member.iter().any(says_no)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grant_says_all_of_its_options() {
        let inherits = BTreeSet::from(["ALTER ROLE app WITH INHERIT LOGIN"]);
        let not = BTreeSet::from(["ALTER ROLE app WITH NOINHERIT LOGIN PASSWORD 'x'"]);
        let cases = [
            (
                "GRANT team TO app GRANTED BY postgres;",
                "GRANT team TO app WITH INHERIT TRUE, SET TRUE GRANTED BY postgres",
            ),
            (
                "GRANT \"with\" TO app WITH ADMIN OPTION GRANTED BY granted",
                "GRANT \"with\" TO app WITH ADMIN OPTION, INHERIT TRUE, SET TRUE GRANTED BY granted",
            ),
            (
                "GRANT inherit TO app WITH INHERIT FALSE;",
                "GRANT inherit TO app WITH INHERIT FALSE, SET TRUE",
            ),
            (
                "GRANT team TO app WITH INHERIT TRUE, SET FALSE",
                "GRANT team TO app WITH INHERIT TRUE, SET FALSE",
            ),
        ];
        for (sql, expected) in cases {
            assert_eq!(explicit(sql, &inherits), expected);
        }
        assert_eq!(
            explicit("GRANT team TO app", &not),
            "GRANT team TO app WITH INHERIT FALSE, SET TRUE"
        );
    }

    #[test]
    fn how_a_role_is_used_otherwise_is_told() {
        let of_source = BTreeSet::from([
            "ALTER ROLE app WITH NOINHERIT",
            "GRANT team TO app",
            "GRANT other TO app WITH SET FALSE GRANTED BY a",
            "GRANT other TO app WITH INHERIT TRUE GRANTED BY b",
        ]);
        let of_target = BTreeSet::from([
            "ALTER ROLE app WITH NOINHERIT",
            "GRANT team TO app WITH INHERIT TRUE, SET FALSE",
            "GRANT other TO app WITH INHERIT TRUE",
            "GRANT more TO app WITH INHERIT TRUE",
        ]);
        assert_eq!(
            used_otherwise(&of_source, &of_target),
            [
                "inherits the privileges of role \"team\"",
                "may not SET ROLE to role \"team\""
            ]
        );
        assert_eq!(
            used_otherwise(&of_target, &of_source),
            [
                "does not inherit the privileges of role \"team\"",
                "may SET ROLE to role \"team\""
            ]
        );
        assert!(used_otherwise(&of_target, &of_target).is_empty());
    }
}
