//! The parts of a graph: steps, what they are called, what they need and what they claim.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What a step does. The order is the order of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    TuneTarget,
    Globals,
    Create,
    Dump,
    SourceCounts,
    Restore,
    TargetCounts,
    Verify,
    DelayedDump,
    DropIndexes,
    DelayedRestore,
    RecreateIndexes,
    DelayedVerify,
    RestoreSettings,
}

impl Kind {
    pub const ALL: [Kind; 14] = [
        Kind::TuneTarget,
        Kind::Globals,
        Kind::Create,
        Kind::Dump,
        Kind::SourceCounts,
        Kind::Restore,
        Kind::TargetCounts,
        Kind::Verify,
        Kind::DelayedDump,
        Kind::DropIndexes,
        Kind::DelayedRestore,
        Kind::RecreateIndexes,
        Kind::DelayedVerify,
        Kind::RestoreSettings,
    ];

    /// Of one database, before its delayed phase: after these it may be used.
    pub const REGULAR: [Kind; 6] = [
        Kind::Create,
        Kind::Dump,
        Kind::SourceCounts,
        Kind::Restore,
        Kind::TargetCounts,
        Kind::Verify,
    ];

    /// The word in a step's id.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::TuneTarget => "tune-target",
            Kind::Globals => "globals",
            Kind::Create => "create",
            Kind::Dump => "dump",
            Kind::SourceCounts => "source-counts",
            Kind::Restore => "restore",
            Kind::TargetCounts => "target-counts",
            Kind::Verify => "verify",
            Kind::DelayedDump => "delayed-dump",
            Kind::DropIndexes => "drop-indexes",
            Kind::DelayedRestore => "delayed-restore",
            Kind::RecreateIndexes => "recreate-indexes",
            Kind::DelayedVerify => "delayed-verify",
            Kind::RestoreSettings => "restore-settings",
        }
    }

    /// Whether the step belongs to the delayed phase.
    pub fn is_delayed(self) -> bool {
        matches!(
            self,
            Kind::DelayedDump
                | Kind::DropIndexes
                | Kind::DelayedRestore
                | Kind::RecreateIndexes
                | Kind::DelayedVerify
        )
    }

    /// Whether the step changes the target's settings or puts them back.
    pub fn is_tuning(self) -> bool {
        matches!(self, Kind::TuneTarget | Kind::RestoreSettings)
    }

    /// Whether the step is about the whole server.
    pub fn is_server_level(self) -> bool {
        matches!(
            self,
            Kind::TuneTarget | Kind::Globals | Kind::RestoreSettings
        )
    }
}

impl FromStr for Kind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Kind::ALL
            .into_iter()
            .find(|kind| kind.as_str() == text)
            .ok_or_else(|| {
                let kinds = Kind::ALL.map(Kind::as_str).join(", ");
                format!("`{text}` is no kind of step; these are: {kinds}")
            })
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// `DATABASE/KIND`, or the bare kind of a step about the whole server.
///
/// A kind holds no slash, so the last slash ends the database's name, whatever that name holds.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StepId {
    pub database: Option<Arc<str>>,
    pub kind: Kind,
}

impl StepId {
    pub fn server(kind: Kind) -> Self {
        StepId {
            database: None,
            kind,
        }
    }

    pub fn of(database: &Arc<str>, kind: Kind) -> Self {
        StepId {
            database: Some(Arc::clone(database)),
            kind,
        }
    }
}

impl fmt::Display for StepId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(database) = &self.database {
            write!(f, "{database}/")?;
        }
        f.write_str(self.kind.as_str())
    }
}

impl FromStr for StepId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let id = match text.rsplit_once('/') {
            Some((database, kind)) => StepId {
                database: Some(database.into()),
                kind: kind.parse()?,
            },
            None => StepId::server(text.parse()?),
        };
        if id.database.is_none() == id.kind.is_server_level() {
            Ok(id)
        } else {
            Err(format!("`{text}` is no step's id"))
        }
    }
}

impl Serialize for StepId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for StepId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        /// Reads the text where it stands: a journal may name a million steps.
        struct Text;

        impl Visitor<'_> for Text {
            type Value = StepId;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the id of a step")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<StepId, E> {
                text.parse().map_err(E::custom)
            }
        }

        deserializer.deserialize_str(Text)
    }
}

/// What a step can claim a part of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Resource {
    /// Connections to the source.
    SourceConnections,
    /// Databases at a time on the source.
    SourceDatabases,
    /// Connections to the target.
    TargetConnections,
    /// Databases at a time on the target.
    TargetDatabases,
    /// Count queries in flight, both servers together.
    VerifyQueries,
    /// Megabytes for index builds on the target.
    IndexMemory,
}

impl Resource {
    pub const COUNT: usize = 6;
    pub const ALL: [Resource; Resource::COUNT] = [
        Resource::SourceConnections,
        Resource::SourceDatabases,
        Resource::TargetConnections,
        Resource::TargetDatabases,
        Resource::VerifyQueries,
        Resource::IndexMemory,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Resource::SourceConnections => "source.connections",
            Resource::SourceDatabases => "source.databases",
            Resource::TargetConnections => "target.connections",
            Resource::TargetDatabases => "target.databases",
            Resource::VerifyQueries => "verify.queries",
            Resource::IndexMemory => "target.index_memory_mb",
        }
    }
}

/// An amount of each resource: what a step claims, what a server has, what is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Amounts([u32; Resource::COUNT]);

impl Amounts {
    pub fn new(amounts: &[(Resource, u32)]) -> Self {
        let mut all = Amounts::default();
        for &(resource, amount) in amounts {
            all.0[resource as usize] += amount;
        }
        all
    }

    pub fn get(&self, resource: Resource) -> u32 {
        self.0[resource as usize]
    }

    pub fn set(&mut self, resource: Resource, amount: u32) {
        self.0[resource as usize] = amount;
    }

    /// The resources of which there is some, in a fixed order.
    pub fn iter(&self) -> impl Iterator<Item = (Resource, u32)> + '_ {
        Resource::ALL
            .into_iter()
            .map(|resource| (resource, self.get(resource)))
            .filter(|(_, amount)| *amount > 0)
    }

    pub fn plus(mut self, other: &Amounts) -> Amounts {
        for (mine, theirs) in self.0.iter_mut().zip(other.0) {
            *mine += theirs;
        }
        self
    }

    /// # Panics
    ///
    /// Where `other` is larger than `self`: more was given back than was taken.
    pub fn minus(mut self, other: &Amounts) -> Amounts {
        for (mine, theirs) in self.0.iter_mut().zip(other.0) {
            *mine = mine
                .checked_sub(theirs)
                .expect("no more is given back than was taken");
        }
        self
    }

    /// What is left after `other`, nothing where it is larger.
    pub fn less(mut self, other: &Amounts) -> Amounts {
        for (mine, theirs) in self.0.iter_mut().zip(other.0) {
            *mine = mine.saturating_sub(theirs);
        }
        self
    }

    /// The larger amount of each resource.
    pub fn max(mut self, other: &Amounts) -> Amounts {
        for (mine, theirs) in self.0.iter_mut().zip(other.0) {
            *mine = (*mine).max(theirs);
        }
        self
    }

    pub fn fits_in(&self, other: &Amounts) -> bool {
        self.0
            .iter()
            .zip(other.0)
            .all(|(mine, theirs)| *mine <= theirs)
    }
}

impl Serialize for Amounts {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(
            self.iter()
                .map(|(resource, amount)| (resource.as_str(), amount)),
        )
    }
}

/// One node of the graph.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    pub id: StepId,
    /// Positions in [`super::Graph::steps`] of the steps that must be done before.
    pub needs: Vec<u32>,
    /// Claimed when the step starts, all or none, and given back when it ends.
    pub claims: Amounts,
    /// Runs at the end whatever happened: its needs are met when they ended in any way, and it is
    /// handed out although the run is stopping.
    pub finally: bool,
    /// Position in [`super::Graph::holds`] of what the step shares with others, if anything.
    pub hold: Option<u32>,
    /// The program and its arguments, where the step runs one. Holds no secret.
    pub command: Vec<String>,
    /// Jobs of the program, or queries at a time.
    pub jobs: u32,
    /// Smaller starts first among steps that are ready.
    pub rank: u32,
}

/// Something that several steps share: claimed when the first of them starts, given back when the last
/// has ended. A snapshot is one: it costs the connection that keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    /// `DATABASE/snapshot`.
    pub id: String,
    pub claims: Amounts,
    /// Positions in [`super::Graph::steps`].
    pub steps: Vec<u32>,
}
