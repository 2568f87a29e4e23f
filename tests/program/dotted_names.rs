//! Tables whose schema and name, joined by a dot, read alike: `"a"."b.c"` and `"a.b"."c"`.

use std::ffi::OsStr;

use serde_json::Value;

use crate::support::compare;
use crate::support::project::Project;
use crate::support::server::Server;

const SCHEMA: &str = r#"
    CREATE SCHEMA a;
    CREATE SCHEMA "a.b";
    CREATE TABLE a."b.c" (id int PRIMARY KEY, what text);
    CREATE TABLE "a.b".c (id int PRIMARY KEY, what text);
    CREATE INDEX late ON a."b.c" (what);
    CREATE INDEX early ON "a.b".c (what);
    INSERT INTO a."b.c" SELECT n, 'late' FROM generate_series(1, 30) n;
    INSERT INTO "a.b".c SELECT n, 'early' FROM generate_series(1, 20) n;
"#;

fn migration(snapshot: &str) -> (Server, Server, Project) {
    let (source, target) = (Server::start(16), Server::start(18));
    source.psql("postgres", "CREATE DATABASE erp");
    source.psql("erp", SCHEMA);
    let project = Project::between(&source, &target).with(&format!(
        "[delay]\ntable_data = [\"erp.a.b?c\"]\nsnapshot = \"{snapshot}\"\n"
    ));
    (source, target, project)
}

/// Schema, name, rows on both sides and whether they match, of each table of the report.
fn tables(project: &Project) -> Vec<(String, String, Value, Value, bool)> {
    let report = project.report();
    let tables = report["databases"][0]["tables"].as_array().unwrap();
    let row = |table: &Value| {
        let text = |key: &str| table[key].as_str().unwrap().to_owned();
        (
            text("schema"),
            text("table"),
            table["source_rows"].clone(),
            table["target_rows"].clone(),
            table["match"] == true,
        )
    };
    tables.iter().map(row).collect()
}

fn row(
    schema: &str,
    table: &str,
    source: u64,
    target: u64,
) -> (String, String, Value, Value, bool) {
    (
        schema.into(),
        table.into(),
        source.into(),
        target.into(),
        source == target,
    )
}

#[test]
fn one_is_delayed_and_both_are_compared() {
    for snapshot in ["same", "later"] {
        let (source, target, project) = migration(snapshot);
        project.run(&["run"]).expect_code(0);
        compare::assert_same(&source, &target, "erp");
        let all = [row("a", "b.c", 30, 30), row("a.b", "c", 20, 20)];
        assert_eq!(tables(&project), all, "{snapshot}");
        let plan = project
            .run(&["plan", "--dry-run", "--format", "json"])
            .expect_code(0);
        let plan: Value = serde_json::from_str(&plan.stdout).unwrap();
        assert_eq!(
            plan["databases"][0]["delayed"],
            serde_json::json!([r#""a"."b.c""#])
        );
    }
}

#[test]
fn a_row_that_is_lost_in_either_is_found() {
    for (point, lost, all) in [
        (
            "journal step-done erp/restore synced:1",
            r#"DELETE FROM "a.b".c WHERE id = 7"#,
            vec![row("a.b", "c", 20, 19)],
        ),
        (
            "erp/delayed-restore to be kept:1",
            r#"DELETE FROM a."b.c" WHERE id = 7"#,
            vec![row("a", "b.c", 30, 29), row("a.b", "c", 20, 20)],
        ),
    ] {
        let (source, target, project) = migration("later");
        let killed = project.start_with(&["run"], &[("PG_MIGRATE_FAILPOINT", OsStr::new(point))]);
        assert_ne!(killed.wait().code, Some(0));
        target.psql("erp", lost);
        let finished = project.run(&["run"]).expect_code(5);
        let differs = all
            .iter()
            .find(|(_, _, source, target, _)| source != target);
        let (schema, table, ..) = differs.expect("one of them");
        let named = format!("\"{schema}\".\"{table}\"");
        assert!(finished.stderr.contains(&named), "{}", finished.stderr);
        let found = tables(&project);
        assert_eq!(found, all, "{point}");
        drop(source);
    }
}
