//! Large objects, which no count of rows shows: what removes those that no row refers to yet is noticed.

use std::fs;

use crate::support::project::{Project, waiver};
use crate::support::server::Server;

const DOCS: &str = "
    CREATE TABLE docs (id serial PRIMARY KEY, title text, content oid);
    INSERT INTO docs (title, content)
        SELECT 'doc ' || n, lo_from_bytea(0, convert_to('contents ' || n, 'UTF8')) FROM generate_series(1, 40) n;
    CREATE INDEX ON docs (title);
    CREATE TABLE misc AS SELECT generate_series(1, 10) AS id";

const DELAYED: &str = "[delay]\ntable_data = [\"erp.docs\"]\n";

fn servers() -> (Server, Server) {
    let (source, target) = (Server::start(16), Server::start(18));
    source.psql("postgres", "CREATE DATABASE erp");
    source.psql("erp", DOCS);
    (source, target)
}

/// As vacuumlo does: what no row refers to.
fn vacuumlo(server: &Server) {
    server.psql(
        "erp",
        "SELECT count(lo_unlink(m.oid)) FROM pg_largeobject_metadata m
         WHERE NOT EXISTS (SELECT FROM docs WHERE content = m.oid)",
    );
}

fn killed_after(project: &Project, step: &str) {
    project.killed_at(&format!("journal step-done erp/{step} synced:1"));
}

fn objects(server: &Server) -> String {
    server.psql("erp", "SELECT count(*) FROM pg_largeobject_metadata")
}

#[test]
fn large_objects_that_are_gone_before_the_verification_are_a_difference() {
    let (source, target) = servers();
    let project = Project::between(&source, &target);
    killed_after(&project, "restore");
    target.psql(
        "erp",
        "SELECT count(lo_unlink(oid)) FROM (SELECT oid FROM pg_largeobject_metadata LIMIT 30) m",
    );
    let told = [
        "large objects: 30 of 40 are missing on the target (vacuumlo",
        "keep vacuumlo",
        "pg_catalog.pg_largeobject_metadata: 40 rows on the source, 10 rows on the target",
    ];
    project.run(&["run"]).expect_code(5).says(&told);
    let report = project.report();
    let tables = report["databases"][0]["tables"].as_array().unwrap();
    let row = tables.iter().find(|row| row["schema"] == "pg_catalog");
    let row = row.expect("large objects are among the tables");
    assert_eq!(row["table"], "pg_largeobject_metadata");
    assert_eq!(row["source_rows"], 40);
    assert_eq!(row["target_rows"], 10);
    assert_eq!(row["match"], false);
    project
        .run(&["verify"])
        .expect_code(5)
        .says(&[told[0], "how many large objects there are"]);
    project
        .run(&["reset", "--database", "erp", "--step", "create"])
        .expect_code(0);
    project.run(&["run"]).expect_code(0);
    assert_eq!(objects(&target), "40");
    project.run(&["verify"]).expect_code(0);
}

/// Somebody makes them again by hand: that stays a difference until a person stands for it.
#[test]
fn large_objects_that_were_missing_are_not_forgotten() {
    let (source, target) = servers();
    let project = Project::between(&source, &target);
    killed_after(&project, "restore");
    let one = target.psql("erp", "SELECT min(oid) FROM pg_largeobject_metadata");
    target.psql("erp", &format!("SELECT lo_unlink({one})"));
    project
        .run(&["run"])
        .expect_code(5)
        .says(&["1 of 40 are missing"]);
    target.psql("erp", &format!("SELECT lo_from_bytea({one}, 'contents 1')"));
    project.run(&["run"]).expect_code(5);
    let waived = project.with(&waiver("target/differed"));
    waived.run(&["run"]).expect_code(0);
}

#[test]
fn large_objects_of_a_delayed_table_that_are_gone_before_it_is_loaded_are_a_difference() {
    let (source, target) = servers();
    let project = Project::between(&source, &target).with(DELAYED);
    killed_after(&project, "drop-indexes");
    vacuumlo(&target);
    assert_eq!(objects(&target), "0");
    project.run(&["run"]).expect_code(5).says(&[
        "large objects: 40 of 40 are missing on the target (vacuumlo",
        "although no client may connect yet",
        "lo_from_bytea(oid, contents)",
    ]);
    assert_eq!(target.psql("erp", "SELECT count(*) FROM docs"), "40");
    project.run(&["run"]).expect_code(5);
    project.run(&["verify"]).expect_code(5);
}

/// Clients are in already: what they remove is theirs, and told, however many they make.
#[test]
fn large_objects_that_are_gone_from_a_database_in_use_are_told() {
    for (made, told) in [
        (
            0,
            "large objects: 40 of the 40 that were restored were removed on the target since",
        ),
        (
            50,
            "large objects: of the 40 that were restored, 40 are not there as they were: they were removed on the target since",
        ),
    ] {
        let (source, target) = servers();
        let open = [DELAYED, "[target.tuning]\nmode = \"off\"\n"].concat();
        let project = Project::between(&source, &target).with(&open);
        killed_after(&project, "drop-indexes");
        vacuumlo(&target);
        target.psql(
            "erp",
            &format!("SELECT count(lo_from_bytea(0, 'new')) FROM generate_series(1, {made})"),
        );
        project
            .run(&["run"])
            .expect_code(0)
            .says(&[told, "vacuumlo removes those that no row refers to yet"]);
        let report = project.report();
        let warnings = report["databases"][0]["warnings"].to_string();
        assert!(warnings.contains(told), "{warnings}");
        project
            .run(&["verify"])
            .expect_code(5)
            .says(&["large objects: "]);
    }
}

#[test]
fn large_objects_that_were_made_between_two_snapshots_are_a_difference() {
    for mode in ["fast", "off"] {
        let (source, target) = servers();
        let delay = "[delay]\ntable_data = [\"erp.docs\"]\nsnapshot = \"later\"\n";
        let plan = [delay, "[target.tuning]\nmode = \"", mode, "\"\n"].concat();
        let project = Project::between(&source, &target).with(&plan);
        killed_after(&project, "verify");
        let new = source.psql(
            "erp",
            "INSERT INTO docs (title, content) SELECT 'new', lo_from_bytea(0, 'new') FROM generate_series(1, 5) RETURNING content",
        );
        let told = "large objects: 5 of the 45 that the source had when its delayed tables were dumped did not arrive";
        project.run(&["run"]).expect_code(5).says(&[told]);
        assert_eq!(target.psql("erp", "SELECT count(*) FROM docs"), "45");
        // By the message's advice.
        for oid in new.lines() {
            target.psql("erp", &format!("SELECT lo_from_bytea({oid}, 'new')"));
        }
        project.run(&["run"]).expect_code(5);
        let corrected = project.with(&waiver("target/differed"));
        corrected.run(&["run"]).expect_code(0);
        assert!(
            corrected
                .report()
                .to_string()
                .contains("pg_largeobject_metadata: differed")
        );
        corrected.run(&["verify"]).expect_code(0);
    }
}

#[test]
fn large_objects_whose_rows_come_later_are_told_of_before() {
    let (source, target) = servers();
    source.psql(
        "erp",
        "CREATE DOMAIN lo AS oid; CREATE TABLE scans (id int, content lo); CREATE TABLE plain (id int)",
    );
    let told = "delay/large-objects: database \"erp\": ";
    let check = |delay: &str| {
        let project = Project::between(&source, &target).with(delay);
        project.run(&["check"]).expect_code(0).said()
    };
    let said = check("[delay]\ntable_data = [\"erp.*\"]\n");
    assert!(said.contains(told), "{said}");
    assert!(said.contains("come later: public.docs, public.scans; until then vacuumlo"));
    assert!(!said.contains("do not arrive"), "{said}");
    let said = check("[delay]\ntable_data = [\"erp.scans\"]\nsnapshot = \"later\"\n");
    assert!(said.contains("between the two dumps (delay.snapshot = \"later\") do not arrive"));
    let said = check("[delay]\ntable_data = [\"erp.plain\"]\n");
    assert!(!said.contains(told), "{said}");
}

/// A run that an earlier version began goes on.
#[test]
fn large_objects_that_an_earlier_version_did_not_count_are_not_compared() {
    let (source, target) = servers();
    let project = Project::between(&source, &target).with(DELAYED);
    killed_after(&project, "verify");
    let journal = project.state_directory().join("journal.jsonl");
    let text = fs::read_to_string(&journal).unwrap();
    let counted = ",\"large_objects\":40";
    assert_eq!(text.matches(counted).count(), 2);
    fs::write(&journal, text.replace(counted, "")).unwrap();
    project.run(&["run"]).expect_code(0);
    assert_eq!(objects(&target), "40");
    project.run(&["verify"]).expect_code(0);
}

/// As many as before: no count shows it, so it is told.
#[test]
fn large_objects_that_were_changed_between_two_snapshots_are_told() {
    let (source, target) = servers();
    let delay = "[delay]\ntable_data = [\"erp.docs\"]\nsnapshot = \"later\"\n";
    let project = Project::between(&source, &target).with(delay);
    killed_after(&project, "verify");
    source.psql(
        "erp",
        "SELECT lo_put(content, 0, 'CHANGED!') FROM docs WHERE id = 7",
    );
    let told = "all large objects: those that were made or changed in between are not there";
    project.run(&["run"]).expect_code(0).says(&[told]);
    let report = project.report().to_string();
    assert!(report.contains(told), "{report}");
    // What it is about.
    let contents = "SELECT convert_from(lo_get(content), 'UTF8') FROM docs WHERE id = 7";
    assert_eq!(target.psql("erp", contents), "contents 7");
}
