//! What the target's version has or does otherwise than the source's, and a dump does not say.

use crate::catalog::{NotMoved, NotMovedKind, ServerFacts};
use crate::finding::{Code, Finding};
use crate::names::some_of;

/// Tables, functions and languages that a finding names.
const NAMED: usize = 8;

/// About a database that migrates, one for all objects of a kind.
pub(super) fn in_database(
    not_moved: &[NotMoved],
    target: &ServerFacts,
) -> impl Iterator<Item = Finding> {
    [
        nullable_children(not_moved, target),
        shadowed_functions(not_moved),
        stored_lexemes(not_moved, target),
    ]
    .into_iter()
    .flatten()
}

/// The tables, each with what of it.
fn tables(not_moved: &[NotMoved], kind: NotMovedKind) -> Vec<String> {
    let found = not_moved.iter().filter(|found| found.what == kind);
    found
        .map(|found| format!("{} ({})", found.object, found.detail))
        .collect()
}

fn nullable_children(not_moved: &[NotMoved], target: &ServerFacts) -> Option<Finding> {
    let tables = tables(not_moved, NotMovedKind::NullableChild);
    (!tables.is_empty() && target.version.major() >= 1800).then(|| {
        let message = format!(
            "columns may be NULL here and are inherited from such as are NOT NULL in the parent, which from 18 on holds for all that inherit: \
             on the target they are NOT NULL, and refuse NULL from clients, or in the restore from the dump: {}",
            some_of(&tables, NAMED)
        );
        Finding::new(Code::SourceInheritedColumns, message).fix(
            "SET NOT NULL for them on the source, or, where rows have NULL, ALTER TABLE … NO INHERIT; or, where none has NULL yet, on the target after \
             the run ALTER TABLE … ALTER CONSTRAINT … NO INHERIT for the parent's NOT NULL, then ALTER … DROP NOT NULL for the child",
        )
    })
}

fn shadowed_functions(not_moved: &[NotMoved]) -> Option<Finding> {
    let found = not_moved.iter();
    let found = found.filter(|found| found.what == NotMovedKind::ShadowedFunction);
    let (same, like): (Vec<_>, Vec<_>) = found.partition(|found| found.detail.is_empty());
    let mut parts = Vec::new();
    if !same.is_empty() {
        let same: Vec<&str> = same.iter().map(|found| found.object.as_str()).collect();
        parts.push(format!(
            "the target's pg_catalog has functions that are called as these, and the source's has not; pg_catalog is searched first, so that calls \
             without a schema, in bodies of functions and in statements of clients, find those of the system there, which may return something \
             else: {}",
            some_of(&same, NAMED)
        ));
    }
    if !like.is_empty() {
        let like = like.iter();
        let like = like.map(|found| format!("{} ({})", found.object, found.detail));
        let like: Vec<String> = like.collect();
        parts.push(format!(
            "the target's pg_catalog has functions of these names for other types, which PostgreSQL may take in their place where the arguments \
             of a call are not exactly of these types, and the source's has none: {}",
            some_of(&like, NAMED)
        ));
    }
    (!parts.is_empty()).then(|| {
        Finding::new(Code::SourceShadowedFunction, parts.join("; ")).fix(
            "compare what both return; where they differ, call yours with its schema, or give it another name; or put pg_catalog last in \
             search_path (ALTER DATABASE … SET search_path = public, pg_catalog)",
        )
    })
}

fn stored_lexemes(not_moved: &[NotMoved], target: &ServerFacts) -> Option<Finding> {
    let tables = tables(not_moved, NotMovedKind::StoredLexemes);
    let languages = &target.newer.stemmers;
    (!tables.is_empty() && !languages.is_empty()).then(|| {
        let message = format!(
            "columns keep lexemes as the source made them, and the stemmers of the target make others of some words ({}): searches with \
             to_tsquery do not find all rows there any more: {}",
            languages.join(", "),
            some_of(&tables, NAMED)
        );
        Finding::new(Code::SourceStoredLexemes, message).fix(
            "where they are of these languages, compute the columns again on the target after the run, as the trigger or the application does \
             (UPDATE … SET column = to_tsvector(…)); generated columns and indexes on to_tsvector(…) are right",
        )
    })
}
