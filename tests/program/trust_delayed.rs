//! Delayed tables: what comes after the regular data has to fit to it.

use crate::support::compare;
use crate::support::held::Held;
use crate::support::project::{Finished, Project, waiver};
use crate::support::server::{Server, identifier};

/// A run between servers 16 and 18 that was killed once `erp` was verified, before its delayed tables were dumped.
fn verified_and_killed(schema: &str, delay: &str) -> (Server, Server, Project) {
    killed_after("verify", schema, delay)
}

/// As [`verified_and_killed`], once another step of `erp` was done.
fn killed_after(step: &str, schema: &str, delay: &str) -> (Server, Server, Project) {
    let (source, target) = (Server::start(16), Server::start(18));
    source.psql("postgres", "CREATE DATABASE erp");
    source.psql("erp", schema);
    let project = Project::between(&source, &target).with(&format!("[delay]\n{delay}\n"));
    let point = format!("journal step-done erp/{step} synced:1");
    project.killed_at(&point);
    (source, target, project)
}

#[test]
fn sequences_are_not_behind_the_rows_of_a_later_snapshot() {
    let (source, target, project) = verified_and_killed(
        "CREATE TABLE events (id serial PRIMARY KEY, word text);
         CREATE TABLE visits (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, word text);
         INSERT INTO events (word) SELECT 'e' FROM generate_series(1, 500);
         INSERT INTO visits (word) SELECT 'v' FROM generate_series(1, 500)",
        "table_data = [\"erp.events\", \"erp.visits\"]\nsnapshot = \"later\"",
    );
    for table in ["events", "visits"] {
        let sql = format!("INSERT INTO {table} (word) SELECT 'more' FROM generate_series(1, 100)");
        source.psql("erp", &sql);
    }
    project.run(&["run"]).expect_code(0);
    for table in ["events", "visits"] {
        let rows = target.psql("erp", &format!("SELECT count(*) FROM {table}"));
        assert_eq!(rows, "600");
    }
    compare::assert_same(&source, &target, "erp");
}

/// A script sets all sequences to what their tables hold, as many do after a restore: the delayed ones hold nothing yet. Those of other
/// tables are left to it.
#[test]
fn sequences_that_a_script_set_before_the_delayed_rows_came_are_not_behind_them() {
    let (_source, target, project) = verified_and_killed(
        "CREATE TABLE events (id serial PRIMARY KEY, word text);
         CREATE TABLE visits (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, word text);
         CREATE SEQUENCE numbers; CREATE TABLE bills (id int DEFAULT nextval('numbers') PRIMARY KEY, word text);
         CREATE TABLE others (id serial PRIMARY KEY, word text);
         INSERT INTO events (word) SELECT 'e' FROM generate_series(1, 500);
         INSERT INTO visits (word) SELECT 'v' FROM generate_series(1, 500);
         INSERT INTO bills (word) SELECT 'b' FROM generate_series(1, 500);
         INSERT INTO others (word) SELECT 'o' FROM generate_series(1, 500);
         DELETE FROM others WHERE id > 400",
        "table_data = [\"erp.events\", \"erp.visits\", \"erp.bills\"]",
    );
    let sequences = [
        ("events", "events_id_seq"),
        ("visits", "visits_id_seq"),
        ("bills", "numbers"),
        ("others", "others_id_seq"),
    ];
    for (table, sequence) in sequences {
        let sql =
            format!("SELECT setval('{sequence}', coalesce((SELECT max(id) FROM {table}), 1))");
        target.psql("erp", &sql);
    }
    project.run(&["run"]).expect_code(0);
    for (table, sequence) in &sequences[..3] {
        target.psql("erp", &format!("INSERT INTO {table} (word) VALUES ('new')"));
        let last = target.psql("erp", &format!("SELECT last_value FROM {sequence}"));
        assert_eq!(last, "501", "{sequence}");
    }
    let last = target.psql("erp", "SELECT last_value FROM others_id_seq");
    assert_eq!(last, "400");
}

/// A sequence that clients of the target used more than those of the source is left as it is, whatever it counts.
#[test]
fn sequences_that_clients_are_ahead_with_stay_ahead() {
    let (source, target, project) = verified_and_killed(
        "CREATE TABLE events (id serial PRIMARY KEY, word text);
         CREATE SEQUENCE down INCREMENT -2; CREATE SEQUENCE far; CREATE SEQUENCE unused; CREATE SEQUENCE cached CACHE 50;
         CREATE SEQUENCE cycle MAXVALUE 10 CYCLE;
         CREATE TABLE others (id int DEFAULT nextval('far'));
         INSERT INTO events (word) SELECT 'e' FROM generate_series(1, 500)",
        "table_data = [\"erp.events\"]\nsnapshot = \"later\"",
    );
    source.psql(
        "erp",
        "INSERT INTO events (word) SELECT 'more' FROM generate_series(1, 100);
         SELECT nextval('down'); SELECT nextval('down'); SELECT setval('far', 1000000); SELECT nextval('cached')",
    );
    target.psql(
        "erp",
        "SELECT setval('public.events_id_seq', 700); SELECT nextval('public.far')",
    );
    project.run(&["run"]).expect_code(0);
    let next = |sequence: &str| target.psql("erp", &format!("SELECT nextval('public.{sequence}')"));
    assert_eq!(next("events_id_seq"), "701");
    assert_eq!(next("down"), "-5");
    assert_eq!(next("far"), "1000001");
    assert_eq!(next("unused"), "1");
    assert_eq!(next("cached"), "51");
    assert_eq!(next("cycle"), "1");
    assert_eq!(target.psql("erp", "SELECT count(*) FROM events"), "600");
}

/// Each table is compared with its own snapshot, so no count shows it.
#[test]
fn rows_that_move_between_two_snapshots_are_told_of_before() {
    let (source, target, project) = verified_and_killed(
        "CREATE TABLE orders AS SELECT generate_series(1, 100) AS id; CREATE TABLE archive (id int)",
        "table_data = [\"erp.archive\"]\nsnapshot = \"later\"",
    );
    let told = [
        "delay/later-snapshot: database \"erp\": ",
        "arrives in both or in none",
    ];
    project.run(&["check"]).expect_code(0).says(&told);
    project
        .run(&["plan", "--dry-run"])
        .expect_code(0)
        .says(&told[1..]);
    source.psql("erp", "WITH old AS (DELETE FROM orders WHERE id <= 30 RETURNING *) INSERT INTO archive SELECT * FROM old");
    project.run(&["run"]).expect_code(0).says(&told);
    let report = project.report().to_string();
    assert!(report.contains("delay/later-snapshot"), "{report}");
    // What it is about.
    let both = "SELECT count(*) FROM orders JOIN archive USING (id)";
    assert_eq!(target.psql("erp", both), "30");
}

const PARENTS: &str = "
    CREATE TABLE parents (id int PRIMARY KEY);
    CREATE TABLE children (id int PRIMARY KEY, parent int NOT NULL REFERENCES parents);
    INSERT INTO parents SELECT generate_series(1, 100);
    INSERT INTO children SELECT n, 1 + n % 100 FROM generate_series(1, 1000) n";

/// Either there are none, or the run says so and names the table.
fn assert_no_silent_orphans(target: &Server, finished: &Finished) {
    let orphans = target.psql(
        "erp",
        "SELECT count(*) FROM children c WHERE NOT EXISTS (SELECT FROM parents p WHERE p.id = c.parent)",
    );
    let said = [finished.stdout.as_str(), &finished.stderr].concat();
    let is_told = finished.code == Some(5) && said.contains("children_parent_fkey");
    assert!(
        orphans == "0" || is_told,
        "{orphans} orphans, exit {:?}",
        finished.code
    );
}

#[test]
fn a_parent_that_a_client_deletes_before_its_delayed_children_come_is_told() {
    let (_source, target, project) = verified_and_killed(
        PARENTS,
        "table_data = [\"erp.children\"]\nsnapshot = \"same\"",
    );
    target.psql("erp", "DELETE FROM parents WHERE id = 17");
    let finished = project.run(&["run"]);
    assert_no_silent_orphans(&target, &finished);
}

#[test]
fn children_of_parents_that_came_after_the_regular_snapshot_are_told() {
    let (source, target, project) = verified_and_killed(
        PARENTS,
        "table_data = [\"erp.children\"]\nsnapshot = \"later\"",
    );
    source.psql(
        "erp",
        "INSERT INTO parents VALUES (101);
         INSERT INTO children SELECT 1000 + n, 101 FROM generate_series(1, 50) n",
    );
    let finished = project.run(&["run"]);
    assert_no_silent_orphans(&target, &finished);
}

/// Keys of several columns, of partitioned tables on both sides, with NULL and MATCH FULL; each is proved, and where a
/// person corrects the rows, the next run completes.
#[test]
fn foreign_keys_of_every_form_are_proved() {
    let (_source, target, project) = verified_and_killed(
        "CREATE TABLE plain (a int, b text, PRIMARY KEY (a, b));
         CREATE TABLE parted (id int PRIMARY KEY) PARTITION BY RANGE (id);
         CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM (0) TO (50);
         CREATE TABLE parted_2 PARTITION OF parted FOR VALUES FROM (50) TO (100);
         CREATE TABLE late (id int, a bigint, b varchar(9), p int REFERENCES parted,
             CONSTRAINT to_plain FOREIGN KEY (a, b) REFERENCES plain MATCH FULL) PARTITION BY HASH (id);
         CREATE TABLE late_0 PARTITION OF late FOR VALUES WITH (MODULUS 2, REMAINDER 0);
         CREATE TABLE late_1 PARTITION OF late FOR VALUES WITH (MODULUS 2, REMAINDER 1);
         INSERT INTO plain VALUES (1, 'x'), (2, 'y');
         INSERT INTO parted SELECT generate_series(1, 99);
         INSERT INTO late VALUES (1, 1, 'x', 1), (2, 2, 'y', 60), (3, NULL, NULL, NULL), (4, 2, 'y', 61)",
        "table_data = [\"erp.late\"]",
    );
    target.psql(
        "erp",
        "DELETE FROM plain WHERE a = 2; DELETE FROM parted WHERE id = 60",
    );
    let told = project.run(&["run"]).expect_code(5);
    let said: Vec<&str> = told.stdout.split_whitespace().collect();
    let said = said.join(" ");
    for words in [
        "the foreign key to_plain of public.late: 2 of its rows refer to 1 keys that are not in public.plain",
        "the foreign key late_p_fkey of public.late: 1 of its rows refer to 1 keys that are not in public.parted",
    ] {
        assert!(said.contains(words), "{said}");
    }
    project.run(&["run"]).expect_code(5);
    target.psql(
        "erp",
        "INSERT INTO plain VALUES (2, 'y'); DELETE FROM late WHERE p = 60",
    );
    // Nobody asked for the rows of the other tables to be deleted.
    let told = project.run(&["run"]).expect_code(5);
    told.says(&["public.parted_2 (0 updated, 1 deleted), public.plain"]);
    let project = project.with(&waiver("target/differed"));
    project.run(&["run"]).expect_code(0);
}

/// The patterns of pg_dump are in the encoding of its command line, names in that of the database.
#[test]
fn a_delayed_table_with_an_umlaut_in_latin1_is_loaded_once() {
    let (source, target) = (Server::start(16), Server::start(18));
    source.psql(
        "postgres",
        "CREATE DATABASE erp ENCODING LATIN1 LOCALE 'C' TEMPLATE template0",
    );
    let table = identifier("größe");
    source.psql(
        "erp",
        &format!(
            "CREATE TABLE {table} AS SELECT n AS id, 'ä' AS word FROM generate_series(1, 500) n"
        ),
    );
    let project =
        Project::between(&source, &target).with("[delay]\ntable_data = [\"erp.public.größe\"]\n");
    project.run(&["run"]).expect_code(0);
    let rows = target.psql("erp", &format!("SELECT count(*) FROM {table}"));
    assert_eq!(rows, "500", "rows were loaded twice");
    compare::assert_same(&source, &target, "erp");
}

/// A migration of `erp` with these tables delayed, by a role that may not load as a replica does.
fn migrate_with_a_limited_role(schema: &str, delayed: &str) {
    let (source, target) = (Server::start(16), Server::start(18));
    source.psql("postgres", "CREATE ROLE app LOGIN");
    source.psql("postgres", "CREATE DATABASE erp OWNER app");
    source.psql("erp", schema);
    target.psql(
        "postgres",
        "CREATE ROLE mover LOGIN CREATEDB CREATEROLE PASSWORD 'of the mover'",
    );
    let project = Project::between(&source, &target)
        .target("user", "\"mover\"")
        .variable("TARGET_PASSWORD", "of the mover")
        .with(&format!("[delay]\ntable_data = {delayed}\n"));
    project.run(&["run"]).expect_code(0);
    compare::assert_same(&source, &target, "erp");
}

/// Children before their parents by name, and a role that may not load as a replica does.
#[test]
fn foreign_keys_between_delayed_tables_do_not_keep_a_limited_role_out() {
    migrate_with_a_limited_role(
        "SET ROLE app;
         CREATE TABLE b_parents (id int PRIMARY KEY);
         CREATE TABLE a_children (id int PRIMARY KEY, parent int NOT NULL REFERENCES b_parents);
         INSERT INTO b_parents SELECT generate_series(1, 100);
         INSERT INTO a_children SELECT n, 1 + n % 100 FROM generate_series(1, 1000) n",
        r#"["erp.a_children", "erp.b_parents"]"#,
    );
}

/// Clients write while an index is built where the plan says `concurrently`.
#[test]
fn clients_write_while_indexes_of_delayed_tables_are_built() {
    let (source, target) = (Server::start(16), Server::start(18));
    source.psql("postgres", "CREATE DATABASE erp");
    source.psql(
        "erp",
        "CREATE TABLE events (id serial PRIMARY KEY, word text);
         CREATE FUNCTION slow(t text) RETURNS text IMMUTABLE LANGUAGE plpgsql AS
             $$ BEGIN IF current_setting('server_version_num')::int >= 180000 THEN PERFORM pg_sleep(0.004); END IF; RETURN t; END $$;
         INSERT INTO events (word) SELECT 'e' FROM generate_series(1, 500);
         CREATE INDEX by_word ON events (public.slow(word))",
    );
    let project = Project::between(&source, &target)
        .with("[delay]\ntable_data = [\"erp.events\"]\nconcurrently = true\n[target.tuning]\nmode = \"safe\"\n");
    project.run(&["check", "--offline"]).expect_code(0);
    let mut running = project.start(&["run"]);
    running.until("the index build", || {
        let building = "SELECT count(*) FROM pg_stat_progress_create_index WHERE datname = 'erp'";
        project.state_directory().join("journal.jsonl").exists()
            && project
                .journal_steps("step-started")
                .contains(&"erp/recreate-indexes".to_owned())
            && target.psql("postgres", building) != "0"
    });
    target.psql(
        "erp",
        "SET lock_timeout = '200ms'; INSERT INTO events (word) VALUES ('of a client')",
    );
    running.wait().expect_code(0);
    assert_eq!(target.psql("erp", "SELECT count(*) FROM events"), "501");
}

/// What a killed CREATE INDEX CONCURRENTLY leaves is dropped and built again; what another session left is not ours.
#[test]
fn an_index_that_a_killed_build_left_is_built_again() {
    let (source, target, project) = verified_and_killed(
        "CREATE TABLE events (id int PRIMARY KEY, word text);
         CREATE FUNCTION slow(t text) RETURNS text IMMUTABLE LANGUAGE plpgsql AS
             $$ BEGIN IF current_setting('server_version_num')::int >= 180000 THEN PERFORM pg_sleep(0.01); END IF; RETURN t; END $$;
         INSERT INTO events SELECT n, 'e' || n FROM generate_series(1, 500) n;
         CREATE INDEX by_word ON events (public.slow(word)); COMMENT ON INDEX by_word IS 'slow';
         CREATE INDEX by_both ON events (word, id)",
        "table_data = [\"erp.events\"]\nconcurrently = true",
    );
    let mut running = project.start(&["run"]);
    let building = "SELECT count(*) FROM pg_stat_progress_create_index WHERE datname = 'erp' AND phase ~ 'building'";
    running.until("the index build", || {
        target.psql("postgres", building) != "0"
    });
    running.kill9();
    running.wait();
    let invalid = "SELECT count(*) FROM pg_index WHERE NOT indisvalid";
    assert_eq!(target.psql("erp", invalid), "1");
    // A client's, which nobody drops.
    let failing = "CREATE INDEX CONCURRENTLY of_a_client ON events ((1 / (id - id)))";
    assert!(target.try_psql("erp", failing).is_err());
    project.run(&["run"]).expect_code(0);
    assert_eq!(
        target.psql(
            "erp",
            "SELECT indexrelid::regclass FROM pg_index WHERE NOT indisvalid"
        ),
        "of_a_client"
    );
    target.psql("erp", "DROP INDEX of_a_client");
    compare::assert_same(&source, &target, "erp");
}

/// A client's transaction that has the table keeps an index build waiting, and nobody waits behind it for long.
#[test]
fn an_index_build_does_not_keep_clients_waiting_behind_it() {
    let (source, target, project) = verified_and_killed(
        "CREATE TABLE events (id serial PRIMARY KEY, word text);
         INSERT INTO events (word) SELECT 'e' FROM generate_series(1, 500);
         CREATE INDEX by_word ON events (word)",
        "table_data = [\"erp.events\"]\n[target.tuning]\nmode = \"safe\"",
    );
    let mut running = project.start(&["run"]);
    running.until("the load", || {
        project
            .journal_steps("step-done")
            .contains(&"erp/drop-indexes".to_owned())
    });
    let held = Held::begin(&target, "erp", "INSERT INTO events (word) VALUES ('held')");
    let waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query ~ 'CREATE INDEX'";
    running.until("the build", || target.psql("postgres", waiting) != "0");
    target.psql(
        "erp",
        "SET lock_timeout = '20s'; INSERT INTO events (word) VALUES ('of a client')",
    );
    held.commit();
    running.wait().expect_code(0);
    assert_eq!(target.psql("erp", "SELECT count(*) FROM events"), "502");
    let indexes = "SELECT indexdef FROM pg_indexes WHERE tablename = 'events' ORDER BY 1";
    assert_eq!(target.psql("erp", indexes), source.psql("erp", indexes));
}

/// What clients of the source create after the dump has nothing to do with it, whatever patterns match it.
#[test]
fn a_table_that_is_newer_than_the_dump_is_told_and_keeps_nobody_from_going_on() {
    for snapshot in ["same", "later"] {
        let (source, target, project) = verified_and_killed(
            "CREATE TABLE events (id int, day date) PARTITION BY RANGE (day);
             CREATE TABLE events_1 PARTITION OF events FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
             INSERT INTO events SELECT n, '2026-01-17' FROM generate_series(1, 500) n",
            &format!("table_data = [\"erp.events\", \"erp.new_*\"]\nsnapshot = \"{snapshot}\""),
        );
        source.psql(
            "erp",
            "CREATE TABLE new_things AS SELECT 1 AS one;
             CREATE TABLE events_2 PARTITION OF events FOR VALUES FROM ('2026-02-01') TO ('2026-03-01');
             INSERT INTO events VALUES (1, '2026-02-17')",
        );
        let said = project.run(&["run"]).expect_code(0).stderr;
        for table in ["public.new_things", "public.events_2"] {
            let told = format!("delay/too-new: database \"erp\", {table}");
            assert!(said.contains(&told), "{said}");
        }
        assert_eq!(target.psql("erp", "SELECT count(*) FROM events"), "500");
    }
}

const EVENTS: &str =
    "CREATE TABLE events (id int PRIMARY KEY, word text); CREATE INDEX ON events (word);
     CREATE TABLE visits (id int PRIMARY KEY, word text); CREATE INDEX ON visits (word);
     INSERT INTO events SELECT n, 'e' FROM generate_series(1, 500) n;
     INSERT INTO visits SELECT n, 'v' FROM generate_series(1, 500) n";

/// Its rows are in the archive, of the time of the snapshot as all others.
#[test]
fn a_delayed_table_that_the_source_drops_after_its_dump_is_loaded() {
    for (tables, dropped) in [
        ("\"erp.events\", \"erp.visits\"", "DROP TABLE visits"),
        ("\"erp.visits\"", "ALTER TABLE visits RENAME TO visits_old"),
    ] {
        let (source, target, project) = killed_after(
            "delayed-dump",
            EVENTS,
            &format!("table_data = [{tables}]\nsnapshot = \"later\""),
        );
        source.psql("erp", dropped);
        let said = project.run(&["run"]).expect_code(0).stderr;
        assert!(!said.contains("delay-matches-nothing"), "{said}");
        for table in ["events", "visits"] {
            let rows = format!("SELECT count(*) FROM {table}");
            assert_eq!(target.psql("erp", &rows), "500", "{table}");
        }
        let indexes = "SELECT count(*) FROM pg_indexes WHERE schemaname = 'public'";
        assert_eq!(target.psql("erp", indexes), "4");
        project.run(&["run"]).expect_code(0);
    }
}

/// Its rows are nowhere; what the refusal says leads on.
#[test]
fn a_delayed_table_that_the_source_drops_before_its_dump_is_told_with_a_way_on() {
    for is_renamed in [true, false] {
        let (source, target, project) = verified_and_killed(
            EVENTS,
            "table_data = [\"erp.events\", \"erp.visits\"]\nsnapshot = \"later\"",
        );
        source.psql("erp", "ALTER TABLE visits RENAME TO visits_old");
        if !is_renamed {
            source.psql("erp", "DROP TABLE visits_old");
        }
        project
            .run(&["run"])
            .expect_code(3)
            .expect_words(&["if public.visits was", "--drop NAME"]);
        if is_renamed {
            source.psql("erp", "ALTER TABLE visits_old RENAME TO visits");
        } else {
            project
                .run(&["reset", "--database", "erp", "--drop", "erp"])
                .expect_code(0);
        }
        project.run(&["run"]).expect_code(0);
        compare::assert_same(&source, &target, "erp");
    }
}

/// Each partition's rows may refer to those of any other: which come first only the rows tell.
#[test]
fn partitions_of_a_table_that_refers_to_itself_do_not_keep_a_limited_role_out() {
    migrate_with_a_limited_role(
        "SET ROLE app;
         CREATE TABLE p (id int, k int, parent int, in_k int, PRIMARY KEY (id, k),
             FOREIGN KEY (parent, in_k) REFERENCES p) PARTITION BY LIST (k);
         CREATE TABLE p1 PARTITION OF p FOR VALUES IN (1);
         CREATE TABLE p2 PARTITION OF p FOR VALUES IN (2);
         CREATE TABLE p3 PARTITION OF p FOR VALUES IN (3);
         INSERT INTO p SELECT n, 2, n, 2 FROM generate_series(1, 100) n;
         INSERT INTO p SELECT n, 3, n, 2 FROM generate_series(1, 100) n;
         INSERT INTO p SELECT n, 1, n, 3 FROM generate_series(1, 100) n",
        r#"["erp.p"]"#,
    );
}

/// What a view reads through a function is in no catalog, and what clients made meanwhile is theirs.
#[test]
fn materialized_views_are_refreshed_after_those_that_they_read() {
    let (source, target, project) = verified_and_killed(
        "CREATE TABLE events (id int PRIMARY KEY, k int);
         INSERT INTO events SELECT n, n % 5 FROM generate_series(1, 1000) n;
         CREATE MATERIALIZED VIEW m0 AS SELECT k, count(*) c FROM events GROUP BY k;
         CREATE MATERIALIZED VIEW a_zeta AS SELECT sum(c)::bigint s FROM m0;
         CREATE FUNCTION f() RETURNS bigint LANGUAGE plpgsql STABLE AS
             'DECLARE r bigint; BEGIN SELECT s INTO r FROM public.A_Zeta; RETURN r;
              EXCEPTION WHEN OTHERS THEN RETURN NULL; END';
         CREATE MATERIALIZED VIEW b AS SELECT public.f() AS s;
         CREATE FUNCTION g() RETURNS bigint LANGUAGE plpgsql STABLE AS
             'DECLARE r bigint; BEGIN SELECT s INTO r FROM public.between_views; RETURN r;
              EXCEPTION WHEN OTHERS THEN RETURN NULL; END';
         CREATE FUNCTION h() RETURNS bigint LANGUAGE sql STABLE AS 'SELECT public.g()';
         CREATE VIEW between_views AS SELECT s FROM b;
         CREATE MATERIALIZED VIEW a_last AS SELECT public.h() AS s;
         REFRESH MATERIALIZED VIEW m0; REFRESH MATERIALIZED VIEW a_zeta; REFRESH MATERIALIZED VIEW b;
         REFRESH MATERIALIZED VIEW a_last",
        "table_data = [\"erp.events\"]",
    );
    target.psql(
        "erp",
        "CREATE MATERIALIZED VIEW of_a_client AS SELECT count(*) FROM events",
    );
    project.run(&["run"]).expect_code(0);
    assert_eq!(target.psql("erp", "SELECT s FROM a_last"), "1000");
    assert_eq!(target.psql("erp", "SELECT count FROM of_a_client"), "0");
    target.psql("erp", "DROP MATERIALIZED VIEW of_a_client");
    compare::assert_same(&source, &target, "erp");
}
