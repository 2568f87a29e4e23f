//! Large objects: no table counts them, and a count of them is all that is cheap to compare.

use crate::names::{TableName, TableResult};

/// The catalog that has a row for each of them: under its name they stand among the tables that were compared.
pub(crate) fn table() -> TableName {
    TableName::new("pg_catalog", "pg_largeobject_metadata")
}

/// Who makes the target have fewer of them.
pub(crate) const REMOVED_BY: &str =
    "vacuumlo removes those that no row refers to yet, and so does what calls lo_unlink";

/// What to do so that it does not happen again.
pub(crate) const KEEP_AWAY: &str =
    "keep vacuumlo, and jobs that call lo_unlink, from the target until the run has ended";

/// Compares how many there are; `None`: one of the two is not known, or there are none.
pub(crate) fn compare(source: Option<u64>, target: Option<u64>) -> Option<TableResult> {
    let (source, target) = (source?, target?);
    if source == 0 && target == 0 {
        return None;
    }
    let note = if target < source {
        Some(missing(source - target, source))
    } else {
        (target > source).then(|| {
            format!(
                "large objects: {} more on the target than on the source",
                target - source
            )
        })
    };
    Some(result(source, target, note.is_none(), note))
}

/// The row of a report.
pub(crate) fn result(source: u64, target: u64, matches: bool, note: Option<String>) -> TableResult {
    TableResult {
        table: table(),
        source_rows: Some(source),
        target_rows: Some(target),
        matches,
        note,
    }
}

/// `large objects: 500 of 500 are missing on the target (…)`
pub(crate) fn missing(missing: u64, of: u64) -> String {
    format!("large objects: {missing} of {of} are missing on the target ({REMOVED_BY})")
}

/// What a step's message adds where they differ: how many of how many.
pub(crate) fn told(tables: &[TableResult]) -> Option<&str> {
    let table = table();
    let differing = tables.iter().find(|result| result.table == table);
    differing.filter(|result| !result.matches)?.note.as_deref()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(source: Option<u64>, target: Option<u64>) -> Option<(bool, String)> {
        let result = compare(source, target)?;
        Some((result.matches, result.note.unwrap_or_default()))
    }

    #[test]
    fn what_is_not_known_and_what_is_not_there_is_not_compared() {
        assert_eq!(judged(None, Some(3)), None);
        assert_eq!(judged(Some(3), None), None);
        assert_eq!(judged(Some(0), Some(0)), None);
    }

    #[test]
    fn any_other_number_is_a_difference() {
        assert_eq!(judged(Some(3), Some(3)), Some((true, String::new())));
        let (matches, note) = judged(Some(3), Some(0)).unwrap();
        assert!(!matches);
        assert!(note.starts_with("large objects: 3 of 3 are missing on the target (vacuumlo "));
        let (matches, note) = judged(Some(3), Some(5)).unwrap();
        assert!(!matches);
        assert_eq!(
            note,
            "large objects: 2 more on the target than on the source"
        );
    }

    #[test]
    fn a_step_tells_them_only_where_they_differ() {
        let same = compare(Some(3), Some(3)).unwrap();
        assert_eq!(told(&[same]), None);
        let other = compare(Some(3), Some(2)).unwrap();
        assert!(told(&[other]).unwrap().contains("1 of 3"));
    }
}
