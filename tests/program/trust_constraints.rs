//! Constraints of delayed tables that a load as a replica does not check.

use std::fs;

use crate::support::compare;
use crate::support::held::Held;
use crate::support::project::Project;
use crate::support::server::Server;

/// A run to server 18 that was killed once `erp` was verified, before its delayed tables were dumped.
fn verified_and_killed(major: u32, schema: &str, delay: &str) -> (Server, Server, Project) {
    let (source, target) = (Server::start(major), Server::start(18));
    source.psql("postgres", "CREATE DATABASE erp");
    source.psql("erp", schema);
    let project = Project::between(&source, &target).with(&format!(
        "[delay]\n{delay}\n[target.tuning]\nmode = \"safe\"\n"
    ));
    project.killed_at("journal step-done erp/verify synced:1");
    (source, target, project)
}

/// Their triggers do not fire, so that a row of a client and one of the source may have the same key. Where a person corrects the
/// rows, the next run completes.
#[test]
fn deferrable_keys_that_clients_used_are_told() {
    let (source, target, project) = verified_and_killed(
        16,
        "CREATE EXTENSION btree_gist;
         CREATE TABLE events (id int PRIMARY KEY DEFERRABLE, word text, other int,
             CONSTRAINT words UNIQUE (word, other) DEFERRABLE INITIALLY DEFERRED);
         CREATE TABLE rooms (id int, room int, during int4range, CONSTRAINT free EXCLUDE USING gist
             ((room + 1) WITH =, during WITH &&) WHERE (id > 0) DEFERRABLE);
         CREATE TABLE parted (id int, k int, UNIQUE (id, k) DEFERRABLE) PARTITION BY LIST (k);
         CREATE TABLE parted_1 PARTITION OF parted FOR VALUES IN (1);
         CREATE TABLE parted_2 PARTITION OF parted FOR VALUES IN (2);
         INSERT INTO events SELECT n, 'e' || n, NULL FROM generate_series(1, 100) n;
         INSERT INTO rooms SELECT n, n, int4range(1, 10) FROM generate_series(1, 50) n;
         INSERT INTO parted SELECT n, 1 + n % 2 FROM generate_series(1, 100) n",
        "table_data = [\"erp.events\", \"erp.rooms\", \"erp.parted\"]",
    );
    target.psql(
        "erp",
        "INSERT INTO events SELECT n, 'e' || n, NULL FROM generate_series(11, 13) n;
         INSERT INTO rooms VALUES (-1, 1, '[1,9)'), (1000, 2, '[5,6)'), (1000, 2, '[10,11)'), (1000, 99, '[1,9)');
         INSERT INTO parted VALUES (1, 1), (1, 2)",
    );
    let finished = project.run(&["run"]).expect_code(5);
    let finished = finished.expect_words(&[
        "count as valid, but do not hold",
        "the deferrable constraint events_pkey of public.events: 6 of its rows are in each other's way",
        "the deferrable constraint free of public.rooms: 2 of its rows",
        "the deferrable constraint parted_id_k_key of public.parted: 2 of its rows",
    ]);
    let said = [finished.stdout.as_str(), &finished.stderr].concat();
    assert!(!said.contains("constraint words"), "{said}");
    project.run(&["run"]).expect_code(5);
    target.psql(
        "erp",
        "DELETE FROM events a USING events b WHERE a.id = b.id AND a.ctid > b.ctid;
         DELETE FROM rooms WHERE id NOT BETWEEN 1 AND 50;
         DELETE FROM parted a USING parted b WHERE a.id = b.id AND a.k = b.k AND a.ctid > b.ctid;
         DELETE FROM parted WHERE id = 1 AND k = 1",
    );
    project.run(&["run"]).expect_code(0);
    compare::assert_same(&source, &target, "erp");
}

/// What a transaction wrote that began before the load, and ends after it, is in no proof that did not wait for it.
#[test]
fn a_transaction_that_is_older_than_the_load_is_waited_for() {
    for (client, told) in [
        (
            "INSERT INTO events VALUES (5, 1)",
            "constraint events_pkey of public.events: 2 of its rows",
        ),
        (
            "DELETE FROM parents WHERE id = 7",
            "the foreign key events_parent_fkey of public.events: 10 of its rows",
        ),
    ] {
        let (_source, target, project) = verified_and_killed(
            16,
            "CREATE TABLE parents (id int PRIMARY KEY);
             CREATE TABLE events (id int PRIMARY KEY DEFERRABLE, parent int REFERENCES parents);
             INSERT INTO parents SELECT generate_series(1, 10);
             INSERT INTO events SELECT n, 1 + n % 10 FROM generate_series(1, 100) n",
            "table_data = [\"erp.events\"]",
        );
        let held = Held::begin(&target, "erp", client);
        let mut running = project.start(&["run"]);
        let log = project.state_directory().join("log");
        running.until("the proof", || {
            let files = fs::read_dir(&log).unwrap();
            files
                .map(|file| fs::read(file.unwrap().path()).unwrap())
                .any(|text| String::from_utf8_lossy(&text).contains("have not ended (pid "))
        });
        target.psql(
            "erp",
            "SET lock_timeout = '200ms'; INSERT INTO parents VALUES (11)",
        );
        held.commit();
        running.wait().expect_code(5).expect_words(&[told]);
    }
}

/// 18: a period of a row may be covered by those of several parents together, and each instant of it has to be.
#[test]
fn foreign_keys_with_a_period_are_proved() {
    let (source, target, project) = verified_and_killed(
        18,
        "CREATE EXTENSION btree_gist;
         CREATE TABLE rooms (id int, open daterange, PRIMARY KEY (id, open WITHOUT OVERLAPS));
         CREATE TABLE posts (id int, held datemultirange, PRIMARY KEY (id, held WITHOUT OVERLAPS));
         CREATE TABLE bookings (id int PRIMARY KEY, room int, during daterange, post int, at datemultirange,
             CONSTRAINT in_room FOREIGN KEY (room, PERIOD during) REFERENCES rooms (id, PERIOD open),
             CONSTRAINT at_post FOREIGN KEY (post, PERIOD at) REFERENCES posts (id, PERIOD held));
         CREATE TABLE late (id int, open daterange, PRIMARY KEY (id, open WITHOUT OVERLAPS) DEFERRABLE);
         INSERT INTO rooms VALUES (1, '[2024-01-01,2024-07-01)'), (1, '[2024-07-01,2025-01-01)');
         INSERT INTO posts VALUES (1, '{[2024-01-01,2024-02-01),[2024-03-01,2024-04-01)}');
         INSERT INTO bookings SELECT n, 1, daterange('2024-06-01', '2024-08-01'), NULL, NULL FROM generate_series(1, 3) n;
         INSERT INTO bookings VALUES (4, 1, NULL, 1, '{[2024-01-02,2024-01-03),[2024-03-02,2024-03-03)}');
         INSERT INTO late SELECT n, '[2024-01-01,2024-07-01)' FROM generate_series(1, 3) n",
        "table_data = [\"erp.bookings\", \"erp.late\"]",
    );
    target.psql(
        "erp",
        "DELETE FROM rooms WHERE open @> date '2024-07-01'; DELETE FROM posts;
         INSERT INTO late VALUES (2, '[2024-06-30,2024-12-31)')",
    );
    project.run(&["run"]).expect_code(5).expect_words(&[
        "the foreign key in_room of public.bookings: 3 of its rows refer to 1 keys that are not in public.rooms",
        "the foreign key at_post of public.bookings: 1 of its rows refer to 1 keys",
        "the deferrable constraint late_pkey of public.late: 2 of its rows",
    ]);
    target.psql(
        "erp",
        "INSERT INTO rooms VALUES (1, '[2024-07-01,2025-01-01)');
         INSERT INTO posts VALUES (1, '{[2024-01-01,2024-02-01),[2024-03-01,2024-04-01)}');
         DELETE FROM late WHERE open @> date '2024-12-30'",
    );
    project.run(&["run"]).expect_code(0);
    compare::assert_same(&source, &target, "erp");
}

/// What the load fails on is told, and what is not enforced is no such thing (18 and later).
#[test]
fn constraints_that_the_load_checks_and_the_source_did_not_are_told() {
    let (source, target) = (Server::start(18), Server::start(18));
    source.psql("postgres", "CREATE DATABASE erp");
    source.psql(
        "erp",
        "CREATE TABLE given (id int); INSERT INTO given VALUES (1), (NULL);
         ALTER TABLE given ADD CONSTRAINT id_given NOT NULL id NOT VALID;
         CREATE TABLE loose (id int CONSTRAINT positive CHECK (id > 0) NOT ENFORCED);
         INSERT INTO loose VALUES (1), (-1);
         CREATE TABLE strict (id int); INSERT INTO strict VALUES (1), (-1);
         ALTER TABLE strict ADD CONSTRAINT above CHECK (id > 0) NOT VALID",
    );
    let delaying = |tables: &str| {
        Project::between(&source, &target).with(&format!("[delay]\ntable_data = [{tables}]"))
    };
    let said = delaying("\"erp.*\"").run(&["check"]).expect_code(0).said();
    assert!(
        said.contains("public.given: the NOT NULL constraint id_given is NOT VALID"),
        "{said}"
    );
    assert!(
        said.contains("public.strict: the check above is NOT VALID"),
        "{said}"
    );
    assert!(!said.contains("public.loose"), "{said}");
    // It is as they say.
    delaying("\"erp.loose\"").run(&["run"]).expect_code(0);
    assert_eq!(target.psql("erp", "SELECT count(*) FROM loose"), "2");
    target.psql("postgres", "DROP DATABASE erp");
    let failed = delaying("\"erp.given\"")
        .named("other")
        .run(&["run"])
        .expect_code(4);
    failed.says(&["null value in column"]);
}
