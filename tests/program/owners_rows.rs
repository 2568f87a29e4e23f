//! Functions of owners that COPY runs for each row, where a superuser loads.

use std::fs;

use crate::support::compare;
use crate::support::project::{Project, waiver};
use crate::support::server::Server;

/// Each thing that a session could be given back, and what it could do with it. Rows that it leaves say who it was.
const GRASP: &str = "
    CREATE FUNCTION evil.grasp() RETURNS bool LANGUAGE plpgsql AS $$
    DECLARE attempt text;
    BEGIN
      FOREACH attempt IN ARRAY ARRAY[
        'RESET SESSION AUTHORIZATION', 'RESET ROLE', 'SET ROLE postgres', 'SET SESSION AUTHORIZATION postgres',
        'SELECT set_config(''role'', ''postgres'', false)', 'SELECT set_config(''role'', ''mallory'', false)',
        'SELECT set_config(''session_replication_role'', ''origin'', false)',
        'ALTER ROLE mallory SUPERUSER', 'ALTER ROLE CURRENT_USER SUPERUSER', 'GRANT pg_read_all_data TO mallory',
        'SELECT adm.run(''ALTER ROLE mallory SUPERUSER'')', 'CALL adm.call(''ALTER ROLE mallory SUPERUSER'')',
        'INSERT INTO adm.members (oid, roleid, member, grantor, admin_option, inherit_option, set_option)
             SELECT 99991, 10, oid, 10, true, true, true FROM pg_roles WHERE rolname = ''mallory''',
        'ALTER TABLE evil.t ADD COLUMN planted int', 'CREATE TABLE public.planted ()', 'CREATE SCHEMA planted',
        'CREATE FUNCTION public.planted() RETURNS int LANGUAGE sql AS ''SELECT 1''',
        'UPDATE public.secrets SET word = ''changed''', 'DELETE FROM public.secrets',
        'DO $d$ BEGIN IF EXISTS (SELECT FROM public.secrets) THEN RAISE LOG ''has read secrets''; END IF; END $d$',
        'COPY (SELECT 1) TO PROGRAM ''touch owned'''
      ] LOOP
        BEGIN EXECUTE attempt; EXCEPTION WHEN others THEN NULL; END;
      END LOOP;
      RETURN true;
    END $$;";

/// Its tables call the function in each way that COPY runs.
fn with_grasp(server: &Server) {
    server.psql(
        "postgres",
        "CREATE ROLE mallory LOGIN PASSWORD 'owner'; CREATE DATABASE erp",
    );
    server.psql(
        "erp",
        "CREATE SCHEMA adm; CREATE VIEW adm.members AS SELECT * FROM pg_auth_members;
         CREATE FUNCTION adm.run(text) RETURNS void SECURITY DEFINER LANGUAGE plpgsql AS 'BEGIN EXECUTE $1; END';
         REVOKE EXECUTE ON FUNCTION adm.run FROM PUBLIC;
         CREATE PROCEDURE adm.call(text) SECURITY DEFINER LANGUAGE plpgsql AS 'BEGIN EXECUTE $1; END';
         REVOKE EXECUTE ON PROCEDURE adm.call FROM PUBLIC;
         CREATE TABLE public.secrets AS SELECT 'none of yours' AS word;
         CREATE TABLE public.big AS SELECT n, repeat('x', 100) AS word FROM generate_series(1, 5000) n; SELECT lo_create(7);
         CREATE SEQUENCE public.numbers; SELECT nextval('public.numbers'); CREATE SCHEMA evil AUTHORIZATION mallory; SET ROLE mallory;
         CREATE FUNCTION evil.grasp() RETURNS bool LANGUAGE sql AS 'SELECT true';
         CREATE FUNCTION evil.checks(int) RETURNS bool LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN evil.grasp(); END';
         CREATE TABLE evil.t (a int CHECK (evil.checks(a)), b text
             CHECK (query_to_xml('SELECT evil.checks(1)', true, true, '') IS NOT NULL)); INSERT INTO evil.t VALUES (1, 'a'), (2, 'b');
         CREATE TABLE evil.others (a int CHECK (evil.checks(a)));
         INSERT INTO evil.others VALUES (1); DROP FUNCTION evil.grasp()",
    );
    server.psql("erp", &format!("SET ROLE mallory; {GRASP}"));
}

fn logins(target: &Server) -> String {
    target.psql(
        "postgres",
        "SELECT count(*) FROM pg_roles WHERE rolname LIKE 'pgmigrate%'",
    )
}

fn nothing_was_taken(target: &Server) {
    let mallory = "SELECT rolsuper::text || EXISTS (SELECT FROM pg_auth_members WHERE member = r.oid)::text FROM pg_roles r WHERE rolname = 'mallory'";
    assert_eq!(target.psql("postgres", mallory), "falsefalse");
    assert!(!target.data_directory().join("owned").exists());
    assert!(!target.log().contains("has read secrets"));
    assert_eq!(logins(target), "0");
}

#[test]
fn functions_that_copy_runs_get_no_rights_of_ours() {
    let (source, target) = (Server::start(16), Server::start(18));
    with_grasp(&source);
    for (owners, killed_at) in [
        ("false", None),
        ("true", None),
        ("true", Some("erp/restore login recorded:1")),
        ("true", Some("erp/restore login made:1")),
        ("true", Some("erp/restore item:14")),
        ("true", Some("erp/restore login dropped:1")),
    ] {
        let project = Project::between(&source, &target).target("untrusted_owners", owners);
        if let Some(point) = killed_at {
            project.killed_at(point);
        }
        let run = project.run(&["run"]).expect_code(0);
        assert!(!run.said().contains("rights of"), "{}", run.said());
        nothing_was_taken(&target);
        compare::assert_same(&source, &target, "erp");
        // Nothing stays in the privileges either.
        let acl = "SELECT count(*) FROM pg_class, aclexplode(relacl) a WHERE NOT EXISTS (SELECT FROM pg_roles WHERE oid IN (a.grantee) OR a.grantee = 0)";
        assert_eq!(target.psql("erp", acl), "0");
        project.run(&["verify"]).expect_code(0);
        target.psql("postgres", "DROP DATABASE erp");
        target.psql("postgres", "DROP ROLE mallory");
    }
}

/// With its password it could insert rows into a closed database, which its counts show. It gets no further, and neither does the run.
#[test]
fn a_function_that_changes_the_password_of_the_login_fails_the_run() {
    let (source, target) = (Server::start(16), Server::start(18));
    source.psql("postgres", "CREATE ROLE app; CREATE DATABASE erp");
    source.psql(
        "erp",
        "CREATE FUNCTION public.is_fine(int) RETURNS bool LANGUAGE plpgsql AS 'BEGIN RETURN true; END';
         CREATE TABLE public.things (kind int CHECK (public.is_fine(kind))); INSERT INTO public.things VALUES (1);
         CREATE OR REPLACE FUNCTION public.is_fine(int) RETURNS bool LANGUAGE plpgsql AS
             $$ BEGIN ALTER ROLE CURRENT_USER PASSWORD 'known'; RETURN true; END $$;
         ALTER FUNCTION public.is_fine OWNER TO app; CREATE TABLE public.more AS SELECT 1 AS one",
    );
    let project = Project::between(&source, &target);
    project
        .run(&["run"])
        .expect_code(4)
        .says(&["one of these may have changed its password"]);
    assert_eq!(logins(&target), "0");
    assert!(!target.lets_in("erp", "app", "known"));
}

/// Up to 14 a role may grant itself to another, who may then connect to the closed database.
#[test]
fn a_function_that_lets_its_owner_in_fails_the_run() {
    let (source, target) = (Server::start(12), Server::start(14));
    source.psql(
        "postgres",
        "CREATE ROLE app LOGIN PASSWORD 'of the app'; CREATE DATABASE erp",
    );
    source.psql(
        "erp",
        "CREATE FUNCTION public.is_fine(int) RETURNS bool LANGUAGE plpgsql AS 'BEGIN RETURN true; END';
         CREATE TABLE public.things (kind int CHECK (public.is_fine(kind))); INSERT INTO public.things VALUES (1);
         CREATE OR REPLACE FUNCTION public.is_fine(int) RETURNS bool LANGUAGE plpgsql AS
             $$ BEGIN EXECUTE format('GRANT %I TO app', session_user); RETURN true; END $$;
         ALTER FUNCTION public.is_fine OWNER TO app",
    );
    Project::between(&source, &target)
        .run(&["run"])
        .expect_code(4)
        .says(&[
            "a function of an owner made these roles members of the login pgmigrate_load_",
            "so that they could connect to the closed database: app",
        ]);
    assert_eq!(logins(&target), "0");
    assert!(!target.lets_in("erp", "app", "of the app"));
}

/// Nothing asks for one any more.
#[test]
fn a_login_that_a_killed_run_left_is_dropped_by_the_next_restore() {
    let (source, target) = (Server::start(16), Server::start(18));
    with_grasp(&source);
    let project = Project::between(&source, &target);
    project.killed_at("erp/restore login made:1");
    source.psql(
        "erp",
        "CREATE OR REPLACE FUNCTION evil.grasp() RETURNS bool LANGUAGE sql AS 'SELECT true'",
    );
    let project = project.with(&waiver("source/owners-code-in-rows"));
    project
        .run(&["reset", "--database", "erp", "--step", "dump"])
        .expect_code(0);
    project.run(&["run"]).expect_code(0);
    nothing_was_taken(&target);
    compare::assert_same(&source, &target, "erp");
}

/// Killed while it is there, and given up.
#[test]
fn a_login_that_a_killed_run_left_is_discarded() {
    let (source, target) = (Server::start(14), Server::start(16));
    with_grasp(&source);
    let project = Project::between(&source, &target);
    project.killed_at("erp/restore login made:1");
    assert_eq!(logins(&target), "1");
    project.run(&["discard", "--all", "--yes"]).expect_code(0);
    assert_eq!(logins(&target), "0");
    let databases = "SELECT count(*) FROM pg_database WHERE datname = 'erp'";
    assert_eq!(target.psql("postgres", databases), "0");
}

/// What such a function may not do refuses its table's rows, with what to do.
#[test]
fn a_function_that_needs_more_is_read_and_waived() {
    let (source, target) = (Server::start(16), Server::start(18));
    source.psql("postgres", "CREATE ROLE app; CREATE DATABASE erp");
    source.psql(
        "erp",
        "CREATE TABLE public.kinds AS SELECT 1 AS kind; ALTER TABLE public.kinds OWNER TO app; GRANT CREATE ON SCHEMA public TO app;
         SET ROLE app; CREATE FUNCTION public.is_kind(int) RETURNS bool LANGUAGE plpgsql STABLE AS
             'BEGIN PERFORM FROM public.kinds; RETURN true; END';
         CREATE TABLE public.things (kind int CHECK (public.is_kind(kind))); INSERT INTO public.things VALUES (1)",
    );
    let project = Project::between(&source, &target);
    project
        .run(&["check"])
        .expect_code(0)
        .says(&["source/owners-code-in-rows", "public.is_kind(integer)"]);
    project.run(&["run"]).expect_code(4).says(&[
        "TABLE DATA public.things: permission denied for table kinds",
        "waive that finding with the function as its object",
    ]);
    assert_eq!(logins(&target), "0");
    let project = project.with(&waiver("source/owners-code-in-rows"));
    project.run(&["run"]).expect_code(0);
    compare::assert_same(&source, &target, "erp");
}

/// A server may let in by name.
#[test]
fn a_login_that_is_not_let_in_is_told_or_refused() {
    let (source, target) = (Server::start(16), Server::start(18));
    source.psql("postgres", "CREATE ROLE app; CREATE DATABASE erp");
    source.psql(
        "erp",
        "CREATE FUNCTION public.is_fine(int) RETURNS bool LANGUAGE plpgsql AS 'BEGIN RETURN true; END';
         ALTER FUNCTION public.is_fine OWNER TO app; CREATE TABLE public.things (kind int CHECK (public.is_fine(kind)));
         INSERT INTO public.things VALUES (1)",
    );
    let file = target.data_directory().join("pg_hba.conf");
    let open = fs::read_to_string(&file).unwrap();
    fs::write(&file, open.replace(" all all ", " all postgres ")).unwrap();
    target.psql("postgres", "SELECT pg_reload_conf()");
    let project = Project::between(&source, &target).target("untrusted_owners", "true");
    let what =
        "the target does not let in the login that would load rows without a superuser's rights";
    project
        .run(&["run"])
        .expect_code(4)
        .says(&[what, "pg_hba.conf on the target"]);
    assert_eq!(logins(&target), "0");
    fs::write(&file, &open).unwrap();
    target.psql("postgres", "SELECT pg_reload_conf()");
    project.run(&["run"]).expect_code(0);
    compare::assert_same(&source, &target, "erp");
    target.psql("postgres", "DROP DATABASE erp");
    fs::write(&file, open.replace(" all all ", " all postgres ")).unwrap();
    target.psql("postgres", "SELECT pg_reload_conf()");
    let project = Project::between(&source, &target);
    project.run(&["run"]).expect_code(0).says(&[what]);
    assert_eq!(logins(&target), "0");
    compare::assert_same(&source, &target, "erp");
}

/// The database is open by then.
#[test]
fn functions_that_owners_plant_before_the_delayed_load_are_told_or_refused() {
    let (source, target) = (Server::start(16), Server::start(18));
    source.psql("postgres", "CREATE ROLE app; CREATE DATABASE erp");
    source.psql(
        "erp",
        "CREATE TABLE public.things (kind int); ALTER TABLE public.things OWNER TO app; INSERT INTO public.things VALUES (1);
         GRANT CREATE ON SCHEMA public TO app",
    );
    let delay = "[delay]\ntable_data = [\"erp.things\"]\n[target.tuning]\nmode = \"off\"\n";
    for owners in ["true", "false"] {
        let project = Project::between(&source, &target)
            .with(delay)
            .target("untrusted_owners", owners);
        project.killed_at("erp/delayed-restore start:1");
        target.psql(
            "erp",
            "SET ROLE app; CREATE FUNCTION public.plant(int) RETURNS bool LANGUAGE plpgsql IMMUTABLE AS
                 'BEGIN RETURN true; END'; ALTER TABLE public.things ADD CHECK (public.plant(kind));
             CREATE INDEX planted ON public.things (public.plant(kind)); ALTER TABLE public.things ADD COLUMN more bool DEFAULT public.plant(1)",
        );
        let told = "functions of owners that the source did not have there run with the rights of the target's role while the delayed table \
                    \"public\".\"things\" is loaded: public.plant(integer) of role app, called by constraint things_kind_check of \
                    public.things, default of a column of public.things, index public.planted";
        if owners == "true" {
            project
                .run(&["run"])
                .expect_code(4)
                .says(&[told, "run again"]);
            target.psql("erp", "ALTER FUNCTION public.plant OWNER TO postgres");
            project.run(&["run"]).expect_code(0);
        } else {
            project.run(&["run"]).expect_code(0).says(&[told]);
        }
        assert_eq!(
            target.psql("erp", "SELECT count(*) FROM public.things"),
            "1"
        );
        target.psql("postgres", "DROP DATABASE erp");
    }
}
