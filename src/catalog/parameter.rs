//! Configuration parameters: what a server says of its own, and facts that a migration trips over.

use super::Version;

/// What can change a parameter (PostgreSQL manual, 53.24 "pg_settings", column `context`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Changeable {
    /// Never.
    Never,
    /// A restart of the server (`postmaster`).
    Restart,
    /// The configuration files alone (`sighup`).
    Reload,
    /// The start of a session (`backend`, `superuser-backend`).
    SessionStart,
    /// A session with the privilege (`superuser`).
    PrivilegedSession,
    /// Every session (`user`).
    Session,
}

/// One row of `pg_settings`.
#[derive(Debug, Clone, PartialEq)]
pub struct Parameter {
    /// In lower case.
    pub name: String,
    pub changeable: Changeable,
    /// `bool`, `enum`, `integer`, `real` or `string`.
    pub vartype: String,
    /// The value now, without a unit.
    pub setting: String,
    /// What a bare number counts: `kB`, `8kB`, `ms`.
    pub unit: Option<String>,
    pub min: Option<f64>,
    pub max: Option<f64>,
    /// The words of an `enum`.
    pub choices: Vec<String>,
    /// Given on the server's command line or in its environment, which wins over ALTER SYSTEM.
    pub is_fixed: bool,
    /// Our role has the privilege ALTER SYSTEM on it (superusers; by GRANT from 15 on).
    pub may_alter_system: bool,
    /// Our role has the privilege SET on it (superusers; by GRANT from 15 on).
    pub may_set: bool,
}

/// Parameters that a role or a database could set, and that a later version dropped: the first
/// version without it, and the parameter that took over. The release notes' sections "Migration to
/// Version …" name them; `default_with_oids` still exists, but can no longer be switched on.
const REMOVED: [(&str, Version, Option<&str>); 7] = [
    ("default_with_oids", Version(120_000), None),
    (
        "force_parallel_mode",
        Version(160_000),
        Some("debug_parallel_query"),
    ),
    (
        "min_parallel_relation_size",
        Version(100_000),
        Some("min_parallel_table_scan_size"),
    ),
    ("operator_precedence_warning", Version(140_000), None),
    ("replacement_sort_tuples", Version(110_000), None),
    ("sql_inheritance", Version(100_000), None),
    ("vacuum_cleanup_index_scale_factor", Version(140_000), None),
];

/// Parameters whose value is a list that the server keeps quoted. The same as in pg_dump 18's
/// `variable_is_guc_list_quote`.
const QUOTED_LISTS: [&str; 7] = [
    "local_preload_libraries",
    "oauth_validator_libraries",
    "search_path",
    "session_preload_libraries",
    "shared_preload_libraries",
    "temp_tablespaces",
    "unix_socket_directories",
];

/// Why a server of this version cannot take a setting of the parameter; `None` where it can.
///
/// Only parameters that can be set for a role or a database are known here.
pub(crate) fn removed(parameter: &str, version: Version) -> Option<String> {
    let (name, since, successor) = REMOVED
        .into_iter()
        .find(|(name, since, _)| parameter.eq_ignore_ascii_case(name) && version >= *since)?;
    let successor = successor.map_or_else(String::new, |new| format!("; {new} took its place"));
    Some(format!(
        "PostgreSQL {} and later have no parameter {name}{successor}",
        since.major_text()
    ))
}

/// Whether the parameter's value is a list of quoted elements, each of which is one value in `SET`.
pub(crate) fn is_quoted_list(parameter: &str) -> bool {
    QUOTED_LISTS
        .iter()
        .any(|name| parameter.eq_ignore_ascii_case(name))
}

/// The tablespaces that such a setting names, where it is one that does. An empty name stands for the default tablespace
/// of the database.
pub(crate) fn tablespaces_in(parameter: &str, value: &str) -> Option<Vec<String>> {
    match parameter.to_ascii_lowercase().as_str() {
        "default_tablespace" => Some(vec![value.to_owned()]),
        "temp_tablespaces" => match elements(value) {
            Some(names) if !names.is_empty() => Some(names),
            _ => Some(vec![String::new()]),
        },
        _ => None,
    }
}

/// Takes a list of quoted elements apart at its commas; `None` where it is none.
pub(crate) fn elements(value: &str) -> Option<Vec<String>> {
    let is_space = |c: char| c.is_ascii_whitespace() || c == '\x0b';
    let mut elements = Vec::new();
    let mut rest = value.trim_matches(is_space);
    if rest.is_empty() {
        return Some(elements);
    }
    loop {
        let (element, after) = match rest.strip_prefix('"') {
            Some(quoted) => quoted_element(quoted)?,
            None => {
                let end = rest.find(|c| c == ',' || is_space(c)).unwrap_or(rest.len());
                (rest[..end].to_owned(), &rest[end..])
            }
        };
        if element.is_empty() && !rest.starts_with('"') {
            return None;
        }
        elements.push(element);
        let after = after.trim_start_matches(is_space);
        if after.is_empty() {
            return Some(elements);
        }
        rest = after.strip_prefix(',')?.trim_start_matches(is_space);
    }
}

/// The element up to its closing quote, and what follows that.
fn quoted_element(text: &str) -> Option<(String, &str)> {
    let mut from = 0;
    loop {
        let quote = from + text[from..].find('"')?;
        if !text[quote + 1..].starts_with('"') {
            return Some((text[..quote].replace("\"\"", "\""), &text[quote + 1..]));
        }
        from = quote + 2;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_is_gone_from_its_version_on() {
        let removed = |name, version| super::removed(name, Version(version));
        assert_eq!(removed("default_with_oids", 110_022), None);
        assert_eq!(removed("search_path", 180_006), None);
        insta::assert_snapshot!(
            removed("Default_With_Oids", 120_000).unwrap(),
            @"PostgreSQL 12 and later have no parameter default_with_oids"
        );
        insta::assert_snapshot!(
            removed("min_parallel_relation_size", 180_006).unwrap(),
            @"PostgreSQL 10 and later have no parameter min_parallel_relation_size; min_parallel_table_scan_size took its place"
        );
    }

    #[test]
    fn lists_are_known_in_any_case() {
        assert!(is_quoted_list("Search_Path"));
        assert!(!is_quoted_list("work_mem"));
    }
}
