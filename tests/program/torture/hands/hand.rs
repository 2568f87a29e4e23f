//! What people and applications do.

/// One thing that a user does. What it is done to is left to chance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Hand {
    // On the source: transactions that write down that they happened.
    Write,
    WriteDelayed,
    Reload,
    ReloadOpen,
    ReloadDelayed,
    Rewrite,
    NewTable,
    NewDelayedTable,
    AddColumn,
    AddIndex,
    ParentAndChild,
    NewRole,
    Password,
    // On the source: what leaves the rows as they are.
    SourceSetting,
    NewDatabase,
    Analyze,
    LockTable,
    // On the target.
    FillBefore,
    DropUnverified,
    DropVerified,
    RecreateEmpty,
    RecreateFilled,
    Rename,
    FillOurs,
    OtherSetting,
    TunedSetting,
    OpenSession,
    ClientWrites,
    Stranger,
    // To the plan and by the program.
    Jobs,
    Compression,
    VerifyMode,
    Tuning,
    Exclude,
    DelayLess,
    SnapshotLater,
    Reset,
    ResetDatabase,
    ResetGlobals,
    Revert,
    Report,
    Status,
    Verify,
    Check,
    OtherPlan,
    // To both servers.
    EndBackend,
    RestartSource,
    RestartTarget,
    CrashTarget,
    // What meets a run in the moment that matters.
    /// A load that truncates its table before the snapshot and commits after it.
    LongReload,
    /// Clients go on to write into delayed tables after the regular dump.
    WriteLate,
    /// As `RecreateFilled`, between the making of a database and its restore, and nobody else may connect to it.
    Supplant,
    /// A person wants a database to be made again, and clients write to it.
    RedoUsed,
    /// The kernel kills a pg_restore.
    OutOfMemory,
    // Of the night.
    /// The standby of the source gets nothing more from here on, that of the target.
    SourceLags,
    TargetLags,
    FailOverSource,
    FailOverTarget,
    CloneSource,
    CloneTarget,
    SaveState,
    OlderState,
    LoseState,
    CopiedState,
    FullDumpRoot,
    FullState,
    ClosedOutput,
    NewPassword,
    Away,
    AwayLong,
}

use Hand::*;

/// What is done between two runs, by how often: what stands there twice is twice as likely.
pub const BETWEEN: &[Hand] = &[
    Write,
    Write,
    WriteDelayed,
    Reload,
    ReloadDelayed,
    Rewrite,
    NewTable,
    NewDelayedTable,
    AddColumn,
    AddIndex,
    ParentAndChild,
    NewRole,
    Password,
    SourceSetting,
    NewDatabase,
    Analyze,
    FillBefore,
    DropUnverified,
    DropVerified,
    RecreateEmpty,
    RecreateFilled,
    Rename,
    FillOurs,
    OtherSetting,
    TunedSetting,
    OpenSession,
    ClientWrites,
    ClientWrites,
    Stranger,
    Jobs,
    Compression,
    VerifyMode,
    Tuning,
    Exclude,
    DelayLess,
    SnapshotLater,
    Reset,
    ResetDatabase,
    ResetGlobals,
    Revert,
    Report,
    Status,
    Verify,
    Check,
    OtherPlan,
    RestartSource,
    RestartTarget,
    CrashTarget,
];

/// What is done while a run is under way.
pub const DURING: &[Hand] = &[
    Write,
    Write,
    WriteDelayed,
    WriteDelayed,
    Reload,
    ReloadOpen,
    ReloadOpen,
    ReloadDelayed,
    Rewrite,
    NewTable,
    NewDelayedTable,
    AddColumn,
    AddIndex,
    ParentAndChild,
    NewRole,
    Password,
    SourceSetting,
    NewDatabase,
    Analyze,
    LockTable,
    DropUnverified,
    DropVerified,
    RecreateEmpty,
    RecreateFilled,
    Rename,
    FillOurs,
    OtherSetting,
    TunedSetting,
    OpenSession,
    ClientWrites,
    ClientWrites,
    Stranger,
    Reset,
    Revert,
    Report,
    Status,
    Check,
    OtherPlan,
    EndBackend,
    EndBackend,
    RestartSource,
    RestartTarget,
    CrashTarget,
];

/// What meets a run in the moment that matters. A trial has one of these, or none.
pub const CROSSING: &[Hand] = &[LongReload, WriteLate, Supplant, RedoUsed, OutOfMemory];

/// What happens around runs at night. A trial has one of these, or none, or two.
pub const NIGHT: &[Hand] = &[
    FailOverSource,
    FailOverTarget,
    CloneSource,
    CloneTarget,
    OlderState,
    LoseState,
    CopiedState,
    FullDumpRoot,
    FullState,
    ClosedOutput,
    NewPassword,
    Away,
];

impl Hand {
    pub fn is_of_the_night(self) -> bool {
        self >= SourceLags
    }

    /// Only root may mount the small file systems that it takes.
    pub fn needs_root(self) -> bool {
        matches!(self, FullDumpRoot | FullState)
    }
}
