use super::*;
use crate::step::globals::statements;

fn target<'a>(user: &'a str, roles: &[&'a str], tablespaces: &[&'a str]) -> Target<'a> {
    Target {
        version: Version(180_006),
        user,
        roles: roles.iter().copied().chain([user]).collect(),
        tablespaces: tablespaces.iter().copied().collect(),
        needed_tablespaces: HashSet::new(),
    }
}

fn planned(script: &str, target: &Target<'_>) -> Vec<Action> {
    let planned = plan(&statements(script).unwrap(), target);
    planned.into_iter().map(|planned| planned.action).collect()
}

/// Actions as a person would want to see them.
fn shown(actions: &[Action]) -> String {
    let lines = actions.iter().map(|action| match action {
        Action::Skip(Skip {
            sql,
            reason,
            is_loss,
        }) => {
            let word = if *is_loss { "LOSE" } else { "skip" };
            format!("{word} {sql}\n     {reason}")
        }
        Action::Run(run) => {
            let mut text = format!("run  {}", run.sql);
            if !run.tolerated.is_empty() {
                text += " -- tolerant";
            }
            if let Some(fallback) = &run.fallback {
                text += &format!("\n  or {}", fallback.sql);
                if let Some(warning) = &fallback.warning {
                    text += &format!("\n     {warning}");
                }
            }
            text + &match &run.on_error {
                OnError::Fail => String::new(),
                OnError::FailWithHelp(advice) => format!("\n  FAILED: {advice}"),
                OnError::Warn(advice) => format!("\n  failed: {advice}"),
                OnError::WarnIfDenied(advice) => format!("\n  denied: {advice}"),
            }
        }
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn a_dump_of_every_kind_of_statement() {
    let script = r#"
        SET default_transaction_read_only = off;
        SET client_encoding = 'UTF8';
        CREATE ROLE admin;
        ALTER ROLE admin WITH SUPERUSER LOGIN PASSWORD 'secret';
        CREATE ROLE "Old; One";
        ALTER ROLE "Old; One" WITH NOSUPERUSER INHERIT LOGIN NOREPLICATION NOBYPASSRLS PASSWORD 'secret';
        COMMENT ON ROLE "Old; One" IS 'it''s old';
        CREATE ROLE superuser;
        ALTER ROLE superuser WITH SUPERUSER LOGIN REPLICATION CONNECTION LIMIT 3;
        CREATE ROLE pg_monitor;
        ALTER ROLE pg_monitor WITH NOSUPERUSER LOGIN;
        COMMENT ON ROLE admin IS 'me';
        SECURITY LABEL FOR selinux ON ROLE "Old; One" IS 'x';
        ALTER ROLE admin SET work_mem TO '1MB';
        ALTER ROLE "Old; One" SET sql_inheritance TO 'off';
        ALTER ROLE "Old; One" SET search_path TO 'a', 'b';
        ALTER ROLE "Old; One" IN DATABASE db SET work_mem TO '1MB';
        ALTER DATABASE db SET work_mem TO '1MB';
        GRANT superuser TO admin GRANTED BY other;
        GRANT admin TO superuser WITH ADMIN OPTION GRANTED BY "Old; One";
        GRANT pg_monitor TO superuser;
        GRANT superuser TO pg_monitor;
        GRANT pg_read_all_data TO "Old; One";
        SET SESSION AUTHORIZATION superuser;
        GRANT SET ON PARAMETER work_mem TO "Old; One";
        RESET SESSION AUTHORIZATION;
        GRANT SET ON PARAMETER work_mem TO admin;
        CREATE TABLESPACE old_space OWNER admin LOCATION '/srv/old';
        CREATE TABLESPACE space OWNER admin LOCATION '/srv/it''s';
        ALTER TABLESPACE space SET (random_page_cost=1.1);
        SET SESSION AUTHORIZATION admin;
        GRANT ALL ON TABLESPACE space TO "Old; One";
        RESET SESSION AUTHORIZATION;
        DROP ROLE "Old; One";
    "#;
    let target = target("admin", &["Old; One"], &["old_space"]);
    insta::assert_snapshot!(shown(&planned(script, &target)), @r#"
    run  SET default_transaction_read_only = off
    skip SET client_encoding = 'UTF8'
         sessions of pg-migrate have settings of their own
    skip CREATE ROLE admin
         role admin runs the migration and stays as it is
    skip ALTER ROLE admin WITH SUPERUSER LOGIN PASSWORD '***'
         role admin runs the migration and stays as it is
    skip CREATE ROLE "Old; One"
         role Old; One exists on the target
    run  ALTER ROLE "Old; One" WITH NOSUPERUSER INHERIT LOGIN NOREPLICATION NOBYPASSRLS PASSWORD '***'
      or ALTER ROLE "Old; One" WITH INHERIT LOGIN PASSWORD '***'
      denied: role Old; One was there before and keeps its attributes and password
    run  COMMENT ON ROLE "Old; One" IS 'it''s old'
      failed: role Old; One has no comment: fix the cause and run the statement on the target
    run  CREATE ROLE superuser -- tolerant
    run  ALTER ROLE superuser WITH SUPERUSER LOGIN REPLICATION CONNECTION LIMIT 3
      or ALTER ROLE superuser WITH LOGIN CONNECTION LIMIT 3
         role superuser is without SUPERUSER, REPLICATION on the target: only a superuser may give that
    LOSE CREATE ROLE pg_monitor
         role pg_monitor cannot exist on the target: names that start with pg_ are reserved since 9.6; rename the role on the source
    LOSE ALTER ROLE pg_monitor WITH NOSUPERUSER LOGIN
         role pg_monitor cannot exist on the target: names that start with pg_ are reserved since 9.6; rename the role on the source
    skip COMMENT ON ROLE admin IS 'me'
         role admin runs the migration and stays as it is
    run  SECURITY LABEL FOR selinux ON ROLE "Old; One" IS 'x'
      failed: role Old; One has no security label: fix the cause and run the statement on the target
    skip ALTER ROLE admin SET work_mem TO '1MB'
         role admin runs the migration and stays as it is
    LOSE ALTER ROLE "Old; One" SET sql_inheritance TO 'off'
         PostgreSQL 10 and later have no parameter sql_inheritance
    run  ALTER ROLE "Old; One" SET search_path TO 'a', 'b'
      failed: search_path is not set for role Old; One: fix the cause and run the statement on the target
    skip ALTER ROLE "Old; One" IN DATABASE db SET work_mem TO '1MB'
         settings of database db come with the database
    skip ALTER DATABASE db SET work_mem TO '1MB'
         settings of database db come with the database
    skip GRANT superuser TO admin GRANTED BY other
         role admin runs the migration and stays as it is
    run  GRANT admin TO superuser WITH ADMIN OPTION GRANTED BY "Old; One"
      or GRANT admin TO superuser WITH ADMIN OPTION
         membership of superuser in admin was granted by Old; One on the source and has another grantor on the target
      failed: role superuser is not a member of role admin: fix the cause and run the statement on the target
    LOSE GRANT pg_monitor TO superuser
         role pg_monitor cannot exist on the target: names that start with pg_ are reserved since 9.6; rename the role on the source
    LOSE GRANT superuser TO pg_monitor
         role pg_monitor cannot exist on the target: names that start with pg_ are reserved since 9.6; rename the role on the source
    run  GRANT pg_read_all_data TO "Old; One"
      failed: role Old; One is not a member of role pg_read_all_data: fix the cause and run the statement on the target
    run  SET ROLE "superuser"; GRANT SET ON PARAMETER work_mem TO "Old; One"; SET ROLE NONE
      or GRANT SET ON PARAMETER work_mem TO "Old; One"
         a privilege on parameter work_mem was granted by superuser on the source and has another grantor on the target
      failed: role Old; One has no privilege on parameter work_mem: fix the cause and run the statement on the target
    skip GRANT SET ON PARAMETER work_mem TO admin
         role admin runs the migration and stays as it is
    skip CREATE TABLESPACE old_space OWNER admin LOCATION '/srv/old'
         tablespace old_space exists on the target
    run  CREATE TABLESPACE space OWNER admin LOCATION '/srv/it''s' -- tolerant
      failed: tablespace space is missing, and nothing that migrates is in it: where it is wanted, make the directory /srv/it's on the target's host, empty and owned by the operating-system user of the server, then `pg-migrate reset PLAN --step globals` and run again; or make a tablespace of this name elsewhere
    run  ALTER TABLESPACE space SET (random_page_cost=1.1)
      failed: tablespace space is not as it was on the source: fix the cause and run the statement on the target
    run  GRANT ALL ON TABLESPACE space TO "Old; One"
      failed: tablespace space is not as it was on the source: fix the cause and run the statement on the target
    LOSE DROP ROLE "Old; One"
         pg-migrate does not know this statement; run it by hand if the target needs it
    "#);
}

/// Statements that change the role itself, whatever it is called.
#[test]
fn the_migrating_role_is_never_touched() {
    for user in [
        "postgres",
        "Weird Name",
        "new\nline",
        "plain",
        "o'brien",
        "role",
    ] {
        let script = include_str!("../../../../tests/globals/server-16-client-18.sql");
        let quoted = if user.bytes().all(|byte| byte.is_ascii_lowercase()) {
            user.to_owned()
        } else {
            quote_identifier(user)
        };
        for action in planned(script, &target(user, &[], &[])) {
            let Action::Run(run) = action else { continue };
            let sql = run.sql.expose();
            assert!(!sql.contains(&format!("ROLE {quoted} WITH")), "{sql}");
            assert!(!sql.contains(&format!("ROLE {quoted} SET")), "{sql}");
            assert!(!sql.contains(&format!("ROLE {quoted} IS")), "{sql}");
            assert!(!sql.contains(&format!("CREATE ROLE {quoted}")), "{sql}");
            assert!(!sql.contains(&format!("TO {quoted} WITH")), "{sql}");
        }
    }
}

#[test]
fn real_dumps_lose_nothing_on_a_new_target() {
    for script in [
        include_str!("../../../../tests/globals/server-10-client-18.sql"),
        include_str!("../../../../tests/globals/server-14-client-17.sql"),
        include_str!("../../../../tests/globals/server-16-client-18.sql"),
    ] {
        let lost: Vec<Action> = planned(script, &target("me", &[], &[]))
            .into_iter()
            .filter(|action| matches!(action, Action::Skip(skip) if skip.is_loss))
            .collect();
        assert_eq!(lost, []);
    }
}

#[test]
fn debug_output_holds_no_password() {
    let script = "ALTER ROLE a WITH NOSUPERUSER PASSWORD 'secret';";
    let actions = planned(script, &target("me", &[], &[]));
    assert!(!format!("{actions:?}").contains("secret"));
    assert!(matches!(&actions[..], [Action::Run(run)] if run.sql.expose().contains("secret")));
}
