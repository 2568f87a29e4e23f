//! The environment of the PostgreSQL client programs.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::sync::OnceLock;

use crate::plan::password::{Known, Password};
use crate::plan::{Endpoint, Protection};
use crate::postgres::application_name;

/// Variables of our own environment with passwords of either server.
static SECRETS: OnceLock<Vec<String>> = OnceLock::new();

/// From here on no child inherits these variables of our own environment: the one password that it needs it is given.
pub(crate) fn keep_from_children(variables: Vec<String>) {
    // A process has one plan.
    let _ = SECRETS.set(variables);
}

pub(super) fn remove_secrets(command: &mut std::process::Command) {
    for variable in SECRETS.get().into_iter().flatten() {
        command.env_remove(variable);
    }
}

/// What a client program of PostgreSQL finds in its environment (PostgreSQL manual, 32.15
/// "Environment Variables"), beside what is not PostgreSQL's.
///
/// No `PG…` variable of our own environment gets through: `PGOPTIONS`, `PGSERVICE` or `PGHOST` of the shell would
/// change what the plan says. Messages come in English, which `restore_log` and `transient` read.
#[derive(Default, Clone)]
pub(crate) struct PgEnvironment {
    password: Option<Known>,
    application: Option<String>,
    options: Option<String>,
    /// What protects its connections.
    protection: Vec<(&'static str, OsString)>,
}

impl PgEnvironment {
    /// For a program that connects to the endpoint and calls itself `application` there, in the
    /// form of [`application_name`] (`PGAPPNAME`).
    pub(crate) fn new(endpoint: &Endpoint, application: &str) -> Self {
        PgEnvironment {
            password: endpoint.password.as_ref().map(Password::now),
            application: Some(application_name(application)),
            options: None,
            protection: protection(endpoint),
        }
    }

    /// `PGOPTIONS`: `-c name=value …` for the program's sessions.
    pub(crate) fn options(mut self, options: &str) -> Self {
        self.options = Some(options.to_owned());
        self
    }

    pub(super) fn apply(&self, command: &mut std::process::Command) {
        self.apply_over(std::env::vars_os().map(|(name, _)| name), command);
    }

    /// As [`Self::apply`], where the child would inherit variables of these names.
    fn apply_over(
        &self,
        inherited: impl IntoIterator<Item = OsString>,
        command: &mut std::process::Command,
    ) {
        for name in inherited.into_iter().filter(|name| is_removed(name)) {
            command.env_remove(name);
        }
        for (name, value) in self.variables() {
            command.env(name, value);
        }
    }

    fn variables(&self) -> Vec<(&'static str, OsString)> {
        let mut variables = self.protection.clone();
        variables.push(("LC_MESSAGES", OsString::from("C")));
        if let Some(password) = &self.password {
            variables.push(("PGPASSWORD", password.expose().into()));
        }
        if let Some(application) = &self.application {
            variables.push(("PGAPPNAME", application.into()));
        }
        if let Some(options) = &self.options {
            variables.push(("PGOPTIONS", options.into()));
        }
        variables
    }
}

/// What the connection string of a plan does not show (PostgreSQL manual, 32.15). Programs before 16 do not know PGREQUIREAUTH, nor those
/// before 13 the others.
fn protection(endpoint: &Endpoint) -> Vec<(&'static str, OsString)> {
    let Protection {
        require_auth,
        channel_binding,
        sslcrl,
        min_tls,
        ..
    } = &endpoint.protection;
    let mut variables: Vec<(&'static str, OsString)> = vec![
        ("PGCHANNELBINDING", channel_binding.as_str().into()),
        ("PGSSLMINPROTOCOLVERSION", min_tls.as_str().into()),
    ];
    match require_auth {
        Some(list) => variables.push(("PGREQUIREAUTH", list.to_string().into())),
        None if endpoint.sends_passwords() => {}
        None => variables.push(("PGREQUIREAUTH", "!password".into())),
    }
    if let Some(path) = sslcrl {
        variables.push(("PGSSLCRL", path.into()));
    }
    variables
}

/// `LC_ALL` and `LANGUAGE` would win over `LC_MESSAGES`.
fn is_removed(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(b"PG") || name == "LC_ALL" || name == "LANGUAGE"
}

impl fmt::Debug for PgEnvironment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PgEnvironment")
            .field("password", &self.password.as_ref().map(|_| "…"))
            .field("application", &self.application)
            .field("options", &self.options)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(
        clippy::disallowed_methods,
        reason = "the command is looked at, not run"
    )]
    fn foreign_settings_of_postgresql_and_languages_are_removed() {
        let mut command = std::process::Command::new("pg_dump");
        let inherited = [
            "PGHOST",
            "PGOPTIONS",
            "PGAPPNAME",
            "PGPASSWORD",
            "LC_ALL",
            "LANGUAGE",
            "PATH",
            "HOME",
            "LANG",
            "xPG",
        ];
        PgEnvironment {
            application: Some("ours".to_owned()),
            ..PgEnvironment::default()
        }
        .apply_over(inherited.map(OsString::from), &mut command);
        let changes: Vec<_> = command
            .get_envs()
            .map(|(name, value)| (name.to_str().unwrap(), value.map(|v| v.to_str().unwrap())))
            .collect();
        assert_eq!(
            changes,
            [
                ("LANGUAGE", None),
                ("LC_ALL", None),
                ("LC_MESSAGES", Some("C")),
                ("PGAPPNAME", Some("ours")),
                ("PGHOST", None),
                ("PGOPTIONS", None),
                ("PGPASSWORD", None),
            ]
        );
    }

    #[test]
    fn the_password_is_passed_and_never_shown() {
        let environment = PgEnvironment {
            password: Some(Password::fixed("hunter2".into()).now()),
            application: Some("pg-migrate/p/d/dump".into()),
            ..PgEnvironment::default()
        }
        .options("-c session_replication_role=replica");
        insta::assert_debug_snapshot!(environment, @r#"
        PgEnvironment {
            password: Some(
                "…",
            ),
            application: Some(
                "pg-migrate/p/d/dump",
            ),
            options: Some(
                "-c session_replication_role=replica",
            ),
        }
        "#);
        assert!(
            environment
                .variables()
                .contains(&("PGPASSWORD", "hunter2".into()))
        );
    }
}
