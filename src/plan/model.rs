//! The validated plan: what the rest of the program works with.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use globset::GlobMatcher;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::keys::Keys;
use super::password::Password;
use super::protection::{ChannelBinding, Method, Protection, RequireAuth, TlsVersion};
use crate::escape::escape_control;
use crate::finding::Code;
use crate::names::Watch;

/// One of the two servers of a migration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    Source,
    Target,
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Side::Source => "source",
            Side::Target => "target",
        })
    }
}

/// A plan file that was read and found valid.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Names the run's state directory; the file's stem unless the plan says otherwise.
    pub name: String,
    /// The plan file, absolute.
    pub path: PathBuf,
    /// The file's keys, as they are written there.
    pub keys: Keys,
    pub source: Server,
    pub target: Server,
    /// No client writes to the source, so a new snapshot is as good as an older one.
    pub source_read_only: bool,
    /// Code of the source's owners that would run with our rights keeps the run from starting.
    pub untrusted_owners: bool,
    /// How long one of our sessions may wait for a lock on the source (`lock_timeout`).
    pub source_lock_timeout: Duration,
    pub tuning: Tuning,
    pub databases: DatabaseFilter,
    pub parallelism: Parallelism,
    pub dump: Dump,
    /// Whether roles and tablespaces migrate (`globals.migrate`).
    pub globals: bool,
    pub tablespaces: Tablespaces,
    pub delay: Delay,
    pub verify: VerifyMode,
    pub retry: Retry,
    /// `<state.dir>/<name>`, absolute.
    pub state_dir: PathBuf,
    pub accept: Vec<Accept>,
    pub waive: Vec<Waive>,
    pub overrides: Vec<Override>,
}

/// A value that is written in the plan or taken from the environment when the run starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value<T> {
    Literal(T),
    /// The name of an environment variable.
    Env(String),
}

/// Where a password comes from. The plan never holds the password itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PasswordSource {
    /// The name of an environment variable.
    Env(String),
    /// A file whose first line is the password; absolute.
    File(PathBuf),
    /// A program and its arguments; its first line of output is the password.
    Command(Vec<String>),
}

/// libpq's `sslmode` (PostgreSQL manual, 32.19.3 "Protection Provided in Different Modes").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SslMode {
    /// Never TLS.
    Disable,
    /// TLS only where the server insists on it.
    Allow,
    /// TLS where the server offers it; the default.
    #[default]
    Prefer,
    /// TLS or no connection; the server's certificate is not checked.
    Require,
    /// TLS with a certificate that `sslrootcert` vouches for.
    VerifyCa,
    /// As `verify-ca`, and the certificate names the host; the one to use across networks.
    VerifyFull,
}

impl SslMode {
    /// Whether there is no connection without TLS.
    pub fn is_always_tls(self) -> bool {
        matches!(
            self,
            SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull
        )
    }

    /// The word libpq uses.
    pub fn as_str(self) -> &'static str {
        match self {
            SslMode::Disable => "disable",
            SslMode::Allow => "allow",
            SslMode::Prefer => "prefer",
            SslMode::Require => "require",
            SslMode::VerifyCa => "verify-ca",
            SslMode::VerifyFull => "verify-full",
        }
    }
}

/// How to reach one server, as the plan says it. What is absent comes from the libpq service or
/// from the reference tool's defaults (`localhost`, 5432, `postgres`, `postgres`).
#[derive(Debug, Clone)]
pub struct Server {
    pub side: Side,
    pub service: Option<String>,
    pub host: Option<Value<String>>,
    pub port: Option<Value<u16>>,
    pub user: Option<Value<String>>,
    /// The database for discovery and for statements about the whole server.
    pub database: Option<Value<String>>,
    pub password: Option<PasswordSource>,
    pub sslmode: Option<SslMode>,
    pub sslrootcert: Option<PathBuf>,
    pub sslcert: Option<PathBuf>,
    pub sslkey: Option<PathBuf>,
    pub sslcrl: Option<PathBuf>,
    pub(crate) min_tls: Option<TlsVersion>,
    pub(crate) require_auth: Option<RequireAuth>,
    pub(crate) channel_binding: Option<ChannelBinding>,
    pub connect_timeout: Duration,
    /// This run's connection budget on the server; `None`: what the server has free, less a reserve.
    pub max_connections: Option<u32>,
    /// Of the target: its own `default_transaction_read_only` does not keep us from writing.
    pub override_read_only: bool,
}

/// `[target.tuning]`.
#[derive(Debug, Clone)]
pub struct Tuning {
    pub mode: TuningMode,
    /// Accepts `fast` although the target serves other databases.
    pub shared_target: bool,
    pub found_unsafe: FoundUnsafe,
    /// Verified databases open to clients although a crash would lose the cluster.
    pub open_early: bool,
    /// Overrides and additions to the mode's settings, in the plan's order.
    pub settings: Vec<(String, String)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum TuningMode {
    /// Everything that makes the load quick, `fsync` and `full_page_writes` off included: a crash
    /// of the target's operating system during the load loses the target. The default.
    #[default]
    Fast,
    /// Only what cannot lose data.
    Safe,
    /// The target's settings stay as they are.
    Off,
}

/// What becomes of `fsync`, `full_page_writes`, `synchronous_commit` and `autovacuum` that are off on the target before a run
/// of the plan switched them off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum FoundUnsafe {
    /// The run does not start. The default.
    #[default]
    Refuse,
    /// They are the owner's choice, and stay off after the run.
    Keep,
}

/// Globs over database names.
#[derive(Debug, Clone)]
pub struct DatabaseFilter {
    pub include: Vec<GlobMatcher>,
    pub exclude: Vec<GlobMatcher>,
}

impl DatabaseFilter {
    /// Whether the plan takes a database of this name.
    pub fn takes(&self, name: &str) -> bool {
        self.include.iter().any(|glob| glob.is_match(name))
            && !self.exclude.iter().any(|glob| glob.is_match(name))
    }

    /// What `include` names without a wildcard, and `exclude` does not match: these are expected to be there.
    pub fn named(&self) -> Vec<String> {
        let globs = self.include.iter();
        globs.filter_map(|glob| self.named_by(glob)).collect()
    }

    /// The one that an entry of `include` names so.
    pub fn named_by(&self, glob: &GlobMatcher) -> Option<String> {
        literal(glob.glob().glob()).filter(|name| self.takes(name))
    }
}

/// The only text that the glob matches; `None`: it has a wildcard.
fn literal(glob: &str) -> Option<String> {
    let mut text = String::with_capacity(glob.len());
    let mut characters = glob.chars();
    while let Some(character) = characters.next() {
        match character {
            '*' | '?' | '[' | '{' => return None,
            '\\' => text.push(characters.next()?),
            other => text.push(other),
        }
    }
    Some(text)
}

/// `[parallelism]`, with the defaults filled in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parallelism {
    /// Databases at a time on the source.
    pub dump_parallel: u32,
    /// Databases at a time on the target.
    pub restore_parallel: u32,
    /// `pg_dump -j`, per database.
    pub dump_jobs: u32,
    /// `pg_restore -j`, per database; also bounds parallel CREATE INDEX.
    pub restore_jobs: u32,
    /// Count queries in flight over all databases and both servers.
    pub verify_concurrency: u32,
}

/// `pg_dump --compress` (PostgreSQL manual, pg_dump).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Compression {
    /// The best that the installed pg_dump can do.
    Auto,
    None,
    /// Method and level; `None`: the method's default level.
    Gzip(Option<u8>),
    Lz4(Option<u8>),
    /// Negative levels are zstd's fast ones.
    Zstd(Option<i32>),
}

impl Compression {
    /// What a plan that names no compression gets: the reference tool's.
    pub const DEFAULT: Compression = Compression::Zstd(Some(5));
}

impl fmt::Display for Compression {
    /// As the plan and `pg_dump --compress` spell it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (method, level) = match self {
            Compression::Auto => ("auto", None),
            Compression::None => ("none", None),
            Compression::Gzip(level) => ("gzip", level.map(i32::from)),
            Compression::Lz4(level) => ("lz4", level.map(i32::from)),
            Compression::Zstd(level) => ("zstd", *level),
        };
        match level {
            Some(level) => write!(f, "{method}:{level}"),
            None => f.write_str(method),
        }
    }
}

/// `[dump]`.
#[derive(Debug, Clone)]
pub struct Dump {
    /// Where archives are written, absolute.
    pub root: PathBuf,
    pub compression: Compression,
    /// The plan names the compression; otherwise a pg_dump without it may use another.
    pub compression_is_explicit: bool,
    /// Leave archives in place after a verified run.
    pub keep: bool,
}

/// `[tablespaces]`: where tablespaces of the source go, by their names. `None`: to the default tablespace of the database.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tablespaces(pub BTreeMap<String, Option<String>>);

impl Tablespaces {
    /// The tablespace of the target for what is in this one on the source; `None`: the default tablespace of its database.
    pub fn on_target<'a>(&'a self, of_source: &'a str) -> Option<&'a str> {
        match self.0.get(of_source) {
            Some(chosen) => chosen.as_deref(),
            None => Some(of_source),
        }
    }

    /// Whether the plan says where it goes.
    pub fn chooses(&self, of_source: &str) -> bool {
        self.0.contains_key(of_source)
    }
}

/// `[delay]`: tables whose data comes after the regular phase.
#[derive(Debug, Clone)]
pub struct Delay {
    pub patterns: Vec<DelayPattern>,
    pub snapshot: DelaySnapshot,
    /// Indexes are built by CREATE INDEX CONCURRENTLY.
    pub concurrently: bool,
    /// Bytes for all index builds at a time; `None`: from the target's settings.
    pub index_memory: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum DelaySnapshot {
    /// The delayed dump sees what the regular dump saw.
    #[default]
    Same,
    /// The delayed dump takes a new snapshot.
    Later,
}

/// `DATABASE.TABLE` or `DATABASE.SCHEMA.TABLE`, each part a glob.
#[derive(Debug, Clone)]
pub struct DelayPattern {
    /// As the plan spells it.
    pub text: String,
    pub database: GlobMatcher,
    /// `None`: any schema.
    pub schema: Option<GlobMatcher>,
    pub table: GlobMatcher,
}

impl DelayPattern {
    pub fn matches(&self, database: &str, schema: &str, table: &str) -> bool {
        self.database.is_match(database)
            && self
                .schema
                .as_ref()
                .is_none_or(|glob| glob.is_match(schema))
            && self.table.is_match(table)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum VerifyMode {
    /// `count(*)` of every table on both servers.
    #[default]
    Exact,
    /// `pg_class.reltuples`, an estimate: a difference is a warning. Delayed tables are counted.
    Fast,
    /// Row content as well.
    Checksum,
}

/// `[retry]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retry {
    /// Attempts per step, the first included.
    pub attempts: u32,
    pub backoff: Duration,
    pub max_backoff: Duration,
    /// How long restoring the target's settings is tried.
    pub restore_settings: Duration,
}

impl Retry {
    /// The pause after the given attempt (1 = the first): doubling, up to `max_backoff`.
    pub fn pause_after(&self, attempt: u32) -> Duration {
        let doublings = attempt.saturating_sub(1).min(20);
        self.backoff
            .saturating_mul(1 << doublings)
            .min(self.max_backoff)
    }
}

/// `[[accept]]`: a restore error that is expected.
#[derive(Debug, Clone)]
pub struct Accept {
    pub database: String,
    /// Glob over the object of a restore error.
    pub object: GlobMatcher,
    pub reason: String,
}

/// `[[waive]]`: a preflight finding that is accepted until a date.
#[derive(Debug, Clone)]
pub struct Waive {
    pub code: Code,
    pub object: GlobMatcher,
    /// The last day on which the waiver holds.
    pub until: jiff::civil::Date,
    pub reason: String,
}

/// `[[override]]`: other values for the databases it names.
#[derive(Debug, Clone)]
pub struct Override {
    pub databases: Vec<GlobMatcher>,
    pub dump_jobs: Option<u32>,
    pub restore_jobs: Option<u32>,
    pub compression: Option<Compression>,
    pub transfer: Option<Transfer>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Transfer {
    /// pg_dump to a directory, pg_restore from it.
    #[default]
    Archive,
    /// COPY from server to server.
    Stream,
}

/// The values that hold for one database: the plan's, with its overrides on top, later ones winning.
#[derive(Debug, Clone)]
pub struct DatabaseOptions {
    pub dump_jobs: u32,
    pub restore_jobs: u32,
    pub compression: Compression,
    pub compression_is_explicit: bool,
    pub transfer: Transfer,
}

impl Plan {
    /// The values for the database of this name.
    pub fn options(&self, database: &str) -> DatabaseOptions {
        let mut options = DatabaseOptions {
            dump_jobs: self.parallelism.dump_jobs,
            restore_jobs: self.parallelism.restore_jobs,
            compression: self.dump.compression.clone(),
            compression_is_explicit: self.dump.compression_is_explicit,
            transfer: Transfer::default(),
        };
        for entry in &self.overrides {
            if !entry.databases.iter().any(|glob| glob.is_match(database)) {
                continue;
            }
            options.dump_jobs = entry.dump_jobs.unwrap_or(options.dump_jobs);
            options.restore_jobs = entry.restore_jobs.unwrap_or(options.restore_jobs);
            options.transfer = entry.transfer.unwrap_or(options.transfer);
            if let Some(compression) = &entry.compression {
                options.compression = compression.clone();
                options.compression_is_explicit = true;
            }
        }
        options
    }

    /// How one of the servers is reached.
    pub fn server(&self, side: Side) -> &Server {
        match side {
            Side::Source => &self.source,
            Side::Target => &self.target,
        }
    }
}

/// How a server is reached, with every reference resolved: environment, service file, password file.
#[derive(Debug, Clone)]
pub(crate) struct Endpoint {
    pub side: Side,
    /// A host name, an address, or the directory of a Unix-domain socket.
    pub host: String,
    /// Where to connect instead of asking for `host`'s address; the certificate still names `host`.
    /// Only a libpq service can say so.
    pub hostaddr: Option<std::net::IpAddr>,
    pub port: u16,
    pub user: String,
    /// The database for discovery and for statements about the whole server.
    pub database: String,
    pub password: Option<Password>,
    pub sslmode: SslMode,
    pub sslrootcert: Option<PathBuf>,
    pub sslcert: Option<PathBuf>,
    pub sslkey: Option<PathBuf>,
    pub protection: Protection,
    pub connect_timeout: Duration,
    /// What all connections to it saw of the server.
    pub watch: Watch,
    /// See [`Server::override_read_only`].
    pub override_read_only: bool,
}

impl Endpoint {
    /// Whether the connection goes over a Unix-domain socket, where there is no TLS.
    pub(crate) fn is_socket(&self) -> bool {
        self.hostaddr.is_none() && Path::new(&self.host).is_absolute()
    }

    /// Whether a server gets the password in clear that asks for it so: where nobody between can read it, or the plan says so.
    pub(crate) fn sends_passwords(&self) -> bool {
        let require_auth = self.protection.require_auth.as_ref();
        self.is_socket()
            || self.sslmode.is_always_tls()
            || require_auth.is_some_and(|list| list.names(Method::Password))
    }
}

impl fmt::Display for Endpoint {
    /// `source server old-db.internal:5432`, for messages.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = escape_control(&self.host);
        write!(f, "{} server {host}:{}", self.side, self.port)
    }
}
