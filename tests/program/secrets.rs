//! No password appears where others could see it: arguments, output, log, journal, report.

use std::fs;
use std::os::unix::fs::PermissionsExt;

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

/// `env` of each client program, which is handed the one password that it needs.
#[test]
fn a_client_program_gets_the_password_of_its_own_server_alone() {
    let (source, target) = (Server::start(16), Server::start(18));
    let filled = fill::everything(&source);
    let words = secrets(&source, &target, &filled.logins);
    let mut project = Project::between(&source, &target);
    let seen = project.directory().join("seen");
    let clients = place::clients(18);
    fs::create_dir(&seen).unwrap();
    for program in ["pg_dump", "pg_restore", "pg_dumpall"] {
        let file = seen.join(program);
        let script = format!(
            "#!/bin/sh\nenv > '{0}/{program}.'$$\nexec '{1}/{program}' \"$@\"\n",
            seen.display(),
            clients.display()
        );
        fs::write(&file, script).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
    }
    project = project.variable("PATH", place::path_with(&[seen.clone(), clients]));
    project.run(&["run"]).expect_code(0);
    let (mut of_source, mut of_target) = (0, 0);
    for entry in fs::read_dir(&seen).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none() {
            continue;
        }
        let environment = fs::read_to_string(&path).unwrap();
        let [has_source, has_target] = [0, 1].map(|side| environment.contains(&words[side]));
        assert!(
            !(has_source && has_target),
            "{}: {environment}",
            path.display()
        );
        assert!(
            !environment.contains("_PASSWORD="),
            "{}: {environment}",
            path.display()
        );
        of_source += u32::from(has_source);
        of_target += u32::from(has_target);
    }
    assert!(of_source > 0 && of_target > 0, "{of_source} {of_target}");
}
