//! How errors look on a terminal.

use miette::{GraphicalReportHandler, GraphicalTheme};
use textwrap::{WordSeparator, WordSplitter};

use super::Color;

/// Renders errors for a terminal of this width. Names and paths stay whole, so that they can be copied: a line
/// ends only between words.
pub fn handler(columns: usize, color: Color) -> GraphicalReportHandler {
    let theme = match color {
        Color::On => GraphicalTheme::unicode(),
        Color::Off => GraphicalTheme::unicode_nocolor(),
    };
    GraphicalReportHandler::new_themed(theme)
        .with_width(columns)
        .with_links(false)
        .with_break_words(false)
        .with_word_separator(WordSeparator::AsciiSpace)
        .with_word_splitter(WordSplitter::NoHyphenation)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_word_is_broken() {
        let path = "/srv/migrations/2027-01/erp-10-to-18/.pg-migrate/erp-10-to-18/journal.jsonl";
        let error = miette::miette!(
            help = "look at the free space of the file system that holds it, then `pg-migrate run` goes on from there",
            "cannot write {path}: No space left on device"
        );
        let mut text = String::new();
        handler(60, Color::Off)
            .render_report(&mut text, error.as_ref())
            .unwrap();
        insta::assert_snapshot!(text, @"
          × cannot write
          │ /srv/migrations/2027-01/erp-10-to-18/.pg-migrate/erp-10-to-18/journal.jsonl:
          │ No space left on device
          help: look at the free space of the file system that
                holds it, then `pg-migrate run` goes on from there
        ");
    }
}
