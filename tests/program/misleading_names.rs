//! Names on a server that would steer a terminal, or forge what it shows, are shown as what they are.

use std::fs;

use super::support::compare;
use super::support::fill;
use super::support::project::Project;
use super::support::server::{Mode, Server};

/// Colours, a bell, a line of its own, a tab, text from right to left, C1's way to clear the screen, DEL.
const NAME: &str = "x\u{1b}[31m\u{7}\nFORGED\t\u{202e}\u{9b}2J\u{7f}";

#[track_caller]
fn assert_steers_nothing(what: &str, text: &str) {
    let steers = |c: char| (c != '\n' && c.is_control()) || ('\u{2028}'..='\u{202e}').contains(&c);
    let line = text.lines().find(|line| line.contains(steers));
    assert_eq!(line, None, "{what}");
}

/// A server's message may be of several lines, so a name in it can make one. Indented, it is seen to belong to
/// what stands above it.
#[track_caller]
fn assert_forges_nothing(what: &str, text: &str) {
    let line = text.lines().find(|line| line.starts_with("FORGED"));
    assert_eq!(line, None, "{what}");
}

/// A source with objects of that name, one of which cannot be restored.
fn source() -> Server {
    let source = Server::start(14);
    fill::plain(&source, 1, 10);
    let name = format!("\"{NAME}\"");
    source.psql(
        "postgres",
        &format!("CREATE ROLE {name} LOGIN; COMMENT ON ROLE {name} IS '{NAME}'"),
    );
    source.psql("postgres", &format!("CREATE DATABASE {name} OWNER {name}"));
    source.psql(
        NAME,
        &format!(
            "CREATE SCHEMA {name} AUTHORIZATION {name};
             CREATE TABLE {name}.{name} ({name} int PRIMARY KEY);
             INSERT INTO {name}.{name} SELECT generate_series(1, 10);
             CREATE UNLOGGED TABLE {name} AS SELECT 1 AS {name};
             CREATE FUNCTION known(int) RETURNS bool LANGUAGE plpgsql AS
                 'BEGIN RETURN EXISTS (SELECT FROM {name} WHERE {name} = $1); END';
             CREATE TABLE public.\"{NAME}2\" ({name} int CHECK (public.known({name})));
             INSERT INTO public.\"{NAME}2\" VALUES (1);
             CREATE ROLE \"{NAME}3\";
             GRANT SELECT ON {name}.{name} TO \"{NAME}3\""
        ),
    );
    source
}

#[test]
fn no_name_reaches_a_terminal_as_it_is() {
    let (mut source, target) = (source(), Server::start(18));
    let project = Project::between(&source, &target).variable("RUST_LOG", "debug");
    let try_all = |verbs: &[(&[&str], i32)]| {
        for (verb, code) in verbs {
            let done = project.run(verb).expect_code(*code);
            for (stream, text) in [("stdout", &done.stdout), ("stderr", &done.stderr)] {
                let what = format!("{verb:?}, {stream}");
                assert_steers_nothing(&what, text);
                // In a page, a line break is a blank.
                if !verb.contains(&"html") {
                    assert_forges_nothing(&what, text);
                }
            }
        }
    };
    try_all(&[
        (&["check"], 0),
        (&["plan", "--dry-run"], 0),
        (&["plan", "--dry-run", "--format", "markdown"], 0),
        (&["plan", "--dry-run", "--format", "mermaid"], 0),
        (&["plan", "--dry-run", "--format", "dot"], 0),
        (&["plan", "--dry-run", "--format", "json"], 0),
        (&["plan"], 0),
        (&["run"], 4),
        (&["status"], 0),
        (&["status", "--format", "json"], 0),
        (&["report"], 0),
        (&["report", "--format", "json"], 0),
        (&["report", "--format", "html"], 0),
        (&["verify"], 5),
        (&["reset", "--database", NAME], 0),
    ]);
    // The error is about the table of that name, so there was something to show.
    assert!(project.report().to_string().contains("FORGED"));
    source.stop(Mode::Fast);
    try_all(&[(&["run"], 3), (&["verify"], 3), (&["status"], 0)]);

    let state = project.state_directory();
    let logs = fs::read_dir(state.join("log")).unwrap();
    let mut files: Vec<_> = logs.map(|entry| entry.unwrap().path()).collect();
    assert!(files.len() > 5, "{files:#?}");
    files.extend([state.join("report.json"), state.join("plan.json")]);
    let (mut named, mut own) = (0, 0);
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        named += usize::from(text.contains(r"x\u{1b}[31m"));
        let what = file.display().to_string();
        assert_steers_nothing(&what, &text);
        // What client programs say is kept line by line as they say it.
        if what.contains("/log/pg-migrate.") {
            assert_forges_nothing(&what, &text);
            own += 1;
        }
    }
    assert_eq!(own, 1, "the log of the program itself");
    assert!(named >= 3, "the name is in {named} logs");
}

/// `password_encryption` was a switch once.
#[test]
fn a_warning_about_a_role_is_one_line() {
    let (source, target) = (Server::start(10), Server::start(18));
    source.psql(
        "postgres",
        &format!("CREATE ROLE \"{NAME}\"; ALTER ROLE \"{NAME}\" SET password_encryption = 'on'"),
    );
    let project = Project::between(&source, &target);
    let done = project.run(&["run"]).expect_code(0);
    assert_steers_nothing("stderr", &done.stderr);
    assert_forges_nothing("stderr", &done.stderr);
    let report = project.report();
    let warnings = report["server"]["warnings"].as_array().unwrap();
    let warning = warnings
        .iter()
        .filter_map(|warning| warning.as_str())
        .find(|warning| warning.contains("is not set for role"))
        .unwrap_or_else(|| panic!("{warnings:#?}"));
    assert!(warning.contains(r"x\u{1b}[31m\u{7}\nFORGED"), "{warning}");
    assert_eq!(warning.lines().count(), 1, "{warning}");
}

/// pg_restore lists a table in a schema `DATA` as `TABLE DATA`, like the rows of a table.
#[test]
fn a_schema_named_like_the_end_of_a_description_migrates() {
    let (source, target) = (Server::start(16), Server::start(18));
    source.psql("postgres", "CREATE DATABASE erp");
    source.psql(
        "erp",
        "CREATE SCHEMA \"DATA\"; CREATE SCHEMA \"ATTACH\"; CREATE SCHEMA \"SET\";
         CREATE TABLE \"DATA\".big AS SELECT n AS id FROM generate_series(1, 500) n;
         CREATE TABLE \"ATTACH\".t AS SELECT 1 AS id; CREATE SEQUENCE \"SET\".s START 7;
         CREATE MATERIALIZED VIEW \"DATA\".v AS SELECT * FROM \"ATTACH\".t;
         CREATE INDEX ON \"DATA\".v (id); CREATE INDEX ON \"ATTACH\".t (id)",
    );
    for delay in ["[delay]\n", "[delay]\ntable_data = [\"erp.DATA.big\"]\n"] {
        let project = Project::between(&source, &target).with(delay);
        project.run(&["run"]).expect_code(0);
        compare::assert_same(&source, &target, "erp");
        target.psql("postgres", "DROP DATABASE erp");
    }
}
