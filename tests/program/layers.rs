//! Imports go downwards: what `src/` uses of itself, against the architecture.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};

use super::support::place;

/// Every module with those that it may use. A module stands below all that use it, so the table has no
/// cycle. Modules may use themselves. `main.rs` and `lib.rs` join them and are not in it; tests may use
/// anything.
const MAY_USE: [(&str, &[&str]); 20] = [
    ("escape", &[]),
    ("failpoint", &[]),
    ("spelling", &[]),
    ("finding", &[]),
    ("explain", &["spelling", "finding"]),
    ("catalog", &[]),
    ("plan", &["escape", "spelling", "finding"]),
    ("postgres", &["escape", "catalog", "plan"]),
    ("preflight", &["finding", "catalog", "plan"]),
    ("process", &["failpoint", "catalog", "plan", "postgres"]),
    (
        "graph",
        &[
            "escape",
            "failpoint",
            "finding",
            "catalog",
            "plan",
            "postgres",
            "preflight",
        ],
    ),
    ("event", &["graph"]),
    ("schedule", &["graph", "plan"]),
    ("journal", &["failpoint", "graph"]),
    ("inspect", &["catalog", "plan", "postgres", "graph"]),
    ("verify", &["catalog", "plan", "graph"]),
    (
        "step",
        &[
            "escape",
            "failpoint",
            "catalog",
            "plan",
            "postgres",
            "process",
            "graph",
            "event",
            "journal",
            "inspect",
            "verify",
        ],
    ),
    (
        "run",
        &[
            "failpoint",
            "finding",
            "catalog",
            "plan",
            "postgres",
            "process",
            "graph",
            "event",
            "schedule",
            "journal",
            "step",
        ],
    ),
    (
        "report",
        &[
            "failpoint",
            "finding",
            "explain",
            "postgres",
            "graph",
            "event",
            "journal",
        ],
    ),
    (
        "cli",
        &[
            "escape",
            "failpoint",
            "finding",
            "explain",
            "catalog",
            "plan",
            "postgres",
            "preflight",
            "process",
            "graph",
            "event",
            "journal",
            "inspect",
            "verify",
            "run",
            "report",
        ],
    ),
];

/// Every use of one module by another, with the files that it is in.
type Uses = BTreeMap<(String, String), BTreeSet<PathBuf>>;

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
        .filter_map(|(module, _)| module.clone())
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
        #[cfg(test)]
        mod tests { use crate::run::Job; }
    ";
    let expected = ["catalog", "event", "graph", "journal", "plan", "postgres"];
    assert_eq!(used_in(source), expected.map(str::to_owned).into());
}

fn may_use(from: &str, to: &str) -> bool {
    from == to
        || MAY_USE
            .iter()
            .any(|(module, allowed)| *module == from && allowed.contains(&to))
}

fn uses() -> Uses {
    let mut uses = Uses::new();
    for (module, file) in sources() {
        let Some(module) = module else {
            continue;
        };
        let source = fs::read_to_string(&file).unwrap();
        for used in used_in(&source) {
            let files = uses.entry((module.clone(), used)).or_default();
            files.insert(file.clone());
        }
    }
    uses.retain(|(from, to), _| from != to);
    uses
}

/// Every source file but those of tests, with its top-level module; `None`: `main.rs` and `lib.rs`.
fn sources() -> Vec<(Option<String>, PathBuf)> {
    let root = place::repository().join("src");
    let mut files = Vec::new();
    collect(&root, &mut files);
    files
        .into_iter()
        .map(|file| {
            let inside = file.strip_prefix(&root).expect("it lies below src");
            let first = inside.iter().next().expect("a file has a name");
            let first = first.to_str().expect("a module's name is a word");
            let module = first.strip_suffix(".rs").unwrap_or(first);
            let joins = matches!(first, "main.rs" | "lib.rs");
            ((!joins).then(|| module.to_owned()), file)
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

/// The top-level modules that the source names by `crate::`, in code that is no test and no comment.
fn used_in(source: &str) -> BTreeSet<String> {
    let mut used = BTreeSet::new();
    collect_uses(source.parse().expect("it compiles"), &mut used);
    used
}

fn collect_uses(code: TokenStream, used: &mut BTreeSet<String>) {
    let mut tokens = code.into_iter().peekable();
    while let Some(token) = tokens.next() {
        match token {
            TokenTree::Group(group) if is_for_tests(&group) => {
                // The item that follows, up to its body or its semicolon.
                let ends = |token: &TokenTree| match token {
                    TokenTree::Group(group) => group.delimiter() == Delimiter::Brace,
                    TokenTree::Punct(punct) => punct.as_char() == ';',
                    _ => false,
                };
                tokens.find(ends);
            }
            TokenTree::Group(group) => collect_uses(group.stream(), used),
            TokenTree::Ident(ident) if ident == "crate" => {
                let is_colon = |token: &TokenTree| token.to_string() == ":";
                if tokens.next_if(is_colon).is_some() && tokens.next_if(is_colon).is_some() {
                    match tokens.next() {
                        Some(TokenTree::Group(group)) => used.extend(heads(group.stream())),
                        Some(token) => used.extend([token.to_string()]),
                        None => {}
                    }
                }
            }
            _ => {}
        }
    }
}

/// Whether an attribute's brackets hold `cfg(test)`.
fn is_for_tests(group: &Group) -> bool {
    group.delimiter() == Delimiter::Bracket && group.stream().to_string() == "cfg (test)"
}

/// The first word of each path in the braces of `crate::{…}`.
fn heads(paths: TokenStream) -> Vec<String> {
    let paths: Vec<TokenTree> = paths.into_iter().collect();
    paths
        .split(|token| token.to_string() == ",")
        .filter_map(|path| path.first().map(TokenTree::to_string))
        .collect()
}
