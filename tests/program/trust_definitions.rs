//! A release on the source between the snapshot and the moment in which pg_dump has read all definitions: what arrives is as it was, or as
//! it is, and never half of each.

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
