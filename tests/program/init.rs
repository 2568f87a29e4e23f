//! `init` takes the reference tool's flags by name, and what it writes does the same.

use std::fs;

use serde_json::{Value, json};

use crate::support::project::{Finished, Project};
use crate::support::server::Server;
use crate::support::{compare, fill};

/// The plan that `init` writes for these flags, as data.
fn written(project: &Project, flags: &[&str]) -> Value {
    let Finished { stdout, .. } = project
        .run_without_plan(&[&["init"], flags].concat())
        .expect_code(0);
    toml::from_str(&stdout).unwrap_or_else(|error| panic!("{error}\n{stdout}"))
}

#[test]
fn every_flag_of_the_reference_tool_goes_into_the_plan() {
    let (source, target) = (Server::start(16), Server::start(18));
    let project = Project::between(&source, &target);
    for (flags, pointer, value) in [
        (&["--from-host", "old"][..], "/source/host", json!("old")),
        (&["--from-port", "5444"], "/source/port", json!(5444)),
        (&["--from-user", "reader"], "/source/user", json!("reader")),
        (&["--from-db", "first"], "/source/database", json!("first")),
        (&["--to-host", "new"], "/target/host", json!("new")),
        (&["--to-port", "5445"], "/target/port", json!(5445)),
        (&["--to-user", "mover"], "/target/user", json!("mover")),
        (&["--to-db", "second"], "/target/database", json!("second")),
        (
            &["--max-parallel", "3"],
            "/parallelism/max_parallel",
            json!(3),
        ),
        (&["-p", "4"], "/parallelism/max_parallel", json!(4)),
        (
            &["--dump-parallel", "2"],
            "/parallelism/dump_parallel",
            json!(2),
        ),
        (
            &["--restore-parallel", "5"],
            "/parallelism/restore_parallel",
            json!(5),
        ),
        (&["--dump-jobs", "7"], "/parallelism/dump_jobs", json!(7)),
        (
            &["--restore-jobs", "8"],
            "/parallelism/restore_jobs",
            json!(8),
        ),
        (
            &["--verify-concurrency", "9"],
            "/parallelism/verify_concurrency",
            json!(9),
        ),
        (
            &["--dump-root", "/big/disk"],
            "/dump/root",
            json!("/big/disk"),
        ),
        (
            &["--migrate-globals=false"],
            "/globals/migrate",
            json!(false),
        ),
        (
            &["--disable-dst-optimizations"],
            "/target/tuning/mode",
            json!("off"),
        ),
        (&["--fast-verify"], "/verify/mode", json!("fast")),
        (
            &[
                "--delay-table-data",
                "mydb.fact_*",
                "--delay-table-data",
                "mydb.public.e?",
            ],
            "/delay/table_data",
            json!(["mydb.fact_*", "mydb.public.e?"]),
        ),
    ] {
        let plan = written(&project, flags);
        assert_eq!(plan.pointer(pointer), Some(&value), "{flags:?}\n{plan:#}");
        // The others stay at their defaults, which the plan shows in comments.
        let without = written(&project, &[]);
        assert_eq!(without.pointer(pointer), None, "{pointer}");
    }
    // A password is in no plan and on no command line.
    for flag in ["--from-pass", "--to-pass"] {
        project
            .run_without_plan(&["init", flag, "secret"])
            .expect_code(2);
    }
    let plan = written(&project, &[]);
    assert_eq!(
        plan["source"]["password"],
        json!({"env": "SOURCE_PASSWORD"})
    );
    assert_eq!(
        plan["target"]["password"],
        json!({"env": "TARGET_PASSWORD"})
    );
}

#[test]
fn the_plan_of_an_old_command_line_migrates() {
    let (source, target) = (Server::start(12), Server::of(18).durable().start());
    let databases = fill::plain(&source, 2, 50);
    let project = Project::between(&source, &target);
    let (from, to) = (source.port().to_string(), target.port().to_string());
    let root = project.directory().join("archives");
    let root = root.to_str().unwrap();
    let flags = [
        "init",
        "--from-host",
        "127.0.0.1",
        "--from-port",
        &from,
        "--to-host",
        "127.0.0.1",
        "--to-port",
        &to,
        "--max-parallel",
        "6",
        "--dump-jobs",
        "24",
        "--restore-jobs",
        "12",
        "--dump-root",
        root,
        "--delay-table-data",
        "db1.table3",
        "--delay-table-data",
        "db2.table*",
        "--fast-verify",
        "--look",
        "--out",
        "old.toml",
    ];
    project.run_without_plan(&flags).expect_code(0);
    let file = project.directory().join("old.toml");
    let text = fs::read_to_string(&file).unwrap();
    // It looked at the source.
    assert!(text.contains("\"db2\", "), "{text}");
    // A plan that is there is left alone.
    project.run_without_plan(&flags).expect_code(2);
    assert_eq!(fs::read_to_string(&file).unwrap(), text);

    project
        .run_without_plan(&["run", "old.toml"])
        .expect_code(0);
    for database in databases {
        compare::assert_same(&source, &target, &database);
    }
    // The archives were below --dump-root, and are gone.
    assert_eq!(fs::read_dir(root).unwrap().count(), 0);
}
