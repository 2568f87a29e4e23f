//! Two sets of facts -> differences. Pure.

pub(crate) mod large_objects;

use std::collections::{BTreeMap, BTreeSet};

use crate::names::{RelationKind, TableCount, TableName, TableResult};
use crate::plan::VerifyMode;

/// The tables of both sides, compared.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Comparison {
    /// By name.
    pub tables: Vec<TableResult>,
    /// Differences that are not a failure, for the user to know.
    pub warnings: Vec<String>,
}

impl Comparison {
    /// Materialized views are refreshed again once the delayed tables are loaded: what they hold until then says nothing.
    pub(crate) fn postpone_views(&mut self, source: &[TableCount]) {
        let views = source
            .iter()
            .filter(|count| count.kind == RelationKind::MaterializedView);
        for view in views {
            let results = self.tables.iter_mut();
            for result in results.filter(|result| result.table == view.table && result.matches) {
                let note = "refreshed again after the delayed load".to_owned();
                let before = result.note.replace(note).unwrap_or_default();
                let warning = warning(result, &before);
                self.warnings.retain(|other| *other != warning);
            }
        }
    }

    /// Materialized views that the restore could not fill, and nobody waits for that.
    pub(crate) fn excuse_views(&mut self, is_left_empty: impl Fn(&TableName) -> bool) {
        let results = self.tables.iter_mut();
        for result in results {
            let is_unfilled =
                result.target_rows.is_none() && result.note.as_deref() == Some(FILLED_ON_ONE);
            if is_unfilled && is_left_empty(&result.table) {
                result.matches = true;
                result.note = Some(LEFT_EMPTY.to_owned());
                self.warnings.push(warning(result, LEFT_EMPTY));
            }
        }
    }

    /// Leaves out what is not to be compared yet.
    pub(crate) fn leave_out(&mut self, tables: &BTreeSet<TableName>) {
        self.tables.retain(|result| !tables.contains(&result.table));
    }

    pub(crate) fn mismatches(&self) -> impl Iterator<Item = &TableResult> {
        self.tables.iter().filter(|table| !table.matches)
    }
}

/// Compares both directions: a table that one side lacks is a difference. `moving`: partitions between which rows move on
/// their way, each with the partitioned table as a whole of which they are compared.
pub(crate) fn compare(
    source: &[TableCount],
    target: &[TableCount],
    mode: VerifyMode,
    moving: &BTreeMap<TableName, TableName>,
) -> Comparison {
    let sums = Sums::of(source, target, moving);
    type Pair<'a> = (Option<&'a TableCount>, Option<&'a TableCount>);
    let mut pairs: BTreeMap<&TableName, Pair<'_>> = BTreeMap::new();
    for count in source {
        pairs.entry(&count.table).or_default().0 = Some(count);
    }
    for count in target {
        pairs.entry(&count.table).or_default().1 = Some(count);
    }
    let mut comparison = Comparison::default();
    for (table, (source, target)) in pairs {
        let (mut matches, mut note) = outcome(source, target, mode);
        let whole = moving.get(table).and_then(|root| sums.0.get(root));
        // Also where only some of the partitions are compared yet: the others may have rows of these.
        let differs_as_a_whole = whole.is_some_and(|(left, right)| left != right);
        let is_equal_alone = mode == VerifyMode::Exact && note.is_none();
        if let Some((left, right)) = whole
            && (note == Some(DIFFER) || differs_as_a_whole && is_equal_alone)
        {
            matches = left == right;
            note = Some(if matches { MOVED } else { DIFFER_AS_A_WHOLE });
        }
        let result = TableResult {
            table: table.clone(),
            source_rows: source.and_then(|count| count.rows),
            target_rows: target.and_then(|count| count.rows),
            matches,
            note: note.map(str::to_owned),
        };
        let is_unknown = note == Some(UNKNOWN);
        if let Some(note) =
            note.filter(|_| matches && (is_unknown || result.source_rows != result.target_rows))
        {
            comparison.warnings.push(warning(&result, note));
        }
        comparison.tables.push(result);
    }
    comparison
}

/// Of materialized views.
const FILLED_ON_ONE: &str = "refreshed on one server alone";
const LEFT_EMPTY: &str = "not filled by the restore, which the plan accepts";

const DIFFER: &str = "row counts differ";

/// Of a partition by the hash of an enum.
const MOVED: &str =
    "which partition has a row depends on the server; the partitioned table has as many on both";
const DIFFER_AS_A_WHOLE: &str = "row counts of the partitioned table differ";

/// Rows of partitioned tables, each the sum of its partitions, on the source and on the target.
struct Sums<'a>(BTreeMap<&'a TableName, (u64, u64)>);

impl<'a> Sums<'a> {
    fn of(
        source: &[TableCount],
        target: &[TableCount],
        moving: &'a BTreeMap<TableName, TableName>,
    ) -> Sums<'a> {
        let mut sums: BTreeMap<&TableName, (u64, u64)> = BTreeMap::new();
        for count in source {
            if let Some(root) = moving.get(&count.table) {
                sums.entry(root).or_default().0 += count.rows.unwrap_or(0);
            }
        }
        for count in target {
            if let Some(root) = moving.get(&count.table) {
                sums.entry(root).or_default().1 += count.rows.unwrap_or(0);
            }
        }
        Sums(sums)
    }
}

/// A difference that is no failure.
fn warning(result: &TableResult, note: &str) -> String {
    let rows = |rows: Option<u64>| rows.map_or("unknown".to_owned(), |rows| rows.to_string());
    format!(
        "{}: {} rows on the source, {} on the target ({note})",
        result.table,
        rows(result.source_rows),
        rows(result.target_rows)
    )
}

/// No estimate, which says nothing about the rows.
const UNKNOWN: &str = "no estimate: never analyzed";

/// Of configuration tables of extensions: what their scripts insert is part of the count.
const NEW_WITH_EXTENSION: &str = "new with the version of its extension on the target";
const OTHER_EXTENSION: &str = "its extension has another version on the target, whose script may insert other rows: compare them by hand";

/// Both are known: of a count by an earlier version of this program the extension is not, and what only one server counts to
/// an extension is a difference.
fn is_of_another_version(source: &TableCount, target: &TableCount) -> bool {
    matches!((&source.extension, &target.extension), (Some(left), Some(right)) if left != right)
}

/// Whether the two agree, and what to say about it.
fn outcome(
    source: Option<&TableCount>,
    target: Option<&TableCount>,
    mode: VerifyMode,
) -> (bool, Option<&'static str>) {
    let (source, target) = match (source, target) {
        (Some(source), Some(target)) => (source, target),
        (Some(_), None) => return (false, Some("missing on the target")),
        (None, Some(new)) if new.extension.is_some() => return (true, Some(NEW_WITH_EXTENSION)),
        (None, _) => return (false, Some("not on the source")),
    };
    if source.kind != target.kind {
        return (false, Some("not the same kind of relation on both servers"));
    }
    match source.kind {
        RelationKind::PartitionedTable => return (true, Some("counted by its partitions")),
        RelationKind::ForeignTable => return (true, Some("not counted: its rows are elsewhere")),
        _ => {}
    }
    match (source.rows, target.rows) {
        (Some(left), Some(right)) if left == right => (true, None),
        (Some(_), Some(_)) if is_of_another_version(source, target) => {
            (true, Some(OTHER_EXTENSION))
        }
        // pg_restore refreshes the view, the source may not have done so for long.
        (Some(_), Some(_)) if source.kind == RelationKind::MaterializedView => {
            (true, Some("refreshed by the restore"))
        }
        (Some(_), Some(_)) if mode == VerifyMode::Fast => (true, Some("estimates differ")),
        (Some(_), Some(_)) => (false, Some(DIFFER)),
        _ if mode == VerifyMode::Fast => (true, Some(UNKNOWN)),
        (None, None) if source.kind == RelationKind::MaterializedView => {
            (true, Some("never refreshed"))
        }
        _ if source.kind == RelationKind::MaterializedView => (false, Some(FILLED_ON_ONE)),
        _ => (false, Some("not counted")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(table: &str, kind: RelationKind, rows: Option<u64>) -> TableCount {
        TableCount {
            table: TableName::new("public", table),
            kind,
            rows,
            extension: None,
        }
    }

    fn table(name: &str, rows: u64) -> TableCount {
        count(name, RelationKind::Table, Some(rows))
    }

    fn mismatched(source: &[TableCount], target: &[TableCount], mode: VerifyMode) -> Vec<String> {
        compare(source, target, mode, &BTreeMap::new())
            .mismatches()
            .map(|result| {
                format!(
                    "{}: {}",
                    result.table.name,
                    result.note.clone().unwrap_or_default()
                )
            })
            .collect()
    }

    #[test]
    fn equal_counts_match_and_others_do_not() {
        let comparison = compare(
            &[table("b", 2), table("a", 1)],
            &[table("a", 1), table("b", 3)],
            VerifyMode::Exact,
            &BTreeMap::new(),
        );
        let matches: Vec<bool> = comparison
            .tables
            .iter()
            .map(|table| table.matches)
            .collect();
        assert_eq!(matches, [true, false]);
        assert!(comparison.warnings.is_empty());
    }

    #[test]
    fn a_table_that_one_side_lacks_is_a_difference_even_when_empty() {
        assert_eq!(
            mismatched(&[table("a", 0)], &[table("b", 0)], VerifyMode::Exact),
            ["a: missing on the target", "b: not on the source"]
        );
        assert_eq!(mismatched(&[table("a", 0)], &[], VerifyMode::Fast).len(), 1);
    }

    #[test]
    fn estimates_warn_and_exact_counts_fail() {
        let (source, target) = ([table("a", 10)], [table("a", 11)]);
        let comparison = compare(&source, &target, VerifyMode::Fast, &BTreeMap::new());
        assert_eq!(comparison.mismatches().count(), 0);
        assert_eq!(comparison.warnings.len(), 1);
        assert_eq!(mismatched(&source, &target, VerifyMode::Exact).len(), 1);
    }

    #[test]
    fn an_exact_count_that_is_missing_is_not_a_match() {
        let unknown = count("a", RelationKind::Table, None);
        let both = [unknown];
        assert_eq!(
            mismatched(&both, &both, VerifyMode::Exact),
            ["a: not counted"]
        );
        let comparison = compare(&both, &[table("a", 0)], VerifyMode::Fast, &BTreeMap::new());
        assert_eq!(
            comparison.warnings,
            ["public.a: unknown rows on the source, 0 on the target (no estimate: never analyzed)"]
        );
        let comparison = compare(&both, &both, VerifyMode::Fast, &BTreeMap::new());
        assert_eq!(
            comparison.warnings,
            [
                "public.a: unknown rows on the source, unknown on the target (no estimate: never analyzed)"
            ]
        );
    }

    #[test]
    fn a_materialized_view_may_differ_because_it_is_refreshed() {
        let view = |rows| [count("v", RelationKind::MaterializedView, rows)];
        let comparison = compare(
            &view(Some(1)),
            &view(Some(2)),
            VerifyMode::Exact,
            &BTreeMap::new(),
        );
        assert_eq!(comparison.mismatches().count(), 0);
        assert_eq!(comparison.warnings.len(), 1);
        assert_eq!(
            mismatched(&view(None), &view(None), VerifyMode::Exact).len(),
            0
        );
        assert_eq!(
            mismatched(&view(Some(1)), &view(None), VerifyMode::Exact).len(),
            1
        );
    }

    #[test]
    fn what_another_version_of_an_extension_inserts_is_told_and_no_difference() {
        let of = |name: &str, rows, version: &str| TableCount {
            extension: Some(format!("postgis {version}")),
            ..table(name, rows)
        };
        let source = [of("spatial_ref_sys", 8500, "2.5")];
        let target = [of("new", 3, "3.4"), of("spatial_ref_sys", 6001, "3.4")];
        let comparison = compare(&source, &target, VerifyMode::Exact, &BTreeMap::new());
        assert_eq!(comparison.mismatches().count(), 0);
        assert_eq!(comparison.warnings.len(), 2);
        let same = [of("spatial_ref_sys", 6001, "2.5")];
        assert_eq!(mismatched(&source, &same, VerifyMode::Exact).len(), 1);
        // Of one server alone the extension is known, or has the table.
        let unknown = [table("spatial_ref_sys", 6001)];
        assert_eq!(mismatched(&source, &unknown, VerifyMode::Exact).len(), 1);
        assert_eq!(mismatched(&unknown, &source, VerifyMode::Exact).len(), 1);
    }

    #[test]
    fn a_view_that_is_refreshed_again_is_not_told_of_yet() {
        let view = |rows| count("v", RelationKind::MaterializedView, rows);
        let source = [view(Some(7)), table("v: a", 1)];
        let mut comparison = compare(
            &source,
            &[view(Some(0)), table("v: a", 2)],
            VerifyMode::Fast,
            &BTreeMap::new(),
        );
        assert_eq!(comparison.warnings.len(), 2);
        comparison.postpone_views(&source);
        assert_eq!(comparison.warnings.len(), 1);
        assert_eq!(
            comparison.tables[0].note.as_deref(),
            Some("refreshed again after the delayed load")
        );
        assert_ne!(comparison.tables[0].note, comparison.tables[1].note);
    }

    #[test]
    fn what_has_no_rows_of_its_own_must_only_be_there() {
        for kind in [RelationKind::PartitionedTable, RelationKind::ForeignTable] {
            let one = [count("a", kind, None)];
            assert_eq!(mismatched(&one, &one, VerifyMode::Exact).len(), 0);
            assert_eq!(
                mismatched(&one, &[table("a", 0)], VerifyMode::Exact).len(),
                1
            );
        }
    }

    #[test]
    fn partitions_between_which_rows_move_are_compared_as_a_whole() {
        let name = |name: &str| TableName::new("public", name);
        let moving = BTreeMap::from([(name("p0"), name("p")), (name("p1"), name("p"))]);
        let root = || count("p", RelationKind::PartitionedTable, None);
        let source = [root(), table("p0", 3), table("p1", 4)];
        let moved = [root(), table("p0", 5), table("p1", 2)];
        let comparison = compare(&source, &moved, VerifyMode::Exact, &moving);
        assert_eq!(comparison.mismatches().count(), 0);
        assert_eq!(comparison.warnings.len(), 2);
        assert!(comparison.warnings[0].contains("depends on the server"));
        // One of them is delayed, and has rows of the other already.
        let mut comparison = compare(&source[1..2], &moved[1..], VerifyMode::Exact, &moving);
        comparison.leave_out(&[name("p1")].into());
        assert_eq!(comparison.mismatches().count(), 1, "4 rows too many");
        let moved_in_part = [table("p0", 1), table("p1", 2)];
        let mut comparison = compare(&source[1..2], &moved_in_part, VerifyMode::Exact, &moving);
        comparison.leave_out(&[name("p1")].into());
        assert_eq!(comparison.mismatches().count(), 0);
        let too_many = [table("p0", 3), table("p1", 2)];
        let mut comparison = compare(&source[1..2], &too_many, VerifyMode::Exact, &moving);
        comparison.leave_out(&[name("p1")].into());
        assert_eq!(comparison.mismatches().count(), 1);
        // A row is gone, or a partition.
        for target in [
            vec![root(), table("p0", 5), table("p1", 1)],
            vec![root(), table("p0", 7)],
        ] {
            let comparison = compare(&source, &target, VerifyMode::Exact, &moving);
            assert!(comparison.mismatches().count() > 0);
        }
    }
}
