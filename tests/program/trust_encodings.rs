//! Delayed tables of databases that are not UTF-8: every client program speaks the database's own encoding.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::support::compare;
use crate::support::place;
use crate::support::project::{Project, string};
use crate::support::server::{Server, identifier};

const LATE_AND_NOT: &str = "
    CREATE TABLE late (id int PRIMARY KEY, word text);
    CREATE TABLE other (id int PRIMARY KEY, word text);
    INSERT INTO other VALUES (1, 'o')";

fn source_with(encoding: &str, schema: &str) -> Server {
    let source = Server::start(16);
    source.psql(
        "postgres",
        &format!("CREATE DATABASE erp ENCODING {encoding} LOCALE 'C' TEMPLATE template0"),
    );
    source.psql("erp", schema);
    source
}

/// Rows as bytes, whatever they mean.
fn bytes(server: &Server) -> String {
    let rows = "SELECT count(*), md5(string_agg(md5(convert_to(word, pg_client_encoding())), '' ORDER BY id)) FROM late";
    let sql = format!("SET client_encoding = 'SQL_ASCII'; {rows}");
    server.psql("erp", &sql)
}

fn arrives(source: &Server, delay: &str) {
    let target = Server::start(18);
    let project =
        Project::between(source, &target).with(&format!("[delay]\ntable_data = [\"{delay}\"]\n"));
    project.run(&["run"]).expect_code(0);
    assert_eq!(bytes(source), bytes(&target));
}

/// SQL_ASCII holds whatever clients wrote.
#[test]
fn bytes_of_any_kind_in_sql_ascii_arrive() {
    let source = source_with("SQL_ASCII", LATE_AND_NOT);
    source.psql(
        "erp",
        "INSERT INTO late VALUES (1, E'caf\\351'), (2, E'\\377\\376'), (3, E'na\\303\\257ve'), (4, E'tab\\tback\\\\slash')",
    );
    arrives(&source, "erp.late");
}

/// WIN1252 lets five bytes stand that have no meaning, and so no equivalent in UTF-8.
#[test]
fn bytes_without_an_equivalent_in_utf_8_arrive() {
    let source = source_with("WIN1252", LATE_AND_NOT);
    source.psql(
        "erp",
        "INSERT INTO late SELECT n, chr(129) || 'x' || n FROM generate_series(1, 50) n; INSERT INTO late VALUES (99, 'ä€')",
    );
    arrives(&source, "erp.late");
}

/// The session's encoding by a setting, a name that only patterns of the right encoding find, and one that they would find too.
#[test]
fn names_beyond_ascii_mean_the_same_table_everywhere() {
    let source = source_with("LATIN1", LATE_AND_NOT);
    source.psql(
        "erp",
        "ALTER DATABASE erp SET client_encoding = 'UTF8'; ALTER TABLE late RENAME word TO \"wört\";
         INSERT INTO late SELECT n, 'ä' || n FROM generate_series(1, 500) n;
         ALTER TABLE late RENAME TO \"größe\"; CREATE SCHEMA \"Maß.e\"; ALTER TABLE \"größe\" SET SCHEMA \"Maß.e\";
         CREATE INDEX \"größe_wört\" ON \"Maß.e\".\"größe\" (\"wört\");
         CREATE TABLE \"Maß.e\".\"grö\" AS SELECT 1 AS one",
    );
    let target = Server::start(18);
    let project = Project::between(&source, &target)
        .with("[delay]\ntable_data = [\"erp.Maß?e.größe\", \"erp.late*\"]\n");
    project.run(&["run"]).expect_code(0);
    let table = identifier("größe");
    for server in [&source, &target] {
        let rows = server.psql(
            "erp",
            &format!("SELECT count(*) FROM \"Maß.e\".{table} WHERE \"wört\" LIKE 'ä%'"),
        );
        assert_eq!(rows, "500");
    }
    compare::assert_same(&source, &target, "erp");
}

/// A pg_dump that does not do what it is told is found out before anything is restored.
#[test]
fn an_archive_that_holds_rows_of_delayed_tables_is_refused() {
    let source = source_with("UTF8", LATE_AND_NOT);
    source.psql("erp", "INSERT INTO late VALUES (1, 'l')");
    let target = Server::start(18);
    let real = place::clients(18);
    let project = Project::between(&source, &target).with("[delay]\ntable_data = [\"erp.late\"]\n");
    let programs = project.directory().join("bin");
    fs::create_dir(&programs).unwrap();
    let wrapper = programs.join("pg_dump");
    let script = format!(
        "#!/bin/bash\nargs=(); for a in \"$@\"; do case $a in --exclude-table-data=*) ;; *) args+=(\"$a\");; esac; done\n\
         exec {}/pg_dump \"${{args[@]}}\"\n",
        real.display()
    );
    fs::write(&wrapper, script).unwrap();
    fs::set_permissions(&wrapper, fs::Permissions::from_mode(0o755)).unwrap();
    let project = project.variable("PATH", place::path_with(&[programs, real]));
    let said = project.run(&["run"]).expect_code(4).stdout;
    let said: Vec<&str> = said.split_whitespace().collect();
    let said = said.join(" ");
    assert!(
        said.contains("there are rows of delayed tables public.late"),
        "{said}"
    );
    let project = project.variable("PATH", place::path_with(&[place::clients(18)]));
    project.run(&["run"]).expect_code(0);
    assert_eq!(target.psql("erp", "SELECT count(*) FROM late"), "1");
}

/// Rows in a delayed table that came neither from clients nor from the load.
#[test]
fn rows_in_a_delayed_table_before_its_load_are_told() {
    let source = source_with("UTF8", LATE_AND_NOT);
    source.psql("erp", "INSERT INTO late VALUES (1, 'l')");
    let target = Server::start(18);
    let project = Project::between(&source, &target).with("[delay]\ntable_data = [\"erp.late\"]\n");
    let point = "journal step-done erp/restore synced:1";
    project.killed_at(point);
    target.psql("erp", "INSERT INTO late VALUES (7, 'too early')");
    let said = project.run(&["run"]).expect_code(4).stdout;
    let said: Vec<&str> = said.split_whitespace().collect();
    let said = said.join(" ");
    assert!(
        said.contains("there are rows in delayed tables before they are loaded: public.late (1)"),
        "{said}"
    );
    target.psql("erp", "DELETE FROM late");
    project.run(&["run"]).expect_code(0);
    assert_eq!(target.psql("erp", "SELECT count(*) FROM late"), "1");
}

/// Roles and databases get such names in sessions of a database with encoding SQL_ASCII.
#[test]
fn a_role_or_a_database_whose_name_is_not_utf8_is_named() {
    let source = source_with("SQL_ASCII", "CREATE TABLE t (id int)");
    let target = Server::start(18);
    let do_it = |sql: &str, name: &str| {
        let sql = format!(r"DO $$ BEGIN EXECUTE format('{sql}', E'{name}'); END $$");
        source.psql("erp", &sql);
    };
    source.psql("postgres", "CREATE DATABASE other");
    source.psql("postgres", "CREATE ROLE other");
    for (sql, back, named) in [
        (
            "ALTER ROLE other RENAME TO %I",
            "ALTER ROLE %I RENAME TO other",
            r"role caf\xe9",
        ),
        (
            "ALTER DATABASE other RENAME TO %I",
            "ALTER DATABASE %I RENAME TO other",
            r"database caf\xe9",
        ),
    ] {
        do_it(sql, r"caf\xe9");
        for database in ["postgres", "erp"] {
            let project = Project::between(&source, &target).source("database", &string(database));
            let check = project.run(&["check"]).expect_code(3);
            let said = [check.stdout, check.stderr].concat();
            assert!(said.contains(named), "{said}");
        }
        // What is advised helps.
        do_it(back, r"caf\xe9");
    }
    let project = Project::between(&source, &target);
    project.run(&["run"]).expect_code(0);
}

/// Names of columns are for the client programs, which take them as they are.
#[test]
fn columns_and_comments_of_any_bytes_arrive() {
    let source = source_with(
        "SQL_ASCII",
        r"CREATE TABLE t (id int PRIMARY KEY, a text); CREATE TABLE late (id int PRIMARY KEY, a text);
          INSERT INTO t SELECT n, E'\xff' || n FROM generate_series(1, 100) n; INSERT INTO late SELECT * FROM t;
          CREATE INDEX by_a ON late (a);
          DO $$ BEGIN
              EXECUTE format('ALTER TABLE t RENAME a TO %I', E'caf\xe9');
              EXECUTE format('ALTER TABLE late RENAME a TO %I', E'caf\xe9');
              EXECUTE format('COMMENT ON TABLE t IS %L', E'caf\xe9');
          END $$",
    );
    let target = Server::start(18);
    let delay = "[delay]\ntable_data = [\"erp.late\"]\n";
    // Delayed rows are loaded by the names of columns, and indexes made again by their definitions.
    let check = Project::between(&source, &target)
        .with(delay)
        .run(&["check"])
        .expect_code(3);
    let said = [check.stdout, check.stderr].concat();
    for word in ["delay/part-not-utf8", r"column caf\xe9", "index by_a"] {
        assert!(said.contains(word), "{said}");
    }
    Project::between(&source, &target)
        .run(&["run"])
        .expect_code(0);
    let rows = "SET client_encoding = 'SQL_ASCII'; \
                SELECT md5(string_agg(t::text, ',' ORDER BY id)) FROM t; \
                SELECT md5(string_agg(late::text, ',' ORDER BY id)) FROM late; \
                SELECT md5(obj_description('t'::regclass)); \
                SELECT count(*) FROM pg_attribute WHERE attrelid IN ('t'::regclass, 'late'::regclass) AND attname = E'caf\\xe9'";
    assert_eq!(target.psql("erp", rows), source.psql("erp", rows));
}
