//! What each kind of text can do: parse itself, and say why it cannot.

/// Why a text is not what its key wants.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::plan) struct Invalid {
    /// Goes on after the key's name: "is not a duration".
    pub message: String,
    pub help: String,
}

pub(super) fn invalid<T>(message: &str, help: impl Into<String>) -> Result<T, Invalid> {
    Err(Invalid {
        message: message.to_owned(),
        help: help.into(),
    })
}

/// A kind of text.
pub(in crate::plan) trait Scalar: Sized {
    /// The schema's `format`.
    const FORMAT: &'static str;
    /// The schema's `pattern` (ECMA 262): what every accepted text matches.
    const PATTERN: &'static str;

    fn parse(text: &str) -> Result<Self, Invalid>;
}
