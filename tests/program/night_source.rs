//! The night around a run, on the side of the source: what a snapshot is worth there.

use crate::support::compare;
use crate::support::project::Project;
use crate::support::server::Server;

fn words(text: &str) -> String {
    let words = text.split_whitespace().filter(|word| *word != "│");
    words.collect::<Vec<_>>().join(" ")
}

fn fill(source: &Server) {
    source.psql("postgres", "CREATE DATABASE erp");
    source.psql(
        "erp",
        "CREATE TABLE t AS SELECT generate_series(1, 100) AS id",
    );
}

/// Sessions that imported a snapshot read what vacuum left, and are told nothing.
#[test]
fn a_source_that_gives_up_old_snapshots_is_refused_unless_nobody_writes_to_it() {
    let target = Server::start(18);
    for major in [10, 16] {
        let source = Server::of(major)
            .set("old_snapshot_threshold", "1min")
            .start();
        fill(&source);
        let project = Project::between(&source, &target).named(&format!("from{major}"));
        let said = words(&project.run(&["run"]).expect_code(3).stderr);
        assert!(said.contains("source/old-snapshots"), "{said}");
        assert!(said.contains("old_snapshot_threshold is 1 min"), "{said}");
        assert!(said.contains("/postgresql.conf, line "), "{said}");
        assert!(said.contains("source.read_only = true"), "{said}");
        // What it says.
        let project = project.source("read_only", "true");
        project.run(&["run"]).expect_code(0);
        compare::assert_same(&source, &target, "erp");
        target.psql("postgres", "DROP DATABASE erp");
    }
}
