//! What the target's version has or does otherwise than the source's, and no dump says.

use crate::support::project::Project;
use crate::support::server::Server;

/// Stemmers that changed, functions that are new in pg_catalog, NOT NULL that is inherited, CREATEROLE that means less.
#[test]
fn what_the_targets_version_does_otherwise_is_told_before() {
    let (source, target) = (Server::start(14), Server::start(18));
    source.psql(
        "postgres",
        "CREATE ROLE admin LOGIN CREATEROLE; CREATE ROLE app; CREATE ROLE reader; CREATE ROLE member;
         GRANT reader TO admin WITH ADMIN OPTION; GRANT admin TO member",
    );
    source.psql("postgres", "CREATE DATABASE erp");
    source.psql(
        "erp",
        "CREATE TABLE art (body text, found tsvector, asked tsquery,
             plain tsvector GENERATED ALWAYS AS (to_tsvector('german', body)) STORED);
         CREATE FUNCTION uuidv4() RETURNS trigger LANGUAGE plpgsql AS
             'BEGIN NEW.found := to_tsvector(''german'', NEW.body); RETURN NEW; END';
         CREATE TRIGGER art BEFORE INSERT OR UPDATE ON art FOR EACH ROW EXECUTE FUNCTION uuidv4();
         INSERT INTO art (body) VALUES ('unsere Lehrerin');
         CREATE FUNCTION uuidv7() RETURNS text LANGUAGE sql AS $$SELECT 'of ours'$$;
         CREATE FUNCTION array_sort(anyarray, backwards bool DEFAULT true) RETURNS anyarray LANGUAGE sql AS 'SELECT $1';
         CREATE FUNCTION gcd(text, text) RETURNS text LANGUAGE sql AS 'SELECT $1';
         CREATE FUNCTION date_add(timestamp, interval) RETURNS text LANGUAGE sql AS $$SELECT 'of ours'$$;
         CREATE FUNCTION uuid_extract_version(text) RETURNS int LANGUAGE sql AS 'SELECT 1';
         CREATE FUNCTION random(text, VARIADIC text[]) RETURNS text LANGUAGE sql AS 'SELECT $1';
         CREATE TABLE parent (id int, name text NOT NULL); CREATE TABLE child () INHERITS (parent);
         CREATE TABLE grandchild () INHERITS (child); ALTER TABLE ONLY parent ADD PRIMARY KEY (id);
         ALTER TABLE grandchild ALTER name DROP NOT NULL",
    );
    let project = Project::between(&source, &target);
    let grant = "GRANT \"app\" TO \"admin\" WITH ADMIN OPTION, INHERIT FALSE, SET FALSE";
    project.run(&["check"]).expect_code(0).says(&[
        "source/createrole: ROLE admin: the role has CREATEROLE",
        grant,
    ]);
    let run = project.run(&["run"]).expect_code(0);
    run.says(&[
        "source/createrole: ROLE admin",
        "source/inherited-columns: database \"erp\": columns may be NULL here",
        "from the dump: public.child (id), public.grandchild (id, name)",
        "source/shadowed-function: database \"erp\": the target's pg_catalog has functions that are called as these",
        "return something else: public.array_sort(anyarray,boolean), public.uuidv7(); the target's pg_catalog has functions of these names",
        "and the source's has none: public.date_add(timestamp without time zone,interval) (date_add(timestamp with time zone, interval))",
        "source/stored-lexemes: database \"erp\": columns keep lexemes as the source made them",
        "of some words (english, german, greek, italian, romanian, swedish): searches",
        "not find all rows there any more: public.art (found tsvector, asked tsquery)",
    ]);
    let said = run.said();
    for other in ["public.gcd(", "uuid_extract_version(", "random("] {
        assert!(!said.contains(other), "{said}");
    }
    // What it is about, and what is advised.
    let found = "SELECT found @@ plainto_tsquery('german', body), plain @@ plainto_tsquery('german', body) FROM art";
    assert_eq!(source.psql("erp", found), "t|t");
    assert_eq!(target.psql("erp", found), "f|t");
    target.psql("erp", "UPDATE art SET body = body");
    assert_eq!(target.psql("erp", found), "t|t");
    let ours = "SELECT uuidv7()::text = 'of ours'";
    assert_eq!(source.psql("erp", ours), "t");
    assert_eq!(target.psql("erp", ours), "f");
    target.psql(
        "postgres",
        "ALTER DATABASE erp SET search_path = public, pg_catalog",
    );
    assert_eq!(target.psql("erp", ours), "t");
    let due = "SELECT date_add('2026-01-01'::date, '1 month')::text = 'of ours'";
    assert_eq!(source.psql("erp", due), "t");
    assert_eq!(target.psql("erp", due), "f");
    let nullable = "INSERT INTO child VALUES (NULL, 'x')";
    source.psql("erp", nullable);
    assert!(target.try_psql("erp", nullable).is_err());
    target.psql(
        "erp",
        "ALTER TABLE parent ALTER CONSTRAINT parent_id_not_null NO INHERIT; ALTER TABLE child ALTER id DROP NOT NULL",
    );
    target.psql("erp", nullable);
    let alter = "SET ROLE admin; ALTER ROLE app VALID UNTIL '2040-01-01'";
    source.psql("postgres", alter);
    assert!(target.try_psql("postgres", alter).is_err());
    target.psql("postgres", grant);
    target.psql("postgres", alter);
    let said = project.run(&["check"]).expect_code(0).said();
    assert!(!said.contains("source/createrole"), "{said}");
}
