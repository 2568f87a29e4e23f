//! compose.yml and what it mounts. No container is started here.

use std::process::Command;

use serde_json::Value;

use crate::support::place::{self, repository};
use crate::support::server::{Server, run_with_input};

/// `docker-compose config` of compose.yml; `None` where there is no docker-compose and this is not CI.
#[expect(clippy::disallowed_methods, reason = "the tests start docker-compose")]
fn compose_config(variables: &[(&str, &str)]) -> Option<Result<String, String>> {
    if !place::compose_is_there() {
        assert!(
            std::env::var_os("CI").is_none(),
            "docker-compose is not installed"
        );
        eprintln!("skipped: docker-compose is not installed");
        return None;
    }
    let mut compose = Command::new("docker-compose");
    compose
        .args(["-f", "compose.yml", "config"])
        .current_dir(repository())
        .env_remove("SOURCE_PASSWORD")
        .env_remove("TARGET_PASSWORD")
        .envs(variables.iter().copied());
    Some(run_with_input(compose, ""))
}

#[test]
fn docker_compose_accepts_the_file() {
    let passwords = [("SOURCE_PASSWORD", "old"), ("TARGET_PASSWORD", "new")];
    let Some(config) = compose_config(&passwords) else {
        return;
    };
    let config = config.unwrap();
    assert_eq!(
        config.matches("condition: service_healthy").count(),
        2,
        "{config}"
    );
    for image in ["image: postgres:9.5", "image: postgres:18"] {
        assert!(config.contains(image), "{config}");
    }
}

#[test]
fn docker_compose_asks_for_the_passwords() {
    let Some(config) = compose_config(&[("TARGET_PASSWORD", "new")]) else {
        return;
    };
    let error = config.unwrap_err();
    assert!(
        error.contains("set it to a password for the source"),
        "{error}"
    );
}

#[test]
fn the_source_of_compose_holds_what_its_plan_delays() {
    // The oldest server that can be had without containers; the file keeps to what 9.5 knows.
    let source = Server::start(10);
    source.psql(
        "postgres",
        include_str!("../../examples/container/source.sql"),
    );
    let tables = |database| {
        source.psql(
            database,
            "SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1",
        )
    };
    assert_eq!(tables("pdb1"), "table1\ntable2\ntable3");
    assert_eq!(tables("pdb2"), "other\ntable1\ntable2");

    let plan: Value = toml::from_str(include_str!("../../examples/compose.toml")).unwrap();
    assert_eq!(
        plan["delay"]["table_data"],
        serde_json::json!(["pdb1.table3", "pdb2.table*"])
    );
}
