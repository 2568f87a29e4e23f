//! Versions of PostgreSQL, of a server or a program.

use serde::{Deserialize, Serialize};

/// `server_version_num`: 90524, 100023, 180006 (PostgreSQL manual, 20.15).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Version(pub u32);

impl Version {
    /// What names a major version: 906 for 9.6, 1800 for 18. Comparable across both schemes.
    pub fn major(self) -> u32 {
        if self.0 < 100_000 {
            self.0 / 100
        } else {
            self.0 / 10_000 * 100
        }
    }

    /// Reads the version out of a text that starts with it: the `server_version` parameter of a
    /// connection, or what follows `pg_dump (PostgreSQL) `. `None`: no version stands there.
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .map_or(text, |end| &text[..end]);
        let mut parts = digits.split('.').map(str::parse::<u32>);
        let first = parts.next()?.ok()?;
        let second = parts.next().map_or(Some(0), Result::ok)?;
        let third = parts.next().map_or(Some(0), Result::ok)?;
        if first > 999 || second > 9_999 || third > 99 {
            return None;
        }
        match first {
            // Before 10 the first two numbers name the major version.
            0..10 => (second < 100).then_some(Version(first * 10_000 + second * 100 + third)),
            _ => Some(Version(first * 10_000 + second)),
        }
    }

    /// The major version as a person writes it: `9.6`, `18`.
    pub fn major_text(self) -> String {
        if self.0 < 100_000 {
            format!("{}.{}", self.0 / 10_000, self.0 / 100 % 100)
        } else {
            (self.0 / 10_000).to_string()
        }
    }
}

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0 < 100_000 {
            write!(f, "{}.{}", self.major_text(), self.0 % 100)
        } else {
            write!(f, "{}.{}", self.0 / 10_000, self.0 % 10_000)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_as_servers_and_programs_spell_them() {
        for (text, number) in [
            ("18.6 (Debian 18.6-1)", Some(180_006)),
            ("19devel", Some(190_000)),
            ("10.23", Some(100_023)),
            ("9.6.24", Some(90_624)),
            ("9.5", Some(90_500)),
            ("15.18 (Debian 15.18-0+deb12u1)", Some(150_018)),
            ("17beta2", Some(170_000)),
            ("18rc1 (Ubuntu)", Some(180_000)),
            ("", None),
            ("PostgreSQL", None),
            ("16..2", None),
            ("99999999999", None),
        ] {
            assert_eq!(Version::parse(text), number.map(Version), "{text}");
        }
    }

    #[test]
    fn a_version_is_shown_as_it_is_read() {
        for text in ["9.5.24", "10.23", "18.6"] {
            assert_eq!(Version::parse(text).unwrap().to_string(), text);
        }
    }
}
