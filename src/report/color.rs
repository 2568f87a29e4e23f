//! Colours of texts for people.

use std::borrow::Cow;

/// Whether a text may hold colours. `--color`, `NO_COLOR` and what stdout is are the caller's affair.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Color {
    On,
    Off,
}

/// What a colour stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tone {
    Plain,
    Heading,
    Good,
    Attention,
    Bad,
}

impl Color {
    /// The text in the tone's colour (ECMA-48 "Select Graphic Rendition").
    pub(super) fn paint(self, tone: Tone, text: &str) -> Cow<'_, str> {
        let code = match (self, tone) {
            (Color::Off, _) | (Color::On, Tone::Plain) => return Cow::Borrowed(text),
            (Color::On, Tone::Heading) => 1,
            (Color::On, Tone::Good) => 32,
            (Color::On, Tone::Attention) => 33,
            (Color::On, Tone::Bad) => 31,
        };
        Cow::Owned(format!("\x1b[{code}m{text}\x1b[0m"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paints_only_when_it_may_and_there_is_something_to_say() {
        assert_eq!(Color::Off.paint(Tone::Bad, "x"), "x");
        assert_eq!(Color::On.paint(Tone::Plain, "x"), "x");
        assert_eq!(Color::On.paint(Tone::Bad, "x"), "\x1b[31mx\x1b[0m");
    }
}
