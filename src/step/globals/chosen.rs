//! What of the source's dump is for the target: neither what is about roles that stay as they are there, nor about tablespaces
//! that the plan replaces.

use std::borrow::Cow;

use super::lexer::{TokenKind, tokens};
use super::plan::changed_role;
use super::statement::Statement;
use crate::catalog::{ServerFacts, parameter};
use crate::plan::{Plan, Tablespaces};
use crate::postgres::quote_literal;

/// The statements, without those about a role that the target keeps, or a tablespace that is replaced; settings name the one
/// that replaces it.
pub(super) fn chosen<'a>(
    statements: &[&'a str],
    plan: &Plan,
    target: &ServerFacts,
) -> Vec<Cow<'a, str>> {
    let statements: Vec<&str> = statements
        .iter()
        .copied()
        .filter(|sql| {
            let statement = Statement::classify(sql);
            // What a role may do in a tablespace is the tablespace's.
            matches!(statement, Statement::PrivilegeOnTablespace { .. })
                || changed_role(&statement).is_none_or(|role| !target.kept_roles.contains(role))
        })
        .collect();
    with_choices(&statements, &plan.tablespaces)
}

fn with_choices<'a>(statements: &[&'a str], tablespaces: &Tablespaces) -> Vec<Cow<'a, str>> {
    let statements = statements.iter();
    statements
        .filter_map(|sql| match Statement::classify(sql) {
            Statement::CreateTablespace { name, .. }
            | Statement::AlterTablespace { name }
            | Statement::PrivilegeOnTablespace { name, .. }
                if tablespaces.chooses(&name) =>
            {
                None
            }
            Statement::AlterRoleSet { parameter, .. }
                if parameter::tablespaces_in(&parameter, "").is_some() =>
            {
                Some(Cow::Owned(replaced(sql, tablespaces)))
            }
            _ => Some(Cow::Borrowed(*sql)),
        })
        .collect()
}

/// pg_dumpall writes each tablespace of a setting as a literal.
fn replaced(sql: &str, tablespaces: &Tablespaces) -> String {
    let word = |token: super::lexer::Token| {
        let text = &sql[token.span];
        let mut chosen = tablespaces.0.iter();
        let chosen = match token.kind {
            TokenKind::String => chosen.find(|(name, _)| quote_literal(name) == text),
            _ => None,
        };
        match chosen {
            Some((_, chosen)) => Cow::Owned(quote_literal(chosen.as_deref().unwrap_or_default())),
            None => Cow::Borrowed(text),
        }
    };
    tokens(sql).map(word).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_replaced_is_not_made_and_settings_follow() {
        let statements = [
            "CREATE TABLESPACE fast OWNER app LOCATION '/srv/fast'",
            "CREATE TABLESPACE other OWNER app LOCATION '/srv/other'",
            "ALTER TABLESPACE fast SET (random_page_cost=1.1)",
            "GRANT ALL ON TABLESPACE fast TO app",
            "ALTER ROLE app SET default_tablespace TO 'fast'",
            "ALTER ROLE app SET temp_tablespaces TO 'slow', 'other', 'fast'",
            "ALTER ROLE app SET work_mem TO 'fast'",
        ];
        let choices = [("fast", Some("Big One")), ("slow", None)];
        let choices = choices.map(|(name, chosen)| (name.to_owned(), chosen.map(str::to_owned)));
        let choices = Tablespaces(choices.into_iter().collect());
        insta::assert_snapshot!(with_choices(&statements, &choices).join("\n"), @r"
        CREATE TABLESPACE other OWNER app LOCATION '/srv/other'
        ALTER ROLE app SET default_tablespace TO 'Big One'
        ALTER ROLE app SET temp_tablespaces TO '', 'other', 'Big One'
        ALTER ROLE app SET work_mem TO 'fast'
        ");
    }
}
