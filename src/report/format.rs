//! Numbers as people read them.

use jiff::{Timestamp, Unit};

/// A size in PostgreSQL's units, which are powers of 1024 (PostgreSQL manual, 20.1.1): `1.2 GB`.
pub(super) fn bytes(bytes: u64) -> String {
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64;
    let mut unit = "B";
    for larger in ["kB", "MB", "GB", "TB", "PB", "EB"] {
        // What would round to 1024 is written as 1.0 of the next unit.
        if value < 1023.5 {
            break;
        }
        value /= 1024.0;
        unit = larger;
    }
    if value < 99.95 {
        format!("{value:.1} {unit}")
    } else {
        format!("{value:.0} {unit}")
    }
}

/// A number with thousands separators: `1,234,567`.
pub(super) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A number in at most five characters, where room is scarce: `999`, `12.3k`, `1.2M`, `3.4bn`.
pub(super) fn short_count(number: u64) -> String {
    let (value, unit) = match number {
        0..1_000 => return number.to_string(),
        1_000..999_500 => (number as f64 / 1e3, "k"),
        999_500..999_500_000 => (number as f64 / 1e6, "M"),
        _ => (number as f64 / 1e9, "bn"),
    };
    if value < 99.95 {
        format!("{value:.1}{unit}")
    } else {
        format!("{value:.0}{unit}")
    }
}

/// A number and what it counts: `1 step`, `2 steps`.
pub(crate) fn counted(number: usize, one: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {one}{plural}", count(number as u64))
}

/// How long something took: `42.1 s`, `12m 30s`, `1h 02m 03s`, `2d 03h 04m`.
pub(super) fn duration(seconds: f64) -> String {
    if seconds < 59.95 {
        return format!("{:.1} s", seconds.max(0.0));
    }
    let whole = seconds.round() as u64;
    let (days, hours) = (whole / 86_400, whole / 3_600 % 24);
    let (minutes, seconds) = (whole / 60 % 60, whole % 60);
    if days > 0 {
        format!("{days}d {hours:02}h {minutes:02}m")
    } else if hours > 0 {
        format!("{hours}h {minutes:02}m {seconds:02}s")
    } else {
        format!("{minutes}m {seconds:02}s")
    }
}

/// The same, as a clock that runs: `0:42`, `12:30`, `1:02:03`.
pub(super) fn clock(seconds: u64) -> String {
    let (hours, minutes, seconds) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    if hours > 0 {
        format!("{hours}:{minutes:02}:{seconds:02}")
    } else {
        format!("{minutes}:{seconds:02}")
    }
}

/// Seconds from one time to the other by the clock of this machine; 0 where it was set back in between.
pub(super) fn seconds_between(from: Timestamp, to: Timestamp) -> f64 {
    (to - from).total(Unit::Second).unwrap_or(0.0).max(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sizes_have_postgresqls_units() {
        let sizes = [
            0,
            1023,
            1024,
            1_288_490_189,
            1 << 40,
            (1 << 20) - 1,
            1 << 60,
        ];
        assert_eq!(
            sizes.map(bytes),
            [
                "0 B", "1023 B", "1.0 kB", "1.2 GB", "1.0 TB", "1.0 MB", "1.0 EB"
            ]
        );
        assert_eq!(bytes(1023 << 20), "1023 MB");
    }

    #[test]
    fn counts_have_separators_or_units() {
        assert_eq!(
            [0, 999, 1_000, 1_234_567].map(count),
            ["0", "999", "1,000", "1,234,567"]
        );
        assert_eq!(
            [999, 1_000, 999_499, 999_500, 1_234_567_890].map(short_count),
            ["999", "1.0k", "999k", "1.0M", "1.2bn"]
        );
        assert_eq!(counted(1, "step"), "1 step");
        assert_eq!(counted(1_000, "step"), "1,000 steps");
    }

    #[test]
    fn durations_keep_the_two_or_three_largest_units() {
        assert_eq!(
            [0.04, 42.13, 59.96, 750.0, 3_723.0, 183_840.0].map(duration),
            [
                "0.0 s",
                "42.1 s",
                "1m 00s",
                "12m 30s",
                "1h 02m 03s",
                "2d 03h 04m"
            ]
        );
        assert_eq!(
            [0, 42, 750, 3_723, 360_000].map(clock),
            ["0:00", "0:42", "12:30", "1:02:03", "100:00:00"]
        );
    }

    proptest! {
        #[test]
        fn separators_change_no_digit(number: u64) {
            prop_assert_eq!(count(number).replace(',', ""), number.to_string());
        }

        #[test]
        fn sizes_are_short(number: u64) {
            prop_assert!(bytes(number).len() <= 7, "{}", bytes(number));
        }
    }
}
