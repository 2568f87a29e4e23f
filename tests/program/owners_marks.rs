//! A database that a role puts in the place of the mark.

use crate::support::project::Project;
use crate::support::server::Server;
use crate::support::thief;

/// Everything that the mark has, of a role that may make databases, with functions of its own in it.
fn with_mark(server: &Server) {
    thief::enter(server);
    server.psql("postgres", "ALTER ROLE mallory CREATEDB");
    server.psql(
        "postgres",
        "SET ROLE mallory; CREATE DATABASE pg_migrate_mark",
    );
    let comment = "pg-migrate: what plans did";
    let tables = format!(
        "COMMENT ON DATABASE pg_migrate_mark IS '{comment}';
         CREATE SCHEMA mark;
         CREATE TABLE mark.state (id text, plan text, run text, number bigint, change bigint, changed timestamptz);
         CREATE TABLE mark.setting (state text, name text, value text);
         CREATE INDEX ON mark.state ((evil.constant('mark')));
         CREATE INDEX ON mark.setting ((evil.constant('mark')));
         CREATE TRIGGER z BEFORE INSERT OR UPDATE OR DELETE ON mark.state FOR EACH ROW EXECUTE FUNCTION evil.trigger()"
    );
    let sql = format!("SET ROLE mallory; {}; {tables}", thief::FUNCTIONS);
    server.psql("pg_migrate_mark", &sql);
}

#[test]
fn a_mark_of_a_role_without_our_rights_is_not_read() {
    for is_source in [true, false] {
        let (source, target) = (Server::start(16), Server::start(18));
        let (planted, other) = if is_source {
            (&source, &target)
        } else {
            (&target, &source)
        };
        with_mark(planted);
        source.psql("postgres", "CREATE DATABASE erp");
        let project = Project::between(&source, &target).with("[target.tuning]\nmode = \"safe\"\n");
        for verb in ["check", "run", "status", "revert", "verify"] {
            let finished = project.run(&[verb]);
            for server in [planted, other] {
                assert!(!thief::has_taken(server), "{verb}: {}", server.log());
            }
            if verb == "check" || verb == "run" {
                finished.says(&["pg_migrate_mark", "mallory"]);
                if !is_source {
                    assert_ne!(finished.code, Some(0), "{}", finished.said());
                }
            }
        }
        planted.psql("pg_migrate_mark", "SELECT count(*) FROM mark.state");
        assert!(thief::has_taken(planted), "the index takes nothing");
        // As the advice says.
        planted.psql("postgres", "ALTER DATABASE pg_migrate_mark RENAME TO old");
        project.run(&["run"]).expect_code(0);
    }
}
