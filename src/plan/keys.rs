//! The keys of a plan file, for saying in its own terms how it changed.

use std::collections::{BTreeMap, BTreeSet};

use toml::{Table, Value};

/// Dotted keys and their values as TOML. Entries of `[[…]]` are counted from 1: `override.1.dump_jobs`.
pub(crate) type Keys = BTreeMap<String, String>;

/// The keys of a file that is valid TOML.
pub(super) fn from_text(text: &str) -> Keys {
    let mut keys = Keys::new();
    let table: Table = toml::from_str(text).unwrap_or_default();
    for (name, value) in &table {
        gather(name, value, &mut keys);
    }
    keys
}

fn gather(key: &str, value: &Value, keys: &mut Keys) {
    match value {
        Value::Table(table) => {
            for (name, value) in table {
                gather(&format!("{key}.{name}"), value, keys);
            }
        }
        Value::Array(entries) if entries.iter().any(Value::is_table) => {
            for (index, entry) in entries.iter().enumerate() {
                gather(&format!("{key}.{}", index + 1), entry, keys);
            }
        }
        other => {
            keys.insert(key.to_owned(), other.to_string());
        }
    }
}

/// What is different, a line a key.
pub(crate) fn differences(before: &Keys, now: &Keys) -> Vec<String> {
    let names: BTreeSet<&String> = before.keys().chain(now.keys()).collect();
    let text = |value: Option<&String>| value.map_or("not set", String::as_str).to_owned();
    names
        .into_iter()
        .filter(|name| before.get(*name) != now.get(*name))
        .map(|name| {
            format!(
                "{name} was {}, now it is {}",
                text(before.get(name)),
                text(now.get(name))
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changed_is_said_in_the_words_of_the_file() {
        let before = from_text(
            "# a\n[source]\npassword = { env = \"A\" }\n[parallelism]\nmax_parallel = 6\n\
                         [[override]]\ndatabases = [\"a\"]\ndump_jobs = 2\n",
        );
        let now = from_text(
            "[source]\npassword = { env = \"B\" }\n\n[delay]\ntable_data = [\"a.b\"]\n\
                      [[override]]\ndatabases = [\"a\"]\ndump_jobs = 4\n",
        );
        insta::assert_snapshot!(differences(&before, &now).join("\n"), @r#"
        delay.table_data was not set, now it is ["a.b"]
        override.1.dump_jobs was 2, now it is 4
        parallelism.max_parallel was 6, now it is not set
        source.password.env was "A", now it is "B"
        "#);
        let comment = from_text("# b\n[parallelism]\nmax_parallel = 0x6 # six\n");
        assert_eq!(
            differences(&from_text("parallelism.max_parallel = 6"), &comment),
            Vec::<String>::new()
        );
    }
}
