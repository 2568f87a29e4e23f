//! The plan file: from TOML text to a validated [`Plan`]. No network and no catalog here.
//!
//! `document` holds the file's shape (serde, JSON Schema), `model` what the rest of the program
//! works with.

mod model;

pub use model::*;
