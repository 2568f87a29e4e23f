//! Owners of objects, who are nobody on the server: their code does not run with our rights.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::support::held::Held;
use crate::support::place;
use crate::support::project::Project;
use crate::support::server::Server;

/// A database whose table belongs to a role without rights, and a function of that role that takes all the rights that it is run with.
fn with_owner(server: &Server) {
    for sql in [
        "CREATE ROLE mallory LOGIN PASSWORD 'owner'",
        "CREATE DATABASE erp",
    ] {
        server.psql("postgres", sql);
    }
    server.psql(
        "erp",
        "CREATE TABLE public.bills AS SELECT generate_series(1, 10) AS id;
         ALTER TABLE public.bills OWNER TO mallory;
         GRANT ALL ON SCHEMA public TO mallory;
         CREATE TABLE public.loot (who text, is_superuser text);
         GRANT ALL ON public.loot TO PUBLIC",
    );
}

const EVIL: &str = "
    CREATE OR REPLACE FUNCTION public.evil() RETURNS int LANGUAGE plpgsql VOLATILE AS $$
    BEGIN
      BEGIN EXECUTE 'RESET SESSION AUTHORIZATION'; EXCEPTION WHEN others THEN NULL; END;
      BEGIN EXECUTE 'RESET ROLE'; EXCEPTION WHEN others THEN NULL; END;
      PERFORM set_config('role', session_user, false);
      PERFORM set_config('transaction_read_only', 'off', false);
      INSERT INTO public.loot VALUES (session_user, current_setting('is_superuser'));
      EXECUTE 'ALTER ROLE mallory SUPERUSER';
      RETURN 1;
    EXCEPTION WHEN others THEN
      BEGIN EXECUTE 'COPY (SELECT 1) TO PROGRAM ''touch ' || current_setting('data_directory') || '/owned'''; EXCEPTION WHEN others THEN NULL; END;
      RETURN 0;
    END $$;";

/// Puts a view of the table's name in its place, and commits when somebody waits for the table.
fn swapped(server: &Server) -> Held {
    Held::begin(
        server,
        "erp",
        &format!(
            "SET ROLE mallory; {EVIL}
             ALTER TABLE public.bills RENAME TO bills_before;
             CREATE VIEW public.bills AS SELECT id, public.evil() FROM public.bills_before;
             RESET ROLE"
        ),
    )
}

/// The function that a session of ours ran has left a trace.
fn is_taken(server: &Server) -> bool {
    let superuser = "SELECT rolsuper FROM pg_roles WHERE rolname = 'mallory'";
    let loot = server.psql("erp", "SELECT count(*) FROM public.loot") != "0";
    loot || server.psql("postgres", superuser) == "t"
        || server.data_directory().join("owned").exists()
}

/// It lists the tables, and then counts each by its name.
#[test]
fn a_view_in_the_place_of_a_table_is_not_counted() {
    let (source, target) = (Server::start(16), Server::start(18));
    with_owner(&source);
    let project = Project::between(&source, &target);
    project.run(&["run"]).expect_code(0);
    // Whoever queries it with a superuser's rights runs the function.
    for server in [&source, &target] {
        let mut swap = swapped(server);
        let mut verify = project.start(&["verify"]);
        let waits = "SELECT count(*) FROM pg_locks WHERE NOT granted";
        verify.until("the count", || server.psql("postgres", waits) != "0");
        swap.run("SELECT 1");
        swap.commit();
        let told = verify.wait();
        assert_ne!(told.code, Some(0), "{}", told.said());
        assert!(!is_taken(server), "{}", told.said());
        server.psql("erp", "SELECT * FROM public.bills LIMIT 1");
        assert!(is_taken(server), "the function takes nothing");
        server.psql("erp", "DROP VIEW public.bills; ALTER TABLE public.bills_before RENAME TO bills; TRUNCATE public.loot");
        server.psql("postgres", "ALTER ROLE mallory NOSUPERUSER");
        let _ = std::fs::remove_file(server.data_directory().join("owned"));
    }
}

/// What PostgreSQL does not run as the owner of a table: told with function, owner and place, and refused where owners are not trusted.
#[test]
fn code_of_owners_that_runs_with_our_rights_is_told() {
    for major in [12, 16] {
        let (source, target) = (Server::start(major), Server::start(18));
        source.psql(
            "postgres",
            "CREATE ROLE mallory; CREATE ROLE boss SUPERUSER; CREATE DATABASE erp",
        );
        source.psql(
            "erp",
            "CREATE SCHEMA evil AUTHORIZATION mallory; SET ROLE mallory;
             CREATE FUNCTION evil.act(int) RETURNS bool LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN true; END';
             CREATE FUNCTION evil.pair(int, int) RETURNS bool LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN true; END';
             CREATE FUNCTION evil.gross(int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN $1; END';
             CREATE FUNCTION evil.unused(int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN $1; END';
             CREATE OPERATOR evil.<-> (LEFTARG = int, RIGHTARG = int, FUNCTION = evil.pair);
             CREATE DOMAIN evil.positive AS int CHECK (evil.act(VALUE));
             CREATE TABLE evil.t (a int CONSTRAINT by_operator CHECK (a OPERATOR(evil.<->) 1), b evil.positive,
                 c int GENERATED ALWAYS AS (evil.gross(a)) STORED);
             CREATE TABLE evil.parted (a int) PARTITION BY RANGE (evil.gross(a));
             CREATE INDEX ON evil.t (evil.unused(a));
             CREATE TABLE evil.looped (a int);
             CREATE FUNCTION evil.of_row(evil.looped) RETURNS bool LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN true; END';
             ALTER TABLE evil.looped ADD CONSTRAINT by_row CHECK (evil.of_row(looped));
             ALTER TABLE evil.looped ADD CONSTRAINT by_query CHECK (query_to_xml('SELECT evil.gross(1)', true, true, '') IS NOT NULL);
             CREATE TABLE evil.keyed (id int PRIMARY KEY); CREATE INDEX ON evil.keyed ((id + evil.gross(1)));
             CREATE TABLE evil.refers (id int REFERENCES evil.keyed);
             CREATE TYPE evil.kind AS ENUM ('a'); CREATE FUNCTION evil.as_json(evil.kind) RETURNS json LANGUAGE sql AS 'SELECT ''1''::json';
             CREATE CAST (evil.kind AS json) WITH FUNCTION evil.as_json(evil.kind);
             RESET ROLE;
             CREATE FUNCTION public.of_boss(int) RETURNS bool LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN true; END';
             ALTER FUNCTION public.of_boss OWNER TO boss;
             CREATE TABLE public.fine (a int CHECK (a > 0 AND public.of_boss(a)))",
        );
        let project = Project::between(&source, &target);
        let told = [
            "source/owners-code: database \"erp\", evil.act(integer): the function is of role mallory, called by constraint positive_check of \
             evil.positive; while the database is restored it runs on the target with the rights of \"postgres\", a superuser",
            "source/owners-code-in-rows: database \"erp\", evil.pair(integer,integer): the function is of role mallory, called by constraint \
             by_operator of evil.t; the rows of the database are loaded on the target by a login",
            "source/owners-code: database \"erp\", evil.gross(integer): the function is of role mallory, called by generated column c of evil.t, \
             index evil.keyed_expr_idx, partition key of evil.parted",
            "source/owners-code: database \"erp\", evil.of_row(evil.looped): the function is of role mallory, called by constraint by_row of \
             evil.looped",
            "called by cast (evil.kind AS json)",
            "query_to_xml(text,boolean,boolean,text): the function is of role postgres, called by constraint by_query of evil.looped",
        ];
        let check = project.run(&["check"]).expect_code(0);
        let said = check.said();
        check.says(&told);
        for word in ["evil.unused", "of_boss"] {
            assert!(!said.contains(word), "{said}");
        }
        Project::between(&source, &target)
            .target("untrusted_owners", "true")
            .run(&["run"])
            .expect_code(3)
            .says(&["source/owners-code: database \"erp\", evil.of_row(evil.looped)"]);
        assert_eq!(
            target.psql(
                "postgres",
                "SELECT count(*) FROM pg_database WHERE datname = 'erp'"
            ),
            "0"
        );
    }
}

/// As their package says of an older minor version.
#[test]
fn client_programs_by_which_an_owner_gets_at_the_target_block_the_run() {
    let (source, target) = (Server::start(16), Server::start(17));
    let project = Project::between(&source, &target);
    let clients = place::clients(18);
    let older = project.directory().join("older");
    fs::create_dir(&older).unwrap();
    let file = older.join("pg_dump");
    let of_version = |version: &str| {
        let real = clients.join("pg_dump");
        let script = format!(
            "#!/bin/sh\n[ \"$*\" = --version ] && echo 'pg_dump (PostgreSQL) {version}' && exit\nexec '{}' \"$@\"\n",
            real.display()
        );
        fs::write(&file, script).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
    };
    let path = place::path_with(&[older.clone(), clients.clone()]);
    let project = project.variable("PATH", path);
    of_version("17.5");
    project.run(&["run"]).expect_code(3).says(&[
        "client/known-hole: the client programs of version 17.5 have known security holes that matter to a migration",
        "CVE-2025-8715",
        "install the client programs of PostgreSQL 17.10 or later",
    ]);
    of_version("17.6");
    let told = project.run(&["check"]).expect_code(0);
    told.says(&["client/known-hole", "CVE-2026-6477"]);
    of_version("17.10");
    let said = project.run(&["check"]).expect_code(0).said();
    assert!(!said.contains("known-hole"), "{said}");
}
