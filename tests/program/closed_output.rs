//! What is printed is a courtesy: whether it can be printed does not decide what is done, nor how it ended.

use crate::support::compare;
use crate::support::project::{Outlet, Project};
use crate::support::server::Server;

const OUTLETS: [Outlet; 2] = [Outlet::GonePipe, Outlet::FullDisk];

fn erp(target: Server) -> (Server, Server) {
    let source = Server::start(16);
    source.psql("postgres", "CREATE DATABASE erp");
    source.psql(
        "erp",
        "CREATE TABLE t AS SELECT generate_series(1, 100) AS id",
    );
    (source, target)
}

#[test]
fn a_migration_completes_though_nothing_can_be_printed() {
    for outlet in OUTLETS {
        let (source, target) = erp(Server::start(18));
        let project = Project::between(&source, &target).printing_to(outlet);
        project.run(&["run"]).expect_code(0);
        assert_eq!(project.report()["outcome"], "completed", "{outlet:?}");
        compare::assert_same(&source, &target, "erp");
        project.run(&["run"]).expect_code(0);
        project
            .run(&["reset", "--database", "erp", "--drop", "erp"])
            .expect_code(0);
        project.run(&["run"]).expect_code(0);
        compare::assert_same(&source, &target, "erp");
        // What was asked for and is lost on the way to a disk is an error, and no panic.
        let code = if outlet == Outlet::FullDisk { 1 } else { 0 };
        project.run(&["status"]).expect_code(code);
        project.run(&["plan", "--dry-run"]).expect_code(code);
    }
}

/// It says what it is about to do before it does it.
#[test]
fn settings_are_restored_though_nothing_can_be_printed() {
    for outlet in OUTLETS {
        let (source, target) = erp(Server::of(18).durable().start());
        let fsync = || target.psql("postgres", "SHOW fsync");
        let project = Project::between(&source, &target).printing_to(outlet);
        let point = "journal step-done erp/create synced:1";
        let kill = || {
            project.killed_at(point);
            assert_eq!(fsync(), "off");
        };
        kill();
        project.run(&["revert"]).expect_code(0);
        assert_eq!(fsync(), "on", "{outlet:?}");
        target.psql("postgres", "DROP DATABASE erp");
        kill();
        project.run(&["run"]).expect_code(0);
        assert_eq!(fsync(), "on", "{outlet:?}");
        compare::assert_same(&source, &target, "erp");
    }
}

/// A refusal and a failure have their own exit codes.
#[test]
fn exit_codes_are_the_same_though_nothing_can_be_printed() {
    for outlet in OUTLETS {
        let (source, target) = erp(Server::start(18));
        target.psql("postgres", "CREATE DATABASE erp");
        target.psql("erp", "CREATE TABLE theirs (id int)");
        let project = Project::between(&source, &target).printing_to(outlet);
        project.run(&["run"]).expect_code(3);
        target.psql("postgres", "DROP DATABASE erp");
        source.psql("postgres", "CREATE ROLE absent");
        source.psql("erp", "GRANT SELECT ON t TO absent");
        let project = project.with("[globals]\nmigrate = false\n");
        project.run(&["run"]).expect_code(4);
        let wrong = project.text().replace("[source]", "[sauce]");
        project.plan_text(&wrong).run(&["run"]).expect_code(2);
    }
}
