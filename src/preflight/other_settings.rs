//! Settings of the servers as a whole that decide what clients read and compute. No dump has them.

use crate::catalog::{Inspection, locale};
use crate::finding::{Code, Finding};

/// All of them in one.
pub(super) fn for_servers(inspection: &Inspection) -> Option<Finding> {
    let source = &inspection.source.configuration.of_clients;
    let target = &inspection.target.configuration.of_clients;
    let differing: Vec<(&str, &str, &str)> = source
        .iter()
        .filter(|(name, _)| !is_customized(name))
        .filter_map(|(name, here)| Some((name.as_str(), here.as_str(), target.get(name)?.as_str())))
        .filter(|(name, here, there)| !is_same(name, here, there))
        .collect();
    let customized: Vec<&str> = source
        .iter()
        .filter(|(name, here)| is_customized(name) && target.get(*name) != Some(*here))
        .map(|(name, _)| name.as_str())
        .collect();
    if differing.is_empty() && customized.is_empty() {
        return None;
    }
    let mut named: Vec<String> = differing
        .iter()
        .map(|(name, here, there)| format!("{name} = {} (target: {})", shown(here), shown(there)))
        .collect();
    let mut statements: Vec<String> = differing
        .iter()
        .map(|(name, here, _)| format!("ALTER SYSTEM SET {name} = {}", in_statement(name, here)))
        .collect();
    if !statements.is_empty() {
        statements.push("SELECT pg_reload_conf()".to_owned());
    }
    let is_started_with = |(name, ..): &(&str, &str, &str)| {
        matches!(
            *name,
            "max_prepared_transactions" | "track_commit_timestamp"
        )
    };
    if differing.iter().any(is_started_with) {
        statements.push("restart the server".to_owned());
    }
    if !customized.is_empty() {
        named.push(format!(
            "the customized parameters {}, whose values are not shown here (target: absent or other, as far as its configuration \
             files can be read)",
            customized.join(", ")
        ));
        statements.push(format!(
            "write {} into its configuration as the source has it, and reload it",
            customized.join(", ")
        ));
    }
    let message = format!(
        "these settings of the source are not as on the target, and are not brought along: {}; materialized views that are \
         refreshed there, policies, functions and clients compute and show by the target's",
        named.join(", ")
    );
    Some(
        Finding::new(Code::TargetOtherSettings, message).fix(format!(
            "where clients count on them, on the target before the run: {}",
            statements.join("; ")
        )),
    )
}

/// One that no server has of itself. Of PL/pgSQL's the values are known.
fn is_customized(name: &str) -> bool {
    name.contains('.') && name != "plpgsql.variable_conflict"
}

fn is_same(name: &str, here: &str, there: &str) -> bool {
    match name {
        "timezone" => here.eq_ignore_ascii_case(there) || is_utc(here) && is_utc(there),
        "lc_monetary" | "lc_numeric" | "lc_time" => locale::is_same(here, there),
        // More of these harms nobody.
        "max_prepared_transactions" => number(here) <= number(there),
        "track_commit_timestamp" => here == "off" || here == there,
        _ => here == there,
    }
}

fn number(value: &str) -> u32 {
    value.parse().unwrap_or(0)
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
