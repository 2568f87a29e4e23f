//! From the typed document to the plan: defaults that depend on other keys, absolute paths.

use std::path::Path;

use globset::GlobMatcher;
use indexmap::IndexMap;

use super::document::{self, Document, OrEnvironment, Password, ServerKeys, SettingValue};
use super::keys::Keys;
use super::model::{
    Accept, Compression, DatabaseFilter, Delay, Dump, Override, Parallelism, PasswordSource, Plan,
    Retry, Server, Side, Tablespaces, Tuning, Value, Waive,
};
use super::scalar::{Glob, Text};

/// What the plan file itself is: not written in it, but part of the plan.
pub(super) struct Origin<'a> {
    /// The plan file, absolute.
    pub path: &'a Path,
    /// The directory that relative paths start from.
    pub directory: &'a Path,
    /// The name of a plan that does not name itself; valid if it is needed.
    pub stem: &'a str,
    pub keys: Keys,
}

/// Makes the plan of a document that was checked.
pub(super) fn plan(document: Document, origin: Origin<'_>) -> Plan {
    let directory = origin.directory;
    let name = document
        .name
        .map_or_else(|| origin.stem.to_owned(), |name| name.0);
    let parallelism = document.parallelism;
    Plan {
        path: origin.path.to_owned(),
        keys: origin.keys,
        source: server(Side::Source, document.source.server, directory),
        target: Server {
            override_read_only: document.target.override_read_only,
            ..server(Side::Target, document.target.server, directory)
        },
        source_read_only: document.source.read_only,
        untrusted_owners: document.target.untrusted_owners,
        source_lock_timeout: document.source.lock_timeout.0,
        tuning: Tuning {
            mode: document.target.tuning.mode,
            shared_target: document.target.tuning.shared_target,
            found_unsafe: document.target.tuning.found_unsafe,
            open_early: document.target.tuning.open_early,
            settings: document
                .target
                .tuning
                .settings
                .into_iter()
                .map(|(name, value)| (name.0, setting(value)))
                .collect(),
        },
        databases: DatabaseFilter {
            include: matchers(document.databases.include),
            exclude: matchers(document.databases.exclude),
        },
        parallelism: Parallelism {
            dump_parallel: parallelism
                .dump_parallel
                .unwrap_or(parallelism.max_parallel),
            restore_parallel: parallelism
                .restore_parallel
                .unwrap_or(parallelism.max_parallel),
            dump_jobs: parallelism.dump_jobs,
            restore_jobs: parallelism.restore_jobs,
            verify_concurrency: parallelism.verify_concurrency,
        },
        dump: Dump {
            root: directory.join(document.dump.root.0),
            compression_is_explicit: document.dump.compression.is_some(),
            compression: document.dump.compression.unwrap_or(Compression::DEFAULT),
            keep: document.dump.keep,
        },
        globals: document.globals.migrate,
        tablespaces: tablespaces(document.tablespaces),
        delay: Delay {
            patterns: document.delay.table_data,
            snapshot: document.delay.snapshot,
            concurrently: document.delay.concurrently,
            index_memory: document.delay.index_memory.map(|size| size.0),
        },
        verify: document.verify.mode,
        retry: Retry {
            attempts: document.retry.attempts,
            backoff: document.retry.backoff.0,
            max_backoff: document.retry.max_backoff.0,
            restore_settings: document.retry.restore_settings.0,
        },
        state_dir: directory.join(document.state.dir.0).join(&name),
        accept: document.accept.into_iter().map(accept).collect(),
        waive: document.waive.into_iter().map(waive).collect(),
        overrides: document.overrides.into_iter().map(other_values).collect(),
        name,
    }
}

fn server(side: Side, keys: ServerKeys, directory: &Path) -> Server {
    let file = |path: Text| directory.join(path.0);
    Server {
        side,
        service: keys.service.map(|service| service.0),
        host: keys.host.map(|host| value(host, |host| host.0)),
        port: keys.port.map(|port| value(port, u16::from)),
        user: keys.user.map(|user| value(user, |user| user.0)),
        database: keys.database.map(|database| value(database, |name| name.0)),
        password: keys.password.map(|password| match password {
            Password::Env(variable) => PasswordSource::Env(variable.0),
            Password::File(path) => PasswordSource::File(file(path)),
            Password::Command(words) => {
                PasswordSource::Command(words.into_iter().map(|word| word.0).collect())
            }
        }),
        sslmode: keys.sslmode,
        sslrootcert: keys.sslrootcert.map(file),
        sslcert: keys.sslcert.map(file),
        sslkey: keys.sslkey.map(file),
        sslcrl: keys.sslcrl.map(file),
        min_tls: keys.ssl_min_protocol_version,
        require_auth: keys.require_auth,
        channel_binding: keys.channel_binding,
        connect_timeout: keys.connect_timeout.0,
        max_connections: keys.max_connections,
        override_read_only: false,
    }
}

fn value<T, U>(written: OrEnvironment<T>, plain: impl FnOnce(T) -> U) -> Value<U> {
    match written {
        OrEnvironment::Literal(literal) => Value::Literal(plain(literal)),
        OrEnvironment::Environment(variable) => Value::Env(variable.env.0),
    }
}

/// As PostgreSQL spells it in ALTER SYSTEM SET.
fn setting(value: SettingValue) -> String {
    match value {
        SettingValue::Boolean(true) => "on".to_owned(),
        SettingValue::Boolean(false) => "off".to_owned(),
        SettingValue::Integer(number) => number.to_string(),
        SettingValue::Float(number) => number.to_string(),
        SettingValue::Text(text) => text,
    }
}

fn tablespaces(chosen: IndexMap<Text, Text>) -> Tablespaces {
    let chosen = chosen.into_iter();
    let by_name = chosen.map(|(name, chosen)| {
        let chosen = Some(chosen.0).filter(|chosen| chosen != "default");
        (name.0, chosen)
    });
    Tablespaces(by_name.collect())
}

fn matchers(globs: Vec<Glob>) -> Vec<GlobMatcher> {
    globs.into_iter().map(|glob| glob.0).collect()
}

fn accept(entry: document::Accept) -> Accept {
    Accept {
        database: entry.database.0,
        object: entry.object.0,
        reason: entry.reason.0,
    }
}

fn waive(entry: document::Waive) -> Waive {
    Waive {
        code: entry.code.0,
        object: entry.object.0,
        until: entry.until.0,
        reason: entry.reason.0,
    }
}

fn other_values(entry: document::Override) -> Override {
    Override {
        databases: matchers(entry.databases),
        dump_jobs: entry.dump_jobs,
        restore_jobs: entry.restore_jobs,
        compression: entry.compression,
        transfer: entry.transfer,
    }
}
