//! Imports go downwards: what `src/` uses of itself, against the architecture.

mod circles;
mod source;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use source::{Source, Words};

use super::support::place;

/// Every module with those that it may use. A module stands below all that use it, so the table has no
/// cycle. Modules may use themselves. `main.rs` and `lib.rs` join them and are not in it; tests may use
/// anything.
const MAY_USE: [(&str, &[&str]); 27] = [
    ("disk", &[]),
    ("private_directory", &[]),
    ("escape", &[]),
    ("names", &[]),
    ("exit", &[]),
    ("failpoint", &[]),
    ("spelling", &[]),
    ("shell", &["escape"]),
    ("finding", &[]),
    ("atomic_file", &["failpoint"]),
    ("explain", &["spelling", "finding"]),
    ("catalog", &["escape", "names"]),
    ("plan", &["escape", "names", "spelling", "finding"]),
    ("preflight", &["names", "finding", "catalog", "plan"]),
    ("postgres", &["escape", "names", "catalog", "plan"]),
    ("process", &["failpoint", "catalog", "plan", "postgres"]),
    (
        "graph",
        &[
            "escape",
            "names",
            "finding",
            "catalog",
            "plan",
            "postgres",
            "preflight",
        ],
    ),
    ("event", &["names"]),
    ("schedule", &["graph", "plan"]),
    (
        "journal",
        &[
            "atomic_file",
            "escape",
            "names",
            "failpoint",
            "plan",
            "graph",
            "private_directory",
        ],
    ),
    ("inspect", &["names", "catalog", "plan", "postgres"]),
    (
        "mark",
        &["names", "catalog", "plan", "postgres", "journal", "inspect"],
    ),
    ("verify", &["names", "plan"]),
    (
        "step",
        &[
            "disk",
            "escape",
            "shell",
            "names",
            "failpoint",
            "catalog",
            "plan",
            "postgres",
            "process",
            "graph",
            "event",
            "journal",
            "inspect",
            "mark",
            "verify",
            "private_directory",
        ],
    ),
    (
        "run",
        &[
            "names",
            "exit",
            "failpoint",
            "catalog",
            "plan",
            "postgres",
            "process",
            "inspect",
            "graph",
            "event",
            "schedule",
            "journal",
            "mark",
            "preflight",
            "step",
        ],
    ),
    (
        "report",
        &[
            "shell",
            "atomic_file",
            "escape",
            "names",
            "finding",
            "explain",
            "postgres",
            "graph",
            "event",
            "journal",
            "verify",
        ],
    ),
    (
        "cli",
        &[
            "disk",
            "escape",
            "names",
            "exit",
            "failpoint",
            "finding",
            "explain",
            "catalog",
            "plan",
            "preflight",
            "postgres",
            "process",
            "graph",
            "event",
            "journal",
            "inspect",
            "verify",
            "run",
            "report",
            "private_directory",
        ],
    ),
];

/// Every use of one module by another, with the files that it is in.
type Uses = BTreeMap<(String, String), BTreeSet<String>>;

#[test]
fn no_module_uses_one_that_stands_above_it() {
    let forbidden: Vec<String> = uses()
        .iter()
        .filter(|((from, to), _)| !may_use(from, to))
        .map(|((from, to), files)| format!("{from} uses {to}: {files:?}"))
        .collect();
    assert!(forbidden.is_empty(), "{}", forbidden.join("\n"));
}

#[test]
fn what_the_table_allows_is_used_and_goes_downwards() {
    let uses = uses();
    for (index, (from, allowed)) in MAY_USE.iter().enumerate() {
        for to in *allowed {
            let below = MAY_USE[..index].iter().any(|(module, _)| module == to);
            assert!(below, "{from} stands below {to} in the table");
            let used = uses.contains_key(&(from.to_string(), to.to_string()));
            assert!(used, "{from} may use {to}, and does not");
        }
    }
}

#[test]
fn the_table_knows_every_module() {
    let modules: BTreeSet<String> = sources()
        .iter()
        .filter_map(|(file, _)| module(file).into_iter().next())
        .collect();
    let known: BTreeSet<String> = MAY_USE.iter().map(|(name, _)| name.to_string()).collect();
    assert_eq!(modules, known);
}

#[test]
fn paths_are_found_however_they_are_written() {
    let source = "
        use crate::plan::Plan;
        use crate::{graph::Graph, journal::{self, Entry}, event};
        pub(in crate::postgres) struct S(crate::catalog::Version);
        // crate::cli is above, says this comment
        let path = \"crate::report\";
        fn f() { super::super::inspect::query(super::snapshot()) }
        #[cfg(test)]
        mod tests { use crate::run::Job; }
    ";
    let expected = [
        "catalog", "event", "graph", "inspect", "journal", "plan", "postgres",
    ];
    let used = used_in("postgres/connect.rs", source);
    assert_eq!(used, expected.map(str::to_owned).into());
}

fn may_use(from: &str, to: &str) -> bool {
    from == to
        || MAY_USE
            .iter()
            .any(|(module, allowed)| *module == from && allowed.contains(&to))
}

fn uses() -> Uses {
    let mut uses = Uses::new();
    for (file, text) in sources() {
        let Some(from) = module(&file).into_iter().next() else {
            continue;
        };
        for to in used_in(&file, &text) {
            let files = uses.entry((from.clone(), to)).or_default();
            files.insert(file.clone());
        }
    }
    uses.retain(|(from, to), _| from != to);
    uses
}

/// The top-level modules that the file names, in code that is neither a test nor a comment.
fn used_in(file: &str, text: &str) -> BTreeSet<String> {
    let source = Source::read(text);
    let imports = source.imports.iter().map(|import| &import.path);
    imports
        .chain(&source.paths)
        .filter_map(|path| {
            let supers = path.iter().take_while(|word| *word == "super").count();
            if path.first().is_some_and(|head| head == "crate") {
                path.get(1)
            } else if supers > 0 && supers == module(file).len() {
                path.get(supers)
            } else {
                None
            }
        })
        .cloned()
        .collect()
}

/// Every source file but those of tests, by its path below `src`, with its text. `main.rs` uses the others as any other
/// program would, and is not among them.
fn sources() -> Vec<(String, String)> {
    let root = place::repository().join("src");
    let mut files = Vec::new();
    collect(&root, &mut files);
    files
        .into_iter()
        .filter(|file| *file != root.join("main.rs"))
        .map(|file| {
            let inside = file.strip_prefix(&root).expect("it lies below src");
            let name = inside.to_str().expect("a module's name is a word");
            (name.to_owned(), fs::read_to_string(&file).unwrap())
        })
        .collect()
}

fn collect(directory: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap();
        // By convention of this project, and so that tests may look at more than their module may.
        if matches!(stem, "tests" | "samples") || stem.ends_with("_tests") {
            continue;
        }
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// The path of the module that the file is: none for `lib.rs`.
fn module(file: &str) -> Words {
    let path = file.strip_suffix(".rs").expect("it is a source file");
    let mut words: Words = path.split('/').map(str::to_owned).collect();
    if matches!(words.last().map(String::as_str), Some("mod" | "lib")) {
        words.pop();
    }
    words
}
