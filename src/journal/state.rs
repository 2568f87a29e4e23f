//! What a journal says: the state of every step that it speaks of.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::Arc;

use jiff::Timestamp;

use super::record::{MigratedSubject, Opening, Outcome, Position, Started};
use crate::names::{
    BeforeMove, Filled, IndexDefinition, Kind, Load, Output, Sightings, StepId, TableName,
    WriteMark,
};
use crate::plan::Tablespaces;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Started, without an end in this run: under way, or dead with its run.
    Started,
    Done,
    Failed,
    Interrupted,
}

#[derive(Debug, Clone, PartialEq)]
pub struct StepState {
    pub status: Status,
    /// Of the last start.
    pub attempt: u32,
    /// Position in [`State::runs`] of the run that started it last.
    pub run: usize,
    pub started: Timestamp,
    /// How long the last attempt took; `None` while it has no end.
    pub seconds: Option<f64>,
    pub error: Option<String>,
    /// In a place of its own, shared with the steps that read it: a replay comes by every state often, and by few
    /// outputs.
    pub output: Arc<Output>,
}

/// One `run`, from its first record to its last.
#[derive(Debug, Clone, PartialEq)]
pub struct RunState {
    pub started: Timestamp,
    pub fingerprint: String,
    pub source: Option<String>,
    pub target: Option<String>,
    pub findings: Vec<String>,
    /// The databases that it was about; `None`: it did not write them down.
    pub databases: Option<Vec<String>>,
    /// What the run found out under way, beside the steps' own warnings, with the database that it is about.
    pub warnings: Vec<(Option<String>, String)>,
    /// It was no run: `reset` forgot steps.
    pub is_reset: bool,
    /// Time, outcome and exit code; `None`: under way, or killed.
    pub ended: Option<(Timestamp, Outcome, u8)>,
}

/// The journal, replayed.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct State {
    pub runs: Vec<RunState>,
    /// The servers as they were seen last.
    pub seen: Sightings,
    /// Steps that were never started are not in it: they are pending.
    pub steps: HashMap<StepId, StepState>,
    /// Of those, the ones that were done by version 0.1.0.
    pub done_by_0_1_0: HashSet<StepId>,
    /// Databases of the target that this plan created, or was about to.
    pub created: BTreeMap<String, Created>,
    /// Of those that were there, empty: what was in each that is no object of a user, in words; `None`: that is not known.
    pub found: BTreeMap<String, Option<Vec<String>>>,
    /// Of those, the ones that are made again as they were found: by which statements.
    pub remade: BTreeMap<String, Vec<String>>,
    /// Databases of the target that are not opened yet.
    pub closed: BTreeSet<String>,
    /// Of those, the ones that were about to be, so that others may connect already, with the transaction by which.
    pub let_in: BTreeMap<String, Opening>,
    /// What the target refused when it opened each, a line each.
    pub refused: BTreeMap<String, Vec<String>>,
    /// What the source said of owner, privileges and settings of each that this plan created or fills: digests.
    pub made_from: BTreeMap<String, BTreeMap<String, String>>,
    /// `[tablespaces]` of the plan by which each was created.
    pub placed: BTreeMap<String, Tablespaces>,
    /// Those that no role may connect to, so that they can be dropped.
    pub shut: BTreeSet<String>,
    /// Those that were verified, with how much had been written to each then; `None`: that is not known, or was changed
    /// by this plan since.
    pub verified: HashMap<String, Option<WriteMark>>,
    /// Those that were not, with how much had been written to each when a step in it failed first.
    pub left: BTreeMap<String, WriteMark>,
    /// Those that are closed, with how much had been written to each when this plan wrote to it last: its restore, or its delayed phase,
    /// was done. Until one is opened.
    pub restored: BTreeMap<String, WriteMark>,
    /// Those that were restored, with what tells their rows from those of clients.
    pub filled: BTreeMap<String, Filled>,
    /// Those that are verified and closed, with how much had been written by then to what their delayed phase does not write to.
    pub regular: BTreeMap<String, WriteMark>,
    /// Of the source, where the plan says that nobody writes to it: how much had been written to each before it was dumped.
    pub source_written: BTreeMap<String, WriteMark>,
    /// Those in which a verification, or the look before their opening, found a difference, and that are not made again since, with the
    /// tables; none: another session wrote something to it. Until a verification passes, or the plan waives it and it is opened.
    pub differences: BTreeMap<String, BTreeSet<TableName>>,
    /// Tables whose rows a person was told to delete or change while the database was closed.
    pub asked: BTreeMap<String, BTreeSet<TableName>>,
    /// What was seen of a crash of the target's machine while settings for the load were set.
    pub damage: Option<String>,
    /// Of those, the ones that were named to be dropped all the same.
    pub may_drop: BTreeSet<String>,
    /// Indexes that were dropped, or were about to be, by database.
    pub dropped_indexes: HashMap<String, Vec<IndexDefinition>>,
    /// What was found before the sequences of each were moved on for its delayed rows, the first time and later.
    pub before_move: HashMap<String, BeforeMove>,
    /// Loads that were committed, or were about to be, by database.
    pub loads: HashMap<String, Vec<Load>>,
    /// Snapshots of the last run that are open on the source, by database. A run that was killed has none, whatever
    /// stands here.
    pub snapshots: BTreeMap<String, HeldSnapshot>,
    /// Settings of the target that this plan changed, or was about to, and did not restore yet.
    pub tuned: BTreeMap<String, TunedSetting>,
    /// Roles and tablespaces that this plan migrated, or was about to, by what messages call them.
    pub roles: BTreeMap<String, RoleState>,
    /// Roles of the target that this plan made, with their object ids; `None`: it was about to, and did not. Versions before 0.2.0 may have.
    pub created_roles: BTreeMap<String, Option<u32>>,
    /// The number of the last change that the target's mark was certainly given; 0: none.
    pub confirmed: u64,
    /// The numbers of changes that are marked on the target as well, by the database that they are about.
    pub numbers: HashMap<String, Numbers>,
    /// The last changes that are marked on the target as well.
    pub positions: VecDeque<Position>,
}

/// More than are under way at a time, and than a reset or two write without a target.
const POSITIONS: usize = 1000;

/// How far this plan is known to have come with a role or a tablespace.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RoleState {
    /// The digest of what the source said of it.
    pub source: String,
    /// What became of it when its migration ended last; `None`: none did.
    pub after: Option<MigratedSubject>,
    /// A migration of it began since, and may have been made in part: in which run, counted from 1.
    pub begun: Option<usize>,
}

/// How far this plan is known to have come with a database that it creates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Created {
    /// CREATE DATABASE was about to be run, and may have been.
    Begun,
    /// It was, and this is the database's object id.
    WithOid(u32),
    /// It was there, empty, and this plan fills it.
    Found(u32),
}

/// Numbers of changes to a database of the target that are marked there as well.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Numbers {
    /// Of the one by which its object id was known: a target whose mark says less may have another of its name and object id.
    pub made: u64,
    /// Of the last: a target whose mark says less may lack some of what was done to it.
    pub last: u64,
}

/// A snapshot that several steps share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldSnapshot {
    /// By `pg_export_snapshot()`.
    pub id: String,
    pub taken: Timestamp,
}

impl State {
    /// What a step yielded; `None` where it is not done.
    pub fn output_of(&self, step: &StepId) -> Option<&Arc<Output>> {
        let state = self.steps.get(step)?;
        (state.status == Status::Done).then_some(&state.output)
    }

    /// Whether the target's database was verified by this plan, so that it may be in use, and is not named to be dropped.
    pub(crate) fn is_to_be_kept(&self, database: &str) -> bool {
        self.verified.contains_key(database) && !self.may_drop.contains(database)
    }

    /// No role but ours may connect to the target's database.
    pub(crate) fn is_closed(&self, database: &str) -> bool {
        self.closed.contains(database) && !self.let_in.contains_key(database)
    }

    /// Databases whose verification is done, and that are not opened yet.
    pub fn verified_and_closed(&self) -> Vec<String> {
        let closed = self.closed.iter();
        let is_verified = |name: &&String| {
            let name = name.as_str().into();
            self.is_done(&StepId::database(&name, Kind::Verify))
        };
        closed.filter(is_verified).cloned().collect()
    }

    /// The object id of the target's database that this plan made or fills.
    pub(crate) fn made(&self, database: &str) -> Option<u32> {
        match self.created.get(database)? {
            Created::Begun => None,
            Created::WithOid(oid) | Created::Found(oid) => Some(*oid),
        }
    }

    /// Databases of the target that this plan verified, and that clients may use.
    pub(crate) fn in_use(&self) -> BTreeSet<String> {
        let verified = self.verified.keys();
        verified
            .filter(|name| !self.is_closed(name))
            .cloned()
            .collect()
    }

    /// What a step of the last run goes by. What that run began itself it goes on with, whatever the target says: an attempt before
    /// failed.
    pub(crate) fn roles_to_migrate(&self) -> BTreeMap<String, RoleState> {
        let mut roles = self.roles.clone();
        for role in roles.values_mut() {
            role.after.take_if(|_| role.begun == Some(self.runs.len()));
        }
        roles
    }

    /// Whether the last run came to its end, with nothing that failed or differed.
    pub(crate) fn is_completed(&self) -> bool {
        let ended = self.runs.last().and_then(|run| run.ended);
        matches!(ended, Some((_, Outcome::Completed, _)))
    }

    /// The last change that is, or is to be, marked on the target.
    pub(crate) fn position(&self) -> Option<Position> {
        self.positions.back().copied()
    }

    /// When the change of this number was put on record; `None`: it is none of the last.
    pub(crate) fn changed_at(&self, number: u64) -> Option<Timestamp> {
        let position = self
            .positions
            .iter()
            .rev()
            .find(|one| one.number == number)?;
        Some(position.at)
    }

    pub(super) fn advance(&mut self, at: Timestamp) {
        let number = self.position().map_or(1, |last| last.number + 1);
        self.positions.push_back(Position { number, at });
        if self.positions.len() > POSITIONS {
            self.positions.pop_front();
        }
    }

    pub fn is_done(&self, step: &StepId) -> bool {
        self.output_of(step).is_some()
    }
}

/// A setting that has to be restored.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TunedSetting {
    /// What `postgresql.auto.conf` held before this plan changed it first; `None`: nothing.
    pub before: Option<String>,
    /// What this plan set, or was about to: whatever else is there now is not ours.
    pub values: BTreeSet<String>,
    /// The start of the target in which this plan changed it first.
    pub since: Started,
}
