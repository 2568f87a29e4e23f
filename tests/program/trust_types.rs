//! Delayed tables whose shared snapshot was lost, while a type of their columns was altered: no row is written by that, and all values
//! are others.

use crate::support::compare;
use crate::support::paused::Paused;
use crate::support::project::Project;
use crate::support::server::Server;

/// A run between servers 16 and 18 that was killed once `erp` was verified, before its delayed tables were dumped; then
/// the statements were run on the source.
fn killed_and_altered(schema: &str, snapshot: &str, statements: &str) -> (Server, Server, Project) {
    let (source, target) = (Server::start(16), Server::start(18));
    source.psql("postgres", "CREATE DATABASE erp");
    source.psql("erp", schema);
    let project = Project::between(&source, &target).with(&format!(
        "[delay]\ntable_data = [\"erp.events\"]\nsnapshot = \"{snapshot}\"\n"
    ));
    let (project, dump) = Paused::of(project, "pg_dump", "delayed");
    let mut run = project.start(&["run"]);
    dump.until_reached(&mut run);
    run.until("the verification", || {
        let done = project.journal_steps("step-done");
        done.contains(&"erp/verify".to_owned())
    });
    run.kill9();
    assert_eq!(run.wait().signal, Some(9));
    dump.go();
    for statement in statements.split(';') {
        source.psql("erp", statement);
    }
    (source, target, project)
}

const MOODS: &str = "
    CREATE TYPE mood AS ENUM ('sad', 'ok');
    CREATE TYPE addr AS (street text, city text);
    CREATE DOMAIN home AS addr;
    CREATE TYPE other AS (a int, b int);
    CREATE TABLE events (id int, moods mood[], home home);
    INSERT INTO events SELECT n, ARRAY['sad', 'ok']::mood[], ROW('s' || n, 'Bonn')::addr FROM generate_series(1, 100) n";

const ALTERED: [(&str, &str); 2] = [
    (
        "ALTER TYPE mood RENAME VALUE 'sad' TO 'x'; ALTER TYPE mood RENAME VALUE 'ok' TO 'sad'; ALTER TYPE mood RENAME VALUE 'x' TO 'ok'",
        "type public.mood",
    ),
    (
        "ALTER TYPE addr DROP ATTRIBUTE city; ALTER TYPE addr ADD ATTRIBUTE zip text",
        "type public.addr",
    ),
];

#[test]
fn types_that_were_altered_are_told_where_the_shared_snapshot_was_lost() {
    for (statements, altered) in ALTERED {
        // No domain: in use, its type cannot be altered.
        let schema = MOODS.replace("home home)", "home addr)");
        let (_source, _target, project) = killed_and_altered(&schema, "same", statements);
        let finished = project.run(&["run"]).expect_code(4);
        finished.says(&[altered, "it was altered", "pg-migrate reset"]);
    }
}

#[test]
fn what_means_nothing_for_the_rows_keeps_nobody_from_going_on() {
    let (source, target, project) = killed_and_altered(
        MOODS,
        "same",
        "ALTER TYPE mood ADD VALUE 'glad' BEFORE 'sad'; ALTER TYPE other DROP ATTRIBUTE b",
    );
    project.run(&["run"]).expect_code(0);
    let rows = "SELECT md5(string_agg(e::text, ',' ORDER BY id)) FROM public.events e";
    assert_eq!(target.psql("erp", rows), source.psql("erp", rows));
}

/// The text of a value has its columns one after the other, whatever they are called.
#[test]
fn values_of_a_composite_type_are_not_loaded_into_one_of_other_columns() {
    let schema = MOODS.replace("home home)", "home addr)");
    let (statements, altered) = ALTERED[1];
    let (source, target, project) = killed_and_altered(&schema, "later", statements);
    let finished = project.run(&["run"]).expect_code(4);
    finished.says(&[
        altered,
        "values of the column home consist of public.addr (street text, zip text) on the source, and of public.addr (street text, \
         city text) on the target",
    ]);
    for statement in statements.split(';') {
        target.psql("erp", &statement.replace("addr", "public.addr"));
    }
    project.run(&["run"]).expect_code(0);
    let rows = "SELECT md5(string_agg(e::text, ',' ORDER BY id)) FROM public.events e";
    assert_eq!(target.psql("erp", rows), source.psql("erp", rows));
    compare::assert_same(&source, &target, "erp");
}

/// A release on the target renames a label and gives its name to another, while the rows wait.
#[test]
fn values_of_an_enum_do_not_get_another_label_that_has_the_name_of_theirs() {
    let (source, target) = (Server::start(16), Server::start(18));
    source.psql("postgres", "CREATE DATABASE erp");
    source.psql(
        "erp",
        "CREATE TYPE state AS ENUM ('new', 'done'); CREATE TABLE events (id int, state state);
         INSERT INTO events SELECT n, 'done' FROM generate_series(1, 100) n",
    );
    let project = Project::between(&source, &target)
        .with("[delay]\ntable_data = [\"erp.events\"]\n[target.tuning]\nmode = \"off\"\n");
    project.killed_at("journal step-done erp/verify synced:1");
    let rename = |from: &str, to: &str| {
        target.psql(
            "erp",
            &format!("ALTER TYPE state RENAME VALUE '{from}' TO '{to}'"),
        );
    };
    rename("done", "shipped");
    target.psql("erp", "ALTER TYPE state ADD VALUE 'done'");
    project.run(&["run"]).expect_code(4).expect_words(&[
        "the label done of the type public.state is called shipped on the target, and another label has its name",
        "ALTER TYPE public.state RENAME VALUE 'shipped' TO 'done';",
    ]);
    // As advised.
    rename("done", "closed");
    rename("shipped", "done");
    project.run(&["run"]).expect_code(0);
    rename("done", "shipped");
    rename("closed", "done");
    let shipped = "SELECT count(*) FROM events WHERE state = 'shipped'";
    assert_eq!(target.psql("erp", shipped), "100");
}

/// CREATE TABLE … INHERITS puts the parent's columns first, and values of a row type are written without names.
#[test]
fn values_of_the_row_type_of_a_child_keep_their_places() {
    let (source, target) = (Server::start(16), Server::start(18));
    source.psql("postgres", "CREATE DATABASE erp");
    source.psql(
        "erp",
        "CREATE TABLE person (id int, name text);
         CREATE TABLE employee (salary text) INHERITS (person);
         ALTER TABLE person ADD COLUMN city text;
         CREATE TABLE other (extra text) INHERITS (person);
         INSERT INTO employee (id, name, salary, city) VALUES (1, 'Ann', '5000', 'Berlin');
         CREATE TABLE audit AS SELECT e AS old, ARRAY[e] AS history FROM employee e;
         CREATE DOMAIN one AS employee; CREATE DOMAIN two AS one; CREATE TYPE span AS RANGE (SUBTYPE = employee);
         CREATE TYPE pair AS (first one[], second int);
         CREATE TABLE deep (a two, b span, c pair, d int)",
    );
    let project = Project::between(&source, &target);
    for verb in ["check", "run"] {
        let told = project.run(&[verb]).expect_code(3);
        told.says(&[
            "source/column-order",
            "public.employee",
            "so that they change places within public.audit.history, public.audit.old, public.deep.a, public.deep.b, public.deep.c",
        ]);
        assert!(!told.said().contains("public.other"), "{}", told.said());
    }
    // As advised.
    source.psql("erp", "ALTER TABLE employee NO INHERIT person");
    project.run(&["run"]).expect_code(0);
    compare::assert_same(&source, &target, "erp");
    for server in [&source, &target] {
        server.psql("erp", "ALTER TABLE employee INHERIT person");
        let values = "SELECT (old).salary, (old).city, (history[1]).city FROM audit";
        assert_eq!(server.psql("erp", values), "5000|Berlin|Berlin");
    }
}

/// Without a column of its type, only statements that name no columns find others.
#[test]
fn columns_of_a_child_in_another_order_are_told_and_so_are_columns_that_are_computed_again() {
    // Up to 14 the column depends on what computes it, and its expression after.
    for major in [14, 16] {
        tell_what_is_in_another_order_or_computed_again(&Server::start(major));
    }
}

fn tell_what_is_in_another_order_or_computed_again(source: &Server) {
    let target = Server::start(18);
    source.psql("postgres", "CREATE DATABASE erp");
    source.psql(
        "erp",
        "CREATE TABLE person (id int);
         CREATE TABLE employee (salary text) INHERITS (person);
         ALTER TABLE person ADD COLUMN city text;
         CREATE FUNCTION vat(net int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT net * 116 / 100';
         CREATE TABLE bill (net int, gross int GENERATED ALWAYS AS (vat(net)) STORED, plain int GENERATED ALWAYS AS (net + 1) STORED);
         CREATE FUNCTION more(int, int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1 + $2 * 2';
         CREATE OPERATOR +! (LEFTARG = int, RIGHTARG = int, FUNCTION = more);
         CREATE TABLE sum (a int, b int GENERATED ALWAYS AS (a +! 1) STORED);
         CREATE TEXT SEARCH CONFIGURATION shop (COPY = english);
         CREATE TEXT SEARCH DICTIONARY plain (TEMPLATE = simple);
         CREATE COLLATION of_ours (LOCALE = 'C');
         CREATE TABLE found (word text, found tsvector GENERATED ALWAYS AS (to_tsvector('shop', word)) STORED,
             lexed text[] GENERATED ALWAYS AS (ts_lexize('plain', word)) STORED,
             upper text GENERATED ALWAYS AS (upper(word COLLATE of_ours)) STORED,
             english tsvector GENERATED ALWAYS AS (to_tsvector('english', word)) STORED)",
    );
    let project = Project::between(source, &target);
    let told = project.run(&["run"]).expect_code(0);
    told.says(&[
        "source/column-order",
        "statements that name no columns",
        "source/generated-column",
        "gross (public.vat(integer)) is computed again",
        "b (public.more(integer,integer)) is computed again",
        "found (text search configuration public.shop) is computed again",
        "lexed (text search dictionary public.plain) is computed again",
        "upper (collation public.of_ours) is computed again",
    ]);
    for other in ["column plain", "column english"] {
        assert!(!told.said().contains(other), "{}", told.said());
    }
}
