//! What belongs to extensions, and no dump brings along.

use std::fs;
use std::path::Path;

use crate::support::project::Project;
use crate::support::server::Server;

/// One as people make it: the table is marked as configuration, its sequence is not.
const SCRIPT: &str = "
    CREATE TABLE app_setting (id serial PRIMARY KEY, name text);
    SELECT pg_extension_config_dump('app_setting', '');
    CREATE SEQUENCE ticket_no;
    CREATE SEQUENCE unused;
    CREATE TABLE srs (srid int PRIMARY KEY, text text);
    INSERT INTO srs SELECT n, 'epsg ' || n FROM generate_series(1, 100) n;
    SELECT pg_extension_config_dump('srs', 'WHERE NOT (srid BETWEEN 1 AND 100)');
";

fn servers() -> (Server, Server) {
    let (source, target) = (Server::start(16), Server::start(18));
    for server in [&source, &target] {
        let directory = server.psql(
            "postgres",
            "SELECT setting FROM pg_config WHERE name = 'SHAREDIR'",
        );
        let directory = Path::new(&directory).join("extension");
        let control = "default_version = '1'\nrelocatable = true\n";
        fs::write(directory.join("pg_migrate_settings.control"), control).unwrap();
        fs::write(directory.join("pg_migrate_settings--1.sql"), SCRIPT).unwrap();
    }
    source.psql("postgres", "CREATE DATABASE erp");
    source.psql("erp", "CREATE EXTENSION pg_migrate_settings");
    (source, target)
}

#[test]
fn a_sequence_that_counts_configuration_goes_on_and_others_are_told() {
    let (source, target) = servers();
    source.psql(
        "erp",
        "INSERT INTO app_setting (name) SELECT 'n' || n FROM generate_series(1, 50) n; SELECT setval('ticket_no', 900)",
    );
    let project = Project::between(&source, &target);
    let ended = project.run(&["run"]).expect_code(0);
    ended.says(&[
        "source/extension-rows",
        "public.ticket_no",
        "public.ticket_no of pg_migrate_settings (900, on the target 1)",
    ]);
    assert!(!ended.said().contains("public.unused"), "{}", ended.said());
    assert!(!ended.said().contains("srs"), "{}", ended.said());
    let next = "INSERT INTO app_setting (name) VALUES ('next') RETURNING id";
    assert_eq!(target.psql("erp", next).lines().next(), Some("51"));
}

#[test]
fn rows_that_a_condition_leaves_out_and_users_changed_are_told() {
    let (source, target) = servers();
    source.psql("erp", "UPDATE srs SET text = 'mine' WHERE srid = 7");
    let told = "rows of configuration tables that the extension's condition";
    let project = Project::between(&source, &target);
    let ended = project.run(&["run"]).expect_code(0);
    ended.says(&[
        told,
        "public.srs of pg_migrate_settings (100 rows, on the target with other values)",
    ]);
    source.psql(
        "erp",
        "DELETE FROM srs WHERE srid = 8; INSERT INTO srs VALUES (5000, 'mine')",
    );
    let again = Server::start(18);
    let ended = Project::between(&source, &again)
        .run(&["run"])
        .expect_code(0);
    ended.says(&["public.srs of pg_migrate_settings (99 rows, on the target 100)"]);
    let rows = again.psql("erp", "SELECT count(*) FROM srs");
    assert_eq!(rows, "101");
}

/// A standby has no values of it.
#[test]
fn an_unlogged_sequence_of_a_standby_is_told() {
    let (mut source, target) = (Server::start(16), Server::start(18));
    source.psql("postgres", "CREATE DATABASE erp");
    source.psql(
        "erp",
        "CREATE UNLOGGED SEQUENCE numbers; CREATE TABLE uses (n bigint DEFAULT nextval('numbers'));
         INSERT INTO uses SELECT FROM generate_series(1, 700)",
    );
    let standby = source.standby();
    standby.catch_up(&source);
    let ended = Project::between(&standby, &target)
        .run(&["run"])
        .expect_code(0);
    ended.says(&[
        "source/unlogged-on-standby: database \"erp\", public.numbers: the sequence is unlogged",
        "on the target it begins again",
    ]);
    let next = target.psql("erp", "SELECT nextval('numbers')");
    assert_eq!(next, "1");
}
