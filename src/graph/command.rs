//! The command lines of the client programs. They hold no secret: passwords go through the environment.

use std::path::{Path, PathBuf};

use super::delay::DelayedTable;
use crate::catalog::Version;
use crate::plan::{Compression, Plan};

/// Stands for the snapshot's identifier until the run has exported it.
pub(crate) const SNAPSHOT: &str = "--snapshot=<exported by the run>";

/// `pg_dump` of one database into a directory archive (PostgreSQL manual, pg_dump).
pub(super) struct DumpCommand<'a> {
    pub conninfo: &'a str,
    pub archive: &'a Path,
    pub jobs: u32,
    pub compression: &'a Compression,
    pub client: Version,
    pub target: Version,
    /// How long to wait for a table's lock before giving up.
    pub lock_timeout: std::time::Duration,
    /// The source is one: it has no rows of unlogged tables and refuses to read them.
    pub is_standby: bool,
    /// The database's own: its bytes arrive as they are, also those that another encoding lacks.
    pub encoding: &'a str,
    pub content: Content<'a>,
}

/// What of a database an archive holds.
pub(super) enum Content<'a> {
    /// Everything but the data of these tables.
    Regular(&'a [DelayedTable]),
    /// The data of these tables alone.
    Delayed(&'a [DelayedTable]),
}

impl DumpCommand<'_> {
    /// The program and its arguments.
    pub(super) fn render(&self) -> Vec<String> {
        let mut command = vec![
            "pg_dump".to_owned(),
            "--format=directory".to_owned(),
            format!("--jobs={}", self.jobs),
            format!("--compress={}", compression(self.compression, self.client)),
            format!("--lock-wait-timeout={}", self.lock_timeout.as_millis()),
            // A word may have become reserved between the two versions.
            "--quote-all-identifiers".to_owned(),
            format!("--encoding={}", self.encoding),
        ];
        if self.is_standby {
            command.push("--no-unlogged-table-data".to_owned());
        }
        match self.content {
            Content::Regular(delayed) => {
                if self.client.major() >= 1800 && self.target.major() >= 1800 {
                    // Without them the target would have to be analyzed before it serves.
                    command.push("--statistics".to_owned());
                }
                let exclude =
                    |table: &DelayedTable| format!("--exclude-table-data={}", table.name.quoted());
                command.extend(delayed.iter().map(exclude));
            }
            Content::Delayed(tables) => {
                command.push("--data-only".to_owned());
                let include = |table: &DelayedTable| format!("--table={}", table.name.quoted());
                command.extend(tables.iter().map(include));
            }
        }
        command.extend([
            "--verbose".to_owned(),
            SNAPSHOT.to_owned(),
            format!("--file={}", self.archive.display()),
            format!("--dbname={}", self.conninfo),
        ]);
        command
    }
}

/// Stands for the parts of an archive that are restored one after the other, each by a pg_restore of its own.
pub(crate) const PARTS: &str = "--use-list=<pre-data, then data, then post-data>";

/// Leaves everything in the default tablespace of the database; what belongs elsewhere is moved there.
pub(crate) const NO_TABLESPACES: &str = "--no-tablespaces";

/// `pg_restore` of a directory archive (PostgreSQL manual, pg_restore). `chooses_tablespaces`: the plan puts something
/// elsewhere than the archive says.
pub(super) fn restore(
    conninfo: &str,
    archive: &Path,
    jobs: u32,
    chooses_tablespaces: bool,
) -> Vec<String> {
    let mut command = vec![
        "pg_restore".to_owned(),
        "--format=directory".to_owned(),
        format!("--jobs={jobs}"),
        "--verbose".to_owned(),
    ];
    if chooses_tablespaces {
        command.push(NO_TABLESPACES.to_owned());
    }
    command.extend([
        PARTS.to_owned(),
        format!("--dbname={conninfo}"),
        archive.display().to_string(),
    ]);
    command
}

/// `pg_dumpall` of roles and tablespaces (PostgreSQL manual, pg_dumpall), which goes by way of this database. It does not
/// care for the one in `conninfo`.
pub(crate) fn globals(conninfo: &str, database: &str, with_passwords: bool) -> Vec<String> {
    let mut command = vec![
        "pg_dumpall".to_owned(),
        "--globals-only".to_owned(),
        "--encoding=UTF8".to_owned(),
    ];
    if !with_passwords {
        command.push("--no-role-passwords".to_owned());
    }
    command.push(format!("--database={database}"));
    command.push(format!("--dbname={conninfo}"));
    command
}

/// Before 16, pg_dump knows levels of gzip alone.
fn compression(compression: &Compression, client: Version) -> String {
    if client.major() >= 1600 {
        return compression.to_string();
    }
    match compression {
        Compression::None => "0".to_owned(),
        Compression::Gzip(Some(level)) => level.to_string(),
        _ => "6".to_owned(),
    }
}

/// The directory of a plan's archives: `<dump.root>/<plan>`.
pub(crate) fn archives(plan: &Plan) -> PathBuf {
    plan.dump.root.join(&plan.name)
}

/// The directory of a database's archive: `<dump.root>/<plan>/<database>`.
pub(crate) fn archive(plan: &Plan, database: &str) -> PathBuf {
    archives(plan).join(file_name(database))
}

/// The directory of the archive of a database's delayed tables. No database's own archive has this name,
/// because a plus sign in a name is encoded.
pub(crate) fn delayed_archive(plan: &Plan, database: &str) -> PathBuf {
    let name = format!("{}+delayed", file_name(database));
    archives(plan).join(name)
}

/// A name on one server as the name of a file: percent-encoded but for what every file system takes.
/// Two different names never yield the same file name.
pub(crate) fn file_name(name: &str) -> String {
    let mut encoded = String::with_capacity(name.len());
    for (index, byte) in name.bytes().enumerate() {
        let plain = byte.is_ascii_alphanumeric()
            || matches!(byte, b'_' | b'-' | b' ')
            || (byte == b'.' && index > 0);
        if plain {
            encoded.push(byte as char);
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_file_names() {
        assert_eq!(file_name("erp"), "erp");
        assert_eq!(file_name("Weird Name"), "Weird Name");
        assert_eq!(
            file_name("../a/b%"),
            "%2E./a/b%".replace('/', "%2F").replace("b%", "b%25")
        );
        assert_eq!(file_name(".."), "%2E.");
        assert_eq!(file_name("é"), "%C3%A9");
        // 63 bytes, the longest name of a database, stay under the 255 of a file's name.
        assert_eq!(file_name(&"é".repeat(31)).len(), 186);
    }

    #[test]
    fn older_clients_get_levels_of_gzip() {
        assert_eq!(
            compression(&Compression::Zstd(Some(5)), Version(180_006)),
            "zstd:5"
        );
        assert_eq!(
            compression(&Compression::Gzip(Some(3)), Version(150_018)),
            "3"
        );
        assert_eq!(compression(&Compression::None, Version(150_018)), "0");
    }
}
