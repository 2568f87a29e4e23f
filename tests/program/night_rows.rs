//! Rows that COPY cannot write: told before, and by the dump where that did not see them; the way on is followed to its end.

use std::fs;

use crate::support::compare;
use crate::support::data::give_to_server;
use crate::support::place::Scratch;
use crate::support::project::Project;
use crate::support::server::{Server, literal};

const WAIVER: &str = "[[waive]]\ncode = \"source/value-too-large\"\nobject = \"files.public.*\"\nuntil = 2999-12-31\nreason = \"none\"";

/// `documents` has a value that is too long alone, `pages` a row whose values are together.
fn servers() -> (Server, Server) {
    let (source, target) = (Server::start(16), Server::start(18));
    source.psql("postgres", "CREATE DATABASE files");
    source.psql("postgres", "CREATE DATABASE other");
    for sql in [
        "CREATE TABLE documents (id int PRIMARY KEY, body bytea)",
        "ALTER TABLE documents ALTER body SET STORAGE EXTERNAL",
        "INSERT INTO documents VALUES (1, 'x')",
        "INSERT INTO documents SELECT 4711, convert_to(repeat('x', 540 << 20), 'UTF8')",
        "CREATE TABLE pages (body bytea, words text)",
        "ALTER TABLE pages ALTER body SET STORAGE EXTERNAL, ALTER words SET STORAGE EXTERNAL",
        "INSERT INTO pages SELECT convert_to(repeat('x', 290 << 20), 'UTF8'), repeat('y', 450 << 20)",
    ] {
        source.psql("files", sql);
    }
    source.psql(
        "other",
        "CREATE TABLE t AS SELECT generate_series(1, 10) AS id",
    );
    (source, target)
}

#[test]
fn rows_that_copy_cannot_write() {
    let (source, target) = servers();
    let project = Project::between(&source, &target);
    let check = project.run(&["check"]).expect_code(3).stdout;
    for words in [
        "source/value-too-large: database \"files\", public.documents: 1 row is longer",
        "most of it in the column body",
        "source/value-too-large: database \"files\", public.pages: 1 row is longer",
    ] {
        assert!(check.contains(words), "{words}: {check}");
    }
    project.run(&["run"]).expect_code(3);
    let logs = fs::read_dir(project.state_directory().join("log")).unwrap();
    let logs = logs.map(|file| fs::read_to_string(file.unwrap().path()).unwrap());
    let log: String = logs.collect();
    assert!(log.contains("(4711)"), "the log names no key: {log}");

    source.psql("files", "DROP TABLE pages");
    let project = project.with(WAIVER);
    project
        .run(&["run"])
        .expect_code(4)
        .expect_words(&["files/dump FAILED", "too large for COPY"]);
    let report = project.report().to_string();
    for words in ["FORMAT binary", "documents"] {
        assert!(report.contains(words), "{words}: {report}");
    }
    compare::assert_same(&source, &target, "other");

    let scratch = Scratch::new();
    give_to_server(scratch.path());
    let file = literal(&scratch.path().join("value").display().to_string());
    let sum = "SELECT id, octet_length(body), md5(body) FROM documents ORDER BY 1";
    let before = source.psql("files", sum);
    let row = "SELECT * FROM documents WHERE id = 4711";
    source.psql(
        "files",
        &format!("COPY ({row}) TO {file} WITH (FORMAT binary)"),
    );
    source.psql("files", "DELETE FROM documents WHERE id = 4711");
    project.run(&["run"]).expect_code(0);
    target.psql(
        "files",
        &format!("COPY documents FROM {file} WITH (FORMAT binary)"),
    );
    assert_eq!(target.psql("files", sum), before);
}
