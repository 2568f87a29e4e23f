//! What `verify`, `status` and `report` say is true, and what they advise helps.

use crate::support::project::{Finished, Project};
use crate::support::server::Server;

/// A foreign key that cannot be made: an orphan is behind it.
fn failed_restore() -> (Server, Server, Project, Finished) {
    let (source, target) = (Server::start(16), Server::start(18));
    source.psql("postgres", "CREATE DATABASE erp");
    source.psql(
        "erp",
        "CREATE TABLE parents (id int PRIMARY KEY);
         CREATE TABLE children (id int PRIMARY KEY, parent int REFERENCES parents);
         SET session_replication_role = replica;
         INSERT INTO children VALUES (1, 4711)",
    );
    let project = Project::between(&source, &target);
    let run = project.run(&["run"]).expect_code(4);
    (source, target, project, run)
}

/// What was said, without the ends of lines that a terminal's width makes.
fn said(finished: &Finished) -> String {
    let said = [finished.stdout.as_str(), &finished.stderr].concat();
    said.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn verify_after_a_failed_restore_names_its_errors() {
    let (_source, _target, project, _) = failed_restore();
    let verify = said(&project.run(&["verify"]).expect_code(5));
    for words in [
        "restore error: FK CONSTRAINT public.children children_parent_fkey",
        "its migration is not complete (erp/restore failed)",
        "Not compared: values, indexes, constraints",
    ] {
        assert!(verify.contains(words), "{words:?} is missing: {verify}");
    }
    // What is accepted is no difference.
    let accepting = project.with(
        "[[accept]]\ndatabase = \"erp\"\nobject = \"FK CONSTRAINT *\"\nreason = \"orphans\"\n",
    );
    let verify = said(&accepting.run(&["verify"]).expect_code(5));
    assert!(!verify.contains("restore error"), "{verify}");
    accepting.run(&["run"]).expect_code(0);
    accepting.run(&["verify"]).expect_code(0);
}

/// Rows that are all there already do not say that the rest is.
#[test]
fn verify_of_a_migration_that_did_not_come_to_its_end_is_a_difference() {
    let (source, target) = (Server::start(16), Server::start(18));
    source.psql("postgres", "CREATE DATABASE erp");
    source.psql("erp", "CREATE TABLE t AS SELECT 1 AS id");
    let project = Project::between(&source, &target);
    project.killed_at("erp/target-counts start:1");
    let verify = said(&project.run(&["verify"]).expect_code(5));
    assert!(
        verify.contains("its migration is not complete (erp/target-counts is not done)"),
        "{verify}"
    );
    project.run(&["run"]).expect_code(0);
    project.run(&["verify"]).expect_code(0);
    // Who has no state directory compares two servers.
    std::fs::remove_dir_all(project.state_directory()).unwrap();
    project.run(&["verify"]).expect_code(0);
}

/// A restore that failed for what the archive holds: the advice leads to the end when it is followed.
/// The plan excludes what it left half done.
#[test]
fn verify_counts_a_half_done_database_that_the_plan_excludes_now() {
    let (source, target) = (Server::start(16), Server::start(18));
    for name in ["erp", "crm"] {
        source.psql("postgres", &format!("CREATE DATABASE {name}"));
        source.psql(name, "CREATE TABLE big AS SELECT 1 AS id");
    }
    let delay = "[delay]\ntable_data = [\"erp.big\"]\n";
    let mut project = Project::between(&source, &target).with(delay);
    project.killed_at("journal step-done erp/verify synced:1");
    project.set_rest(&format!("[databases]\nexclude = [\"erp\"]\n{delay}"));
    project
        .run(&["run"])
        .expect_code(3)
        .says(&["target/unfinished"]);
    let told = project.run(&["verify"]).expect_code(5);
    told.says(&[
        "erp: not compared",
        "its delayed tables are not loaded and verified",
    ]);
}

#[test]
fn what_a_failed_restore_advises_helps() {
    let (source, target, project, run) = failed_restore();
    let advice = "pg-migrate reset PLAN --database erp --step dump";
    assert!(said(&run).contains(advice), "{}", run.stdout);
    source.psql(
        "erp",
        "SET session_replication_role = replica; DELETE FROM children",
    );
    // Without it, the same archive is restored.
    project.run(&["run"]).expect_code(4);
    project
        .run(&["reset", "--database", "erp", "--step", "dump"])
        .expect_code(0);
    project.run(&["run"]).expect_code(0);
    let keys = "SELECT count(*) FROM pg_constraint WHERE contype = 'f' AND convalidated";
    assert_eq!(target.psql("erp", keys), "1");
}

/// The other advice for the same failure.
#[test]
fn an_error_that_is_accepted_afterwards_is_no_failure() {
    let (_source, target, project, run) = failed_restore();
    assert!(said(&run).contains("[[accept]]"), "{}", run.stdout);
    let project = project.with(
        "[[accept]]\ndatabase = \"erp\"\nobject = \"FK CONSTRAINT *\"\nreason = \"orphans\"\n",
    );
    project.run(&["run"]).expect_code(0);
    assert_eq!(target.psql("erp", "SELECT count(*) FROM children"), "1");
}

#[test]
fn status_and_report_after_a_reset_tell_of_no_kill() {
    let (source, target) = (Server::start(16), Server::start(18));
    source.psql("postgres", "CREATE DATABASE erp");
    let project = Project::between(&source, &target);
    project.run(&["run"]).expect_code(0);
    project
        .run(&["reset", "--database", "erp", "--drop", "erp"])
        .expect_code(0);
    for verb in ["status", "report"] {
        let said = said(&project.run(&[verb]));
        assert!(!said.contains("killed"), "{said}");
        assert!(
            said.contains("`pg-migrate reset` forgot steps"),
            "{verb}: {said}"
        );
    }
    project.run(&["run"]).expect_code(0);
    let said = said(&project.run(&["report"]));
    assert!(said.contains("test completed"), "{said}");
}

/// Has a configuration table, in which this version takes rows from `users` on for those of users.
fn install_extension(server: &Server, version: &str, columns: &str, users: u32) {
    let directory = server.psql(
        "postgres",
        "SELECT setting FROM pg_config WHERE name = 'SHAREDIR'",
    );
    let directory = std::path::Path::new(&directory).join("extension");
    let control = format!("default_version = '{version}'\nrelocatable = true\n");
    std::fs::write(directory.join("pg_migrate_refs.control"), control).unwrap();
    let script = format!(
        "CREATE TABLE refs ({columns});
         INSERT INTO refs (id) SELECT generate_series(1, 30);
         SELECT pg_extension_config_dump('refs', 'WHERE id > {users}')"
    );
    let file = format!("pg_migrate_refs--{version}.sql");
    std::fs::write(directory.join(file), script).unwrap();
}

/// A dump names no version: the target makes the one that it has.
#[test]
fn an_extension_that_is_older_on_the_target_stops_the_run() {
    let (source, target) = (Server::start(16), Server::start(18));
    let install = |server: &Server, version: &str, functions: &[&str]| {
        let sql = "SELECT setting FROM pg_config WHERE name = 'SHAREDIR'";
        let directory = std::path::PathBuf::from(server.psql("postgres", sql)).join("extension");
        let control = format!("default_version = '{version}'\nrelocatable = true\n");
        std::fs::write(directory.join("pg_migrate_older.control"), control).unwrap();
        let functions = functions.iter();
        let script: String = functions
            .map(|name| {
                format!("CREATE FUNCTION {name}() RETURNS int LANGUAGE sql AS 'SELECT 1';\n")
            })
            .collect();
        let file = format!("pg_migrate_older--{version}.sql");
        std::fs::write(directory.join(file), script).unwrap();
    };
    install(&source, "1.1", &["common", "newer"]);
    install(&target, "1.0", &["common"]);
    source.psql("postgres", "CREATE DATABASE erp");
    source.psql(
        "erp",
        "CREATE EXTENSION pg_migrate_older;
         CREATE FUNCTION uses() RETURNS int LANGUAGE plpgsql AS 'BEGIN RETURN newer(); END'",
    );
    let project = Project::between(&source, &target);
    let words = [
        "target/extension-older",
        "pg_migrate_older",
        "version 1.1 on the source",
        "makes 1.0 on the target",
    ];
    project.run(&["run"]).expect_code(3).says(&words);
    install(&target, "1.1", &["common", "newer"]);
    project.run(&["run"]).expect_code(0);
    assert_eq!(target.psql("erp", "SELECT uses()"), "1");
}

/// As PostGIS has it: rows of users beside those of the extension's script.
#[test]
fn configuration_tables_of_an_extension_of_another_version_are_told_and_no_difference() {
    let (source, target) = (Server::start(16), Server::start(18));
    install_extension(&source, "1.0", "id int PRIMARY KEY", 1000);
    install_extension(&target, "2.0", "id int PRIMARY KEY, word text", 20);
    source.psql("postgres", "CREATE DATABASE erp");
    source.psql(
        "erp",
        "CREATE EXTENSION pg_migrate_refs; INSERT INTO refs VALUES (1001), (1002)",
    );
    let project = Project::between(&source, &target);
    let check = project.run(&["check"]).expect_code(0);
    let said = [check.stdout, check.stderr].concat();
    assert!(said.contains("target/extension-configuration"), "{said}");
    project.run(&["run"]).expect_code(0);
    assert_eq!(
        target.psql("erp", "SELECT count(*) FROM refs WHERE id > 1000"),
        "2"
    );
}
