//! `explain` tells what a finding means, and the README says which commands there are.

use std::collections::BTreeSet;
use std::fs;
use std::process::Output;

use pg_migrate::fuzzing::Code;

use crate::support::place::repository;

const TOPICS: [&str; 6] = [
    "steps",
    "delay",
    "tuning",
    "resume",
    "archives",
    "parallelism",
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
