//! `ALTER DATABASE … SET` and `ALTER ROLE … IN DATABASE … SET`.

use super::statement::Statement;
use crate::catalog::Setting;
use crate::catalog::parameter::{self, elements};
use crate::plan::Tablespaces;
use crate::postgres::{quote_identifier, quote_literal};

/// Settings that change what sessions of the load may do, how long, as whom and where. Checks, index expressions and
/// refreshes do not compute by them.
const OF_SESSIONS: [&str; 19] = [
    "client_encoding",
    "client_min_messages",
    "default_table_access_method",
    "default_tablespace",
    "default_transaction_deferrable",
    "default_transaction_isolation",
    "default_transaction_read_only",
    "event_triggers",
    "idle_in_transaction_session_timeout",
    "idle_session_timeout",
    "local_preload_libraries",
    "lock_timeout",
    "role",
    "row_security",
    "search_path",
    "session_preload_libraries",
    "session_replication_role",
    "statement_timeout",
    "transaction_timeout",
];

/// Whether the setting is made once the database is loaded: by its name, or because it is a role's, which may be ours.
pub(super) fn disturbs_the_load(setting: &Setting) -> bool {
    setting.role.is_some() || OF_SESSIONS.contains(&setting.name.to_ascii_lowercase().as_str())
}

pub(super) fn statement(database: &str, setting: &Setting, tablespaces: &Tablespaces) -> Statement {
    let Setting { role, name, value } = setting;
    let database = quote_identifier(database);
    let subject = match role {
        Some(role) => format!("ROLE {} IN DATABASE {database}", quote_identifier(role)),
        None => format!("DATABASE {database}"),
    };
    let value = match parameter::tablespaces_in(name, value) {
        Some(names) => tablespaces_on_target(&names, tablespaces),
        None => value_of(name, value),
    };
    Statement {
        // A name in quotes may hold the dot of a customized parameter; pg_dump writes it so too.
        sql: format!("ALTER {subject} SET {} TO {value}", quote_identifier(name)),
        what: setting.in_words(),
        is_optional: true,
    }
}

/// A parameter's value, as the server keeps it, for `SET`.
pub(in crate::step) fn value_of(name: &str, value: &str) -> String {
    if parameter::is_quoted_list(name) {
        list(value)
    } else {
        quote_literal(value)
    }
}

/// The elements of a list that the server quoted, each as a literal. As identifiers they would not
/// all come back: an element may be empty or longer than an identifier (pg_dump, dumputils.c,
/// `makeAlterConfigCommand`). The empty list becomes one empty element, which means the same.
fn list(value: &str) -> String {
    match elements(value) {
        Some(elements) if !elements.is_empty() => elements
            .iter()
            .map(|element| quote_literal(element))
            .collect::<Vec<_>>()
            .join(", "),
        _ => quote_literal(value),
    }
}

/// The tablespaces that a setting names, each the one of the target. An empty name stands for the default tablespace.
fn tablespaces_on_target(names: &[String], tablespaces: &Tablespaces) -> String {
    let names = names
        .iter()
        .map(|name| quote_literal(tablespaces.on_target(name).unwrap_or_default()));
    names.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn chosen() -> Tablespaces {
        let chosen = [("fast", Some("ssd")), ("slow", None)];
        let chosen = chosen.map(|(name, chosen)| (name.to_owned(), chosen.map(str::to_owned)));
        Tablespaces(chosen.into_iter().collect())
    }

    #[test]
    fn tablespaces_are_those_of_the_plans_choice() {
        insta::assert_snapshot!(
            sql(Some("app"), "default_tablespace", "fast"),
            @r#"ALTER ROLE "app" IN DATABASE "My DB" SET "default_tablespace" TO 'ssd'"#
        );
        insta::assert_snapshot!(
            sql(None, "temp_tablespaces", "slow, \"Big One\", fast, \"\""),
            @r#"ALTER DATABASE "My DB" SET "temp_tablespaces" TO '', 'Big One', 'ssd', ''"#
        );
    }

    fn sql(role: Option<&str>, name: &str, value: &str) -> String {
        let setting = Setting {
            role: role.map(str::to_owned),
            name: name.to_owned(),
            value: value.to_owned(),
        };
        statement("My DB", &setting, &chosen()).sql
    }

    #[test]
    fn values_are_one_literal() {
        insta::assert_snapshot!(
            sql(None, "my.parameter", "a, 'b'"),
            @r#"ALTER DATABASE "My DB" SET "my.parameter" TO 'a, ''b'''"#
        );
    }

    #[test]
    fn lists_are_one_literal_an_element() {
        insta::assert_snapshot!(
            sql(Some("o'brien"), "search_path", r#""$user", public, "a ""b"", c", """#),
            @r#"ALTER ROLE "o'brien" IN DATABASE "My DB" SET "search_path" TO '$user', 'public', 'a "b", c', ''"#
        );
        insta::assert_snapshot!(
            sql(None, "temp_tablespaces", ""),
            @r#"ALTER DATABASE "My DB" SET "temp_tablespaces" TO ''"#
        );
    }

    #[test]
    fn what_is_not_a_list_stays_whole() {
        for value in ["a,", ",a", "\"a", "a b", "\"a\"b"] {
            assert_eq!(elements(value), None, "{value}");
            assert_eq!(list(value), quote_literal(value));
        }
    }

    proptest! {
        #[test]
        fn a_quoted_list_comes_apart_again(elements in prop::collection::vec("\\PC{0,8}", 1..5)) {
            let value = elements.iter().map(|e| quote_identifier(e)).collect::<Vec<_>>().join(", ");
            prop_assert_eq!(super::elements(&value), Some(elements));
        }

        #[test]
        fn nothing_panics(value in "[a\", \t]{0,12}|\\PC{0,20}") {
            list(&value);
        }
    }
}
