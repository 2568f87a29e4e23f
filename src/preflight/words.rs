//! Numbers and lists in a sentence.

use crate::catalog::{NotMoved, NotMovedKind};

/// What is found of the kind, for one sentence about all.
pub(super) fn objects_of(not_moved: &[NotMoved], kind: NotMovedKind) -> Vec<&str> {
    let found = not_moved.iter().filter(|found| found.what == kind);
    found.map(|found| found.object.as_str()).collect()
}

/// A size to two digits, rounded down, so that what is written beside a run does not change it at once.
pub(super) fn rounded(bytes: u64) -> String {
    let units = ["bytes", "kB", "MB", "GB", "TB", "PB", "EB"];
    let mut unit = 0;
    let mut whole = bytes;
    while whole >= 1024 {
        whole >>= 10;
        unit += 1;
    }
    let tenths = bytes.saturating_mul(10) >> (10 * unit);
    match (unit, whole) {
        (0, _) => format!("{whole} bytes"),
        (_, ..10) => format!("{}.{} {}", tenths / 10, tenths % 10, units[unit]),
        (_, ..100) => format!("{whole} {}", units[unit]),
        _ => format!("{} {}", whole / 10 * 10, units[unit]),
    }
}

/// `1 database`, `2 databases`.
pub(super) fn counted(number: u32, one: &str) -> String {
    match number {
        1 => format!("1 {one}"),
        more => format!("{more} {one}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::rounded;

    #[test]
    fn sizes_have_two_digits() {
        let sizes = [
            0,
            1023,
            1024,
            10 << 10,
            1_500_000,
            25_600_000,
            999 << 20,
            3 << 40,
            u64::MAX,
        ];
        let shown: Vec<String> = sizes.into_iter().map(rounded).collect();
        assert_eq!(
            shown,
            [
                "0 bytes",
                "1023 bytes",
                "1.0 kB",
                "10 kB",
                "1.4 MB",
                "24 MB",
                "990 MB",
                "3.0 TB",
                "15 EB"
            ]
        );
    }
}
