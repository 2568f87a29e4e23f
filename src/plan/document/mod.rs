//! The plan file as it is written: TOML tables as Rust types.
//!
//! These types are the one description of the file. The JSON Schema is made from them, the
//! checker (`structure`) walks that schema, and serde reads by them. Their comments are what a
//! user's editor shows, so they speak to the user.

mod server;

use indexmap::IndexMap;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

pub(super) use server::{OrEnvironment, Password, ServerKeys, SettingValue, Source, Target};

use super::model::{Compression, DelayPattern, DelaySnapshot, Transfer, VerifyMode};
use super::scalar::{Glob, Pause, PlanName, Scalar, Size, Text};
use crate::finding::Code;
use server::MOST;

/// A migration of every user database and the roles of one PostgreSQL server to another.
///
/// `[source]` and `[target]` must be there; every other key has a default.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "pg-migrate plan")]
pub(super) struct Document {
    /// Names the run: its directory below `state.dir`, its sessions on both servers, its report.
    /// Default: the plan file's name without `.toml`.
    pub name: Option<PlanName>,
    pub source: Source,
    pub target: Target,
    #[serde(default)]
    pub databases: Databases,
    #[serde(default)]
    pub parallelism: Parallelism,
    #[serde(default)]
    pub dump: Dump,
    #[serde(default)]
    pub globals: Globals,
    /// Where on the target goes what is in a tablespace of the source that the target lacks: the tablespace's name, and
    /// the name of another of the target, or `default` for the default tablespace of its database. `pg_default` is one as
    /// well. Default: to the tablespace of the same name.
    #[serde(default)]
    #[schemars(schema_with = "tablespaces_schema")]
    pub tablespaces: IndexMap<Text, Text>,
    #[serde(default)]
    pub delay: Delay,
    #[serde(default)]
    pub verify: Verify,
    #[serde(default)]
    pub retry: Retry,
    #[serde(default)]
    pub state: State,
    /// Errors of pg_restore that are expected. Any other fails the database's restore step.
    #[serde(default)]
    pub accept: Vec<Accept>,
    /// Findings of the preflight that are accepted until a date.
    #[serde(default)]
    pub waive: Vec<Waive>,
    /// Other values for some databases. Where several entries name a database, the later wins.
    #[serde(default, rename = "override")]
    pub overrides: Vec<Override>,
}

/// Which databases migrate. Templates, and databases that allow no connections, never do.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Databases {
    /// Globs over database names: `*` any text, `?` one byte (a letter outside ASCII has two or
    /// more), `[a-z]`, `{one,other}`. A database migrates if one of them matches. Default: all
    /// user databases.
    #[schemars(length(min = 1), extend("uniqueItems" = true))]
    pub include: Vec<Glob>,
    /// Globs over database names that stay behind, although `include` matches them.
    #[schemars(extend("uniqueItems" = true))]
    pub exclude: Vec<Glob>,
}

impl Default for Databases {
    fn default() -> Self {
        let everything = Glob::parse("*").into_iter().collect();
        Databases {
            include: everything,
            exclude: Vec::new(),
        }
    }
}

/// How much happens at a time.
///
/// A run never takes more connections than a server has to give (`max_connections` of
/// `[source]` and `[target]`); where these numbers ask for more, jobs are lowered and
/// `pg-migrate plan` says so.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Parallelism {
    /// Databases at a time. Default: 6.
    #[schemars(range(min = 1, max = MOST))]
    pub max_parallel: u32,
    /// Databases at a time on the source. Default: `max_parallel`.
    #[schemars(range(min = 1, max = MOST))]
    pub dump_parallel: Option<u32>,
    /// Databases at a time on the target. Default: `max_parallel`.
    #[schemars(range(min = 1, max = MOST))]
    pub restore_parallel: Option<u32>,
    /// `pg_dump --jobs`, for each database. A dump holds one connection more than it has jobs.
    /// Default: 24.
    #[schemars(range(min = 1, max = MOST))]
    pub dump_jobs: u32,
    /// `pg_restore --jobs`, for each database, and CREATE INDEX statements at a time when the
    /// indexes of delayed tables are built again. Default: 12.
    #[schemars(range(min = 1, max = MOST))]
    pub restore_jobs: u32,
    /// Count queries at a time, over all databases and both servers. Default: 16.
    #[schemars(range(min = 1, max = MOST))]
    pub verify_concurrency: u32,
}

impl Default for Parallelism {
    fn default() -> Self {
        Parallelism {
            max_parallel: 6,
            dump_parallel: None,
            restore_parallel: None,
            dump_jobs: 24,
            restore_jobs: 12,
            verify_concurrency: 16,
        }
    }
}

/// Archives: what pg_dump writes and pg_restore reads.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Dump {
    /// Directory for the archives, relative to the plan file. It needs room for the compressed
    /// data of the databases under way. Default: `pg_dumps`.
    pub root: Text,
    /// `pg_dump --compress`: `zstd` (levels to 22, negative ones are fast), `gzip` (1 to 9),
    /// `lz4` (0 to 12), each with or without a level, `none`, or `auto` for the best that the
    /// installed pg_dump has. Default: `zstd:5`, or as `auto` where pg_dump has no zstd.
    #[schemars(extend("default" = Compression::DEFAULT.to_string()))]
    pub compression: Option<Compression>,
    /// Leaves the archives in place after a run that verified them. Default: false.
    pub keep: bool,
}

impl Default for Dump {
    fn default() -> Self {
        Dump {
            root: Text("pg_dumps".to_owned()),
            compression: None,
            keep: false,
        }
    }
}

/// What belongs to no database: roles, their passwords, memberships and settings, tablespaces.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Globals {
    /// Whether they migrate. The role that pg-migrate uses on the target, and its password,
    /// stay as they are in any case. Default: true.
    pub migrate: bool,
}

impl Default for Globals {
    fn default() -> Self {
        Globals { migrate: true }
    }
}

fn tablespaces_schema(generator: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "propertyNames": generator.subschema_for::<Text>(),
        "additionalProperties": generator.subschema_for::<Text>(),
    })
}

/// Huge tables whose rows come after everything else, without secondary indexes in the way.
///
/// Such a table is created in the regular phase with its constraints, sequences and triggers, so
/// that clients can insert already. Then its secondary indexes are dropped, its rows are loaded,
/// and the indexes are built again in parallel.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Delay {
    /// `DATABASE.TABLE` or `DATABASE.SCHEMA.TABLE`; each part is a glob (`*`, `?`). A
    /// partitioned table stands for its partitions.
    #[schemars(extend("uniqueItems" = true))]
    pub table_data: Vec<DelayPattern>,
    /// Which snapshot of the source the delayed rows are read from. Default: `same`.
    pub snapshot: DelaySnapshot,
    /// Build the indexes by CREATE INDEX CONCURRENTLY: clients write to the table meanwhile, and the build takes longer.
    /// Default: false.
    pub concurrently: bool,
    /// Memory for all index builds at a time, together: `"4GB"`. Units are PostgreSQL's: kB, MB,
    /// GB, TB. Default: made from the target's settings.
    pub index_memory: Option<Size>,
}

/// How the two servers are compared at the end.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Verify {
    /// How tables are compared. Default: `exact`.
    pub mode: VerifyMode,
}

/// Errors that go away by themselves, a lost connection for instance.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Retry {
    /// Attempts for each step, the first one included. With these pauses, the default covers a fail-over or a restart of two to
    /// three minutes. Default: 9.
    #[schemars(range(min = 1, max = 1000))]
    pub attempts: u32,
    /// Pause after the first failed attempt, doubled after each further one. Units: ms, s, m
    /// (or min), h. Default: `1s`.
    pub backoff: Pause,
    /// The longest pause. Default: `60s`.
    pub max_backoff: Pause,
    /// How long restoring the target's settings is tried, however many attempts that are: with those for the load a crash
    /// may lose data. Default: `15m`.
    pub restore_settings: Pause,
}

impl Default for Retry {
    fn default() -> Self {
        Retry {
            attempts: 9,
            backoff: Pause(std::time::Duration::from_secs(1)),
            max_backoff: Pause(std::time::Duration::from_secs(60)),
            restore_settings: Pause(std::time::Duration::from_secs(15 * 60)),
        }
    }
}

/// Where pg-migrate remembers what is done.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct State {
    /// Directory for the journal, the report and the logs of each plan, relative to the plan
    /// file. Default: `.pg-migrate`.
    pub dir: Text,
}

impl Default for State {
    fn default() -> Self {
        State {
            dir: Text(".pg-migrate".to_owned()),
        }
    }
}

/// An error of pg_restore that is expected.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Accept {
    /// The database's name.
    pub database: Text,
    /// Glob over the object as the report names it, like `FUNCTION legacy.*`.
    pub object: Glob,
    /// Why the object may stay behind, for whoever reads the plan and the report.
    pub reason: Text,
}

/// A finding of the preflight that is accepted until a date.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Waive {
    /// The finding's code, as `pg-migrate check` prints it, like `source/with-oids`. `pg-migrate explain` lists them all.
    pub code: WaivedCode,
    /// Glob over `DATABASE.SCHEMA.OBJECT`, like `erp.public.*`.
    pub object: Glob,
    /// The last day on which the finding is accepted, a TOML date without quotes: 2027-01-31.
    pub until: Day,
    /// Why the finding does no harm, for whoever reads the plan and the report.
    pub reason: Text,
}

/// A code that a waiver may name.
#[derive(Debug, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct WaivedCode(pub Code);

impl TryFrom<String> for WaivedCode {
    type Error = String;

    fn try_from(word: String) -> Result<Self, Self::Error> {
        let code: Code = word.parse()?;
        if !code.can_be_waived() {
            return Err(format!("`{code}` cannot be waived"));
        }
        Ok(WaivedCode(code))
    }
}

impl JsonSchema for WaivedCode {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "finding-code".into()
    }

    /// Every code, so that an editor offers them with what they mean.
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let codes = Code::ALL.iter().filter(|code| code.can_be_waived());
        let words = codes.map(|code| {
            serde_json::json!({
                "description": code.what(),
                "type": "string",
                "const": code.as_str(),
            })
        });
        schemars::json_schema!({
            "oneOf": words.collect::<Vec<_>>(),
            "errorMessage": "`pg-migrate explain` lists all codes, and tells which cannot be waived",
        })
    }
}

/// A TOML date without a time.
#[derive(Debug, Deserialize)]
#[serde(try_from = "toml::value::Datetime")]
pub(super) struct Day(pub jiff::civil::Date);

impl TryFrom<toml::value::Datetime> for Day {
    type Error = &'static str;

    fn try_from(written: toml::value::Datetime) -> Result<Self, Self::Error> {
        let date = written.date.ok_or("a date is wanted, not a time")?;
        // TOML's years have four digits, and its parser knows the length of months.
        let part = |number: u8| i8::try_from(number).unwrap_or_default();
        let year = i16::try_from(date.year).unwrap_or_default();
        jiff::civil::Date::new(year, part(date.month), part(date.day))
            .map(Day)
            .map_err(|_| "there is no such day")
    }
}

impl JsonSchema for Day {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "date".into()
    }

    /// Editors hand a TOML date to the schema as text.
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "format": "date",
            "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}$",
        })
    }
}

/// Other values for the databases it names.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("minProperties" = 2))]
pub(super) struct Override {
    /// Globs over database names.
    #[schemars(length(min = 1), extend("uniqueItems" = true))]
    pub databases: Vec<Glob>,
    /// Instead of `parallelism.dump_jobs`.
    #[schemars(range(min = 1, max = MOST))]
    pub dump_jobs: Option<u32>,
    /// Instead of `parallelism.restore_jobs`.
    #[schemars(range(min = 1, max = MOST))]
    pub restore_jobs: Option<u32>,
    /// Instead of `dump.compression`.
    pub compression: Option<Compression>,
    /// How the rows travel. Default: `archive`.
    pub transfer: Option<Transfer>,
}
