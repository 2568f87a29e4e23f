//! What must hold for any input, a function for each fuzz target.
//!
//! libFuzzer calls them with inputs that it makes up (`make fuzz`); `make test` calls them with every file of
//! the corpora, so that what once failed stays fixed.

pub mod globals;
pub mod journal;
pub mod patterns;
pub mod plan;
pub mod restore_log;

/// Fails where the text would steer a terminal, or show another text than the one that is there.
fn assert_shows_what_it_is(text: &str) {
    let hidden = text
        .chars()
        .find(|&c| c != '\n' && (c.is_control() || ('\u{2028}'..='\u{202e}').contains(&c)));
    assert_eq!(hidden, None, "in {text:?}");
}
