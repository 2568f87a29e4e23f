//! What every code of a finding has: a check that finds it, and a test that shows it.

use std::fs;
use std::path::{Path, PathBuf};

use pg_migrate::fuzzing::Code;

use crate::support::place::repository;

#[test]
fn every_code_is_found_by_a_check() {
    let checks: String = files(&repository().join("src/preflight"))
        .iter()
        .map(|file| code_and_tests(file).0)
        .collect();
    let without: Vec<&Code> = Code::ALL
        .iter()
        .filter(|code| !names(&checks, &format!("Code::{code:?}")))
        .collect();
    assert!(without.is_empty(), "no check in src/preflight: {without:?}");
}

#[test]
fn every_code_is_shown_by_a_test() {
    let mut tests = String::new();
    for file in files(&repository().join("src")) {
        // That of the codes themselves shows nothing of a check.
        if !file.ends_with("src/finding/mod.rs") {
            tests += &code_and_tests(&file).1;
        }
    }
    for file in files(&repository().join("tests/program")) {
        tests += &fs::read_to_string(file).unwrap();
    }
    let without: Vec<&Code> = Code::ALL
        .iter()
        .filter(|code| !names(&tests, &format!("Code::{code:?}")) && !names(&tests, code.as_str()))
        .collect();
    assert!(without.is_empty(), "no test: {without:?}");
}

/// Whether the text has the word, and not just a longer one.
fn names(text: &str, word: &str) -> bool {
    let goes_on = |c: char| c.is_ascii_alphanumeric() || c == '-';
    text.match_indices(word)
        .any(|(position, _)| !text[position + word.len()..].starts_with(goes_on))
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

/// A source file's code, and its tests: they come last, or are files of their own.
fn code_and_tests(file: &Path) -> (String, String) {
    let text = fs::read_to_string(file).unwrap();
    let is_of_tests = |part: &std::ffi::OsStr| {
        let part = part.to_string_lossy();
        part == "tests" || part == "tests.rs" || part.ends_with("_tests.rs")
    };
    let inside = file.strip_prefix(repository()).unwrap_or(file);
    if inside.iter().any(is_of_tests) {
        return (String::new(), text);
    }
    match text.split_once("#[cfg(test)]") {
        Some((code, tests)) => (code.to_owned(), tests.to_owned()),
        None => (text, String::new()),
    }
}
