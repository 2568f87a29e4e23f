//! Whole files: what a plan means, what is not a plan at all, and that nothing makes the parser fail
//! in a way of its own. (Plans with problems, one by one, are under `tests/cases`.)

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::plan::{
    Compression, PasswordSource, Side, SslMode, Transfer, TuningMode, Value, VerifyMode,
};
use crate::report::{Color, diagnostic};

const COMPLETE: &str = include_str!("../../../examples/complete.toml");
const MINIMAL: &str = include_str!("../../../examples/minimal.toml");

fn rendered(error: &PlanError) -> String {
    let mut text = String::new();
    diagnostic::handler(80, Color::Off)
        .render_report(&mut text, error)
        .expect("every span is inside the file");
    text
}

#[test]
fn a_minimal_plan_has_the_reference_tools_defaults() {
    let plan = parse(MINIMAL, Path::new("/plans/minimal.toml")).unwrap();
    assert_eq!(plan.name, "minimal");
    assert_eq!(plan.path, Path::new("/plans/minimal.toml"));
    assert_eq!(plan.state_dir, Path::new("/plans/.pg-migrate/minimal"));
    assert_eq!(plan.dump.root, Path::new("/plans/pg_dumps"));
    assert_eq!(plan.dump.compression.to_string(), "zstd:5");
    assert!(!plan.dump.compression_is_explicit);

    let parallelism = plan.parallelism;
    assert_eq!(
        (parallelism.dump_parallel, parallelism.restore_parallel),
        (6, 6)
    );
    assert_eq!((parallelism.dump_jobs, parallelism.restore_jobs), (24, 12));
    assert_eq!(parallelism.verify_concurrency, 16);

    assert_eq!(plan.source_lock_timeout, Duration::from_secs(10));
    assert_eq!(plan.target.connect_timeout, Duration::from_secs(10));
    assert_eq!(plan.target.side, Side::Target);
    assert_eq!(
        (plan.retry.attempts, plan.retry.backoff),
        (9, Duration::from_secs(1))
    );
    assert_eq!(plan.retry.max_backoff, Duration::from_secs(60));
    let pauses = (1..plan.retry.attempts).map(|attempt| plan.retry.pause_after(attempt));
    let longest: Duration = pauses.sum();
    assert_eq!(longest, Duration::from_secs(183));
    assert_eq!(plan.retry.restore_settings, Duration::from_secs(15 * 60));
    assert_eq!(plan.tuning.mode, TuningMode::Fast);
    assert_eq!(plan.verify, VerifyMode::Exact);
    assert!(plan.globals && plan.databases.takes("anything"));
}

#[test]
fn a_complete_plan_means_what_it_says() {
    let plan = parse(COMPLETE, Path::new("/plans/complete.toml")).unwrap();
    assert_eq!(plan.name, "erp-10-to-18");
    assert_eq!(plan.source.sslmode, Some(SslMode::VerifyFull));
    assert_eq!(
        plan.source.sslrootcert.as_deref(),
        Some(Path::new("/plans/certs/ca.pem"))
    );
    assert_eq!(
        plan.source.password,
        Some(PasswordSource::Env("OLD_DB_PASSWORD".to_owned()))
    );
    assert_eq!(plan.target.service.as_deref(), Some("new-prod"));
    assert_eq!(plan.target.user, Some(Value::Env("NEW_DB_USER".to_owned())));
    let settings: Vec<(&str, &str)> = plan
        .tuning
        .settings
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    assert_eq!(
        settings,
        [
            ("maintenance_work_mem", "1GB"),
            ("max_parallel_maintenance_workers", "4"),
            ("auto_explain.log_min_duration", "-1"),
        ]
    );
    assert!(plan.databases.takes("erp") && !plan.databases.takes("scratch_1"));
    assert!(plan.delay.patterns[2].matches("crm", "public", "events_2024_01"));
    assert_eq!(plan.delay.index_memory, Some(4 << 30));
    assert_eq!(plan.waive[0].until, jiff::civil::date(2027, 1, 31));
    let options = plan.options("analytics_eu");
    assert_eq!((options.dump_jobs, options.transfer), (4, Transfer::Stream));
    assert_eq!(options.compression, Compression::None);
}

#[test]
fn settings_are_spelled_as_postgresql_spells_them() {
    let text = format!(
        "{MINIMAL}\n[target.tuning.settings]\nFsync = false\nautovacuum = true\n\
         checkpoint_completion_target = 0.9\nmax_wal_size = \"8GB\"\nwork_mem = 65536\n"
    );
    let settings = parse(&text, Path::new("x.toml")).unwrap().tuning.settings;
    let settings: Vec<String> = settings
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    assert_eq!(
        settings,
        [
            "fsync=off",
            "autovacuum=on",
            "checkpoint_completion_target=0.9",
            "max_wal_size=8GB",
            "work_mem=65536",
        ]
    );
}

#[test]
fn a_file_whose_name_cannot_name_the_run_needs_a_name() {
    let error = parse(MINIMAL, Path::new("plans/-.toml")).unwrap_err();
    insta::assert_snapshot!(rendered(&error), @r#"
      × the plan file plans/-.toml has a problem

    Error: 
      × `-`, the file's name, cannot name a directory
      help: add a `name = "…"`: the name is a directory's: up to 60 characters, no
            slash, no dot, dash or blank in front
    "#);
    let named = format!("name = \"erp\"\n{MINIMAL}");
    assert_eq!(
        parse(&named, Path::new("plans/-.toml")).unwrap().name,
        "erp"
    );
}

#[test]
fn files_that_cannot_be_read_say_why() {
    // Not in TMPDIR: where a line is full depends on the length of the name.
    let directory = tempfile::tempdir_in("/tmp").unwrap();
    let shown = |path: &Path| {
        let error = load(path).unwrap_err();
        rendered(&error).replace(&*directory.path().to_string_lossy(), "DIR")
    };
    insta::assert_snapshot!(shown(&directory.path().join("absent.toml")), @r"
    × cannot read the plan file DIR/absent.toml
    ╰─▶ No such file or directory (os error 2)
    help: `pg-migrate init --out FILE` writes a plan to start from
    ");
    insta::assert_snapshot!(shown(directory.path()), @r"
    × cannot read the plan file DIR
    ╰─▶ Is a directory (os error 21)
    help: a plan is a TOML file; `pg-migrate init` writes one
    ");

    let latin = directory.path().join("latin.toml");
    std::fs::write(&latin, b"[source]\nhost = \"gr\xfcn\"\n").unwrap();
    insta::assert_snapshot!(shown(&latin), @r"
    × the plan file DIR/latin.toml is not UTF-8: byte 0xfc in line 2
    help: TOML is UTF-8: save the file in that encoding
    ");

    let large = directory.path().join("large.toml");
    std::fs::write(&large, vec![b'\n'; 5 << 20]).unwrap();
    insta::assert_snapshot!(shown(&large), @r"
    × the plan file DIR/large.toml is larger than 4 MiB
    help: a plan is a small TOML file: is this the right one?
    ");
}

#[test]
fn neither_debug_nor_display_shows_a_password() {
    let text = MINIMAL.replace("{ env = \"OLD_DB_PASSWORD\" }", "\"hunter2\"");
    let error = parse(&text, Path::new("x.toml")).unwrap_err();
    let everything = format!("{error} {error:?} {}", rendered(&error));
    assert!(everything.contains("password"));
    assert!(!everything.contains("hunter2"));
}

/// Parses, and renders what is wrong; both must come back.
fn survives(text: &str) {
    if let Err(error) = parse(text, Path::new("x.toml")) {
        let error = rendered(&error);
        assert!(!error.is_empty());
        // serde refuses nothing that the checker lets pass.
        assert!(
            !error.contains("a value does not fit its key"),
            "{text}\n{error}"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn any_text_is_a_plan_or_an_error(text in any::<String>()) {
        survives(&text);
    }

    #[test]
    fn any_toml_like_text_is_a_plan_or_an_error(
        lines in prop::collection::vec(
            "(\\[{1,2}(source|target|target\\.tuning|delay|accept|override|databases)\\]{0,2}|\
              (host|port|password|include|mode|until|env|databases|service|name) ?= ?\
              (\"[a-zé*.\\[{]{0,5}\"?|-?[0-9]{1,20}|\\[.{0,4}\\]?|\\{ env = \"X\" ?\\}?|true|2027-01-31|'''))\r?",
            0..12,
        )
    ) {
        survives(&lines.join("\n"));
    }

    /// A good plan with a piece cut out, doubled, or replaced.
    #[test]
    fn any_change_to_a_plan_is_a_plan_or_an_error(
        at in any::<prop::sample::Index>(),
        length in 0usize..40,
        instead in "[\\[\\]{}\"'=.,#\n a-z0-9é]{0,6}",
    ) {
        let mut text: Vec<char> = COMPLETE.chars().collect();
        let start = at.index(text.len());
        let end = (start + length).min(text.len());
        text.splice(start..end, instead.chars());
        survives(&text.into_iter().collect::<String>());
    }
}
