//! What the schema says about a value, and how to say it to a reader.

use serde_json::Value;
use toml::de::{DeTable, DeValue};

use crate::plan::problem::list;
use crate::plan::scalar;

/// What to write instead of a value of a wrong type.
pub(super) fn retyped(schema: &Value, at: &str, value: &DeValue<'_>) -> Option<String> {
    let number = match value {
        DeValue::Integer(number) => Some(number.as_str()),
        DeValue::Float(number) => Some(number.as_str()),
        _ => None,
    };
    if let Some(message) = schema["errorMessage"].as_str() {
        return Some(message.to_owned());
    }
    if let Some(words) = words(schema) {
        return Some(format!("it is {}", list(words)));
    }
    if let DeValue::String(text) = value
        && admits_text(schema, text)
    {
        return Some(format!("write it without quotes: {text}"));
    }
    if let DeValue::Table(_) = value
        && schema["items"]["type"] == "object"
    {
        return Some(format!(
            "such a table has two brackets on each side: [[{at}]]"
        ));
    }
    if let Some(number) = number
        && let Some(format) = texts_of(schema).find_map(|schema| schema["format"].as_str())
    {
        return match scalar::check(format, number) {
            Some(Err(invalid)) => Some(invalid.help),
            _ => Some(format!("write it in quotes: \"{number}\"")),
        };
    }
    about(schema)
}

/// The schema, or those of its branches, that want a string.
fn texts_of(schema: &Value) -> impl Iterator<Item = &Value> {
    std::iter::once(schema)
        .chain(branches(schema))
        .filter(|schema| schema["type"] == "string")
}

pub(super) fn join(at: &str, name: &str) -> String {
    match at {
        "" => name.to_owned(),
        _ => format!("{at}.{name}"),
    }
}

pub(super) fn strings(value: &Value) -> impl Iterator<Item = &str> {
    value
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
}

pub(super) fn branches(schema: &Value) -> &[Value] {
    let choice = schema.get("oneOf").or_else(|| schema.get("anyOf"));
    choice.and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// The words of an enumeration; `None`: the schema is not an enumeration.
pub(super) fn words(schema: &Value) -> Option<Vec<&str>> {
    branches(schema)
        .iter()
        .map(|branch| branch["const"].as_str())
        .collect::<Option<Vec<&str>>>()
        .filter(|words| !words.is_empty())
}

/// What an editor would say: the hint, or the first sentence of the description.
pub(super) fn about(schema: &Value) -> Option<String> {
    if let Some(message) = schema["errorMessage"].as_str() {
        return Some(message.to_owned());
    }
    let text = schema["description"].as_str()?;
    let end = text.find(". ").unwrap_or(text.len());
    Some(text[..end].trim_end_matches('.').to_owned())
}

fn types(schema: &Value) -> Vec<&str> {
    match &schema["type"] {
        Value::String(name) => vec![name],
        names => strings(names).collect(),
    }
}

/// Whether the value is of one of the schema's types. A date is a type of its own in TOML.
pub(super) fn admits(schema: &Value, value: &DeValue<'_>) -> bool {
    let types = types(schema);
    let is_date = schema["format"] == "date";
    match value {
        DeValue::String(_) => types.contains(&"string") && !is_date,
        DeValue::Integer(_) => types.contains(&"integer"),
        DeValue::Float(float) => types.contains(&"number") && is_finite(float.as_str()),
        DeValue::Boolean(_) => types.contains(&"boolean"),
        DeValue::Datetime(date) => {
            is_date && date.date.is_some() && date.time.is_none() && date.offset.is_none()
        }
        DeValue::Array(_) => types.contains(&"array"),
        DeValue::Table(_) => types.contains(&"object"),
    }
}

fn is_finite(float: &str) -> bool {
    float.replace('_', "").parse().is_ok_and(f64::is_finite)
}

/// Whether a text would be right if its quotes were taken away.
fn admits_text(schema: &Value, text: &str) -> bool {
    let bare = format!("x = {text}");
    let Ok(table) = DeTable::parse(&bare) else {
        return false;
    };
    let branches = branches(schema);
    let schemas = if branches.is_empty() {
        std::slice::from_ref(schema)
    } else {
        branches
    };
    table
        .get_ref()
        .values()
        .any(|value| schemas.iter().any(|schema| admits(schema, value.get_ref())))
}

/// What a value is, with its article.
pub(super) fn found(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(float) if !is_finite(float.as_str()) => "`inf` or `nan`",
        DeValue::Float(_) => "a number with a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(date) if date.time.is_none() => "a date",
        DeValue::Datetime(_) => "a time",
        DeValue::Array(_) => "an array",
        DeValue::Table(_) => "a table",
    }
}

/// What the schema wants, with its article.
pub(super) fn expected(schema: &Value) -> String {
    let branches = branches(schema);
    if !branches.is_empty() && words(schema).is_none() {
        return any_of(branches.iter().map(expected).collect());
    }
    if words(schema).is_some() {
        return "a string".to_owned();
    }
    if schema["format"] == "date" {
        return "a date".to_owned();
    }
    if let Some(properties) = schema["properties"].as_object()
        && properties.len() == 1
        && !schema["required"].is_null()
    {
        let key = properties.keys().next().map_or("", String::as_str);
        return format!("`{{ {key} = … }}`");
    }
    let types = types(schema);
    let phrases = types
        .iter()
        .filter(|name| **name != "integer" || !types.contains(&"number"))
        .map(|name| match *name {
            "string" => "a string",
            "integer" => "an integer",
            "number" => "a number",
            "boolean" => "true or false",
            "array" if schema["items"]["type"] == "object" => "an array of tables",
            "array" => "an array",
            _ => "a table",
        });
    any_of(phrases.map(str::to_owned).collect())
}

fn any_of(mut phrases: Vec<String>) -> String {
    let last = phrases.pop().unwrap_or_default();
    match phrases.as_slice() {
        [] => last,
        _ => format!("{} or {last}", phrases.join(", ")),
    }
}

/// Every key of the plan file, and where it belongs, as a phrase: "in `[parallelism]`".
pub(super) fn keys(root: &Value) -> Vec<(String, String)> {
    fn walk(schema: &Value, at: &str, keys: &mut Vec<(String, String)>) {
        let properties = schema["properties"].as_object().into_iter().flatten();
        for (key, property) in properties {
            let path = join(at.trim_matches(['[', ']']), key);
            if property["type"] == "object" {
                let header = format!("[{path}]");
                keys.push((key.clone(), format!("to a table of its own, `{header}`")));
                walk(property, &header, keys);
            } else if property["items"]["type"] == "object" {
                let header = format!("[[{path}]]");
                keys.push((key.clone(), format!("to tables of their own, `{header}`")));
                walk(&property["items"], &header, keys);
            } else if at.is_empty() {
                let top = "at the top of the plan, before the first `[table]`";
                keys.push((key.clone(), top.to_owned()));
            } else {
                keys.push((key.clone(), format!("in `{at}`")));
            }
        }
    }
    let mut found = Vec::new();
    walk(root, "", &mut found);
    found
}
