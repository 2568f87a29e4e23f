//! What a server holds, as plain data. No SQL here: `inspect` fills it, `graph` reads it.

mod condition;
mod facts;
pub(crate) mod locale;
mod mark;
mod not_moved;
pub(crate) mod parameter;
mod presence;
mod properties;
mod refusal;
mod role;
#[cfg(test)]
pub(crate) mod samples;
mod server_setting;
mod tablespace;
pub(crate) mod value;
mod version;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::names::{RelationKind, Sighting, TableName};
pub(crate) use condition::{Condition, PreparedTransaction, Stale};
pub(crate) use facts::{CHANGES_WHAT_IS_RESTORED, LeftOut, NoAlterSystem};
pub(crate) use mark::{MARK_COMMENT, MARK_DATABASE, is_mark};
pub(crate) use not_moved::{Appeared, LackedLibrary, Newer, NotMoved, NotMovedKind};
use parameter::Parameter;
pub(crate) use presence::{Missing, Present};
pub(crate) use properties::{
    TABLESPACE, changed, granted_on_target, is_of_another, only_on_target, properties,
};
pub(crate) use refusal::refusal;
pub(crate) use role::{Membership, Password, Role};
pub(crate) use server_setting::{Origin, SAFEGUARDS, ServerSetting, WATCHED};
pub(crate) use tablespace::{Placed, PlacedKind, Tablespace, TablespacePrivilege};
pub use version::Version;

/// One server, as far as a migration needs to know it.
#[derive(Debug, Clone)]
pub struct ServerFacts {
    pub version: Version,
    /// `pg_control_system().system_identifier` (9.6 and later); `None` where it may not be read.
    pub system_identifier: Option<String>,
    /// How far it was when it was looked at; `None`: it does not tell.
    pub seen: Option<Sighting>,
    /// `pg_postmaster_start_time()`: with the identifier, tells whether two connections lead to one server.
    pub started: String,
    pub max_connections: u32,
    /// `superuser_reserved_connections` and, from 16 on, `reserved_connections`.
    pub reserved_connections: u32,
    /// Client backends at the time of the look, ours not among them.
    pub used_connections: u32,
    /// Connections that our role may have beside those of its other sessions (CONNECTION LIMIT of the role). `None`: there is no
    /// limit, or it is a superuser, for whom none counts.
    pub left_to_role: Option<u32>,
    /// Our role sees the sessions of others; without that, `used_connections` is a guess.
    pub sees_sessions: bool,
    /// The session's role.
    pub user: String,
    pub is_superuser: bool,
    pub can_create_database: bool,
    pub can_create_role: bool,
    /// No row security applies to it: a superuser, or a role with BYPASSRLS.
    pub bypasses_row_security: bool,
    /// Whether `pg_authid` may be read: without it roles move without their passwords.
    pub reads_passwords: bool,
    pub in_recovery: bool,
    /// Of the source.
    pub condition: Condition,
    /// May set `session_replication_role`: a superuser, or from 15 on a role with SET on the parameter.
    pub sets_replication_role: bool,
    /// May set `event_triggers` (17 and later), so that none fires in its sessions.
    pub sets_event_triggers: bool,
    /// May set `lc_messages`, so that messages come in English.
    pub sets_language: bool,
    /// How many locks all sessions together can hold, about: `max_locks_per_transaction` for each of them.
    pub lock_slots: u64,
    /// `maintenance_work_mem`, in bytes.
    pub maintenance_work_mem: u64,
    pub roles: Vec<Role>,
    /// Of the target: roles that are its own, so that the run leaves them as they are, whatever the source's are.
    pub(crate) kept_roles: BTreeSet<String>,
    /// `pg_db_role_setting` of roles in every database.
    pub role_settings: Vec<Setting>,
    /// Every database of the server, in the order of their size, then name.
    pub databases: Vec<Database>,
    /// Names of tablespaces other than pg_default and pg_global.
    pub tablespaces: Vec<String>,
    /// What these are, by name.
    pub(crate) tablespace_facts: BTreeMap<String, Tablespace>,
    /// Of the target: tablespaces of the source that it lacks, and that can be made where they are on the source.
    pub makeable_tablespaces: Vec<String>,
    /// `collcollate` of the collations of provider libc: what the operating system offers.
    pub locales: Vec<String>,
    /// Of the source: what of the server as a whole no client program brings along.
    pub(crate) not_moved: Vec<NotMoved>,
    /// Of the target: libraries that settings of the source load into sessions.
    pub(crate) lacked_libraries: Vec<LackedLibrary>,
    /// Of the target.
    pub(crate) newer: Newer,
    /// Of the target: the version that CREATE EXTENSION makes, by the extension's name.
    pub extension_versions: BTreeMap<String, String>,
    /// Of the target; of the source, where settings come from alone.
    pub configuration: Configuration,
}

/// How a server is configured, and what our role may do about it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Configuration {
    /// By name.
    pub parameters: BTreeMap<String, Parameter>,
    /// By name, as the server's own configuration has them; those that matter by where they come from.
    pub own: BTreeMap<String, ServerSetting>,
    /// By name: what clients' sessions begin with, of settings that decide what they read and compute, where neither the
    /// database that pg-migrate connects to nor its role has a value of its own.
    pub of_clients: BTreeMap<String, String>,
    /// `pg_file_settings` may be read: what `postgresql.auto.conf` holds.
    pub reads_file_settings: bool,
    /// `pg_reload_conf()` may be called.
    pub may_reload: bool,
    /// CHECKPOINT may be run.
    pub may_checkpoint: bool,
    /// Programs may be run on the server's host (`COPY … TO PROGRAM`).
    pub may_run_programs: bool,
    /// `postgresql.auto.conf` holds something that ALTER SYSTEM does not keep: comments, doubled entries.
    /// `None`: it may not be read.
    pub is_edited_by_hand: Option<bool>,
    /// Bytes of the host's memory, or what a container leaves of it. `None`: it may not be read.
    pub memory: Option<u64>,
    /// `pg_stat_replication`: how many standbys and the like are connected.
    pub replicas: u32,
    /// Of the same: base backups that are being taken.
    pub base_backups: u32,
    /// Why no WAL is archived although `archive_mode` is on, in words; `None`: it is archived, or need not be.
    pub not_archived: Option<String>,
    /// Lines of `pg_hba.conf` ask for `scram-sha-256`; `None`: they may not be read.
    pub asks_for_scram: Option<bool>,
    /// Settings that our role may not change for its sessions, and by which the statements that set passwords are written down there.
    pub writes_passwords: Vec<String>,
    /// Of them, those that a commit may wait for, or that may be such.
    pub synchronous_replicas: u32,
    pub slots: Vec<ReplicationSlot>,
}

/// One row of `pg_replication_slots`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplicationSlot {
    pub name: String,
    /// A client reads from it.
    pub is_active: bool,
}

/// `pg_database.datlocprovider` (15 and later; before, libc).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LocaleProvider {
    Libc,
    Icu,
    Builtin,
}

/// One row of `pg_database`, with what belongs to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Database {
    pub oid: u32,
    pub name: String,
    pub owner: String,
    /// What its relations hold, or `pg_database_size` where it was not inspected; `None` where that may
    /// not be asked.
    pub bytes: Option<u64>,
    pub is_template: bool,
    pub allows_connections: bool,
    /// `datconnlimit`: −1 without a limit, −2 after an interrupted DROP DATABASE.
    pub connection_limit: i32,
    /// Sessions in it at the time of the look, ours not among them.
    pub used_connections: u32,
    pub encoding: String,
    pub collate: String,
    pub ctype: String,
    pub provider: LocaleProvider,
    /// ICU or builtin locale.
    pub locale: Option<String>,
    pub icu_rules: Option<String>,
    pub tablespace: String,
    pub comment: Option<String>,
    /// `datacl`; `None`: the default privileges. Each entry by `aclexplode`.
    pub privileges: Option<Vec<Privilege>>,
    /// `pg_db_role_setting` for this database.
    pub settings: Vec<Setting>,
    /// `None` until the database was inspected.
    pub contents: Option<Contents>,
}

/// One entry of an access control list, by `aclexplode`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Privilege {
    pub grantor: String,
    /// `None`: PUBLIC.
    pub grantee: Option<String>,
    /// CONNECT, CREATE, TEMPORARY.
    pub privilege: String,
    pub grantable: bool,
}

/// One entry of `pg_db_role_setting.setconfig`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// `None`: for every role.
    pub role: Option<String>,
    pub name: String,
    pub value: String,
}

impl Setting {
    /// As messages call it.
    pub(crate) fn in_words(&self) -> String {
        let of_role = self.role.as_ref().map(|role| format!(" of role {role}"));
        format!("setting {}{}", self.name, of_role.unwrap_or_default())
    }
}

/// What one database holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Contents {
    /// Tables, partitioned tables, foreign tables and materialized views outside the system schemas.
    pub relations: Vec<Relation>,
    /// Items that pg_restore can build at a time: indexes and foreign keys.
    pub indexes: u32,
    /// Secondary indexes of partitions that are attached to a partitioned index (11 and later).
    pub attached_indexes: Vec<AttachedIndex>,
    /// Tables with secondary indexes that a delayed load would drop and build again.
    pub indexed_tables: Vec<TableName>,
    /// Triggers that fire in a load all the same: enabled always, or for replicas.
    pub always_triggers: Vec<TableTrigger>,
    /// Indexes and stored generated columns that functions which read other tables have a part in.
    pub computed: Vec<Computed>,
    /// What could keep rows of a delayed table, or those that refer to them, from being loaded.
    pub load_order_constraints: Vec<LoadOrderConstraint>,
    /// Event triggers that fire in ordinary sessions, with the event of each.
    pub event_triggers: Vec<EventTrigger>,
    /// Partitions by the hash of an enum, with the partitioned table that is split so: which partition has a row depends on
    /// the server, so a dump loads them by way of it (11 and later).
    pub hashed_by_enum: BTreeMap<TableName, TableName>,
    pub large_objects: u64,
    /// Tables with columns of type oid, or of a domain over it, which may refer to large objects.
    pub large_object_tables: Vec<TableName>,
    /// Tables and sequences that a dump reads and our role may not.
    pub unreadable: Vec<TableName>,
    /// How many large objects our role may not read.
    pub unreadable_large_objects: u64,
    /// Objects whose names are not UTF-8, as they are shown (`table public.caf\\xe9`). If there are any, nothing else could
    /// be read.
    pub names_not_utf8: Vec<String>,
    /// Of the source, where tables are delayed: columns of tables, and indexes that a delayed load would drop, that are not
    /// UTF-8, by their tables.
    pub parts_not_utf8: BTreeMap<TableName, Vec<String>>,
    /// Objects of any kind that a user made: functions, types, schemas, extensions other than plpgsql.
    /// Decides whether a target database is empty.
    pub user_objects: u64,
    /// Those that a user made by hand, and that no extension makes: the extensions themselves do not count, nor what belongs to them.
    pub(crate) own_objects: u64,
    /// Of the target, where it is empty: what it holds all the same, in words.
    pub(crate) own: Vec<String>,
    /// Of the same: statements that leave it without default privileges.
    pub(crate) without_default_privileges: Vec<String>,
    /// Extensions with configuration tables, each with its version.
    pub configured_extensions: BTreeMap<String, String>,
    /// The version of every extension, by its name.
    pub extension_versions: BTreeMap<String, String>,
    /// The extensions to which types of columns of users' tables belong.
    pub extensions_in_columns: BTreeSet<String>,
    /// What is in another tablespace than the database's default one.
    pub(crate) placed: Vec<Placed>,
    /// Of the source: what no client program brings along.
    pub(crate) not_moved: Vec<NotMoved>,
    /// Of the source: tables with rows that COPY cannot write.
    pub oversized: Vec<Oversized>,
    /// What functions set for themselves.
    pub function_settings: Vec<FunctionSetting>,
    /// Extensions other than plpgsql.
    pub extensions: u64,
    /// `pg_relation_size` of all relations. Unlike `pg_database_size` it does not count files that come and
    /// go with connections (`pg_internal.init`), so that two looks at an idle server agree.
    pub bytes: u64,
}

/// A table with rows whose text is longer than COPY can write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Oversized {
    pub table: TableName,
    /// That with the longest value in them.
    pub column: String,
    pub rows: u64,
}

/// One entry of `pg_proc.proconfig`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FunctionSetting {
    /// With its schema and arguments, as `regprocedure` writes it.
    pub function: String,
    pub name: String,
    pub value: String,
}

/// A constraint that minds which rows of a table come first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadOrderConstraint {
    /// The table that would be delayed.
    pub table: TableName,
    pub constraint: String,
    /// Another table whose foreign key refers to it. `None`: the constraint is NOT VALID, so that old rows may violate it and
    /// rows that are loaded may not.
    pub referring: Option<TableName>,
    /// It is NOT NULL (18 and later), and a check otherwise.
    pub is_not_null: bool,
}

/// A trigger of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableTrigger {
    pub table: TableName,
    pub name: String,
}

/// What is computed once and kept, by functions that read other tables: an index, or a stored generated column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Computed {
    pub table: TableName,
    /// Of the index, which is in the table's schema, or of the column.
    pub name: String,
    /// Otherwise a column.
    pub is_index: bool,
    /// An index that a delayed load of its table drops and builds again.
    pub is_made_again: bool,
    /// Functions in it read materialized views, which have the rows of these tables only once they are refreshed.
    pub reads_views: bool,
    /// Tables; its own only by way of a materialized view.
    pub reads: Vec<TableName>,
}

impl Computed {
    /// The delayed tables by which it would be computed while they are empty.
    pub(crate) fn too_early(&self, is_delayed: impl Fn(&TableName) -> bool) -> Vec<&TableName> {
        if self.is_made_again && is_delayed(&self.table) {
            return Vec::new();
        }
        self.reads
            .iter()
            .filter(|table| is_delayed(table))
            .collect()
    }
}

/// One row of `pg_event_trigger`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventTrigger {
    pub name: String,
    /// `login`, `ddl_command_start` and the like.
    pub event: String,
}

/// An index of a partition that enforces nothing, and is part of an index of the partitioned table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttachedIndex {
    /// The partition. The index is in its schema.
    pub table: TableName,
    pub name: String,
    /// The partitioned index.
    pub parent: TableName,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relation {
    pub oid: u32,
    pub schema: String,
    pub name: String,
    pub kind: RelationKind,
    /// Oids of the parents by `pg_inherits`: of a partition, or of a child table.
    pub parents: Vec<u32>,
    /// Unlogged tables are dumped with their data all the same.
    pub unlogged: bool,
    /// A materialized view that was never refreshed cannot be read (`relispopulated`).
    pub populated: bool,
    /// `pg_relation_size`-like estimate in bytes, from `relpages`.
    pub bytes: u64,
    /// `pg_class.reltuples`; `None`: never analyzed (−1, or 0 before 14).
    pub estimated_rows: Option<u64>,
    /// Row security applies to the session's role, so that its counts would lie.
    pub row_security: bool,
    /// Row security applies to its owner, too (`FORCE ROW LEVEL SECURITY`).
    pub forces_row_security: bool,
    /// `relhasoids` (11 and earlier): rows have oids, which pg_dump 12 and later leave out.
    pub has_oids: bool,
    /// The extension that owns the relation, if any: pg_dump leaves its data to the extension.
    pub extension: Option<String>,
}

impl Relation {
    pub fn table_name(&self) -> TableName {
        TableName::new(&*self.schema, &*self.name)
    }
}

impl Contents {
    /// Nothing that a user made is in the database.
    pub fn is_empty(&self) -> bool {
        self.relations.is_empty()
            && self.user_objects == 0
            && self.large_objects == 0
            && self.names_not_utf8.is_empty()
    }

    /// Nothing is in the database but extensions, as CREATE EXTENSION makes them again.
    pub(crate) fn is_of_extensions(&self) -> bool {
        !self.has_rows() && self.own_objects == 0 && self.configured_extensions.is_empty()
    }

    /// It may hold rows, or large objects, that a user or a program wrote, other than what extensions keep in their own tables.
    pub(crate) fn has_rows(&self) -> bool {
        let holds_rows = |relation: &Relation| {
            relation.kind != RelationKind::ForeignTable && relation.extension.is_none()
        };
        self.relations.iter().any(holds_rows)
            || self.large_objects > 0
            || !self.names_not_utf8.is_empty()
    }
}

impl Database {
    /// How many connections its CONNECTION LIMIT leaves to our role. `None`: there is none, or our role is a superuser.
    pub(crate) fn connections_left(&self, server: &ServerFacts) -> Option<u32> {
        let limit = u32::try_from(self.connection_limit).ok()?;
        (!server.is_superuser).then(|| limit.saturating_sub(self.used_connections))
    }
}

impl ServerFacts {
    pub fn database(&self, name: &str) -> Option<&Database> {
        self.databases.iter().find(|database| database.name == name)
    }

    pub fn has_role(&self, name: &str) -> bool {
        self.role(name).is_some()
    }

    pub(crate) fn role(&self, name: &str) -> Option<&Role> {
        self.roles.iter().find(|role| role.name == name)
    }
}

/// What the client programs on this machine can do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ClientFacts {
    /// The lowest version among pg_dump, pg_dumpall and pg_restore.
    pub version: Version,
    /// One of them was made before the release that its version is called after.
    pub is_beta: bool,
    pub gzip: bool,
    pub lz4: bool,
    pub zstd: bool,
    /// libpq was built with TLS.
    pub tls: bool,
}

/// Both servers and the client programs, as they were found.
#[derive(Debug, Clone)]
pub(crate) struct Inspection {
    pub source: ServerFacts,
    pub target: ServerFacts,
    pub client: ClientFacts,
    /// How many files and connections this process may have open at a time. `None`: that is not limited, or not known.
    pub open_files: Option<u32>,
}
