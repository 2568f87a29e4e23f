//! Checks what keys say together: contradictions, and the same thing said twice.
//!
//! It looks at the tables, not at the typed document, so that it also works on a file that has
//! other problems; values of a wrong type are left to `structure`.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::problem::Problem;
use super::scalar::{Pause, Scalar};

/// The problems of a file that was parsed as TOML.
pub(super) fn check(file: &DeTable<'_>) -> Vec<Problem> {
    let mut problems = Vec::new();
    for side in ["source", "target"] {
        if let Some(server) = table(file, side) {
            check_server(side, server, &mut problems);
        }
    }
    problems.extend(one_server(file));
    problems.extend(passwords_elsewhere(file));
    check_tuning(file, &mut problems);
    check_databases(file, &mut problems);
    check_tablespaces(file, &mut problems);
    problems.extend(pauses(file));
    problems.extend(directories(file));
    check_entries(file, "accept", &["database", "object"], &mut problems);
    check_entries(file, "waive", &["code", "object"], &mut problems);
    check_overrides(file, &mut problems);
    problems
}

type Key<'t> = (Range<usize>, &'t Spanned<DeValue<'t>>);

/// A key of a table: where its name stands, and its value.
fn find<'t>(table: &'t DeTable<'t>, name: &str) -> Option<Key<'t>> {
    table
        .iter()
        .find(|(key, _)| key.get_ref() == name)
        .map(|(key, value)| (key.span(), value))
}

fn table<'t>(table: &'t DeTable<'t>, name: &str) -> Option<&'t DeTable<'t>> {
    find(table, name)?.1.get_ref().as_table()
}

fn text<'t>(table: &'t DeTable<'t>, name: &str) -> Option<(&'t str, Range<usize>)> {
    let (_, value) = find(table, name)?;
    Some((value.get_ref().as_str()?, value.span()))
}

/// The tables of an array of tables, with the places of their headers.
fn entries<'t>(file: &'t DeTable<'t>, name: &str) -> Vec<(Range<usize>, &'t DeTable<'t>)> {
    find(file, name)
        .and_then(|(_, value)| value.get_ref().as_array())
        .into_iter()
        .flat_map(|array| array.iter())
        .filter_map(|entry| Some((entry.span(), entry.get_ref().as_table()?)))
        .collect()
}

/// The texts of an array of texts, with their places.
fn texts<'t>(table: &'t DeTable<'t>, name: &str) -> Vec<(&'t str, Range<usize>)> {
    find(table, name)
        .and_then(|(_, value)| value.get_ref().as_array())
        .into_iter()
        .flat_map(|array| array.iter())
        .filter_map(|item| Some((item.get_ref().as_str()?, item.span())))
        .collect()
}

fn check_server<'t>(side: &str, server: &'t DeTable<'t>, problems: &mut Vec<Problem>) {
    let service = find(server, "service");
    if let Some((service, _)) = &service {
        for name in ["host", "port"] {
            if let Some((key, _)) = find(server, name) {
                problems.push(
                    Problem::new(format!(
                        "`{side}.service` and `{side}.{name}` both name the server"
                    ))
                    .at(key, "this")
                    .at(service.clone(), "or this")
                    .help("remove one of them: pg_service.conf has the service's host and port"),
                );
            }
        }
    }

    let mode = text(server, "sslmode");
    let root = text(server, "sslrootcert");
    match &mode {
        Some((mode @ ("verify-ca" | "verify-full"), span))
            if find(server, "sslrootcert").is_none() && service.is_none() =>
        {
            problems.push(
                Problem::new(format!(
                    "`{side}.sslmode` asks for a check without a certificate to check by"
                ))
                .at(span.clone(), format!("`{mode}` needs `sslrootcert`"))
                .help(
                    "add `sslrootcert`, the file with the certificates of who signed the server's",
                )
                .of_absence(),
            );
        }
        Some(("disable", span)) => {
            let binding = text(server, "channel_binding");
            let requires_binding = binding.is_some_and(|(binding, _)| binding == "require");
            let binding = requires_binding.then_some("channel_binding");
            let files = ["sslrootcert", "sslcert", "sslkey", "sslcrl"];
            for name in files.into_iter().chain(binding) {
                if let Some((key, _)) = find(server, name) {
                    problems.push(
                        Problem::new(format!(
                            "`{side}.{name}` contradicts `sslmode = \"disable\"`"
                        ))
                        .at(key, "for TLS")
                        .at(span.clone(), "no TLS")
                        .help("remove one of them"),
                    );
                }
            }
        }
        _ => {}
    }
    if let Some(("system", span)) = root {
        problems.push(
            Problem::new(format!("`{side}.sslrootcert` is a file here"))
                .at(span, "libpq's word, not known here")
                .help("name the system's bundle, /etc/ssl/certs/ca-certificates.crt on Debian"),
        );
    }
}

/// Keys that are shown, on the terminal and in reports, and name the variable of a password.
fn passwords_elsewhere<'t>(file: &'t DeTable<'t>) -> Vec<Problem> {
    let variable = |server: &'t DeTable<'t>, key| text(table(server, key)?, "env");
    let servers = || {
        ["source", "target"]
            .into_iter()
            .filter_map(|side| Some((side, table(file, side)?)))
    };
    let mut problems = Vec::new();
    for (name, password) in servers().filter_map(|(_, server)| variable(server, "password")) {
        for (side, server) in servers() {
            for key in ["host", "port", "user", "database"] {
                if let Some((_, at)) = variable(server, key).filter(|(other, _)| *other == name) {
                    problems.push(
                        Problem::new(format!("`{side}.{key}` would show a password"))
                            .at(at, "this is shown")
                            .at(password.clone(), "this is secret")
                            .help("name the variable that holds it"),
                    );
                }
            }
        }
    }
    problems
}

/// Where a server is, if the plan itself says so.
fn address<'t>(server: &'t DeTable<'t>) -> Option<(String, String)> {
    if find(server, "service").is_some() {
        return None;
    }
    let host = match find(server, "host") {
        None => "localhost",
        Some((_, value)) => value.get_ref().as_str()?,
    };
    let port = match find(server, "port") {
        None => "5432",
        Some((_, value)) => value.get_ref().as_integer()?.as_str(),
    };
    Some((host.to_lowercase(), port.to_owned()))
}

/// A plan from a server to itself.
fn one_server<'t>(file: &'t DeTable<'t>) -> Option<Problem> {
    let (source_key, source) = find(file, "source")?;
    let (target_key, target) = find(file, "target")?;
    let (source, target) = (source.get_ref().as_table()?, target.get_ref().as_table()?);
    let (host, port) = address(source)?;
    if address(target)? != (host.clone(), port.clone()) {
        return None;
    }
    let place = |server, header| find(server, "host").map_or(header, |(_, value)| value.span());
    Some(
        Problem::new(format!(
            "source and target are the same server, {host}:{port}"
        ))
        .at(place(target, target_key), "the target")
        .at(place(source, source_key), "the source")
        .help(
            "without `host` and `port` a server is localhost:5432: name the other host, or the \
                 other port",
        )
        .of_absence(),
    )
}

fn check_tuning<'t>(file: &'t DeTable<'t>, problems: &mut Vec<Problem>) {
    let Some(tuning) = table(file, "target").and_then(|target| table(target, "tuning")) else {
        return;
    };
    let settings = table(tuning, "settings");
    if let Some(("off", mode)) = text(tuning, "mode") {
        let shared = find(tuning, "shared_target")
            .filter(|(_, value)| value.get_ref().as_bool() == Some(true));
        if let Some((key, _)) = shared {
            problems.push(
                Problem::new("`target.tuning.shared_target` has nothing to accept")
                    .at(key, "accepts what `fast` does")
                    .at(mode.clone(), "nothing is changed")
                    .help("remove `shared_target`, or use another mode"),
            );
        }
        if let Some((key, _)) = settings.and_then(|settings| settings.iter().next()) {
            problems.push(
                Problem::new("`target.tuning.settings` would never be applied")
                    .at(key.span(), "a setting")
                    .at(mode, "nothing is changed")
                    .help("use `mode = \"safe\"`, or remove the settings"),
            );
        }
    }
    let names: Vec<_> = settings
        .into_iter()
        .flat_map(|settings| settings.keys())
        .collect();
    for (index, name) in names.iter().enumerate() {
        let same = |other: &&&Spanned<_>| {
            let other: &std::borrow::Cow<'_, str> = other.get_ref();
            other.eq_ignore_ascii_case(name.get_ref())
        };
        if let Some(earlier) = names[..index].iter().find(same) {
            problems.push(
                Problem::new(format!("the setting `{}` is given twice", name.get_ref()))
                    .at(name.span(), "again")
                    .at(earlier.span(), "first here")
                    .help("PostgreSQL does not tell upper from lower case in names of settings"),
            );
        }
    }
}

fn check_databases<'t>(file: &'t DeTable<'t>, problems: &mut Vec<Problem>) {
    let Some(databases) = table(file, "databases") else {
        return;
    };
    let included = texts(databases, "include");
    for (excluded, span) in texts(databases, "exclude") {
        let everything = excluded == "*";
        let same = included.iter().find(|(included, _)| *included == excluded);
        if !everything && same.is_none() {
            continue;
        }
        let mut problem = Problem::new(if everything {
            "no database is left to migrate".to_owned()
        } else {
            format!("`{excluded}` is included and excluded")
        })
        .at(span, "excluded here")
        .help("what `exclude` matches never migrates: remove one of them");
        if let Some((_, included)) = same {
            problem = problem.at(included.clone(), "included here");
        }
        problems.push(problem);
    }
}

/// The two that each server has are no choice.
fn check_tablespaces<'t>(file: &'t DeTable<'t>, problems: &mut Vec<Problem>) {
    for (name, chosen) in table(file, "tablespaces").into_iter().flatten() {
        if matches!(name.get_ref().as_ref(), "pg_default" | "pg_global") {
            problems.push(
                Problem::new(format!("`{}` stays where it is", name.get_ref()))
                    .at(name.span(), "each server has it")
                    .help("name tablespaces that were made on the source by CREATE TABLESPACE"),
            );
        }
        if chosen.get_ref().as_str() == Some("pg_global") {
            problems.push(
                Problem::new("`pg_global` holds no table of a database")
                    .at(
                        chosen.span(),
                        "only the server's own shared tables are there",
                    )
                    .help("name another tablespace of the target, or \"default\""),
            );
        }
    }
}

fn pauses<'t>(file: &'t DeTable<'t>) -> Option<Problem> {
    let retry = table(file, "retry")?;
    let (first, first_span) = text(retry, "backoff")?;
    let (longest, longest_span) = text(retry, "max_backoff")?;
    let (first, longest) = (Pause::parse(first).ok()?, Pause::parse(longest).ok()?);
    (first.0 > longest.0).then(|| {
        Problem::new("the first pause of `[retry]` is longer than the longest")
            .at(first_span, "the first")
            .at(longest_span, "the longest")
            .help("pauses grow from `backoff` to `max_backoff`")
    })
}

fn directories<'t>(file: &'t DeTable<'t>) -> Option<Problem> {
    let (root, root_span) = text(table(file, "dump")?, "root")?;
    let (state, state_span) = text(table(file, "state")?, "dir")?;
    (root == state).then(|| {
        Problem::new("`dump.root` and `state.dir` are the same directory")
            .at(root_span, "archives, one directory for each database")
            .at(state_span, "the run's memory, one directory for each plan")
            .help("give each a directory of its own: a database may have the plan's name")
    })
}

/// Entries that say about the same thing what another one says already.
fn check_entries<'t>(
    file: &'t DeTable<'t>,
    name: &str,
    keys: &[&str],
    problems: &mut Vec<Problem>,
) {
    let entries = entries(file, name);
    let identity = |entry: &'t DeTable<'t>| -> Option<Vec<&'t str>> {
        keys.iter().map(|key| Some(text(entry, key)?.0)).collect()
    };
    for (index, (span, entry)) in entries.iter().enumerate() {
        let Some(this) = identity(entry) else {
            continue;
        };
        let same = |(_, earlier): &&(Range<usize>, &'t DeTable<'t>)| {
            identity(earlier).as_ref() == Some(&this)
        };
        if let Some((earlier, _)) = entries[..index].iter().find(same) {
            problems.push(
                Problem::new(format!("this `{name}` is there already"))
                    .at(span.clone(), "again")
                    .at(earlier.clone(), "first here")
                    .help(format!(
                        "both have the same `{}`: keep one",
                        keys.join("` and `")
                    )),
            );
        }
    }
}

/// Two overrides that set the same key by the same pattern. (Different patterns that match the
/// same database are not a mistake: the later entry wins.)
fn check_overrides<'t>(file: &'t DeTable<'t>, problems: &mut Vec<Problem>) {
    let entries = entries(file, "override");
    for (index, (_, entry)) in entries.iter().enumerate() {
        for (key, _) in entry.iter().filter(|(key, _)| key.get_ref() != "databases") {
            let name: &str = key.get_ref();
            for (pattern, _) in texts(entry, "databases") {
                let earlier = entries[..index].iter().find_map(|(_, earlier)| {
                    let (key, _) = find(earlier, name)?;
                    let same = |(other, _): &(&str, Range<usize>)| *other == pattern;
                    texts(earlier, "databases").iter().any(same).then_some(key)
                });
                if let Some(earlier) = earlier {
                    problems.push(
                        Problem::new(format!("`{name}` is overridden twice for `{pattern}`"))
                            .at(key.span(), "again")
                            .at(earlier, "first here")
                            .help("keep one of them"),
                    );
                }
            }
        }
    }
}
