//! `explain` tells what a finding means, and the README says which commands there are.

use std::collections::BTreeSet;
use std::fs;
use std::process::Output;

use pg_migrate::fuzzing::Code;

use crate::support::place::repository;

const TOPICS: [&str; 8] = [
    "steps",
    "delay",
    "tuning",
    "resume",
    "archives",
    "parallelism",
    "night",
    "security",
];

#[expect(
    clippy::disallowed_methods,
    reason = "the tests start the program itself"
)]
fn run(arguments: &[&str]) -> Output {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_pg-migrate"));
    command.args(arguments).output().unwrap()
}

/// What it prints to stdout, and nothing else anywhere.
#[track_caller]
fn printed(arguments: &[&str]) -> String {
    let done = run(arguments);
    assert!(done.status.success(), "{arguments:?}: {done:?}");
    assert!(done.stderr.is_empty(), "{arguments:?}: {done:?}");
    String::from_utf8(done.stdout).unwrap()
}

#[test]
fn every_code_and_every_topic_is_explained_and_listed() {
    let list = printed(&["explain"]);
    for code in Code::ALL {
        let word = code.as_str();
        assert!(list.contains(&format!("  {word} ")), "{word} is not listed");
        let text = printed(&["explain", word]);
        assert!(text.starts_with(&format!("{word}\n")), "{text}");
        for part in ["\nseverity  usually ", "\nwhy ", "\nfix ", "\nsince "] {
            assert!(text.contains(part), "{word} has no {part}:\n{text}");
        }
        assert_eq!(text.contains("[[waive]]\n"), code.can_be_waived(), "{text}");
    }
    for topic in TOPICS {
        assert!(list.contains(&format!("\n  {topic} ")), "{topic}: {list}");
        assert!(printed(&["explain", topic]).lines().count() > 10, "{topic}");
    }
}

#[test]
fn what_there_is_not_exits_2_and_says_what_was_meant() {
    for (word, meant) in [
        ("source/with-oid", Some("`source/with-oids`")),
        ("with-oids", Some("`source/with-oids`")),
        ("archive", Some("`archives`")),
        ("weather", None),
    ] {
        let done = run(&["explain", word]);
        assert_eq!(done.status.code(), Some(2), "{word}: {done:?}");
        assert!(done.stdout.is_empty(), "{word}: {done:?}");
        let said = String::from_utf8(done.stderr).unwrap();
        assert!(said.contains(word), "{said}");
        match meant {
            Some(meant) => assert!(said.contains(&format!("did you mean {meant}")), "{said}"),
            None => assert!(!said.contains("did you mean"), "{said}"),
        }
    }
}

#[test]
fn colours_are_for_terminals_and_for_who_asks() {
    let is_colourful = |arguments: &[&str]| printed(arguments).contains('\x1b');
    assert!(!is_colourful(&["explain"]));
    assert!(!is_colourful(&["explain", "source/with-oids"]));
    assert!(is_colourful(&["explain", "--color", "always"]));
    assert!(is_colourful(&["explain", "steps", "--color=always"]));
}

#[test]
fn shells_complete_what_can_be_explained() {
    let script = printed(&["completions", "bash"]);
    assert!(script.contains("source/with-oids") && script.contains("parallelism"));
    // But a list of all codes does not help.
    assert!(!printed(&["explain", "--help"]).contains("source/standby"));
}

/// The commands that the program lists, without `help`.
fn verbs() -> BTreeSet<String> {
    let help = printed(&["--help"]);
    let mut lines = help.lines().skip_while(|line| *line != "Commands:");
    let commands = lines.by_ref().skip(1).take_while(|line| !line.is_empty());
    commands
        .filter_map(|line| line.strip_prefix("  ")?.split_whitespace().next())
        .filter(|verb| *verb != "help")
        .map(str::to_owned)
        .collect()
}

#[test]
fn the_readme_has_every_command_and_none_that_there_is_not() {
    let readme = fs::read_to_string(repository().join("README.md")).unwrap();
    let verbs = verbs();
    assert!(verbs.len() > 10, "{verbs:?}");

    // The table of commands: the verbs in backticks, in the first column.
    let mut rows = readme
        .lines()
        .skip_while(|line| *line != "| command | does |");
    let rows = rows
        .by_ref()
        .skip(2)
        .take_while(|line| line.starts_with('|'));
    let shown: BTreeSet<String> = rows
        .flat_map(|row| row.replace("\\|", "").split('|').nth(1).map(str::to_owned))
        .flat_map(|cell| {
            let names = cell.split('`').skip(1).step_by(2);
            let verbs = names.filter_map(|name| name.split_whitespace().next());
            verbs.map(str::to_owned).collect::<Vec<_>>()
        })
        .collect();
    assert_eq!(shown, verbs);

    // Everywhere else, `pg-migrate VERB`, and what `explain` is asked for.
    let plain = |word: &str| {
        let is_letter = |c: char| c.is_ascii_lowercase();
        word.trim_matches(|c| !is_letter(c)).to_owned()
    };
    for line in readme.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        for pair in words.windows(2) {
            let second = plain(pair[1]);
            // In prose it is the program's name.
            let is_code = line.starts_with("    ") || pair[0].starts_with('`');
            match pair[0].trim_start_matches('`') {
                "pg-migrate" if is_code && !second.is_empty() => {
                    assert!(verbs.contains(&second), "{line}");
                }
                "explain" if pair[1].starts_with(|c: char| c.is_ascii_lowercase()) => {
                    let is_code = second.parse::<Code>().is_ok();
                    assert!(is_code || TOPICS.contains(&&*second), "{line}");
                }
                _ => {}
            }
        }
    }
}

/// What begins each line of `explain night`, with the test that shows it.
const NIGHT: [(&str, &str, &str); 34] = [
    (
        "The target fails over",
        "night_failover",
        "a_target_that_fails_over_during_the_run_is_not_believed",
    ),
    (
        "The target is put back",
        "night_failover",
        "a_clone_does_not_get_the_settings_of_the_target",
    ),
    (
        "The source fails over",
        "night_failover",
        "what_was_dumped_before_the_source_failed_over_is_dumped_again",
    ),
    (
        "A server is restarted",
        "night_patience",
        "a_target_that_is_away_for_half_a_minute_is_waited_for",
    ),
    (
        "Databases of the source exchange",
        "night_failover",
        "databases_of_the_source_that_exchanged_names_are_not_mixed",
    ),
    (
        "A database on record",
        "trust_presence",
        "a_verified_database_that_was_dropped_is_missed",
    ),
    (
        "The state directory is put back",
        "night_state",
        "an_older_state_directory_drops_nothing_that_clients_use",
    ),
    (
        "The state directory is copied",
        "night_state",
        "a_copy_of_the_state_directory_leaves_a_living_run_alone",
    ),
    (
        "A run freezes",
        "night_state",
        "a_run_that_was_frozen_and_taken_over_from_writes_nothing_more",
    ),
    (
        "The state directory is lost",
        "night_target",
        "what_a_run_whose_state_is_lost_left_is_not_the_owners",
    ),
    (
        "The machine goes down with fsync off",
        "night_damage",
        "damage_is_kept_in_the_mark_until_a_person_says_that_the_cluster_is_sound",
    ),
    (
        "The source is the target",
        "night_chain",
        "a_source_that_a_migration_left_half_done_is_not_copied_unasked",
    ),
    (
        "The mark is dropped",
        "night_marks",
        "without_its_mark_an_older_state_directory_drops_nothing",
    ),
    (
        "Another role made the mark",
        "night_state",
        "a_role_that_may_not_write_to_the_mark_migrates_without",
    ),
    (
        "A person opens a database",
        "night_marks",
        "a_database_that_a_person_opened_too_early_is_told",
    ),
    (
        "Another session changes rows",
        "trust_others",
        "a_difference_stays_one_until_the_database_is_made_again_or_the_plan_waives_it",
    ),
    (
        "Two servers answer in turn",
        "night_turns",
        "two_servers_in_turn_behind_the_sources_address_are_told",
    ),
    (
        "A rehearsal is over",
        "discard",
        "all_of_it_is_dropped_and_nothing_else",
    ),
    (
        "A standby takes over while",
        "night_marks",
        "a_standby_that_took_over_is_not_called_damaged",
    ),
    (
        "pg_wal is on a small",
        "night_disks",
        "a_small_volume_of_wal_does_not_fill",
    ),
    (
        "The terminal is closed",
        "night_signals",
        "a_hang_up_that_was_ignored_at_the_start_stays_ignored",
    ),
    (
        "Output, the log",
        "night_output",
        "ctrl_c_ends_in_order_though_nothing_can_be_printed",
    ),
    (
        "The password runs out",
        "night_patience",
        "a_password_that_changes_is_asked_for_again",
    ),
    (
        "Restoring the target's settings",
        "night_patience",
        "the_patience_for_settings_is_the_plans_and_its_end_is_said_first",
    ),
    (
        "A synchronous standby",
        "night_target",
        "a_run_that_waits_for_a_synchronous_standby_is_told_before_and_ends_on_a_signal",
    ),
    (
        "The target is read-only",
        "night_target",
        "a_server_that_lets_nobody_write_is_not_overruled_without_the_key",
    ),
    (
        "The disk for archives",
        "night_disks",
        "archives_that_do_not_fit",
    ),
    (
        "The target's disk",
        "night_disks",
        "a_full_disk_of_the_target_is_no_error_to_accept",
    ),
    (
        "Tables get columns",
        "night_columns",
        "columns_that_the_source_got_since_are_added_to_the_target",
    ),
    (
        "A row is larger",
        "night_rows",
        "rows_that_copy_cannot_write",
    ),
    (
        "Snapshots of the source",
        "night_source",
        "a_source_that_gives_up_old_snapshots_is_refused_unless_nobody_writes_to_it",
    ),
    (
        "An agent is connected",
        "night_agents",
        "an_agents_session_does_not_keep_what_was_never_handed_over",
    ),
    (
        "The target's databases were",
        "night_found",
        "a_run_that_was_killed_while_it_filled_a_database_goes_on",
    ),
    (
        "Connections are limited",
        "night_limits",
        "the_limit_of_the_sources_role_is_kept_to",
    ),
];

/// Each line of the table is kept by a test, and each test has its line.
#[test]
fn explain_night_says_what_tests_show() {
    let topic = fs::read_to_string(repository().join("src/explain/topics/night.txt")).unwrap();
    let lines: Vec<&str> = topic
        .lines()
        .filter_map(|line| line.strip_prefix("- "))
        .collect();
    assert_eq!(lines.len(), NIGHT.len());
    for (line, (begin, file, test)) in lines.iter().zip(NIGHT) {
        assert!(line.starts_with(begin), "{begin:?} does not begin {line:?}");
        let path = repository().join(format!("tests/program/{file}.rs"));
        let text = fs::read_to_string(path).unwrap();
        let shown = format!("#[test]\nfn {test}()");
        assert!(text.contains(&shown), "{file}.rs has no test {test}");
    }
}
