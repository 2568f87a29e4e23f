//! `[[waive]]`: findings that the plan accepts until a date, and waivers that are of no use.

use jiff::civil::Date;

use crate::finding::{Code, Finding, Place, Severity};
use crate::plan::Waive;

/// Turns findings that the plan waives into information, for as long as the waiver holds, and adds what there is to say
/// of the waivers themselves. To be called once everything else was found.
pub(crate) fn waive(findings: &mut Vec<Finding>, waivers: &[Waive], today: Date) {
    let mut matches = vec![0; waivers.len()];
    for finding in findings.iter_mut() {
        let subject = finding.subject();
        let mut is_waived = false;
        for (waiver, count) in waivers.iter().zip(&mut matches) {
            if waiver.code != finding.code || !is_for(waiver, &subject) {
                continue;
            }
            *count += 1;
            // One waiver is enough, but another that matches as well is not without use.
            if !is_waived && holds(waiver, today) {
                is_waived = true;
                accept(finding, waiver);
            }
        }
    }
    let waivers = waivers.iter().zip(matches);
    findings.extend(waivers.filter_map(|(waiver, matches)| about(waiver, matches, today)));
}

/// Whether the plan waives a finding of this code that is about the migration as a whole.
pub(crate) fn is_waived(code: Code, waivers: &[Waive], today: Date) -> bool {
    is_waived_for(code, "", waivers, today)
}

/// Whether the plan waives a finding of this code about this subject.
pub(crate) fn is_waived_for(code: Code, subject: &str, waivers: &[Waive], today: Date) -> bool {
    let mut waivers = waivers.iter().filter(|waiver| waiver.code == code);
    waivers.any(|waiver| is_for(waiver, subject) && holds(waiver, today))
}

/// One of a promotion names it: who looked at one knows nothing of the next.
fn is_for(waiver: &Waive, subject: &str) -> bool {
    match waiver.code.place() {
        Place::Timeline => waiver.object.glob().glob() == subject,
        _ => waiver.object.is_match(subject),
    }
}

/// Through its last day.
fn holds(waiver: &Waive, today: Date) -> bool {
    today <= waiver.until
}

fn accept(finding: &mut Finding, waiver: &Waive) {
    finding.waived = Some(finding.severity);
    finding.severity = Severity::Info;
    finding.message = format!(
        "{} (waived until {}: {})",
        finding.message, waiver.until, waiver.reason
    );
    finding.fix = None;
}

/// `matches`: how many findings it names, whether it still holds or not.
fn about(waiver: &Waive, matches: usize, today: Date) -> Option<Finding> {
    if !holds(waiver, today) {
        Some(expired(waiver, matches))
    } else if matches == 0 {
        Some(matches_nothing(waiver))
    } else {
        None
    }
}

fn expired(waiver: &Waive, matches: usize) -> Finding {
    let (what, fix) = match matches {
        0 => ("and matches no finding now", "remove the [[waive]] entry"),
        _ => (
            "and the findings that it matches have their own severity again",
            "fix what was waived and remove the [[waive]] entry, or look at its reason again and set a later `until`",
        ),
    };
    let message = format!("{} ended on {}, {what}", shown(waiver), waiver.until);
    Finding::new(Code::PlanWaiverExpired, message).fix(fix)
}

fn matches_nothing(waiver: &Waive) -> Finding {
    let message = format!("{} matches no finding", shown(waiver));
    let place = waiver.code.place();
    // Nothing is wrong with the entry itself then.
    let matches_all_there_can_be = place == Place::Migration && waiver.object.is_match("");
    let fix = if matches_all_there_can_be {
        "remove the [[waive]] entry".to_owned()
    } else {
        format!(
            "remove the [[waive]] entry, or correct its `object`, which is compared with {}",
            place.subject()
        )
    };
    Finding::new(Code::PlanWaiverMatchesNothing, message).fix(fix)
}

fn shown(waiver: &Waive) -> String {
    format!(
        "the waiver of {} for {:?}",
        waiver.code,
        waiver.object.glob().glob()
    )
}
