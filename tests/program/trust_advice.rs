//! What an error says to do leads to the end: each is done here as it is written.

use std::fs;

use crate::support::compare;
use crate::support::project::Project;
use crate::support::server::Server;

const CUSTOMERS: &str = "
    CREATE TABLE customers (id int PRIMARY KEY);
    CREATE TABLE orders (id int PRIMARY KEY, customer int NOT NULL REFERENCES customers);
    INSERT INTO customers SELECT generate_series(1, 100);
    INSERT INTO orders SELECT n, 1 + n % 100 FROM generate_series(1, 1000) n";

/// A run of which `erp.orders` is delayed, killed at this point.
fn killed(point: &str, more: &str) -> (Server, Server, Project) {
    let (source, target) = (Server::start(16), Server::start(18));
    source.psql("postgres", "CREATE DATABASE erp");
    source.psql("erp", CUSTOMERS);
    let delay = format!("[delay]\ntable_data = [\"erp.orders\"]\n{more}");
    let project = Project::between(&source, &target).with(&delay);
    project.killed_at(point);
    (source, target, project)
}

const VERIFIED: &str = "journal step-done erp/verify synced:1";

#[test]
fn rows_without_parents_are_deleted_or_get_their_parents() {
    let advice = "insert the parents on the target, or delete these rows there, and run again";
    for correction in [
        "INSERT INTO customers VALUES (101)",
        "DELETE FROM orders WHERE customer = 101",
    ] {
        let (source, target, project) = killed(VERIFIED, "snapshot = \"later\"\n");
        source.psql(
            "erp",
            "INSERT INTO customers VALUES (101); INSERT INTO orders VALUES (1001, 101)",
        );
        let told = project.run(&["run"]).expect_code(5);
        told.says(&[advice]);
        target.psql("erp", correction);
        project.run(&["run"]).expect_code(0);
        assert_eq!(
            target.psql("erp", "SELECT count(*) FROM orders WHERE customer = 101"),
            target.psql("erp", "SELECT count(*) FROM customers WHERE id = 101"),
        );
    }
}

#[test]
fn rows_of_clients_that_have_keys_of_the_source_are_renumbered_or_removed() {
    let advice = "remove or renumber the rows that have keys of the source, and run again";
    for (correction, rows) in [
        ("UPDATE orders SET id = 2000", "1001"),
        ("DELETE FROM orders", "1000"),
    ] {
        let (_source, target, project) = killed(VERIFIED, "[target.tuning]\nmode = \"safe\"\n");
        target.psql("erp", "INSERT INTO orders VALUES (7, 1)");
        let told = project.run(&["run"]).expect_code(4);
        told.says(&[advice]);
        target.psql("erp", correction);
        project.run(&["run"]).expect_code(0);
        assert_eq!(target.psql("erp", "SELECT count(*) FROM orders"), rows);
    }
}

#[test]
fn rows_in_a_delayed_table_that_is_not_loaded_yet_are_deleted() {
    let (source, target, project) = killed("journal step-done erp/restore synced:1", "");
    target.psql("erp", "INSERT INTO orders VALUES (7, 1)");
    let told = project.run(&["run"]);
    assert_ne!(told.code, Some(0));
    told.says(&["delete them there, and run again: the target is counted again"]);
    target.psql("erp", "DELETE FROM orders");
    project.run(&["run"]).expect_code(0);
    compare::assert_same(&source, &target, "erp");
}

#[test]
fn a_directory_of_archives_that_is_not_ours_is_removed_or_left() {
    let advice = "choose another dump.root or another name of the plan, or remove the directory";
    let (source, target) = (Server::start(16), Server::start(18));
    source.psql("postgres", "CREATE DATABASE erp");
    source.psql("erp", CUSTOMERS);
    let project = Project::between(&source, &target);
    let directory = project.directory().join("pg_dumps").join("test");
    fs::create_dir_all(&directory).unwrap();
    fs::write(directory.join("of a person"), "").unwrap();
    let told = project.run(&["run"]).expect_code(3);
    told.says(&[advice]);
    fs::remove_dir_all(&directory).unwrap();
    project.run(&["run"]).expect_code(0);
    compare::assert_same(&source, &target, "erp");
}

#[test]
fn a_configuration_that_the_target_cannot_read_is_fixed() {
    let (source, target) = (Server::start(16), Server::start(18));
    source.psql("postgres", "CREATE DATABASE erp");
    source.psql("erp", CUSTOMERS);
    let file = target.psql("postgres", "SHOW config_file");
    let before = fs::read_to_string(&file).unwrap();
    fs::write(&file, format!("{before}\nwork_mem = = 7\n")).unwrap();
    let project = Project::between(&source, &target);
    let told = project.run(&["run"]);
    assert!(matches!(told.code, Some(3 | 4)), "{}", told.stderr);
    told.says(&["fix the file there, and run again"]);
    fs::write(&file, before).unwrap();
    project.run(&["run"]).expect_code(0);
    compare::assert_same(&source, &target, "erp");
}
