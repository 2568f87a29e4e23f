//! What a person or a script reads of a run: progress while it is under way, its report, the status of a
//! plan, the plan itself. Everything here consumes events, the graph and the replayed journal, and
//! controls nothing.
//!
//! | module | reads | writes |
//! | --- | --- | --- |
//! | [`progress`] | events | bars or lines on stderr |
//! | [`document`] | journal, steps | `report.json` |
//! | [`summary`], [`html`] | the report | text, a page |
//! | [`status`] | journal, steps | text, JSON |
//! | [`closed`] | journal | sentences of the three |
//! | [`comparison`] | what was compared | text |
//! | [`diagnostic`] | errors | text |
//! | [`explain`] | the codes of findings, topics | text |
//! | [`plan_text`], [`plan_json`], [`plan_markdown`], [`plan_diagram`] | the graph | what `pg-migrate plan` prints |
//!
//! Names of a server's objects can hold anything: they go through
//! [`crate::postgres::escape_control`] before a person reads them.

pub(crate) mod closed;
mod color;
pub(crate) mod comparison;
pub mod diagnostic;
pub(crate) mod document;
pub(crate) mod explain;
mod format;
pub(crate) mod html;
pub(crate) mod plan_diagram;
pub(crate) mod plan_json;
pub(crate) mod plan_markdown;
pub(crate) mod plan_text;
pub(crate) mod progress;
#[cfg(test)]
mod samples;
pub(crate) mod status;
pub(crate) mod summary;
mod width;

pub use color::Color;
pub(crate) use format::counted;
