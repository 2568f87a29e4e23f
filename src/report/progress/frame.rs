//! The bars, as lines that fit the terminal.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::tally::{Bar, Tally};
use crate::event::{Progress, Unit};
use crate::names::Kind;
use crate::report::Color;
use crate::report::color::Tone;
use crate::report::format::{bytes, clock, count, counted, short_count};
use crate::report::width::{clip, left, name, right};

/// Rows that bars do not take: the total, the rest, the cursor's line and a spare one.
const ROWS_LEFT: usize = 4;
/// Columns of the longest kind of step, or of a shorter one with ` +1`.
const PHASE: usize = 16;
/// Columns of `99.9k of 99.9k tables`, the widest that is common.
const AMOUNT: usize = 21;
const ELAPSED: usize = 7;
/// Columns that the bar itself may take, at least and at most.
const BAR: std::ops::RangeInclusive<usize> = 8..=60;

/// One line a bar, then what found no room, then the total.
pub(super) fn lines(
    tally: &Tally,
    now: Timestamp,
    columns: usize,
    rows: usize,
    color: Color,
) -> Vec<String> {
    let bars = tally.bars();
    let room = rows.saturating_sub(ROWS_LEFT).max(1);
    let (shown, rest) = bars.split_at(bars.len().min(room));
    let mut lines: Vec<String> = shown
        .iter()
        .map(|bar| line(bar, tally, now, columns))
        .collect();
    if !rest.is_empty() {
        lines.push(clip(&sum_up(rest), columns));
    }
    lines.push(total(tally, bars.len(), now, columns, color));
    lines
}

fn line(bar: &Bar, tally: &Tally, now: Timestamp, columns: usize) -> String {
    let name_columns = tally
        .longest_name
        .max("(server)".len())
        .min((columns / 4).max(8));
    let taken = name_columns + PHASE + AMOUNT + ELAPSED + 4;
    let database = bar
        .id
        .database_name()
        .map(|name| &**name)
        .unwrap_or("(server)");
    let mut line = left(&name(database, name_columns), name_columns);
    line.push(' ');
    line.push_str(&left(&phase(bar), PHASE));
    line.push(' ');
    let room = columns.saturating_sub(taken).min(*BAR.end());
    if BAR.contains(&room) {
        line.push_str(&drawn(bar.step.progress, room));
        line.push(' ');
    }
    let amount = bar.step.progress.map(short_amount).unwrap_or_default();
    line.push_str(&left(&clip(&amount, AMOUNT), AMOUNT));
    line.push(' ');
    line.push_str(&right(&clock(seconds(bar.step.since, now)), ELAPSED));
    clip(&line, columns)
}

fn phase(bar: &Bar) -> String {
    match bar.others {
        0 => bar.id.kind.to_string(),
        others => format!("{} +{others}", bar.id.kind),
    }
}

/// `[####....]`, or blanks where the total is unknown.
fn drawn(progress: Option<Progress>, columns: usize) -> String {
    let room = columns - 2;
    match progress {
        Some(Progress {
            done,
            total: Some(total),
            ..
        }) if total > 0 => {
            // Totals are estimates: what is done may be more.
            let share = (done as f64 / total as f64).min(1.0);
            let full = (share * room as f64) as usize;
            format!("[{}{}]", "#".repeat(full), ".".repeat(room - full))
        }
        _ => " ".repeat(columns),
    }
}

/// `1.2 GB of 3.4 GB`, `12 of 40 tables`, `1.2M rows`.
fn short_amount(progress: Progress) -> String {
    words(progress, short_count)
}

/// The same with whole numbers, for lines.
pub(super) fn amount(progress: Progress) -> String {
    words(progress, count)
}

fn words(progress: Progress, number: fn(u64) -> String) -> String {
    let (number, unit): (fn(u64) -> String, &str) = match progress.unit {
        Unit::Bytes => (bytes, ""),
        Unit::Tables => (number, " table"),
        Unit::Items => (number, " item"),
    };
    let is_one = progress.total.unwrap_or(progress.done) == 1;
    let plural = if unit.is_empty() || is_one { "" } else { "s" };
    match progress.total {
        Some(total) => format!(
            "{} of {}{unit}{plural}",
            number(progress.done),
            number(total)
        ),
        None => format!("{}{unit}{plural}", number(progress.done)),
    }
}

/// `… and 3 more under way: dump 2, restore 1`.
fn sum_up(rest: &[Bar]) -> String {
    let mut kinds: BTreeMap<Kind, usize> = BTreeMap::new();
    for bar in rest {
        *kinds.entry(bar.id.kind).or_default() += 1;
    }
    let kinds: Vec<String> = kinds
        .iter()
        .map(|(kind, number)| format!("{kind} {number}"))
        .collect();
    format!(
        "… and {} more under way: {}",
        count(rest.len() as u64),
        kinds.join(", ")
    )
}

fn total(tally: &Tally, under_way: usize, now: Timestamp, columns: usize, color: Color) -> String {
    let elapsed = clock(tally.started.map_or(0, |started| seconds(started, now)));
    let text = format!("{}, {} under way", sums(tally), count(under_way as u64));
    let room = columns.saturating_sub(elapsed.len() + 1);
    let tone = match tally.databases_failed {
        0 => Tone::Plain,
        _ => Tone::Bad,
    };
    let text = left(&clip(&text, room), room);
    format!("{} {elapsed}", color.paint(tone, &text))
}

/// `12 of 68 steps, 3 of 12 databases done, 1 failed`.
pub(super) fn sums(tally: &Tally) -> String {
    let mut text = format!(
        "{} of {}, {} of {} done",
        count(tally.steps_done as u64),
        counted(tally.steps, "step"),
        count(tally.databases_done as u64),
        counted(tally.databases, "database"),
    );
    if tally.databases_failed > 0 {
        text.push_str(&format!(
            ", {} failed",
            count(tally.databases_failed as u64)
        ));
    }
    text
}

fn seconds(since: Timestamp, now: Timestamp) -> u64 {
    // A clock that was set back shows no time rather than a wrong one.
    u64::try_from(now.as_second() - since.as_second()).unwrap_or(0)
}
