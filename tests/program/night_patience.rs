//! Servers that are away for a while, and passwords that change, in the middle of a night.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::support::compare;
use crate::support::held::Held;
use crate::support::paused::Paused;
use crate::support::project::{Project, Running, string, waiver};
use crate::support::server::{Mode, Server};

const IMPATIENT: &str = "[retry]\nattempts = 2\nbackoff = \"100ms\"\nmax_backoff = \"200ms\"\n";
const STILL_SET: &str = "The target still has its settings for the load";

fn servers() -> (Server, Server) {
    let (source, target) = (Server::start(16), Server::of(18).durable().start());
    source.psql("postgres", "CREATE DATABASE erp");
    source.psql(
        "erp",
        "CREATE TABLE t AS SELECT generate_series(1, 100) AS id; CREATE INDEX ON t (id)",
    );
    (source, target)
}

/// A run that is about to restore.
fn about_to_restore(project: Project) -> (Project, Paused, Running) {
    let (project, restore) = Paused::of(project, "pg_restore", "--dbname=");
    let mut running = project.start(&["run"]);
    restore.until_reached(&mut running);
    (project, restore, running)
}

fn fsync(server: &Server) -> String {
    server.psql("postgres", "SHOW fsync")
}

/// By the journal, the step was started.
fn until_started(project: &Project, running: &mut Running, step: &str) {
    running.until("the step", || {
        project
            .journal_steps("step-started")
            .contains(&step.to_owned())
    });
}

/// A fail-over, or a restart for an update.
#[test]
fn a_target_that_is_away_for_half_a_minute_is_waited_for() {
    let (source, mut target) = servers();
    let project = Project::between(&source, &target);
    let (_project, restore, running) = about_to_restore(project);
    target.stop(Mode::Fast);
    restore.go();
    sleep(Duration::from_secs(25));
    target.start_again();
    running.wait().expect_code(0);
    assert_eq!(fsync(&target), "on");
    compare::assert_same(&source, &target, "erp");
}

/// A step is given up before the target is back, and restoring its settings is not.
#[test]
fn restoring_settings_is_tried_for_longer_than_a_step() {
    let (source, mut target) = servers();
    let project = Project::between(&source, &target).with(IMPATIENT);
    let (project, restore, mut running) = about_to_restore(project);
    target.stop(Mode::Fast);
    restore.go();
    until_started(&project, &mut running, "restore-settings");
    sleep(Duration::from_secs(4));
    assert!(running.is_running(), "it does not wait");
    target.start_again();
    let finished = running.wait().expect_code(4);
    assert!(!finished.stdout.contains(STILL_SET), "{}", finished.stdout);
    assert_eq!(fsync(&target), "on");
    project.run(&["run"]).expect_code(0);
    compare::assert_same(&source, &target, "erp");
}

#[test]
fn the_patience_for_settings_is_the_plans_and_its_end_is_said_first() {
    let (source, mut target) = servers();
    let plan = format!("{IMPATIENT}restore_settings = \"1s\"\n");
    let project = Project::between(&source, &target).with(&plan);
    let (project, restore, running) = about_to_restore(project);
    target.stop(Mode::Fast);
    restore.go();
    let finished = running.wait().expect_code(4);
    assert!(
        finished.stdout.starts_with(STILL_SET),
        "{}",
        finished.stdout
    );
    assert!(
        finished.stdout.contains("retry.restore_settings"),
        "{}",
        finished.stdout
    );
    let refused = project.run(&["revert"]).expect_code(3);
    assert!(
        refused.stderr.contains("still has its settings"),
        "{}",
        refused.stderr
    );
    target.start_again();
    assert_eq!(fsync(&target), "off");
    project.run(&["revert"]).expect_code(0);
    assert_eq!(fsync(&target), "on");
}

/// Whoever wants to go home is let go, and told.
#[test]
fn a_second_signal_gives_restoring_up() {
    let (source, mut target) = servers();
    let project = Project::between(&source, &target).with(IMPATIENT);
    let (project, restore, mut running) = about_to_restore(project);
    target.stop(Mode::Fast);
    restore.go();
    until_started(&project, &mut running, "restore-settings");
    running.interrupt();
    sleep(Duration::from_secs(2));
    assert!(running.is_running(), "one signal gave it up");
    let asked = Instant::now();
    running.interrupt();
    let finished = running.wait().expect_code(130);
    assert!(asked.elapsed() < Duration::from_secs(20));
    assert!(
        finished.stdout.starts_with(STILL_SET),
        "{}",
        finished.stdout
    );
    for verb in ["revert", "run"] {
        let running = project.start(&[verb]);
        sleep(Duration::from_secs(2));
        let asked = Instant::now();
        running.interrupt();
        let finished = running.wait().expect_code(130);
        assert!(asked.elapsed() < Duration::from_secs(20));
        finished.expect_words(&["not yet", "SIGINT received", "still those for the load"]);
    }
    target.start_again();
    project.run(&["run"]).expect_code(0);
    assert_eq!(fsync(&target), "on");
    compare::assert_same(&source, &target, "erp");
}

#[test]
fn a_target_that_is_away_is_waited_for_before_anything_else() {
    for verb in ["revert", "run"] {
        let (source, mut target) = servers();
        let project = Project::between(&source, &target).with(IMPATIENT);
        let (project, restore, running) = about_to_restore(project);
        running.kill9();
        running.wait();
        restore.go();
        target.stop(Mode::Fast);
        let mut running = project.start(&[verb]);
        sleep(Duration::from_secs(4));
        assert!(running.is_running(), "{verb} does not wait");
        target.start_again();
        running.wait().expect_code(0);
        assert_eq!(fsync(&target), "on", "{verb}");
    }
}

/// Both servers with a role whose password the test changes, and the files that hold it.
struct Vault {
    source: Server,
    target: Server,
    directory: tempfile::TempDir,
}

impl Vault {
    fn new() -> Vault {
        let (source, target) = servers();
        let vault = Vault {
            source,
            target,
            directory: tempfile::tempdir().unwrap(),
        };
        for (server, role) in vault.roles() {
            server.psql("postgres", &format!("CREATE ROLE {role} SUPERUSER LOGIN"));
        }
        // The source's roles come over with their passwords, that of the tests' own as well.
        let access = "local all all trust\nhost all all 127.0.0.1/32 scram-sha-256\n";
        fs::write(vault.target.data_directory().join("pg_hba.conf"), access).unwrap();
        vault.target.psql("postgres", "SELECT pg_reload_conf()");
        vault.expire("first");
        vault.renew("first");
        vault
    }

    fn roles(&self) -> [(&Server, &'static str); 2] {
        [(&self.source, "reader"), (&self.target, "mover")]
    }

    fn file(&self, role: &str) -> PathBuf {
        self.directory.path().join(role)
    }

    /// The servers take this one from now on.
    fn expire(&self, password: &str) {
        for (server, role) in self.roles() {
            server.psql(
                "postgres",
                &format!("ALTER ROLE {role} PASSWORD '{password} of {role}'"),
            );
        }
    }

    /// It is given to those who ask.
    fn renew(&self, password: &str) {
        for (_, role) in self.roles() {
            let file = self.file(role);
            fs::write(&file, format!("{password} of {role}\n")).unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        }
    }

    /// A plan whose passwords come from there: the source's by a command, the target's from a file.
    fn project(&self) -> Project {
        let count = self.directory.path().join("asked");
        let script = format!(
            "echo >>'{}'; cat '{}'",
            count.display(),
            self.file("reader").display()
        );
        let command = format!("{{ command = [\"sh\", \"-c\", {}] }}", string(&script));
        let file = string(&self.file("mover").display().to_string());
        Project::between(&self.source, &self.target)
            .source("user", "\"reader\"")
            .source("password", &command)
            .target("user", "\"mover\"")
            // The source's password of the tests' own role is set.
            .with(&waiver("target/role-differs"))
            .target("password", &format!("{{ file = {file} }}"))
    }

    fn asked(&self) -> usize {
        let asked = fs::read(self.directory.path().join("asked")).unwrap();
        asked.len()
    }

    #[track_caller]
    fn assert_moved(&self) {
        assert_eq!(fsync(&self.target), "on");
        compare::assert_same(&self.source, &self.target, "erp");
    }
}

/// At each client program: what connects after it, and those that come after it themselves, need the new one.
#[test]
fn a_password_that_changes_is_asked_for_again() {
    for (program, words) in [
        ("pg_dumpall", "--globals-only"),
        ("pg_dump", "/test/erp "),
        ("pg_restore", "--dbname="),
    ] {
        let vault = Vault::new();
        let (project, paused) = Paused::of(vault.project(), program, words);
        let mut running = project.start(&["run"]);
        paused.until_reached(&mut running);
        vault.expire("second");
        vault.renew("second");
        let before = vault.asked();
        paused.go();
        running.wait().expect_code(0);
        // One program may be refused, and then each connection finds the new one.
        assert!(vault.asked() <= before + 1, "{program}: {}", vault.asked());
        vault.assert_moved();
    }
}

/// It connects again when its jobs are done, with the password that it began with.
#[test]
fn a_restore_that_takes_longer_than_its_password_lives_comes_to_its_end() {
    let vault = Vault::new();
    let (project, restore) = Paused::of(vault.project(), "pg_restore", "/data.");
    let mut running = project.start(&["run"]);
    restore.until_reached(&mut running);
    let held = Held::begin(&vault.target, "erp", "LOCK TABLE t");
    restore.go();
    let waiting =
        "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = 'erp'";
    running.until("a worker that waits", || {
        vault.target.psql("postgres", waiting) != "0"
    });
    vault.expire("second");
    vault.renew("second");
    held.commit();
    running.wait().expect_code(0);
    let log = fs::read_dir(project.state_directory().join("log")).unwrap();
    let log: String = log
        .map(|entry| fs::read_to_string(entry.unwrap().path()).unwrap())
        .collect();
    assert!(log.contains("restoring again with one job"), "{log}");
    vault.assert_moved();
}

/// What renews it may be slower than what ends it.
#[test]
fn a_password_that_is_renewed_late_is_waited_for() {
    let vault = Vault::new();
    let (_project, restore, running) = about_to_restore(vault.project());
    vault.expire("second");
    restore.go();
    sleep(Duration::from_secs(6));
    vault.renew("second");
    running.wait().expect_code(0);
    vault.assert_moved();
}

/// Restoring settings is patient with it as well.
#[test]
fn a_password_that_is_renewed_late_does_not_leave_the_target_unsafe() {
    let vault = Vault::new();
    let project = vault.project().with(IMPATIENT);
    let (project, restore, mut running) = about_to_restore(project);
    vault.expire("second");
    restore.go();
    until_started(&project, &mut running, "restore-settings");
    sleep(Duration::from_secs(3));
    vault.renew("second");
    running.wait().expect_code(4);
    assert_eq!(fsync(&vault.target), "on");
    project.run(&["run"]).expect_code(0);
    vault.assert_moved();
}

/// Before the run it is asked for once more, and then it is wrong.
#[test]
fn a_wrong_password_is_refused_at_once() {
    let vault = Vault::new();
    vault.expire("second");
    let begun = Instant::now();
    vault
        .project()
        .target("user", "\"postgres\"")
        .target("password", "{ env = \"TARGET_PASSWORD\" }")
        .run(&["check"])
        .expect_code(3)
        .expect_words(&[
            "password authentication failed",
            "it was asked for again, and is the same",
        ]);
    assert!(begun.elapsed() < Duration::from_secs(20));
    assert_eq!(vault.asked(), 2);
}

/// The environment of a process does not change.
#[test]
fn a_password_from_the_environment_is_not_asked_again() {
    let vault = Vault::new();
    let project = vault
        .project()
        .target("password", "{ env = \"MOVER\" }")
        .variable("MOVER", "first of mover");
    let (project, restore, running) = about_to_restore(project);
    vault.expire("second");
    vault.renew("second");
    restore.go();
    let begun = Instant::now();
    let finished = running.wait().expect_code(4);
    assert!(begun.elapsed() < Duration::from_secs(60));
    assert!(
        finished.stdout.starts_with(STILL_SET),
        "{}",
        finished.stdout
    );
    let project = project.variable("MOVER", "second of mover");
    project.run(&["run"]).expect_code(0);
    vault.assert_moved();
}
