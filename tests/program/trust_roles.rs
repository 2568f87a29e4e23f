//! Roles that were on the target before the plan.

use crate::support::project::Project;
use crate::support::server::{Mode, Server};

const STORED: &str = "SELECT rolpassword FROM pg_authid WHERE rolname = 'app'";

fn servers() -> (Server, Server) {
    let (source, target) = (Server::start(16), Server::start(18));
    source.psql(
        "postgres",
        "CREATE ROLE team; CREATE ROLE app LOGIN PASSWORD 'of the source' CONNECTION LIMIT 7 IN ROLE team;
         ALTER ROLE app SET work_mem = '7MB'; CREATE ROLE same LOGIN VALID UNTIL '2040-01-01 00:00:00+00';
         ALTER ROLE same SET search_path = a, b",
    );
    source.psql("postgres", "CREATE DATABASE erp OWNER app");
    target.psql(
        "postgres",
        "CREATE ROLE app LOGIN CREATEDB PASSWORD 'of another application'; ALTER ROLE app SET work_mem = '5MB';
         ALTER ROLE app SET enable_sort = off; CREATE ROLE same LOGIN VALID UNTIL '2040-01-01 00:00:00+00';
         ALTER ROLE same SET search_path = a, b; CREATE ROLE more CONNECTION LIMIT 3",
    );
    source.psql("postgres", "CREATE ROLE more");
    (source, target)
}

/// Nothing of it is overwritten unless the plan waives that, and no rerun asks again.
#[test]
fn a_role_of_another_application_is_not_overwritten_in_silence() {
    let (source, target) = servers();
    let password = target.psql("postgres", STORED);
    let mut project = Project::between(&source, &target);
    let ended = project.run(&["run"]).expect_code(3);
    ended.says(&[
        "target/role-differs: ROLE app: the role \"app\" was on the target before this plan, which did not make it",
        "the run sets the source's: NOCREATEDB, CONNECTION LIMIT 7 (there -1), its password, as it is stored, membership in the role \
         \"team\", work_mem = \"7MB\" (there \"5MB\")",
        "what only the target has is left as it is: a setting enable_sort",
    ]);
    assert!(!ended.stderr.contains("\"same\""), "{}", ended.stderr);
    assert_eq!(target.psql("postgres", STORED), password);
    project
        .run(&["check"])
        .expect_code(3)
        .says(&["what only the target has is left as it is: a CONNECTION LIMIT"]);
    project.set_rest(
        "[[waive]]\ncode = \"target/role-differs\"\nobject = \"ROLE app\"\nuntil = 2099-12-31\nreason = \"it is the same\"",
    );
    project.killed_at("journal step-done globals synced:1");
    assert_eq!(
        target.psql("postgres", STORED),
        source.psql("postgres", STORED)
    );
    // What this plan set is its own business, whatever becomes of it.
    source.psql(
        "postgres",
        "ALTER ROLE app PASSWORD 'another'; ALTER ROLE same NOLOGIN; ALTER ROLE team CREATEDB",
    );
    let check = project.run(&["check"]).stdout;
    assert!(!check.contains("target/role-differs: ROLE"), "{check}");
    project.run(&["run"]).expect_code(0);
    assert_eq!(
        target.psql("postgres", STORED),
        source.psql("postgres", STORED)
    );
}

/// What the plan accepts is in the report, which others than the plan's author read.
#[test]
fn a_waived_block_is_in_the_report() {
    let (source, target) = servers();
    let waiver = "[[waive]]\ncode = \"target/role-differs\"\nuntil = 2099-12-31\nreason = \"ticket 4711\"\nobject =";
    let project = Project::between(&source, &target).with(&format!("{waiver} \"ROLE app\""));
    project.run(&["run"]).expect_code(0);
    let told = [
        "target/role-differs: ROLE app: the role \"app\" was on the target before this plan, which did not make it",
        "(waived until 2099-12-31: ticket 4711)",
    ];
    let report = project.report();
    let warnings = report["server"]["warnings"].as_array().unwrap();
    let warnings: Vec<_> = warnings.iter().filter_map(|it| it.as_str()).collect();
    let is_told = |it: &&&str| told.iter().all(|told| it.contains(told));
    assert_eq!(warnings.iter().filter(is_told).count(), 1, "{warnings:#?}");
    for format in ["text", "json"] {
        let said = project
            .run(&["report", "--format", format])
            .expect_code(0)
            .said();
        assert!(
            said.contains("waived until 2099-12-31: ticket 4711"),
            "{said}"
        );
    }
    let html = project
        .run(&["report", "--format", "html"])
        .expect_code(0)
        .stdout;
    assert!(
        html.contains("waived until 2099-12-31: ticket 4711"),
        "{html}"
    );
}

/// Where the state directory is lost, the mark knows which roles the plan made.
#[test]
fn a_role_that_the_plan_made_under_a_lost_state_directory_is_its_own() {
    let (source, target) = (Server::start(16), Server::start(18));
    source.psql("postgres", "CREATE ROLE app LOGIN PASSWORD 'of the source'");
    source.psql("postgres", "CREATE DATABASE erp OWNER app");
    let project = Project::between(&source, &target);
    project.killed_at("journal step-done globals synced:1");
    std::fs::remove_dir_all(project.state_directory()).unwrap();
    source.psql("postgres", "ALTER ROLE app PASSWORD 'another'");
    let check = project.run(&["check"]);
    let said = [check.stdout, check.stderr].concat();
    assert!(!said.contains("target/role-differs"), "{said}");
}

/// A role of the target that may not read pg_authid: what cannot be seen is said.
#[test]
fn a_password_that_cannot_be_compared_is_told() {
    let (source, target) = (Server::start(16), Server::start(18));
    source.psql(
        "postgres",
        "CREATE ROLE app LOGIN PASSWORD 'of the source'; CREATE DATABASE erp",
    );
    target.psql(
        "postgres",
        "CREATE ROLE mover LOGIN CREATEDB CREATEROLE PASSWORD 'of the mover'; SET ROLE mover; CREATE ROLE app LOGIN",
    );
    let project = Project::between(&source, &target)
        .target("user", "\"mover\"")
        .variable("TARGET_PASSWORD", "of the mover");
    project.run(&["check"]).says(&[
        "whether its password differs cannot be seen, since our role may not read pg_authid on the target",
    ]);
}

/// What only a superuser may take away, and what was granted in the owner's name to make a role the owner of schemas.
#[test]
fn no_role_keeps_more_than_the_source_gives_it_without_being_told() {
    let (source, target) = (Server::start(16), Server::start(18));
    source.psql(
        "postgres",
        "CREATE ROLE app LOGIN; CREATE ROLE a LOGIN; CREATE ROLE b LOGIN; CREATE ROLE report LOGIN;
         CREATE DATABASE erp OWNER app",
    );
    source.psql(
        "postgres",
        "GRANT CREATE ON DATABASE erp TO a WITH GRANT OPTION",
    );
    source.psql("postgres", "SET ROLE a; GRANT CREATE ON DATABASE erp TO b");
    source.psql("erp", "CREATE SCHEMA of_b AUTHORIZATION b");
    target.psql(
        "postgres",
        "CREATE ROLE mover LOGIN CREATEDB CREATEROLE PASSWORD 'of the mover';
         SET ROLE mover; CREATE ROLE report LOGIN; RESET ROLE; ALTER ROLE report BYPASSRLS",
    );
    let project = Project::between(&source, &target)
        .target("user", "\"mover\"")
        .variable("TARGET_PASSWORD", "of the mover");
    project
        .run(&["run"])
        .expect_code(0)
        .says(&["what only the target has is left as it is: BYPASSRLS"]);
    let granted = "SELECT a.grantor::regrole::text, a.grantee::regrole::text, a.privilege_type, a.is_grantable
        FROM pg_database d, aclexplode(d.datacl) a WHERE datname = 'erp' AND grantee <> 0 ORDER BY 1, 2, 3";
    assert_eq!(
        target.psql("postgres", granted),
        source.psql("postgres", granted)
    );
    let owner = "SELECT nspowner::regrole FROM pg_namespace WHERE nspname = 'of_b'";
    assert_eq!(target.psql("erp", owner), "b");
}

#[test]
fn roles_that_are_dropped_on_the_target_between_two_runs_are_made_again() {
    let (source, target) = (Server::start(16), Server::start(18));
    source.psql(
        "postgres",
        "CREATE ROLE group_of_ro; CREATE ROLE ro LOGIN IN ROLE group_of_ro; CREATE ROLE b LOGIN; CREATE DATABASE erp",
    );
    let project = Project::between(&source, &target);
    project.killed_at("journal step-done globals synced:1");
    target.psql("postgres", "DROP ROLE ro; ALTER ROLE b CREATEDB");
    project.run(&["run"]).expect_code(0).says(&[
        "role \"b\" was changed on the target since an earlier run of this plan migrated it",
        "role \"ro\": dropped or renamed on the target since an earlier run of this plan migrated it, and made again as on the source",
    ]);
    let roles = "SELECT pg_has_role('ro', 'group_of_ro', 'MEMBER'), rolcreatedb FROM pg_roles WHERE rolname = 'b'";
    assert_eq!(target.psql("postgres", roles), "t|t");
}

/// What the run was about to change of it changed on the source; what a person changed since on the target is in the same statements.
#[test]
fn a_role_that_is_changed_on_the_target_after_a_run_that_did_not_end_is_left_and_told() {
    let (source, target) = (Server::start(16), Server::start(18));
    source.psql("postgres", "CREATE ROLE app LOGIN; CREATE ROLE b LOGIN");
    source.psql("postgres", "CREATE DATABASE erp");
    let project = Project::between(&source, &target);
    project.run(&["run"]).expect_code(0);
    source.psql(
        "postgres",
        "ALTER ROLE app SET work_mem = '8MB'; ALTER ROLE b SET work_mem = '8MB'",
    );
    source.psql("postgres", "CREATE DATABASE crm");
    project.killed_at("journal migrate-roles synced:1");
    target.psql("postgres", "ALTER ROLE app NOLOGIN");
    project.run(&["run"]).expect_code(0).says(&[
        "role \"app\" changed on the source since an earlier run of this plan migrated it, and on the target as well",
    ]);
    let roles = "SELECT rolname, rolcanlogin, rolconfig FROM pg_roles WHERE rolname IN ('app', 'b') ORDER BY 1";
    assert_eq!(target.psql("postgres", roles), "app|f|\nb|t|{work_mem=8MB}");
}

#[test]
fn what_somebody_set_on_a_database_that_was_closed_is_told() {
    let (source, target) = (Server::start(16), Server::start(18));
    source.psql("postgres", "CREATE ROLE report LOGIN; CREATE DATABASE erp");
    let project = Project::between(&source, &target);
    project.killed_at("journal step-done erp/verify synced:1");
    for sql in [
        "GRANT CREATE ON DATABASE erp TO report",
        "ALTER DATABASE erp CONNECTION LIMIT 0",
        "ALTER DATABASE erp SET work_mem = '7MB'",
    ] {
        target.psql("postgres", sql);
    }
    project.run(&["run"]).expect_code(0).says(&[
        "database \"erp\": on the target, and not on the source, it has the privilege CREATE for role \"report\"",
        "a connection limit of 0 (on the source -1), the setting work_mem",
    ]);
}

/// What is there, empty, is filled: its owner has what the owner of a new database has.
#[test]
fn the_owner_of_a_database_that_was_there_gets_his_privileges() {
    let (source, target) = (Server::start(16), Server::start(18));
    source.psql(
        "postgres",
        "CREATE ROLE app LOGIN; CREATE DATABASE erp OWNER app",
    );
    target.psql(
        "postgres",
        "CREATE ROLE app LOGIN; CREATE DATABASE erp OWNER app",
    );
    target.psql(
        "postgres",
        "REVOKE ALL ON DATABASE erp FROM app; GRANT CONNECT ON DATABASE erp TO app WITH GRANT OPTION",
    );
    let project = Project::between(&source, &target);
    project.run(&["run"]).expect_code(0);
    let granted = "SELECT a.grantee::regrole::text, a.privilege_type, a.is_grantable
        FROM pg_database d, aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) a WHERE datname = 'erp' ORDER BY 1, 2";
    assert_eq!(
        target.psql("postgres", granted),
        source.psql("postgres", granted)
    );
}

/// As one playbook makes it on both servers: SCRAM stores each with a salt of its own.
#[test]
fn a_role_of_which_nothing_but_a_salt_is_known_to_differ_is_left_as_it_is() {
    let (source, target) = (Server::start(16), Server::start(18));
    for server in [&source, &target] {
        server.psql("postgres", "CREATE ROLE agent LOGIN PASSWORD 'the same'");
    }
    source.psql("postgres", "CREATE DATABASE erp OWNER agent");
    let stored = "SELECT rolpassword FROM pg_authid WHERE rolname = 'agent'";
    let before = target.psql("postgres", stored);
    let mut project = Project::between(&source, &target);
    let told = project.run(&["run"]).expect_code(0);
    told.says(&[
        "target/role-differs: ROLE agent",
        "so the run leaves it as it is",
        "whether the passwords are the same cannot be seen",
    ]);
    assert_eq!(target.psql("postgres", stored), before);
    assert!(target.lets_in("erp", "agent", "the same"));
    // It stays so, and what the plan asks for is set.
    source.psql("postgres", "CREATE DATABASE crm");
    project.run(&["run"]).expect_code(0);
    assert_eq!(target.psql("postgres", stored), before);
    project.set_rest(
        "[[waive]]\ncode = \"target/role-differs\"\nobject = \"ROLE agent\"\nuntil = 2099-12-31\nreason = \"the source's\"",
    );
    source.psql("postgres", "CREATE DATABASE hr");
    project.run(&["run"]).expect_code(0);
    assert_eq!(
        target.psql("postgres", stored),
        source.psql("postgres", stored)
    );
}

/// What stands in the way of an overwritten role: everything that the run may set of it.
fn everything_of(server: &Server, role: &str) -> String {
    let sql = format!(
        "SELECT a.*, s.setconfig, shobj_description(a.oid, 'pg_authid'), \
                ARRAY(SELECT roleid::regrole::text FROM pg_auth_members WHERE member = a.oid ORDER BY 1) \
         FROM pg_authid a LEFT JOIN pg_db_role_setting s ON s.setrole = a.oid AND s.setdatabase = 0 \
         WHERE a.rolname = '{role}'"
    );
    server.psql("postgres", &sql)
}

/// Another superuser migrates: the one that the target was made with keeps its password and all the rest.
#[test]
fn the_superuser_that_the_target_was_made_with_is_left_as_it_is() {
    let (source, target) = (Server::start(16), Server::start(18));
    source.psql(
        "postgres",
        "CREATE ROLE dba; GRANT dba TO postgres; ALTER ROLE postgres SET work_mem = '7MB'; ALTER ROLE postgres CONNECTION LIMIT 7; \
         ALTER ROLE postgres VALID UNTIL '2090-01-01 00:00:00+00'; COMMENT ON ROLE postgres IS 'of the source'; CREATE ROLE app IN ROLE postgres",
    );
    source.psql("postgres", "CREATE DATABASE erp OWNER postgres");
    source.psql(
        "erp",
        "CREATE TABLE t AS SELECT 1 AS a; GRANT SELECT ON t TO postgres",
    );
    target.psql(
        "postgres",
        "ALTER ROLE postgres SET lock_timeout = '5s'; CREATE ROLE mover SUPERUSER LOGIN PASSWORD 'of the mover'",
    );
    let before = everything_of(&target, "postgres");
    let project = Project::between(&source, &target)
        .target("user", "\"mover\"")
        .variable("TARGET_PASSWORD", "of the mover");
    project.run(&["run"]).expect_code(0).says(&[
        "target/role-differs: ROLE postgres: the role \"postgres\" is the superuser that the target was made with, so the run leaves it \
         as it is",
        "on the source it has CONNECTION LIMIT 7 (there -1), VALID UNTIL 2090-01-01 00:00:00 UTC (there infinity), its password, as it is \
         stored, its comment, membership in the role \"dba\", work_mem = \"7MB\" (there not set); only the target's has a setting lock_timeout",
    ]);
    assert_eq!(everything_of(&target, "postgres"), before);
    assert_ne!(before, everything_of(&source, "postgres"));
    // It is there for what belongs to it all the same.
    let owner = "SELECT datdba::regrole FROM pg_database WHERE datname = 'erp'";
    assert_eq!(target.psql("postgres", owner), "postgres");
    let member = "SELECT pg_has_role('app', 'postgres', 'MEMBER')";
    assert_eq!(target.psql("postgres", member), "t");
    // What changes of it later is nobody's business either.
    source.psql("postgres", "ALTER ROLE postgres CONNECTION LIMIT 9");
    let again = project.run(&["run"]).expect_code(0).said();
    assert!(!again.contains("role \"postgres\" changed"), "{again}");
}

/// A standby of the target would not come back with another password.
#[test]
fn a_role_that_replicates_is_left_as_it_is() {
    let (source, mut target) = (Server::start(16), Server::start(18));
    source.psql(
        "postgres",
        "CREATE ROLE replicator LOGIN PASSWORD 'of the source' CONNECTION LIMIT 1; CREATE DATABASE erp OWNER replicator",
    );
    target.psql(
        "postgres",
        "CREATE ROLE replicator REPLICATION LOGIN PASSWORD 'of the target'",
    );
    let before = everything_of(&target, "replicator");
    let mut project = Project::between(&source, &target);
    // Nothing replicates yet.
    project
        .run(&["check"])
        .expect_code(3)
        .says(&["ROLE replicator: the role \"replicator\" was on the target before this plan"]);
    let mut standby = target.standby_of("replicator");
    project.killed_at("journal step-done globals synced:1");
    assert_eq!(everything_of(&target, "replicator"), before);
    // The standby is away for the time of the next run.
    standby.stop(Mode::Fast);
    project.set_rest("[delay]\ntable_data = []");
    project.run(&["run"]).expect_code(0).says(&[
        "the role \"replicator\" is one that sends WAL of the target to a standby, a backup or a subscriber, so the run leaves it as it is",
        "on the source it has NOREPLICATION, CONNECTION LIMIT 1 (there -1), its password, as it is stored",
    ]);
    assert_eq!(everything_of(&target, "replicator"), before);
}

/// Comments, options of memberships and privileges on parameters are overwritten as well.
#[test]
fn all_that_the_run_sets_of_a_role_is_compared() {
    let (source, target) = (Server::start(16), Server::start(18));
    for server in [&source, &target] {
        server.psql(
            "postgres",
            "CREATE ROLE team; CREATE ROLE app; CREATE ROLE same IN ROLE team; COMMENT ON ROLE same IS 'same'; \
             GRANT SET ON PARAMETER log_statement TO same",
        );
    }
    source.psql(
        "postgres",
        "CREATE DATABASE erp; COMMENT ON ROLE app IS 'of the source'; GRANT team TO app WITH ADMIN TRUE, INHERIT FALSE; \
         GRANT SET ON PARAMETER log_statement TO app",
    );
    target.psql(
        "postgres",
        "COMMENT ON ROLE app IS 'of the target'; GRANT team TO app WITH SET FALSE; \
         GRANT ALTER SYSTEM ON PARAMETER work_mem TO app",
    );
    let project = Project::between(&source, &target);
    let ended = project.run(&["run"]).expect_code(3);
    ended.says(&[
        "the run sets the source's: its comment, membership in the role \"team\" WITH ADMIN TRUE, INHERIT FALSE, SET ON PARAMETER \
         log_statement; what only the target has is left as it is: membership in the role \"team\" that is not WITH SET TRUE as on the \
         source, ALTER SYSTEM ON PARAMETER work_mem",
    ]);
    assert!(!ended.stderr.contains("\"same\""), "{}", ended.stderr);
}

/// It has the same attributes on both, so nothing else would say that another application's objects are open to new members.
#[test]
fn a_role_that_joins_a_group_of_the_target_is_told() {
    let (source, target) = (Server::start(16), Server::start(18));
    source.psql(
        "postgres",
        "CREATE ROLE team; CREATE ROLE app LOGIN IN ROLE team",
    );
    source.psql("postgres", "CREATE DATABASE erp");
    target.psql("postgres", "CREATE ROLE team");
    let mut project = Project::between(&source, &target);
    let check = project.run(&["check"]).expect_code(0).said();
    assert!(!check.contains("belong to it"), "{check}");
    let told = "the role \"team\" was on the target before this plan, which did not make it, and the run makes roles of the source members \
                of it, as they are on the source: \"app\"";
    assert!(check.contains(told), "{check}");

    // A role with all rights is kept as it is, and a member has them as well.
    source.psql(
        "postgres",
        "CREATE ROLE mover; CREATE ROLE reader LOGIN IN ROLE mover",
    );
    target.psql(
        "postgres",
        "CREATE ROLE mover SUPERUSER LOGIN PASSWORD 'of the mover'",
    );
    project = project
        .target("user", "\"mover\"")
        .variable("TARGET_PASSWORD", "of the mover");
    target.psql(
        "postgres",
        "CREATE TABLE kept (a int); ALTER TABLE kept OWNER TO team",
    );
    let ended = project.run(&["run"]).expect_code(3);
    ended.says(&[
        "target/role-gets-members: ROLE mover:",
        "on the target it is SUPERUSER, which it is not on the source, and members may become it (SET ROLE)",
    ]);
    project.run(&["check"]).expect_code(3).says(&[
        "objects of the target belong to it or are granted to it, and members get to them",
    ]);
    target.psql("postgres", "DROP TABLE kept");
    let waiver = "[[waive]]\ncode = \"target/role-gets-members\"\nuntil = 2099-12-31\nreason = \"ours\"\nobject =";
    project.set_rest(&format!("{waiver} \"ROLE mover\""));
    project.run(&["run"]).expect_code(0);
    // What the run granted is asked once.
    source.psql("postgres", "CREATE ROLE later IN ROLE team");
    let check = project.run(&["check"]).said();
    assert!(!check.contains("members of it"), "{check}");
}

/// A source, another one where the role of the same name is a superuser, and their target.
fn two_sources() -> (Server, Server, Server) {
    let (source, target) = (Server::start(16), Server::start(18));
    let other = Server::start(15);
    for server in [&source, &other] {
        server.psql("postgres", "CREATE ROLE app LOGIN PASSWORD 'of the source'");
    }
    source.psql("postgres", "CREATE DATABASE erp OWNER app");
    other.psql("postgres", "ALTER ROLE app SUPERUSER");
    other.psql("postgres", "CREATE DATABASE crm OWNER app");
    (source, other, target)
}

/// Two servers that go to one target by plans of the same name, and a plan that begins again from another directory.
#[test]
fn a_role_that_a_plan_of_this_name_handed_over_is_not_overwritten() {
    let (source, other, target) = two_sources();
    Project::between(&source, &target)
        .run(&["run"])
        .expect_code(0);
    target.psql("postgres", "ALTER ROLE app PASSWORD 'rotated' NOLOGIN");
    let password = target.psql("postgres", STORED);
    for from in [&other, &source] {
        let project = Project::between(from, &target).with("[databases]\nexclude = [\"erp\"]\n");
        let told = project.run(&["run"]).expect_code(3);
        told.says(&["target/role-differs: ROLE app"]);
    }
    assert_eq!(target.psql("postgres", STORED), password);
    let attributes = "SELECT rolsuper, rolcanlogin FROM pg_roles WHERE rolname = 'app'";
    assert_eq!(target.psql("postgres", attributes), "f|f");
}

/// The first has handed nothing over yet.
#[test]
fn a_role_that_a_plan_of_this_name_made_from_another_source_is_not_overwritten() {
    let (source, other, target) = two_sources();
    let globals = "journal step-done globals synced:1";
    Project::between(&source, &target).killed_at(globals);
    Project::between(&other, &target)
        .run(&["run"])
        .expect_code(3)
        .says(&["target/role-differs: ROLE app"]);
    // From the same source, its state directory is lost.
    source.psql("postgres", "ALTER ROLE app CREATEDB");
    let again = Project::between(&source, &target);
    again.run(&["revert"]).expect_code(0);
    again.run(&["run"]).expect_code(0);
    let attributes = "SELECT rolsuper, rolcreatedb FROM pg_roles WHERE rolname = 'app'";
    assert_eq!(target.psql("postgres", attributes), "f|t");
}

/// From 16 on, memberships have these options, and not the member.
#[test]
fn how_members_use_roles_follows_the_source_between_two_runs() {
    let uses =
        "SELECT m.member::regrole::text, m.inherit_option, m.set_option FROM pg_auth_members m
        WHERE m.roleid = 'team'::regrole ORDER BY 1";
    for (major, now, then) in [
        (
            15,
            "ALTER ROLE a NOINHERIT; ALTER ROLE b INHERIT",
            "a|f|t\nb|t|t",
        ),
        (
            16,
            "GRANT team TO a WITH INHERIT FALSE, SET FALSE; GRANT team TO b WITH INHERIT TRUE, SET TRUE",
            "a|f|f\nb|t|t",
        ),
    ] {
        let (source, target) = (Server::start(major), Server::start(18));
        source.psql(
            "postgres",
            "CREATE ROLE team; CREATE ROLE a; CREATE ROLE b NOINHERIT; GRANT team TO a, b; CREATE DATABASE erp",
        );
        if major >= 16 {
            source.psql("postgres", "GRANT team TO b WITH INHERIT FALSE, SET FALSE");
        }
        let project = Project::between(&source, &target);
        project.killed_at("journal step-done globals synced:1");
        source.psql("postgres", now);
        let finished = project.run(&["run"]).expect_code(0);
        assert_eq!(target.psql("postgres", uses), then, "{major}");
        let said = finished.said();
        assert!(
            !said.contains("on the target, and not on the source"),
            "{said}"
        );
    }
}
