//! Values of parameters, as the server would read them (PostgreSQL manual, 19.1.1 "Parameter Names and
//! Values").

use super::parameter::Parameter;

/// Bytes of each unit of memory, and microseconds of each unit of time.
const MEMORY: [(&str, f64); 5] = [
    ("B", 1.0),
    ("kB", 1024.0),
    ("MB", 1_048_576.0),
    ("GB", 1_073_741_824.0),
    ("TB", 1_099_511_627_776.0),
];
const TIME: [(&str, f64); 6] = [
    ("us", 1.0),
    ("ms", 1e3),
    ("s", 1e6),
    ("min", 6e7),
    ("h", 3.6e9),
    ("d", 8.64e10),
];

/// Whether the parameter takes the value.
///
/// # Errors
///
/// Why it does not, as the end of a sentence that begins with the value.
pub(crate) fn check(parameter: &Parameter, value: &str) -> Result<(), String> {
    match parameter.vartype.as_str() {
        "bool" => match boolean(value) {
            Some(_) => Ok(()),
            None => Err("is neither on nor off".to_owned()),
        },
        "enum" => {
            let has = |word: &str| parameter.choices.iter().any(|choice| choice == word);
            let word = value.to_ascii_lowercase();
            // The view leaves out other spellings of on and off.
            let is_known =
                has(&word) || boolean(&word).is_some_and(|on| has(if on { "on" } else { "off" }));
            if is_known {
                Ok(())
            } else {
                Err(format!("is not one of {}", parameter.choices.join(", ")))
            }
        }
        "integer" | "real" => {
            let amount = amount(parameter, value)?;
            let low = parameter.min.unwrap_or(f64::MIN);
            let high = parameter.max.unwrap_or(f64::MAX);
            if (low..=high).contains(&amount) {
                Ok(())
            } else {
                let unit = parameter.unit.as_deref().unwrap_or_default();
                Err(format!("is out of range ({low} to {high} {unit})").replace(" )", ")"))
            }
        }
        _ => Ok(()),
    }
}

/// What a boolean's value says.
pub(crate) fn boolean(value: &str) -> Option<bool> {
    match value.to_ascii_lowercase().as_str() {
        "on" | "true" | "yes" | "1" | "t" | "y" => Some(true),
        "off" | "false" | "no" | "0" | "f" | "n" => Some(false),
        _ => None,
    }
}

/// A number with its unit, counted in the parameter's own unit.
pub(crate) fn amount(parameter: &Parameter, value: &str) -> Result<f64, String> {
    let value = value.trim();
    let is_number = |c: char| c.is_ascii_digit() || matches!(c, '.' | '-' | '+');
    let end = value.find(|c| !is_number(c)).unwrap_or(value.len());
    let (number, unit) = (&value[..end], value[end..].trim());
    let number: f64 = number
        .parse()
        .map_err(|_| "is not a number with a unit".to_owned())?;
    if unit.is_empty() {
        return Ok(number);
    }
    let own = parameter.unit.as_deref().unwrap_or_default();
    match [&MEMORY[..], &TIME[..]]
        .into_iter()
        .find_map(|units| Some(size(units, unit)? / size(units, own)?))
    {
        Some(factor) => Ok(number * factor),
        None if own.is_empty() => Err("has a unit, and the parameter has none".to_owned()),
        None => Err(format!("has a unit that does not go with {own}")),
    }
}

/// Of a unit like `kB`, or `8kB` as some parameters have it.
fn size(units: &[(&str, f64)], unit: &str) -> Option<f64> {
    let end = unit.find(|c: char| !c.is_ascii_digit()).unwrap_or(0);
    let times = match &unit[..end] {
        "" => 1.0,
        digits => digits.parse().ok()?,
    };
    let (_, size) = units.iter().find(|(name, _)| *name == &unit[end..])?;
    Some(times * size)
}

/// Bytes of a parameter that counts memory; `None` where it does not.
pub(crate) fn bytes(parameter: &Parameter, value: &str) -> Option<u64> {
    let unit = size(&MEMORY, parameter.unit.as_deref()?)?;
    let amount = amount(parameter, value).ok()?;
    (amount >= 0.0).then_some((amount * unit) as u64)
}

/// The value, or what the server has already where that is more.
pub(crate) fn at_least(parameter: &Parameter, value: &str) -> String {
    let more = match (
        amount(parameter, value),
        amount(parameter, &parameter.setting),
    ) {
        (Ok(wanted), Ok(now)) => now > wanted,
        _ => false,
    };
    if !more {
        return value.to_owned();
    }
    match parameter.unit.as_deref() {
        Some(unit) if !unit.starts_with(|c: char| c.is_ascii_digit()) => {
            format!("{}{unit}", parameter.setting)
        }
        _ => parameter.setting.clone(),
    }
}

/// Bytes as PostgreSQL takes them, in the largest unit that leaves nothing over.
pub(crate) fn memory_text(bytes: u64) -> String {
    for (unit, size) in MEMORY.iter().skip(1).rev() {
        let size = *size as u64;
        if bytes >= size && bytes.is_multiple_of(size) {
            return format!("{}{unit}", bytes / size);
        }
    }
    format!("{}kB", bytes / 1024)
}

#[cfg(test)]
mod tests {
    use super::super::samples::parameter;
    use super::*;

    #[test]
    fn values_are_checked_as_the_server_would() {
        let problem = |name: &str, value: &str| {
            check(&parameter(name), value)
                .map_or_else(|why| format!("{value} {why}"), |()| "fine".into())
        };
        for (name, value) in [
            ("fsync", "OFF"),
            ("fsync", "no"),
            ("synchronous_commit", "remote_write"),
            ("synchronous_commit", "false"),
            ("maintenance_work_mem", "1.5GB"),
            ("maintenance_work_mem", " 65536 "),
            ("checkpoint_completion_target", "0.9"),
            ("checkpoint_timeout", "1h"),
            ("shared_buffers", "1GB"),
            ("search_path", "whatever"),
        ] {
            assert_eq!(problem(name, value), "fine", "{name}");
        }
        insta::assert_snapshot!(
            [
                ("fsync", "maybe"),
                ("synchronous_commit", "sometimes"),
                ("maintenance_work_mem", "lots"),
                ("maintenance_work_mem", "2gb"),
                ("maintenance_work_mem", "10s"),
                ("maintenance_work_mem", "1kB"),
                ("checkpoint_completion_target", "1.5"),
                ("checkpoint_completion_target", "90MB"),
            ]
            .map(|(name, value)| problem(name, value))
            .join("\n"),
            @r"
        maybe is neither on nor off
        sometimes is not one of local, remote_write, on, off
        lots is not a number with a unit
        2gb has a unit that does not go with kB
        10s has a unit that does not go with kB
        1kB is out of range (1024 to 2147483647 kB)
        1.5 is out of range (0 to 1)
        90MB has a unit, and the parameter has none
        "
        );
    }

    #[test]
    fn amounts_are_counted_in_the_parameters_unit() {
        let count = |name: &str, value: &str| amount(&parameter(name), value).unwrap();
        assert_eq!(count("maintenance_work_mem", "2GB"), 2_097_152.0);
        assert_eq!(count("shared_buffers", "128MB"), 16_384.0);
        assert_eq!(count("checkpoint_timeout", "1h"), 3_600.0);
        assert_eq!(
            bytes(&parameter("shared_buffers"), "16384"),
            Some(128 << 20)
        );
        assert_eq!(bytes(&parameter("checkpoint_timeout"), "1h"), None);
    }

    #[test]
    fn a_server_that_has_more_keeps_it() {
        let mut size = parameter("max_wal_size");
        assert_eq!(at_least(&size, "8GB"), "8GB");
        size.setting = "16384".into();
        assert_eq!(at_least(&size, "8GB"), "16384MB");
        // As it was counted before 10.
        size.unit = Some("16MB".into());
        assert_eq!(at_least(&size, "8GB"), "16384");
    }

    #[test]
    fn memory_is_written_in_the_largest_unit() {
        for (bytes, text) in [
            (2 << 30, "2GB"),
            (1536 << 20, "1536MB"),
            (65_536 * 1024, "64MB"),
            (1025 * 1024, "1025kB"),
        ] {
            assert_eq!(memory_text(bytes), text);
        }
    }
}
