//! libpq's connection service file (PostgreSQL manual, 32.17 "The Connection Service File").

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};

use miette::Diagnostic;
use secrecy::SecretString;

use super::environment::Environment;
use crate::escape::escape_control;

/// The keys of one service that are used here.
const KNOWN: [&str; 16] = [
    "host",
    "hostaddr",
    "port",
    "user",
    "dbname",
    "password",
    "passfile",
    "sslmode",
    "sslrootcert",
    "sslcert",
    "sslkey",
    "sslcrl",
    "ssl_min_protocol_version",
    "require_auth",
    "channel_binding",
    "connect_timeout",
];

/// One section of a service file.
#[derive(Debug)]
pub(super) struct Service {
    pub(super) name: String,
    /// Where it was found.
    pub(super) file: PathBuf,
    /// Values by key, without the password.
    values: HashMap<&'static str, String>,
    pub(super) password: Option<SecretString>,
    /// Keys that libpq would use and this program does not, in the file's order, and their values.
    pub(super) unused: Vec<(String, String)>,
}

/// Why a service cannot be read.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub(crate) enum ServiceError {
    #[error(
        "there is no service \"{}\"{}",
        escape_control(service),
        describe_search(searched)
    )]
    #[diagnostic(help(
        "Services are looked up in the file that PGSERVICEFILE names, or ~/.pg_service.conf, and then in \
         pg_service.conf in the directory that PGSYSCONFDIR names."
    ))]
    NotFound {
        service: String,
        searched: Vec<PathBuf>,
    },
    #[error("cannot read the service file {}", path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("line {line} of the service file {} is not `key=value`", path.display())]
    Syntax { path: PathBuf, line: usize },
}

fn describe_search(searched: &[PathBuf]) -> String {
    let files: Vec<_> = searched.iter().map(|f| f.display().to_string()).collect();
    match files.as_slice() {
        [] => ": no service file is known".to_owned(),
        files => format!(" in {}", files.join(" or ")),
    }
}

impl Service {
    /// The value of a key; an empty one counts as none, as it does for libpq.
    pub(super) fn get(&self, key: &'static str) -> Option<&str> {
        self.values
            .get(key)
            .map(String::as_str)
            .filter(|value| !value.is_empty())
    }
}

/// Looks the service up where libpq does: in `PGSERVICEFILE` or `~/.pg_service.conf`, then in
/// `pg_service.conf` of `PGSYSCONFDIR`.
pub(super) fn find(name: &str, environment: &impl Environment) -> Result<Service, ServiceError> {
    let named = environment.variable("PGSERVICEFILE").map(PathBuf::from);
    let is_named = named.is_some();
    let personal = named.or_else(|| Some(environment.home()?.join(".pg_service.conf")));
    let system = environment
        .variable("PGSYSCONFDIR")
        .map(|directory| Path::new(&directory).join("pg_service.conf"));
    let mut searched = Vec::new();
    for (file, is_named) in [(personal, is_named), (system, false)] {
        let Some(file) = file else { continue };
        // A file that was asked for by name must exist; the other two need not.
        if !is_named && !file.exists() {
            searched.push(file);
            continue;
        }
        let bytes = std::fs::read(&file).map_err(|source| ServiceError::Unreadable {
            path: file.clone(),
            source,
        })?;
        let text = String::from_utf8_lossy(&bytes);
        if let Some(service) = parse(&text, name, &file)? {
            return Ok(service);
        }
        searched.push(file);
    }
    Err(ServiceError::NotFound {
        service: name.to_owned(),
        searched,
    })
}

/// The section of this name, if the file has one.
fn parse(text: &str, name: &str, file: &Path) -> Result<Option<Service>, ServiceError> {
    let mut found: Option<Service> = None;
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(header) = line.strip_prefix('[') {
            if found.is_some() {
                break;
            }
            if header
                .strip_prefix(name)
                .is_some_and(|rest| rest.starts_with(']'))
            {
                found = Some(Service {
                    name: name.to_owned(),
                    file: file.to_owned(),
                    values: HashMap::new(),
                    password: None,
                    unused: Vec::new(),
                });
            }
            continue;
        }
        let Some(service) = &mut found else { continue };
        // The line itself is not shown: it may be a password.
        let (key, value) = line.split_once('=').ok_or(ServiceError::Syntax {
            path: file.to_owned(),
            line: number + 1,
        })?;
        // As for libpq, the first of two values counts.
        if key == "password" {
            service.password.get_or_insert_with(|| value.into());
        } else if let Some(known) = KNOWN.into_iter().find(|known| *known == key) {
            service
                .values
                .entry(known)
                .or_insert_with(|| value.to_owned());
        } else {
            service.unused.push((key.to_owned(), value.to_owned()));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    const FILE: &str = "\
# comment
[other]
host=other
[old-prod]
host=old-db
  port=5433
user=o'brien = x
password=p=w
password=second
host=again
options=-c geqo=off
[old-prod-2]
host=wrong
";

    #[test]
    fn a_section_is_read_as_libpq_reads_it() {
        let service = parse(FILE, "old-prod", Path::new("f")).unwrap().unwrap();
        assert_eq!(service.get("host"), Some("old-db"));
        assert_eq!(service.get("port"), Some("5433"));
        assert_eq!(service.get("user"), Some("o'brien = x"));
        assert_eq!(service.password.unwrap().expose_secret(), "p=w");
        assert_eq!(
            service.unused,
            [("options".to_owned(), "-c geqo=off".to_owned())]
        );
        assert!(parse(FILE, "old", Path::new("f")).unwrap().is_none());
    }

    #[test]
    fn a_line_that_is_not_a_setting_is_refused_without_showing_it() {
        let error = parse(
            "[a]\nhost=x\nhunter2\n",
            "a",
            Path::new("/etc/pg_service.conf"),
        )
        .unwrap_err();
        insta::assert_snapshot!(error, @"line 3 of the service file /etc/pg_service.conf is not `key=value`");
    }

    #[test]
    fn a_service_never_shows_its_password() {
        let service = parse(FILE, "old-prod", Path::new("f")).unwrap();
        assert!(!format!("{service:?}").contains("p=w"));
    }
}
