//! Cuts the output of `pg_dumpall` into statements.

use super::lexer::{TokenKind, tokens};

/// A part of a script for psql. The parts of a script, one after the other, are the script.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Piece<'a> {
    /// One statement with its semicolon, from its first token on.
    Statement(&'a str),
    /// A command for psql, such as `\restrict TOKEN`. A server does not know it.
    PsqlCommand(&'a str),
    /// White space and comments between statements.
    Filler(&'a str),
    /// A statement without an end: the script was cut off.
    Unterminated(&'a str),
}

/// The script ends in the middle of a statement, or of a comment.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the output of pg_dumpall ends inside the statement that starts in line {line}; it was cut off, \
     so none of it is used"
)]
pub struct Truncated {
    /// Counted from 1.
    pub line: usize,
}

/// The parts of a script, nothing left out.
pub fn pieces(script: &str) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    // Where the statement under way starts, and where the filler under way starts.
    let mut statement = None;
    let mut filler = 0;
    for token in tokens(script) {
        let (start, end) = (token.span.start, token.span.end);
        let is_filler = matches!(token.kind, TokenKind::Space | TokenKind::Comment);
        if statement.is_none() && !is_filler && filler < start {
            pieces.push(Piece::Filler(&script[filler..start]));
        }
        match token.kind {
            TokenKind::PsqlCommand if statement.is_none() => {
                pieces.push(Piece::PsqlCommand(&script[token.span]));
                filler = end;
            }
            TokenKind::Semicolon => {
                let first = statement.take().unwrap_or(start);
                pieces.push(Piece::Statement(&script[first..end]));
                filler = end;
            }
            _ if !is_filler => {
                statement.get_or_insert(start);
            }
            _ => {}
        }
    }
    match statement {
        Some(start) => pieces.push(Piece::Unterminated(&script[start..])),
        None if filler < script.len() => pieces.push(Piece::Filler(&script[filler..])),
        None => {}
    }
    pieces
}

/// The statements of a script, without their semicolons.
///
/// # Errors
///
/// [`Truncated`], where the script ends inside a statement: what was lost with its end is unknown.
pub fn statements(script: &str) -> Result<Vec<&str>, Truncated> {
    let mut statements = Vec::new();
    for piece in pieces(script) {
        match piece {
            Piece::Statement(text) => {
                let text = text.strip_suffix(';').unwrap_or(text).trim_end();
                if !text.is_empty() {
                    statements.push(text);
                }
            }
            Piece::PsqlCommand(_) | Piece::Filler(_) => {}
            Piece::Unterminated(text) => {
                // It is the last piece, so what stands before it is all the rest.
                let before = &script[..script.len() - text.len()];
                return Err(Truncated {
                    line: before.matches('\n').count() + 1,
                });
            }
        }
    }
    Ok(statements)
}

/// Whether the script has its closing line, after its last statement. One that ends between two statements looks whole
/// without it, and the roles that are missing would be missing silently.
pub(crate) fn has_closing_line(script: &str) -> bool {
    let pieces = pieces(script);
    let after_statements = pieces
        .iter()
        .rev()
        .take_while(|piece| !matches!(piece, Piece::Statement(_) | Piece::Unterminated(_)));
    after_statements.into_iter().any(|piece| match piece {
        Piece::Filler(text) => text.lines().any(|line| line == CLOSING_LINE),
        _ => false,
    })
}

/// No version translates it.
const CLOSING_LINE: &str = "-- PostgreSQL database cluster dump complete";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::postgres::{quote_identifier, quote_literal};

    fn join(pieces: &[Piece<'_>]) -> String {
        pieces
            .iter()
            .map(|piece| match piece {
                Piece::Statement(text)
                | Piece::PsqlCommand(text)
                | Piece::Filler(text)
                | Piece::Unterminated(text) => *text,
            })
            .collect()
    }

    #[test]
    fn psql_commands_and_comments_are_left_out() {
        let script = "--\n-- it's a dump;\n--\n\n\\restrict 'abc;\n\nSET a = off;\n/* x; /* y */ */\n\
                      CREATE ROLE b; ALTER ROLE b\n  -- why; it's\n  WITH LOGIN ;;\n\\unrestrict abc\n\n";
        assert_eq!(
            statements(script).unwrap(),
            [
                "SET a = off",
                "CREATE ROLE b",
                "ALTER ROLE b\n  -- why; it's\n  WITH LOGIN",
            ]
        );
        assert_eq!(join(&pieces(script)), script);
    }

    #[test]
    fn backslashes_inside_of_quotes_are_no_commands() {
        let script = "COMMENT ON ROLE \"a\n\\connect b\" IS E'x\n\\\\connect c;\n';\n";
        assert_eq!(
            statements(script).unwrap(),
            [script.trim_end().trim_end_matches(';')]
        );
    }

    #[test]
    fn a_cut_script_is_refused() {
        for cut in [
            "SET a = 1;\n\nALTER ROLE b PASSWORD 'c",
            "SET a = 1;\n\nGRANT a TO b",
            "SET a = 1;\n\n/* b",
        ] {
            insta::allow_duplicates! {
                insta::assert_snapshot!(statements(cut).unwrap_err(), @"the output of pg_dumpall ends inside the statement that starts in line 3; it was cut off, so none of it is used");
            }
        }
    }

    /// The counts are those of psql, which answers each statement with a tag or an error.
    #[test]
    fn real_dumps_split_into_whole_statements() {
        for (script, count) in [
            (
                include_str!("../../../tests/globals/server-10-client-17.sql"),
                63,
            ),
            (
                include_str!("../../../tests/globals/server-10-client-18.sql"),
                63,
            ),
            (
                include_str!("../../../tests/globals/server-14-client-17.sql"),
                63,
            ),
            (
                include_str!("../../../tests/globals/server-14-client-18.sql"),
                63,
            ),
            (
                include_str!("../../../tests/globals/server-16-client-17.sql"),
                71,
            ),
            (
                include_str!("../../../tests/globals/server-16-client-18.sql"),
                71,
            ),
        ] {
            assert_eq!(join(&pieces(script)), script);
            assert!(has_closing_line(script));
            let cut = script.rfind("\n-- PostgreSQL").unwrap();
            assert!(!has_closing_line(&script[..cut]));
            let statements = statements(script).unwrap();
            assert_eq!(statements.len(), count);
            for statement in statements {
                let word = statement.split(' ').next().unwrap();
                assert!(
                    ["SET", "RESET", "CREATE", "ALTER", "COMMENT", "GRANT"].contains(&word),
                    "{statement}"
                );
            }
        }
    }

    /// Text that a lexer may stumble over.
    fn nasty() -> impl Strategy<Value = String> {
        "[a-zE$'\"\\\\;/*\n -]{0,30}|\\PC{0,20}"
    }

    proptest! {
        #[test]
        fn nothing_is_lost(script in nasty()) {
            prop_assert_eq!(join(&pieces(&script)), script);
        }

        #[test]
        fn quoted_content_stays_in_its_statement(
            contents in prop::collection::vec((nasty(), nasty(), nasty()), 1..5)
        ) {
            let written: Vec<String> = contents
                .iter()
                .map(|(name, text, comment)| {
                    let comment = comment.replace(['\n', '\r'], " ");
                    format!(
                        "COMMENT ON ROLE {} -- {comment}\n IS {}",
                        quote_identifier(name),
                        quote_literal(text)
                    )
                })
                .collect();
            let script: String = written
                .iter()
                .map(|statement| format!("-- a\n{statement};\n\\connect 'b\n"))
                .collect();
            prop_assert_eq!(statements(&script).unwrap(), written);
        }
    }
}
