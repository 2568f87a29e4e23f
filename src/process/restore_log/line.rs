//! One line of what pg_restore writes to its standard error.

/// How the lines start that pg_restore writes about itself.
const PROGRAM: &str = "pg_restore:";

/// `fatal` is a word of 12.
pub(super) const SEVERITIES: [&str; 2] = ["error: ", "fatal: "];

/// A line that pg_restore began with its name.
///
/// It writes its name, the severity of an error, and the rest in three steps, so workers get
/// between each other's: all beginnings that stand in the line are taken off.
pub(super) struct Line<'a> {
    pub(super) text: &'a str,
    pub(super) is_error: bool,
    /// The name occurs more than once in it, so the rest of another line comes without it.
    pub(super) torn: bool,
}

impl<'a> Line<'a> {
    pub(super) fn parse(line: &'a str) -> Option<Line<'a>> {
        let mut text = line.strip_prefix(PROGRAM)?;
        let mut is_error = false;
        let mut torn = false;
        loop {
            text = text.trim_start_matches(' ');
            if let Some(rest) = text.strip_prefix(PROGRAM) {
                torn = true;
                text = rest;
            } else if let Some(rest) = strip_any(text, &SEVERITIES) {
                is_error = true;
                text = rest;
            } else {
                return Some(Line {
                    text,
                    is_error,
                    torn,
                });
            }
        }
    }
}

pub(super) fn strip_any<'a>(text: &'a str, starts: &[&str]) -> Option<&'a str> {
    starts.iter().find_map(|start| text.strip_prefix(start))
}

pub(super) fn starts_with_any(text: &str, starts: &[&str]) -> bool {
    starts.iter().any(|start| text.starts_with(start))
}
