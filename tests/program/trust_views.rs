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

/// An index is built by what its function finds, so that one by a function which reads a materialized view has to wait for the view.
#[test]
fn indexes_that_are_computed_from_a_view_are_built_when_it_is_filled() {
    let (source, target) = (Server::start(16), Server::start(18));
    source.psql("postgres", "CREATE DATABASE erp");
    source.psql(
        "erp",
        "CREATE TABLE big (id int, grp int);
         INSERT INTO big SELECT n, n % 10 FROM generate_series(1, 1000) n;
         CREATE MATERIALIZED VIEW weights AS SELECT grp, count(*)::int AS n FROM big GROUP BY grp;
         CREATE MATERIALIZED VIEW share AS SELECT 1000 / count(*)::int AS n FROM big;
         CREATE FUNCTION weight(int) RETURNS int LANGUAGE sql IMMUTABLE AS
             'SELECT coalesce((SELECT n FROM public.weights WHERE grp = $1), -1)';
         CREATE FUNCTION shared(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT n FROM public.share';
         CREATE INDEX big_weight ON big (weight(grp));
         CREATE INDEX big_shared ON big (shared(grp));
         CREATE UNIQUE INDEX big_unique ON big (id) WHERE weight(grp) = 100;
         CREATE TABLE small (grp int);
         INSERT INTO small SELECT generate_series(0, 9);
         CREATE FUNCTION caught(int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS
             'BEGIN RETURN public.weight($1); EXCEPTION WHEN OTHERS THEN RETURN -1; END';
         CREATE INDEX small_weight ON small (caught(grp));
         CREATE MATERIALIZED VIEW heavy AS SELECT grp FROM small;
         CREATE INDEX heavy_weight ON heavy (weight(grp))",
    );
    let project = Project::between(&source, &target).with("[delay]\ntable_data = [\"erp.big\"]\n");
    let told = project.run(&["run"]).expect_code(0);
    for index in ["big_unique", "small_weight"] {
        told.says(&[&*format!("public.{index}: it is an index of public.")]);
    }
    for (table, rows) in [
        ("big WHERE weight(grp) = 100", "1000"),
        ("big WHERE shared(grp) = 1", "1000"),
        ("big WHERE weight(grp) = 100 AND id < 11", "10"),
        ("small WHERE caught(grp) = 100", "10"),
        ("heavy WHERE weight(grp) = 100", "10"),
    ] {
        let by_index = format!("SET enable_seqscan = off; SELECT count(*) FROM {table}");
        assert_eq!(target.psql("erp", &by_index), rows, "{table}");
    }
    compare::assert_same(&source, &target, "erp");
}

/// What a person corrects as the run asked for is in views and indexes as well, once the run completes.
#[test]
fn views_follow_the_rows_that_a_person_corrects() {
    let (source, target) = (Server::start(16), Server::start(18));
    source.psql("postgres", "CREATE DATABASE erp");
    source.psql(
        "erp",
        "CREATE TABLE parents (id int PRIMARY KEY);
         INSERT INTO parents SELECT generate_series(1, 10);
         CREATE TABLE big (id int PRIMARY KEY, parent int REFERENCES parents);
         INSERT INTO big SELECT n, 1 + n % 10 FROM generate_series(1, 1000) n;
         CREATE MATERIALIZED VIEW total AS SELECT count(*) AS n FROM big;
         CREATE FUNCTION many(int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS
             'BEGIN RETURN $1 + (SELECT n::int FROM public.total); EXCEPTION WHEN OTHERS THEN RETURN -1; END';
         CREATE INDEX by_many ON big (many(id))",
    );
    let project = Project::between(&source, &target)
        .with("[delay]\ntable_data = [\"erp.big\"]\n[target.tuning]\nmode = \"off\"\n");
    project.killed_at("journal step-done erp/verify synced:1");
    target.psql("erp", "DELETE FROM parents WHERE id = 3");
    let told = project.run(&["run"]).expect_code(5);
    told.says(&["or delete these rows there"]);
    target.psql("erp", "DELETE FROM big WHERE parent = 3");
    project.run(&["run"]).expect_code(0);
    assert_eq!(target.psql("erp", "SELECT n FROM total"), "900");
    let by_index = "SET enable_seqscan = off; SELECT count(*) FROM big WHERE many(id) = 901";
    assert_eq!(target.psql("erp", by_index), "1");
}

/// Text that functions make of dates and intervals is what it is under the database's own settings.
#[test]
fn index_entries_are_computed_by_the_settings_of_the_database() {
    let (source, target) = (Server::start(12), Server::start(18));
    source.psql("postgres", "CREATE DATABASE erp");
    source.psql(
        "postgres",
        "ALTER DATABASE erp SET datestyle = 'German, DMY'; ALTER DATABASE erp SET intervalstyle = 'sql_standard'",
    );
    source.psql(
        "erp",
        "CREATE FUNCTION txt(date) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT $1::text';
         CREATE FUNCTION txt(interval) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT $1::text';
         CREATE TABLE regular (id int PRIMARY KEY, d date, i interval,
             shown text GENERATED ALWAYS AS (txt(d)) STORED, CHECK (txt(d) LIKE '__.__.____%'));
         INSERT INTO regular SELECT n, '2025-01-01'::date + n, n * '-1 day 01:00'::interval FROM generate_series(0, 99) n;
         INSERT INTO regular VALUES (200, '0044-03-15 BC', '-1 year -2 months +3 days -04:05:06.7'), (201, '0101-02-03', '-04:05'),
             (202, '12345-06-07', '1 mon -1 day');
         CREATE INDEX by_date ON regular (txt(d));
         CREATE INDEX by_interval ON regular (txt(i));
         CREATE TABLE big (LIKE regular INCLUDING ALL);
         INSERT INTO big (id, d, i) SELECT id, d, i FROM regular",
    );
    let project = Project::between(&source, &target).with("[delay]\ntable_data = [\"erp.big\"]\n");
    project.run(&["run"]).expect_code(0);
    for table in ["regular", "big"] {
        for condition in [
            "txt(d) = '02.01.2025'",
            "txt(d) = '15.03.0044 BC'",
            "txt(i) = (SELECT i::text FROM regular WHERE id = 7)",
        ] {
            let rows =
                format!("SET enable_seqscan = off; SELECT count(*) FROM {table} WHERE {condition}");
            assert_eq!(source.psql("erp", &rows), "1", "{table}: {condition}");
            assert_eq!(target.psql("erp", &rows), "1", "{table}: {condition}");
        }
        let all = format!(
            "SET datestyle = ISO; SELECT md5(string_agg(r::text, ',' ORDER BY id)) FROM {table} r"
        );
        assert_eq!(
            source.psql("erp", &all),
            target.psql("erp", &all),
            "{table}"
        );
    }
}

/// What a run itself computes again is nobody else's: killed between its last look and the record that the step is done.
#[test]
fn a_verification_that_was_killed_at_its_end_finds_no_difference_of_its_own_making() {
    let (source, target) = (Server::start(16), Server::start(18));
    source.psql("postgres", "CREATE DATABASE erp");
    source.psql(
        "erp",
        "CREATE TABLE big AS SELECT n AS id FROM generate_series(1, 1000) n;
         CREATE MATERIALIZED VIEW total AS SELECT count(*) AS n FROM big",
    );
    let project = Project::between(&source, &target).with("[delay]\ntable_data = [\"erp.big\"]\n");
    project.killed_at("journal restored-database erp synced:2");
    assert!(!project.has("step-done", "erp/delayed-verify"));
    project.run(&["run"]).expect_code(0);
    assert_eq!(target.psql("erp", "SELECT n FROM total"), "1000");
}
