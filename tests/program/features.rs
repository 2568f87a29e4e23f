//! `tests/features.toml` lists each feature of the reference tool with what shows it here.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use proc_macro2::{Delimiter, TokenStream, TokenTree};
use serde::Deserialize;

use crate::support::place::repository;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    row: Vec<Row>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    kind: String,
    /// What it is in the reference tool.
    there: String,
    /// Of a flag, as the reference tool has it.
    default: Option<String>,
    here: String,
    /// Paths of tests: those of `tests/program` start with `program::`, the others are the crate's own.
    tests: Vec<String>,
}

const KINDS: [&str; 9] = [
    "feature", "build", "step", "flag", "variable", "marker", "limit", "compose", "ours",
];

fn rows() -> Vec<Row> {
    let text = fs::read_to_string(repository().join("tests/features.toml")).unwrap();
    toml::from_str::<Table>(&text).unwrap().row
}

#[test]
fn every_row_is_shown_by_tests_that_exist() {
    let tests = every_test();
    let mut known = BTreeSet::new();
    for row in rows() {
        let there = &row.there;
        assert!(
            KINDS.contains(&row.kind.as_str()),
            "{there}: kind {}",
            row.kind
        );
        assert!(known.insert(there.clone()), "{there} stands there twice");
        assert!(
            !there.trim().is_empty() && !row.here.trim().is_empty(),
            "{there}: {}",
            row.here
        );
        assert!(!row.tests.is_empty(), "no test shows {there}");
        for test in &row.tests {
            assert!(tests.contains(test), "{there}: there is no test {test}");
        }
        // Every flag has a default, were it only "none".
        assert_eq!(row.default.is_some(), row.kind == "flag", "{there}");
    }
    for kind in KINDS {
        assert!(rows().iter().any(|row| row.kind == kind), "no {kind}");
    }
}

#[test]
fn every_flag_of_init_is_in_the_table() {
    let mut offered = flags_of_init();
    // Of the program, not of the plan.
    for general in ["--help", "--color"] {
        assert!(offered.remove(general), "{general}: {offered:?}");
    }
    let listed: BTreeSet<String> = rows()
        .into_iter()
        .filter(|row| matches!(row.kind.as_str(), "flag" | "ours"))
        .map(|row| row.there)
        .collect();
    let missing: Vec<_> = offered.difference(&listed).collect();
    assert!(missing.is_empty(), "not in the table: {missing:?}");
    // Beyond those, the reference tool's passwords, which no flag takes here.
    let refused: Vec<_> = listed.difference(&offered).collect();
    assert_eq!(refused, ["--from-pass", "--to-pass"]);
}

/// What a plan shows as its default is the reference tool's default.
#[test]
fn the_defaults_are_the_reference_tools() {
    let plan = init(&[]);
    for (flag, line) in [
        ("--from-host", "# host = \"localhost\""),
        ("--from-port", "# port = 5432"),
        ("--from-user", "# user = \"postgres\""),
        ("--from-db", "# database = \"postgres\""),
        ("--max-parallel", "# max_parallel = 6"),
        ("--dump-parallel", "# dump_parallel = 6"),
        ("--restore-parallel", "# restore_parallel = 6"),
        ("--dump-jobs", "# dump_jobs = 24"),
        ("--restore-jobs", "# restore_jobs = 12"),
        ("--verify-concurrency", "# verify_concurrency = 16"),
        ("--dump-root", "# root = \"pg_dumps\""),
        ("--migrate-globals", "# migrate = true"),
        ("--delay-table-data", "# table_data = []"),
    ] {
        assert!(plan.contains(line), "{flag}: {line}\n{plan}");
        let row = rows().into_iter().find(|row| row.there == flag);
        let default = row.and_then(|row| row.default).expect("it is in the table");
        let value = line
            .rsplit(" = ")
            .next()
            .unwrap()
            .trim_matches(['"', '[', ']']);
        let same = match default.as_str() {
            "none" => value.is_empty(),
            "that of --max-parallel" => value == "6",
            default => value == default,
        };
        assert!(same, "{flag}: {default}, and here {value}");
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the tests start the program itself"
)]
fn init(arguments: &[&str]) -> String {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_pg-migrate"));
    let done = command.arg("init").args(arguments).output().unwrap();
    assert!(done.status.success(), "{done:?}");
    String::from_utf8(done.stdout).unwrap()
}

/// The long flags that clap lists, each at the beginning of a line, after its short form if it has one.
fn flags_of_init() -> BTreeSet<String> {
    init(&["--help"])
        .lines()
        .map(str::trim_start)
        .filter(|line| line.starts_with('-'))
        .filter_map(|line| {
            line.split([' ', ',', '='])
                .find(|word| word.starts_with("--"))
        })
        .map(str::to_owned)
        .collect()
}

/// Paths of all tests, read off the sources.
fn every_test() -> BTreeSet<String> {
    let mut tests = BTreeSet::new();
    collect(&repository().join("src"), &[], &mut tests);
    collect(
        &repository().join("tests/program"),
        &["program".to_owned()],
        &mut tests,
    );
    tests
}

fn collect(directory: &Path, module: &[String], tests: &mut BTreeSet<String>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().and_then(|stem| stem.to_str()).unwrap();
        if path.is_dir() {
            collect(&path, &[module, &[name.to_owned()]].concat(), tests);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let inner: Vec<String> = match name {
                "mod" | "lib" | "main" => Vec::new(),
                // `mod tests` of a module, in a file beside it.
                _ => match name.strip_suffix("_tests") {
                    Some(of) => vec![of.to_owned(), "tests".to_owned()],
                    None => vec![name.to_owned()],
                },
            };
            let source = fs::read_to_string(&path).unwrap();
            let code: TokenStream = source.parse().expect("it compiles");
            tests_in(code, &[module, &inner].concat(), tests);
        }
    }
}

/// Functions after an attribute whose last word is `test`, also in `mod` and in macros such as `proptest!`.
fn tests_in(code: TokenStream, module: &[String], tests: &mut BTreeSet<String>) {
    let mut is_test = false;
    let mut before = [String::new(), String::new()];
    for token in code {
        match &token {
            TokenTree::Group(group) if group.delimiter() == Delimiter::Bracket => {
                let attribute = group.stream().to_string();
                is_test |= attribute == "test" || attribute == "tokio :: test";
            }
            TokenTree::Group(group) if group.delimiter() == Delimiter::Brace => {
                let [keyword, name] = &before;
                match keyword.as_str() {
                    "mod" => tests_in(
                        group.stream(),
                        &[module, std::slice::from_ref(name)].concat(),
                        tests,
                    ),
                    _ if name == "!" => tests_in(group.stream(), module, tests),
                    _ => {}
                }
                is_test = false;
            }
            TokenTree::Ident(name) if before[1] == "fn" && is_test => {
                tests.insert(format!("{}::{name}", module.join("::")));
                is_test = false;
            }
            _ => {}
        }
        let [_, last] = before;
        before = [last, token.to_string()];
    }
}

#[test]
fn tests_are_found_wherever_they_stand() {
    let source = "
        fn helper() {}
        #[test]
        #[should_panic]
        fn one() { fn inner() {} }
        mod tests {
            #[tokio::test]
            async fn two() {}
            proptest! {
                #![proptest_config(Config::default())]
                #[test]
                fn three(n in 0..9) {}
            }
        }
    ";
    let mut found = BTreeSet::new();
    tests_in(source.parse().unwrap(), &["a".to_owned()], &mut found);
    let expected = ["a::one", "a::tests::three", "a::tests::two"];
    assert_eq!(found, expected.map(str::to_owned).into());
}
