//! Delayed tables whose load was committed by an earlier run: none is loaded twice, and none is taken for loaded that
//! is not.

use std::fs;

use crate::support::compare;
use crate::support::project::{Project, waiver};
use crate::support::server::{Mode, Server};

/// Two tables without keys, so that rows which come twice are no error; `big` is loaded first.
const TABLES: &str = "
    CREATE TABLE big AS SELECT n AS id, 'of the source'::text AS word FROM generate_series(1, 500) n;
    CREATE TABLE small AS SELECT n AS id FROM generate_series(1, 50) n";

/// A run between servers 16 and 18, the tables of `erp` delayed, that was killed at this point.
fn killed(point: &str, more: &str) -> (Server, Server, Project) {
    let (source, target) = (Server::start(16), Server::of(18).durable().start());
    source.psql("postgres", "CREATE DATABASE erp");
    source.psql("erp", TABLES);
    let delay = format!("[delay]\ntable_data = [\"erp.big\", \"erp.small\"]\n{more}");
    let project = Project::between(&source, &target)
        .parallelism("restore_jobs", 1)
        .with(&delay);
    project.killed_at(point);
    (source, target, project)
}

const WITHOUT_MARK: &str = "[[waive]]\ncode = \"target/mark-gone\"\nobject = \"*\"\nuntil = 2999-12-31\nreason = \"dropped\"\n";

const OPEN: &str = "[target.tuning]\nmode = \"safe\"\n";
const SECOND_LOAD: &str = "journal commit-load erp public.small synced:1";

fn rows(server: &Server, table: &str) -> String {
    server.psql("erp", &format!("SELECT count(*) FROM {table}"))
}

/// The numbers of transactions that a crash made the server forget are given out again.
fn use_up_transactions(server: &Server) {
    let some = "SELECT txid_current();".repeat(50);
    server.psql("postgres", &some);
}

#[test]
fn a_load_whose_rows_clients_changed_is_not_loaded_again_after_a_restart() {
    for changed in [
        "UPDATE big SET word = 'of a client'",
        "DELETE FROM big",
        "ALTER TABLE big ALTER id TYPE bigint",
    ] {
        let (_source, mut target, project) = killed(SECOND_LOAD, OPEN);
        target.psql("erp", changed);
        let left = rows(&target, "big");
        target.restart(Mode::Fast);
        project.run(&["run"]).expect_code(0);
        assert_eq!(rows(&target, "big"), left, "{changed}");
        assert_eq!(rows(&target, "small"), "50");
    }
}

/// Of a commit that is not on record no trace may be left: then nobody but a person can tell.
#[test]
fn a_load_that_left_no_trace_is_not_loaded_again_where_clients_may_have_changed_it() {
    let (source, mut target, project) = killed("committed the load of public.big:1", OPEN);
    target.psql("erp", "UPDATE big SET word = 'of a client'");
    target.restart(Mode::Fast);
    let told = project.run(&["run"]).expect_code(4);
    told.says(&["public.big", "cannot be told", "reset PLAN"]);
    assert_eq!(rows(&target, "big"), "500");
    project
        .run(&["reset", "--database", "erp", "--drop", "erp"])
        .expect_code(0);
    target.psql("postgres", "DROP DATABASE erp");
    project.run(&["run"]).expect_code(0);
    compare::assert_same(&source, &target, "erp");
}

#[test]
fn a_load_that_a_crash_took_is_loaded_where_nobody_could_write() {
    let point = "journal commit-load erp public.big synced:1";
    let (source, mut target, project) = killed(point, "");
    target.restart(Mode::Immediate);
    use_up_transactions(&target);
    project.run(&["run"]).expect_code(0);
    compare::assert_same(&source, &target, "erp");
}

#[test]
fn a_load_that_its_server_still_knows_is_not_loaded_again() {
    let (source, mut target, project) = killed("committed the load of public.big:1", "");
    // It was waited for.
    target.restart(Mode::Immediate);
    use_up_transactions(&target);
    project.run(&["run"]).expect_code(0);
    compare::assert_same(&source, &target, "erp");
}

/// As where `dump.root` is another, or `/tmp` was cleaned; the entries of the next archive have other numbers.
fn lose_the_archives(source: &Server, project: &Project) {
    fs::remove_dir_all(project.directory().join("pg_dumps")).unwrap();
    source.psql(
        "erp",
        "CREATE SCHEMA a; CREATE TABLE a.a (id int); CREATE TABLE a.b (id int); CREATE TABLE a.c (id int)",
    );
}

#[test]
fn a_table_that_is_loaded_is_not_loaded_again_from_another_archive() {
    let (source, target, project) = killed(SECOND_LOAD, "");
    lose_the_archives(&source, &project);
    project.run(&["run"]).expect_code(0);
    assert_eq!(rows(&target, "big"), "500");
    assert_eq!(rows(&target, "small"), "50");
}

/// Its other tables would be those of another time.
#[test]
fn a_later_snapshot_is_not_mixed_with_another() {
    let (source, target, project) = killed(SECOND_LOAD, "snapshot = \"later\"\n");
    lose_the_archives(&source, &project);
    source.psql("erp", "INSERT INTO small SELECT generate_series(51, 60)");
    let told = project.run(&["run"]).expect_code(3);
    told.says(&["public.big", "snapshot = \"later\"", "reset PLAN"]);
    assert_eq!(rows(&target, "big"), "500");
    project
        .run(&["reset", "--database", "erp", "--drop", "erp"])
        .expect_code(0);
    target.psql("postgres", "DROP DATABASE erp");
    project.run(&["run"]).expect_code(0);
    compare::assert_same(&source, &target, "erp");
}

/// Version 0.1.0 did not write down where they stood.
#[test]
fn sequences_that_are_not_on_record_are_not_behind_the_rows_either() {
    let (source, target) = (Server::start(16), Server::start(18));
    source.psql("postgres", "CREATE DATABASE erp");
    source.psql(
        "erp",
        "CREATE TABLE events (id serial PRIMARY KEY, word text);
         INSERT INTO events (word) SELECT 'e' FROM generate_series(1, 500)",
    );
    let project = Project::between(&source, &target)
        .with("[delay]\ntable_data = [\"erp.events\"]\nsnapshot = \"later\"\n");
    project.killed_at("journal step-done erp/verify synced:1");
    let more = "INSERT INTO events (word) SELECT 'more' FROM generate_series(1, 100)";
    source.psql("erp", more);
    project.killed_at("journal step-done erp/delayed-dump synced:1");
    let file = project.state_directory().join("journal.jsonl");
    let journal = fs::read_to_string(&file).unwrap();
    let (before, rest) = journal.rsplit_once("\"sequences\":[").unwrap();
    let (_, after) = rest.split_once(']').unwrap();
    fs::write(&file, format!("{before}\"sequences\":null{after}")).unwrap();
    project.run(&["run"]).expect_code(0);
    assert_eq!(target.psql("erp", "SELECT nextval('events_id_seq')"), "601");
}

/// How the delayed tables were dumped decides, and not what the plan says now.
#[test]
fn delayed_tables_are_compared_with_what_they_were_dumped_with() {
    for (before, after) in [("later", "same"), ("same", "later")] {
        let (source, target) = (Server::start(16), Server::start(18));
        source.psql("postgres", "CREATE DATABASE erp");
        source.psql("erp", TABLES);
        let delay = |snapshot: &str| {
            format!("[delay]\ntable_data = [\"erp.big\"]\nsnapshot = \"{snapshot}\"\n")
        };
        let mut project = Project::between(&source, &target).with(&delay(before));
        if before == "later" {
            project.killed_at("journal step-done erp/verify synced:1");
            source.psql("erp", "INSERT INTO big VALUES (501, 'later')");
        }
        // Whichever of the two is the last.
        let done = ["erp/delayed-dump", "erp/verify"];
        let point = format!("journal step-started erp/{} synced:1", "delayed-restore");
        project.killed_at(&point);
        assert!(done.iter().all(|step| {
            project
                .journal_steps("step-done")
                .contains(&(*step).to_owned())
        }));
        project.set_rest(&delay(after));
        project.run(&["run"]).expect_code(0);
        compare::assert_same(&source, &target, "erp");
    }
}

/// Before 15, a partition's triggers that it has from its parent count as internal.
#[test]
fn triggers_that_partitions_have_from_their_parent_do_not_fire() {
    for major in [12, 14, 16] {
        let (source, target) = (Server::start(12), Server::start(major));
        source.psql("postgres", "CREATE ROLE app LOGIN");
        source.psql("postgres", "CREATE DATABASE erp OWNER app");
        source.psql(
            "erp",
            "SET ROLE app;
             CREATE TABLE log (what text);
             CREATE TABLE events (id int, word text) PARTITION BY RANGE (id);
             CREATE TABLE events_1 PARTITION OF events FOR VALUES FROM (0) TO (300);
             CREATE TABLE events_2 PARTITION OF events FOR VALUES FROM (300) TO (1000);
             INSERT INTO events SELECT n, 'e' FROM generate_series(1, 500) n;
             CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS
                 $$ BEGIN INSERT INTO public.log VALUES (TG_TABLE_NAME); RETURN NULL; END $$;
             CREATE TRIGGER note AFTER INSERT ON events FOR EACH ROW EXECUTE FUNCTION note()",
        );
        target.psql(
            "postgres",
            "CREATE ROLE mover LOGIN CREATEDB CREATEROLE PASSWORD 'of the mover'",
        );
        let project = Project::between(&source, &target)
            .target("user", "\"mover\"")
            .variable("TARGET_PASSWORD", "of the mover")
            .with(
                "[delay]\ntable_data = [\"erp.events*\"]
                 [[accept]]\ndatabase = \"erp\"\nobject = \"*SCHEMA*public*\"\nreason = \"limited\"",
            );
        if major == 12 {
            let told = project.run(&["run"]).expect_code(4);
            told.says(&["switch off the trigger", "only a superuser"]);
            target.psql("erp", "DROP TRIGGER note ON events");
        }
        project.run(&["run"]).expect_code(0);
        assert_eq!(rows(&target, "log"), "0", "{major}");
        assert_eq!(rows(&target, "events"), "500", "{major}");
    }
}

/// Partitions by the hash of an enum are loaded by way of their partitioned table: the triggers of the partitions fire.
#[test]
fn triggers_of_partitions_do_not_fire_in_a_load_through_their_parent() {
    const TRIGGERS: &str = "SELECT tgrelid::regclass, tgname, tgenabled FROM pg_trigger ORDER BY tgrelid::regclass::text, 2";
    for is_limited in [false, true] {
        let (source, target) = (Server::start(16), Server::start(18));
        source.psql("postgres", "CREATE ROLE app LOGIN");
        source.psql("postgres", "CREATE DATABASE erp OWNER app");
        source.psql(
            "erp",
            "SET ROLE app;
             CREATE TYPE word AS ENUM ('a', 'b');
             CREATE TABLE events (id word, note text) PARTITION BY HASH (id);
             CREATE TABLE events_0 PARTITION OF events FOR VALUES WITH (MODULUS 2, REMAINDER 0);
             CREATE TABLE events_1 PARTITION OF events FOR VALUES WITH (MODULUS 2, REMAINDER 1);
             INSERT INTO events SELECT (ARRAY['a', 'b'])[1 + n % 2]::word, 'old' FROM generate_series(1, 500) n;
             CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS
                 $$ BEGIN NEW.note := 'by a trigger'; RETURN NEW; END $$;
             CREATE TRIGGER own BEFORE INSERT ON events_0 FOR EACH ROW EXECUTE FUNCTION note();
             CREATE TRIGGER own BEFORE INSERT ON events_1 FOR EACH ROW EXECUTE FUNCTION note();
             CREATE TRIGGER usual BEFORE INSERT ON events_1 FOR EACH ROW EXECUTE FUNCTION note();
             CREATE TRIGGER cloned BEFORE INSERT ON events FOR EACH ROW EXECUTE FUNCTION note();
             ALTER TABLE events_0 ENABLE ALWAYS TRIGGER own;
             ALTER TABLE events_1 ENABLE ALWAYS TRIGGER own;
             ALTER TABLE events ENABLE ALWAYS TRIGGER cloned;
             ALTER TABLE events_1 DISABLE TRIGGER cloned",
        );
        let mut project = Project::between(&source, &target);
        if is_limited {
            target.psql(
                "postgres",
                "CREATE ROLE mover LOGIN CREATEDB CREATEROLE PASSWORD 'of the mover'",
            );
            project = project
                .target("user", "\"mover\"")
                .variable("TARGET_PASSWORD", "of the mover");
        }
        let project = project.with(
            "[delay]\ntable_data = [\"erp.events\"]
             [[accept]]\ndatabase = \"erp\"\nobject = \"*SCHEMA*public*\"\nreason = \"limited\"",
        );
        project.run(&["run"]).expect_code(0);
        let notes = "SELECT note, count(*) FROM events GROUP BY 1";
        assert_eq!(target.psql("erp", notes), "old|500", "{is_limited}");
        assert_eq!(source.psql("erp", TRIGGERS), target.psql("erp", TRIGGERS));
    }
}

/// A copy of the directory, or one that was put back from a backup, knows nothing of what the other did since.
#[test]
fn an_older_copy_of_the_state_loads_nothing_again() {
    let (_source, target, project) = killed("journal step-done erp/verify synced:1", WITHOUT_MARK);
    let state = project.state_directory();
    let before = fs::read(state.join("journal.jsonl")).unwrap();
    project.run(&["run"]).expect_code(0);
    fs::write(state.join("journal.jsonl"), before).unwrap();
    let told = project.run(&["run"]).expect_code(3);
    told.says(&["the target's mark is newer"]);
    // Without the mark the database itself says so.
    target.psql("postgres", "DROP DATABASE pg_migrate_mark");
    let told = project.run(&["run"]).expect_code(3);
    told.says(&["target/opened", "another copy of the state directory"]);
    assert_eq!(rows(&target, "big"), "500");
    assert_eq!(rows(&target, "small"), "50");
}

/// As [`an_older_copy_of_the_state_loads_nothing_again`], while the database is not open yet.
#[test]
fn a_table_that_another_copy_of_the_state_loaded_is_not_loaded_again() {
    let (_source, target, project) = killed("journal step-done erp/verify synced:1", WITHOUT_MARK);
    let journal = project.state_directory().join("journal.jsonl");
    let before = fs::read(&journal).unwrap();
    project.killed_at("journal step-done erp/delayed-restore synced:1");
    fs::write(journal, before).unwrap();
    let told = project.run(&["run"]).expect_code(3);
    told.says(&["the target's mark is newer"]);
    target.psql("postgres", "DROP DATABASE pg_migrate_mark");
    let told = project.run(&["run"]).expect_code(4);
    told.says(&["public.big holds rows", "another copy of this plan's"]);
    assert_eq!(rows(&target, "big"), "500");
}

/// No client can have removed them.
#[test]
fn rows_that_are_gone_from_a_closed_database_are_a_difference() {
    let (_source, target, project) = killed("journal step-done erp/delayed-restore synced:1", "");
    target.psql("erp", "TRUNCATE big");
    let told = project.run(&["run"]).expect_code(5);
    told.says(&["public.big"]);
    let told = project.run(&["run"]).expect_code(5);
    told.says(&["public.big"]);
    let open = "SELECT has_database_privilege('public', 'erp', 'CONNECT')";
    assert_eq!(target.psql("postgres", open), "f");
    // What differs still is no less a difference.
    let project = project.with(&waiver("target/differed"));
    project.run(&["run"]).expect_code(5);
    assert_eq!(target.psql("postgres", open), "f");
    target.psql("erp", "INSERT INTO big SELECT generate_series(1, 500)");
    project.run(&["run"]).expect_code(0);
    let report = project.report().to_string();
    assert!(
        report.contains("differed in an earlier verification"),
        "{report}"
    );
    assert_eq!(target.psql("postgres", open), "t");
}

/// PostgreSQL cannot know that what a function is declared to compute from its arguments alone is read from a table.
#[test]
fn what_functions_compute_from_delayed_tables_is_built_again_or_told() {
    let (source, target) = (Server::start(16), Server::start(18));
    source.psql("postgres", "CREATE DATABASE erp");
    source.psql(
        "erp",
        "CREATE TABLE people (id int PRIMARY KEY, name text);
         INSERT INTO people SELECT n, 'p' || n FROM generate_series(1, 100) n;
         CREATE TABLE other (id int PRIMARY KEY);
         CREATE VIEW named AS SELECT * FROM people;
         CREATE FUNCTION by_text(int) RETURNS text LANGUAGE sql IMMUTABLE AS
             'SELECT name FROM public.People WHERE id = $1';
         CREATE FUNCTION by_body(int) RETURNS text LANGUAGE sql IMMUTABLE
             BEGIN ATOMIC SELECT name FROM public.named WHERE id = $1; END;
         CREATE FUNCTION not_so(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1 /* many peoples */';
         CREATE TABLE bills (id int, person int);
         INSERT INTO bills SELECT n, 1 + n % 100 FROM generate_series(1, 500) n;
         CREATE INDEX bills_text ON bills (by_text(person));
         CREATE UNIQUE INDEX bills_body ON bills (by_body(person), id);
         CREATE INDEX bills_predicate ON bills (id) WHERE by_text(person) = 'p7';
         CREATE INDEX bills_not ON bills (not_so(person));
         CREATE TABLE late (id int, person int);
         INSERT INTO late SELECT n, 1 + n % 100 FROM generate_series(1, 500) n;
         CREATE INDEX late_text ON late (by_text(person));
         CREATE UNIQUE INDEX late_body ON late (by_body(person), id);
         CREATE TABLE stats (id int, person int, name text GENERATED ALWAYS AS (by_text(person)) STORED);
         INSERT INTO stats SELECT n, n FROM generate_series(1, 50) n",
    );
    let project = Project::between(&source, &target)
        .with("[delay]\ntable_data = [\"erp.people\", \"erp.late\"]");
    let told = project.run(&["run"]).expect_code(0);
    told.says(&[
        "delay/computed-early: database \"erp\", public.stats.name: it is a stored generated column",
        "public.bills_text: it is an index of public.bills by a function",
        "public.bills_body: ",
        "public.bills_predicate: ",
        "public.late_body: ",
    ]);
    for unconcerned in ["bills_not: it", "late_text: it"] {
        let said = [told.stdout.as_str(), &told.stderr].concat();
        assert!(!said.contains(unconcerned), "{said}");
    }
    for (table, rows) in [
        ("bills WHERE by_text(person) = 'p7'", "5"),
        ("bills WHERE by_body(person) = 'p7'", "5"),
        ("bills WHERE by_text(person) = 'p7' AND id > 0", "5"),
        ("late WHERE by_text(person) = 'p7'", "5"),
        ("late WHERE by_body(person) = 'p7'", "5"),
    ] {
        let by_index = format!("SET enable_seqscan = off; SELECT count(*) FROM {table}");
        assert_eq!(target.psql("erp", &by_index), rows, "{table}");
    }
    target.psql("erp", "UPDATE stats SET person = person");
    assert_eq!(target.psql("erp", "SELECT count(name) FROM stats"), "50");
}
