//! Text on a grid: a terminal's columns, which are neither bytes nor characters.

use textwrap::core::Word;
use textwrap::wrap_algorithms::wrap_first_fit;
use textwrap::{WordSeparator, WordSplitter, WrapAlgorithm};
use unicode_width::UnicodeWidthChar;

use crate::postgres::escape_control;

/// How many columns the text takes. It holds no control characters.
///
/// Character by character, as terminals do it: most know nothing of sequences that form one emoji.
pub(super) fn width(text: &str) -> usize {
    text.chars().filter_map(UnicodeWidthChar::width).sum()
}

/// A name without control characters, at most `columns` wide: what is too long loses its middle,
/// since databases that belong together often begin or end alike.
pub(super) fn name(name: &str, columns: usize) -> String {
    let escaped = escape_control(name);
    if width(&escaped) <= columns {
        return escaped.into_owned();
    }
    let Some(room) = columns.checked_sub(1) else {
        return String::new();
    };
    let tail = room / 2;
    let mut head = cut(escaped.chars(), room - tail);
    let mut end = cut(escaped.chars().rev(), tail);
    // A combining mark does not stand at the start of the tail, without its letter.
    while end.last().is_some_and(|c| c.width() == Some(0)) {
        end.pop();
    }
    head.push('…');
    head.extend(end.into_iter().rev());
    head.into_iter().collect()
}

/// The text's beginning, at most `columns` wide, with `…` where something is missing.
pub(super) fn clip(text: &str, columns: usize) -> String {
    if width(text) <= columns {
        return text.to_owned();
    }
    let mut kept = cut(text.chars(), columns.saturating_sub(1));
    kept.extend(std::iter::repeat_n('…', columns.min(1)));
    kept.into_iter().collect()
}

fn cut(chars: impl Iterator<Item = char>, columns: usize) -> Vec<char> {
    let mut taken = 0;
    chars
        .take_while(|c| {
            taken += c.width().unwrap_or(0);
            taken <= columns
        })
        .collect()
}

/// The text, filled up with blanks on its right.
pub(super) fn left(text: &str, columns: usize) -> String {
    let blanks = columns.saturating_sub(width(text));
    format!("{text}{:blanks$}", "")
}

/// The text, filled up with blanks on its left.
pub(super) fn right(text: &str, columns: usize) -> String {
    let blanks = columns.saturating_sub(width(text));
    format!("{:blanks$}{text}", "")
}

/// Appends the text as lines of at most `columns`: the first behind `first`, the others indented
/// as far as `first` is wide. Line breaks of the text stay, a tab becomes blanks, other control
/// characters are escaped. A word that is too long for a line stays whole, so that a name or a path can
/// still be copied.
pub(super) fn wrap(out: &mut String, first: &str, text: &str, columns: usize) {
    let indent = " ".repeat(width(first));
    let mut prefix = first;
    for line in text.lines().chain(text.is_empty().then_some("")) {
        let line = line.trim_end().replace('\t', "    ");
        let line = escape_control(&line);
        let own = &line[..line.len() - line.trim_start().len()];
        let (begin, go_on) = (format!("{prefix}{own}"), format!("{indent}{own}"));
        prefix = &indent;
        if line.is_empty() {
            // textwrap leaves the indentation of an empty text out.
            out.push_str(begin.trim_end());
            out.push('\n');
            continue;
        }
        let options = whole_words(columns)
            .initial_indent(&begin)
            .subsequent_indent(&go_on);
        for wrapped in textwrap::wrap(&line[own.len()..], options) {
            out.push_str(wrapped.trim_end());
            out.push('\n');
        }
    }
}

/// Lines end only between words: neither at a hyphen nor in a word that is too long.
fn whole_words<'a>(columns: usize) -> textwrap::Options<'a> {
    textwrap::Options::new(columns)
        .break_words(false)
        .word_separator(WordSeparator::AsciiSpace)
        .word_splitter(WordSplitter::NoHyphenation)
        .wrap_algorithm(WrapAlgorithm::FirstFit)
}

/// The words of a command in lines of at most `columns`, for the first line and for the others. A word may hold blanks, and
/// one that is too long stays whole.
pub(super) fn command_lines(words: &[String], columns: [usize; 2]) -> Vec<String> {
    let words: Vec<Word> = words
        .iter()
        .map(|word| Word {
            whitespace: " ",
            ..Word::from(word)
        })
        .collect();
    let text = |line: &[Word]| {
        line.iter()
            .map(|word| word.word)
            .collect::<Vec<_>>()
            .join(" ")
    };
    let lines = wrap_first_fit(&words, &columns.map(|columns| columns as f64));
    lines.into_iter().map(text).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn long_names_lose_their_middle() {
        assert_eq!(name("customers_of_2024_archive", 12), "custom…chive");
        assert_eq!(name("customers", 9), "customers");
        assert_eq!(name("ドキュメント管理データベース", 11), "ドキ…ース");
        assert_eq!(name("x", 0), "");
    }

    #[test]
    fn text_is_wrapped_between_words() {
        let mut out = String::new();
        wrap(
            &mut out,
            "  fix: ",
            "ALTER TABLE public.t SET WITHOUT OIDS;\n  a line with its own indentation\na_word_that_is_too_long_for_the_line",
            30,
        );
        insta::assert_snapshot!(out, @r"
          fix: ALTER TABLE public.t
               SET WITHOUT OIDS;
                 a line with its own
                 indentation
               a_word_that_is_too_long_for_the_line
        ");
    }

    proptest! {
        #[test]
        fn names_fit_and_steer_nothing(text in "\\PC{0,30}|[\\x00-\\x7f]{0,30}|[あ-ん]{0,30}", columns in 0usize..40) {
            let short = name(&text, columns);
            prop_assert!(width(&short) <= columns);
            prop_assert!(!short.contains(char::is_control));
            prop_assert!(width(&clip(&escape_control(&text), columns)) <= columns);
        }

        #[test]
        fn wrapped_lines_fit(words in proptest::collection::vec("[a-z]{1,9}", 1..40), columns in 14usize..40) {
            let mut out = String::new();
            wrap(&mut out, "  - ", &words.join(" "), columns);
            for line in out.lines() {
                prop_assert!(width(line) <= columns);
            }
            prop_assert_eq!(out.split_whitespace().skip(1).collect::<Vec<_>>(), words);
        }
    }
}
