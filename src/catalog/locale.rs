//! The names that operating systems give to the same locale.

/// The locale's name as the target's operating system spells it.
///
/// `en_US.UTF-8` and `en_US.utf8` are one locale to glibc, and other systems know only one of the
/// two. The name stays as it is unless `available` (`collcollate` of the target's libc collations)
/// has it in another spelling only. A locale that the target does not have at all stays too: the
/// server then names it in its error.
pub(crate) fn spelling<'a>(name: &'a str, available: &'a [String]) -> &'a str {
    if available.iter().any(|other| other == name) {
        return name;
    }
    find(name, available).unwrap_or(name)
}

/// Whether an operating system that offers these locales has the named one, in whatever spelling.
/// Every server has C and POSIX (PostgreSQL manual, 23.2.2.1 "Standard Collations").
pub(crate) fn is_available(name: &str, available: &[String]) -> bool {
    matches!(name, "C" | "POSIX") || find(name, available).is_some()
}

/// Whether both names mean the same locale.
pub(crate) fn is_same(one: &str, other: &str) -> bool {
    one == other || find(one, &[other.to_owned()]).is_some()
}

/// The first of these names that means the same locale.
fn find<'a>(name: &str, available: &'a [String]) -> Option<&'a str> {
    let (language, code_set, modifier) = parts(name);
    let is_one = |other: &&str| {
        // Most differ here, and servers have hundreds.
        if !other.starts_with(language) {
            return false;
        }
        let other = parts(other);
        let same_code_set = match (code_set, other.1) {
            (Some(one), Some(other)) => significant(one).eq(significant(other)),
            (one, other) => one.is_none() && other.is_none(),
        };
        language == other.0 && modifier == other.2 && same_code_set
    };
    available.iter().map(String::as_str).find(is_one)
}

/// Language with territory, code set, modifier: `de_DE`, `UTF-8` and `euro` of `de_DE.UTF-8@euro`.
fn parts(name: &str) -> (&str, Option<&str>, Option<&str>) {
    let (name, modifier) = match name.split_once('@') {
        Some((name, modifier)) => (name, Some(modifier)),
        None => (name, None),
    };
    match name.split_once('.') {
        Some((language, code_set)) => (language, Some(code_set), modifier),
        None => (name, None, modifier),
    }
}

/// Code sets compare by their letters and digits, without case, as glibc does it (glibc manual, 7.6
/// "Locale Names").
fn significant(code_set: &str) -> impl Iterator<Item = u8> {
    code_set
        .bytes()
        .filter(u8::is_ascii_alphanumeric)
        .map(|byte| byte.to_ascii_lowercase())
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
            let has = available.iter().any(|other| other == spelled) || name == "POSIX";
            assert_eq!(is_available(name, &available), has, "{name}");
        }
        let both = ["en_US.utf8", "en_US.UTF-8"].map(str::to_owned);
        assert_eq!(spelling("en_US.UTF-8", &both), "en_US.UTF-8");
        assert_eq!(spelling("en_US.UTF-8", &[]), "en_US.UTF-8");
    }
}
