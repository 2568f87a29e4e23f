//! From a file's bytes to the plan, or to everything that is wrong with it.

use std::fs::File;
use std::io::Read;
use std::ops::Range;
use std::path::Path;

use serde::Deserialize;
use toml::de::{DeTable, Deserializer};

use super::convert::{self, Origin};
use super::document::Document;
use super::model::Plan;
use super::problem::{PlanError, Problem};
use super::scalar::{PlanName, Scalar};
use super::schema::schema_ref;
use super::{consistency, keys, secret, structure};

/// No plan is that long; something else was named by mistake, a dump perhaps.
const LONGEST: u64 = 4 << 20;

/// The smallest plan, shown to a user who has none.
const SMALLEST: &str = "the smallest plan says where the two servers are:\n\
                        [source]\nhost = \"old-server\"\n\
                        [target]\nhost = \"new-server\"\n\
                        Every other key has a default; `pg-migrate init` writes them all down.";

/// Reads a plan file.
///
/// Relative paths in it start from its directory. Environment variables are not read: they stay
/// [`Value::Env`](super::Value::Env) and [`PasswordSource::Env`](super::PasswordSource::Env).
///
/// # Errors
/// The file cannot be read, is no UTF-8 text, or has problems, all of which the error lists.
pub fn load(path: &Path) -> Result<Plan, PlanError> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(LONGEST + 1).read_to_end(&mut bytes))
        .map_err(|error| PlanError::unreadable(path, error))?;
    if bytes.len() as u64 > LONGEST {
        return Err(PlanError::not_a_plan(
            path,
            "is larger than 4 MiB".to_owned(),
            "a plan is a small TOML file: is this the right one?",
        ));
    }
    match std::str::from_utf8(&bytes) {
        Ok(text) => parse(text, path),
        Err(error) => {
            let before = &bytes[..error.valid_up_to()];
            let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
            Err(PlanError::not_a_plan(
                path,
                format!(
                    "is not UTF-8: byte 0x{:02x} in line {line}",
                    bytes[error.valid_up_to()]
                ),
                "TOML is UTF-8: save the file in that encoding",
            ))
        }
    }
}

/// Reads a plan from its text. `path` is the file's: it names the plan and what relative paths
/// start from, and errors show it as it is given. The file itself is not touched.
///
/// # Errors
/// The text has problems, all of which the error lists.
pub fn parse(text: &str, path: &Path) -> Result<Plan, PlanError> {
    let absolute = std::path::absolute(path).map_err(|error| PlanError::unreadable(path, error))?;
    let (file, errors) = DeTable::parse_recoverable(text);
    if errors.is_empty() && file.get_ref().is_empty() {
        return Err(PlanError::not_a_plan(path, "is empty".to_owned(), SMALLEST));
    }

    let mut problems = structure::check(schema_ref(), file.get_ref());
    problems.extend(consistency::check(file.get_ref()));
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    if let Err(invalid) = PlanName::parse(&stem)
        && !file.get_ref().contains_key("name")
    {
        problems.push(
            Problem::new(format!("`{stem}`, the file's name, {}", invalid.message))
                .help(format!("add a `name = \"…\"`: {}", invalid.help))
                .of_absence(),
        );
    }
    if !errors.is_empty() {
        problems = with_syntax_errors(problems, text, &errors);
    }

    let fail = |problems| {
        let shown = secret::masked(text, file.get_ref(), errors.is_empty());
        Err(PlanError::invalid(path, shown, problems))
    };
    if !problems.is_empty() {
        return fail(problems);
    }
    let document = match Document::deserialize(Deserializer::from(file.clone())) {
        Ok(document) => document,
        // The checker knows all that serde knows, so this is for what neither of them foresaw.
        // serde's message is left out: it may quote the value.
        Err(error) => {
            let problem = Problem::new("a value does not fit its key");
            return fail(vec![match error.span() {
                Some(span) => problem.at(span, "this one"),
                None => problem,
            }]);
        }
    };
    Ok(convert::plan(
        document,
        Origin {
            path: &absolute,
            directory: absolute.parent().unwrap_or(&absolute),
            stem: &stem,
            keys: keys::from_text(text),
        },
    ))
}

/// Syntax errors, and those of the other problems that they cannot have caused: what stands
/// before the first syntax error is what it will be when that is fixed, but what is absent
/// is unknown.
fn with_syntax_errors(
    problems: Vec<Problem>,
    text: &str,
    errors: &[toml::de::Error],
) -> Vec<Problem> {
    let span = |error: &toml::de::Error| error.span().unwrap_or(0..0);
    let first = errors
        .iter()
        .map(|error| span(error).start)
        .min()
        .unwrap_or(0);
    let line = text[..first].rfind('\n').map_or(0, |newline| newline + 1);
    let syntax = errors.iter().map(|error| {
        Problem::new(format!("not TOML: {}", error.message()))
            .at(visible(text, span(error)), "here")
    });
    problems
        .into_iter()
        .filter(|problem| !problem.is_of_absence() && problem.offset() < line)
        .chain(syntax)
        .collect()
}

/// An empty span at the end of a line gets the last character of that line, so that there is
/// something to point at.
fn visible(text: &str, span: Range<usize>) -> Range<usize> {
    let at_end = text[span.start..]
        .chars()
        .next()
        .is_none_or(|c| c == '\n' || c == '\r');
    match text[..span.start].chars().next_back() {
        Some(last) if span.is_empty() && at_end && last != '\n' => {
            span.start - last.len_utf8()..span.start
        }
        _ => span,
    }
}

#[cfg(test)]
mod tests;
