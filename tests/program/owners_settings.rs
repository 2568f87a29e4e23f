//! Settings that the owner of a database gave it: in force in each session of ours there, until we set our own.

use crate::support::project::Project;
use crate::support::server::Server;
use crate::support::thief;

/// A database of a role without rights, in which its operators come before those of the server.
fn with_database(server: &Server) {
    thief::enter(server);
    server.psql("postgres", "CREATE DATABASE md OWNER mallory");
    let operators = "
        CREATE FUNCTION evil.eq(text, text) RETURNS bool LANGUAGE plpgsql VOLATILE AS $$
        BEGIN PERFORM evil.act(); RETURN $1 OPERATOR(pg_catalog.=) $2; END $$;
        CREATE OPERATOR evil.= (LEFTARG = text, RIGHTARG = text, PROCEDURE = evil.eq);
        CREATE TABLE evil.t AS SELECT 1 AS a;
        ALTER DATABASE md SET search_path = evil, pg_catalog";
    let sql = format!("SET ROLE mallory; {} {operators}", thief::FUNCTIONS);
    server.psql("md", &sql);
}

#[test]
fn no_operator_of_a_database_is_called_by_the_path_that_its_owner_set() {
    let (source, target) = (Server::start(16), Server::start(18));
    with_database(&source);
    let project = Project::between(&source, &target);
    for verb in ["check", "run", "run", "verify"] {
        project.run(&[verb]).expect_code(0);
        for server in [&source, &target] {
            assert!(!thief::has_taken(server), "{verb}: {}", server.log());
        }
    }
    let path = "SELECT setconfig FROM pg_db_role_setting";
    let path = target.psql("postgres", path);
    assert_eq!(path, "{\"search_path=evil, pg_catalog\"}");
    target.psql("md", "SELECT 'a'::text = 'b'");
    assert!(thief::has_taken(&target), "the operator takes nothing");
}

/// Before anything is there of the plan.
#[test]
fn no_operator_of_a_database_of_the_target_is_called_by_the_path_that_its_owner_set() {
    let (source, target) = (Server::start(16), Server::start(18));
    source.psql("postgres", "CREATE DATABASE md");
    with_database(&target);
    let project = Project::between(&source, &target);
    for verb in ["check", "run", "verify"] {
        project.run(&[verb]);
        assert!(!thief::has_taken(&target), "{verb}: {}", target.log());
    }
}
