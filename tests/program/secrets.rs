//! No password appears where others could see it: arguments, output, log, journal, report.

use crate::support::project::Project;
use crate::support::server::Server;
use crate::support::watch::{ProcessWatch, files_with};
use crate::support::{fill, place};

/// What must not be seen: random words in every password, and what a stored password begins with.
fn secrets(source: &Server, target: &Server, logins: &[fill::Login]) -> Vec<String> {
    let passwords = [source.password(), target.password()].into_iter();
    let passwords = passwords.chain(logins.iter().map(|login| login.password.as_str()));
    // Random words begin each of them; the rest is escaped in different ways.
    let is_word = |c: char| c.is_ascii_alphanumeric();
    let word = |password: &str| password.chars().take_while(|c| is_word(*c)).collect();
    let mut secrets: Vec<String> = passwords.map(word).collect();
    secrets.push("SCRAM-SHA-256$".to_owned());
    secrets
}

#[test]
fn no_password_is_seen_anywhere() {
    let (source, target) = (Server::start(10), Server::start(18));
    let filled = fill::everything(&source);
    let secrets = secrets(&source, &target, &filled.logins);
    let project = Project::between(&source, &target).variable("RUST_LOG", "trace");

    let watch = ProcessWatch::start();
    let finished = project.run(&["run"]).expect_code(0);
    let seen = watch.stop();
    // Otherwise nothing was searched.
    let clients = place::clients(18).display().to_string();
    for program in ["pg_dump", "pg_restore", "pg_dumpall"] {
        assert!(
            seen.iter().any(|line| {
                let name = line.split(' ').next().unwrap();
                name.ends_with(program) && (name == program || name.starts_with(&clients))
            }),
            "{program} was not seen running"
        );
    }
    for secret in &secrets {
        let lines: Vec<&String> = seen.iter().filter(|line| line.contains(secret)).collect();
        assert!(lines.is_empty(), "arguments: {lines:#?}");
        assert!(!finished.stdout.contains(secret), "{}", finished.stdout);
        assert!(!finished.stderr.contains(secret), "{}", finished.stderr);
        let files = files_with(project.directory(), secret);
        assert!(files.is_empty(), "{files:#?}");
    }
    assert!(!files_with(&project.state_directory(), "step-started").is_empty());
}

/// Statements that set passwords are kept out of the target's log and statistics, also those that fail; where the role may not do
/// that, it is told.
#[test]
fn no_password_is_written_down_on_the_target() {
    let source = Server::start(16);
    let target = Server::of(18)
        .set("log_statement", "all")
        .set("log_min_duration_statement", "0")
        .set("log_transaction_sample_rate", "1")
        .set("debug_print_parse", "on")
        .start();
    source.psql(
        "postgres",
        "CREATE ROLE app LOGIN PASSWORD 'of the source'; CREATE DATABASE erp",
    );
    let project = Project::between(&source, &target);
    project.run(&["run"]).expect_code(0);
    let stored = "SELECT substr(rolpassword, 1, 60) FROM pg_authid WHERE rolname = 'app'";
    let stored = target.psql("postgres", stored);
    let log = target.log();
    assert!(log.contains("statement: "), "{log}");
    assert!(!log.contains("ALTER ROLE app"), "{log}");
    assert!(!log.contains(stored.trim()), "{log}");
    target.psql(
        "postgres",
        "CREATE ROLE mover LOGIN CREATEDB CREATEROLE PASSWORD 'of the mover'",
    );
    Project::between(&source, &target)
        .target("user", "\"mover\"")
        .variable("TARGET_PASSWORD", "of the mover")
        .run(&["check"])
        .says(&[
            "target/passwords-written: the target writes down the statements that set the passwords of roles, as they are stored \
             (log_min_duration_statement = 0, log_statement = all, log_transaction_sample_rate = 1), and the role \"mover\" may not",
        ]);
}

#[test]
fn no_password_is_seen_when_a_step_fails() {
    let (source, target) = (Server::start(16), Server::start(18));
    let logins = fill::roles(&source);
    fill::plain(&source, 1, 10);
    // Found by no check beforehand: the restore fails on the server's word.
    source.psql(
        "db1",
        "CREATE FUNCTION refuse(int) RETURNS bool LANGUAGE plpgsql AS
             'BEGIN RETURN EXISTS (SELECT FROM table1 WHERE id = $1); END';
         CREATE TABLE refused (i int CHECK (refuse(i))); INSERT INTO refused VALUES (1)",
    );
    let project = Project::between(&source, &target).variable("RUST_LOG", "trace");
    let finished = project.run(&["run"]).expect_code(4);
    for secret in secrets(&source, &target, &logins) {
        assert!(!finished.stderr.contains(&secret), "{}", finished.stderr);
        assert!(!finished.stdout.contains(&secret), "{}", finished.stdout);
        let files = files_with(project.directory(), &secret);
        assert!(files.is_empty(), "{files:#?}");
    }
}
