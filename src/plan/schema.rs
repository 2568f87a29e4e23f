//! The JSON Schema of the plan file, made from `document`.

use std::sync::LazyLock;

use schemars::Schema;
use schemars::generate::SchemaSettings;
use schemars::transform::{Transform, transform_subschemas};
use serde_json::Value;

use super::document::Document;

static SCHEMA: LazyLock<Value> = LazyLock::new(|| {
    // Draft 7 is what TOML editors understand best. Inlined, because in draft 7 a `$ref` hides
    // the description beside it.
    let mut settings = SchemaSettings::draft07().with_transform(ForToml);
    settings.inline_subschemas = true;
    settings
        .into_generator()
        .into_root_schema_for::<Document>()
        .to_value()
});

/// The JSON Schema (draft 7) of the plan file.
pub fn schema() -> Value {
    SCHEMA.clone()
}

/// The same, as `schemas/plan.schema.json` holds it: indented, with a newline at the end.
pub fn schema_text() -> String {
    format!("{:#}\n", *SCHEMA)
}

pub(super) fn schema_ref() -> &'static Value {
    &SCHEMA
}

/// Takes out what means nothing in TOML (null, defaults of whole tables, formats of integers), and
/// the line breaks that descriptions have because they are comments in Rust.
#[derive(Clone)]
struct ForToml;

impl Transform for ForToml {
    fn transform(&mut self, schema: &mut Schema) {
        transform_subschemas(self, schema);
        let Some(object) = schema.as_object_mut() else {
            return;
        };
        if let Some(Value::Array(types)) = object.get_mut("type") {
            types.retain(|name| name != "null");
            if let [only] = types.as_slice() {
                let only = only.clone();
                object.insert("type".to_owned(), only);
            }
        }
        if object.get("type").is_some_and(|name| name == "integer") {
            object.remove("format");
        }
        if let Some(Value::String(text)) = object.get_mut("description") {
            *text = unwrapped(text);
        }
        let says_nothing = |default: &mut Value| {
            default.is_null()
                || default.is_object()
                || default.as_array().is_some_and(Vec::is_empty)
        };
        if object.get_mut("default").is_some_and(says_nothing) {
            object.remove("default");
        }
        for choice in ["anyOf", "oneOf"] {
            let Some(Value::Array(branches)) = object.get_mut(choice) else {
                continue;
            };
            branches.retain(|branch| branch["type"] != "null");
            if let [Value::Object(only)] = branches.as_mut_slice() {
                let only = std::mem::take(only);
                object.remove(choice);
                for (key, value) in only {
                    object.entry(key).or_insert(value);
                }
            }
        }
    }
}

/// Paragraphs as one line each.
fn unwrapped(text: &str) -> String {
    text.split("\n\n")
        .map(|paragraph| paragraph.replace('\n', " "))
        .collect::<Vec<_>>()
        .join("\n\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn every_schema<'a>(schema: &'a Value, visit: &mut impl FnMut(&'a Value)) {
        visit(schema);
        let properties = schema["properties"].as_object().into_iter().flatten();
        properties.for_each(|(_, schema)| every_schema(schema, visit));
        for key in ["anyOf", "oneOf"] {
            let branches = schema[key].as_array().into_iter().flatten();
            branches.for_each(|schema| every_schema(schema, visit));
        }
        for key in ["items", "additionalProperties", "propertyNames"] {
            if schema[key].is_object() {
                every_schema(&schema[key], visit);
            }
        }
    }

    #[test]
    fn every_key_is_described_and_nothing_is_null() {
        assert!(!schema_text().contains("null"));
        every_schema(schema_ref(), &mut |schema| {
            for (key, property) in schema["properties"].as_object().into_iter().flatten() {
                // A branch of a choice describes its only key.
                let described =
                    property["description"].is_string() || schema["required"][0] == **key;
                assert!(described, "{key} has no description");
            }
        });
    }

    /// A keyword that no check looks at would be a rule for editors alone.
    #[test]
    fn every_keyword_is_known_to_the_checker() {
        let by_structure = [
            "type",
            "properties",
            "additionalProperties",
            "propertyNames",
            "required",
            "minProperties",
            "dependencies",
            "items",
            "minItems",
            "uniqueItems",
            "enum",
            "const",
            "oneOf",
            "anyOf",
            "minimum",
            "maximum",
            "format",
            "errorMessage",
        ];
        let annotations = ["$schema", "title", "description", "default"];
        let by_scalar_and_consistency = ["pattern", "not", "if", "then"];
        every_schema(schema_ref(), &mut |schema| {
            for keyword in schema
                .as_object()
                .into_iter()
                .flatten()
                .map(|(key, _)| key.as_str())
            {
                assert!(
                    by_structure.contains(&keyword)
                        || annotations.contains(&keyword)
                        || by_scalar_and_consistency.contains(&keyword),
                    "{keyword}"
                );
            }
        });
    }
}
