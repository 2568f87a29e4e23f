//! Bad input: a clear error, the right exit code, and nothing written to either server.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::support::project::{Finished, Project, string};
use crate::support::server::{Server, Tls, free_port};
use crate::support::{compare, fill};

/// A small source and an empty target.
fn servers() -> (Server, Server) {
    let (source, target) = (Server::start(16), Server::start(18));
    fill::plain(&source, 1, 10);
    (source, target)
}

/// Runs the plan, which is refused with this exit code, these words and no trace on the servers.
#[track_caller]
fn refused(
    (source, target): (&Server, &Server),
    project: &Project,
    code: i32,
    words: &[&str],
) -> Finished {
    let before = (compare::state(source), compare::state(target));
    let finished = project.run(&["run"]).expect_code(code).expect_words(words);
    let after = (compare::state(source), compare::state(target));
    assert!(before == after, "a server was changed");
    assert_eq!(
        (source.connections_left(), target.connections_left()),
        (0, 0)
    );
    for server in [source, target] {
        let secret = server.password().split(' ').next().unwrap();
        for text in [&finished.stdout, &finished.stderr] {
            assert!(!text.contains(secret), "a password was shown:\n{text}");
        }
    }
    finished
}

#[test]
fn problems_of_the_plan_file() {
    let (source, target) = servers();
    let both = (&source, &target);
    let plan = || Project::between(&source, &target);

    let unknown = plan().parallelism("dump_job", 3);
    refused(
        both,
        &unknown,
        2,
        &["dump_job", "did you mean", "dump_jobs"],
    );
    let wrong_type = plan().source("port", "\"five\"");
    refused(both, &wrong_type, 2, &["port", "five"]);
    let literal = plan().source("password", "\"open sesame\"");
    refused(both, &literal, 2, &["password", "env"]);
    let empty = plan().plan_text("");
    refused(both, &empty, 2, &["source"]);
    let not_toml = plan().plan_text("[source\nhost = 1\n");
    refused(both, &not_toml, 2, &["plan.toml"]);
    // All of them at once.
    let several = plan()
        .parallelism("dump_job", 3)
        .source("hots", "\"x\"")
        .with("[verify]\nmode = \"exakt\"\n");
    refused(both, &several, 2, &["dump_job", "hots", "exakt"]);
}

#[test]
fn plan_files_that_cannot_be_read() {
    let (source, target) = servers();
    let both = (&source, &target);
    let plan = || Project::between(&source, &target);

    let binary = plan();
    fs::write(binary.plan_file(), [0xff, 0xfe, b'\n']).unwrap();
    let before = compare::state(&source);
    let run_as_is = |project: &Project| project.run_as_is(&["run"]).expect_code(2);
    assert!(run_as_is(&binary).stderr.contains("plan.toml"));
    let directory = plan();
    fs::create_dir(directory.plan_file()).unwrap();
    assert!(run_as_is(&directory).stderr.contains("plan.toml"));
    let missing = plan();
    assert!(run_as_is(&missing).stderr.contains("plan.toml"));
    assert_eq!(compare::state(&source), before);

    let forgotten = plan().without_variable("TARGET_PASSWORD");
    refused(both, &forgotten, 2, &["TARGET_PASSWORD"]);
    let no_secret = plan().source("password", "{ file = \"not there\" }");
    refused(both, &no_secret, 2, &["not there"]);
}

#[test]
fn the_command_line() {
    let (source, target) = servers();
    let project = Project::between(&source, &target);
    let ended = |verb: &[&str]| project.run(verb).code;
    assert_eq!(ended(&["migrate"]), Some(2));
    assert_eq!(ended(&["run", "--no-such-option"]), Some(2));
    assert_eq!(ended(&["plan", "--format", "pdf"]), Some(2));
    assert!(!project.state_directory().exists());
}

#[test]
fn unreachable_hosts() {
    let (source, target) = servers();
    let both = (&source, &target);
    let plan = || Project::between(&source, &target);

    let unused = free_port().to_string();
    let port = plan().source("port", &unused);
    refused(both, &port, 3, &["source", &unused]);
    let port = plan().target("port", &unused);
    refused(both, &port, 3, &["target", &unused]);
    let name = plan().target("host", &string("no-such-host.invalid"));
    refused(both, &name, 3, &["target", "no-such-host.invalid"]);
    let socket = plan().source("host", &string("/nonexistent/directory"));
    refused(both, &socket, 3, &["source", "/nonexistent/directory"]);
}

#[test]
fn wrong_passwords() {
    let (source, target) = servers();
    let both = (&source, &target);
    let plan = || Project::between(&source, &target);
    let wrong = plan().variable("SOURCE_PASSWORD", "open sesame");
    let finished = refused(both, &wrong, 3, &["source", "password", "postgres"]);
    assert!(!finished.stderr.contains("open sesame"));
    let wrong = plan().variable("TARGET_PASSWORD", "open sesame");
    let finished = refused(both, &wrong, 3, &["target", "password", "postgres"]);
    assert!(!finished.stderr.contains("open sesame"));
    let stranger = plan().source("user", &string("nobody here"));
    refused(both, &stranger, 3, &["source", "nobody here"]);
}

#[test]
fn tls_refused() {
    let source = Server::of(16).tls(Tls::Required).start();
    let target = Server::start(17);
    fill::plain(&source, 1, 10);
    let both = (&source, &target);
    let authority = |server: &Server| {
        let file = server.certificates().authority();
        string(&file.display().to_string())
    };
    let plan = || Project::between(&source, &target).clients(17);

    let plain = plan().source("sslmode", "\"disable\"");
    refused(both, &plain, 3, &["source"]);
    let demanded = plan().target("sslmode", "\"require\"");
    refused(both, &demanded, 3, &["target", "TLS"]);
    let stranger = Server::of(16).tls(Tls::Offered).start();
    let unknown = plan()
        .source("sslmode", "\"verify-ca\"")
        .source("sslrootcert", &authority(&stranger));
    refused(both, &unknown, 3, &["source", "certificate"]);
    let wrong_name = plan()
        .source("sslmode", "\"verify-full\"")
        .source("sslrootcert", &authority(&source));
    refused(
        both,
        &wrong_name,
        3,
        &["source", "certificate", "127.0.0.1"],
    );
}

#[test]
fn clients_missing_or_too_old() {
    let (source, target) = servers();
    let empty = tempfile::tempdir().unwrap();
    let missing = Project::between(&source, &target).variable("PATH", empty.path());
    refused((&source, &target), &missing, 3, &["pg_dump", "PATH"]);

    let newer = Server::start(18);
    fill::plain(&newer, 1, 10);
    let old = Project::between(&newer, &target).clients(17);
    refused((&newer, &target), &old, 3, &["pg_dump", "17", "18"]);
}

#[test]
fn a_target_older_than_the_source() {
    let (source, target) = (Server::start(18), Server::start(16));
    fill::plain(&source, 1, 10);
    let project = Project::between(&source, &target);
    refused((&source, &target), &project, 3, &["target", "18", "16"]);
}

#[test]
fn a_target_database_that_is_not_empty() {
    let (source, target) = servers();
    target.psql("postgres", "CREATE DATABASE db1");
    target.psql("db1", "CREATE TABLE precious AS SELECT 1 AS i");
    let project = Project::between(&source, &target);
    refused((&source, &target), &project, 3, &["db1", "target"]);
    assert_eq!(target.psql("db1", "SELECT i FROM precious"), "1");

    let dry_run = project.run(&["plan", "--dry-run"]).expect_code(3);
    for words in ["block target/database-not-empty", "Database db1"] {
        assert!(
            dry_run.stdout.contains(words),
            "{words}: {}",
            dry_run.stdout
        );
    }
    let sealing = project.run(&["plan"]).expect_code(3);
    assert_eq!(sealing.stdout, dry_run.stdout);
}

#[test]
fn a_dump_root_that_is_not_writable() {
    let (source, target) = servers();
    let both = (&source, &target);
    // Not even root makes a directory below a file.
    let file = "[dump]\nroot = \"plan.toml/dumps\"\n";
    let project = Project::between(&source, &target).with(file);
    refused(both, &project, 3, &["plan.toml/dumps"]);

    if !nix::unistd::Uid::effective().is_root() {
        let project = Project::between(&source, &target).with("[dump]\nroot = \"closed/dumps\"\n");
        let closed = project.directory().join("closed");
        fs::create_dir(&closed).unwrap();
        fs::set_permissions(&closed, fs::Permissions::from_mode(0o500)).unwrap();
        refused(both, &project, 3, &["closed/dumps"]);
    }
}

/// Neither is gone on from, and either is left for a person to look at.
#[test]
fn a_journal_that_cannot_be_read() {
    let (source, target) = servers();
    let both = (&source, &target);
    let project = Project::between(&source, &target);
    project.run(&["run"]).expect_code(0);
    let path = project.state_directory().join("journal.jsonl");
    let whole = fs::read_to_string(&path).unwrap();
    let third = whole.lines().nth(2).unwrap();
    let damaged = whole.replacen(third, &third[..third.len() / 2], 1);
    let newer = whole.replacen("{\"v\":2,", "{\"v\":3,", 1);
    for (text, words) in [
        (
            &damaged,
            ["line 3: it is not a record", "postgresql.auto.conf"],
        ),
        (&newer, ["newer", "use the version"]),
    ] {
        assert_ne!(text, &whole);
        fs::write(&path, text).unwrap();
        refused(both, &project, 1, &words);
        assert_eq!(&fs::read_to_string(&path).unwrap(), text);
    }
    fs::write(&path, &whole).unwrap();
    project.run(&["run"]).expect_code(0);
}
