//! Names and values inside other texts: SQL and libpq connection strings.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use crate::names::quote_identifier;
use crate::plan::Endpoint;

/// How long a connection is idle before it asks whether its peer is still there, how long it waits between
/// two such probes, and how many go unanswered before the connection counts as lost.
///
/// The leader of a parallel pg_dump says nothing for hours while its workers copy. Firewalls forget
/// such connections, and the kernel's own first probe comes after two hours.
pub(crate) const KEEPALIVE_IDLE: Duration = Duration::from_secs(60);
pub(crate) const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
pub(crate) const KEEPALIVE_COUNT: u32 = 6;

/// The name of what is in a schema, for use in SQL.
pub(crate) fn quote_qualified(schema: &str, name: &str) -> String {
    format!("{}.{}", quote_identifier(schema), quote_identifier(name))
}

/// A value for use in SQL where no parameter can stand.
///
/// A text with a backslash becomes an escape string, which means the same under either
/// `standard_conforming_strings` (PostgreSQL manual, 4.1.2.2).
pub(crate) fn quote_literal(value: &str) -> String {
    let quoted = value.replace('\'', "''");
    if quoted.contains('\\') {
        format!("E'{}'", quoted.replace('\\', "\\\\"))
    } else {
        format!("'{quoted}'")
    }
}

/// A libpq connection string (PostgreSQL manual, 32.1.1.1 "Keyword/Value Connection Strings") for
/// the client programs. It never holds the password: that goes by their environment.
pub(crate) fn conninfo(endpoint: &Endpoint, database: &str) -> String {
    let mut pairs = vec![("host", endpoint.host.clone())];
    if let Some(address) = endpoint.hostaddr {
        pairs.push(("hostaddr", address.to_string()));
    }
    pairs.extend([
        ("port", endpoint.port.to_string()),
        ("user", endpoint.user.clone()),
        ("dbname", database.to_owned()),
        ("sslmode", endpoint.sslmode.as_str().to_owned()),
    ]);
    let files = [
        ("sslrootcert", &endpoint.sslrootcert),
        ("sslcert", &endpoint.sslcert),
        ("sslkey", &endpoint.sslkey),
    ];
    for (key, file) in files {
        if let Some(path) = file.as_deref().map(Path::to_string_lossy) {
            pairs.push((key, path.into_owned()));
        }
    }
    pairs.extend([
        ("connect_timeout", connect_seconds(endpoint).to_string()),
        ("keepalives_idle", KEEPALIVE_IDLE.as_secs().to_string()),
        (
            "keepalives_interval",
            KEEPALIVE_INTERVAL.as_secs().to_string(),
        ),
        ("keepalives_count", KEEPALIVE_COUNT.to_string()),
    ]);
    let mut text = String::new();
    for (key, value) in pairs {
        let separator = if text.is_empty() { "" } else { " " };
        // People read it in the plan, where it is quoted once more for a shell.
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:@%+,".contains(c);
        let _ = if !value.is_empty() && value.chars().all(is_plain) {
            write!(text, "{separator}{key}={value}")
        } else {
            let value = value.replace('\\', "\\\\").replace('\'', "\\'");
            write!(text, "{separator}{key}='{value}'")
        };
    }
    text
}

/// In whole seconds, as libpq counts them. Rounded up: 0 would be no limit at all.
fn connect_seconds(endpoint: &Endpoint) -> u64 {
    let timeout = endpoint.connect_timeout;
    timeout.as_secs() + u64::from(timeout.subsec_nanos() > 0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::plan::password::Password;
    use crate::plan::{Side, SslMode};

    #[test]
    fn names_and_values_are_quoted() {
        assert_eq!(quote_identifier(r#"Weird "Name""#), r#""Weird ""Name""""#);
        assert_eq!(quote_qualified("a.b", "c"), r#""a.b"."c""#);
        assert_eq!(quote_literal("it's"), "'it''s'");
        assert_eq!(quote_literal(r"a\b"), r"E'a\\b'");
    }

    fn endpoint() -> Endpoint {
        Endpoint {
            side: Side::Source,
            host: "old-db.internal".into(),
            hostaddr: None,
            port: 5433,
            user: "o'brien".into(),
            database: "postgres".into(),
            password: Some(Password::fixed("hunter2".into())),
            sslmode: SslMode::VerifyFull,
            sslrootcert: Some("/etc/my certs/ca.pem".into()),
            sslcert: None,
            sslkey: None,
            protection: crate::plan::Protection::default(),
            connect_timeout: Duration::from_millis(2_500),
            watch: crate::names::Watch::default(),
            override_read_only: false,
        }
    }

    #[test]
    fn a_connection_string_holds_everything_but_the_password() {
        insta::assert_snapshot!(
            conninfo(&endpoint(), r"we\ird"),
            @r"host=old-db.internal port=5433 user='o\'brien' dbname='we\\ird' sslmode=verify-full sslrootcert='/etc/my certs/ca.pem' connect_timeout=3 keepalives_idle=60 keepalives_interval=10 keepalives_count=6"
        );
    }

    #[test]
    fn an_address_beside_the_name_is_kept() {
        let mut endpoint = endpoint();
        endpoint.hostaddr = Some("10.0.0.7".parse().unwrap());
        assert!(conninfo(&endpoint, "d").starts_with("host=old-db.internal hostaddr=10.0.0.7 "));
    }

    /// The server's rules for a string constant: doubled quotes, and backslashes after `E`.
    fn read_literal(text: &str) -> String {
        let (body, escapes) = match text.strip_prefix('E') {
            Some(rest) => (rest, true),
            None => (text, false),
        };
        let body = body.strip_prefix('\'').unwrap().strip_suffix('\'').unwrap();
        let mut value = String::new();
        let mut chars = body.chars();
        while let Some(c) = chars.next() {
            match c {
                '\'' => assert_eq!(chars.next(), Some('\''), "a quote ends the constant early"),
                '\\' if escapes => assert_eq!(chars.next(), Some('\\')),
                '\\' => panic!("a backslash outside an escape string"),
                _ => {}
            }
            value.push(c);
        }
        value
    }

    /// As libpq's `conninfo_parse`.
    fn read_conninfo(text: &str) -> Vec<(String, String)> {
        let mut pairs = Vec::new();
        let mut chars = text.chars().peekable();
        loop {
            let key: String = chars.by_ref().take_while(|c| *c != '=').collect();
            if key.is_empty() {
                return pairs;
            }
            // libpq ends a value without quotes at a blank, and takes backslashes there too (fe-connect.c,
            // conninfo_parse).
            let is_quoted = chars.next_if_eq(&'\'').is_some();
            let mut value = String::new();
            loop {
                match chars.next() {
                    Some('\'') if is_quoted => break,
                    None | Some(' ') if !is_quoted => break,
                    Some('\\') => value.push(chars.next().unwrap()),
                    Some(c) => value.push(c),
                    None => panic!("no closing quote"),
                }
            }
            pairs.push((key.trim_start().to_owned(), value));
        }
    }

    proptest! {
        #[test]
        fn an_identifier_ends_where_it_should(name in "\\PC*|[\"a\\\\]*") {
            let quoted = quote_identifier(&name);
            let inner = quoted.strip_prefix('"').unwrap().strip_suffix('"').unwrap();
            prop_assert_eq!(inner.replace("\"\"", "").matches('"').count(), 0);
            prop_assert_eq!(inner.replace("\"\"", "\""), name);
        }

        #[test]
        fn a_literal_reads_back(value in "\\PC*|['\\\\a]*") {
            prop_assert_eq!(read_literal(&quote_literal(&value)), value);
        }

        #[test]
        fn a_connection_string_reads_back(user in "\\PC*|['\\\\ =a]*", database in "['\\\\ =a]*") {
            let mut endpoint = endpoint();
            endpoint.user = user.clone();
            let pairs = read_conninfo(&conninfo(&endpoint, &database));
            prop_assert!(pairs.contains(&("user".to_owned(), user)));
            prop_assert!(pairs.contains(&("dbname".to_owned(), database)));
            prop_assert_eq!(pairs.len(), 10);
        }
    }
}
