//! What the owner of a delayed table does to it on the target, while its rows come.

use std::process::Stdio;

use crate::support::held::Held;
use crate::support::project::Project;
use crate::support::server::Server;
use crate::support::thief;

/// A run that was killed before the delayed table of a role without rights was loaded: its owner may use the database by then.
fn with_delayed_table(key: &str) -> (Server, Server, Project) {
    let (source, target) = (Server::start(16), Server::start(18));
    thief::enter(&source);
    source.psql("postgres", "CREATE DATABASE erp");
    source.psql("erp", "GRANT CREATE ON DATABASE erp TO mallory");
    let sql = format!(
        "SET ROLE mallory; {}; CREATE TABLE evil.late (id int {key}, word text);
         INSERT INTO evil.late SELECT n, 'late' FROM generate_series(1, 100) n",
        thief::FUNCTIONS
    );
    source.psql("erp", &sql);
    let project = Project::between(&source, &target)
        .with("[delay]\ntable_data = [\"erp.evil.late\"]\n[retry]\nattempts = 1\n[target.tuning]\nmode = \"off\"\n");
    project.killed_at("journal step-done erp/verify synced:1");
    (source, target, project)
}

/// The load looks for triggers, and sees none of a transaction that is open.
#[test]
fn a_trigger_that_is_made_while_the_load_waits_for_the_table_does_not_fire() {
    let (_source, target, project) = with_delayed_table("");
    let made = "SET ROLE mallory;
        CREATE TRIGGER z BEFORE INSERT ON evil.late FOR EACH ROW EXECUTE FUNCTION evil.trigger();
        ALTER TABLE evil.late ENABLE ALWAYS TRIGGER z";
    let held = Held::begin(&target, "erp", made);
    let mut run = project.start(&["run"]);
    let waits =
        "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'evil.late'::regclass";
    run.until("the load waits", || target.psql("erp", waits) != "0");
    held.commit();
    run.wait().expect_code(0);
    assert!(!thief::has_taken(&target), "{}", target.log());
    assert_eq!(target.psql("erp", "SELECT count(*) FROM evil.late"), "100");
    let enabled = "SELECT tgenabled FROM pg_trigger WHERE tgname = 'z'";
    assert_eq!(target.psql("erp", enabled), "A");
    target.psql("erp", "INSERT INTO evil.late VALUES (0, 'new')");
    assert!(thief::has_taken(&target), "the trigger takes nothing");
}

/// The load fails by a key that a client inserted, and then looks which keys clients did insert.
#[test]
fn a_view_in_the_place_of_a_table_whose_load_failed_is_not_read() {
    let (_source, target, project) = with_delayed_table("PRIMARY KEY");
    let held = Held::begin(
        &target,
        "erp",
        "INSERT INTO evil.late VALUES (50, 'client')",
    );
    let mut run = project.start(&["run"]);
    let waits = |count: &str| {
        let sql = "SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype IN ('transactionid', 'relation')";
        target.psql("erp", sql) == count
    };
    run.until("the load waits for the key", || waits("1"));
    let swap = "SET ROLE mallory; BEGIN; ALTER TABLE evil.late RENAME TO before;
        CREATE VIEW evil.late AS SELECT evil.act() AS id, 'x'::text AS word FROM evil.before;
        SELECT pg_sleep(2); COMMIT";
    let mut swap = target
        .client("psql", "erp")
        .args(["-Xq", "-c", swap])
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    run.until("the owner waits for the load", || waits("2"));
    held.commit();
    let told = run.wait().expect_code(4);
    told.says(&["duplicate key value violates unique constraint"]);
    assert!(swap.wait().unwrap().success());
    assert!(!thief::has_taken(&target), "{}", target.log());
    target.psql("erp", "SELECT * FROM evil.late LIMIT 1");
    assert!(thief::has_taken(&target), "the view takes nothing");
}

/// As it is where nobody takes its name.
#[test]
fn the_keys_that_clients_inserted_are_told_where_the_load_fails_by_one() {
    let (_source, target, project) = with_delayed_table("PRIMARY KEY");
    target.psql(
        "erp",
        "INSERT INTO evil.late VALUES (50, 'client'), (70, 'client')",
    );
    let told = project.run(&["run"]).expect_code(4);
    told.says(&["holds 2 rows that clients inserted, with id from 50 to 70"]);
}

/// Whoever owns a schema may drop what others have in it.
#[test]
fn a_table_that_a_schemas_owner_put_into_the_place_of_anothers_gets_none_of_its_rows() {
    let (source, target) = (Server::start(16), Server::start(18));
    thief::enter(&source);
    source.psql("postgres", "CREATE DATABASE erp; CREATE ROLE payroll");
    source.psql(
        "erp",
        "CREATE SCHEMA shared AUTHORIZATION mallory; CREATE TABLE shared.pay (id int, amount int);
         ALTER TABLE shared.pay OWNER TO payroll; INSERT INTO shared.pay SELECT n, n FROM generate_series(1, 100) n",
    );
    let project = Project::between(&source, &target)
        .with("[delay]\ntable_data = [\"erp.shared.pay\"]\n[target.tuning]\nmode = \"off\"\n");
    project.killed_at("journal step-done erp/verify synced:1");
    target.psql(
        "erp",
        "SET ROLE mallory; DROP TABLE shared.pay; CREATE TABLE shared.pay (id int, amount int)",
    );
    let told = project.run(&["run"]).expect_code(4);
    told.says(&[
        "shared.pay belonged to role \"payroll\", and what has its name now belongs to role \"mallory\"",
    ]);
    assert_eq!(target.psql("erp", "SELECT count(*) FROM shared.pay"), "0");

    // What it advises.
    target.psql("erp", "ALTER TABLE \"shared\".\"pay\" OWNER TO \"payroll\"");
    project.run(&["run"]).expect_code(0);
    assert_eq!(target.psql("erp", "SELECT count(*) FROM shared.pay"), "100");
}

/// A default may name any sequence.
#[test]
fn a_sequence_that_the_owner_of_a_delayed_table_may_not_use_is_not_moved_on_for_him() {
    let (_source, target, project) = with_delayed_table("");
    target.psql(
        "erp",
        "CREATE SCHEMA bank; CREATE SEQUENCE bank.numbers; CREATE SEQUENCE bank.open; GRANT USAGE ON SCHEMA bank TO mallory;
         GRANT USAGE ON SEQUENCE bank.open TO mallory",
    );
    target.psql(
        "erp",
        "SET ROLE mallory; ALTER TABLE evil.late ALTER id SET DEFAULT nextval('bank.numbers'), ADD other int DEFAULT nextval('bank.open')",
    );
    project.run(&["run"]).expect_code(0).says(&[
        "the sequence bank.numbers, which the column id of evil.late uses, is not the one of the source, and the owner of the table may not \
         use it, so it was not moved",
    ]);
    let stands = "SELECT last_value, is_called FROM bank.numbers";
    assert_eq!(target.psql("erp", stands), "1|f");
}
