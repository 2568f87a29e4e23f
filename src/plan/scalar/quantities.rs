//! Durations and sizes, in PostgreSQL's units.

use std::fmt;
use std::time::Duration;

use super::parse::{Invalid, Scalar, invalid};

/// PostgreSQL keeps its timeouts as milliseconds in an `int`.
const LONGEST: Duration = Duration::from_millis(i32::MAX as u64);

/// A time after which we give up. Zero would mean "never" to PostgreSQL, so it is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::plan) struct Timeout(pub Duration);

/// A time to wait, which may be zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::plan) struct Pause(pub Duration);

impl Scalar for Timeout {
    const FORMAT: &'static str = "timeout";
    const PATTERN: &'static str = "^0*[1-9][0-9]* ?(ms|s|m|min|h)$";

    fn parse(text: &str) -> Result<Self, Invalid> {
        let duration = duration(text)?;
        if duration.is_zero() {
            return invalid(
                "is zero",
                "PostgreSQL takes zero for \"wait for ever\"; write a long time instead, \"24h\"",
            );
        }
        Ok(Timeout(duration))
    }
}

impl Scalar for Pause {
    const FORMAT: &'static str = "pause";
    const PATTERN: &'static str = "^[0-9]+ ?(ms|s|m|min|h)$";

    fn parse(text: &str) -> Result<Self, Invalid> {
        duration(text).map(Pause)
    }
}

impl fmt::Display for Timeout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Pause(self.0).fmt(f)
    }
}

impl fmt::Display for Pause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_millis() {
            whole if whole % 1000 == 0 && whole <= 60_000 => write!(f, "{}s", whole / 1000),
            whole if whole % 60_000 == 0 => write!(f, "{}m", whole / 60_000),
            whole if whole % 1000 == 0 => write!(f, "{}s", whole / 1000),
            millis => write!(f, "{millis}ms"),
        }
    }
}

fn duration(text: &str) -> Result<Duration, Invalid> {
    let example = "write a number and a unit, in quotes: \"500ms\", \"10s\", \"5m\" or \"2h\"";
    let Some((number, unit)) = number_and_unit(text) else {
        return invalid("is not a duration", example);
    };
    let millis = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" | "min" => 60 * 1000,
        "h" => 60 * 60 * 1000,
        _ => return invalid("is not a duration", example),
    };
    number
        .and_then(|number| number.checked_mul(millis))
        .map(Duration::from_millis)
        .filter(|duration| *duration <= LONGEST)
        .ok_or_else(|| Invalid {
            message: "is too long".to_owned(),
            help: "PostgreSQL's longest timeout is 2147483647ms, about 24 days".to_owned(),
        })
}

/// `"10 s"` is `(Some(10), "s")`; a number that does not fit is `None`.
fn number_and_unit(text: &str) -> Option<(Option<u64>, &str)> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(digits);
    (digits > 0).then(|| (number.parse().ok(), unit.strip_prefix(' ').unwrap_or(unit)))
}

/// An amount of memory, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::plan) struct Size(pub u64);

impl Scalar for Size {
    const FORMAT: &'static str = "size";
    const PATTERN: &'static str = "^0*[1-9][0-9]* ?(kB|MB|GB|TB)$";

    fn parse(text: &str) -> Result<Self, Invalid> {
        let example = "write a number and one of PostgreSQL's units: \"64kB\", \"512MB\", \
                       \"4GB\" or \"1TB\"";
        let Some((number, unit)) = number_and_unit(text) else {
            return invalid("is not a size", example);
        };
        let shift = match unit {
            "kB" => 10,
            "MB" => 20,
            "GB" => 30,
            "TB" => 40,
            other => {
                let meant = match other.to_ascii_lowercase().as_str() {
                    "k" | "kb" | "kib" => Some("kB"),
                    "m" | "mb" | "mib" => Some("MB"),
                    "g" | "gb" | "gib" => Some("GB"),
                    "t" | "tb" | "tib" => Some("TB"),
                    _ => None,
                };
                return match (meant, number) {
                    (Some(unit), Some(number)) => invalid(
                        "is not a size",
                        format!("did you mean \"{number}{unit}\"? Units are PostgreSQL's"),
                    ),
                    _ => invalid("is not a size", example),
                };
            }
        };
        match number.and_then(|number| number.checked_mul(1 << shift)) {
            Some(0) => invalid("is zero", "write a size, or remove the key"),
            Some(bytes) if bytes <= i64::MAX as u64 => Ok(Size(bytes)),
            _ => invalid("is too large", "no server has so much memory"),
        }
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [(40, "TB"), (30, "GB"), (20, "MB")];
        let (shift, unit) = units
            .into_iter()
            .find(|(shift, _)| self.0.is_multiple_of(1u64 << shift))
            .unwrap_or((10, "kB"));
        write!(f, "{}{unit}", self.0 >> shift)
    }
}
