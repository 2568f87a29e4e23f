//! Settings of a server as its own configuration has them, whatever a role, a database or a session sets for itself.

use std::fmt;

/// Settings that matter by where they come from.
pub(crate) const WATCHED: [&str; 9] = [
    "autovacuum",
    "default_transaction_read_only",
    "fsync",
    "full_page_writes",
    "ignore_checksum_failure",
    "ignore_system_indexes",
    "old_snapshot_threshold",
    "synchronous_commit",
    "zero_damaged_pages",
];

/// Settings with which the target loses what it was given: in a crash of its operating system, a moment's commits, or, without
/// vacuum, its space and in the end its transaction ids.
pub(crate) const SAFEGUARDS: [&str; 4] = [
    "fsync",
    "full_page_writes",
    "synchronous_commit",
    "autovacuum",
];

/// One of the [`WATCHED`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerSetting {
    pub name: String,
    pub setting: String,
    pub origin: Origin,
}

/// Where the value of a server's setting comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Nobody set it.
    Default,
    /// ALTER SYSTEM: `postgresql.auto.conf`.
    AlterSystem,
    /// A configuration file, with its path and the line where the role may see them.
    File(Option<(String, Option<i32>)>),
    CommandLine,
    Environment,
    /// ALTER ROLE ALL … SET.
    AllRoles,
}

impl fmt::Display for Origin {
    /// After "by".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Default => f.write_str("default"),
            Origin::AlterSystem => f.write_str("ALTER SYSTEM, in postgresql.auto.conf"),
            Origin::File(None) => f.write_str("a configuration file"),
            Origin::File(Some((file, None))) => f.write_str(file),
            Origin::File(Some((file, Some(line)))) => write!(f, "{file}, line {line}"),
            Origin::CommandLine => f.write_str("the command line of the server"),
            Origin::Environment => f.write_str("the environment of the server"),
            Origin::AllRoles => f.write_str("ALTER ROLE ALL"),
        }
    }
}

impl ServerSetting {
    /// What a person does on the server to be without it; it takes effect when the configuration is loaded again, where
    /// [`Self::needs_reload`].
    pub(crate) fn removal(&self) -> String {
        let name = &self.name;
        match &self.origin {
            Origin::Default | Origin::AlterSystem => format!("ALTER SYSTEM RESET {name}"),
            Origin::File(None) => format!("remove {name} from the configuration file"),
            Origin::File(Some((file, _))) => format!("remove {name} from {file}"),
            Origin::CommandLine => {
                format!("start the server without {name} on its command line")
            }
            Origin::Environment => format!("start the server without {name} in its environment"),
            Origin::AllRoles => format!("ALTER ROLE ALL RESET {name}"),
        }
    }

    pub(crate) fn needs_reload(&self) -> bool {
        matches!(
            self.origin,
            Origin::Default | Origin::AlterSystem | Origin::File(_)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_origin_is_told_with_what_a_person_does() {
        let file = |line| Origin::File(Some(("/etc/pg/postgresql.conf".to_owned(), line)));
        let origins = [
            Origin::AlterSystem,
            Origin::File(None),
            file(None),
            file(Some(12)),
            Origin::CommandLine,
            Origin::Environment,
            Origin::AllRoles,
        ];
        let told = origins.map(|origin| {
            let setting = ServerSetting {
                name: "fsync".to_owned(),
                setting: "off".to_owned(),
                origin,
            };
            format!("{}: {}", setting.origin, setting.removal())
        });
        insta::assert_snapshot!(told.join("\n"), @r"
        ALTER SYSTEM, in postgresql.auto.conf: ALTER SYSTEM RESET fsync
        a configuration file: remove fsync from the configuration file
        /etc/pg/postgresql.conf: remove fsync from /etc/pg/postgresql.conf
        /etc/pg/postgresql.conf, line 12: remove fsync from /etc/pg/postgresql.conf
        the command line of the server: start the server without fsync on its command line
        the environment of the server: start the server without fsync in its environment
        ALTER ROLE ALL: ALTER ROLE ALL RESET fsync
        ");
    }
}
