//! The plan file, from outside: the schema is current, the examples are good, and every plan
//! under `tests/cases/` is refused, with all that is wrong with it.

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use pg_migrate::fuzzing::{Color, diagnostic, plan};
use proptest::prelude::*;
use serde_json::Value;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The plans of a directory, sorted by name.
fn plans(directory: &str) -> Vec<PathBuf> {
    let mut plans: Vec<PathBuf> = std::fs::read_dir(root().join(directory))
        .expect("the directory is part of the repository")
        .map(|entry| entry.expect("it can be read").path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "toml")
        })
        .collect();
    plans.sort();
    plans
}

fn stem(path: &Path) -> String {
    path.file_stem().unwrap().to_string_lossy().into_owned()
}

/// What a user with a terminal of 80 columns reads.
fn rendered(error: &plan::PlanError) -> String {
    let mut text = String::new();
    diagnostic::handler(80, Color::Off)
        .render_report(&mut text, error)
        .expect("every span is inside the file");
    text
}

/// A plan as an editor hands it to the schema; `None`: it is not TOML.
fn as_json(text: &str) -> Option<Value> {
    fn json(value: toml::Value) -> Value {
        match value {
            toml::Value::String(text) => text.into(),
            toml::Value::Integer(number) => number.into(),
            toml::Value::Float(number) => number.into(),
            toml::Value::Boolean(is) => is.into(),
            toml::Value::Datetime(time) => time.to_string().into(),
            toml::Value::Array(items) => items.into_iter().map(json).collect(),
            toml::Value::Table(table) => table
                .into_iter()
                .map(|(key, value)| (key, json(value)))
                .collect(),
        }
    }
    let table: toml::Table = text.parse().ok()?;
    Some(json(toml::Value::Table(table)))
}

fn validator() -> jsonschema::Validator {
    jsonschema::validator_for(&plan::schema()).expect("the schema is a schema")
}

#[test]
fn the_schema_is_current() {
    let path = root().join("schemas/plan.schema.json");
    let stored = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        stored == plan::schema_text(),
        "schemas/plan.schema.json is not what the program says; regenerate it: \
         pg-migrate schema > schemas/plan.schema.json"
    );
}

#[test]
fn every_example_satisfies_schema_and_program() {
    let validator = validator();
    let examples = plans("examples");
    assert!(examples.len() >= 4);
    for path in examples {
        let text = std::fs::read_to_string(&path).unwrap();
        let json = as_json(&text).expect("examples are TOML");
        let problems: Vec<String> = validator
            .iter_errors(&json)
            .map(|problem| format!("{}: {problem}", problem.instance_path()))
            .collect();
        assert!(problems.is_empty(), "{}: {problems:#?}", path.display());
        if let Err(error) = plan::load(&path) {
            panic!("{}", rendered(&error));
        }
    }
}

/// `complete.toml` is where a user looks a key up, so no key may be missing there.
#[test]
fn the_complete_example_has_every_key() {
    fn keys(schema: &Value, at: &str, found: &mut Vec<String>) {
        for (key, property) in schema["properties"].as_object().into_iter().flatten() {
            let path = format!("{at}{key}");
            keys(property, &format!("{path}."), found);
            keys(&property["items"], &format!("{path}."), found);
            found.push(path);
        }
    }
    let text = std::fs::read_to_string(root().join("examples/complete.toml")).unwrap();
    // A plan cannot have them all: some contradict each other, and stand there as comments.
    let mut shown: Vec<String> = Vec::new();
    let mut table = String::new();
    for line in text.lines() {
        let line = line.trim_start_matches(['#', ' ']);
        if line.starts_with('[') {
            let end = line.find(']').unwrap_or(line.len());
            table = format!("{}.", line[..end].trim_matches('['));
            shown.push(table.trim_matches('.').to_owned());
        } else if let Some((key, _)) = line.split_once(" = ") {
            // Words before the key are a comment's.
            let key = key.rsplit(' ').next().unwrap_or(key);
            shown.push(format!("{table}{key}"));
        }
    }
    let mut known = Vec::new();
    keys(&plan::schema(), "", &mut known);
    known.retain(|key| !shown.contains(key));
    assert!(known.is_empty(), "not in complete.toml: {known:#?}");
}

/// Cases that only the program can refuse, and why a JSON Schema cannot.
const BEYOND_THE_SCHEMA: &[(&str, &str)] = &[
    ("accept-twice", "two entries that differ in their reason"),
    ("backoff", "compares two durations"),
    (
        "certificates-without-tls",
        "would forbid what an unfinished plan holds in an editor",
    ),
    ("everything-excluded", "what a glob matches"),
    ("globs-bad", "the grammar of globs"),
    ("included-and-excluded", "compares two arrays"),
    ("one-directory", "compares two values"),
    ("override-twice", "compares two entries"),
    ("same-server", "compares two tables"),
    ("same-server-by-default", "compares two tables"),
    (
        "settings-twice",
        "PostgreSQL takes upper and lower case for the same",
    ),
    (
        "password-in-another-key",
        "one environment variable in two places",
    ),
    ("size-too-large", "the number in a text"),
    ("waive-twice", "two entries that differ in their date"),
];

#[test]
fn every_case_is_refused_by_program_and_schema() {
    let validator = validator();
    let cases = plans("tests/cases");
    assert!(cases.len() >= 35);
    for path in &cases {
        let name = stem(path);
        let text = std::fs::read_to_string(path).unwrap();
        // A relative path, so that the error reads the same wherever the repository lies.
        let shown = PathBuf::from(format!("plans/{name}.toml"));
        let error = plan::parse(&text, &shown).expect_err(&name);
        let error = rendered(&error);
        assert!(
            !error.contains("hunter2"),
            "{name} shows a password:\n{error}"
        );
        insta::with_settings!({
            snapshot_path => root().join("tests/cases"),
            prepend_module_to_snapshot => false,
            omit_expression => true,
        }, {
            insta::assert_snapshot!(name.clone(), error);
        });

        let beyond = BEYOND_THE_SCHEMA.iter().any(|(case, _)| *case == name);
        // What is not TOML never reaches a schema.
        if let Some(json) = as_json(&text) {
            assert_eq!(validator.is_valid(&json), beyond, "{name}, by the schema");
        }
    }
    let names: Vec<String> = cases.iter().map(|path| stem(path)).collect();
    for (case, _) in BEYOND_THE_SCHEMA {
        assert!(names.iter().any(|name| name == case), "no case {case}");
    }
}

proptest! {
    /// No editor complains about a plan that the program takes.
    #[test]
    fn the_schema_accepts_what_the_program_accepts(
        at in any::<prop::sample::Index>(),
        length in 0usize..20,
        instead in "[a-z0-9=\"\n *.:-]{0,6}",
    ) {
        static VALIDATOR: LazyLock<jsonschema::Validator> = LazyLock::new(validator);
        let mut text: Vec<char> = include_str!("../../examples/complete.toml").chars().collect();
        let start = at.index(text.len());
        let end = (start + length).min(text.len());
        text.splice(start..end, instead.chars());
        let text: String = text.into_iter().collect();
        if plan::parse(&text, Path::new("x.toml")).is_ok() {
            let json = as_json(&text).expect("it was parsed");
            prop_assert!(VALIDATOR.is_valid(&json), "{}", text);
        }
    }
}
