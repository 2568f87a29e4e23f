//! Who granted what, where the target's role is no superuser: a REVOKE by the owner takes away there what it does on the source.

use crate::support::compare;
use crate::support::project::{Project, string};
use crate::support::server::Server;

/// Roles are made in the order of their names: the one with the grant option comes before the owner.
const ROLES: &str = "
    CREATE ROLE a_app; CREATE ROLE own; CREATE ROLE reader LOGIN";

const OBJECTS: &str = "
    SET ROLE own;
    CREATE SCHEMA app;
    CREATE TABLE app.t (a int, b int, c text); CREATE SEQUENCE app.s; CREATE TYPE app.e AS ENUM ('one');
    CREATE FUNCTION app.f(app.e) RETURNS int LANGUAGE sql AS 'SELECT 1';
    REVOKE ALL ON FUNCTION app.f FROM PUBLIC; REVOKE ALL ON TYPE app.e FROM PUBLIC;
    GRANT USAGE ON SCHEMA app TO a_app WITH GRANT OPTION; GRANT USAGE ON SCHEMA app TO reader;
    GRANT SELECT ON app.t TO a_app WITH GRANT OPTION; GRANT SELECT ON app.t TO reader;
    GRANT UPDATE (b) ON app.t TO a_app WITH GRANT OPTION; GRANT UPDATE (b) ON app.t TO reader;
    GRANT USAGE ON SEQUENCE app.s TO a_app WITH GRANT OPTION; GRANT USAGE ON SEQUENCE app.s TO reader;
    GRANT EXECUTE ON FUNCTION app.f TO a_app WITH GRANT OPTION; GRANT EXECUTE ON FUNCTION app.f TO reader;
    GRANT USAGE ON TYPE app.e TO a_app WITH GRANT OPTION; GRANT USAGE ON TYPE app.e TO reader;
    RESET ROLE";

fn servers(major: u32, objects: &str) -> (Server, Server, Project) {
    let (source, target) = (Server::start(major.min(16)), Server::start(major));
    source.psql("postgres", ROLES);
    for sql in [
        "CREATE DATABASE erp OWNER own",
        "REVOKE CONNECT ON DATABASE erp FROM PUBLIC",
        "GRANT CONNECT ON DATABASE erp TO a_app WITH GRANT OPTION",
        "GRANT CONNECT ON DATABASE erp TO reader",
    ] {
        source.psql("postgres", sql);
    }
    source.psql("erp", objects);
    target.psql(
        "postgres",
        "CREATE ROLE mover LOGIN CREATEDB CREATEROLE PASSWORD 'of the mover'",
    );
    let project = Project::between(&source, &target)
        .target("user", &string("mover"))
        .variable("TARGET_PASSWORD", "of the mover");
    let project = match major {
        // The schema public belongs to a superuser there.
        ..15 => project.with(
            "[[accept]]\ndatabase = \"erp\"\nobject = \"*SCHEMA*public*\"\nreason = \"belongs to a superuser\"\n",
        ),
        _ => project,
    };
    (source, target, project)
}

fn database_privileges(server: &Server) -> String {
    let sql = "SELECT a::text FROM pg_database, unnest(datacl) a WHERE datname = 'erp' ORDER BY 1";
    server.psql("postgres", sql)
}

#[test]
fn the_owner_grants_where_another_may_as_well() {
    for major in [18, 14] {
        let (source, target, project) = servers(major, OBJECTS);
        let told = project.run(&["run"]).expect_code(0).said();
        assert!(!told.contains("another role granted"), "{told}");
        assert_eq!(database_privileges(&target), database_privileges(&source));
        let mut differences = compare::dumps(&source, &target, "erp");
        differences.retain(|difference| !difference.contains("SCHEMA public"));
        differences.retain(|difference| !difference.starts_with("object public; "));
        assert!(differences.is_empty(), "{major}: {differences:#?}");
        // The owner takes away what it gave.
        for server in [&source, &target] {
            for sql in [
                "REVOKE CONNECT ON DATABASE erp FROM reader",
                "REVOKE USAGE ON SCHEMA app FROM reader",
                "REVOKE SELECT ON app.t FROM reader",
                "REVOKE UPDATE (b) ON app.t FROM reader",
                "REVOKE USAGE ON SEQUENCE app.s FROM reader",
                "REVOKE EXECUTE ON FUNCTION app.f FROM reader",
                "REVOKE USAGE ON TYPE app.e FROM reader",
            ] {
                server.psql("erp", &format!("SET ROLE own; {sql}"));
            }
            let left = server.psql(
                "erp",
                "SELECT has_database_privilege('reader', 'erp', 'CONNECT'), has_schema_privilege('reader', 'app', 'USAGE'),
                     has_table_privilege('reader', 'app.t', 'SELECT'), has_any_column_privilege('reader', 'app.t', 'UPDATE'),
                     has_sequence_privilege('reader', 'app.s', 'USAGE'),
                     has_function_privilege('reader', (SELECT oid FROM pg_proc WHERE proname = 'f'), 'EXECUTE'),
                     has_type_privilege('reader', (SELECT oid FROM pg_type WHERE typname = 'e'), 'USAGE')",
            );
            assert_eq!(left, "f|f|f|f|f|f|f", "{major}");
        }
    }
}

/// Such an owner cannot name what it owns there: our role grants, and what came of it is told.
#[test]
fn an_owner_who_may_not_use_its_schema_is_named_with_what_another_granted() {
    let objects = format!("{OBJECTS}; REVOKE USAGE ON SCHEMA app FROM own");
    let (source, target, project) = servers(18, &objects);
    let told = project.run(&["run"]).expect_code(0);
    told.says(&[
        "another role granted than the owner of the object",
        "table app.t (granted by a_app, owned by own)",
    ]);
    // It says no more than that.
    let said = told.said();
    assert!(!said.contains("schema app (granted by"), "{said}");
    let of_schema = "SELECT nspacl FROM pg_namespace WHERE nspname = 'app'";
    assert_eq!(target.psql("erp", of_schema), source.psql("erp", of_schema));
    let granted = "SELECT has_table_privilege('reader', 'app.t', 'SELECT')";
    assert_eq!(target.psql("erp", granted), "t");
}
