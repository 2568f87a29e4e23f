//! Hides what may be a password before the lines of a plan are shown.
//!
//! A plan with a password in it is refused, and the refusal shows the file's lines: on a
//! terminal, in a CI log, in a ticket. So everything that may be a password becomes asterisks,
//! one for each byte, which keeps all spans right. Hiding too much is fine.

use std::ops::Range;

use toml::de::{DeTable, DeValue};

/// The text with every value hidden that may be a password.
///
/// `file` is what could be parsed of it, `sound` whether that was everything.
pub(super) fn masked(text: &str, file: &DeTable<'_>, sound: bool) -> String {
    let mut spans = Vec::new();
    in_table(file, &mut spans);
    if !sound {
        in_lines(text, &mut spans);
    }
    in_urls(text, &mut spans);

    let mut bytes = text.as_bytes().to_vec();
    for span in spans {
        for byte in &mut bytes[span] {
            if !matches!(*byte, b'\n' | b'\r') {
                *byte = b'*';
            }
        }
    }
    // Spans start and end between characters, so what is left is UTF-8; `lossy` cannot change it.
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Whether a key of this name is about a password: `password`, `passwd`, `from_pass`, `PGPASSWORD`.
fn is_about_password(key: &str) -> bool {
    let key = key.to_lowercase();
    key.contains("pass") || key.contains("pwd") || key.contains("secret")
}

fn in_table(table: &DeTable<'_>, spans: &mut Vec<Range<usize>>) {
    for (key, value) in table {
        if is_about_password(key.get_ref()) {
            match value.get_ref() {
                DeValue::Table(forms) => in_forms(forms, spans),
                _ => spans.push(value.span()),
            }
            continue;
        }
        match value.get_ref() {
            // A libpq connection string: `host=db password=…`.
            DeValue::String(text) if text.contains('=') && is_about_password(text) => {
                spans.push(value.span());
            }
            DeValue::Table(table) => in_table(table, spans),
            DeValue::Array(items) => {
                let tables = items.iter().filter_map(|item| item.get_ref().as_table());
                tables.for_each(|table| in_table(table, spans));
            }
            _ => {}
        }
    }
}

/// What stands in `password = { … }`: names of places may be shown, anything else not.
fn in_forms(forms: &DeTable<'_>, spans: &mut Vec<Range<usize>>) {
    for (key, value) in forms {
        let is_place = match (key.get_ref().as_ref(), value.get_ref()) {
            ("env", DeValue::String(name)) => {
                super::scalar::check("environment-variable", name) == Some(Ok(()))
            }
            ("file", DeValue::String(_)) | ("command", DeValue::Array(_)) => true,
            _ => false,
        };
        if !is_place {
            spans.push(value.span());
        }
    }
}

/// After a syntax error the tables do not hold everything: hide the rest of each line, and of
/// each multi-line string, that sets something about a password.
fn in_lines(text: &str, spans: &mut Vec<Range<usize>>) {
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        let mut offset = 0;
        while let Some(equals) = line[offset..].find('=') {
            let (key, value) = (&line[offset..offset + equals], offset + equals + 1);
            if is_about_password(key) {
                let blanks = line[value..].len() - line[value..].trim_start().len();
                let from = start + value + blanks;
                let delimiter = ["\"\"\"", "'''"]
                    .into_iter()
                    .find(|delimiter| text[from..].starts_with(delimiter));
                let end = match delimiter {
                    Some(delimiter) => text[from + 3..]
                        .find(delimiter)
                        .map_or(text.len(), |length| from + 3 + length),
                    None => start + line.len(),
                };
                spans.push(from.min(end)..end);
                break;
            }
            offset = value;
        }
        start += line.len();
    }
}

/// `postgres://user:password@host`, or the same without its scheme.
fn in_urls(text: &str, spans: &mut Vec<Range<usize>>) {
    let is_edge = |c: char| c.is_whitespace() || c == '"' || c == '\'';
    for word in text.split(is_edge).filter(|word| word.contains('@')) {
        let offset = word.as_ptr() as usize - text.as_ptr() as usize;
        let user = word.find("://").map_or(0, |scheme| scheme + 3);
        if let (Some(colon), Some(at)) = (word[user..].find(':'), word.rfind('@'))
            && user + colon < at
        {
            spans.push(offset + user + colon + 1..offset + at);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn mask(text: &str) -> String {
        let (file, errors) = DeTable::parse_recoverable(text);
        masked(text, file.get_ref(), errors.is_empty())
    }

    #[test]
    fn values_about_passwords_are_hidden_and_places_are_shown() {
        let text = r#"
[source]
password = "hunter2"
passwd = 12345
password_file = '''
hunter2'''
[target]
password = { env = "TARGET_PASSWORD" }
host = "postgres://me:hunter2@db/x"
user = "me:hunter2@db"
database = "dbname=x password=hunter2"
[other]
password = { value = "hunter2", env = "hunter2!", file = "pw", command = ["pass", "show"] }
"#;
        insta::assert_snapshot!(mask(text), @r#"
    [source]
    password = *********
    passwd = *****
    password_file = ***
    **********
    [target]
    password = { env = "TARGET_PASSWORD" }
    host = "postgres://me:*******@db/x"
    user = "me:*******@db"
    database = ***************************
    [other]
    password = { value = *********, env = **********, file = "pw", command = ["pass", "show"] }
    "#);
    }

    #[test]
    fn broken_lines_are_hidden_whole() {
        let text = "[source]\nport = = 1\npassword = hunter2\nhost = \"x\", password = \"hun\"ter2\"\n\
                    source = { password = \"\"\"a\nhunter2\n\"\"\", x = 1 }\n";
        insta::assert_snapshot!(mask(text), @r#"
    [source]
    port = = 1
    password = *******
    host = "x", password = **********
    source = { password = ****
    *******
    ***, x = 1 }
    "#);
    }

    proptest! {
        #[test]
        fn masking_moves_nothing(text in "([a-z\"'=:/@{}\\[\\]#\n é]|password|://|\"\"\")*") {
            let hidden = mask(&text);
            prop_assert_eq!(hidden.len(), text.len());
            prop_assert_eq!(hidden.matches('\n').count(), text.matches('\n').count());
        }
    }
}
