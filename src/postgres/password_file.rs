//! libpq's password file (PostgreSQL manual, 32.16 "The Password File").

use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use secrecy::SecretString;

/// Where the default socket of libpq lives: upstream's and the distributions' choice.
const DEFAULT_SOCKETS: [&str; 3] = ["/tmp", "/var/run/postgresql", "/run/postgresql"];

/// What a line of the file must match.
pub(super) struct Wanted<'a> {
    pub(super) host: &'a str,
    pub(super) port: u16,
    pub(super) database: &'a str,
    pub(super) user: &'a str,
}

/// The same, kept.
pub(super) struct OwnedWanted {
    host: String,
    port: u16,
    database: String,
    user: String,
}

impl Wanted<'_> {
    pub(super) fn to_owned(&self) -> OwnedWanted {
        OwnedWanted {
            host: self.host.to_owned(),
            port: self.port,
            database: self.database.to_owned(),
            user: self.user.to_owned(),
        }
    }
}

impl OwnedWanted {
    pub(super) fn as_wanted(&self) -> Wanted<'_> {
        Wanted {
            host: &self.host,
            port: self.port,
            database: &self.database,
            user: &self.user,
        }
    }
}

/// The password of the first line that matches. A file that is not there holds none; one that libpq
/// would ignore is ignored, and the warning says why.
pub(super) fn look_up(
    file: &Path,
    wanted: &Wanted<'_>,
    warnings: &mut Vec<String>,
) -> Option<SecretString> {
    match read(file) {
        Ok(Content::Text(text)) => find(&text, wanted),
        Ok(Content::Ignored(reason)) => {
            warnings.push(format!(
                "the password file {} is ignored: {reason}",
                file.display()
            ));
            None
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => {
            warnings.push(format!(
                "the password file {} cannot be read: {error}",
                file.display()
            ));
            None
        }
    }
}

enum Content {
    Text(String),
    Ignored(&'static str),
}

fn read(path: &Path) -> io::Result<Content> {
    if !path.metadata()?.is_file() {
        // Opening a FIFO would wait for a writer.
        return Ok(Content::Ignored("it is not a plain file"));
    }
    let mut file = std::fs::File::open(path)?;
    // Those of the file that is read, not of one that was there a moment ago.
    if file.metadata()?.permissions().mode() & 0o077 != 0 {
        return Ok(Content::Ignored(
            "it has group or world access; permissions must be u=rw (0600) or less",
        ));
    }
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(Content::Text(String::from_utf8_lossy(&bytes).into_owned()))
}

fn find(text: &str, wanted: &Wanted<'_>) -> Option<SecretString> {
    let host = if DEFAULT_SOCKETS.contains(&wanted.host) {
        "localhost"
    } else {
        wanted.host
    };
    let port = wanted.port.to_string();
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .find_map(|line| {
            let mut rest = line.trim_end_matches('\r');
            for value in [host, &port, wanted.database, wanted.user] {
                rest = after_match(rest, value)?;
            }
            let (password, _) = field(rest);
            Some(password.into())
        })
}

/// What follows the line's first field, if that is `*` or the value.
fn after_match<'a>(line: &'a str, value: &str) -> Option<&'a str> {
    if let Some(rest) = line.strip_prefix("*:") {
        return Some(rest);
    }
    let (first, rest) = field(line);
    rest.filter(|_| first == value)
}

/// The field up to the next colon, with `\:` and `\\` undone, and what follows the colon.
fn field(line: &str) -> (String, Option<&str>) {
    let mut value = String::new();
    let mut chars = line.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            ':' => return (value, Some(&line[at + 1..])),
            // A backslash at the end stands for itself.
            '\\' => value.push(chars.next().map_or('\\', |(_, escaped)| escaped)),
            c => value.push(c),
        }
    }
    (value, None)
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};

    use proptest::prelude::*;
    use secrecy::ExposeSecret;

    use super::*;

    const WANTED: Wanted<'_> = Wanted {
        host: "old-db",
        port: 5432,
        database: "postgres",
        user: "admin",
    };

    fn password(text: &str, wanted: &Wanted<'_>) -> Option<String> {
        find(text, wanted).map(|password| password.expose_secret().to_owned())
    }

    #[test]
    fn the_first_line_that_matches_counts() {
        let file = "#old-db:5432:postgres:admin:comment\n\
                    other:5432:*:admin:1\n\
                    old-db:5433:*:admin:2\n\
                    old-db:*:erp:admin:3\n\
                    *:*:*:admin:4\r\n\
                    old-db:5432:postgres:admin:5\n";
        assert_eq!(password(file, &WANTED).as_deref(), Some("4"));
        assert_eq!(password("old-db:5432:postgres:admin", &WANTED), None);
        assert_eq!(password("old-*:5432:postgres:admin:x", &WANTED), None);
    }

    #[test]
    fn colons_and_backslashes_are_escaped() {
        let wanted = Wanted {
            host: "fe80::1",
            ..WANTED
        };
        let line = r"fe80\:\:1:5432:*:admin:a\:b\\c:rest";
        assert_eq!(password(line, &wanted).as_deref(), Some(r"a:b\c"));
    }

    #[test]
    fn the_default_sockets_are_localhost() {
        for host in ["/var/run/postgresql", "/tmp"] {
            let wanted = Wanted { host, ..WANTED };
            assert_eq!(password("localhost:*:*:*:x", &wanted).as_deref(), Some("x"));
        }
        let elsewhere = Wanted {
            host: "/srv/pg",
            ..WANTED
        };
        assert_eq!(password("localhost:*:*:*:x", &elsewhere), None);
        assert_eq!(
            password("/srv/pg:*:*:*:x", &elsewhere).as_deref(),
            Some("x")
        );
    }

    #[test]
    fn a_file_that_other_users_can_read_is_ignored_with_a_warning() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("pgpass");
        fs::write(&file, "*:*:*:*:hunter2\n").unwrap();
        let mut warnings = Vec::new();
        fs::set_permissions(&file, Permissions::from_mode(0o640)).unwrap();
        assert!(look_up(&file, &WANTED, &mut warnings).is_none());
        assert_eq!(warnings.len(), 1);
        assert!(warnings[0].contains("u=rw (0600)"), "{warnings:?}");
        assert!(!warnings[0].contains("hunter2"));

        warnings.clear();
        fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
        let found = look_up(&file, &WANTED, &mut warnings).unwrap();
        assert_eq!(found.expose_secret(), "hunter2");
        assert!(look_up(&directory.path().join("none"), &WANTED, &mut warnings).is_none());
        assert!(warnings.is_empty());

        assert!(look_up(directory.path(), &WANTED, &mut warnings).is_none());
        assert!(warnings[0].contains("not a plain file"));
    }

    proptest! {
        #[test]
        fn an_escaped_line_is_found_again(
            host in "[a-z:\\\\]{1,8}",
            user in "[a-z:\\\\*]{2,8}",
            secret in "[ -~]{0,12}",
        ) {
            let escape = |text: &str| text.replace('\\', "\\\\").replace(':', "\\:");
            let line = format!("{}:5432:*:{}:{}", escape(&host), escape(&user), escape(&secret));
            let wanted = Wanted { host: &host, user: &user, ..WANTED };
            prop_assert_eq!(password(&line, &wanted), Some(secret));
        }
    }
}
