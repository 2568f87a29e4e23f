//! Functions of owners that the planner would call for whoever counts the rows of their tables.

use crate::support::project::Project;
use crate::support::server::Server;
use crate::support::thief;

#[test]
fn no_function_of_an_index_is_called_by_who_counts() {
    let (source, target) = (Server::start(16), Server::start(18));
    thief::enter(&source);
    source.psql("postgres", "CREATE DATABASE erp");
    source.psql("erp", "GRANT CREATE ON DATABASE erp TO mallory");
    let tables = "
        CREATE TYPE evil.mood AS ENUM ('sad', 'glad');
        CREATE TABLE evil.t (a int, word text, small int2 GENERATED ALWAYS AS (1) STORED);
        INSERT INTO evil.t SELECT n, E'two\\nlines \\\\n' FROM generate_series(1, 100) n;
        CREATE INDEX ON evil.t ((evil.constant('index')));
        CREATE TABLE evil.conditional (mood evil.mood, a int);
        INSERT INTO evil.conditional SELECT 'sad', n FROM generate_series(1, 50) n;
        CREATE INDEX ON evil.conditional (a) WHERE a > evil.constant('condition');
        CREATE TABLE evil.moody (mood evil.mood);
        INSERT INTO evil.moody VALUES ('sad'), ('glad');
        CREATE INDEX ON evil.moody (mood) WHERE mood = 'sad';
        CREATE TABLE evil.measured (a int, b int);
        INSERT INTO evil.measured SELECT n, n FROM generate_series(1, 25) n;
        CREATE STATISTICS evil.s ON (a + evil.constant('statistics')), b FROM evil.measured;
        CREATE MATERIALIZED VIEW evil.seen AS SELECT generate_series(1, 7) AS a;
        CREATE INDEX ON evil.seen ((evil.constant('view')));
        CREATE TABLE evil.nothing ();
        INSERT INTO evil.nothing DEFAULT VALUES;
        CREATE INDEX ON evil.nothing ((evil.constant('nothing')))";
    let sql = format!("SET ROLE mallory; {}; {tables}", thief::FUNCTIONS);
    source.psql("erp", &sql);
    let project = Project::between(&source, &target);
    for verb in [
        &["check"][..],
        &["plan", "--dry-run"],
        &["run"],
        &["run"],
        &["verify"],
    ] {
        project.run(verb).expect_code(0);
        for server in [&source, &target] {
            assert!(!thief::has_taken(server), "{verb:?}: {}", server.log());
        }
    }
    for (table, rows) in [
        ("t", 100),
        ("conditional", 50),
        ("moody", 2),
        ("measured", 25),
        ("nothing", 1),
    ] {
        let report = project.report().to_string();
        let counted = format!("\"source_rows\":{rows},\"target_rows\":{rows}");
        assert!(report.contains(&counted), "{table}: {report}");
    }
    // A difference is seen in these as well.
    target.psql("erp", "COPY evil.t (a) FROM PROGRAM 'echo 1'");
    project.run(&["verify"]).expect_code(5);
    assert!(!thief::has_taken(&source));
    target.psql("erp", "SELECT count(*) FROM evil.t");
    assert!(thief::has_taken(&target), "the index takes nothing");
}
