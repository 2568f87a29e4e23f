//! The name of a table, and what is told apart under it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Schema and name of a relation. Two relations of a database never share one, whatever characters the parts hold.
///
/// Shown as `schema.name`. Where a part holds what would make that ambiguous, both are quoted as in SQL:
/// `"a"."b.c"`. So the text stands for one table, and can be read again.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TableName {
    pub schema: String,
    pub name: String,
}

impl TableName {
    pub fn new(schema: impl Into<String>, name: impl Into<String>) -> Self {
        TableName {
            schema: schema.into(),
            name: name.into(),
        }
    }

    /// Both parts quoted, as SQL, psql's patterns and `pg_dump --table` take them as they are (PostgreSQL manual, psql,
    /// "Patterns").
    ///
    /// ```text
    /// "public"."Weird ""table"""
    /// ```
    pub fn quoted(&self) -> String {
        format!(
            "{}.{}",
            quote_identifier(&self.schema),
            quote_identifier(&self.name)
        )
    }
}

/// A name for use in SQL, in double quotes (PostgreSQL manual, 4.1.1 "Identifiers and Key Words").
pub(crate) fn quote_identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// The names, separated by commas, for a message.
pub(crate) fn list_of_tables(tables: &[TableName]) -> String {
    let names: Vec<String> = tables.iter().map(ToString::to_string).collect();
    names.join(", ")
}

/// `a, b and 12 more`.
pub(crate) fn some_of<T: ToString>(names: &[T], most: usize) -> String {
    let shown: Vec<String> = names.iter().take(most).map(T::to_string).collect();
    let shown = shown.join(", ");
    match names.len().saturating_sub(most) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

/// Whether the part can stand beside a dot without quotes.
fn is_plain(part: &str) -> bool {
    !part.is_empty() && !part.contains(['.', '"'])
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if is_plain(&self.schema) && is_plain(&self.name) {
            write!(f, "{}.{}", self.schema, self.name)
        } else {
            f.write_str(&self.quoted())
        }
    }
}

/// A text that stands for no table, or for more than one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not the name of one table: `schema.name` is, and `\"schema\".\"name\"` where a part holds a dot"
)]
pub struct AmbiguousName(String);

impl FromStr for TableName {
    type Err = AmbiguousName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parsed = if text.starts_with('"') {
            quoted_part(text).and_then(|(schema, rest)| {
                let (name, rest) = quoted_part(rest.strip_prefix('.')?)?;
                rest.is_empty().then(|| TableName::new(schema, name))
            })
        } else {
            text.split_once('.')
                .filter(|(schema, name)| is_plain(schema) && is_plain(name))
                .map(|(schema, name)| TableName::new(schema, name))
        };
        parsed.ok_or_else(|| AmbiguousName(text.to_owned()))
    }
}

/// A quoted identifier at the start of the text, and what follows it.
fn quoted_part(text: &str) -> Option<(String, &str)> {
    let mut part = String::new();
    let mut rest = text.strip_prefix('"')?;
    loop {
        let end = rest.find('"')?;
        part.push_str(&rest[..end]);
        rest = &rest[end + 1..];
        match rest.strip_prefix('"') {
            Some(after) => {
                part.push('"');
                rest = after;
            }
            None => return Some((part, rest)),
        }
    }
}

impl TableName {
    /// Reads `"schema"."name"` at the start of the text, as pg_dump writes it with `--quote-all-identifiers`.
    pub fn parse_quoted_prefix(text: &str) -> Option<TableName> {
        let (schema, rest) = quoted_part(text)?;
        let (name, _) = quoted_part(rest.strip_prefix('.')?)?;
        Some(TableName { schema, name })
    }
}

impl Serialize for TableName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for TableName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// What a relation with rows is (PostgreSQL manual, 52.11 "pg_class", `relkind`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RelationKind {
    Table,
    PartitionedTable,
    ForeignTable,
    MaterializedView,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_that_a_dot_would_join_alike_are_shown_apart() {
        assert_eq!(
            TableName::new("public", "events").to_string(),
            "public.events"
        );
        assert_eq!(TableName::new("a", "b.c").to_string(), "\"a\".\"b.c\"");
        assert_eq!(TableName::new("a.b", "c").to_string(), "\"a.b\".\"c\"");
        assert_eq!(TableName::new("a", "x*\"y").quoted(), "\"a\".\"x*\"\"y\"");
    }

    #[test]
    fn an_ambiguous_text_is_not_a_name() {
        for text in [
            "a.b.c",
            "a",
            ".a",
            "a.",
            "",
            "\"a\".b",
            "\"a\".\"b\"c",
            "a\"b.c",
        ] {
            assert!(text.parse::<TableName>().is_err(), "{text}");
        }
    }

    #[test]
    fn the_table_of_a_copy_is_read_whatever_its_name() {
        assert_eq!(
            TableName::parse_quoted_prefix("\"a.b\".\"x\"\"y\n\" (\"a\") FROM stdin"),
            Some(TableName::new("a.b", "x\"y\n"))
        );
        assert_eq!(TableName::parse_quoted_prefix("public.t FROM stdin"), None);
    }

    proptest! {
        #[test]
        fn every_name_is_read_as_it_was_shown(schema in "\\PC{0,6}|[.\"a]{0,6}", name in "\\PC{0,6}|[.\"a]{0,6}") {
            let table = TableName::new(schema, name);
            prop_assert_eq!(table.to_string().parse::<TableName>(), Ok(table));
        }
    }
}
