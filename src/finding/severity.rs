//! How much a finding matters.

use serde::Serialize;

/// How much a finding matters, the most severe first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The run does not start.
    Block,
    /// Something will be lost or different unless it is fixed.
    Fix,
    Warn,
    Info,
}

impl Severity {
    pub const ALL: [Severity; 4] = [
        Severity::Block,
        Severity::Fix,
        Severity::Warn,
        Severity::Info,
    ];

    /// The word in every format of the plan.
    pub fn as_str(self) -> &'static str {
        match self {
            Severity::Block => "block",
            Severity::Fix => "fix",
            Severity::Warn => "warn",
            Severity::Info => "info",
        }
    }
}
