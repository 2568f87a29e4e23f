//! A release on the source between the snapshot and the moment in which pg_dump has read all definitions: what arrives is as it was, or as
//! it is, and never half of each.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::support::place;
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
    CREATE STATISTICS by_both ON id, status FROM orders";

const RELEASES: [&str; 5] = [
    "CREATE OR REPLACE FUNCTION price(net int, vat int DEFAULT 19) RETURNS int LANGUAGE sql AS 'SELECT net * (100 + vat) / 100'",
    "DROP TRIGGER inserted ON shown;
     CREATE TRIGGER inserted INSTEAD OF INSERT OR UPDATE ON shown FOR EACH ROW EXECUTE FUNCTION note()",
    "ALTER INDEX orders_status RENAME TO orders_state",
    "DROP STATISTICS by_both; CREATE STATISTICS by_both (ndistinct) ON id, status FROM orders",
    "DROP VIEW listed; CREATE VIEW listed AS SELECT status, id FROM orders",
];

const SHOWN: &str = "
    SELECT pg_get_functiondef('price'::regproc) || price(100)
        || (SELECT string_agg(pg_get_triggerdef(oid), ' ') FROM pg_trigger WHERE NOT tgisinternal)
        || (SELECT string_agg(indexrelid::regclass::text, ' ') FROM pg_index WHERE indrelid = 'orders'::regclass)
        || (SELECT string_agg(pg_get_statisticsobjdef(oid), ' ') FROM pg_statistic_ext) || pg_get_viewdef('listed'::regclass)";

/// The first dump waits until it may go.
fn with_slow_dump(project: Project) -> Project {
    let programs = project.directory().join("programs");
    let real = place::clients(18);
    fs::create_dir(&programs).unwrap();
    let script = format!(
        "#!/bin/sh\ncase \"$*\" in *--snapshot*) touch {waits}; while [ ! -e {go} ]; do sleep 0.05; done;; esac\nexec {dump} \"$@\"\n",
        waits = project.directory().join("waits").display(),
        go = project.directory().join("go").display(),
        dump = real.join("pg_dump").display(),
    );
    let dump = programs.join("pg_dump");
    fs::write(&dump, script).unwrap();
    fs::set_permissions(&dump, fs::Permissions::from_mode(0o755)).unwrap();
    project.variable("PATH", place::path_with(&[programs, real]))
}

#[test]
fn what_a_release_replaces_arrives_whole() {
    for release in RELEASES {
        let (source, target) = (Server::start(17), Server::start(18));
        source.psql("postgres", "CREATE DATABASE erp");
        source.psql("erp", BEFORE);
        let project = with_slow_dump(Project::between(&source, &target));
        let mut run = project.start(&["run"]);
        run.until("the dump", || project.directory().join("waits").exists());
        for statement in release.split(';') {
            source.psql("erp", statement);
        }
        fs::write(project.directory().join("go"), "").unwrap();
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
