//! The names that operating systems give to the same locale.

/// The locale's name as the target's operating system spells it.
///
/// `en_US.UTF-8` and `en_US.utf8` are one locale to glibc, and other systems know only one of the
/// two. The name stays as it is unless `available` (`collcollate` of the target's libc collations)
/// has it in another spelling only. A locale that the target does not have at all stays too: the
/// server then names it in its error.
pub fn spelling<'a>(name: &'a str, available: &'a [String]) -> &'a str {
    if available.iter().any(|other| other == name) {
        return name;
    }
    available
        .iter()
        .find(|other| parts(other) == parts(name))
        .map_or(name, String::as_str)
}

/// Language with territory, code set, modifier: `de_DE`, `utf8` and `euro` of `de_DE.UTF-8@euro`.
/// Code sets compare by their letters and digits, without case, as glibc does it (glibc manual, 7.6
/// "Locale Names").
fn parts(name: &str) -> (&str, Option<String>, Option<&str>) {
    let (name, modifier) = match name.split_once('@') {
        Some((name, modifier)) => (name, Some(modifier)),
        None => (name, None),
    };
    let (language, code_set) = match name.split_once('.') {
        Some((language, code_set)) => (language, Some(code_set)),
        None => (name, None),
    };
    let code_set = code_set.map(|code_set| {
        code_set
            .chars()
            .filter(char::is_ascii_alphanumeric)
            .map(|c| c.to_ascii_lowercase())
            .collect()
    });
    (language, code_set, modifier)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_other_spelling_changes_a_name() {
        let available = [
            "C",
            "en_US.utf8",
            "de_DE.iso88591",
            "de_DE.utf8@euro",
            "C.UTF-8",
        ]
        .map(str::to_owned);
        for (name, spelled) in [
            ("en_US.UTF-8", "en_US.utf8"),
            ("en_US.utf8", "en_US.utf8"),
            ("C.utf8", "C.UTF-8"),
            ("de_DE.ISO-8859-1", "de_DE.iso88591"),
            ("de_DE.UTF-8@euro", "de_DE.utf8@euro"),
            ("de_DE.UTF-8", "de_DE.UTF-8"),
            ("en_us.utf8", "en_us.utf8"),
            ("en_US", "en_US"),
            ("POSIX", "POSIX"),
        ] {
            assert_eq!(spelling(name, &available), spelled);
        }
        let both = ["en_US.utf8", "en_US.UTF-8"].map(str::to_owned);
        assert_eq!(spelling("en_US.UTF-8", &both), "en_US.UTF-8");
        assert_eq!(spelling("en_US.UTF-8", &[]), "en_US.UTF-8");
    }
}
