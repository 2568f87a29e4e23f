//! Everything that can be found, with its meaning: the one place that knows a finding's code.
//!
//! To add a finding, add an entry here, in the order of the words, and a check in `preflight`. What the entry needs, the
//! compiler asks for; tests ask for a check, for a test, and for `schemas/plan.schema.json` to be current.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

use super::Severity;

/// What findings with a code are about, and so what the `object` of a waiver is compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// The servers, the client programs or the plan as a whole.
    Migration,
    Role,
    /// A setting of the target.
    Setting,
    /// A tablespace of the source.
    Tablespace,
    /// What a server became by a promotion. A waiver holds for the one that it names, and for no later one.
    Timeline,
    Database,
    /// Something in a database.
    Object,
}

impl Place {
    /// What the `object` of a waiver is compared with.
    pub fn subject(self) -> &'static str {
        match self {
            Place::Migration => "an empty text: write `*`",
            Place::Role => "`ROLE` and the name of the role",
            Place::Setting => "the name of the setting",
            Place::Tablespace => "`TABLESPACE` and its name",
            Place::Timeline => {
                "`TIMELINE` and the number of the new timeline, without a wildcard: each promotion has its own"
            }
            Place::Database => "the name of the database",
            Place::Object => "DATABASE.SCHEMA.OBJECT",
        }
    }

    /// An `object` as a plan may have it.
    pub fn example(self) -> &'static str {
        match self {
            Place::Migration => "*",
            Place::Role => "ROLE reader",
            Place::Setting => "shared_buffers",
            Place::Tablespace => "TABLESPACE fast",
            Place::Timeline => "TIMELINE 2",
            Place::Database => "erp",
            Place::Object => "erp.public.*",
        }
    }
}

/// One arm for each code: `Variant "word" Severity Place "version that has it first"`, what it is in a few words, one
/// sentence why it matters, and what fixes it in general (a finding itself says what fixes it here).
macro_rules! codes {
    ($(
        $name:ident $word:literal $severity:ident $place:ident $since:literal
            what $what:literal
            why $why:literal
            fix $fix:literal
    )*) => {
        /// What is found. Ordered by the words.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Code {
            $($name,)*
        }

        impl Code {
            pub const ALL: &[Code] = &[$(Code::$name,)*];

            /// Stable: what plans, scripts and reports name it by.
            pub fn as_str(self) -> &'static str {
                match self { $(Code::$name => $word,)* }
            }

            /// That of most such findings; a check may choose another by what it sees.
            pub fn severity(self) -> Severity {
                match self { $(Code::$name => Severity::$severity,)* }
            }

            pub fn place(self) -> Place {
                match self { $(Code::$name => Place::$place,)* }
            }

            /// The version of pg-migrate that has it first.
            pub fn since(self) -> &'static str {
                match self { $(Code::$name => $since,)* }
            }

            /// What it is, for a list.
            pub fn what(self) -> &'static str {
                match self { $(Code::$name => $what,)* }
            }

            /// Why it matters, in a sentence.
            pub fn why(self) -> &'static str {
                match self { $(Code::$name => $why,)* }
            }

            /// What fixes it.
            pub fn fix(self) -> &'static str {
                match self { $(Code::$name => $fix,)* }
            }
        }
    };
}

codes! {
    ClientCompression "client/compression" Block Migration "0.1.0"
        what "pg_dump lacks the plan's compression"
        why "pg_dump can only use the compression methods that it was built with; where the plan does not name one, another is used instead of the default."
        fix "Set dump.compression to a method that this pg_dump has, or to \"auto\"; or install a pg_dump that has the method."

    ClientDumpRoot "client/dump-root" Block Migration "0.1.0"
        what "archives cannot be written"
        why "Each database is dumped into a directory below dump.root, and the user who runs pg-migrate cannot write there."
        fix "Set dump.root to a directory that this user may write to, or give the user the right to."

    ClientDumpSpace "client/dump-space" Warn Migration "0.2.0"
        what "the archives may not fit"
        why "The archives of all databases may be below dump.root at a time, and the databases are larger than the free space there: an upper estimate, since indexes do not go into an archive and compression helps."
        fix "Make room, or set dump.root to a larger file system; a dump that finds it full fails, its half-written archive is removed, and a run with more room goes on."

    ClientKnownHole "client/known-hole" Warn Migration "0.2.0"
        what "the client programs have known holes"
        why "pg_dump, pg_dumpall and pg_restore of this minor version have holes by which those who own objects on the source, or run it, get rights on a server or on this machine, and the run is blocked where an owner of an object gets code run on the target; a beta counts as older than its release."
        fix "Install the current minor version of the client programs, and put them first on PATH."

    ClientNoTls "client/no-tls" Block Migration "0.1.0"
        what "the client programs lack TLS"
        why "The plan asks for TLS, and pg_dump and pg_restore, which connect by themselves, were built without it."
        fix "Install client programs that were built with OpenSSL, and put them first on PATH."

    ClientTooOld "client/too-old" Block Migration "0.1.0"
        what "the client programs are too old"
        why "pg_dump refuses a server of a newer major version than its own."
        fix "Install the client programs of the newer server's major version or later, and put them first on PATH."

    DelayComputedEarly "delay/computed-early" Warn Object "0.2.0"
        what "a delayed table is read while empty"
        why "A function that is declared immutable may read a delayed table all the same: the regular restore computes an index of another table, or a stored generated column, by it while that is empty, and only the index is built again after the load (REINDEX)."
        fix "Do not delay the table that the function reads, or compute the column again on the target after the run."

    DelayForeignKeyCycle "delay/foreign-key-cycle" Block Object "0.2.0"
        what "delayed tables refer to each other"
        why "Without the right to set session_replication_role foreign keys are checked row by row, so a delayed table is loaded after those that it refers to, and in a circle none can be the first."
        fix "GRANT SET ON PARAMETER session_replication_role TO … on the target (15 or later), use a superuser, or do not delay these tables."

    DelayIndexBuilds "delay/index-builds" Warn Object "0.2.0"
        what "clients wait for index builds"
        why "CREATE INDEX lets clients read a table and not write to it, so their writes to a delayed table wait while each of its secondary indexes is built after the load."
        fix "Set delay.concurrently = true: the indexes are built by CREATE INDEX CONCURRENTLY, which lets clients write and takes longer."

    DelayIndexKept "delay/index-kept" Info Object "0.1.0"
        what "an index stays during a delayed load"
        why "An index that is attached to a partitioned index cannot be dropped alone, so it stays while the partition is loaded, which makes the load slower."
        fix "Nothing has to be fixed; where the load would take too long, drop the partitioned index on the source and create it on the target after the run."

    DelayLargeObjects "delay/large-objects" Warn Database "0.2.0"
        what "large objects come before their rows"
        why "Large objects come with the regular restore, and the rows of delayed tables that refer to them later, so until those are loaded vacuumlo on the target takes them for unused and removes them; the delayed verification finds that, but they are gone; and with delay.snapshot = later, those that clients make or change on the source between the two dumps do not arrive."
        fix "Run no vacuumlo, and no job that calls lo_unlink, on the target until the run has ended; with delay.snapshot = later, let no client make or change large objects on the source until the delayed dump is done, or use same; or do not delay the tables that refer to them."

    DelayLaterSnapshot "delay/later-snapshot" Warn Database "0.2.0"
        what "rows may move between two snapshots"
        why "With delay.snapshot = later the delayed tables are dumped as they are later than the others: a row that clients move between the two kinds of tables meanwhile arrives twice or not at all, and the counts match, because each table is compared with its own snapshot."
        fix "Do not move rows between delayed tables and others until the delayed dump is done (an archiving job, an update of a partition key), or use delay.snapshot = same; where nobody writes to the source, say so (source.read_only)."

    DelayNotValidCheck "delay/not-valid-check" Warn Object "0.1.0"
        what "a delayed table has a NOT VALID check"
        why "A regular restore loads the rows before it adds a check or a NOT NULL constraint (18 and later) that is NOT VALID; the delayed load comes after it, and fails on rows that violate it."
        fix "Correct the rows and run ALTER TABLE … VALIDATE CONSTRAINT on the source, or do not delay the table."

    DelayPartNotUtf8 "delay/part-not-utf8" Block Object "0.2.0"
        what "a column or an index is not UTF-8"
        why "Rows of a delayed table are loaded by the names of its columns, and its secondary indexes are made again by their definitions; pg-migrate reads both as UTF-8, and in a database with encoding SQL_ASCII they may be any bytes."
        fix "Rename what is named on the source, or do not delay the table."

    DelayReferenced "delay/referenced" Block Object "0.1.0"
        what "a table refers to a delayed table"
        why "The regular phase cannot create a foreign key that refers to rows which are only loaded later."
        fix "Delay the referring table as well, or do not delay the one that it refers to."

    DelayTooNew "delay/too-new" Warn Object "0.2.0"
        what "a table is newer than the dump"
        why "A table that a pattern of delay.table_data matches and that was created after its database had been dumped and verified is not on the target, so its rows cannot be loaded there."
        fix "Nothing has to be fixed where it may stay behind; otherwise create it on the target and copy its rows after the run."

    DelayTriggersLock "delay/triggers-lock" Warn Object "0.2.0"
        what "clients wait for a delayed load"
        why "A trigger that is enabled always or for replicas fires in a load as well, so it is switched off within the load's transaction by ALTER TABLE, which locks the table against writes until the load ends."
        fix "Nothing has to be fixed where clients can wait; otherwise ALTER TABLE … ENABLE TRIGGER (for ordinary sessions alone) on the source before the run, and ENABLE ALWAYS or ENABLE REPLICA on the target after it."

    PlanDelayMatchesNothing "plan/delay-matches-nothing" Warn Migration "0.1.0"
        what "a pattern of delay matches no table"
        why "A pattern that matches nothing is probably misspelt, and the table it was meant for is not delayed."
        fix "Correct the pattern in delay.table_data, or remove it."

    PlanDelayRefused "plan/delay-refused" Warn Object "0.1.0"
        what "this kind of table cannot be delayed"
        why "A pattern of delay.table_data matches something whose rows are not loaded from an archive: a materialized view, a foreign table, or a table of an extension."
        fix "Make the pattern narrower."

    PlanIncludeMatchesNothing "plan/include-matches-nothing" Warn Migration "0.1.0"
        what "a pattern of include matches nothing"
        why "A pattern that matches nothing is probably misspelt, and the database it was meant for does not migrate; a name without a wildcard blocks."
        fix "Correct the pattern in databases.include, or remove it."

    PlanNotAvailable "plan/not-available" Block Migration "0.1.0"
        what "this version cannot do that"
        why "The plan asks for something that this version of pg-migrate does not do, and a run must not ignore it."
        fix "Remove the key from the plan, or give it the value that the finding names."

    PlanOverrideMatchesNothing "plan/override-matches-nothing" Warn Migration "0.1.0"
        what "an override matches no database"
        why "An [[override]] that matches nothing is probably misspelt, and the database it was meant for gets the plan's general values."
        fix "Correct the patterns in its databases, or remove the entry."

    PlanTablespaceMatchesNothing "plan/tablespace-matches-nothing" Warn Tablespace "0.2.0"
        what "no tablespace has the plan's name"
        why "A name in [tablespaces] that no tablespace of the source has is probably misspelt, and the tablespace it was meant for is looked for on the target by its own name."
        fix "Correct the name in [tablespaces], or remove it."

    PlanWaiverExpired "plan/waiver-expired" Warn Migration "0.2.0"
        what "a waiver has expired"
        why "After its last day a waiver has no effect: the findings that it names have their usual severity again."
        fix "Fix what was waived and remove the [[waive]] entry, or look at its reason again and set a later day."

    PlanWaiverMatchesNothing "plan/waiver-matches-nothing" Warn Migration "0.2.0"
        what "a waiver matches no finding"
        why "A waiver that matches nothing is either misspelt or no longer needed; if it stays, it may hide a finding later that has not been looked at."
        fix "Correct the object of the [[waive]] entry, or remove the entry."

    SourceAclWithoutRole "source/acl-without-role" Warn Object "0.2.0"
        what "a privilege of a role that is gone"
        why "A privilege list that names a role which does not exist cannot be written as GRANT, so pg_dump warns and may leave privileges of others out."
        fix "Set the privileges of the object again on the source, or on the target after the run."

    SourceColumnOrder "source/column-order" Block Object "0.2.0"
        what "a table's columns change their order"
        why "CREATE TABLE … INHERITS puts the columns of the parents first, so that a parent which got a column after its child, or a table which was made a child later, has them in another order, which no dump keeps, and values of its row type, which columns of other tables hold without names, are read into other columns."
        fix "ALTER TABLE … NO INHERIT on the source before the run, and INHERIT again on both sides after it; or make the table again on the source."

    SourceConnectionsBeyondFree "source/connections-beyond-free" Warn Migration "0.1.0"
        what "the plan takes more than is free"
        why "Connections that the plan allows but the server does not have free are taken from its clients, or are refused in the middle of the run."
        fix "Lower source.max_connections, or raise max_connections on the server."

    SourceCreaterole "source/createrole" Warn Role "0.2.0"
        what "CREATEROLE means less on the target"
        why "Before 16 a role with CREATEROLE may alter and drop all others but superusers; from 16 on only those that it is a member of with ADMIN OPTION, so that scripts and tools which manage roles fail there."
        fix "GRANT it the roles that it is to manage on the target after the run: WITH ADMIN OPTION, INHERIT FALSE, SET FALSE."

    SourceDatabaseClosed "source/database-closed" Warn Database "0.1.0"
        what "a database allows no connections"
        why "A database with ALLOW_CONNECTIONS false cannot be read, so it does not migrate; it blocks where databases.include names it without a wildcard, or where an earlier run began it."
        fix "ALTER DATABASE … ALLOW_CONNECTIONS true on the source, or exclude it (databases.exclude)."

    SourceDatabaseInvalid "source/database-invalid" Warn Database "0.1.0"
        what "DROP DATABASE was interrupted"
        why "A database whose DROP DATABASE was interrupted cannot be connected to, so it does not migrate; it blocks where databases.include names it without a wildcard, or where an earlier run began it."
        fix "DROP DATABASE on the source, or exclude it (databases.exclude)."

    SourceDatabaseKeepsOut "source/database-keeps-out" Warn Database "0.2.0"
        what "a database keeps clients out"
        why "default_transaction_read_only and CONNECTION LIMIT 0 migrate with the database: what keeps applications from the source for the night keeps them from the target in the morning."
        fix "Nothing where it is meant to stay; otherwise ALTER DATABASE … RESET default_transaction_read_only, or ALTER DATABASE … CONNECTION LIMIT, on the target after the run."

    SourceDatabaseLimit "source/database-limit" Warn Database "0.2.0"
        what "a database has few connections left"
        why "A role that is not a superuser gets no more connections to a database than its CONNECTION LIMIT says, those of clients among them, and a dump of it takes several: for the snapshot, for pg_dump and its jobs, and for counting."
        fix "Raise it (ALTER DATABASE … CONNECTION LIMIT) on the source, or use a superuser for [source], for whom it does not count."

    SourceDatabaseReplaced "source/database-replaced" Warn Database "0.2.0"
        what "a dumped database's name is another's"
        why "The one that was dumped was dropped or renamed since, by the object ids, and one that is verified stays on the target as it was dumped."
        fix "Give the databases their names back, or `pg-migrate reset PLAN --database NAME --drop NAME` to move the one that has the name now."

    SourceDatabaseTemplate "source/database-template" Warn Database "0.1.0"
        what "a template does not migrate"
        why "A database that is marked as a template is taken for a part of the installation, and does not migrate; it blocks where databases.include names it without a wildcard, or where an earlier run began it."
        fix "ALTER DATABASE … IS_TEMPLATE false on the source, or exclude it (databases.exclude)."

    SourceDetachPending "source/detach-pending" Block Object "0.2.0"
        what "a partition is being detached"
        why "DETACH PARTITION CONCURRENTLY has not come to its end, so that queries of the parent leave the partition out, while pg_dump writes it as attached, and its rows would be there twice or again on the target."
        fix "Wait until the statement has ended, or ALTER TABLE … DETACH PARTITION … FINALIZE on the source."

    SourceDroppedObject "source/dropped-object" Warn Object "0.2.0"
        what "public or plpgsql was dropped"
        why "A new database has the schema public and the language plpgsql, and pg_dump does not write that the source dropped them."
        fix "DROP them on the target after the run."

    SourceDumpJobsLowered "source/dump-jobs-lowered" Info Migration "0.1.0"
        what "fewer dump jobs than the plan asks for"
        why "The jobs of all databases that are dumped at a time have to fit into the connections that the run may use."
        fix "Raise source.max_connections in the plan, or max_connections on the server, or lower parallelism.dump_jobs or parallelism.dump_parallel."

    SourceDumpOfEarlierRun "source/dump-of-earlier-run" Warn Migration "0.2.0"
        what "what an earlier run dumped is restored"
        why "A run that goes on does not dump again what is dumped: its databases come to hold what the source had then, and what was written to the source since is not moved."
        fix "Nothing, where nobody wrote to the source since. Otherwise pg-migrate reset PLAN --database DB --step dump, and run again: it is dumped again."

    SourceDumpParallelLowered "source/dump-parallel-lowered" Info Migration "0.1.0"
        what "fewer databases are dumped at a time"
        why "The databases that are dumped at a time have to fit into the connections that the run may use."
        fix "Raise source.max_connections in the plan, or max_connections on the server, or lower parallelism.dump_parallel."

    SourceExtensionOwner "source/extension-owner" Warn Object "0.2.0"
        what "an extension belongs to another role"
        why "pg_restore creates extensions as the role that runs it, and no command changes the owner of one."
        fix "Nothing where the role only uses the extension; ALTER and DROP EXTENSION are then for a superuser on the target."

    SourceExtensionRows "source/extension-rows" Warn Object "0.2.0"
        what "rows that belong to an extension"
        why "pg_dump leaves the rows of an extension's tables to the extension, except those that it marks as configuration, so rows that were added by hand are lost."
        fix "Compare the table on both sides after the run, and copy what is missing."

    SourceFunctionSetting "source/function-setting" Fix Object "0.2.0"
        what "a function sets what the target refuses"
        why "A function that sets a parameter which the target does not know, or which its role may not set, cannot be created there, and neither can what needs it."
        fix "ALTER FUNCTION … RESET on the source, drop the function there, or accept the restore error ([[accept]])."

    SourceGeneratedColumn "source/generated-column" Warn Object "0.2.0"
        what "a stored column is computed again"
        why "A dump has no values of generated columns, so that the target computes them by the function, text search configuration, dictionary or collation as it is now, what that of an earlier day stored is not kept, and no count of rows shows it."
        fix "Compare the column on both sides after the run, where the function or configuration was replaced or altered since."

    SourceHidesDamage "source/hides-damage" Block Migration "0.2.0"
        what "damage reads as empty"
        why "With zero_damaged_pages, ignore_checksum_failure or ignore_system_indexes on, a server leaves out what it cannot read instead of saying so: dump and counts would agree, and rows be missing."
        fix "Switch it off on the source (ALTER SYSTEM RESET, SELECT pg_reload_conf()) and run again: damage is an error then, with its table."

    SourceIndexInvalid "source/index-invalid" Warn Object "0.2.0"
        what "an index is not valid"
        why "CREATE INDEX CONCURRENTLY or REINDEX CONCURRENTLY failed, or is at work: pg_dump leaves the index out, and a unique one that refuses duplicates on the source refuses none on the target."
        fix "DROP INDEX, or REINDEX INDEX CONCURRENTLY on the source before the run, or CREATE INDEX on the target after it."

    SourceInformationSchema "source/information-schema" Warn Object "0.2.0"
        what "privileges in information_schema"
        why "pg_dump leaves out information_schema with its privileges, so that what was granted or revoked there is as initdb made it on the target."
        fix "GRANT and REVOKE on the target after the run."

    SourceInheritedColumns "source/inherited-columns" Warn Database "0.2.0"
        what "inherited columns become NOT NULL"
        why "Up to 17 a table may take NULL in a column that is NOT NULL in the table it inherits from; from 18 on it may not, so that the target refuses such rows."
        fix "Make the columns of parents and children alike on the source before the run."

    SourceInstallationDatabase "source/installation-database" Warn Database "0.2.0"
        what "properties of postgres or template1"
        why "Each server has databases postgres and template1 of its own, so settings and privileges of those of the source do not migrate."
        fix "Set them on the target by hand."

    SourceKnownHole "source/known-hole" Warn Migration "0.2.0"
        what "the source has a known security hole"
        why "Servers of 12 to 16 before the minor versions of August 2024 do not know restrict_nonsystem_relation_kind, so that an owner who puts a view in the place of a table while it is dumped or counted has his functions run with the rights of the source's role (CVE-2024-7348)."
        fix "Update the source to its current minor version, or let no owner change objects while the run reads from it."

    SourceLeadsHere "source/leads-here" Warn Object "0.2.0"
        what "a foreign server leads to the source"
        why "Foreign servers are moved with their options, so one that names the source itself has the target read and write there, also once clients have changed over."
        fix "ALTER SERVER … OPTIONS (SET host …) on the target after the run."

    SourceLeftUnsafe "source/left-unsafe" Block Migration "0.2.0"
        what "a migration left the source unsafe"
        why "The source was the target of a plan that left its settings for the load (fsync off, say), or whose machine went down meanwhile: what is copied from it may be damaged, and counts that match do not show it."
        fix "pg-migrate revert with the plan that left them; where the machine went down, create that cluster again. Waive it where the cluster is sound."

    SourceLockTable "source/lock-table" Fix Migration "0.2.0"
        what "the lock table may be too small"
        why "A dump locks every table of its database in one transaction, and the locks of all sessions share a table in memory that is as large as max_locks_per_transaction says."
        fix "Raise max_locks_per_transaction on the source (a restart), or lower parallelism.dump_parallel."

    SourceLoginTriggers "source/login-triggers" Warn Database "0.2.0"
        what "login triggers fire for our sessions"
        why "A login trigger runs for each session of the run, and may write to the source or refuse the session; a superuser of 17 and later switches event triggers off for its sessions."
        fix "GRANT SET ON PARAMETER event_triggers to the source's role, or use a superuser for [source]."

    SourceMarkUnreadable "source/mark-unreadable" Block Migration "0.2.0"
        what "an earlier migration's mark is closed"
        why "The source was the target of a migration, whose record there (database pg_migrate_mark) our role cannot read: what that left half done would be copied as it is."
        fix "Use the role that made it, or one that may read it, for [source]. Waive it where that migration is known to have come to its end, or DROP DATABASE pg_migrate_mark."

    SourceMd5Passwords "source/md5-passwords" Fix Migration "0.2.0"
        what "passwords are stored as MD5 hashes"
        why "A password migrates as it is stored, and a role with an MD5 hash cannot log in where pg_hba.conf asks for scram-sha-256; PostgreSQL 18 warns that support for such passwords will be removed."
        fix "Set these passwords again on the source with password_encryption = 'scram-sha-256' (10 and later), on the target after the run, or let pg_hba.conf of the target ask for md5, which accepts both."

    SourceMembershipWithoutRole "source/membership-without-role" Warn Role "0.2.0"
        what "a membership of a role that is gone"
        why "A membership whose group, member or grantor does not exist any more is left out by pg_dumpall, or gets another grantor."
        fix "REVOKE and GRANT it again on the source, or on the target after the run."

    SourceMigratingRole "source/migrating-role" Warn Role "0.2.0"
        what "the migrating role differs"
        why "The role that runs the migration on the target is not changed there, whatever the source has set for its role of the same name."
        fix "Set it on the target after the run, or use another role for [target]."

    SourceNameNotUtf8 "source/name-not-utf8" Block Database "0.2.0"
        what "names that are not UTF-8"
        why "A database with encoding SQL_ASCII takes any bytes for a name, and pg-migrate reads and compares names as UTF-8."
        fix "Rename what is named on the source, or exclude the database (databases.exclude); rows and comments may hold any bytes."

    SourceNoConnections "source/no-connections" Block Migration "0.1.0"
        what "too few connections are free"
        why "Even one database at a time needs a few connections to the source: for the snapshot, the dump and the counts."
        fix "Raise max_connections on the server or source.max_connections in the plan, or end sessions that are not needed."

    SourceNoDatabases "source/no-databases" Warn Migration "0.1.0"
        what "no database migrates"
        why "The plan's patterns leave nothing to migrate."
        fix "Look at databases.include and databases.exclude."

    SourceNoHistory "source/no-history" Warn Migration "0.2.0"
        what "the source does not tell its history"
        why "Our role may not ask the source for its WAL position, timeline and start (a function was taken from it), so that a fail-over, a clone or a machine that was put back is not noticed."
        fix "GRANT EXECUTE ON FUNCTION pg_current_wal_flush_lsn(), and of the other functions that the log names, to the role of the source."

    SourceOldSnapshots "source/old-snapshots" Block Migration "0.2.0"
        what "old snapshots read newer rows"
        why "Where old_snapshot_threshold is set (PostgreSQL 9.6 to 16), a session that imported a snapshot, as pg_dump's do, reads tables that were vacuumed since as they are later, without an error: the target would hold a state that the source never had."
        fix "Set old_snapshot_threshold = -1 on the source and restart it. Where the source is not written to during the run, set source.read_only = true."

    SourceOwnersCode "source/owners-code" Warn Object "0.2.0"
        what "code of an owner runs with our rights"
        why "Generated columns, partition keys, domains, casts, constraints that are added when the rows are in, and indexes and statistics that the check of a foreign key plans with may call functions of roles that are not superusers, and the restore runs them as the target's role, so that whoever wrote such a function, or may replace it, gets that role's rights: as a superuser's, all; so does the load of delayed tables, and, where the target's role is not a superuser, that of all rows."
        fix "Read the function; give it to a role that you trust until the run is done, or take away what calls it; target.untrusted_owners = true makes it block the run."

    SourceOwnersCodeInRows "source/owners-code-in-rows" Info Object "0.2.0"
        what "code of an owner runs in the load"
        why "CHECK constraints of tables may call functions of roles that are not superusers, or functions of PostgreSQL that run a query, and COPY runs them with the rights of whoever loads, so that the rows of such a database are loaded by a login that the restore makes for this, which may insert rows there and nothing else, and drops."
        fix "Nothing. Where such a function reads tables, or does what else that login may not, its table is not loaded: read the function, and waive this finding; the rows are loaded with the rights of the target's role then."

    SourcePartitionIdentity "source/partition-identity" Warn Database "0.2.0"
        what "partitions with numbers of their own"
        why "From 17 on, partitions share the identity column of their table: one that is GENERATED ALWAYS takes no given value in a partition either, as it did up to 16, where a partition's column was plain."
        fix "OVERRIDING SYSTEM VALUE in statements that insert into partitions, or SET GENERATED BY DEFAULT on the target after the run."

    SourcePasswordsUnreadable "source/passwords-unreadable" Warn Migration "0.1.0"
        what "roles migrate without passwords"
        why "Passwords are read from pg_authid, which the source's role may not read; roles that log in by password cannot log in to the target until they get one."
        fix "Use a superuser for [source], or set the passwords on the target after the run."

    SourcePostgresDatabase "source/postgres-database" Warn Database "0.1.0"
        what "the database postgres is not empty"
        why "Each server has a database \"postgres\" of its own, so that of the source does not migrate, whatever users have put into it."
        fix "Move the objects to another database before the run, or migrate them by hand."

    SourcePreparedTransactions "source/prepared-transactions" Fix Migration "0.2.0"
        what "transactions are prepared"
        why "A transaction between PREPARE TRANSACTION and COMMIT PREPARED is in no snapshot, so its rows do not migrate, and the target does not know it; it also keeps its locks, though no session shows them."
        fix "COMMIT PREPARED or ROLLBACK PREPARED each of pg_prepared_xacts before the run, as whoever prepared it says."

    SourcePromoted "source/promoted" Warn Timeline "0.2.0"
        what "the source failed over meanwhile"
        why "A standby that takes over may lack what was committed last, and clients write on without it, so that what was dumped before may have rows that the source lost; what is not verified is dumped again."
        fix "`pg-migrate verify` compares both servers; `pg-migrate reset PLAN --database NAME --drop NAME` moves a verified database again."

    SourceRangeFunction "source/range-function" Warn Object "0.2.0"
        what "privileges of a range's functions"
        why "CREATE TYPE makes the functions of a range type by itself, and pg_dump does not write their privileges."
        fix "GRANT and REVOKE on the target after the run."

    SourceReferenceDisabled "source/reference-disabled" Warn Object "0.2.0"
        what "a foreign key is not enforced"
        why "ALTER TABLE … DISABLE TRIGGER ALL disables the triggers of foreign keys too, which no dump brings along: on the target they are enabled, and refuse what the source takes."
        fix "ALTER TABLE … ENABLE TRIGGER ALL on the source, or DISABLE TRIGGER ALL on the target after the run."

    SourceReplicationSlots "source/replication-slots" Warn Migration "0.2.0"
        what "replication slots stay behind"
        why "A replication slot is a place in the WAL of its server, so none is brought along: a standby or a subscriber of the source does not follow the target, and misses what clients write there before it has a slot."
        fix "See who reads from the slots, and make them on the target before clients write there."

    SourceRoleKeptOut "source/role-kept-out" Warn Role "0.2.0"
        what "a role is kept out"
        why "NOLOGIN, CONNECTION LIMIT 0 and default_transaction_read_only migrate with the role: what keeps an application from the source for the night keeps it from the target in the morning."
        fix "Nothing where it is meant to stay; otherwise ALTER ROLE … LOGIN, ALTER ROLE … CONNECTION LIMIT, or ALTER ROLE … RESET default_transaction_read_only, on the target after the run."

    SourceRoleNameReserved "source/role-name-reserved" Fix Role "0.1.0"
        what "a role's name is reserved on the target"
        why "Names that start with pg_ are reserved since 9.6, so the role cannot be created on the target."
        fix "ALTER ROLE … RENAME TO … on the source; the role's MD5 password is lost by that and has to be set again."

    SourceRowSecurity "source/row-security" Block Object "0.1.0"
        what "row security hides rows from the run"
        why "Where row security applies to the source's role, the table cannot be read in full, neither to dump it nor to count it."
        fix "Use a role with BYPASSRLS, or the table's owner, for [source]."

    SourceSecurityLabel "source/security-label" Warn Database "0.2.0"
        what "a security label of a database"
        why "A security label of a database is in no archive, and is not brought along."
        fix "SECURITY LABEL ON DATABASE on the target after the run."

    SourceServerValues "source/server-values" Warn Object "0.2.0"
        what "transaction, WAL or object numbers"
        why "Transaction ids, snapshots and WAL positions begin elsewhere on the target, so that stored ones compare with its own as if they were of the future or of long ago: an outbox or queue that waits for old transactions may wait for ever, or pass rows over; object ids of tables, functions and roles are others there; those of large objects are the same, and a regclass arrives by name."
        fix "See what uses the columns, and begin their values again on the target after the run; look object ids up again by name."

    SourceSessionsHidden "source/sessions-hidden" Warn Migration "0.2.0"
        what "the role does not see other sessions"
        why "How many connections the server has free is counted from its sessions; a role that does not see those of others guesses, and takes less."
        fix "GRANT pg_read_all_stats to the source's role, or set source.max_connections in the plan."

    SourceSettingOfAllRoles "source/setting-of-all-roles" Warn Setting "0.2.0"
        what "a setting of all roles"
        why "ALTER ROLE ALL SET holds for every role in every database, also those of the target that have nothing to do with the plan, so it is not brought along."
        fix "ALTER ROLE ALL SET on the target when everything has arrived."

    SourceShadowedFunction "source/shadowed-function" Warn Database "0.2.0"
        what "functions the target's system has too"
        why "Each major version brings functions of its own, and pg_catalog is searched before all other schemas, so that a call without a schema finds the system's where a user's of that name was meant: one with these arguments always, one with others where the system's fits the types of a call better."
        fix "Call the user's function with its schema, give it another name, or put pg_catalog last in search_path."

    SourceStale "source/stale" Block Migration "0.2.0"
        what "a standby that does not follow"
        why "A standby whose replay is paused or delayed, or that receives nothing, shows what its primary had then; dump, counts and verification would agree about it."
        fix "Let it follow again, or use the primary as the source. Where an old state is wanted, or it follows by archive alone, waive this."

    SourceStandby "source/standby" Warn Migration "0.1.0"
        what "the source is a standby"
        why "A standby cancels long queries, such as those of a dump, when they conflict with changes that it has to apply; before 10 it cannot export a snapshot at all, which blocks the run."
        fix "Raise max_standby_streaming_delay on the standby or set hot_standby_feedback = on, or use the primary as the source."

    SourceStoredLexemes "source/stored-lexemes" Warn Database "0.2.0"
        what "lexemes of other stemmers are stored"
        why "Stemmers of some languages change with major versions, so that a column which a trigger or the application fills with to_tsvector has lexemes of the old ones, while a query on the target asks for those of the new ones."
        fix "Compute the columns again on the target after the run; generated columns and indexes are computed there anyway."

    SourceSubscriptionCopying "source/subscription-copying" Block Object "0.2.0"
        what "a subscription copies its tables still"
        why "The source is a logical subscriber, and its tables have none or not all of their publisher's rows until the initial copy has ended: what is dumped before is taken for all of them, and both servers agree on it."
        fix "Wait until srsubstate of pg_subscription_rel is r or s for every table; or exclude the database, or drop the subscription."

    SourceSubscriptionDisabled "source/subscription-disabled" Warn Object "0.2.0"
        what "a subscription that arrives disabled"
        why "pg_dump writes subscriptions that do not connect, so that no two servers read from one slot: on the target it is disabled and knows none of its tables, and what the publisher sends goes to the source alone."
        fix "Disable it on the source before the run, and create it again on the target with the same slot and copy_data = false after it."

    SourceSystemObject "source/system-object" Fix Object "0.2.0"
        what "a part of the system was changed"
        why "pg_dump leaves out what initdb made, so a cast that was made implicit, a function that was altered, privileges on the language sql or what was added to an operator family is on the target as every new server has it."
        fix "Make the change on the target, where it is still wanted: of casts and functions before the run."

    SourceSystemOwner "source/system-owner" Warn Object "0.2.0"
        what "another owner of a part of the system"
        why "pg_dump writes no owners of what initdb made, so on the target it belongs to the role that ran initdb there."
        fix "ALTER … OWNER TO on the target after the run."

    SourceSystemSchema "source/system-schema" Warn Object "0.2.0"
        what "an object in a schema of the system"
        why "pg_dump leaves out whatever is in pg_catalog and information_schema, also what users created there."
        fix "Move it to a schema of your own before the run, or create it on the target by hand."

    SourceSystemTablespace "source/system-tablespace" Warn Tablespace "0.2.0"
        what "pg_default or pg_global was changed"
        why "Each server has these two tablespaces of its own, and pg_dumpall leaves them out, so that page costs, privileges, owner and comment of the source's do not hold on the target."
        fix "ALTER TABLESPACE, GRANT and COMMENT ON TABLESPACE on the target after the run, where they are wanted."

    SourceTextSearch "source/text-search" Fix Object "0.2.0"
        what "text search of the system was changed"
        why "pg_dump leaves out text search configurations and dictionaries of pg_catalog, so that to_tsvector finds other words on the target, also in columns and indexes that the restore computes by it."
        fix "CREATE TEXT SEARCH CONFIGURATION … (COPY = …) in a schema of your own on the source and use that; or make the change on the target after the run, and compute columns and indexes again."

    SourceUnfinished "source/unfinished" Block Database "0.2.0"
        what "a migration left it half done"
        why "The source was the target of a plan that did not come to its end in this database, by the record there (database pg_migrate_mark): rows, indexes or privileges may be missing, and counts of what is there would match."
        fix "Let that plan come to its end (pg-migrate run), or migrate from its own source. Waive it where the database is known to be whole."

    SourceUnloggedOnStandby "source/unlogged-on-standby" Warn Object "0.2.0"
        what "the standby lacks an unlogged table"
        why "The rows of unlogged tables are not replicated, so a standby has none and cannot read such a table; it arrives empty."
        fix "Use the primary as the source, or fill the table on the target after the run."

    SourceUnreadable "source/unreadable" Block Database "0.2.0"
        what "the role may not read something"
        why "The source's role needs the right to read every table, sequence and large object that migrates; without it the dump fails, after everything before it was done."
        fix "GRANT pg_read_all_data to the source's role (14 and later), GRANT USAGE on the schemas and SELECT on what is named, or use a superuser for [source]."

    SourceUnreadableDefinition "source/unreadable-definition" Warn Object "0.2.0"
        what "a definition that cannot be read"
        why "Connections of subscriptions and options of user mappings are for superusers alone, so pg_dump leaves them out for any other role."
        fix "Use a superuser for [source], or create them on the target by hand."

    SourceValueTooLarge "source/value-too-large" Block Object "0.2.0"
        what "a row is too large for COPY"
        why "COPY writes at most 1 GB of text for a row, and a bytea as two characters a byte, so pg_dump fails at a row with more, after hours perhaps."
        fix "Split the value over several rows; or copy the row to a file with COPY … WITH (FORMAT binary), take its value out for the migration, and load the file on the target afterwards."

    SourceViewsComputed "source/views-computed" Info Database "0.2.0"
        what "materialized views are computed again"
        why "A dump has the query of a materialized view and not its rows, so that the target's shows the rows of the dump as the target's settings compute them, where the source's may show an older state."
        fix "Nothing where it is refreshed regularly; otherwise compare it after the run, and keep what must not change in a table."

    SourceWentBack "source/went-back" Block Migration "0.2.0"
        what "another source, or an older state of it"
        why "A clone or a machine that was put back to a snapshot has the same system identifier, but a lower WAL position or an earlier start, and data of two states would be combined."
        fix "Let [source] lead to the server that the plan began with. Waive it where this is it: what is not verified is dumped again."

    SourceWithOids "source/with-oids" Block Object "0.1.0"
        what "a table WITH OIDS loses its oids"
        why "pg_dump 12 and later leave the oids of such tables out without a message, so they would be lost."
        fix "ALTER TABLE … SET WITHOUT OIDS on the source, or accept the loss by a waiver."

    TargetArchiverFails "target/archiver-fails" Fix Migration "0.2.0"
        what "the target's WAL is not archived"
        why "WAL that is to be archived and is not stays in pg_wal, whatever max_wal_size says, so that the load fills its disk, and a server whose pg_wal is full goes down."
        fix "Repair archive_command (or archive_library), or switch archive_mode off for the load, which needs a restart."

    TargetAutoConfEdited "target/auto-conf-edited" Warn Migration "0.1.0"
        what "postgresql.auto.conf was edited by hand"
        why "ALTER SYSTEM rewrites the target's postgresql.auto.conf: its settings are restored after the load, its comments and duplicate entries are not."
        fix "Keep a copy of the file, or move comments and settings to postgresql.conf."

    TargetBaseBackup "target/base-backup" Warn Migration "0.2.0"
        what "a base backup of the target is taken"
        why "A base backup copies postgresql.auto.conf as it is at some moment, so that a server that is started from one which was taken during the load has fsync and the like off, and half a load."
        fix "Let the backup end before the run, and take the next one after it."

    TargetCannotCreateDatabases "target/cannot-create-databases" Block Migration "0.1.0"
        what "the role may not create databases"
        why "The run creates each database on the target, which takes CREATEDB or a superuser."
        fix "ALTER ROLE … CREATEDB on the target, or use another role for [target]."

    TargetConnectionsBeyondFree "target/connections-beyond-free" Warn Migration "0.1.0"
        what "the plan takes more than is free"
        why "Connections that the plan allows but the server does not have free are taken from its clients, or are refused in the middle of the run."
        fix "Lower target.max_connections, or raise max_connections on the server."

    TargetCrashedUnsafe "target/crashed-unsafe" Block Migration "0.2.0"
        what "the target's machine went down unsafe"
        why "fsync or full_page_writes was off for the load: unless the machine was shut down in order, the whole cluster may be damaged without a sign, and counts that match do not show it."
        fix "Create the cluster again (initdb), and begin again under another name in the plan. Where the machine was shut down in order, waive it and run again."

    TargetDatabaseEncoding "target/database-encoding" Block Database "0.1.0"
        what "an empty database of another encoding"
        why "The target has an empty database of this name whose encoding differs from the source's, so what is restored into it could differ or fail."
        fix "Drop the database on the target; the run creates it as it is on the source."

    TargetDatabaseExists "target/database-exists" Warn Database "0.1.0"
        what "an empty database is there already"
        why "The run uses the empty database as it is, but gives it the source's owner and privileges; and if the restore is interrupted, the next run drops it and creates it again with its own settings; where it would lose something (default privileges, say), a person has to."
        fix "Drop the database on the target; the run creates it as it is on the source."

    TargetDatabaseGone "target/database-gone" Block Database "0.2.0"
        what "a verified database is gone"
        why "This plan made and verified a database that the target does not have any more under its name: it was dropped or renamed, or another has its name, so nothing could be said of it truthfully."
        fix "Give it its name back, or pg-migrate reset PLAN --database DB --drop DB and run again to have it created again, or exclude it (databases.exclude); one that was not verified is created again by the next run."

    TargetDatabaseNotEmpty "target/database-not-empty" Block Database "0.1.0"
        what "a database is there and not empty"
        why "Nothing is overwritten on the target that this plan did not create."
        fix "Drop or rename the database on the target, or exclude it (databases.exclude)."

    TargetDatabaseRecreated "target/database-recreated" Warn Database "0.2.0"
        what "the next run drops a database"
        why "An earlier run of this plan created the database, and the next run drops it and creates it again, because its restore did not end or because reset asked for it."
        fix "Nothing has to be fixed; a database that was verified is only dropped where reset names it (--drop), and where nothing was written to it since. Exclude it (databases.exclude) to keep it as it is."

    TargetDiffered "target/differed" Fix Database "0.2.0"
        what "a verification found a difference"
        why "The rows differed from the source's when they were compared, or another session wrote to the database while it was closed to clients; that their numbers agree later does not say that they are the same, so a run that compares them again fails until this is waived."
        fix "pg-migrate reset PLAN --database DB --step create (or --drop DB once it was verified), and run again: it is made and restored again. Where a person corrected the rows and stands for them, waive it and run again: the target is counted again."

    TargetEventTriggers "target/event-triggers" Warn Database "0.2.0"
        what "event triggers fire for our work"
        why "Event triggers arrive with the database, and may log or forbid what the run does afterwards: building indexes, refreshing materialized views, connecting; a superuser of 17 and later switches them off for its sessions."
        fix "GRANT SET ON PARAMETER event_triggers to the target's role, or use a superuser for [target]; before 17, ALTER EVENT TRIGGER … DISABLE on the source before the run."

    TargetExtensionConfiguration "target/extension-configuration" Warn Database "0.2.0"
        what "an extension has another version"
        why "The rows that users added to an extension's configuration tables are restored into those of the version that the target has, which may have other columns and rows: the restore can fail, and the rows cannot be compared."
        fix "Update the extension on the source (ALTER EXTENSION … UPDATE), or install the source's version on the target; otherwise compare the tables by hand after the run."

    TargetExtensionMissing "target/extension-missing" Fix Object "0.2.0"
        what "the target lacks an extension"
        why "CREATE EXTENSION fails on the target where its packages do not have the extension, or its version no longer does, and so does everything that needs it: tables with columns of its types and their rows (then it blocks), functions, indexes."
        fix "Install the package on the target; or DROP EXTENSION on the source where nobody needs it; or accept the restore errors ([[accept]])."

    TargetExtensionOlder "target/extension-older" Block Object "0.2.0"
        what "an extension is older on the target"
        why "A dump names no version of an extension, so the target creates the one that its packages have: where that is older than the source's, functions and types are missing or compute something else, and no count of rows shows it."
        fix "Install the package that has the source's version on the target; or, where nothing that is restored needs it, waive this and ALTER EXTENSION … UPDATE on the target after the run."

    TargetIdleSlots "target/idle-slots" Warn Migration "0.1.0"
        what "replication slots are not in use"
        why "The server keeps all WAL that the reader of a replication slot has not seen, so the whole load's WAL stays in pg_wal, whatever max_wal_size says."
        fix "Drop the slots (pg_drop_replication_slot), or limit them by max_slot_wal_keep_size (13 and later)."

    TargetLeftUnsafe "target/left-unsafe" Block Migration "0.2.0"
        what "the target is unsafe without this plan"
        why "fsync, full_page_writes, synchronous_commit or autovacuum is off on the target, and no run of this plan that the state directory knows did it: a run of another plan that was killed leaves the target so, and one whose state was lost, and what is migrated would be at risk after this run as well."
        fix "Run pg-migrate revert with the plan that left it: its state directory or the target's mark knows what was set before. Or switch the setting on where it comes from and SELECT pg_reload_conf() on the target. Where the server's owner wants it so, as on some managed services that keep data safe in another way, set target.tuning.found_unsafe = \"keep\"."

    TargetLibraryOfDatabase "target/library-of-database" Block Database "0.2.0"
        what "a library in its settings is missing"
        why "A session loads the libraries in session_preload_libraries and local_preload_libraries when it starts, and is refused where one is missing."
        fix "Install the library on the target, or ALTER DATABASE … RESET the setting on the source."

    TargetLibraryOfRole "target/library-of-role" Fix Role "0.2.0"
        what "a library in its settings is missing"
        why "A session loads the libraries in session_preload_libraries and local_preload_libraries when it starts, and is refused where one is missing."
        fix "Install the library on the target, or ALTER ROLE … RESET the setting on the source."

    TargetLimitedRole "target/limited-role" Warn Migration "0.1.0"
        what "the target's role is not a superuser"
        why "Only a superuser may create superusers and give some attributes of roles; without CREATEROLE, roles that the target lacks do not migrate at all."
        fix "Use a superuser for [target], or create the roles beforehand and set globals.migrate = false."

    TargetLocaleMissing "target/locale-missing" Fix Database "0.1.0"
        what "the target lacks a locale"
        why "A database can only be created with locales that the target's operating system has."
        fix "Install the locale on the target's host, then SELECT pg_import_system_collations('pg_catalog')."

    TargetMarkGone "target/mark-gone" Block Migration "0.2.0"
        what "the target's mark is gone"
        why "What this plan did on the target also stands there, in the database pg_migrate_mark: without it nobody notices that the state directory, or the target, was put back to an earlier state, and a run would drop or load again what clients use."
        fix "Where a person dropped it and nothing was put back, waive this once: the run makes the mark again. Otherwise go on with the state directory, or the target, that belongs to the other."

    TargetMarkNotWritable "target/mark-not-writable" Block Migration "0.2.0"
        what "the mark is another role's"
        why "Another role made the database pg_migrate_mark, in a rehearsal perhaps, and ours may not write to it, so that nobody would notice that the state directory was put back to an earlier state."
        fix "Run as the role that made it, or let that role discard it, or drop it where nothing that it says is needed any more; waive this to go on without a mark."

    TargetNoConnections "target/no-connections" Block Migration "0.1.0"
        what "too few connections are free"
        why "Even one database at a time needs connections to the target: the run's own, and one for the restore."
        fix "Raise max_connections on the server or target.max_connections in the plan, or end sessions that are not needed."

    TargetNoHistory "target/no-history" Warn Migration "0.2.0"
        what "the target does not tell its history"
        why "Our role may not ask the target for its WAL position, timeline and start (a function was taken from it), so that a fail-over, a clone or a machine that was put back is noticed by the mark alone."
        fix "GRANT EXECUTE ON FUNCTION pg_current_wal_flush_lsn(), and of the other functions that the log names, to the role of the target."

    TargetOlderThanSource "target/older-than-source" Block Migration "0.1.0"
        what "the target is older than the source"
        why "Neither pg_dump nor pg_restore can go back to an earlier major version."
        fix "Exchange [source] and [target], or use a newer target."

    TargetOpened "target/opened" Block Database "0.2.0"
        what "clients may connect before it is done"
        why "A database is closed to other roles until it is verified: one that is open belongs to a run that went on with another copy of the state directory, or a person granted CONNECT, and what clients write meanwhile would be dropped or mixed with the load."
        fix "Go on with the state directory that opened it, or REVOKE CONNECT ON DATABASE from the roles that have it, and run again."

    TargetOpensEarly "target/opens-early" Warn Migration "0.2.0"
        what "clients are let in with fsync off"
        why "With fsync or full_page_writes off, a crash of the target's operating system loses the whole cluster, and with it every row that clients committed to a verified database meanwhile: the source does not have them."
        fix "Remove target.tuning.open_early, or set target.tuning.mode = \"safe\"."

    TargetOpensLate "target/opens-late" Info Migration "0.2.0"
        what "databases open when the target is safe"
        why "With fsync or full_page_writes off, a crash of the target's operating system loses the whole cluster, so a verified database stays closed to other roles until restore-settings has restored the settings."
        fix "Set target.tuning.mode = \"safe\" to open each database as soon as it is verified; target.tuning.open_early = true does it in spite of the danger."

    TargetOtherSettings "target/other-settings" Warn Migration "0.2.0"
        what "settings for clients differ"
        why "Settings of the server as a whole, as initdb or an administrator made them, are in no dump: where time zone, date order, search path and the like differ on the target, clients, functions and materialized views get other results from the same rows."
        fix "Make them alike on the target before the run (ALTER SYSTEM SET, SELECT pg_reload_conf()), or set them for the databases (ALTER DATABASE … SET) on the source, which migrates."

    TargetOwnerMissing "target/owner-missing" Block Role "0.1.0"
        what "a database's owner is not on the target"
        why "A database cannot be given to a role that does not exist, and with globals.migrate = false the run does not create it."
        fix "Create the role on the target, or set globals.migrate = true."

    TargetPasswordsWritten "target/passwords-written" Warn Migration "0.2.0"
        what "the target's log gets passwords"
        why "Roles are made with their passwords as the source stores them, and the run's session switches off what writes statements down (log_statement and the like, pg_stat_statements, pgaudit), which this role may not: whoever reads the target's log can try passwords against them, and log in by an MD5 hash."
        fix "Switch the settings off on the target until the step globals is done, or use a role that may set them."

    TargetPromoted "target/promoted" Block Timeline "0.2.0"
        what "the target was promoted meanwhile"
        why "A standby that takes over may lack the last WAL of the server that failed, so that what a run restored and counted as done is gone without a sign; what clients cannot use yet is restored again by the next run."
        fix "`pg-migrate reset PLAN --database NAME --drop NAME` for what may lack something; `verify` compares rows alone. Where the standby had all of the WAL, waive it for this timeline."

    TargetPromotedBehind "target/promoted-behind" Block Database "0.2.0"
        what "a standby took over that lagged"
        why "By the target's mark, the server that took over had not all that a run did in this database when it was promoted: it may lack indexes, constraints, rows and privileges, whatever a count of its rows says."
        fix "`pg-migrate reset PLAN --database NAME --drop NAME`, and run. Waive it for a database that you made whole by hand."

    TargetPublicSchemaOwner "target/public-schema-owner" Warn Migration "0.1.0"
        what "the owner of public cannot be set"
        why "Before 15 the schema public belongs to the superuser who created the cluster, and only a superuser may give it to that role on the target: pg_restore reports an error in each database."
        fix "[[accept]] with each database, object = \"*SCHEMA*public*\" and a reason, or use a superuser for [target]."

    TargetReadOnly "target/read-only" Block Migration "0.2.0"
        what "the target can only be read"
        why "default_transaction_read_only is on in the target's own configuration, for every database and role: its owner or provider protects the server, as providers do where its disk is almost full, and a load that overrules that fills the rest."
        fix "Find out why, make room, and switch it off where it comes from. target.override_read_only = true writes all the same. What a database or a role has set for itself is overruled anyway."

    TargetRestoreJobsLowered "target/restore-jobs-lowered" Info Migration "0.1.0"
        what "fewer restore jobs than the plan's"
        why "The jobs of all databases that are restored at a time have to fit into the connections that the run may use."
        fix "Raise max_connections on the server, or lower parallelism.restore_jobs or parallelism.restore_parallel."

    TargetRestoreParallelLowered "target/restore-parallel-lowered" Info Migration "0.1.0"
        what "fewer databases are restored at a time"
        why "The databases that are restored at a time have to fit into the connections that the run may use."
        fix "Raise max_connections on the server, or lower parallelism.restore_parallel."

    TargetRoleDiffers "target/role-differs" Block Role "0.2.0"
        what "a role of the target is another"
        why "A role of the same name that was on the target before may be another application's, or have a password that clients there use; the run gives it the attributes, password, limits, settings and memberships of the source's; the superuser that the target was made with, and a role that sends WAL of the target right now, are left as they are, which is a warning."
        fix "Rename one of the two, make both alike, set globals.migrate = false, or waive this for the role: then the source's values are set."

    TargetRoleGetsMembers "target/role-gets-members" Warn Role "0.2.0"
        what "a role of the target gets members"
        why "A role of the same name that was on the target before may be another application's; roles that become members of it get to what belongs to it there, and it blocks the run where the role may do more on the target than on the source."
        fix "Rename one of the two, set globals.migrate = false, or waive this for the role."

    TargetRoleMissing "target/role-missing" Warn Role "0.2.0"
        what "a role is not on the target"
        why "Settings of a role in a database and its privileges on the database need the role, and with globals.migrate = false the run does not create it."
        fix "Create the role on the target, or set globals.migrate = true."

    TargetRoleSettingRefused "target/role-setting-refused" Warn Role "0.2.0"
        what "a role's setting does not migrate"
        why "The target does not know the parameter, takes another kind of value, or does not let its role set it; the setting is left out, and sessions of that role run without it."
        fix "ALTER ROLE … RESET on the source where nobody needs the setting, or make it on the target after the run."

    TargetRowSecurity "target/row-security" Block Object "0.2.0"
        what "row security hides rows on the target"
        why "FORCE ROW LEVEL SECURITY applies to the table's owner, so once the table is restored a role that is neither a superuser nor has BYPASSRLS cannot count its rows, nor load them later."
        fix "ALTER ROLE … BYPASSRLS on the target, or use a superuser for [target]."

    TargetSameServer "target/same-server" Block Migration "0.1.0"
        what "source and target are the same server"
        why "A migration from a server to itself would find each of its databases there already."
        fix "Correct the host or the port of [source] or [target]."

    TargetSessionsHidden "target/sessions-hidden" Warn Migration "0.2.0"
        what "the role does not see other sessions"
        why "How many connections the server has free is counted from its sessions; a role that does not see those of others guesses, and takes less."
        fix "GRANT pg_read_all_stats to the target's role, or set target.max_connections in the plan."

    TargetSettingRefused "target/setting-refused" Warn Object "0.2.0"
        what "a database's setting does not migrate"
        why "The target does not know the parameter, takes another kind of value, or does not let its role set it; the setting is left out, and sessions of that database run without it."
        fix "ALTER DATABASE … RESET on the source where nobody needs the setting, or make it on the target after the run."

    TargetShared "target/shared" Block Migration "0.1.0"
        what "the target serves other databases"
        why "fsync and full_page_writes can only be off for the whole server, so a crash of its operating system during the load would lose the other databases too; extensions do not count, and objects without rows in the database postgres are a warning."
        fix "Set target.tuning.mode = \"safe\", or accept the danger by target.tuning.shared_target = true."

    TargetStandby "target/standby" Block Migration "0.1.0"
        what "the target is a standby"
        why "Nothing can be written to a standby."
        fix "Use its primary as the target."

    TargetStillTuned "target/still-tuned" Warn Migration "0.1.0"
        what "settings for the load are still set"
        why "A run of this plan changed settings of the target and has not restored them, because it is still at work or because it was killed."
        fix "Wait for the run if it is at work; otherwise pg-migrate revert restores them, and so does the next run before anything else."

    TargetSynchronousStandby "target/synchronous-standby" Fix Migration "0.2.0"
        what "commits wait for a standby that is away"
        why "synchronous_standby_names is set on the target and no synchronous standby is connected, so that every commit waits until one is, and the server's log says nothing."
        fix "Start the standby, or take it out of synchronous_standby_names until it is there and SELECT pg_reload_conf()."

    TargetTablespaceDiffers "target/tablespace-differs" Warn Tablespace "0.2.0"
        what "a tablespace of the target is another"
        why "A tablespace of the same name that was on the target before gets the settings, privileges and comment of the source's, and keeps its owner and place; page costs of the source's disks may mislead the planner there."
        fix "ALTER TABLESPACE on either server, or name another tablespace in the plan ([tablespaces])."

    TargetTablespaceMissing "target/tablespace-missing" Block Tablespace "0.2.0"
        what "a tablespace is not on the target"
        why "What is in a tablespace that the target does not have cannot be created there, and the roles and tablespaces that migrate create one only where its directory is there, empty, on the target's host."
        fix "Say in the plan where it goes ([tablespaces]): to another tablespace of the target, or to \"default\"; or CREATE TABLESPACE on the target."

    TargetTooOldForDelays "target/too-old-for-delays" Block Migration "0.1.0"
        what "too old a target for delayed tables"
        why "Before 10 (txid_status) a server cannot tell whether an interrupted load was committed, so rows could be lost or loaded twice."
        fix "Use a target of version 10 or later, or remove delay.table_data."

    TargetTriggersByTable "target/triggers-by-table" Warn Database "0.1.0"
        what "delayed loads disable triggers by table"
        why "Without the right to set session_replication_role, the triggers of a delayed table are disabled by ALTER TABLE, which locks it against writes until it is loaded, and foreign keys are checked row by row."
        fix "GRANT SET ON PARAMETER session_replication_role TO … on the target (15 or later), or use a superuser."

    TargetTuning "target/tuning" Info Migration "0.1.0"
        what "settings that ALTER SYSTEM changes"
        why "For the load, these settings hold in the whole target; what postgresql.auto.conf held before is restored when the run ends."
        fix "Nothing has to be fixed; target.tuning.mode and target.tuning.settings choose other settings."

    TargetTuningArchiving "target/tuning-archiving" Warn Migration "0.1.0"
        what "the target archives its WAL"
        why "All WAL of the load is archived, and after a crash with fsync off the archive may hold what the target has lost."
        fix "Turn archiving off for the load (it needs a restart), or take a base backup after it."

    TargetTuningAutovacuum "target/tuning-autovacuum" Info Migration "0.2.0"
        what "clients are let in without autovacuum"
        why "Autovacuum would read tables that are still being filled, so it is off for the load in the whole server, and where databases are opened as soon as they are verified, what clients write there meanwhile is neither vacuumed nor analyzed."
        fix "Set autovacuum = \"on\" in target.tuning.settings, which makes the load somewhat slower."

    TargetTuningClients "target/tuning-clients" Info Migration "0.2.0"
        what "clients use databases already"
        why "An earlier run verified and opened them, so that settings with which a crash of the target's operating system loses the cluster are left as they are."
        fix "Nothing has to be fixed; target.tuning.open_early = true sets them in spite of the danger."

    TargetTuningFixed "target/tuning-fixed" Block Setting "0.1.0"
        what "a setting cannot be changed"
        why "The plan sets a parameter that is fixed when the server is built or its cluster is created."
        fix "Remove the setting from target.tuning.settings."

    TargetTuningMemory "target/tuning-memory" Info Migration "0.1.0"
        what "what index builds may take in memory"
        why "Each index build may take maintenance_work_mem, and several run at a time; more than the target has makes it swap, or lets the kernel kill it."
        fix "Lower parallelism.restore_parallel or parallelism.restore_jobs, or set maintenance_work_mem in [target.tuning.settings]."

    TargetTuningNoSync "target/tuning-no-sync" Warn Migration "0.1.0"
        what "the load cannot be flushed to disk"
        why "After a load with fsync off, the data is only safe once CHECKPOINT and the operating system's sync have run, which the role may not start."
        fix "After the run, CHECKPOINT as a superuser and run sync on the target's host; or GRANT pg_checkpoint, pg_execute_server_program to the role."

    TargetTuningOutOfReach "target/tuning-out-of-reach" Info Migration "0.1.0"
        what "settings that cannot be set here"
        why "The settings make a load faster, and can be set here neither for the whole server nor for this run's sessions."
        fix "Use a superuser for [target], or grant the privilege that the finding names."

    TargetTuningReplicas "target/tuning-replicas" Warn Migration "0.1.0"
        what "replicas are connected to the target"
        why "After a crash with fsync or full_page_writes off, replicas may hold what the target has lost, and have to be created again; no base backup can be taken meanwhile."
        fix "Set target.tuning.mode = \"safe\", or create the replicas after the migration."

    TargetTuningRestart "target/tuning-restart" Block Setting "0.1.0"
        what "a setting needs a restart"
        why "The parameter takes effect only when the server is started again, which pg-migrate does not do."
        fix "Set it yourself and restart the target before the run, and remove it from target.tuning.settings."

    TargetTuningSession "target/tuning-session" Info Migration "0.1.0"
        what "settings of this run's sessions"
        why "For the load, these settings hold in this run's own sessions on the target, and nowhere else."
        fix "Nothing has to be fixed; target.tuning.mode and target.tuning.settings choose other settings."

    TargetTuningUnknown "target/tuning-unknown" Block Setting "0.1.0"
        what "the target has no such parameter"
        why "The plan sets a parameter that this version of PostgreSQL does not have; that of an extension which is not loaded would have no effect."
        fix "Correct the name in target.tuning.settings or remove it; load the extension on the target."

    TargetTuningUnsafe "target/tuning-unsafe" Info Migration "0.1.0"
        what "a crash would lose the cluster"
        why "With fsync or full_page_writes off, a crash of the target's operating system during the load can damage any file of the cluster, which has to be created and loaded again."
        fix "Set target.tuning.mode = \"safe\" to rule that out."

    TargetTuningValue "target/tuning-value" Block Setting "0.1.0"
        what "a setting's value is not valid"
        why "The target would refuse the value in the middle of the run."
        fix "Correct the value in target.tuning.settings."

    TargetTuningWal "target/tuning-wal" Info Migration "0.1.0"
        what "how much WAL pg_wal is to hold"
        why "With a larger max_wal_size a load has fewer checkpoints, but more WAL stays in the target's pg_wal, whose free space cannot be seen from SQL, and a server whose pg_wal is full goes down: so the load leaves it as it is."
        fix "Look at the free space of the target's pg_wal, and set max_wal_size in target.tuning.settings as far as that allows."

    TargetUnfinished "target/unfinished" Block Database "0.2.0"
        what "a database left the plan unfinished"
        why "An earlier run created it on the target: it may be closed to all roles but ours, or lack the rows and indexes of delayed tables, while the plan leaves it out or the source has it no more."
        fix "Take it into the plan again and run, drop it on the target, or finish it by hand and waive this for it."

    TargetWalLevel "target/wal-level" Info Migration "0.1.0"
        what "the load also writes WAL for replicas"
        why "With wal_level above minimal the load writes all rows to the WAL as well, although no replica or archive reads them now."
        fix "wal_level = minimal and max_wal_senders = 0 avoid that; both need a restart before and after the load, and a base backup afterwards."

    TargetWentBack "target/went-back" Block Migration "0.2.0"
        what "another target, or an older state of it"
        why "A clone or a machine that was put back to a snapshot has the same system identifier, but a lower WAL position or an earlier start: what a run restored may not be there, and databases of its names may be another's."
        fix "Let [target] lead to the server that the plan began with. Waive it where this is it: what is not verified is created and restored again."
}

impl Code {
    /// Whether a waiver may name it. What is wrong with a waiver is not for another waiver to hide, and neither can a choice
    /// that the plan has to make be waived, nor what keeps the contents of a database from being read or dumped; and a run that ignored
    /// what the plan asks for, or that cannot tell whether a load was committed, would say "completed" wrongly.
    pub fn can_be_waived(self) -> bool {
        !matches!(
            self,
            Code::PlanNotAvailable
                | Code::PlanWaiverExpired
                | Code::PlanWaiverMatchesNothing
                | Code::SourceDetachPending
                | Code::SourceNameNotUtf8
                | Code::TargetDatabaseEncoding
                | Code::TargetTablespaceMissing
                | Code::TargetTooOldForDelays
        )
    }

    /// What stands before the slash.
    pub fn group(self) -> &'static str {
        let word = self.as_str();
        word.split_once('/').map_or(word, |(group, _)| group)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Code {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        let mut all = Code::ALL.iter();
        all.find(|code| code.as_str() == word)
            .copied()
            .ok_or_else(|| format!("`{word}` is not the code of a finding"))
    }
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `source/with-oids` as a variant is called.
    fn camel_case(word: &str) -> String {
        let parts = word.split(['/', '-']);
        parts
            .map(|part| part[..1].to_uppercase() + &part[1..])
            .collect()
    }

    #[test]
    fn codes_are_unique_sorted_and_called_by_their_words() {
        let words: Vec<&str> = Code::ALL.iter().map(|code| code.as_str()).collect();
        for pair in words.windows(2) {
            assert!(pair[0] < pair[1], "{} stands before {}", pair[0], pair[1]);
        }
        for code in Code::ALL {
            assert_eq!(format!("{code:?}"), camel_case(code.as_str()));
            assert_eq!(code.as_str().parse(), Ok(*code));
            let is_part = |part: &str| {
                part.starts_with(|c: char| c.is_ascii_lowercase())
                    && part
                        .chars()
                        .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
            };
            let parts: Vec<&str> = code.as_str().split('/').collect();
            assert!(parts.len() == 2 && parts.into_iter().all(is_part), "{code}");
        }
        assert!("source/with-oid".parse::<Code>().is_err());
    }

    #[test]
    fn every_code_is_explained_in_sentences() {
        for code in Code::ALL {
            for text in [code.why(), code.fix()] {
                assert!(text.ends_with('.'), "{code}: {text}");
                assert!(
                    !text.contains("  ") && text.trim() == text,
                    "{code}: {text}"
                );
            }
            assert!(!code.why().contains(". "), "{code}: one sentence");
            // So that a line of the list fits a terminal of 80 columns.
            let what = code.what();
            let columns = what.chars().count();
            assert!(columns <= 39 && !what.ends_with('.'), "{code}: {columns}");
            let is_version = |part: &str| part.parse::<u32>().is_ok();
            assert_eq!(
                code.since()
                    .split('.')
                    .filter(|part| is_version(part))
                    .count(),
                3
            );
        }
    }
}
