//! One line of the journal.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::names::{
    BeforeMove, Filled, IndexDefinition, Load, Output, Sighting, Sightings, StepId, TableName,
    WriteMark,
};
use crate::plan::Tablespaces;

/// The format that this program writes. A journal of a newer one is refused, never overwritten. Format 1, of version
/// 0.1.0, has outputs of another form: [`crate::names::OutputV1`].
pub const VERSION: u32 = 2;

/// The reason of [`Entry::Forgotten`] where a person asked for it.
pub(crate) const RESET: &str = "pg-migrate reset";

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record<O = Arc<Output>> {
    /// [`VERSION`] of the program that wrote it.
    pub v: u32,
    pub at: Timestamp,
    /// Nested, not flattened: a journal of a million lines replays in half the time.
    pub entry: Entry<O>,
}

/// What happened, or is about to. Outputs are most of a journal's text, and only those of the last ends count:
/// replay reads the others as [`Unread`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Entry<O = Arc<Output>> {
    /// A `run` took the journal over, or `reset` did, which ends at once. Whatever was started before it and has no end was interrupted.
    RunStarted {
        program: String,
        fingerprint: String,
        /// `system_identifier` of each server, where it could be read.
        source: Option<String>,
        target: Option<String>,
        /// What was found before the run and a person should know.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        findings: Vec<String>,
        /// The databases that migrate by the plan as it is for this run.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        databases: Option<Vec<String>>,
    },
    /// Before the step does anything.
    StepStarted {
        step: StepId,
        attempt: u32,
    },
    /// After the step did everything.
    StepDone {
        step: StepId,
        attempt: u32,
        seconds: f64,
        output: O,
        /// The servers that it touched, as they were seen after all of its work, where they changed since the last record.
        #[serde(default, skip_serializing_if = "Sightings::is_empty")]
        seen: Sightings,
        /// The number of the last change that the target's mark was given until then, where that is another than before: a mark that
        /// says less later is that of an older state of the target.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        marked: Option<u64>,
    },
    StepFailed {
        step: StepId,
        attempt: u32,
        seconds: f64,
        error: String,
        /// What the step found out before it failed: restore errors, compared tables.
        output: O,
    },
    /// The step was stopped on purpose, by a signal.
    StepInterrupted {
        step: StepId,
        attempt: u32,
    },
    /// A change to a server, recorded before it is made.
    Change {
        // They are large, and few: most records begin or end a step.
        change: Box<Change>,
    },
    /// A person should know, and no step's output says it.
    Warning {
        database: Option<String>,
        message: String,
    },
    /// Steps that `run` shall do again, by `reset` or because what they made is gone.
    Forgotten {
        steps: Vec<StepId>,
        reason: String,
        /// Verified databases of the target that were named to be dropped for that.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        drop: Vec<String>,
    },
    /// The servers as a run found them, or left them. What it does not believe for that was forgotten before.
    ServersSeen {
        seen: Sightings,
    },
    /// How much was written to a database of the source before it was dumped, where the plan says that nobody writes to it.
    SourceWritten {
        database: String,
        written: WriteMark,
    },
    RunEnded {
        outcome: Outcome,
        exit_code: u8,
    },
}

impl<O> From<Change> for Entry<O> {
    fn from(change: Change) -> Self {
        Entry::Change {
            change: Box::new(change),
        }
    }
}

/// An output that is JSON, and of which nothing else is known.
#[derive(Debug)]
pub(super) struct Unread;

impl<'de> Deserialize<'de> for Unread {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        serde::de::IgnoredAny::deserialize(deserializer).map(|_| Unread)
    }
}

/// The output of a step that has none, or none yet: a journal has many.
pub(super) static NOTHING: LazyLock<Arc<Output>> = LazyLock::new(Arc::default);

/// To be read when it turns out to count.
impl From<Unread> for Arc<Output> {
    fn from(_: Unread) -> Arc<Output> {
        Arc::clone(&NOTHING)
    }
}

/// As the failpoints name it.
#[cfg(debug_assertions)]
impl std::fmt::Display for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Entry::RunStarted { .. } => f.write_str("run-started"),
            Entry::StepStarted { step, .. } => write!(f, "step-started {step}"),
            Entry::StepDone { step, .. } => write!(f, "step-done {step}"),
            Entry::StepFailed { step, .. } => write!(f, "step-failed {step}"),
            Entry::StepInterrupted { step, .. } => write!(f, "step-interrupted {step}"),
            Entry::Change { change } => match &**change {
                Change::CreateDatabase { database } => write!(f, "create-database {database}"),
                Change::CreatedDatabase { database, .. } => {
                    write!(f, "created-database {database}")
                }
                Change::CloseDatabase { database, .. } => write!(f, "close-database {database}"),
                Change::ShutDatabase { database } => write!(f, "shut-database {database}"),
                Change::ReopenDatabase { database } => write!(f, "reopen-database {database}"),
                Change::MarkWritten { database, .. } => write!(f, "mark-written {database}"),
                Change::LeaveDatabase { database, .. } => write!(f, "leave-database {database}"),
                Change::RestoredDatabase { database, .. } => {
                    write!(f, "restored-database {database}")
                }
                Change::MarkRegular { database, .. } => write!(f, "mark-regular {database}"),
                Change::FindDifference { database, .. } => write!(f, "find-difference {database}"),
                Change::AskForCorrection { database, .. } => {
                    write!(f, "ask-for-correction {database}")
                }
                Change::LetInDatabase { database, .. } => write!(f, "let-in-database {database}"),
                Change::StayClosed { database } => write!(f, "stay-closed {database}"),
                Change::OpenDatabase { database, .. } => write!(f, "open-database {database}"),
                Change::FillDatabase { database, .. } => write!(f, "fill-database {database}"),
                Change::RemakeDatabase { database, .. } => write!(f, "remake-database {database}"),
                Change::DropIndexes { database, .. } => write!(f, "drop-indexes {database}"),
                Change::MoveSequences { database, .. } => write!(f, "move-sequences {database}"),
                Change::CommitLoad { database, load } => {
                    write!(f, "commit-load {database} {}", load.table)
                }
                Change::LoadCommitted { database, load } => {
                    write!(f, "load-committed {database} {}", load.table)
                }
                Change::AlterSystem { .. } => f.write_str("alter-system"),
                Change::MigrateRoles { .. } => f.write_str("migrate-roles"),
                Change::MigratedRoles { .. } => f.write_str("migrated-roles"),
                Change::CreateRoles { .. } => f.write_str("create-roles"),
                Change::CreatedRoles { .. } => f.write_str("created-roles"),
                Change::DropDatabase { database } => write!(f, "drop-database {database}"),
                Change::DroppedDatabase { database } => write!(f, "dropped-database {database}"),
                Change::DropRole { role } => write!(f, "drop-role {role}"),
                Change::DroppedRole { role } => write!(f, "dropped-role {role}"),
                Change::SettingsRestored { .. } => f.write_str("put-back"),
                Change::StepKept { step } => write!(f, "step-kept {step}"),
                Change::DoubtDatabases { .. } => f.write_str("doubt-databases"),
                Change::HoldSnapshot { database, .. } => write!(f, "hold-snapshot {database}"),
                Change::EndSnapshot { database } => write!(f, "end-snapshot {database}"),
            },
            Entry::Warning { .. } => f.write_str("warning"),
            Entry::ServersSeen { .. } => f.write_str("servers-seen"),
            Entry::SourceWritten { database, .. } => write!(f, "source-written {database}"),
            Entry::Forgotten { .. } => f.write_str("forgotten"),
            Entry::RunEnded { .. } => f.write_str("run-ended"),
        }
    }
}

/// Where in its journal a change is that stands in the target's mark as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// Counted from 1 on.
    pub number: u64,
    /// When it was put on record: another change of this number is of another journal.
    pub at: Timestamp,
}

/// A change to a server that may have to be undone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "change", rename_all = "kebab-case")]
pub enum Change {
    /// CREATE DATABASE on the target, which had no database of this name.
    CreateDatabase { database: String },
    /// Written after the change: the object id that tells this database from others of its name.
    CreatedDatabase { database: String, oid: u32 },
    /// The database on the target belongs to our role, and nobody else may connect, until it is opened.
    CloseDatabase {
        database: String,
        /// What the source says of its owner, privileges and settings, which it gets from here on: a digest of each.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        source: BTreeMap<String, String>,
        /// `[tablespaces]` of the plan, by which it is created and restored from here on.
        #[serde(default)]
        tablespaces: Tablespaces,
    },
    /// No role may connect to the verified database on the target, ours included: it was named to be dropped.
    ShutDatabase { database: String },
    /// Written after the change: it lets in those who may connect again, and is not dropped.
    ReopenDatabase { database: String },
    /// A database of the target was verified: what is written from here on is its clients'.
    MarkWritten {
        database: String,
        /// How much was written to it until then; `None`: the server does not tell.
        written: Option<WriteMark>,
        /// Its delayed tables come after that.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        delayed: bool,
    },
    /// No change to a server: how much was written to a database that is not verified, when a step in it failed. What is
    /// written from here on is not this plan's, until it makes the database again.
    LeaveDatabase {
        database: String,
        written: WriteMark,
    },
    /// No change to a server: how much was written to a database when its restore, or its delayed phase, was done. No step writes to
    /// it until it is verified, and opened.
    RestoredDatabase {
        database: String,
        written: WriteMark,
        /// That of its restore stays.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        filled: Option<Filled>,
    },
    /// No change to a server: how much was written to what the delayed phase does not write to of a database that was verified, and is
    /// closed.
    MarkRegular {
        database: String,
        written: WriteMark,
    },
    /// No change to a server: tables of a database that is closed to others differ from what was dumped, or others changed their
    /// rows; without tables, others wrote something to it. That counts agree later does not say that they are the same rows.
    FindDifference {
        database: String,
        tables: Vec<TableName>,
    },
    /// No change to a server: a person was told to delete or change rows of these tables of a database that is closed to others, so
    /// that such changes are no session's that should not be there.
    AskForCorrection {
        database: String,
        tables: Vec<TableName>,
    },
    /// COMMIT of the transaction in which owner, privileges and settings of a verified database are set as on the source.
    LetInDatabase {
        database: String,
        #[serde(default)]
        opening: Opening,
    },
    /// No change to a server: that transaction was not committed, so the database is closed as it was before.
    StayClosed { database: String },
    /// Written after the change: it has answered an ordinary session.
    OpenDatabase {
        database: String,
        /// The plan waived the differences that had been found in it, which are none from here on.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        waived: bool,
    },
    /// The target has an empty database of this name and object id, which is about to be filled.
    FillDatabase {
        database: String,
        oid: u32,
        /// What was in it that is no object of a user and goes with it, in words (default privileges); `None`: that was not
        /// written down.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        own: Option<Vec<String>>,
    },
    /// The database that was found empty, and that this plan filled, is about to be dropped, and made again as it was found
    /// by these statements.
    RemakeDatabase {
        database: String,
        oid: u32,
        statements: Vec<String>,
    },
    /// DROP INDEX on the target, to be made again after the delayed load.
    DropIndexes {
        database: String,
        indexes: Vec<IndexDefinition>,
    },
    /// Sequences of the target are about to be moved on for the rows of delayed tables, the first time, or when others were set back since:
    /// what stands further on later may do so by that. With what was found before.
    MoveSequences { database: String, found: BeforeMove },
    /// COMMIT of the load of a delayed table.
    CommitLoad { database: String, load: Load },
    /// Written after the change: it was committed, and no crash of the server takes it back.
    LoadCommitted { database: String, load: Load },
    /// Written after the change: a transaction of this run on the source exported a snapshot, and vacuum there
    /// keeps what it sees. It ends with the run at the latest.
    HoldSnapshot { database: String, snapshot: String },
    /// Written after the change: that transaction has ended.
    EndSnapshot { database: String },
    /// ALTER SYSTEM SET on the target, for the load.
    AlterSystem {
        settings: Vec<AlteredSetting>,
        since: Started,
    },
    /// Roles and tablespaces of the source are about to be made or changed on the target: the digest of what the source
    /// says of each.
    MigrateRoles { subjects: BTreeMap<String, String> },
    /// Written after the change: what became of them.
    MigratedRoles {
        subjects: BTreeMap<String, MigratedSubject>,
    },
    /// CREATE ROLE on the target, which had no roles of these names, in one transaction.
    CreateRoles { roles: Vec<String> },
    /// Written before that is committed: the object ids that tell these roles from others of their names.
    CreatedRoles { roles: BTreeMap<String, u32> },
    /// DROP DATABASE on the target, of one that this plan made, as a person asked for.
    DropDatabase { database: String },
    /// Written after the change.
    DroppedDatabase { database: String },
    /// DROP ROLE on the target, of one that this plan made, as a person asked for.
    DropRole { role: String },
    /// Written after the change.
    DroppedRole { role: String },
    /// No change to a server: the target is not as it was when these databases were made or verified, so they are made
    /// again.
    DoubtDatabases {
        databases: Vec<String>,
        /// It went back: databases of these names there may be anybody's.
        disowned: bool,
    },
    /// Written after the change: what the step wrote to the target is there, and outlives a crash of the server. Before the step is
    /// called done, so that the mark of a target that is put back to a moment within the step says less than it was given.
    StepKept { step: StepId },
    /// Written after the change: the settings are as they were, and what was written without fsync is on
    /// disk as far as we could see to it.
    #[serde(rename = "put-back")]
    SettingsRestored {
        settings: Vec<String>,
        /// What was seen of a crash of the target's machine while they were set.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        damage: Option<String>,
    },
}

impl Change {
    /// It stands in the target's mark as well. Snapshots are the source's; roles are done again by each run; what
    /// was left and what was found changed nothing.
    pub(crate) fn is_marked(&self) -> bool {
        !matches!(
            self,
            Change::HoldSnapshot { .. }
                | Change::EndSnapshot { .. }
                | Change::MigrateRoles { .. }
                | Change::MigratedRoles { .. }
                | Change::LeaveDatabase { .. }
                | Change::RestoredDatabase { .. }
                | Change::MarkRegular { .. }
                | Change::FindDifference { .. }
                | Change::AskForCorrection { .. }
                | Change::StayClosed { .. }
        )
    }

    /// The database of the target that it changes.
    pub(crate) fn database(&self) -> Option<&str> {
        match self {
            Change::CreateDatabase { database }
            | Change::CreatedDatabase { database, .. }
            | Change::CloseDatabase { database, .. }
            | Change::ShutDatabase { database }
            | Change::ReopenDatabase { database }
            | Change::MarkWritten { database, .. }
            | Change::LetInDatabase { database, .. }
            | Change::OpenDatabase { database, .. }
            | Change::FillDatabase { database, .. }
            | Change::RemakeDatabase { database, .. }
            | Change::DropIndexes { database, .. }
            | Change::MoveSequences { database, .. }
            | Change::CommitLoad { database, .. }
            | Change::LoadCommitted { database, .. }
            | Change::DropDatabase { database }
            | Change::DroppedDatabase { database } => Some(database),
            Change::StepKept { step } => step.database_name().map(|name| &**name),
            Change::LeaveDatabase { .. }
            | Change::RestoredDatabase { .. }
            | Change::MarkRegular { .. }
            | Change::FindDifference { .. }
            | Change::AskForCorrection { .. }
            | Change::StayClosed { .. }
            | Change::HoldSnapshot { .. }
            | Change::EndSnapshot { .. }
            | Change::AlterSystem { .. }
            | Change::MigrateRoles { .. }
            | Change::MigratedRoles { .. }
            | Change::CreateRoles { .. }
            | Change::CreatedRoles { .. }
            | Change::DropRole { .. }
            | Change::DroppedRole { .. }
            | Change::DoubtDatabases { .. }
            | Change::SettingsRestored { .. } => None,
        }
    }
}

/// The transaction that opens a database, on record before its commit: a later attempt asks the target whether it was committed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Opening {
    /// `txid_current()`; `None`: an earlier version did not write it down.
    #[serde(default)]
    pub transaction: Option<i64>,
    /// The start of the target in which it was, seconds since 1970: a crash may give the number to another.
    #[serde(default)]
    pub server_started: String,
    /// What of it the target refused, a line each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refused: Vec<String>,
}

/// What became of a role or a tablespace on the target.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MigratedSubject {
    /// The digest of what the target says of it afterwards: another one later is another session's work. `None`: it could
    /// not be read.
    pub target: Option<String>,
    /// What of it is not on the target.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// Which start of a server, and of the machine below it, this is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Started {
    /// Seconds of the epoch by the server's clock (`pg_postmaster_start_time`).
    pub server: String,
    /// What the machine's kernel calls this start (`boot_id` of random(4)), where our role may read it.
    pub machine: Option<String>,
    /// What was seen of the server then.
    #[serde(default)]
    pub seen: Option<Sighting>,
}

/// A parameter that ALTER SYSTEM is about to change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlteredSetting {
    pub name: String,
    pub value: String,
    /// What `postgresql.auto.conf` held, as it was spelled there; `None`: nothing.
    pub before: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    Completed,
    Failed,
    Mismatched,
    Interrupted,
}
