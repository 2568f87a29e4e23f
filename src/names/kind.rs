//! Kinds of steps, with everything that is the same for all steps of a kind.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

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

/// What steps of a kind are about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// The whole server: one step, with a bare id.
    Server,
    /// A database, or a numbered piece of one.
    Database,
}

/// The part of a migration in which steps of a kind stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Changes the target's settings for the load, or restores them.
    Tuning,
    Globals,
    /// Of one database, before its delayed phase: after these clients may use it.
    Regular,
    /// The data of delayed tables.
    Delayed,
}

/// What holds for every step of a kind. Whoever adds a kind fills in all of it.
#[derive(Debug, Clone, Copy)]
pub struct Traits {
    /// The last word of a step's id, but for a number.
    pub word: &'static str,
    pub scope: Scope,
    pub phase: Phase,
    /// Reads from the source.
    pub touches_source: bool,
    /// Reads from the target, or changes it.
    pub touches_target: bool,
    /// Commits transactions on the target: the step is done once these outlive a crash of the target.
    pub writes_to_target: bool,
    /// Works in the target's database of its name, which has to be the one that this plan made.
    pub in_target_database: bool,
    /// Compares both sides: a failure may be a difference, which has an exit code of its own.
    pub compares: bool,
    /// Runs at the end whatever became of the other steps.
    pub runs_finally: bool,
    /// Kinds of the same database that it is handed the outputs of.
    pub reads: &'static [Kind],
    /// Kinds of the same database that are forgotten with it, because it cannot be done again without them: a restore
    /// needs an empty database, a dump its counts under the same snapshot, and the other way round; a comparison needs new counts.
    pub forgotten_with: &'static [Kind],
    /// Of a kind that writes an archive: which kind restores it.
    pub restored_by: Option<Kind>,
}

/// Of a kind that is about a database and says nothing else.
const PLAIN: Traits = Traits {
    word: "",
    scope: Scope::Database,
    phase: Phase::Regular,
    touches_source: false,
    touches_target: true,
    writes_to_target: false,
    in_target_database: false,
    compares: false,
    runs_finally: false,
    reads: &[],
    forgotten_with: &[],
    restored_by: None,
};

impl Kind {
    /// In the order of a run. A test holds it to be complete.
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

    /// The table of kinds.
    pub const fn traits(self) -> Traits {
        match self {
            Kind::TuneTarget => Traits {
                word: "tune-target",
                scope: Scope::Server,
                phase: Phase::Tuning,
                ..PLAIN
            },
            Kind::Globals => Traits {
                word: "globals",
                scope: Scope::Server,
                phase: Phase::Globals,
                touches_source: true,
                writes_to_target: true,
                ..PLAIN
            },
            Kind::Create => Traits {
                word: "create",
                writes_to_target: true,
                ..PLAIN
            },
            Kind::Dump => Traits {
                word: "dump",
                touches_source: true,
                touches_target: false,
                forgotten_with: &[Kind::SourceCounts],
                restored_by: Some(Kind::Restore),
                ..PLAIN
            },
            Kind::SourceCounts => Traits {
                word: "source-counts",
                touches_source: true,
                touches_target: false,
                forgotten_with: &[Kind::Dump],
                ..PLAIN
            },
            Kind::Restore => Traits {
                word: "restore",
                in_target_database: true,
                writes_to_target: true,
                forgotten_with: &[Kind::Create],
                reads: &[Kind::Dump],
                ..PLAIN
            },
            Kind::TargetCounts => Traits {
                word: "target-counts",
                in_target_database: true,
                reads: &[Kind::SourceCounts],
                ..PLAIN
            },
            Kind::Verify => Traits {
                word: "verify",
                in_target_database: true,
                writes_to_target: true,
                compares: true,
                // Counts of before say nothing of what is there now.
                forgotten_with: &[Kind::TargetCounts],
                reads: &[
                    Kind::Dump,
                    Kind::SourceCounts,
                    // Which views could not be filled.
                    Kind::Restore,
                    Kind::TargetCounts,
                ],
                ..PLAIN
            },
            Kind::DelayedDump => Traits {
                word: "delayed-dump",
                touches_source: true,
                touches_target: false,
                phase: Phase::Delayed,
                reads: &[Kind::Dump, Kind::SourceCounts],
                restored_by: Some(Kind::DelayedRestore),
                ..PLAIN
            },
            Kind::DropIndexes => Traits {
                word: "drop-indexes",
                in_target_database: true,
                phase: Phase::Delayed,
                writes_to_target: true,
                // What its rows consist of.
                reads: &[Kind::DelayedDump, Kind::Restore],
                ..PLAIN
            },
            Kind::DelayedRestore => Traits {
                word: "delayed-restore",
                in_target_database: true,
                phase: Phase::Delayed,
                writes_to_target: true,
                // What it loaded is there, and would be there twice.
                forgotten_with: &[Kind::Create],
                // Where sequences stood.
                reads: &[Kind::Dump, Kind::DelayedDump, Kind::Restore],
                ..PLAIN
            },
            Kind::RecreateIndexes => Traits {
                word: "recreate-indexes",
                in_target_database: true,
                phase: Phase::Delayed,
                writes_to_target: true,
                // Which materialized views the source has.
                reads: &[Kind::SourceCounts, Kind::Restore],
                ..PLAIN
            },
            Kind::DelayedVerify => Traits {
                word: "delayed-verify",
                in_target_database: true,
                phase: Phase::Delayed,
                compares: true,
                reads: &[
                    Kind::Dump,
                    Kind::SourceCounts,
                    Kind::Restore,
                    Kind::TargetCounts,
                    Kind::DelayedDump,
                    Kind::DelayedRestore,
                ],
                ..PLAIN
            },
            Kind::RestoreSettings => Traits {
                word: "restore-settings",
                scope: Scope::Server,
                phase: Phase::Tuning,
                runs_finally: true,
                ..PLAIN
            },
        }
    }

    /// The word in a step's id.
    pub const fn as_str(self) -> &'static str {
        self.traits().word
    }

    pub fn phase(self) -> Phase {
        self.traits().phase
    }

    /// Whether the step changes the target's settings or restores them.
    pub fn is_tuning(self) -> bool {
        self.phase() == Phase::Tuning
    }

    /// Whether the step is about the whole server.
    pub fn is_server_level(self) -> bool {
        self.traits().scope == Scope::Server
    }

    /// Whether the step puts something on the target that the settings for the load are made for. A comparison only opens
    /// what others loaded.
    pub fn loads(self) -> bool {
        let traits = self.traits();
        traits.writes_to_target && !traits.compares
    }

    /// The kinds of one phase, in the order of a run.
    pub fn of_phase(phase: Phase) -> impl Iterator<Item = Kind> {
        Kind::ALL
            .into_iter()
            .filter(move |kind| kind.phase() == phase)
    }

    /// The kinds that compare both sides.
    pub fn comparing() -> impl Iterator<Item = Kind> {
        Kind::ALL.into_iter().filter(|kind| kind.traits().compares)
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
                format!("`{text}` is not a kind of step; these are: {kinds}")
            })
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_in_the_list_in_the_order_of_a_run() {
        for (position, kind) in Kind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, position, "{kind}");
        }
        // The last variant is the last of the list, so none is missing.
        assert_eq!(Kind::RestoreSettings as usize + 1, Kind::ALL.len());
    }

    #[test]
    fn every_word_stands_for_one_kind_and_holds_no_slash() {
        for kind in Kind::ALL {
            assert_eq!(kind.as_str().parse(), Ok(kind));
            assert!(!kind.as_str().contains('/') && !kind.as_str().is_empty());
            let json = serde_json::to_value(kind).unwrap();
            assert_eq!(json, kind.as_str());
        }
    }

    #[test]
    fn what_a_kind_reads_comes_before_it_and_is_of_its_database() {
        for kind in Kind::ALL {
            for read in kind.traits().reads {
                assert!(read < &kind, "{kind} reads {read}");
                assert_eq!(read.traits().scope, kind.traits().scope);
            }
        }
    }
}
