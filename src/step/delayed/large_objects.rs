//! The large objects of a database whose delayed tables are loaded: those came with the regular restore, so for as long as the
//! tables were empty nothing referred to them.

use crate::inspect::count_large_objects;
use crate::names::TableResult;
use crate::plan::Side;
use crate::postgres::Pool;
use crate::step::{Context, StepError};
use crate::verify::large_objects::{REMOVED_BY, missing, result};

/// How many there were, and are.
#[derive(Debug, Clone, Copy)]
struct Numbers {
    /// On the source, when the other tables were dumped.
    source: u64,
    /// On the source, when the delayed tables were dumped, if that was later.
    later: Option<u64>,
    /// On the target, when it was verified.
    verified: u64,
    now: u64,
    /// Of those that were verified, as many are there as they were.
    left: u64,
    is_closed: bool,
    /// The plan waives what a verification found: of a database in use, whose number proves nothing, a person answers for them.
    is_accepted: bool,
}

/// Counts those of the target. `None`: there never were any, or an earlier version of this program counted none.
pub(super) async fn compare(
    context: &Context,
    pool: &Pool,
) -> Result<Option<(TableResult, Option<String>)>, StepError> {
    let source = context.counts(Side::Source)?.large_objects;
    let Some(source) = source else {
        return Ok(None);
    };
    // It was verified: they were as many.
    let target = context.counts(Side::Target).ok();
    let verified = target.and_then(|counts| counts.large_objects);
    // An earlier version did not write down which they were.
    let since = target.and_then(|counts| counts.large_objects_before);
    let now = count_large_objects(pool, &context.stop, since).await?;
    let numbers = Numbers {
        source,
        later: context.delayed_dump()?.large_objects,
        verified: verified.unwrap_or(source),
        now: now.number,
        left: now.before,
        is_closed: context.is_closed,
        is_accepted: context.is_difference_accepted(),
    };
    Ok(judge(numbers))
}

/// The row of the report, and a warning.
fn judge(numbers: Numbers) -> Option<(TableResult, Option<String>)> {
    let Numbers {
        source,
        later,
        verified,
        now,
        left,
        is_closed,
        is_accepted,
    } = numbers;
    let had = later.unwrap_or(source);
    if had == 0 && source == 0 && now == 0 {
        return None;
    }
    // Those that clients made on the target do not make up for them.
    let not_brought = had.saturating_sub(source);
    if not_brought > 0 && (!is_closed || now < had) {
        let note = format!(
            "large objects: {not_brought} of the {had} that the source had when its delayed tables were dumped did not arrive: they \
             were made after the other tables were dumped, and large objects come with those alone"
        );
        let matches = is_accepted && !is_closed;
        let warning = matches.then(|| note.clone());
        return Some((result(had, now, matches, Some(note)), warning));
    }
    if is_closed {
        let note = if now < verified {
            let missing = missing(verified - now, verified);
            Some(format!("{missing}, although no client may connect yet"))
        } else {
            (now > verified && now != had).then(|| {
                format!(
                    "large objects: {verified} were restored, and there are {now}, although no client may connect yet"
                )
            })
        };
        return Some((result(had, now, note.is_none(), note), None));
    }
    let note = if left < verified {
        Some(if left < now {
            format!(
                "large objects: of the {verified} that were restored, {} are not there as they were: they were removed on the target since, \
                 by its clients or by a job ({REMOVED_BY}), or got another owner or other privileges; {} were made or altered by clients",
                verified - left,
                now - left
            )
        } else {
            format!(
                "large objects: {} of the {verified} that were restored were removed on the target since, by its clients or by a job \
                 ({REMOVED_BY})",
                verified - now
            )
        })
    } else {
        (now > verified).then(|| {
            format!(
                "large objects: {verified} were restored, {} were added by clients",
                now - verified
            )
        })
    };
    let warning = note.clone().filter(|_| left < verified);
    Some((result(had, now, true, note), warning))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLOSED: Numbers = Numbers {
        source: 5,
        later: None,
        verified: 5,
        now: 5,
        left: 5,
        is_closed: true,
        is_accepted: false,
    };

    const OPEN: Numbers = Numbers {
        is_closed: false,
        ..CLOSED
    };

    /// Whether they match, and whether there is a warning.
    fn judged(numbers: Numbers) -> Option<(bool, bool)> {
        judge(numbers).map(|(result, warning)| (result.matches, warning.is_some()))
    }

    #[test]
    fn where_no_client_may_connect_another_number_is_a_difference() {
        assert_eq!(judged(CLOSED), Some((true, false)));
        for now in [0, 4, 6] {
            let numbers = Numbers { now, ..CLOSED };
            assert_eq!(judged(numbers), Some((false, false)), "{now}");
        }
    }

    #[test]
    fn clients_may_remove_them_which_is_told() {
        assert_eq!(judged(OPEN), Some((true, false)));
        for now in [4, 5, 6] {
            let numbers = Numbers {
                now,
                left: 4,
                ..OPEN
            };
            assert_eq!(judged(numbers), Some((true, true)), "{now}");
        }
        assert_eq!(judged(Numbers { now: 6, ..OPEN }), Some((true, false)));
    }

    #[test]
    fn those_that_a_later_snapshot_has_more_did_not_arrive() {
        let later = Some(7);
        for numbers in [CLOSED, OPEN] {
            let numbers = Numbers { later, ..numbers };
            assert_eq!(judged(numbers), Some((false, false)));
            let waived = Numbers {
                is_accepted: true,
                ..numbers
            };
            let is_open = !numbers.is_closed;
            assert_eq!(judged(waived), Some((is_open, is_open)));
        }
        // Made by a person, and made by clients.
        let (later, now) = (Some(7), 7);
        let copied = Numbers {
            later,
            now,
            ..CLOSED
        };
        assert_eq!(judged(copied), Some((true, false)));
        let others = Numbers { later, now, ..OPEN };
        assert_eq!(judged(others), Some((false, false)));
    }

    #[test]
    fn those_that_the_source_removed_between_two_snapshots_are_no_difference() {
        for numbers in [CLOSED, OPEN] {
            let later = Some(3);
            assert_eq!(judged(Numbers { later, ..numbers }), Some((true, false)));
        }
    }

    #[test]
    fn a_database_without_any_says_nothing() {
        let none = Numbers {
            source: 0,
            verified: 0,
            now: 0,
            left: 0,
            ..CLOSED
        };
        assert_eq!(judged(none), None);
    }
}
