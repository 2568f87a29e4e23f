//! `[source]` and `[target]`.

use std::num::NonZeroU16;

use indexmap::IndexMap;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use crate::plan::model::{FoundUnsafe, SslMode, TuningMode};
use crate::plan::protection::{ChannelBinding, RequireAuth, TlsVersion};
use crate::plan::scalar::{Host, SettingName, Text, Timeout, Variable};

/// The reference for a key that counts connections or jobs: PostgreSQL's largest
/// `max_connections` (`MAX_BACKENDS`).
pub(super) const MOST: u32 = 262_143;

/// The server that is left. pg-migrate only reads it.
// `deny_unknown_fields` is for the schema alone: serde cannot combine it with `flatten`, and the
// checker refuses unknown keys before serde reads them.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::plan) struct Source {
    #[serde(flatten)]
    pub server: ServerKeys,
    /// Declares that no client writes to the source while the plan is carried out, so that a new
    /// snapshot after a crash is as good as the old one. Default: false.
    #[serde(default)]
    pub read_only: bool,
    /// How long a session may wait for a lock on the source before it gives up, rather than
    /// queue in front of the source's clients. Units: ms, s, m (or min), h. Default: `10s`.
    #[serde(default = "ten_seconds")]
    pub lock_timeout: Timeout,
}

/// The server that everything goes to.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::plan) struct Target {
    #[serde(flatten)]
    pub server: ServerKeys,
    /// Writes to the target although its own `default_transaction_read_only` is on (in a configuration file, by ALTER SYSTEM
    /// or on its command line), as providers set it where the disk is almost full. Default: false.
    #[serde(default)]
    pub override_read_only: bool,
    /// Refuses to run where functions of the source's owners would run with our rights: in CHECK constraints, generated columns and
    /// the like (`source/owners-code`). Default: false, a warning.
    #[serde(default)]
    pub untrusted_owners: bool,
    #[serde(default)]
    pub tuning: Tuning,
}

/// How a server is reached. What is absent comes from the libpq service, or is the default.
#[derive(Debug, Deserialize, JsonSchema)]
// libpq lets a parameter override its service, but a service says above all which server it is.
// `structure` checks `dependencies`; `not` and `if` are for editors, `consistency` knows them.
#[schemars(extend(
    "dependencies" = { "sslcert": ["sslkey"], "sslkey": ["sslcert"] },
    "not" = { "required": ["service"], "anyOf": [{ "required": ["host"] }, { "required": ["port"] }] },
    "if" = {
        "properties": { "sslmode": { "enum": ["verify-ca", "verify-full"] } },
        "required": ["sslmode"]
    },
    "then" = { "anyOf": [{ "required": ["sslrootcert"] }, { "required": ["service"] }] }
))]
pub(in crate::plan) struct ServerKeys {
    /// A libpq connection service (`pg_service.conf`; PostgreSQL manual, "The Connection Service
    /// File") that names host and port; other keys override what it says.
    pub service: Option<Text>,
    /// Host name, address, or the directory of a Unix-domain socket; or `{ env = "NAME" }`.
    /// Default: `localhost`.
    #[schemars(extend("default" = "localhost"))]
    pub host: Option<OrEnvironment<Host>>,
    /// Port; or `{ env = "NAME" }`. Default: 5432.
    #[schemars(extend("default" = 5432))]
    pub port: Option<OrEnvironment<NonZeroU16>>,
    /// Role to connect as; or `{ env = "NAME" }`. A superuser sees and moves everything; with
    /// another role, `pg-migrate check` says what cannot move. Default: `postgres`.
    #[schemars(extend("default" = "postgres"))]
    pub user: Option<OrEnvironment<Text>>,
    /// Where the password comes from: `{ env = "NAME" }`, `{ file = "PATH" }` (its first line) or
    /// `{ command = ["PROGRAM", "ARGUMENT"] }` (its first line of output). Without this key,
    /// libpq's rules hold: PGPASSFILE, ~/.pgpass. The password itself is refused here, because
    /// plans live in git.
    pub password: Option<Password>,
    /// Database for discovery and for statements about the whole server; or `{ env = "NAME" }`.
    /// Default: `postgres`.
    #[schemars(extend("default" = "postgres"))]
    pub database: Option<OrEnvironment<Text>>,
    /// libpq's sslmode. Default: `prefer`.
    #[schemars(extend("default" = "prefer"))]
    pub sslmode: Option<SslMode>,
    /// File with the certificates that vouch for the server's (PEM), relative to the plan file.
    pub sslrootcert: Option<Text>,
    /// File with our client certificate (PEM), relative to the plan file; goes with `sslkey`.
    pub sslcert: Option<Text>,
    /// File with the key of our client certificate (PEM), relative to the plan file.
    pub sslkey: Option<Text>,
    /// File with the certificates that were revoked (PEM), relative to the plan file. Only for a server whose certificate
    /// is checked.
    pub sslcrl: Option<Text>,
    /// The oldest version of TLS. Default: `TLSv1.2`.
    #[schemars(extend("default" = "TLSv1.2"))]
    pub ssl_min_protocol_version: Option<TlsVersion>,
    /// The authentication methods that the server may ask for, in libpq's words, separated by commas: `scram-sha-256`,
    /// `md5`, `password`, `gss`, `sspi`, `oauth`, `none`; with `!` before each, those that it may not. A password is never
    /// sent in clear over a connection that may be without TLS, unless `password` is named here.
    pub require_auth: Option<RequireAuth>,
    /// Whether SCRAM's answer holds for this server's certificate alone: `disable`, `prefer` or `require`. Default: `prefer`.
    #[schemars(extend("default" = "prefer"))]
    pub channel_binding: Option<ChannelBinding>,
    /// How long a connection attempt may take. Units: ms, s, m (or min), h. Default: `10s`.
    #[serde(default = "ten_seconds")]
    pub connect_timeout: Timeout,
    /// How many connections this run may hold on the server at a time. Default: what the server
    /// has free when the run starts, less a reserve for its clients; of the source, no more than a
    /// quarter of its max_connections.
    #[schemars(range(min = 1, max = MOST))]
    pub max_connections: Option<u32>,
}

fn ten_seconds() -> Timeout {
    Timeout(std::time::Duration::from_secs(10))
}

/// A value, or the environment variable that holds it when the run starts.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(in crate::plan) enum OrEnvironment<T> {
    Literal(T),
    Environment(Environment),
}

/// An environment variable.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::plan) struct Environment {
    /// The variable's name, without `$`.
    pub env: Variable,
}

/// Where a password comes from.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(extend(
    "errorMessage" = "plans live in git, so a password is never written here: name where it is, with { env = \"NAME\" }, { file = \"PATH\" } or { command = [\"PROGRAM\", \"ARGUMENT\"] }"
))]
pub(in crate::plan) enum Password {
    /// The environment variable that holds the password.
    Env(Variable),
    /// The file whose first line is the password, relative to the plan file.
    File(Text),
    /// The program, and its arguments, whose first line of output is the password. No shell is
    /// involved.
    Command(
        #[schemars(
            length(min = 1),
            extend("errorMessage" = "write the program and its arguments as an array, [\"PROGRAM\", \"ARGUMENT\"]; no shell takes them apart")
        )]
        Vec<Text>,
    ),
}

/// The target's settings for the time of the load. What they were before comes back at the end.
#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
// `consistency` says the same, with a better message.
#[schemars(extend("if" = {
    "properties": { "mode": { "const": "off" } },
    "required": ["mode"]
}, "then" = {
    "properties": { "shared_target": { "const": false }, "settings": { "maxProperties": 0 } }
}))]
pub(in crate::plan) struct Tuning {
    /// How far the settings go. Default: `fast`.
    pub mode: TuningMode,
    /// Accepts `fast` although the target serves other databases, which a crash of its operating
    /// system would then lose as well. Default: false.
    pub shared_target: bool,
    /// What to do where `fsync`, `full_page_writes`, `synchronous_commit` or `autovacuum` is off on the target before a run
    /// of this plan switched it off: a migration that was killed may have left that, and the target stays unsafe.
    /// Default: `refuse`.
    pub found_unsafe: FoundUnsafe,
    /// Lets clients into a verified database while `fsync` or `full_page_writes` is still off for the load of the
    /// others: a crash of the target's operating system then loses what they committed. Default: false.
    pub open_early: bool,
    /// Settings of PostgreSQL on top of the mode's, or instead of them, like
    /// `maintenance_work_mem = "1GB"`.
    #[schemars(schema_with = "settings_schema")]
    pub settings: IndexMap<SettingName, SettingValue>,
}

fn settings_schema(generator: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "propertyNames": generator.subschema_for::<SettingName>(),
        "additionalProperties": {
            "type": ["string", "integer", "number", "boolean"],
            "errorMessage": "a setting is a string, a number, true or false; a name with a dot is \
                             written in quotes: \"auto_explain.log_min_duration\" = 0",
        },
    })
}

/// The value of a PostgreSQL setting.
#[derive(Debug, Deserialize, Serialize)]
#[serde(untagged)]
pub(in crate::plan) enum SettingValue {
    Boolean(bool),
    Integer(i64),
    Float(f64),
    Text(String),
}
