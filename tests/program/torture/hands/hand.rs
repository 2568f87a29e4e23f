//! What people and applications do, and which of it is known to end wrong.

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

/// A hand that is known to lead to a wrong end.
pub struct Known {
    pub hand: Hand,
    /// Of the list of known ways to a wrong target, or what it is about.
    pub item: &'static str,
}

const fn known(hand: Hand, item: &'static str) -> Known {
    Known { hand, item }
}

/// They are left out unless `TORTURE_ALL=1`. Whoever fixes a cause removes its lines.
pub const KNOWN: &[Known] = &[];

impl Hand {
    /// Why it takes no part.
    pub fn is_left_out(self) -> Option<&'static str> {
        if std::env::var_os("TORTURE_ALL").is_some_and(|all| all == "1") {
            return None;
        }
        let known = KNOWN.iter().find(|known| known.hand == self);
        known.map(|known| known.item)
    }
}
