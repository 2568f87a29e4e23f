//! Settings of databases, roles and functions that a server will not take.

use super::parameter::{Changeable, Parameter, removed};
use super::{ServerFacts, Version, value};

/// Parameters that the view `pg_settings` leaves out, and that can be set for a database or a role.
const NOT_IN_VIEW: [&str; 3] = ["role", "seed", "session_authorization"];

/// Why the server refuses it as a setting of a database, a role or a function, as far as that can be told beforehand, as a
/// sentence.
pub(crate) fn refusal(name: &str, value: &str, server: &ServerFacts) -> Option<String> {
    if let Some(reason) = removed(name, server.version) {
        return Some(reason);
    }
    let parameters = &server.configuration.parameters;
    let known = parameters.get(&name.to_ascii_lowercase());
    let major = server.version.major_text();
    match known {
        Some(parameter) => refused_by(parameter, value, server),
        None if name.contains('.') => placeholder_refused(name, server),
        None if parameters.is_empty() || is_not_in_view(name) => None,
        None => Some(format!("PostgreSQL {major} has no parameter {name}")),
    }
}

fn is_not_in_view(name: &str) -> bool {
    NOT_IN_VIEW
        .iter()
        .any(|hidden| name.eq_ignore_ascii_case(hidden))
}

fn refused_by(parameter: &Parameter, value: &str, server: &ServerFacts) -> Option<String> {
    let name = &parameter.name;
    match parameter.changeable {
        Changeable::Never | Changeable::Restart | Changeable::Reload | Changeable::SessionStart => {
            Some(format!(
                "PostgreSQL {} takes no setting of {name} for a database or a role",
                server.version.major_text()
            ))
        }
        Changeable::PrivilegedSession if !parameter.may_set => {
            Some(format!("the role \"{}\" may not set {name}", server.user))
        }
        Changeable::PrivilegedSession | Changeable::Session => {
            let problem = value::check(parameter, value).err()?;
            Some(format!("{value:?} {problem}"))
        }
    }
}

/// Of a parameter that nothing on the server has defined.
fn placeholder_refused(name: &str, server: &ServerFacts) -> Option<String> {
    // Before, any name would do.
    if server.version >= Version(140_000) && !is_placeholder_name(name) {
        return Some(format!(
            "from PostgreSQL 14 on {name} is not a valid name of a parameter"
        ));
    }
    (!server.is_superuser).then(|| {
        format!(
            "{name} is not known on the target, and the role \"{}\" is not a superuser",
            server.user
        )
    })
}

/// As `valid_custom_variable_name` of the server has it.
fn is_placeholder_name(name: &str) -> bool {
    name.contains('.')
        && name.split('.').all(|part| {
            let starts = |c: char| c.is_ascii_alphabetic() || c == '_' || !c.is_ascii();
            let goes_on = |c: char| starts(c) || c.is_ascii_digit() || c == '$';
            part.starts_with(starts) && part.chars().all(goes_on)
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::tests::synthetic::Case;

    fn server(version: u32) -> ServerFacts {
        let mut server = Case::new("", Vec::new()).inspection.target;
        server.version = Version(version);
        let names = ["maintenance_work_mem", "wal_compression", "fsync"];
        server.configuration.parameters = names
            .map(|name| (name.to_owned(), super::super::samples::parameter(name)))
            .into();
        server
    }

    #[test]
    fn what_a_server_refuses_is_known_with_the_reason() {
        let mut limited = server(180_006);
        limited.is_superuser = false;
        limited.user = "mover".to_owned();
        for parameter in limited.configuration.parameters.values_mut() {
            parameter.may_set = false;
        }
        let said = [
            ("default_with_oids", "off", &server(180_006)),
            ("track_counts_of_old", "on", &server(180_006)),
            ("app-x.mode", "fast", &server(180_006)),
            ("fsync", "off", &server(180_006)),
            ("maintenance_work_mem", "1kB", &server(180_006)),
            ("wal_compression", "on", &limited),
            ("app.mode", "fast", &limited),
        ]
        .map(|(name, value, server)| refusal(name, value, server).expect(name));
        insta::assert_snapshot!(said.join("\n"), @r#"
        PostgreSQL 12 and later have no parameter default_with_oids
        PostgreSQL 18 has no parameter track_counts_of_old
        from PostgreSQL 14 on app-x.mode is not a valid name of a parameter
        PostgreSQL 18 takes no setting of fsync for a database or a role
        "1kB" is out of range (1024 to 2147483647 kB)
        the role "mover" may not set wal_compression
        app.mode is not known on the target, and the role "mover" is not a superuser
        "#);
    }

    #[test]
    fn what_it_takes_is_not_refused() {
        for (name, value, version) in [
            ("app-x.mode", "fast", 130_000),
            ("app.mode", "fast", 180_006),
            ("app.größe$1", "fast", 180_006),
            ("Maintenance_Work_Mem", "7MB", 180_006),
            ("wal_compression", "on", 180_006),
            ("role", "app", 180_006),
        ] {
            assert_eq!(refusal(name, value, &server(version)), None, "{name}");
        }
    }
}
