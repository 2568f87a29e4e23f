//! Whole migrations between real servers: everything arrives, as the report says and as an
//! independent comparison finds.

use std::collections::BTreeSet;
use std::fs;
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::project::{Finished, Project, string};
use crate::support::server::{Server, Tls, identifier};
use crate::support::{compare, fill};

/// Names of the report's databases.
fn reported(report: &Value) -> BTreeSet<String> {
    let databases = report["databases"].as_array().unwrap();
    databases
        .iter()
        .map(|database| database["name"].as_str().unwrap().to_owned())
        .collect()
}

/// Fails the test unless the report says that everything was done and every table matched.
fn assert_complete(report: &Value) {
    assert_eq!(report["outcome"], "completed");
    assert_eq!(report["exit_code"], 0);
    for database in report["databases"].as_array().unwrap() {
        assert_eq!(database["outcome"], "completed", "{database:#}");
        for step in database["steps"].as_array().unwrap() {
            assert_eq!(step["state"], "done", "{database:#}");
        }
        for table in database["tables"].as_array().unwrap() {
            assert_eq!(table["match"], true, "{}: {table}", database["name"]);
        }
        let ledger = database["ledger"].as_array().unwrap();
        assert!(ledger.is_empty(), "{ledger:#?}");
    }
}

/// Rows of a table by the report: source, target.
fn rows(report: &Value, database: &str, schema: &str, table: &str) -> (Value, Value) {
    let databases = report["databases"].as_array().unwrap();
    let database = databases.iter().find(|entry| entry["name"] == database);
    let tables = database.unwrap()["tables"].as_array().unwrap();
    let entry = tables
        .iter()
        .find(|entry| entry["schema"] == schema && entry["table"] == table)
        .unwrap_or_else(|| panic!("{schema}.{table} is not in the report"));
    (entry["source_rows"].clone(), entry["target_rows"].clone())
}

fn steps_started(project: &Project) -> usize {
    project.journal_steps("step-started").len()
}

fn databases_of(server: &Server) -> BTreeSet<String> {
    // A name may hold a line feed, so rows end otherwise.
    let names = server.psql(
        "postgres",
        "SELECT string_agg(datname, E'\\x1e') FROM pg_database
         WHERE datname NOT IN ('postgres', 'template0', 'template1', 'pg_migrate_mark')",
    );
    let names = names.split('\u{1e}').filter(|name| !name.is_empty());
    names.map(str::to_owned).collect()
}

/// Everything that the tests know how to make, from one version to another.
fn everything_arrives(from: u32, to: u32, clients: u32) {
    let (source, target) = (Server::start(from), Server::start(to));
    let filled = fill::everything(&source);
    let before = compare::state(&source);
    let project = Project::between(&source, &target).clients(clients);
    let finished = project.run(&["run"]).expect_code(0);

    let expected: BTreeSet<String> = filled.databases.iter().cloned().collect();
    let report = project.report();
    assert_eq!(reported(&report), expected);
    assert_complete(&report);
    assert_eq!(databases_of(&target), expected);
    // A database that refuses connections cannot be dumped; the user should know.
    assert!(finished.stderr.contains("closed"), "{}", finished.stderr);

    for database in &filled.databases {
        compare::assert_same(&source, &target, database);
    }
    let differences = compare::globals(&source, &target);
    assert!(differences.is_empty(), "{differences:#?}");
    for login in &filled.logins {
        assert!(
            target.lets_in("shop", &login.role, &login.password),
            "{} cannot log in",
            login.role
        );
    }
    assert!(target.lets_in("postgres", "postgres", target.password()));

    // Children are not counted with their parent, and remote rows not at all.
    for (table, count) in [
        ("animals", 2),
        ("cats", 3),
        ("customers", 500),
        ("no_columns", 2),
        ("payments_2023", 214),
        ("without_rows", 0),
    ] {
        let counted = rows(&report, "shop", "sales", table);
        assert_eq!(counted, (count.into(), count.into()), "{table}");
    }

    assert_eq!(compare::state(&source), before, "the source was changed");
    // A backend whose client has said goodbye may take a moment to go.
    let deadline = Instant::now() + Duration::from_secs(2);
    while (source.connections(), target.connections()) != (0, 0) {
        assert!(Instant::now() < deadline, "sessions were left");
        sleep(Duration::from_millis(20));
    }
    let archives = fs::read_dir(project.directory().join("pg_dumps"));
    assert_eq!(
        archives.into_iter().flatten().count(),
        0,
        "archives were left"
    );

    let started = steps_started(&project);
    project.run(&["run"]).expect_code(0);
    assert_eq!(
        steps_started(&project),
        started,
        "a completed plan is nothing to do"
    );
}

#[test]
fn everything_arrives_from_10_to_18() {
    everything_arrives(10, 18, 18);
}

#[test]
fn everything_arrives_from_12_to_18() {
    everything_arrives(12, 18, 18);
}

#[test]
fn everything_arrives_from_14_to_17() {
    everything_arrives(14, 17, 17);
}

#[test]
fn everything_arrives_from_15_to_18() {
    everything_arrives(15, 18, 18);
}

#[test]
fn everything_arrives_from_16_to_18() {
    everything_arrives(16, 18, 18);
}

#[test]
fn counts_match_while_clients_write_to_the_source() {
    let (source, target) = (Server::start(14), Server::start(18));
    source.psql("postgres", "CREATE DATABASE bench");
    let mut initialize = source.client("pgbench", "bench");
    initialize.args(["--initialize", "--quiet", "--scale=5"]);
    assert!(initialize.output().unwrap().status.success());

    let mut writers = source.client("pgbench", "bench");
    writers.args(["--no-vacuum", "--client=4", "--rate=300", "--time=300"]);
    let mut writers = Background::start(writers);
    let written = || -> u64 {
        let count = source.psql("bench", "SELECT count(*) FROM pgbench_history");
        count.parse().unwrap()
    };
    while written() == 0 {
        writers.assert_running();
    }
    let at_start = written();
    let project = Project::between(&source, &target);
    project.run(&["run"]).expect_code(0);
    writers.assert_running();
    drop(writers);

    let report = project.report();
    assert_complete(&report);
    let (_, arrived) = rows(&report, "bench", "public", "pgbench_history");
    let arrived = arrived.as_u64().unwrap();
    assert!(
        at_start <= arrived && arrived < written(),
        "{at_start}, then {arrived} of {}",
        written()
    );
    // Each transaction changes all four by the same amount: the tables are of one moment.
    let sums = target.psql(
        "bench",
        "SELECT count(DISTINCT total) FROM (
             SELECT sum(abalance) FROM pgbench_accounts
             UNION ALL SELECT sum(tbalance) FROM pgbench_tellers
             UNION ALL SELECT sum(bbalance) FROM pgbench_branches
             UNION ALL SELECT sum(delta) FROM pgbench_history) AS sums (total)",
    );
    assert_eq!(sums, "1");
}

/// A program that runs beside the test, ended on drop.
struct Background(std::process::Child);

impl Background {
    fn start(mut command: std::process::Command) -> Background {
        command.stdout(std::process::Stdio::null());
        command.stderr(std::process::Stdio::null());
        Background(command.spawn().unwrap())
    }

    fn assert_running(&mut self) {
        let ended = self.0.try_wait().unwrap();
        assert!(ended.is_none(), "the writers ended: {ended:?}");
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

#[test]
fn one_failed_database_does_not_stop_the_others() {
    let (source, target) = (Server::start(16), Server::start(18));
    fill::plain(&source, 3, 100);
    // pg_restore sets an empty search_path, so the check's function does not find its table.
    source.psql(
        "db2",
        "CREATE TABLE lookup AS SELECT 1 AS i;
         CREATE FUNCTION known(int) RETURNS bool LANGUAGE plpgsql AS
             'BEGIN RETURN EXISTS (SELECT FROM lookup WHERE i = $1); END';
         CREATE TABLE checked (i int CHECK (known(i)));
         INSERT INTO checked VALUES (1)",
    );
    let project = Project::between(&source, &target);
    project
        .run(&["run"])
        .expect_code(4)
        .expect_words(&["db2", "checked"]);
    let report = project.report();
    assert_eq!(report["outcome"], "failed");
    for database in report["databases"].as_array().unwrap() {
        let failed = database["name"] == "db2";
        let outcome = if failed { "failed" } else { "completed" };
        assert_eq!(database["outcome"], outcome, "{database:#}");
        if failed {
            let ledger = database["ledger"].as_array().unwrap();
            let entry = ledger
                .iter()
                .find(|entry| entry["object"].as_str().unwrap().contains("checked"));
            assert_eq!(entry.unwrap()["accepted"], false, "{ledger:#?}");
        }
    }
    for database in ["db1", "db3"] {
        compare::assert_same(&source, &target, database);
    }
    // What did not depend on the failed object is there all the same.
    assert_eq!(target.psql("db2", "SELECT count(*) FROM table1"), "100");
}

#[test]
fn an_accepted_restore_error_does_not_fail_the_run() {
    let (source, target) = (Server::start(16), Server::start(18));
    fill::plain(&source, 1, 10);
    source.psql("db1", "CREATE ROLE gone; GRANT SELECT ON table1 TO gone");
    let without_roles = "[globals]\nmigrate = false\n";
    let accepted = "[[accept]]\ndatabase = \"db1\"\nobject = \"ACL *table1*\"\n\
                    reason = \"the role was retired\"\n";
    let project = Project::between(&source, &target)
        .with(without_roles)
        .with(accepted);
    project.run(&["run"]).expect_code(0);
    let report = project.report();
    let ledger = report["databases"][0]["ledger"].as_array().unwrap();
    assert_eq!(ledger.len(), 1, "{ledger:#?}");
    assert_eq!(ledger[0]["accepted"], true);
    assert!(ledger[0]["message"].as_str().unwrap().contains("gone"));

    target.psql("postgres", "DROP DATABASE db1");
    let project = Project::between(&source, &target).with(without_roles);
    project.run(&["run"]).expect_code(4);
    assert_eq!(
        project.report()["databases"][0]["ledger"][0]["accepted"],
        false
    );
}

#[test]
fn existing_roles_are_updated_and_our_own_is_left_alone() {
    let (source, target) = (Server::start(12), Server::start(18));
    let logins = fill::roles(&source);
    fill::plain(&source, 1, 10);
    target.psql(
        "postgres",
        "CREATE ROLE app_rw LOGIN CREATEDB PASSWORD 'old'; CREATE ROLE stays LOGIN",
    );
    source.psql("postgres", "ALTER ROLE postgres CONNECTION LIMIT 33");
    Project::between(&source, &target)
        .with(
            "[[waive]]\ncode = \"target/role-differs\"\nobject = \"ROLE app_rw\"\nuntil = 2099-12-31\nreason = \"ours\"",
        )
        .run(&["run"])
        .expect_code(0);
    let expected = ["role stays: only on the target".to_owned()];
    assert_eq!(compare::globals(&source, &target), expected);
    assert!(target.lets_in("db1", "app_rw", &logins[0].password));
    assert!(target.lets_in("postgres", "postgres", target.password()));
    let limit = "SELECT rolconnlimit FROM pg_roles WHERE rolname = 'postgres'";
    assert_eq!(target.psql("postgres", limit), "-1");
}

#[test]
fn roles_migrate_without_passwords_when_the_source_hides_them() {
    let (source, target) = (Server::start(14), Server::start(18));
    let logins = fill::roles(&source);
    fill::plain(&source, 1, 10);
    let password = crate::support::server::random_word("reader");
    source.psql(
        "postgres",
        &format!(
            "CREATE ROLE migrator LOGIN PASSWORD '{password}';
             GRANT pg_read_all_settings TO migrator"
        ),
    );
    source.psql(
        "db1",
        "GRANT SELECT ON ALL TABLES IN SCHEMA public TO migrator",
    );
    let project = Project::between(&source, &target)
        .source("user", &string("migrator"))
        .variable("SOURCE_PASSWORD", &password);
    project
        .run(&["run"])
        .expect_code(0)
        .expect_words(&["password"]);
    assert_complete(&project.report());
    let known = "SELECT count(*) FROM pg_authid WHERE rolname = 'app_rw' AND rolpassword IS NULL";
    assert_eq!(target.psql("postgres", known), "1");
    assert!(!target.lets_in("db1", "app_rw", &logins[0].password));
}

/// A small source and an empty target, both of which insist on TLS.
fn servers_with_tls(tls: Tls) -> (Server, Server) {
    let source = Server::of(16).tls(tls).start();
    let target = Server::of(17).tls(tls).start();
    fill::plain(&source, 1, 10);
    (source, target)
}

/// A plan for them; the 17 clients speak TLS.
fn project_with_tls(source: &Server, target: &Server, mode: &str, host: &str) -> Project {
    let authority = |server: &Server| {
        let file = server.certificates().authority();
        string(&file.display().to_string())
    };
    Project::between(source, target)
        .clients(17)
        .source("host", &string(host))
        .target("host", &string(host))
        .source("sslmode", &string(mode))
        .target("sslmode", &string(mode))
        .source("sslrootcert", &authority(source))
        .target("sslrootcert", &authority(target))
}

#[test]
fn tls_as_sslmode_says() {
    let (source, target) = servers_with_tls(Tls::Required);
    for (mode, host) in [
        ("verify-full", "localhost"),
        ("verify-ca", "127.0.0.1"),
        ("require", "127.0.0.1"),
        ("prefer", "127.0.0.1"),
    ] {
        let project = project_with_tls(&source, &target, mode, host);
        project.run(&["run"]).expect_code(0);
        assert_complete(&project.report());
        target.psql("postgres", "DROP DATABASE db1");
    }
}

#[test]
fn a_client_certificate_authenticates() {
    let (source, target) = servers_with_tls(Tls::ClientCertificate);
    let mut project = project_with_tls(&source, &target, "verify-full", "localhost")
        .without_source("password")
        .without_target("password");
    let file = |path: std::path::PathBuf| string(&path.display().to_string());
    let (ours, theirs) = (source.certificates(), target.certificates());
    project = project
        .source("sslcert", &file(ours.client_certificate()))
        .source("sslkey", &file(ours.client_key()))
        .target("sslcert", &file(theirs.client_certificate()))
        .target("sslkey", &file(theirs.client_key()));
    project.run(&["run"]).expect_code(0);
    assert_complete(&project.report());
}

#[test]
fn every_way_to_name_a_server_and_its_password() {
    let (source, target) = (Server::start(16), Server::start(18));
    fill::plain(&source, 1, 10);
    let run = |project: Project| {
        project.run(&["run"]).expect_code(0);
        assert_complete(&project.report());
        target.psql("postgres", "DROP DATABASE db1");
    };
    let plan = || Project::between(&source, &target);

    let socket = |server: &Server| string(&server.socket_directory().display().to_string());
    run(plan()
        .source("host", &socket(&source))
        .target("host", &socket(&target)));

    run(plan()
        .source("host", "{ env = \"A_HOST\" }")
        .source("port", "{ env = \"A_PORT\" }")
        .variable("A_HOST", "127.0.0.1")
        .variable("A_PORT", source.port().to_string()));

    let project = plan().source("password", "{ file = \"secret\" }");
    let secret = project.directory().join("secret");
    fs::write(&secret, format!("{}\n", source.password())).unwrap();
    close_to_others(&secret);
    run(project);

    let project = plan().target("password", "{ command = [\"cat\", \"secret\"] }");
    let secret = project.directory().join("secret");
    fs::write(&secret, format!("{}\n", target.password())).unwrap();
    let path = string(&secret.display().to_string());
    run(project.target("password", &format!("{{ command = [\"cat\", {path}] }}")));

    let mut project = plan().without_source("password");
    let pgpass = project.directory().join("pgpass");
    let escaped = source.password().replace('\\', "\\\\").replace(':', "\\:");
    fs::write(&pgpass, format!("127.0.0.1:*:*:postgres:{escaped}\n")).unwrap();
    close_to_others(&pgpass);
    project = project.variable("PGPASSFILE", &pgpass);
    run(project);

    let mut project = plan();
    for key in ["host", "port", "password"] {
        project = project.without_target(key);
    }
    let service = project.directory().join("pg_service.conf");
    let entry = format!(
        "[new-prod]\nhost=127.0.0.1\nport={}\nuser=postgres\npassword={}\n",
        target.port(),
        target.password()
    );
    fs::write(&service, entry).unwrap();
    run(project
        .target("service", &string("new-prod"))
        .variable("PGSERVICEFILE", &service));
}

fn close_to_others(path: &std::path::Path) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

#[test]
fn verify_finds_a_row_that_went_missing_afterwards() {
    let (source, target) = (Server::start(12), Server::start(18));
    fill::plain(&source, 2, 100);
    let project = Project::between(&source, &target);
    project.run(&["run"]).expect_code(0);
    project.run(&["verify"]).expect_code(0);
    target.psql(
        "db2",
        "DELETE FROM table3 WHERE id = 7; CREATE TABLE extra ()",
    );
    let finished: Finished = project.run(&["verify"]).expect_code(5);
    let said = format!("{}{}", finished.stdout, finished.stderr);
    for word in ["db2", "table3", "extra"] {
        assert!(said.contains(word), "{word}: {said}");
    }
}

#[test]
fn the_plan_decides_which_databases_move() {
    let (source, target) = (Server::start(10), Server::start(18));
    fill::plain(&source, 4, 10);
    source.psql(
        "postgres",
        &format!("CREATE DATABASE {}", identifier("scratch_x")),
    );
    Project::between(&source, &target)
        .with(
            "[databases]\ninclude = [\"db*\", \"scratch*\"]\nexclude = [\"scratch_*\", \"db3\"]\n",
        )
        .run(&["run"])
        .expect_code(0);
    let expected = ["db1", "db2", "db4"].map(str::to_owned);
    assert_eq!(databases_of(&target), BTreeSet::from(expected));
}
