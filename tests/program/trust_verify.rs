//! What `verify` and `status` say is true.

use crate::support::open::still_open;
use crate::support::project::Project;
use crate::support::server::Server;

/// A foreign key that cannot be made: an orphan is behind it.
fn failed_restore() -> (Server, Server, Project) {
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
    project.run(&["run"]).expect_code(4);
    (source, target, project)
}

#[test]
fn verify_after_a_failed_restore_names_its_errors() {
    still_open("verify is silent", || {
        let (_source, _target, project) = failed_restore();
        let finished = project.run(&["verify"]);
        let said = [finished.stdout, finished.stderr].concat();
        assert!(said.contains("restore error"), "verify is silent: {said}");
    });
}

/// The advice after a failed restore leads to the end when it is followed.
#[test]
fn what_a_failed_restore_advises_helps() {
    still_open("children_parent_fkey", || {
        let (source, _target, project) = failed_restore();
        let advice = project.run(&["run"]).stdout;
        assert!(!advice.contains("fix the cause on the source and run again"));
        source.psql(
            "erp",
            "SET session_replication_role = replica; DELETE FROM children",
        );
        project.run(&["run"]).expect_code(0);
    });
}

#[test]
fn status_after_a_reset_tells_of_no_kill() {
    still_open("killed", || {
        let (source, target) = (Server::start(16), Server::start(18));
        source.psql("postgres", "CREATE DATABASE erp");
        let project = Project::between(&source, &target);
        project.run(&["run"]).expect_code(0);
        project
            .run(&["reset", "--database", "erp", "--drop", "erp"])
            .expect_code(0);
        let status = project.run(&["status"]);
        let said = [status.stdout, status.stderr].concat();
        assert!(!said.contains("killed"), "{said}");
    });
}
