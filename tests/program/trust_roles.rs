//! Roles that were on the target before the plan.

use crate::support::project::Project;
use crate::support::server::Server;

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
