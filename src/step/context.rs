//! What a step is given, and what it may say back.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::StepError;
use super::locked_snapshot::LockedSnapshot;
use crate::catalog::{Database, Inspection, Relation};
use crate::event::{Event, Progress};
use crate::graph::{Graph, Step, StepIndex, Tuning, file_name};
use crate::journal::{Change, Created, Opening, Position, RoleState, TunedSetting};
use crate::mark::Mark;
use crate::names::{
    BeforeMove, Counts, DelayedDump, IndexDefinition, Kind, Load, MadeTable, Output, Product,
    RegularDump, Restored, StepId, Subject, TableName, WriteMark,
};
use crate::plan::{Endpoint, Plan, Side};
use crate::postgres::{Application, Connection, Error, Notices, Session, connect, escape_control};

/// What every step of a run shares.
pub(crate) struct Shared {
    pub plan: Plan,
    pub source: Endpoint,
    pub target: Endpoint,
    pub inspection: Inspection,
    pub graph: Graph,
    /// What sessions of this run are called.
    pub application: Application,
    /// Cancelled when the run is stopping.
    pub stop: CancellationToken,
    /// Cancelled when what is done all the same while the run is stopping is not to be tried any more.
    pub give_up: CancellationToken,
    pub events: mpsc::UnboundedSender<Event>,
    /// Changes to be recorded before they are made.
    pub changes: mpsc::Sender<ChangeRequest>,
    /// Where the target says what was done to it; `None`: our role may not make that.
    pub mark: Option<Mark>,
}

/// A change that a step is about to make, and where to say that it is on record.
pub(crate) struct ChangeRequest {
    pub change: Change,
    /// With its position, where it is to be marked on the target.
    pub recorded: oneshot::Sender<Option<Position>>,
}

/// A database of the target that is verified and still closed to others.
#[derive(Debug, Clone)]
pub(crate) struct ToOpen {
    pub name: String,
    /// Its object id.
    pub made: Option<u32>,
    /// How much had been written to it when this plan wrote to it last; `None`: that is not known.
    pub written: Option<WriteMark>,
    /// By the journal, its opening was about to be committed, and may have been.
    pub let_in: Option<Opening>,
    /// A difference was found in it: in these tables, or in none that is known.
    pub differences: Option<BTreeSet<TableName>>,
    /// The verification of its delayed tables is a step of this run that did not pass, and the run ends with that.
    pub is_told: bool,
}

/// What one attempt of one step is given.
pub(crate) struct Context {
    pub shared: Arc<Shared>,
    /// Position in the graph's steps.
    pub index: StepIndex,
    /// The step was tried before in this run, and failed.
    pub is_retry: bool,
    /// What the steps yielded that its kind reads.
    pub inputs: HashMap<Kind, Arc<Output>>,
    /// The snapshot that the step shares, if it does.
    pub snapshot: Option<Arc<LockedSnapshot>>,
    /// Cancelled when the run is stopping, or when the snapshot was given up.
    pub stop: CancellationToken,
    /// Indexes of the database that the delayed phase dropped, by the journal.
    pub dropped_indexes: Vec<IndexDefinition>,
    /// By the journal, what was found before the sequences were moved on for the rows of delayed tables, the first time and later.
    pub before_move: Option<BeforeMove>,
    /// Loads of delayed tables that may be committed, by the journal.
    pub loads: Vec<Load>,
    /// By the journal, this plan made or was about to make the target's database of this name.
    pub created: Mutex<Option<Created>>,
    /// By the journal, what was in that database when it was found, empty: see [`Change::FillDatabase`].
    pub found: Option<Vec<String>>,
    /// By the journal, the statements that make it again as it was found.
    pub remade: Mutex<Vec<String>>,
    /// By the journal, that database was verified, so that clients may use it, with how much had been written to it then.
    pub verified: Option<Option<WriteMark>>,
    /// By the journal, how much had been written to that database when a step in it failed.
    pub left: Option<WriteMark>,
    /// By the journal, how much had been written to that database when its restore was done.
    pub restored: Option<WriteMark>,
    /// By the journal, how much had been written by its verification to what its delayed phase does not write to.
    pub regular: Option<WriteMark>,
    /// By the journal, a verification found a difference in that database: in these tables, or in none that is known.
    pub differences: Option<BTreeSet<TableName>>,
    /// By the journal, a person was told to delete or change rows of these tables of it.
    pub asked: BTreeSet<TableName>,
    /// By the journal, an attempt before this one began, in whichever run.
    pub was_begun: bool,
    /// By the journal, no other role may connect to it yet.
    pub is_closed: bool,
    /// It is not on record as opened, and lets others in: the transaction by which it does.
    pub let_in: Option<Opening>,
    /// By the journal, what the target refused when it opened that database.
    pub refused: Vec<String>,
    /// By the journal, no role may connect to it: it was to be dropped.
    pub is_shut: bool,
    /// That database was named to be dropped all the same.
    pub may_drop: bool,
    /// In a step about the whole server: databases that are verified and still closed to others.
    pub closed: Vec<ToOpen>,
    /// In a step about the whole server: settings of the target that this plan changed and has to restore,
    /// by its journal.
    pub tuned: BTreeMap<String, TunedSetting>,
    /// What the target warned this step's sessions of.
    pub notices: Notices,
    /// In `globals`: what this plan migrated before, by its journal.
    pub roles: BTreeMap<String, RoleState>,
    /// In `globals`: the roles that this plan made, by its journal.
    pub created_roles: BTreeMap<String, Option<u32>>,
}

impl Shared {
    /// Whether verified databases stay closed until the target's settings are restored: a crash of its operating system
    /// would lose what clients commit.
    pub(crate) fn opens_late(&self) -> bool {
        let is_unsafe = self.graph.tuning.as_ref().is_some_and(Tuning::is_unsafe);
        is_unsafe && !self.plan.tuning.open_early
    }

    /// Puts a change on record. When this returns, it is on disk, and in the target's mark, and may be made.
    pub(crate) async fn record(&self, change: Change) -> Result<(), StepError> {
        let (recorded, on_record) = oneshot::channel();
        let request = ChangeRequest {
            change: change.clone(),
            recorded,
        };
        let not_recorded =
            || StepError::fault("the change could not be put on record, so it was not made");
        let sent = self.changes.send(request).await;
        sent.map_err(|_| not_recorded())?;
        let position = on_record.await.map_err(|_| not_recorded())?;
        if let (Some(mark), Some(position)) = (&self.mark, position) {
            mark.write(Some(&change), position).await?;
        }
        Ok(())
    }
}

impl Context {
    /// For a step to which the journal hands nothing.
    pub(crate) fn new(shared: Arc<Shared>, index: StepIndex) -> Context {
        Context {
            stop: shared.stop.child_token(),
            shared,
            index,
            is_retry: false,
            inputs: HashMap::new(),
            snapshot: None,
            dropped_indexes: Vec::new(),
            before_move: None,
            loads: Vec::new(),
            created: Mutex::new(None),
            found: None,
            remade: Mutex::default(),
            verified: None,
            left: None,
            restored: None,
            regular: None,
            differences: None,
            asked: BTreeSet::new(),
            may_drop: false,
            was_begun: false,
            is_closed: false,
            let_in: None,
            refused: Vec::new(),
            is_shut: false,
            closed: Vec::new(),
            tuned: BTreeMap::new(),
            notices: Notices::default(),
            roles: BTreeMap::new(),
            created_roles: BTreeMap::new(),
        }
    }

    pub(crate) fn step(&self) -> &Step {
        &self.shared.graph.steps[self.index]
    }

    pub(crate) fn plan(&self) -> &Plan {
        &self.shared.plan
    }

    pub(crate) fn endpoint(&self, side: Side) -> &Endpoint {
        match side {
            Side::Source => &self.shared.source,
            Side::Target => &self.shared.target,
        }
    }

    /// The database's name.
    ///
    /// # Panics
    ///
    /// In a step about the whole server.
    pub(crate) fn database_name(&self) -> &str {
        self.step()
            .id
            .database_name()
            .expect("the step is about a database")
    }

    /// How far this plan has come with the target's database of this name.
    pub(crate) fn created(&self) -> Option<Created> {
        *self.created.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The step has made the database, or found it, and that is on record.
    pub(crate) fn set_created(&self, created: Created) {
        *self.created.lock().unwrap_or_else(PoisonError::into_inner) = Some(created);
    }

    /// The statements that make the target's database again as it was found; none where it is made as on the source.
    pub(crate) fn remade(&self) -> Vec<String> {
        let remade = self.remade.lock().unwrap_or_else(PoisonError::into_inner);
        remade.clone()
    }

    /// The database that was found is this plan's from here on, and that is on record.
    pub(crate) fn set_remade(&self, made: u32, statements: Vec<String>) {
        *self.remade.lock().unwrap_or_else(PoisonError::into_inner) = statements;
        self.set_created(Created::WithOid(made));
    }

    /// The object id of the target's database that this plan made or fills.
    pub(crate) fn made(&self) -> Option<u32> {
        match self.created()? {
            Created::Begun => None,
            Created::WithOid(oid) | Created::Found(oid) => Some(oid),
        }
    }

    /// Opens a session in the step's database. Which of that name on the target it is, [`super::ours`] asks.
    pub(crate) async fn connect(&self, side: Side) -> Result<Connection, Error> {
        let session = self.session(side);
        connect(self.endpoint(side), self.database_name(), &session).await
    }

    /// The database as it was found on the source.
    pub(crate) fn database(&self) -> Result<&Database, StepError> {
        let name = self.database_name();
        self.shared
            .inspection
            .source
            .database(name)
            .ok_or_else(|| StepError::fault(format!("the source has no database \"{name}\"")))
    }

    /// What another step of the same database yielded.
    pub(crate) fn input(&self, kind: Kind) -> Result<&Output, StepError> {
        let input = self.inputs.get(&kind).map(|output| &**output);
        input.ok_or_else(|| StepError::fault(format!("the journal holds no {kind}")))
    }

    /// What the database's regular dump yielded.
    pub(crate) fn regular_dump(&self) -> Result<&RegularDump, StepError> {
        match &self.input(Kind::Dump)?.product {
            Product::Dump(dump) => Ok(dump),
            _ => Err(StepError::fault(
                "the journal does not tell what was dumped",
            )),
        }
    }

    /// What the dump of the database's delayed tables yielded.
    pub(crate) fn delayed_dump(&self) -> Result<&DelayedDump, StepError> {
        match &self.input(Kind::DelayedDump)?.product {
            Product::DelayedDump(dump) => Ok(dump),
            _ => Err(StepError::fault(
                "the journal does not tell what was dumped",
            )),
        }
    }

    /// What was counted on one side.
    pub(crate) fn counts(&self, side: Side) -> Result<&Counts, StepError> {
        let kind = match side {
            Side::Source => Kind::SourceCounts,
            Side::Target => Kind::TargetCounts,
        };
        match &self.input(kind)?.product {
            Product::Counts(counts) => Ok(counts),
            _ => Err(StepError::fault(
                "the journal does not tell what was counted",
            )),
        }
    }

    /// What the database's restore made for the delayed phase; `None`: an earlier version did not write it down.
    pub(crate) fn restored(&self) -> Option<&Restored> {
        match &self.inputs.get(&Kind::Restore)?.product {
            Product::Restore(restored) if !restored.delayed.is_empty() => Some(restored),
            _ => None,
        }
    }

    /// The delayed tables of the target as the restore made them.
    pub(crate) fn restored_tables(&self) -> &[MadeTable] {
        self.restored().map_or(&[], |restored| &restored.delayed)
    }

    /// The database's delayed tables.
    pub(crate) fn delayed_tables(&self) -> BTreeSet<TableName> {
        let name = self.database_name();
        let databases = &self.shared.graph.databases;
        databases
            .iter()
            .filter(|database| database.name == name)
            .flat_map(|database| database.delayed.iter().cloned())
            .collect()
    }

    /// The database's unlogged tables, as they were found on the source.
    pub(crate) fn unlogged_tables(&self) -> Result<HashSet<TableName>, StepError> {
        let contents = self.database()?.contents.iter();
        let relations = contents.flat_map(|contents| &contents.relations);
        Ok(relations
            .filter(|relation| relation.unlogged)
            .map(Relation::table_name)
            .collect())
    }

    /// Partitions between which rows move on their way, each with the partitioned table as a whole of which they are compared.
    pub(crate) fn hashed_by_enum(&self) -> Result<&BTreeMap<TableName, TableName>, StepError> {
        static NONE: BTreeMap<TableName, TableName> = BTreeMap::new();
        let contents = self.database()?.contents.as_ref();
        Ok(contents.map_or(&NONE, |contents| &contents.hashed_by_enum))
    }

    /// Delayed partitions of those that share their rows with others that are not delayed.
    pub(crate) fn delayed_in_part(&self) -> Result<BTreeSet<TableName>, StepError> {
        let (delayed, moving) = (self.delayed_tables(), self.hashed_by_enum()?);
        let regular = moving.iter().filter(|(part, _)| !delayed.contains(part));
        let roots: BTreeSet<&TableName> = regular.map(|(_, root)| root).collect();
        let is_shared = |table: &&TableName| {
            let root = moving.get(*table);
            root.is_some_and(|root| roots.contains(root))
        };
        Ok(delayed.iter().filter(is_shared).cloned().collect())
    }

    /// Whether rows of unlogged tables are not there to be read.
    pub(crate) fn is_standby(&self, side: Side) -> bool {
        side == Side::Source && self.shared.inspection.source.in_recovery
    }

    /// The name by which sessions of this step are found on a server.
    pub(crate) fn application(&self) -> String {
        self.shared
            .application
            .application_name_for(&self.step().id.to_string())
    }

    /// The id of the run's state directory.
    pub(crate) fn state_id(&self) -> Result<&str, StepError> {
        let id = self.shared.application.state();
        id.ok_or_else(|| StepError::fault("the run has no state directory"))
    }

    /// A session of this step. On the source it gives up waiting for a lock as the plan says, on the target
    /// it has the settings for the load.
    pub(crate) fn session(&self, side: Side) -> Session {
        let session = Session::new(&self.application());
        match side {
            Side::Source => session.lock_timeout(self.plan().source_lock_timeout),
            Side::Target => session
                .settings(self.session_settings())
                .keep_warnings(&self.notices),
        }
    }

    /// What this run's sessions on the target set for themselves, names and values.
    pub(crate) fn session_settings(&self) -> impl Iterator<Item = (&str, &str)> {
        let tuning = self.shared.graph.tuning.iter();
        tuning
            .flat_map(|tuning| tuning.session())
            .map(|setting| (setting.name.as_str(), setting.value.as_str()))
    }

    /// The database's name for a message.
    pub(crate) fn shown_database(&self) -> Cow<'_, str> {
        escape_control(self.database_name())
    }

    /// Where the step's child writes its stderr.
    pub(crate) fn log_file(&self) -> PathBuf {
        let StepId { subject, kind } = &self.step().id;
        let name = match subject {
            Subject::Server => format!("{kind}.log"),
            Subject::Database(database) => format!("{}.{kind}.log", file_name(database)),
            Subject::Piece(database, number) => {
                format!("{}.{kind}.{number}.log", file_name(database))
            }
        };
        self.plan().state_dir.join("log").join(name)
    }

    pub(crate) fn report(&self, progress: Progress) {
        let event = Event::StepProgress {
            step: self.step().id.clone(),
            progress,
        };
        // Without a receiver the migration goes on.
        let _ = self.shared.events.send(event);
    }

    /// Whether the plan waives what a verification found in the step's database.
    pub(crate) fn is_difference_accepted(&self) -> bool {
        self.shared.graph.accepts_difference(self.database_name())
    }

    /// Puts on record that a person is told to delete or change rows of these tables: where the database is closed, nothing else
    /// may.
    pub(crate) async fn ask_for_correction(
        &self,
        mut tables: Vec<TableName>,
    ) -> Result<(), StepError> {
        tables.retain(|table| !self.asked.contains(table));
        if !self.is_closed || tables.is_empty() {
            return Ok(());
        }
        let database = self.database_name().to_owned();
        self.record(Change::AskForCorrection { database, tables })
            .await
    }

    /// See [`Shared::record`].
    pub(crate) async fn record(&self, change: Change) -> Result<(), StepError> {
        self.shared.record(change).await
    }
}
