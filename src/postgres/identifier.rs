//! Names of a server's objects, made fit for the eyes of people.

use std::borrow::Cow;

/// The text with its control characters escaped (`\u{1b}`), so that a name cannot steer a terminal.
pub fn escape_control(text: &str) -> Cow<'_, str> {
    if !text.contains(char::is_control) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if c.is_control() {
            escaped.extend(c.escape_default());
        } else {
            escaped.push(c);
        }
    }
    Cow::Owned(escaped)
}
