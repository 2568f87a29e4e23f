//! What the client programs on this machine are, and what they can do.

use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use miette::Diagnostic;
use tokio_util::sync::CancellationToken;

use super::child::{ChildError, Finished, Invocation, Stdout};
use super::environment::PgEnvironment;
use crate::catalog::{ClientFacts, Version};
use crate::postgres::escape_control;

const PG_DUMP: &str = "pg_dump";
pub(super) const PROGRAMS: [&str; 3] = [PG_DUMP, "pg_dumpall", "pg_restore"];

/// The directory of a socket that does not exist: a program that complains about it got as far as connecting.
const NO_SOCKET: &str = "/no-such-directory.pg-migrate";

/// Client programs that cannot be used.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub(crate) enum ClientError {
    #[error("cannot find {program} in any directory of PATH ({path})")]
    #[diagnostic(help(
        "Install PostgreSQL's client programs (pg_dump, pg_dumpall, pg_restore), of the target's \
         major version or newer: the package is called postgresql-client-18 or postgresql18, for \
         instance. Or put their directory on PATH."
    ))]
    NotFound { program: &'static str, path: String },
    #[error("cannot ask {program} for its version")]
    Run {
        program: &'static str,
        #[source]
        #[diagnostic_source]
        source: ChildError,
    },
    #[error(
        "cannot read the version of {program} from \"{}\"",
        escape_control(output)
    )]
    #[diagnostic(help("Is it PostgreSQL's own program? A wrapper may come before it on PATH."))]
    Version {
        program: &'static str,
        output: String,
    },
}

/// Finds pg_dump, pg_dumpall and pg_restore on PATH and asks them what they can do. Connects to nothing.
pub(crate) async fn client_facts() -> Result<ClientFacts, ClientError> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    facts_in(&path).await
}

async fn facts_in(path: &OsStr) -> Result<ClientFacts, ClientError> {
    let [dump, dumpall, restore] = PROGRAMS.map(|program| look_up(program, path));
    let (dump, dumpall, restore) = (dump?, dumpall?, restore?);
    let ((dump_version, dump_is_beta), of_dumpall, of_restore) = tokio::try_join!(
        version(PROGRAMS[0], &dump),
        version(PROGRAMS[1], &dumpall),
        version(PROGRAMS[2], &restore),
    )?;
    // pg_dump names methods since 16; before, a number is a level of gzip.
    let gzip = if dump_version >= Version(160_000) {
        "gzip:1"
    } else {
        "1"
    };
    let (gzip, lz4, zstd, tls) = tokio::try_join!(
        can_compress(&dump, gzip),
        can_compress(&dump, "lz4:1"),
        can_compress(&dump, "zstd:1"),
        gets_to_connect(&dump, &[], "require"),
    )?;
    Ok(ClientFacts {
        version: dump_version.min(of_dumpall.0).min(of_restore.0),
        is_beta: dump_is_beta || of_dumpall.1 || of_restore.1,
        gzip,
        lz4,
        zstd,
        tls,
    })
}

/// The first executable file of this name, as execvp(3) finds it.
fn look_up(program: &'static str, path: &OsStr) -> Result<PathBuf, ClientError> {
    std::env::split_paths(path)
        .map(|directory| directory.join(program))
        .find(|file| is_executable(file))
        .ok_or_else(|| ClientError::NotFound {
            program,
            path: escape_control(&path.to_string_lossy()).into_owned(),
        })
}

fn is_executable(file: &Path) -> bool {
    file.metadata()
        .is_ok_and(|data| data.is_file() && data.permissions().mode() & 0o111 != 0)
}

/// Reads the version out of `pg_dump (PostgreSQL) 18.6 (Debian …)`, and whether it is one before the release: `19beta2`, `18rc1`.
async fn version(program: &'static str, file: &Path) -> Result<(Version, bool), ClientError> {
    let finished = run(program, file, &["--version"])
        .await
        .and_then(|finished| {
            finished
                .success()
                .map_err(|source| ClientError::Run { program, source })
        })?;
    let output = String::from_utf8_lossy(&finished.stdout);
    output
        .split_once("(PostgreSQL) ")
        .and_then(|(_, version)| {
            let number = version.split_whitespace().next().unwrap_or_default();
            let is_beta = number.chars().any(|c| c.is_ascii_alphabetic());
            Version::parse(version).map(|version| (version, is_beta))
        })
        .ok_or_else(|| ClientError::Version {
            program,
            output: output.trim_end().to_owned(),
        })
}

async fn can_compress(dump: &Path, method: &str) -> Result<bool, ClientError> {
    gets_to_connect(dump, &["-Z", method], "disable").await
}

/// Whether pg_dump takes the options, built as it is, and goes on to connect.
async fn gets_to_connect(
    dump: &Path,
    options: &[&str],
    sslmode: &str,
) -> Result<bool, ClientError> {
    let server = format!("host={NO_SOCKET} port=1 user=nobody dbname=none sslmode={sslmode}");
    let mut arguments = vec!["--no-password", "--file=/dev/null", "--dbname", &server];
    arguments.extend(options);
    let finished = run(PG_DUMP, dump, &arguments).await?;
    let complaint = finished.stderr_tail.join("\n");
    // Before 16, a pg_dump without zlib only warns, and does not compress.
    Ok(complaint.contains(NO_SOCKET)
        && !complaint.contains("compression not available in this installation"))
}

async fn run(
    program: &'static str,
    file: &Path,
    arguments: &[&str],
) -> Result<Finished, ClientError> {
    Invocation::new(file)
        .arguments(arguments)
        .environment(PgEnvironment::default())
        .stdout(Stdout::Capture { limit: 64 * 1024 })
        .run(&CancellationToken::new(), |_| {})
        .await
        .map_err(|source| ClientError::Run { program, source })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Client programs that say what the given shell scripts say.
    fn programs(directory: &Path, dump: &str, dumpall: &str, restore: &str) {
        for (name, script) in PROGRAMS.into_iter().zip([dump, dumpall, restore]) {
            let file = directory.join(name);
            std::fs::write(&file, format!("#!/bin/sh\n{script}\n")).unwrap();
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
        }
    }

    fn says_version(version: &str) -> String {
        format!("echo 'pg_x (PostgreSQL) {version}'")
    }

    #[tokio::test]
    async fn a_missing_program_is_named() {
        let directory = tempfile::tempdir().unwrap();
        programs(directory.path(), "", "", "");
        std::fs::remove_file(directory.path().join("pg_restore")).unwrap();
        // A directory of that name is not a program.
        std::fs::create_dir(directory.path().join("pg_restore")).unwrap();
        let error = facts_in(directory.path().as_os_str()).await.unwrap_err();
        let shown = error.to_string();
        assert_eq!(
            shown.replace(&directory.path().display().to_string(), "DIR"),
            "cannot find pg_restore in any directory of PATH (DIR)"
        );
    }

    #[tokio::test]
    async fn the_lowest_version_counts_and_pg_dump_says_what_it_can() {
        let directory = tempfile::tempdir().unwrap();
        let dump = format!(
            r#"case "$*" in
               --version) {};;
               *zstd:1*) echo 'pg_dump: error: this build does not support compression with ZSTD' >&2; exit 1;;
               *) echo "pg_dump: error: connection failed: $*" >&2; exit 1;;
               esac"#,
            says_version("18.6 (Debian 18.6-1)")
        );
        programs(
            directory.path(),
            &dump,
            &says_version("17.10"),
            &says_version("18.6"),
        );
        assert_eq!(
            facts_in(directory.path().as_os_str()).await.unwrap(),
            ClientFacts {
                version: Version(170_010),
                is_beta: false,
                gzip: true,
                lz4: true,
                zstd: false,
                tls: true,
            }
        );
    }

    #[tokio::test]
    async fn a_program_without_a_version_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        let version = says_version("18.6");
        programs(directory.path(), "echo hello", &version, &version);
        let error = facts_in(directory.path().as_os_str()).await.unwrap_err();
        insta::assert_snapshot!(error, @r#"cannot read the version of pg_dump from "hello""#);
    }
}
