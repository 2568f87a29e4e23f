//! What went wrong for others who moved servers, made small: each directory of tests/public is a case with a
//! source.sh that fills a source and a check.sh that compares both servers, written by hand and knowing nothing of
//! this program.
//!
//! A run of a case uses the plan with one of the directory's files at its end; `fix.sh` stands for what a person does on the
//! source once the program has named the cause.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::support::place;
use crate::support::project::{Finished, Project};
use crate::support::server::Server;

/// What is right for a run of a case.
#[derive(Clone, Copy)]
enum Right {
    /// It ends with 0 and check.sh finds nothing.
    Same,
    /// As [`Right::Same`]; or `check` and `plan` name each of these words, and the report as well where the run went on
    /// all the same.
    Told(&'static [&'static str]),
    /// Nothing is changed, and each of these words is said.
    Refused(&'static [&'static str]),
    /// Nothing is changed, and check.sh finds nothing wrong with what was said.
    RefusedWell,
    /// It ends with this code, each of these words is in the report, and check.sh does not matter.
    Ends(i32, &'static [&'static str]),
    /// It ends with this code, and check.sh finds nothing.
    EndsWell(i32),
    /// It does not end with 0: there was something that it did not move.
    NotCompleted,
}

use Right::{Ends, EndsWell, NotCompleted, Refused, RefusedWell, Same, Told};

/// A directory of tests/public, between these servers, and its runs: the plan's end, and what is right.
struct Case {
    directory: &'static str,
    source: u32,
    target: u32,
    runs: &'static [(&'static str, Right)],
}

macro_rules! cases {
    ($($test:ident: $directory:literal, $source:literal => $target:literal, [$($run:expr),+ $(,)?];)+) => {
        $(
            #[test]
            fn $test() {
                Case {
                    directory: $directory,
                    source: $source,
                    target: $target,
                    runs: &[$($run),+],
                }
                .play();
            }
        )+
    };
}

cases! {
    large_objects_keep_their_owners:
        "A06-large-object-owners", 16 => 18, [("", Same)];
    settings_that_the_load_depends_on:
        "A11-settings-during-load", 16 => 18, [("", Same), ("delay.toml", Same)];
    a_database_that_is_read_only_by_default:
        "A12-read-only-database", 16 => 18, [("", Same), ("delay.toml", Same)];
    a_login_trigger_that_writes:
        "A14-login-event-trigger", 17 => 18, [("", Same)];
    objects_in_system_schemas:
        "A17-objects-in-system-schemas", 16 => 18, [("", Told(&["information_schema.a17_policy", "pg_catalog.a17_days"]))];
    rows_of_an_extensions_member:
        "A18-extension-member-table", 16 => 18, [("", Told(&["public.hint_rule"]))];
    the_state_of_sequences:
        "A21-sequences", 10 => 18, [("", Same), ("delay.toml", Same)];
    grants_to_roles_that_are_gone:
        "A22-orphan-role-rows", 16 => 18, [("accept.toml", Told(&["salary", "a22_team"]))];
    awkward_database_names:
        "B04-awkward-database-names", 14 => 18, [("", Same)];
    timeouts_of_a_database:
        "B05-timeouts-on-database", 16 => 18, [("", Same), ("delay.toml", Same)];
    a_read_only_and_a_serializable_database:
        "B06-read-only-database", 10 => 18, [("", Same), ("delay.toml", Same)];
    grants_on_renamed_functions:
        "B12-grants-on-renamed-functions", 14 => 18, [("", Told(&["pg_start_backup"])), ("accept.toml", Same)];
    settings_that_are_gone:
        "B13-settings-that-are-gone", 10 => 18, [
            ("", Told(&["default_with_oids", "operator_precedence_warning", "b13-app.mode", "legacy"])),
            ("fix.sh", Same),
        ];
    lists_in_settings_and_settings_of_all_roles:
        "B14-list-settings-and-all-roles", 14 => 18, [("", Told(&["ALTER ROLE ALL", "log_min_duration_statement"]))];
    hash_partitions_by_an_enum:
        "B15-hash-partitions-by-enum", 16 => 18, [
            ("", Same), ("delay.toml", Same), ("delay-some.toml", Same), ("delay-some-later.toml", Same), ("fast.toml", Same),
        ];
    bytes_in_sql_ascii:
        "B16-sql-ascii-bytes", 14 => 18, [
            ("", Refused(&["source/name-not-utf8", "b16_ascii", r"public.stra\xdfe", r"public.stra\xdfe_idx"])),
            ("delay.toml", Refused(&["source/name-not-utf8", "b16_ascii", r"public.stra\xdfe"])),
            ("exclude.toml", Ends(0, &["b16_latin1"])),
            ("fix.sh", Same),
        ];
    tables_with_oids:
        "B17-tables-with-oids", 10 => 18, [
            ("", Told(&["source/with-oids", "documents", "documents_old", "empty_one"])),
            ("waive.toml", Ends(0, &["b17_oids"])),
            ("fix.sh", Same),
        ];
    the_states_of_triggers:
        "B19-trigger-states", 16 => 18, [("", Same), ("delay.toml", Same)];
    the_schema_public:
        "B20-schema-public", 14 => 18, [("", Told(&["b20_dropped", "schema public"]))];
    many_large_objects:
        "B21-large-objects", 16 => 18, [("", Same), ("delay.toml", Same)];
    event_triggers_that_log_or_forbid:
        "B22-event-triggers", 16 => 18, [("", Same), ("delay.toml", Same)];
    memberships_whose_grantor_is_gone:
        "B24-grantor-that-is-gone", 14 => 18, [("", Told(&["b24_user", "b24_zgroup"]))];
    sessions_that_start_as_another_role:
        "B25-sessions-that-start-as-another-role", 16 => 18, [("", Same), ("delay.toml", Same)];
    foreign_keys_into_late_tables:
        "B26-foreign-keys-into-late-tables", 16 => 18, [
            ("delay.toml", Refused(&["delay/referenced", "invoices"])),
            ("delay-all.toml", Same),
        ];
    a_row_trigger_of_a_partitioned_table:
        "B27-trigger-on-partitioned-table", 16 => 18, [("", Same)];
    a_library_that_the_target_lacks:
        "C01-library-in-settings", 16 => 18, [("", Told(&["c01_lib", "c01_app", "adminpack"]))];
    owners_of_extensions:
        "C03-owners-of-extensions", 16 => 18, [("", Told(&["hstore", "pg_trgm", "c03_app"]))];
    what_the_source_knows_of_the_migrating_role:
        "C04-the-migrating-role", 16 => 18, [("", Told(&["search_path", "work_mem", "c04_group"]))];
    an_error_whose_line_is_torn:
        "C14-error-that-vanishes", 14 => 16, [("default.toml", Ends(4, &["child"]))];
    everything_in_the_database_postgres:
        "C16-everything-in-postgres", 16 => 18, [("", NotCompleted), ("include.toml", Refused(&["source/postgres-database", "databases.include"]))];
    a_table_that_everything_refers_to:
        "C17-hub-table-delayed", 16 => 18, [("delay.toml", RefusedWell)];
    a_materialized_view_of_a_delayed_table:
        "C18-matview-of-delayed-table", 16 => 18, [("delay.toml", Same)];
    errors_that_a_race_hides:
        "C20-errors-accepted-by-mistake", 16 => 18, [("default.toml", EndsWell(4))];
}

impl Case {
    fn play(&self) {
        let source = Server::start(self.source);
        self.script(Path::new("."), "source.sh", &source, &source)
            .expect("the source is filled");
        let mut wrong = Vec::new();
        for (end, right) in self.runs {
            let run = format!("{} {end}", &self.directory[..3]);
            let run = run.trim_end();
            if let Err(why) = self.run(&source, end, *right) {
                wrong.push(format!("{run}: {why}"));
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }

    /// One migration to a new target; why it is not right.
    fn run(&self, source: &Server, end: &str, right: Right) -> Result<(), String> {
        let target = Server::start(self.target);
        let mut project = Project::between(source, &target)
            .named(&self.directory[..3].to_lowercase())
            .parallelism("restore_jobs", 12);
        if end == "fix.sh" {
            self.script(project.directory(), end, source, &target)?;
        } else if !end.is_empty() {
            project = project.with(&fs::read_to_string(self.path().join(end)).unwrap());
        }
        // A case may bring client programs of its own, which call the real ones.
        let programs = self.path().join("bin");
        if programs.exists() {
            let real = place::clients(18);
            project = project
                .variable("REAL_PG_RESTORE", real.join("pg_restore"))
                .variable("PATH", place::path_with(&[programs, real]));
        }
        let said = |name: &str, finished: &Finished| {
            let said = [finished.stdout.as_str(), &finished.stderr].concat();
            fs::write(project.directory().join(format!("1-{name}.out")), &said).unwrap();
            said
        };
        let check = said("check", &project.run(&["check"]));
        let plan = said("plan", &project.run(&["plan", "--dry-run"]));
        let run = project.run(&["run"]);
        let run_said = said("run", &run);
        let report = said("report", &project.run(&["report"]));
        let compared = self.script(project.directory(), "check.sh", source, &target);
        let code = run.code.unwrap_or(-1);
        let same = match (code, &compared) {
            (0, Ok(())) => Ok(()),
            (0, Err(difference)) => Err(format!("exit 0, {difference}")),
            _ => Err(format!("exit {code}, check.sh: {compared:?}; {run_said}")),
        };
        let ended = |wanted: i32| {
            if code == wanted {
                Ok(())
            } else {
                Err(format!("exit {code} and not {wanted}: {run_said}"))
            }
        };
        match right {
            Same => same,
            Told(words) => same.or_else(|why| {
                all_said("check", &check, words)
                    .and_then(|()| all_said("plan", &plan, words))
                    .and_then(|()| match code {
                        0 | 4 => all_said("report", &report, words),
                        _ => ended(3),
                    })
                    .map_err(|silence| format!("{silence}; {why}"))
            }),
            Refused(words) => ended(3).and_then(|()| all_said("run", &run_said, words)),
            RefusedWell => ended(3).and(compared),
            Ends(wanted, words) => ended(wanted).and_then(|()| all_said("report", &report, words)),
            EndsWell(wanted) => ended(wanted).and(compared),
            NotCompleted if code == 0 => Err(format!("exit 0: {run_said}")),
            NotCompleted => Ok(()),
        }
    }

    fn path(&self) -> PathBuf {
        place::repository()
            .join("tests/public")
            .join(self.directory)
    }

    /// Runs a script of the case; what it printed where it does not end well.
    #[expect(
        clippy::disallowed_methods,
        reason = "the cases are scripts, as people keep them"
    )]
    fn script(
        &self,
        work: &Path,
        name: &str,
        source: &Server,
        target: &Server,
    ) -> Result<(), String> {
        // Both servers have a password of their own.
        let mut passwords = tempfile::NamedTempFile::new().unwrap();
        for server in [source, target] {
            let password = server.password().replace('\\', r"\\").replace(':', r"\:");
            writeln!(passwords, "*:{}:*:*:{password}", server.port()).unwrap();
        }
        let mut bash = Command::new("bash");
        bash.arg(self.path().join(name))
            .env("PATH", place::path_with(&[place::clients(18)]))
            .env("PGHOST", "127.0.0.1")
            .env("PGPORT", source.port().to_string())
            .env("SRCPORT", source.port().to_string())
            .env("TGTPORT", target.port().to_string())
            .env("PGUSER", "postgres")
            .env("PGPASSFILE", passwords.path())
            .env("WORK", work)
            .stdin(Stdio::null());
        let done = bash.output().expect("bash is on PATH");
        let printed = [done.stdout, done.stderr].concat();
        if done.status.success() {
            return Ok(());
        }
        Err(String::from_utf8_lossy(&printed).into_owned())
    }
}

fn all_said(who: &str, said: &str, words: &[&str]) -> Result<(), String> {
    // What people read is wrapped, within names where they are long.
    let plain = |text: &str| text.split_whitespace().collect::<String>().to_lowercase();
    let said = plain(said);
    let missing: Vec<&&str> = words
        .iter()
        .filter(|word| !said.contains(&plain(word)))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(format!("{who} does not name {missing:?}"))
}
