//! Cuts SQL text into tokens by the rules of PostgreSQL's lexer (manual, 4.1 "Lexical Structure").
//!
//! Strings without a prefix are read with `standard_conforming_strings = on`. A dump of a server
//! where it is off reads the same: pg_dumpall writes every string with a backslash as `E'…'`.

use std::ops::Range;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TokenKind {
    /// A key word or an identifier without quotes.
    Word,
    /// `"…"`
    QuotedIdentifier,
    /// `'…'`, `E'…'` or `$tag$…$tag$`.
    String,
    Semicolon,
    /// Any other character, one at a time.
    Symbol,
    /// White space, up to the next thing that is none.
    Space,
    /// `-- …` to the end of the line, or `/* … */`, which nests.
    Comment,
    /// A backslash outside of every other token starts a command for psql, up to the end of the line.
    PsqlCommand,
    /// The text ends inside a string, a quoted identifier or a comment.
    Unterminated,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Token {
    pub kind: TokenKind,
    /// Bytes of the text. The tokens of a text lie side by side and cover all of it.
    pub span: Range<usize>,
}

/// The tokens of a text, in order.
pub(super) fn tokens(text: &str) -> Lexer<'_> {
    Lexer { text, at: 0 }
}

pub(super) struct Lexer<'a> {
    text: &'a str,
    at: usize,
}

impl Iterator for Lexer<'_> {
    type Item = Token;

    fn next(&mut self) -> Option<Token> {
        let rest = &self.text[self.at..];
        let first = rest.chars().next()?;
        let (kind, length) = match first {
            ';' => (TokenKind::Semicolon, 1),
            '\\' => (TokenKind::PsqlCommand, line_length(rest)),
            '"' => terminated(
                TokenKind::QuotedIdentifier,
                rest,
                quoted_length(rest, '"', false),
            ),
            '\'' => terminated(TokenKind::String, rest, quoted_length(rest, '\'', false)),
            'E' | 'e' if rest[1..].starts_with('\'') => {
                let length = quoted_length(&rest[1..], '\'', true).map(|length| length + 1);
                terminated(TokenKind::String, rest, length)
            }
            '$' => match dollar_tag(rest) {
                Some(tag) => terminated(TokenKind::String, rest, dollar_length(rest, tag)),
                None => (TokenKind::Symbol, 1),
            },
            '-' if rest.starts_with("--") => (TokenKind::Comment, line_length(rest)),
            '/' if rest.starts_with("/*") => {
                terminated(TokenKind::Comment, rest, comment_length(rest))
            }
            _ if is_space(first) => (TokenKind::Space, length_while(rest, is_space)),
            _ if is_identifier_start(first) => (
                TokenKind::Word,
                length_while(rest, |c| {
                    is_identifier_start(c) || c.is_ascii_digit() || c == '$'
                }),
            ),
            _ => (TokenKind::Symbol, first.len_utf8()),
        };
        let span = self.at..self.at + length;
        self.at = span.end;
        Some(Token { kind, span })
    }
}

/// The white space of PostgreSQL's lexer.
pub(super) fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r' | '\x0b' | '\x0c')
}

fn is_identifier_start(c: char) -> bool {
    c.is_ascii_alphabetic() || c == '_' || !c.is_ascii()
}

fn length_while(text: &str, belongs: impl Fn(char) -> bool) -> usize {
    text.find(|c| !belongs(c)).unwrap_or(text.len())
}

/// Up to the end of the line, which does not belong to it.
fn line_length(text: &str) -> usize {
    length_while(text, |c| c != '\n' && c != '\r')
}

fn terminated(kind: TokenKind, rest: &str, length: Option<usize>) -> (TokenKind, usize) {
    match length {
        Some(length) => (kind, length),
        None => (TokenKind::Unterminated, rest.len()),
    }
}

/// The length of a quoted text from its opening quote to its closing one. Two quotes stand for one
/// inside it, and with `escapes` a backslash takes the next character along.
fn quoted_length(text: &str, quote: char, escapes: bool) -> Option<usize> {
    let mut characters = text.char_indices().skip(1).peekable();
    while let Some((at, c)) = characters.next() {
        if escapes && c == '\\' {
            characters.next();
        } else if c == quote && characters.next_if(|&(_, next)| next == quote).is_none() {
            return Some(at + c.len_utf8());
        }
    }
    None
}

/// `$tag$` at the start of the text, where the tag may be empty.
fn dollar_tag(text: &str) -> Option<&str> {
    let name = &text[1..];
    let length = length_while(name, |c| is_identifier_start(c) || c.is_ascii_digit());
    let starts_well = !name.starts_with(|c: char| c.is_ascii_digit());
    (starts_well && name[length..].starts_with('$')).then(|| &text[..length + 2])
}

fn dollar_length(text: &str, tag: &str) -> Option<usize> {
    let body = &text[tag.len()..];
    body.find(tag).map(|at| tag.len() + at + tag.len())
}

fn comment_length(text: &str) -> Option<usize> {
    let mut depth = 0usize;
    let mut at = 0;
    while at < text.len() {
        let rest = &text.as_bytes()[at..];
        if rest.starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if rest.starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return Some(at);
            }
        } else {
            at += 1;
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn lex(text: &str) -> Vec<(TokenKind, &str)> {
        tokens(text)
            .filter(|token| token.kind != TokenKind::Space)
            .map(|token| (token.kind, &text[token.span]))
            .collect()
    }

    #[test]
    fn quotes_of_every_kind_are_one_token() {
        use TokenKind::*;
        for (text, kind) in [
            (r#""a""b;\""#, QuotedIdentifier),
            (r"'it''s; \'", String),
            (r"E'it\'s; \\'", String),
            (r"e'\\''x'", String),
            ("$$ ' ; \" $x$ $$", String),
            ("$tag$ $$ ; $other$ $tag$", String),
            ("-- it's ; \\", Comment),
            ("/* a /* b ; */ ' */", Comment),
            (r"\restrict abc;'", PsqlCommand),
            ("größe$1", Word),
        ] {
            assert_eq!(lex(text), [(kind, text)]);
        }
    }

    #[test]
    fn neighbours_stay_apart() {
        use TokenKind::*;
        assert_eq!(
            lex("a'b'E'c'$1x$$;-/"),
            [
                (Word, "a"),
                (String, "'b'"),
                (String, "E'c'"),
                (Symbol, "$"),
                (Symbol, "1"),
                (Word, "x$$"),
                (Semicolon, ";"),
                (Symbol, "-"),
                (Symbol, "/"),
            ]
        );
    }

    #[test]
    fn what_has_no_end_takes_the_rest() {
        for text in ["'a''", "E'a\\'", "\"a", "$x$ a $$", "/* /* */", "E'\\"] {
            assert_eq!(lex(text), [(TokenKind::Unterminated, text)]);
        }
    }

    proptest! {
        #[test]
        fn tokens_cover_the_text(text in "[a-zE$'\"\\\\;/*\n -]{0,40}|\\PC{0,40}") {
            let mut end = 0;
            for token in tokens(&text) {
                prop_assert_eq!(token.span.start, end);
                prop_assert!(token.span.end > end);
                end = token.span.end;
            }
            prop_assert_eq!(end, text.len());
        }
    }
}
