//! Settings of the servers as a whole that decide what clients read and compute. No dump has them.

use crate::catalog::{Inspection, locale};
use crate::finding::{Code, Finding};

/// All of them in one.
pub(super) fn for_servers(inspection: &Inspection) -> Option<Finding> {
    let target = &inspection.target.configuration.of_clients;
    let source = inspection.source.configuration.of_clients.iter();
    let differing: Vec<(&str, &str, &str)> = source
        .filter_map(|(name, here)| Some((name.as_str(), here.as_str(), target.get(name)?.as_str())))
        .filter(|(name, here, there)| !is_same(name, here, there))
        .collect();
    (!differing.is_empty()).then(|| {
        let named: Vec<String> = differing
            .iter()
            .map(|(name, here, there)| format!("{name} = {} (target: {})", shown(here), shown(there)))
            .collect();
        let message = format!(
            "these settings of the source are not as on the target, and are not brought along: {}; materialized views that are \
             refreshed there, functions and clients compute and show by the target's",
            named.join(", ")
        );
        let statements: Vec<String> = differing
            .iter()
            .map(|(name, here, _)| format!("ALTER SYSTEM SET {name} = {}", in_statement(name, here)))
            .collect();
        Finding::new(Code::TargetOtherSettings, message).fix(format!(
            "where clients count on them, on the target before the run: {}; SELECT pg_reload_conf()",
            statements.join("; ")
        ))
    })
}

fn is_same(name: &str, here: &str, there: &str) -> bool {
    match name {
        "timezone" => here.eq_ignore_ascii_case(there) || is_utc(here) && is_utc(there),
        "lc_monetary" | "lc_numeric" | "lc_time" => locale::is_same(here, there),
        _ => here == there,
    }
}

/// The zone has many names (tz database, files `etcetera` and `backward`).
fn is_utc(zone: &str) -> bool {
    let zone = zone.to_ascii_lowercase();
    let name = zone.strip_prefix("etc/").unwrap_or(&zone);
    matches!(
        name,
        "utc" | "uct" | "gmt" | "gmt0" | "gmt+0" | "gmt-0" | "greenwich" | "universal" | "zulu"
    )
}

fn shown(value: &str) -> &str {
    if value.is_empty() { "''" } else { value }
}

/// The value of `search_path` is a list of identifiers already.
fn in_statement(name: &str, value: &str) -> String {
    if name == "search_path" && !matches!(value, "" | "\"\"") {
        value.to_owned()
    } else if value == "\"\"" {
        "''".to_owned()
    } else {
        format!("'{}'", value.replace('\'', "''"))
    }
}
