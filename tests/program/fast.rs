//! `verify.mode = "fast"`: estimates warn, delayed tables are counted all the same.

use serde_json::Value;

use crate::support::compare;
use crate::support::project::Project;
use crate::support::server::Server;

/// A table whose estimate is right, one whose estimate is out of date, one that was not analyzed, an empty one, and
/// one to delay, whose estimate is wrong too.
const SCHEMA: &str = "
    CREATE TABLE known AS SELECT generate_series(1, 500) AS id;
    CREATE TABLE outdated AS SELECT generate_series(1, 100) AS id;
    CREATE TABLE hollow (id int);
    CREATE TABLE \"Late\" AS SELECT generate_series(1, 700) AS id;
    ANALYZE;
    INSERT INTO outdated SELECT generate_series(101, 900);
    INSERT INTO \"Late\" SELECT generate_series(701, 5000);
    CREATE TABLE unknown AS SELECT generate_series(1, 300) AS id;
";

fn servers(from: u32) -> (Server, Server) {
    // So that nothing is analyzed in between.
    let source = Server::of(from).set("autovacuum", "off").start();
    let target = Server::of(18).set("log_statement", "all").start();
    source.psql("postgres", "CREATE DATABASE erp");
    source.psql("erp", SCHEMA);
    source.psql("postgres", "ALTER SYSTEM SET log_statement = 'all'");
    source.psql("postgres", "SELECT pg_reload_conf()");
    (source, target)
}

fn fast(source: &Server, target: &Server, snapshot: &str) -> Project {
    Project::between(source, target).with(&format!(
        "[verify]\nmode = \"fast\"\n[delay]\ntable_data = [\"erp.Late\"]\nsnapshot = \"{snapshot}\"\n"
    ))
}

/// Source rows, target rows, and whether they count as a match.
fn rows(report: &Value, name: &str) -> (Value, Value, Value) {
    let tables = report["databases"][0]["tables"].as_array().unwrap();
    let of_name = tables.iter().find(|table| table["table"] == name);
    let table = of_name.unwrap_or_else(|| panic!("{name} is not in the report: {report:#}"));
    let field = |key: &str| table[key].clone();
    (field("source_rows"), field("target_rows"), field("match"))
}

/// Statements of one step's sessions by the server's log.
fn statements<'a>(log: &'a str, step: &str, text: &str) -> Vec<&'a str> {
    log.lines()
        .filter(|line| line.contains(&format!("pg-migrate/test/erp/{step}#")))
        .filter(|line| line.contains(text))
        .collect()
}

fn estimates_warn(from: u32, snapshot: &str) {
    let (source, target) = servers(from);
    let project = fast(&source, &target, snapshot);
    let finished = project.run(&["run"]).expect_code(0);
    compare::assert_same(&source, &target, "erp");

    let report = project.report();
    assert_eq!(report["outcome"], "completed");
    let yes = Value::from(true);
    assert_eq!(
        rows(&report, "known"),
        (500.into(), 500.into(), yes.clone())
    );
    // The estimate of the source is older than its rows; the target's is not a copy of it.
    assert_eq!(
        rows(&report, "outdated"),
        (100.into(), 900.into(), yes.clone())
    );
    // Exact, and of the snapshot that was dumped, although the estimate is 700.
    assert_eq!(
        rows(&report, "Late"),
        (5000.into(), 5000.into(), yes.clone())
    );
    // Unknown, and not zero. Since 14, zero is known to be zero.
    let hollow = if from >= 14 {
        Value::from(0)
    } else {
        Value::Null
    };
    assert_eq!(
        rows(&report, "unknown"),
        (Value::Null, 300.into(), yes.clone())
    );
    assert_eq!(rows(&report, "hollow"), (hollow, 0.into(), yes));

    let warnings = report["databases"][0]["warnings"].to_string();
    for words in [
        "public.outdated: 100 rows on the source, 900 on the target",
        "public.unknown: unknown rows on the source, 300 on the target",
    ] {
        assert!(warnings.contains(words), "{words}: {warnings}");
        assert!(finished.stderr.contains(words), "{}", finished.stderr);
    }
    for table in ["public.known", "Late"] {
        assert!(!warnings.contains(table), "{table}: {warnings}");
    }

    // One query a side, and one count of the delayed table, which has to be empty yet on the target. Large objects have no
    // estimate.
    let (there, here) = (source.log(), target.log());
    assert_eq!(statements(&there, "source-counts", "reltuples").len(), 1);
    assert_eq!(
        statements(&here, "target-counts", "pg_stat_get_live_tuples").len(),
        1
    );
    assert_eq!(
        statements(&here, "target-counts", "count(*) FROM ONLY").len(),
        1
    );
    let counts = statements(&there, "source-counts", "count(*) FROM ONLY").len();
    assert_eq!(counts, usize::from(snapshot == "same"));

    // The command of the same name goes by the same rules.
    let verified = project.run(&["verify"]).expect_code(0);
    assert!(verified.stdout.contains("outdated"), "{}", verified.stdout);
    target.psql("erp", "DELETE FROM outdated WHERE id > 890");
    project.run(&["verify"]).expect_code(0);
    target.psql("erp", "DELETE FROM \"Late\" WHERE id = 17");
    let differs = project.run(&["verify"]).expect_code(5);
    assert!(differs.stdout.contains("Late"), "{}", differs.stdout);
}

#[test]
fn estimates_warn_and_delayed_tables_are_exact_from_10_to_18() {
    estimates_warn(10, "same");
}

#[test]
fn estimates_warn_and_delayed_tables_are_exact_from_16_to_18() {
    estimates_warn(16, "later");
}

#[test]
fn a_missing_table_is_a_difference_however_fast() {
    let (source, target) = servers(16);
    let project = Project::between(&source, &target).with("[verify]\nmode = \"fast\"\n");
    project.run(&["run"]).expect_code(0);
    target.psql("erp", "DROP TABLE hollow");
    let differs = project.run(&["verify"]).expect_code(5);
    assert!(differs.stdout.contains("hollow"), "{}", differs.stdout);
}

/// The plan asks for more than what a run before it found out.
#[test]
fn estimates_do_not_decide_where_the_plan_says_exact_now() {
    let (source, target) = (Server::start(16), Server::start(18));
    source.psql("postgres", "CREATE DATABASE erp");
    let many = "CREATE TABLE many AS SELECT generate_series(1, 1000) AS id";
    source.psql("erp", many);
    source.psql("erp", "ANALYZE");
    let project = Project::between(&source, &target).with("[verify]\nmode = \"fast\"\n");
    project.killed_at("erp/target-counts start:1");
    target.psql("erp", "DELETE FROM many WHERE id > 400");
    // So that nothing but the count shows it.
    target.psql("erp", "SELECT pg_stat_reset()");
    let exact = project.text().replace("\"fast\"", "\"exact\"");
    let project = project.plan_text(&exact);
    project.run(&["run"]).expect_code(0);
    compare::assert_same(&source, &target, "erp");
    assert_eq!(rows(&project.report(), "many").1, 1000);
}

/// What is advised leads to the end, either way.
#[test]
fn what_was_verified_with_estimates_is_not_verified_again_as_if_it_were_counted() {
    let (source, target) = (Server::start(16), Server::start(18));
    source.psql("postgres", "CREATE DATABASE erp");
    source.psql("erp", "CREATE TABLE many AS SELECT 1 AS id");
    let project = Project::between(&source, &target).with("[verify]\nmode = \"fast\"\n");
    project.run(&["run"]).expect_code(0);
    project.run(&["reset", "--step", "verify"]).expect_code(0);
    let fast = project.text();
    let project = project.plan_text(&fast.replace("\"fast\"", "\"exact\""));
    let told = [
        "there are only estimates",
        "set verify.mode = \"fast\" again",
        "reset PLAN --database erp --drop erp",
    ];
    project.run(&["run"]).expect_code(4).expect_words(&told);
    let project = project.plan_text(&fast);
    project.run(&["run"]).expect_code(0);
    let project = project.plan_text(&fast.replace("\"fast\"", "\"exact\""));
    project.run(&["verify"]).expect_code(0);
    project
        .run(&["reset", "--database", "erp", "--drop", "erp"])
        .expect_code(0);
    project.run(&["run"]).expect_code(0);
    assert_eq!(rows(&project.report(), "many").1, 1);
}
