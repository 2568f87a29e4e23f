//! What the fuzz targets ask of any input holds for the files of their corpora, among them every input that
//! once failed (`make fuzz`).

use std::fs;
use std::panic::catch_unwind;

use super::support::place;

#[path = "../fuzz/src/lib.rs"]
mod targets;

fn holds_for_all(target: &str, check: fn(&[u8])) {
    let corpus = place::repository().join("tests/fuzz/corpus").join(target);
    let mut files: Vec<_> = fs::read_dir(&corpus)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    assert!(
        files.len() > 3,
        "{} holds next to nothing",
        corpus.display()
    );
    files.retain(|file| {
        let input = fs::read(file).unwrap();
        catch_unwind(|| check(&input)).is_err()
    });
    assert!(files.is_empty(), "what failed is told above: {files:#?}");
}

#[test]
fn globals() {
    holds_for_all("globals", targets::globals::check);
}

#[test]
fn journals() {
    holds_for_all("journal", targets::journal::check);
}

#[test]
fn patterns() {
    holds_for_all("patterns", targets::patterns::check);
}

#[test]
fn plans() {
    holds_for_all("plan", targets::plan::check);
}

#[test]
fn restore_logs() {
    holds_for_all("restore_log", targets::restore_log::check);
}

#[test]
fn every_corpus_has_its_test() {
    let targets = place::repository().join("tests/fuzz/corpus");
    let mut names: Vec<_> = fs::read_dir(targets)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(
        names,
        ["globals", "journal", "patterns", "plan", "restore_log"]
    );
}
