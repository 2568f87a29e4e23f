//! A release on the source between the snapshot and the moment in which pg_dump has read all definitions: what arrives is as it was, or as
//! it is, and never half of each.

use crate::support::held::Held;
use crate::support::paused::Paused;
use crate::support::project::Project;
use crate::support::server::Server;

const BEFORE: &str = "
    CREATE TABLE orders AS SELECT n AS id, n AS status FROM generate_series(1, 100) n;
    CREATE UNIQUE INDEX orders_status ON orders (status);
    CREATE FUNCTION price(net int, vat int DEFAULT 0) RETURNS int LANGUAGE sql AS 'SELECT net + net * vat / 100';
    CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
    CREATE VIEW shown AS SELECT id FROM orders;
    CREATE TRIGGER inserted INSTEAD OF INSERT ON shown FOR EACH ROW EXECUTE FUNCTION note();
    CREATE VIEW listed AS SELECT id FROM orders;
    COMMENT ON COLUMN listed.id IS 'of the order';
    CREATE STATISTICS by_both ON id, status FROM orders";

const RELEASES: [&str; 6] = [
    "CREATE OR REPLACE FUNCTION price(net int, vat int DEFAULT 19) RETURNS int LANGUAGE sql AS 'SELECT net * (100 + vat) / 100'",
    "DROP TRIGGER inserted ON shown;
     CREATE TRIGGER inserted INSTEAD OF INSERT OR UPDATE ON shown FOR EACH ROW EXECUTE FUNCTION note()",
    "ALTER INDEX orders_status RENAME TO orders_state",
    "DROP STATISTICS by_both; CREATE STATISTICS by_both (ndistinct) ON id, status FROM orders",
    "DROP VIEW listed; CREATE VIEW listed AS SELECT status, id FROM orders",
    "ALTER VIEW listed RENAME COLUMN id TO number",
];

const SHOWN: &str = "
    SELECT pg_get_functiondef('price'::regproc) || price(100)
        || (SELECT string_agg(pg_get_triggerdef(oid), ' ') FROM pg_trigger WHERE NOT tgisinternal)
        || (SELECT string_agg(indexrelid::regclass::text, ' ') FROM pg_index WHERE indrelid = 'orders'::regclass)
        || (SELECT string_agg(pg_get_statisticsobjdef(oid), ' ') FROM pg_statistic_ext) || pg_get_viewdef('listed'::regclass)";

#[test]
fn what_a_release_replaces_arrives_whole() {
    for release in RELEASES {
        let (source, target) = (Server::start(17), Server::start(18));
        source.psql("postgres", "CREATE DATABASE erp");
        source.psql("erp", BEFORE);
        let project = Project::between(&source, &target);
        let (project, dump) = Paused::of(project, "pg_dump", "--snapshot");
        let mut run = project.start(&["run"]);
        dump.until_reached(&mut run);
        for statement in release.split(';') {
            source.psql("erp", statement);
        }
        dump.go();
        run.wait().expect_code(0);
        assert_eq!(
            target.psql("erp", SHOWN),
            source.psql("erp", SHOWN),
            "{release}"
        );
    }
}

/// Where nothing is replaced, no dump is begun again.
#[test]
fn an_undisturbed_dump_is_made_once() {
    let (source, target) = (Server::start(17), Server::start(18));
    source.psql("postgres", "CREATE DATABASE erp");
    source.psql("erp", BEFORE);
    let project = Project::between(&source, &target);
    project.run(&["run"]).expect_code(0);
    let begun = project.journal_steps("step-started");
    let dumps = begun.iter().filter(|step| *step == "erp/dump").count();
    assert_eq!(dumps, 1);
    assert_eq!(target.psql("erp", SHOWN), source.psql("erp", SHOWN));
}

/// What one name means, and its namesake that takes the name while pg_dump is about to read; and what shows which of them is meant.
struct Swap {
    before: &'static str,
    swap: &'static str,
    shown: &'static str,
}

const SWAPS: [Swap; 8] = [
    Swap {
        before: "CREATE DOMAIN email AS text; CREATE DOMAIN email_v2 AS text CHECK (VALUE LIKE '%@%');
                 CREATE TABLE t (mail email_v2)",
        swap: "DROP DOMAIN email; ALTER DOMAIN email_v2 RENAME TO email",
        shown: "SELECT pg_get_constraintdef(c.oid) FROM pg_attribute a LEFT JOIN pg_constraint c ON c.contypid = a.atttypid
                WHERE a.attrelid = 't'::regclass AND a.attnum = 1",
    },
    Swap {
        before: "CREATE TEXT SEARCH CONFIGURATION en (COPY = simple); CREATE TEXT SEARCH CONFIGURATION en_v2 (COPY = english);
                 CREATE TABLE t (word text, v tsvector GENERATED ALWAYS AS (to_tsvector('en_v2', word)) STORED);
                 INSERT INTO t VALUES ('the houses')",
        swap: "DROP TEXT SEARCH CONFIGURATION en; ALTER TEXT SEARCH CONFIGURATION en_v2 RENAME TO en",
        shown: "SELECT v FROM t",
    },
    Swap {
        before: "CREATE TEXT SEARCH DICTIONARY d (TEMPLATE = simple);
                 CREATE TEXT SEARCH DICTIONARY d_v2 (TEMPLATE = simple, stopwords = english);
                 CREATE TEXT SEARCH CONFIGURATION en (COPY = simple);
                 ALTER TEXT SEARCH CONFIGURATION en ALTER MAPPING FOR asciiword WITH d_v2; CREATE TABLE t ()",
        swap: "DROP TEXT SEARCH DICTIONARY d; ALTER TEXT SEARCH DICTIONARY d_v2 RENAME TO d",
        shown: "SELECT to_tsvector('en', 'the houses')",
    },
    Swap {
        before: "CREATE COLLATION c (LOCALE = 'C'); CREATE COLLATION c_v2 (LOCALE = 'POSIX');
                 CREATE TABLE t (word text); CREATE INDEX t_word ON t (word COLLATE c_v2)",
        swap: "DROP COLLATION c; ALTER COLLATION c_v2 RENAME TO c",
        shown: "SELECT collcollate FROM pg_index JOIN pg_collation c ON c.oid = indcollation[0] WHERE indexrelid = 't_word'::regclass",
    },
    Swap {
        before: "CREATE SCHEMA lib; CREATE DOMAIN lib.email AS text;
                 CREATE SCHEMA lib_v2; CREATE DOMAIN lib_v2.email AS text CHECK (VALUE LIKE '%@%');
                 CREATE TABLE t (mail lib_v2.email)",
        swap: "DROP SCHEMA lib CASCADE; ALTER SCHEMA lib_v2 RENAME TO lib",
        shown: "SELECT pg_get_constraintdef(c.oid) FROM pg_attribute a LEFT JOIN pg_constraint c ON c.contypid = a.atttypid
                WHERE a.attrelid = 't'::regclass AND a.attnum = 1",
    },
    Swap {
        before: "CREATE FOREIGN DATA WRAPPER w; CREATE SERVER s FOREIGN DATA WRAPPER w;
                 CREATE FOREIGN TABLE f (x int OPTIONS (of 'old'), y int OPTIONS (of 'new')) SERVER s;
                 CREATE VIEW t AS SELECT y AS shown FROM f",
        swap: "ALTER FOREIGN TABLE f DROP COLUMN x; ALTER FOREIGN TABLE f RENAME COLUMN y TO x",
        shown: "SELECT a.attfdwoptions FROM pg_rewrite r JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid
                JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
                WHERE r.ev_class = 't'::regclass AND d.refobjid = 'f'::regclass AND d.refobjsubid > 0",
    },
    Swap {
        before: "CREATE SEQUENCE no; CREATE SEQUENCE no_v2 INCREMENT 10; CREATE TABLE t (id int DEFAULT nextval('no_v2'))",
        swap: "DROP SEQUENCE no; ALTER SEQUENCE no_v2 RENAME TO no",
        shown: "SELECT seqincrement FROM pg_attrdef f JOIN pg_depend d ON d.classid = 'pg_attrdef'::regclass AND d.objid = f.oid
                JOIN pg_sequence ON seqrelid = d.refobjid WHERE f.adrelid = 't'::regclass",
    },
    Swap {
        before: "CREATE ROLE clerk; CREATE ROLE clerk_v2; CREATE TABLE t (id int); ALTER TABLE t OWNER TO clerk_v2;
                 CREATE TABLE u (id int); GRANT SELECT ON u TO clerk_v2",
        swap: "DROP ROLE clerk; ALTER ROLE clerk_v2 RENAME TO clerk",
        shown: "SELECT o.oid = a.grantee FROM pg_class t JOIN pg_roles o ON o.oid = t.relowner, pg_class u, LATERAL aclexplode(u.relacl) a
                WHERE t.relname = 't' AND u.relname = 'u' AND a.grantee <> u.relowner",
    },
];

#[test]
fn what_takes_the_name_of_another_is_what_others_still_refer_to() {
    let mut wrong = Vec::new();
    for Swap {
        before,
        swap,
        shown,
    } in SWAPS
    {
        let (source, target) = (Server::start(17), Server::start(18));
        source.psql("postgres", "CREATE DATABASE erp");
        source.psql("erp", before);
        let project = Project::between(&source, &target);
        let (project, dump) = Paused::of(project, "pg_dump", "--snapshot");
        let mut run = project.start(&["run"]);
        dump.until_reached(&mut run);
        source.psql("erp", swap);
        dump.go();
        let ran = run.wait();
        let (there, here) = (target.try_psql("erp", shown), source.try_psql("erp", shown));
        if ran.code != Some(0) || there != here {
            wrong.push(format!("{swap}: {there:?}, not {here:?}: {}", ran.said()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Other sessions come and go with theirs all day.
#[test]
fn temporary_objects_do_not_disturb_the_dump() {
    const TEMPORARY: &str = "CREATE TEMPORARY TABLE mine (id serial PRIMARY KEY, words text[]); CREATE TEMPORARY VIEW seen AS SELECT id FROM mine;
        CREATE DOMAIN pg_temp.short AS text; CREATE TYPE pg_temp.pair AS (a int, b int)";
    let (source, target) = (Server::start(17), Server::start(18));
    source.psql("postgres", "CREATE DATABASE erp");
    source.psql("erp", BEFORE);
    let mut other = Held::begin(&source, "erp", TEMPORARY);
    other.run("COMMIT");
    let project = Project::between(&source, &target);
    let (project, dump) = Paused::of(project, "pg_dump", "--snapshot");
    let mut run = project.start(&["run"]);
    dump.until_reached(&mut run);
    drop(other);
    source.psql("erp", TEMPORARY);
    source.psql("erp", "CREATE TABLE newer (id serial PRIMARY KEY, words text[]); CREATE ROLE passer; DROP ROLE passer");
    dump.go();
    run.wait().expect_code(0);
    let begun = project.journal_steps("step-started");
    assert_eq!(begun.iter().filter(|step| *step == "erp/dump").count(), 1);
}
