//! Checks the file's tables against the schema: unknown and missing keys, types, words, ranges.
//!
//! The schema is the one made from `document`, so the checker, an editor with the schema, and
//! serde agree about what a plan may hold. Unlike serde, the checker goes on after a problem.

mod reading;

use std::ops::Range;

use serde_json::{Map, Value};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::problem::{Problem, list};
use super::scalar;
use crate::spelling::did_you_mean;
use reading::{about, admits, branches, expected, found, join, keys, retyped, strings, words};

/// The problems of a file that was parsed as TOML.
pub(super) fn check(schema: &Value, file: &DeTable<'_>) -> Vec<Problem> {
    let mut checker = Checker {
        root: schema,
        problems: Vec::new(),
    };
    checker.table(schema, "", 0..0, file);
    checker.problems
}

struct Checker<'s> {
    root: &'s Value,
    problems: Vec<Problem>,
}

impl Checker<'_> {
    /// `at` names the value in messages: `source.port`.
    fn value(&mut self, schema: &Value, at: &str, value: &Spanned<DeValue<'_>>) {
        if let Some(words) = words(schema) {
            return self.word(schema, &words, at, value);
        }
        let branches = branches(schema);
        if !branches.is_empty() {
            let fitting: Vec<&Value> = branches
                .iter()
                .filter(|branch| admits(branch, value.get_ref()))
                .collect();
            match fitting.as_slice() {
                [] => self.wrong_type(schema, at, value),
                [branch] => self.value(branch, at, value),
                several => self.alternatives(several, at, value),
            }
            return;
        }
        if !admits(schema, value.get_ref()) {
            return self.wrong_type(schema, at, value);
        }
        match value.get_ref() {
            DeValue::String(text) => {
                if let Err(problem) = text_problem(schema, at, text, value.span()) {
                    self.problems.push(problem);
                }
            }
            DeValue::Integer(number) => {
                let number =
                    i128::from_str_radix(&number.as_str().replace('_', ""), number.radix());
                self.range(schema, at, number.ok(), value.span());
            }
            DeValue::Array(items) => {
                let items: Vec<&Spanned<DeValue<'_>>> = items.iter().collect();
                self.array(schema, at, &items, value.span());
            }
            DeValue::Table(table) => self.table(schema, at, value.span(), table),
            DeValue::Float(_) | DeValue::Boolean(_) | DeValue::Datetime(_) => {}
        }
    }

    fn word(&mut self, schema: &Value, words: &[&str], at: &str, value: &Spanned<DeValue<'_>>) {
        let Some(text) = value.get_ref().as_str() else {
            return self.wrong_type(schema, at, value);
        };
        if words.contains(&text) {
            return;
        }
        let label = match did_you_mean(text, words.iter().copied()) {
            Some(word) => format!("did you mean `{word}`?"),
            None => "not one of its words".to_owned(),
        };
        // Some have too many words to name them all.
        let help = match schema["errorMessage"].as_str() {
            Some(message) => message.to_owned(),
            None => format!("it is {}", list(words.iter().copied())),
        };
        self.problems.push(
            Problem::new(format!("`{at}` cannot be `{text}`"))
                .at(value.span(), label)
                .help(help),
        );
    }

    fn range(&mut self, schema: &Value, at: &str, number: Option<i128>, span: Range<usize>) {
        let bound = |keyword: &str| schema[keyword].as_i64().map(i128::from);
        // A setting's value has no bounds but TOML's own.
        let low = bound("minimum").unwrap_or(i64::MIN.into());
        let high = bound("maximum").unwrap_or(i64::MAX.into());
        if !number.is_some_and(|number| (low..=high).contains(&number)) {
            self.problems.push(
                Problem::new(format!("`{at}` is out of range"))
                    .at(span, "")
                    .help(format!("it is an integer from {low} to {high}")),
            );
        }
    }

    fn array(
        &mut self,
        schema: &Value,
        at: &str,
        items: &[&Spanned<DeValue<'_>>],
        span: Range<usize>,
    ) {
        if items.len() < schema["minItems"].as_u64().unwrap_or(0) as usize {
            let problem = Problem::new(format!("`{at}` is empty")).at(span, "names nothing");
            self.problems.push(with_help(problem, about(schema)));
        }
        for (index, item) in items.iter().enumerate() {
            // A table's own lines show which one it is; of short items the number helps.
            match item.get_ref() {
                DeValue::Table(_) => self.value(&schema["items"], at, item),
                _ => self.value(&schema["items"], &format!("{at}[{index}]"), item),
            }
            let Some(text) = item
                .get_ref()
                .as_str()
                .filter(|_| schema["uniqueItems"] == true)
            else {
                continue;
            };
            let earlier = items[..index]
                .iter()
                .find(|earlier| earlier.get_ref().as_str() == Some(text));
            if let Some(earlier) = earlier {
                self.problems.push(
                    Problem::new(format!("`{at}` lists `{text}` twice"))
                        .at(item.span(), "again")
                        .at(earlier.span(), "first here")
                        .help("remove one of them"),
                );
            }
        }
    }

    fn table(&mut self, schema: &Value, at: &str, span: Range<usize>, table: &DeTable<'_>) {
        let properties = schema["properties"].as_object();
        for (key, value) in table {
            let name: &str = key.get_ref();
            let inner = join(at, name);
            if let Some(property) = properties.and_then(|known| known.get(name)) {
                self.value(property, &inner, value);
                continue;
            }
            if schema["additionalProperties"].is_object() {
                let names = &schema["propertyNames"];
                if let Err(problem) = text_problem(names, &inner, name, key.span()) {
                    self.problems.push(problem);
                }
                self.value(&schema["additionalProperties"], &inner, value);
            } else if let Some(known) = properties {
                let problem = self.unknown_key(at, name, key.span(), known);
                self.problems.push(problem);
            }
        }
        self.absences(schema, at, span, table);
    }

    /// Keys that a table lacks.
    fn absences(&mut self, schema: &Value, at: &str, span: Range<usize>, table: &DeTable<'_>) {
        let has = |name: &str| table.keys().any(|key| key.get_ref() == name);
        let mut complete = true;
        for name in strings(&schema["required"]).filter(|name| !has(name)) {
            complete = false;
            self.problems
                .push(self.missing(schema, at, name, span.clone()));
        }
        let least = schema["minProperties"].as_u64().unwrap_or(0) as usize;
        if complete && table.len() < least {
            let required: Vec<&str> = strings(&schema["required"]).collect();
            let others = schema["properties"].as_object().into_iter().flatten();
            let others = others
                .map(|(key, _)| key.as_str())
                .filter(|key| !required.contains(key));
            self.problems.push(
                Problem::new(format!("this `{at}` changes nothing"))
                    .at(span.clone(), "")
                    .help(format!("give it {}", list(others)))
                    .of_absence(),
            );
        }
        let dependencies = schema["dependencies"].as_object().into_iter().flatten();
        for (name, needs) in dependencies {
            let Some((key, _)) = table.iter().find(|(key, _)| key.get_ref() == name) else {
                continue;
            };
            for need in strings(needs).filter(|need| !has(need)) {
                self.problems.push(
                    Problem::new(format!(
                        "`{}` is of no use without `{need}`",
                        join(at, name)
                    ))
                    .at(key.span(), format!("needs `{need}`"))
                    .help(format!("add `{need}`, or remove `{name}`"))
                    .of_absence(),
                );
            }
        }
    }

    fn missing(&self, schema: &Value, at: &str, name: &str, span: Range<usize>) -> Problem {
        if at.is_empty() {
            return Problem::new(format!("the plan has no `[{name}]`"))
                .help(format!(
                    "the table must be there, even if every key in it has a default:\n[{name}]\n\
                     host = \"{name}-server\""
                ))
                .of_absence();
        }
        let problem = Problem::new(format!("this `{at}` has no `{name}`"))
            .at(span, format!("`{name}` is missing"))
            .of_absence();
        with_help(problem, about(&schema["properties"][name]))
    }

    fn unknown_key(
        &self,
        at: &str,
        name: &str,
        span: Range<usize>,
        known: &Map<String, Value>,
    ) -> Problem {
        let place = match at {
            "" => "at the top of a plan".to_owned(),
            _ => format!("in `{at}`"),
        };
        let problem = Problem::new(format!("unknown key `{name}` {place}"));
        let everywhere = keys(self.root);
        let homes = |name: &str| {
            let homes = everywhere.iter().filter(|(key, _)| key == name);
            let homes: Vec<&str> = homes.map(|(_, home)| home.as_str()).collect();
            homes.join(" or ")
        };
        if everywhere.iter().any(|(key, _)| key == name) {
            return problem
                .at(span, "not here")
                .help(format!("`{name}` belongs {}", homes(name)));
        }
        if let Some(meant) = did_you_mean(name, known.keys().map(String::as_str)) {
            return problem.at(span, format!("did you mean `{meant}`?"));
        }
        match did_you_mean(name, everywhere.iter().map(|(key, _)| key.as_str())) {
            Some(meant) => problem
                .at(span, format!("did you mean `{meant}`?"))
                .help(format!("`{meant}` belongs {}", homes(meant))),
            None => problem.at(span, "no such key").help(format!(
                "known here: {}",
                list(known.keys().map(String::as_str))
            )),
        }
    }

    /// A value of which the schema knows several forms, each a table with one key of its own.
    fn alternatives(&mut self, branches: &[&Value], at: &str, value: &Spanned<DeValue<'_>>) {
        let Some(table) = value.get_ref().as_table() else {
            return self.wrong_type(branches[0], at, value);
        };
        let mut forms = Map::new();
        for branch in branches {
            forms.extend(
                branch["properties"]
                    .as_object()
                    .cloned()
                    .into_iter()
                    .flatten(),
            );
        }
        let names = || list(forms.keys().map(String::as_str));
        let mut given = Vec::new();
        for (key, inner) in table {
            let name: &str = key.get_ref();
            match forms.get(name) {
                Some(form) => {
                    given.push(key);
                    self.value(form, &join(at, name), inner);
                }
                None => {
                    let problem = self.unknown_key(at, name, key.span(), &forms);
                    self.problems
                        .push(problem.help(format!("it has one of {}", names())));
                }
            }
        }
        if let [first, .., last] = given.as_slice() {
            self.problems.push(
                Problem::new(format!("`{at}` is given twice"))
                    .at(last.span(), "and here")
                    .at(first.span(), "here")
                    .help(format!("keep one of {}", names())),
            );
        }
        if table.is_empty() {
            self.problems.push(
                Problem::new(format!("`{at}` is empty"))
                    .at(value.span(), "names nothing")
                    .help(format!("give it one of {}", names())),
            );
        }
    }

    fn wrong_type(&mut self, schema: &Value, at: &str, value: &Spanned<DeValue<'_>>) {
        let found = found(value.get_ref());
        let problem = Problem::new(format!("`{at}` must be {}, not {found}", expected(schema)))
            .at(value.span(), found);
        self.problems
            .push(with_help(problem, retyped(schema, at, value.get_ref())));
    }
}

fn with_help(problem: Problem, help: Option<String>) -> Problem {
    match help {
        Some(help) => problem.help(help),
        None => problem,
    }
}

fn text_problem(schema: &Value, at: &str, text: &str, span: Range<usize>) -> Result<(), Problem> {
    let format = schema["format"].as_str().unwrap_or_default();
    match scalar::check(format, text) {
        Some(Err(invalid)) => Err(Problem::new(format!("`{at}` {}", invalid.message))
            .at(span, "")
            .help(invalid.help)),
        Some(Ok(())) | None => Ok(()),
    }
}
