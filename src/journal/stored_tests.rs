use insta::assert_snapshot;

use super::*;
use crate::graph::Graph;
use crate::graph::tests::synthetic::{Case, database};
use crate::graph::{Tuning, TuningSetting};
use crate::report::plan_json;

fn case() -> Case {
    Case::new(
        "",
        vec![database("Weird / Name", 1, 1), database("crm", 2, 3)],
    )
}

fn basis() -> Basis {
    Basis {
        plan: Keys::from([("dump.keep".into(), "false".into())]),
        source: (Some("1".into()), "10".into()),
        target: (Some("2".into()), "18".into()),
    }
}

/// The graph, written and read again.
fn stored(graph: &Graph, sealed: bool) -> Stored {
    let directory = tempfile::tempdir().unwrap();
    write(
        directory.path(),
        &plan_json::render(graph),
        &basis(),
        sealed,
    )
    .unwrap();
    read(directory.path()).unwrap().expect("it was written")
}

#[test]
fn what_is_written_is_read() {
    let graph = case().compile();
    for sealed in [true, false] {
        let stored = stored(&graph, sealed);
        assert_eq!(stored.fingerprint, graph.fingerprint);
        assert_eq!(stored.sealed, sealed);
        assert_eq!(stored.basis, basis());
        assert_eq!(stored.databases, graph.databases);
        let shape = |steps: &[Step]| -> Vec<(StepId, Vec<StepIndex>)> {
            steps
                .iter()
                .map(|step| (step.id.clone(), step.needs.clone()))
                .collect()
        };
        assert_eq!(shape(&stored.steps), shape(&graph.steps));
    }
}

#[test]
fn where_nothing_was_written_there_is_nothing() {
    let directory = tempfile::tempdir().unwrap();
    assert_eq!(read(directory.path()).unwrap(), None);
}

#[test]
fn a_damaged_file_is_named() {
    let directory = tempfile::tempdir().unwrap();
    for text in ["", "{\"fingerprint\": \"sha256:0\"}", "\0\0"] {
        std::fs::write(path(directory.path()), text).unwrap();
        let error = read(directory.path()).unwrap_err();
        assert!(error.to_string().contains("plan.json"), "{error}");
    }
}

#[test]
fn no_other_user_can_read_it_and_the_old_one_stays_where_it_cannot_be_written() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().unwrap();
    let json = plan_json::render(&case().compile());
    write(directory.path(), &json, &basis(), true).unwrap();
    let mode = std::fs::metadata(path(directory.path()))
        .unwrap()
        .permissions();
    assert_eq!(mode.mode() & 0o777, 0o600);

    let damaged = write(directory.path(), "not JSON", &basis(), false);
    assert!(matches!(damaged, Err(Error::Damaged { .. })));
    assert!(read(directory.path()).unwrap().unwrap().sealed);
}

#[test]
fn the_same_servers_and_plan_do_not_drift() {
    let graph = case().compile();
    assert_eq!(
        stored(&graph, true).drift(&graph, &basis()),
        Vec::<String>::new()
    );
}

#[test]
fn sizes_and_free_connections_are_no_drift() {
    let before = stored(&case().compile(), true);
    let mut case = case();
    case.inspection.source.databases[0].bytes = Some(9 << 30);
    case.inspection.target.used_connections = 70;
    assert_eq!(
        before.drift(&case.compile(), &basis()),
        Vec::<String>::new()
    );
}

#[test]
fn everything_that_drifted_is_said_at_once() {
    let mut before = stored(&case().compile(), true);
    before.databases[1].delayed = ["public.events", "public.log"]
        .map(|table| table.parse().unwrap())
        .to_vec();
    let mut case = case();
    case.inspection.source.databases[0].name = "new one".into();
    let now = Basis {
        plan: Keys::from([("dump.keep".into(), "true".into())]),
        source: (Some("3".into()), "12".into()),
        target: (None, "18".into()),
    };
    assert_snapshot!(before.drift(&case.compile(), &now).join("\n"), @r#"
    the plan file: dump.keep was false, now it is true
    the source is another server: its system identifier was 1, now it is 3
    the source's version was 10, now it is 12
    the target is another server: its system identifier was 2, now it is unknown
    the database "new one" is new
    the delayed tables of "crm" were [public.events, public.log], now they are []
    the database "Weird / Name" does not migrate any more
    "#);
}

#[test]
fn settings_that_reach_further_than_what_was_sealed_are_drift() {
    let mut graph = case().compile();
    let setting = |name: &str, value: &str, reach| TuningSetting {
        name: name.into(),
        value: value.into(),
        reach,
    };
    let tuning = |settings| {
        Some(Tuning {
            settings,
            maintenance_work_mem: None,
        })
    };
    graph.tuning = tuning(vec![
        setting("max_wal_size", "8GB", Reach::System),
        setting("synchronous_commit", "off", Reach::Session),
    ]);
    let before = stored(&graph, true);
    assert_eq!(before.drift(&graph, &basis()), Vec::<String>::new());
    graph.tuning = tuning(vec![
        setting("fsync", "off", Reach::System),
        setting("synchronous_commit", "off", Reach::Both),
    ]);
    assert_snapshot!(before.drift(&graph, &basis()).join("\n"), @r"
    the target's fsync was to be set nowhere, now in the whole server
    the target's max_wal_size was to be set in the whole server, now nowhere
    the target's synchronous_commit was to be set in the run's own sessions, now in the whole server
    ");
}

#[test]
fn steps_of_another_version_of_the_program_are_drift() {
    let graph = case().compile();
    let mut before = stored(&graph, true);
    before.fingerprint = "sha256:0".into();
    assert_eq!(
        before.drift(&graph, &basis()),
        ["the steps are different: the plan was compiled by another version of pg-migrate"]
    );
}
