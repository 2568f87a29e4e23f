//! Names and other texts that mean themselves.

use std::fmt;

use super::parse::{Invalid, Scalar, invalid};
use crate::escape::misleads;
use crate::plan::protection::RequireAuth;

/// Texts that mean themselves, once they are found valid.
macro_rules! word {
    ($($(#[$doc:meta])* $name:ident;)*) => { $(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash)]
        pub(in crate::plan) struct $name(pub String);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    )* };
}

word! {
    /// Any text that is not blank.
    Text;
    /// A plan's name: it names a directory, sessions on both servers, and lines in reports.
    PlanName;
    /// What libpq's `host` may be, one of it.
    Host;
    /// The name of an environment variable.
    Variable;
    /// The name of a PostgreSQL setting, in lower case: PostgreSQL does not tell them apart.
    SettingName;
}

impl Scalar for Text {
    const FORMAT: &'static str = "text";
    const PATTERN: &'static str = r"\S";

    fn parse(text: &str) -> Result<Self, Invalid> {
        if text.trim().is_empty() {
            return invalid("is empty", "write a value, or remove the key");
        }
        Ok(Text(text.to_owned()))
    }
}

/// In characters, so that any name fits a file system's 255 bytes.
const NAME_LENGTH: usize = 60;

impl Scalar for PlanName {
    const FORMAT: &'static str = "plan-name";
    const PATTERN: &'static str = r"^[^\s\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069./\\-]([^\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069/\\]{0,58}[^\s\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069/\\])?$";

    fn parse(text: &str) -> Result<Self, Invalid> {
        let inside = |c: char| c != '/' && c != '\\' && !misleads(c);
        let first = |c: char| inside(c) && !c.is_whitespace() && c != '.' && c != '-';
        let valid = text.chars().count() <= NAME_LENGTH
            && text.starts_with(first)
            && text.chars().all(inside)
            && !text.ends_with(char::is_whitespace);
        if !valid {
            return invalid(
                "cannot name a directory",
                format!(
                    "the name is a directory's: up to {NAME_LENGTH} characters, no slash, no \
                     dot, dash or blank in front"
                ),
            );
        }
        Ok(PlanName(text.to_owned()))
    }
}

impl Scalar for Host {
    const FORMAT: &'static str = "host";
    const PATTERN: &'static str = r"^(/.*|[^\s,:/@=]+|[^\s,:/@=]*:[^\s,:/@=]*:[^\s,/@=]*)$";

    fn parse(text: &str) -> Result<Self, Invalid> {
        if text.starts_with('/') {
            return Ok(Host(text.to_owned()));
        }
        // It may hold a password, so nothing of it is repeated.
        if text.contains("://") || text.contains(['@', '=']) {
            return invalid(
                "is a connection string, not a host",
                "write its parts as `host`, `port`, `user` and `database`",
            );
        }
        if text.contains(',') {
            return invalid(
                "names several hosts",
                "name the one host that this migration is about",
            );
        }
        if text.is_empty() || text.contains(|c: char| c.is_whitespace() || c == '/') {
            return invalid(
                "is not a host",
                "write a host name, an address, or the directory of a Unix-domain socket",
            );
        }
        // One colon is a port, two or more are an IPv6 address.
        if let Some((host, port)) = text.split_once(':')
            && !port.contains(':')
        {
            return invalid(
                "is a host and a port",
                format!("write `host = \"{host}\"` and `port = {port}`"),
            );
        }
        Ok(Host(text.to_owned()))
    }
}

impl Scalar for Variable {
    const FORMAT: &'static str = "environment-variable";
    const PATTERN: &'static str = "^[A-Za-z_][A-Za-z0-9_]*$";

    fn parse(text: &str) -> Result<Self, Invalid> {
        if !is_identifier(text) {
            return invalid(
                "is not the name of an environment variable",
                "a name has letters, digits and `_`, and no `$` in front",
            );
        }
        Ok(Variable(text.to_owned()))
    }
}

impl Scalar for SettingName {
    const FORMAT: &'static str = "setting-name";
    const PATTERN: &'static str = r"^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*$";

    fn parse(text: &str) -> Result<Self, Invalid> {
        if !text.split('.').all(is_identifier) {
            return invalid(
                "is not the name of a PostgreSQL setting",
                "see `SELECT name FROM pg_settings` on the target",
            );
        }
        Ok(SettingName(text.to_ascii_lowercase()))
    }
}

impl Scalar for RequireAuth {
    const FORMAT: &'static str = "authentication-methods";
    const PATTERN: &'static str = "^(!?(password|md5|gss|sspi|scram-sha-256|oauth|none))(,!?(password|md5|gss|sspi|scram-sha-256|oauth|none))*$";

    fn parse(text: &str) -> Result<Self, Invalid> {
        RequireAuth::parse(text).or_else(|message| {
            invalid(
                message,
                "write libpq's words with commas and without blanks, as in \"scram-sha-256\", \"scram-sha-256,gss\", or what the server \
                 may not ask for, \"!password,!md5\"",
            )
        })
    }
}

fn is_identifier(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}
