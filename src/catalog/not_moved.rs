//! What no client program brings along, and no count shows.

use super::tablespace::Placed;

/// Something of the source that will be missing or different on the target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NotMoved {
    pub what: NotMovedKind,
    /// The name of what it is about.
    pub object: String,
    /// What of it: a role, a value. May be empty.
    pub detail: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotMovedKind {
    /// The order of the columns of a table that inherits (detail: columns with values of its row type, if any).
    ColumnOrder,
    /// A privilege of a role that is gone (detail: its number).
    AclWithoutRole,
    /// A partition that is being detached (detail: its parent): it would arrive attached.
    DetachPending,
    /// An extension of another owner than our role (detail: the owner).
    ExtensionOwner,
    /// A table of an extension that is not marked as configuration (detail: the extension).
    ExtensionRows,
    /// A sequence of an extension that is not marked as configuration and counts no rows that are (detail: the extension, and in
    /// parentheses where the sequence stands).
    ExtensionSequence,
    /// An index that is not valid: it was never built, or is being built (detail: whether it is unique).
    InvalidIndex,
    /// Privileges in the information schema other than those on the target (detail: those of other roles than the owner).
    InformationSchema,
    /// An operator family of the system with members that users added (detail: the members, as ALTER OPERATOR FAMILY … ADD has them).
    FamilyMember,
    /// A stored generated column that functions, text search configurations or collations of users compute (detail: the column, and which).
    GeneratedColumn,
    /// A language of the system with other privileges than on the target (detail: the roles that may use it).
    LanguagePrivilege,
    /// A foreign server that leads to the source itself (detail: its address).
    LeadsToSource,
    /// A membership one side of which is gone (detail: the member).
    MembershipWithoutRole,
    /// A setting, the comment or a membership of the role that runs the migration on the target.
    MigratingRole,
    /// A function of a role that is not a superuser, which runs with the rights of the target's role while the database is restored
    /// (detail: its role, and what calls it).
    OwnersCode,
    /// The same, which runs only while rows are loaded.
    OwnersCodeInRows,
    /// A table with columns that may be NULL and are inherited from such as may not (detail: the columns).
    NullableChild,
    /// A table with columns of object ids (detail: the columns with their types).
    ObjectNumbers,
    /// A partitioned table with a column that is GENERATED ALWAYS AS IDENTITY (detail: the column).
    PartitionIdentity,
    /// The schema public or the language plpgsql, which a new database has and this one does not.
    Dropped,
    /// A foreign key whose own triggers are disabled (detail: the foreign key).
    ReferenceDisabled,
    /// Privileges on a function that CREATE TYPE … AS RANGE made.
    RangeFunction,
    /// A replication slot (detail: of which kind).
    ReplicationSlot,
    /// A security label of a database (detail: its provider).
    SecurityLabel,
    /// A table with columns of what one server counts for itself, such as transaction ids (detail: the columns with their types).
    ServerValues,
    /// ALTER ROLE ALL SET (detail: the value).
    SettingOfAllRoles,
    /// A function of users that is called as one of the target's system is, and none of the source's (detail: where types differ, those that
    /// may be taken in its place).
    ShadowedFunction,
    /// A table with columns of lexemes that are not generated (detail: the columns with their types).
    StoredLexemes,
    /// A subscription that is enabled (detail: its slot).
    Subscription,
    /// A subscription whose initial copy has not ended (detail: of which tables).
    SubscriptionCopying,
    /// A cast or function of the system other than that of the target (detail: what it does).
    SystemObject,
    /// An object of the system with another owner (detail: the owner).
    SystemOwner,
    /// Privileges on a function or table of the system, in a database that does not migrate.
    SystemPrivilege,
    /// A table, view or function in a schema of the system.
    SystemSchema,
    /// Something that is set for a tablespace which every server has (detail: the statement that sets it).
    SystemTablespace,
    /// A text search configuration or dictionary of the system other than that of the target (detail: what it consists of).
    TextSearch,
    /// A sequence that is unlogged, on a standby.
    UnloggedSequence,
    /// A definition that only a superuser may read.
    UnreadableDefinition,
    /// A materialized view, which the restore computes again.
    ViewComputedAgain,
}

/// What a source has that is not moved and that it had not when a run first looked, as a whole or in one of its databases.
#[derive(Debug, Default)]
pub(crate) struct Appeared {
    /// `None`: it is not about a database.
    pub database: Option<String>,
    pub not_moved: Vec<NotMoved>,
    /// In other tablespaces than it was.
    pub placed: Vec<Placed>,
}

/// What the target's version has or does otherwise than the source's.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Newer {
    /// Functions of `pg_catalog` that that of the source has not, with the types of a call.
    pub functions: Vec<String>,
    /// Those of them of whose names, with as many arguments, the source's has none at all.
    pub names: Vec<String>,
    /// Languages of whose words the stemmers make other lexemes.
    pub stemmers: Vec<String>,
}

/// A library that a setting of the source loads into sessions, and that the target does not have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LackedLibrary {
    /// The database that has the setting; `None`: the role has it in every database.
    pub database: Option<String>,
    /// The role that has it; `None`: every role.
    pub role: Option<String>,
    /// `session_preload_libraries` or `local_preload_libraries`.
    pub setting: String,
    pub library: String,
    /// The target's files could be looked at.
    pub is_certain: bool,
}
