//! Texts from elsewhere, made fit to be shown.
//!
//! A name on a server, a line of a file and the output of a program can hold anything.

use std::borrow::Cow;
use std::fmt::Write as _;

/// The text with its control characters shown as escapes, for terminals, logs and reports.
///
/// A name can hold anything but NUL. Control characters would move the cursor or tear a table;
/// bidirectional controls and line separators would show a text other than the one that is there.
pub(crate) fn escape_control(text: &str) -> Cow<'_, str> {
    if !text.chars().any(misleads) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if misleads(c) {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
    }
    Cow::Owned(shown)
}

/// As [`escape_control`], for texts of several lines: line feeds stay, tabs become spaces.
pub fn escape_control_lines(text: &str) -> String {
    text.replace('\t', "    ")
        .lines()
        .map(escape_control)
        .collect::<Vec<_>>()
        .join("\n")
}

/// JSON with such characters written as `\uXXXX`, which means the same: they stand inside of its strings.
/// Line feeds stay, those between its values; in strings there are none.
pub(crate) fn escape_json(json: &str) -> String {
    let mut shown = String::with_capacity(json.len());
    for c in json.chars() {
        if c != '\n' && misleads(c) {
            // None of them lies beyond what four digits can say.
            let _ = write!(shown, "\\u{:04x}", u32::from(c));
        } else {
            shown.push(c);
        }
    }
    shown
}

/// A message in colours, with what does not belong to them escaped; line feeds stay.
///
/// The sequences that select colours are the only ones that a terminal gets to see.
pub(crate) fn escape_between_colors(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("\u{1b}[") {
        let (before, sequence) = rest.split_at(at);
        let parameters = &sequence[2..];
        let length = parameters
            .find(|c: char| !c.is_ascii_digit() && c != ';')
            .filter(|end| parameters[*end..].starts_with('m'));
        let kept = length.map_or(0, |length| length + 3);
        let next = kept.max(2);
        push_lines(&mut shown, before);
        shown.push_str(&sequence[..kept]);
        if kept == 0 {
            shown.push_str(&escape_control(&sequence[..next]));
        }
        rest = &sequence[next..];
    }
    push_lines(&mut shown, rest);
    shown
}

fn push_lines(shown: &mut String, text: &str) {
    for (position, line) in text.split('\n').enumerate() {
        if position > 0 {
            shown.push('\n');
        }
        shown.push_str(&escape_control(line));
    }
}

/// The text with a stand-in of the same length in UTF-8 for each such character, so that places in it keep
/// their offsets. Line breaks and tabs stay.
pub(crate) fn cover_control(text: &str) -> String {
    let mut characters = text.chars().peekable();
    let mut shown = String::with_capacity(text.len());
    while let Some(c) = characters.next() {
        let ends_line = c == '\n' || (c == '\r' && characters.peek() == Some(&'\n'));
        shown.push(match c.len_utf8() {
            _ if ends_line || c == '\t' || !misleads(c) => c,
            1 => '?',
            2 => '¿',
            _ => char::REPLACEMENT_CHARACTER,
        });
    }
    shown
}

/// Whether the character does something to a text rather than stand in it.
pub(crate) fn misleads(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}' | '\u{2029}'
            | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Two digits a byte.
pub(crate) fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn texts_that_mislead_are_shown_as_they_are() {
        insta::assert_snapshot!(
            escape_control("bell\u{7} nel\u{85} bidi\u{202e} line\nend"),
            @r"bell\u{7} nel\u{85} bidi\u{202e} line\nend"
        );
        assert_eq!(escape_control("a\u{1b}[2Jb"), r"a\u{1b}[2Jb");
        assert_eq!(cover_control("a\u{1b}[2J\r\nb\r"), "a?[2J\r\nb?");
        assert_eq!(escape_json("{\"a\u{202e}\": 1}\n"), "{\"a\\u202e\": 1}\n");
        assert!(matches!(escape_control("größe 表"), Cow::Borrowed(_)));
        assert_eq!(escape_control_lines("a\n\tb\u{1b}"), "a\n    b\\u{1b}");
    }

    #[test]
    fn nothing_but_colors_gets_through() {
        assert_eq!(
            escape_between_colors("\u{1b}[1;31mbad\u{1b}[0m\n\u{1b}[2Jname\u{1b}\u{9b}m\u{1b}["),
            "\u{1b}[1;31mbad\u{1b}[0m\n\\u{1b}[2Jname\\u{1b}\\u{9b}m\\u{1b}["
        );
    }

    proptest! {
        #[test]
        fn what_is_shown_does_not_mislead(text in any::<String>()) {
            prop_assert!(!escape_control(&text).chars().any(misleads));
        }

        #[test]
        fn json_means_the_same(text in any::<String>()) {
            let json = serde_json::to_string(&text).unwrap();
            let escaped = escape_json(&json);
            prop_assert!(!escaped.chars().any(misleads), "{escaped}");
            prop_assert_eq!(serde_json::from_str::<String>(&escaped).unwrap(), text);
        }

        #[test]
        fn what_is_covered_keeps_its_place(text in "[a\\x00-\\x1f\\x7f-\\xa0\u{61c}\u{202e}]*|\\PC*") {
            let covered = cover_control(&text);
            let places = |text: &str| text.char_indices().map(|(at, _)| at).collect::<Vec<_>>();
            prop_assert_eq!(places(&covered), places(&text));
            let plain = covered.replace("\r\n", "").replace(['\n', '\t'], "");
            prop_assert!(!plain.chars().any(misleads), "{covered:?}");
        }
    }
}
