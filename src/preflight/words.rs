//! Numbers and lists in a sentence.

/// `1 database`, `2 databases`.
pub(super) fn counted(number: u32, one: &str) -> String {
    match number {
        1 => format!("1 {one}"),
        more => format!("{more} {one}s"),
    }
}

/// `a, b and 12 more`.
pub(super) fn some_of<T: ToString>(names: &[T], most: usize) -> String {
    let shown: Vec<String> = names.iter().take(most).map(T::to_string).collect();
    let shown = shown.join(", ");
    match names.len().saturating_sub(most) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}
