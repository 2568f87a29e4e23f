//! Globs over the names of databases, schemas, tables and other objects.

use std::fmt;

use globset::GlobMatcher;

use super::parse::{Invalid, Scalar, invalid};
use crate::plan::model::DelayPattern;

/// A glob over names: `*`, `?`, `[a-z]`, `{one,other}`; a backslash takes the meaning away.
#[derive(Debug, Clone)]
pub(in crate::plan) struct Glob(pub GlobMatcher);

impl fmt::Display for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.glob().glob())
    }
}

impl Scalar for Glob {
    const FORMAT: &'static str = "glob";
    const PATTERN: &'static str = r"\S";

    fn parse(text: &str) -> Result<Self, Invalid> {
        if text.trim().is_empty() {
            return invalid("is empty", "an empty pattern matches no name");
        }
        matcher(text).map(Glob)
    }
}

fn matcher(text: &str) -> Result<GlobMatcher, Invalid> {
    match globset::Glob::new(text) {
        Ok(glob) => Ok(glob.compile_matcher()),
        Err(error) => invalid(
            "is not a glob",
            format!(
                "{}; a character that means itself is written `[*]`, `[?]`, `[[]` or `[{{]`",
                error.kind()
            ),
        ),
    }
}

impl fmt::Display for DelayPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Scalar for DelayPattern {
    const FORMAT: &'static str = "delay-pattern";
    const PATTERN: &'static str = r"^[^.]+\.[^.]+(\.[^.]+)?$";

    fn parse(text: &str) -> Result<Self, Invalid> {
        let form = "DATABASE.TABLE or DATABASE.SCHEMA.TABLE, each part a glob";
        let parts: Vec<&str> = text.split('.').collect();
        if text.trim().is_empty() {
            return invalid("is empty", format!("write {form}"));
        }
        if parts.len() == 1 {
            return invalid(
                "does not say which database's table",
                format!("write {form}; `*.{text}` is any database's"),
            );
        }
        if parts.len() > 3 {
            return invalid(
                "has more than three parts",
                format!("write {form}; `?` stands for a dot in a name"),
            );
        }
        if parts.iter().any(|part| part.trim().is_empty()) {
            return invalid("has an empty part", format!("write {form}"));
        }
        let last = parts.len() - 1;
        Ok(DelayPattern {
            text: text.to_owned(),
            database: matcher(parts[0])?,
            schema: (last == 2).then(|| matcher(parts[1])).transpose()?,
            table: matcher(parts[last])?,
        })
    }
}
