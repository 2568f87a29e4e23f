//! Limits of connections that are not the server's: of the role, and of a database.

use crate::support::compare;
use crate::support::project::Project;
use crate::support::server::Server;

fn source() -> Server {
    let source = Server::start(16);
    source.psql(
        "postgres",
        "CREATE ROLE reader LOGIN BYPASSRLS PASSWORD 'of the reader' IN ROLE pg_read_all_data, pg_monitor",
    );
    source.psql("postgres", "CREATE ROLE app LOGIN");
    for name in ["db1", "db2", "db3"] {
        source.psql("postgres", &format!("CREATE DATABASE {name} OWNER app"));
        for table in 1..=8 {
            let sql = format!("CREATE TABLE t{table} AS SELECT generate_series(1, 20000) AS id");
            source.psql(name, &sql);
            source.psql(name, &format!("ALTER TABLE t{table} OWNER TO app"));
        }
    }
    source
}

fn as_reader(source: &Server, target: &Server) -> Project {
    target.psql("postgres", "CREATE ROLE app LOGIN");
    Project::between(source, target)
        .source("user", "\"reader\"")
        .source("password", "{ env = \"READER\" }")
        .variable("READER", "of the reader")
        .with("[globals]\nmigrate = false\n")
}

#[test]
fn the_limit_of_the_sources_role_is_kept_to() {
    let (source, target) = (source(), Server::start(18));
    source.psql("postgres", "ALTER ROLE reader CONNECTION LIMIT 9");
    let project = as_reader(&source, &target).source("max_connections", "40");
    let plan = project.run(&["plan", "--dry-run"]).expect_code(0).stdout;
    assert!(plan.contains("raise the role's limit"), "{plan}");
    project.run(&["run"]).expect_code(0);
    for name in ["db1", "db2", "db3"] {
        compare::assert_same(&source, &target, name);
    }
    let log = source.log();
    assert!(!log.contains("too many connections"), "{log}");
}

#[test]
fn the_limit_of_a_database_is_kept_to() {
    let (source, target) = (source(), Server::start(18));
    source.psql("postgres", "ALTER DATABASE db2 CONNECTION LIMIT 4");
    source.psql("postgres", "ALTER DATABASE db3 CONNECTION LIMIT 2");
    let project = as_reader(&source, &target);
    project.run(&["run"]).expect_code(3).expect_words(&[
        "source/database-limit",
        "\"db3\"",
        "connections to the run",
    ]);
    source.psql("postgres", "ALTER DATABASE db3 CONNECTION LIMIT -1");
    let check = project.run(&["check"]).expect_code(0).stdout;
    assert!(check.contains("source/database-limit"), "{check}");
    project.run(&["run"]).expect_code(0);
    compare::assert_same(&source, &target, "db2");
    let log = source.log();
    assert!(!log.contains("too many connections"), "{log}");
}

#[test]
fn the_limit_of_the_targets_role_is_kept_to() {
    let (source, target) = (source(), Server::start(18));
    for sql in [
        "CREATE ROLE app LOGIN",
        "CREATE ROLE mover LOGIN CREATEDB PASSWORD 'of the mover' IN ROLE app CONNECTION LIMIT 7",
    ] {
        target.psql("postgres", sql);
    }
    let project = Project::between(&source, &target)
        .target("user", "\"mover\"")
        .target("password", "{ env = \"MOVER\" }")
        .variable("MOVER", "of the mover")
        .with("[globals]\nmigrate = false\n[target.tuning]\nmode = \"off\"");
    project.run(&["run"]).expect_code(0);
    for name in ["db1", "db2", "db3"] {
        let rows = target.psql(name, "SELECT count(*) FROM t8");
        assert_eq!(rows, "20000");
    }
    let log = target.log();
    assert!(!log.contains("too many connections"), "{log}");
}
