//! `[[waive]]`: findings that the plan accepts until a date.

use crate::finding::{Finding, Severity};
use crate::plan::Waive;

/// Turns findings that the plan waives into information, for as long as the waiver holds.
pub(crate) fn waive(findings: &mut [Finding], waivers: &[Waive], today: jiff::civil::Date) {
    for finding in findings {
        let subject = finding.subject();
        let waiver = waivers.iter().find(|waiver| {
            waiver.code == finding.code.as_str()
                && waiver.until >= today
                && waiver.object.is_match(&subject)
        });
        if let Some(waiver) = waiver {
            finding.severity = Severity::Info;
            finding.message = format!(
                "{} (waived until {}: {})",
                finding.message, waiver.until, waiver.reason
            );
            finding.fix = None;
        }
    }
}
