//! Materialized views that the restore cannot fill.

use crate::support::compare;
use crate::support::project::Project;
use crate::support::server::Server;

/// What cannot be computed from an empty table is filled once its rows are there, also what reads it.
#[test]
fn a_view_that_an_empty_delayed_table_cannot_fill_is_filled_later() {
    let (source, target) = (Server::start(16), Server::start(18));
    source.psql("postgres", "CREATE DATABASE erp");
    source.psql(
        "erp",
        "CREATE TABLE events (id int PRIMARY KEY);
         INSERT INTO events SELECT generate_series(1, 500);
         CREATE MATERIALIZED VIEW b_share AS SELECT 1000 / count(*) AS share FROM events;
         CREATE MATERIALIZED VIEW a_share AS SELECT share FROM b_share;
         CREATE UNIQUE INDEX ON a_share (share);
         CREATE MATERIALIZED VIEW never AS SELECT 1 AS one WITH NO DATA",
    );
    let project =
        Project::between(&source, &target).with("[delay]\ntable_data = [\"erp.events\"]\n");
    let run = project.run(&["run"]).expect_code(0);
    assert!(
        run.said().contains("filled after their load"),
        "{}",
        run.said()
    );
    assert_eq!(target.psql("erp", "SELECT share FROM a_share"), "2");
    compare::assert_same(&source, &target, "erp");
}

/// One that no run fills: the plan accepts it for the restore, for the comparison and after the delayed load.
#[test]
fn a_view_that_cannot_be_filled_is_accepted_everywhere() {
    for delay in ["", "[delay]\ntable_data = [\"erp.events\"]\n"] {
        let (source, target) = (Server::start(16), Server::start(18));
        source.psql("postgres", "CREATE DATABASE erp");
        source.psql(
            "erp",
            "CREATE TABLE events (id int PRIMARY KEY);
             INSERT INTO events SELECT generate_series(1, 500);
             CREATE FUNCTION old_only() RETURNS int LANGUAGE plpgsql AS
                 $$ BEGIN IF current_setting('server_version_num')::int >= 180000 THEN RAISE 'not here'; END IF; RETURN 1; END $$;
             CREATE MATERIALIZED VIEW old AS SELECT public.old_only() AS one",
        );
        let project = Project::between(&source, &target).with(delay);
        let run = project.run(&["run"]).expect_code(4);
        assert!(
            run.said().contains("MATERIALIZED VIEW DATA public.old"),
            "{}",
            run.said()
        );
        assert!(run.said().contains("[[accept]]"), "{}", run.said());
        let project = project.with(
            "[[accept]]\ndatabase = \"erp\"\nobject = \"MATERIALIZED VIEW DATA public.old\"\nreason = \"nobody reads it\"\n",
        );
        let run = project.run(&["run"]).expect_code(0);
        assert!(run.said().contains("not filled"), "{}", run.said());
        assert_eq!(target.psql("erp", "SELECT count(*) FROM events"), "500");
        let filled = "SELECT relispopulated FROM pg_class WHERE relname = 'old'";
        assert_eq!(target.psql("erp", filled), "f");
    }
}
