use proptest::prelude::*;

use super::*;
use crate::postgres::{quote_identifier, quote_literal};
use crate::step::globals::statements;

#[test]
fn real_dumps_hold_nothing_unknown() {
    for script in [
        include_str!("../../../../tests/globals/server-10-client-17.sql"),
        include_str!("../../../../tests/globals/server-14-client-18.sql"),
        include_str!("../../../../tests/globals/server-16-client-18.sql"),
    ] {
        for sql in statements(script).unwrap() {
            assert_ne!(Statement::classify(sql), Statement::Other, "{sql}");
        }
    }
}

#[test]
fn every_kind_is_told_apart() {
    let script = include_str!("../../../../tests/globals/server-16-client-18.sql");
    let mut seen = std::collections::HashSet::new();
    let first_of_each: Vec<String> = statements(script)
        .unwrap()
        .into_iter()
        .map(Statement::classify)
        .filter(|statement| seen.insert(std::mem::discriminant(statement)))
        .map(|statement| format!("{statement:?}"))
        .collect();
    insta::assert_snapshot!(first_of_each.join("\n"), @r#"
    Set { parameter: "default_transaction_read_only", value: "off" }
    CreateRole { role: "$$dollar" }
    AlterRole { role: "$$dollar", has_password: false }
    CommentOnRole { role: "Weird Name" }
    AlterRoleSet { role: "IN DATABASE", parameter: "statement_timeout" }
    GrantRole { role: "grp", member: "admin_of_grp", grantor: Some("postgres") }
    PrivilegeOnParameter { parameter: "log_min_duration_statement", grantee: "plain" }
    SetSessionAuthorization { role: "plain" }
    ResetSessionAuthorization
    CreateTablespace { name: "Space; one", owner: Some("o'brien"), location: "/srv/tablespaces/ts_16" }
    AlterTablespace { name: "Space; one" }
    PrivilegeOnTablespace { name: "Space; one", grantee: "plain" }
    "#);
}

#[test]
fn older_clients_and_rare_statements() {
    let lines: Vec<String> = [
        "GRANT \"a b\" TO \"c;d\" WITH ADMIN OPTION GRANTED BY \"e\"\"f\"",
        "ALTER ROLE \"IN\" IN DATABASE \"My DB\" SET search_path TO 'a', 'b'",
        "ALTER DATABASE \"My DB\" SET work_mem TO '1MB'",
        "ALTER ROLE Plain RESET work_mem",
        "SECURITY LABEL FOR selinux ON ROLE a IS 'b'",
        "SECURITY LABEL FOR selinux ON TABLESPACE a IS 'b'",
        "REVOKE ALL ON TABLESPACE a FROM PUBLIC",
        "REVOKE SET ON PARAMETER \"my.parameter\" FROM b",
        "SET standard_conforming_strings = on",
        "SET LOCAL a = 1",
        "GRANT a, b TO c",
        "GRANT a TO b, c",
        "GRANT SELECT ON TABLE a TO b",
        "REVOKE a FROM b",
        "CREATE ROLE a SUPERUSER",
        "CREATE TABLESPACE a LOCATION '/b' WITH (x = 1)",
        "DROP ROLE a",
        "",
    ]
    .into_iter()
    .map(|sql| format!("{:?}", Statement::classify(sql)))
    .collect();
    insta::assert_snapshot!(lines.join("\n"), @r#"
    GrantRole { role: "a b", member: "c;d", grantor: Some("e\"f") }
    AlterRoleInDatabase { role: "IN", database: "My DB" }
    AlterDatabaseSet { database: "My DB" }
    AlterRoleSet { role: "plain", parameter: "work_mem" }
    SecurityLabelOnRole { role: "a" }
    AlterTablespace { name: "a" }
    PrivilegeOnTablespace { name: "a", grantee: "public" }
    PrivilegeOnParameter { parameter: "my.parameter", grantee: "b" }
    Set { parameter: "standard_conforming_strings", value: "on" }
    Other
    Other
    Other
    Other
    Other
    Other
    Other
    Other
    Other
    "#);
}

#[test]
fn passwords_are_hidden() {
    let script = include_str!("../../../../tests/globals/server-10-client-18.sql");
    let shown: Vec<String> = statements(script)
        .unwrap()
        .into_iter()
        .filter(|sql| {
            matches!(
                Statement::classify(sql),
                Statement::AlterRole {
                    has_password: true,
                    ..
                }
            )
        })
        .map(redact)
        .collect();
    insta::assert_snapshot!(shown.join("\n"), @r#"
    ALTER ROLE "$$dollar" WITH NOSUPERUSER INHERIT NOCREATEROLE NOCREATEDB LOGIN NOREPLICATION NOBYPASSRLS PASSWORD '***'
    ALTER ROLE "/* open" WITH NOSUPERUSER INHERIT NOCREATEROLE NOCREATEDB LOGIN NOREPLICATION NOBYPASSRLS PASSWORD '***'
    ALTER ROLE "Weird Name" WITH NOSUPERUSER INHERIT NOCREATEROLE NOCREATEDB LOGIN NOREPLICATION NOBYPASSRLS PASSWORD '***'
    ALTER ROLE "dou""ble" WITH NOSUPERUSER INHERIT NOCREATEROLE NOCREATEDB LOGIN NOREPLICATION NOBYPASSRLS PASSWORD '***'
    ALTER ROLE "o'brien" WITH NOSUPERUSER INHERIT NOCREATEROLE NOCREATEDB LOGIN NOREPLICATION NOBYPASSRLS PASSWORD '***'
    ALTER ROLE plain WITH NOSUPERUSER INHERIT NOCREATEROLE NOCREATEDB LOGIN NOREPLICATION NOBYPASSRLS PASSWORD '***'
    "#);
}

#[test]
fn a_cut_password_is_hidden_too() {
    assert_eq!(
        redact("ALTER ROLE a PASSWORD /* b */ 'secr"),
        "ALTER ROLE a PASSWORD /* b */ '***'"
    );
    assert_eq!(
        redact("COMMENT ON ROLE password IS 'b'"),
        "COMMENT ON ROLE password IS 'b'"
    );
}

proptest! {
    #[test]
    fn any_password_is_hidden(
        role in "[a-z'\"\\\\;$\n ]{1,20}",
        password in "[A-Z'\"\\\\;$\n -]{0,20}secret[A-Z'\"\\\\;$\n -]{0,20}",
    ) {
        let sql = format!(
            "ALTER ROLE {} WITH NOSUPERUSER PASSWORD {} VALID UNTIL 'infinity'",
            quote_identifier(&role),
            quote_literal(&password),
        );
        prop_assert_eq!(
            Statement::classify(&sql),
            Statement::AlterRole { role, has_password: true }
        );
        let shown = redact(&sql);
        prop_assert!(!shown.contains("secret"));
        prop_assert!(shown.ends_with("'***' VALID UNTIL 'infinity'"));
    }

    #[test]
    fn names_come_back_unquoted(
        role in "\\PC{1,20}", member in "[a-z'\"\\\\;$\n,]{1,20}"
    ) {
        let sql = format!(
            "GRANT {} TO {} WITH INHERIT TRUE",
            quote_identifier(&role),
            quote_identifier(&member),
        );
        prop_assert_eq!(
            Statement::classify(&sql),
            Statement::GrantRole { role, member, grantor: None }
        );
    }

    #[test]
    fn nothing_panics(sql in "[a-zE$'\"\\\\;/*\n -]{0,40}|\\PC{0,40}") {
        Statement::classify(&sql);
        redact(&sql);
    }
}
