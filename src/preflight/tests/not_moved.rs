//! What no client program brings along is told before the run.

use insta::assert_snapshot;

use super::{codes, lines};
use crate::catalog::{LackedLibrary, NotMoved, NotMovedKind, Privilege, Setting};
use crate::finding::{Code, Severity};
use crate::graph::tests::synthetic::{Case, contents, database};

fn not_moved(what: NotMovedKind, object: &str, detail: &str) -> NotMoved {
    NotMoved {
        what,
        object: object.into(),
        detail: detail.into(),
    }
}

#[test]
fn what_a_database_loses_is_told_object_by_object() {
    let mut erp = database("erp", 1 << 20, 1);
    contents(&mut erp).not_moved = vec![
        not_moved(NotMovedKind::AclWithoutRole, "public.salary", "16412"),
        not_moved(NotMovedKind::ExtensionOwner, "hstore", "app"),
        not_moved(NotMovedKind::ExtensionOwner, "pg_trgm", "postgres"),
        not_moved(NotMovedKind::ExtensionRows, "public.hint", "hints"),
        not_moved(NotMovedKind::Dropped, "schema public", ""),
        not_moved(NotMovedKind::InformationSchema, "tables", ""),
        not_moved(NotMovedKind::InformationSchema, "columns", "app SELECT"),
        not_moved(NotMovedKind::LeadsToSource, "itself", "old-db:5432"),
        not_moved(NotMovedKind::ObjectNumbers, "audit.log", "relid oid"),
        not_moved(NotMovedKind::PartitionIdentity, "public.part", "id"),
        not_moved(NotMovedKind::RangeFunction, "span(real,real)", ""),
        not_moved(NotMovedKind::ServerValues, "public.outbox", "written xid8"),
        not_moved(NotMovedKind::Subscription, "orders", "feed"),
        not_moved(
            NotMovedKind::SystemObject,
            "cast (integer AS boolean)",
            "implicit",
        ),
        not_moved(NotMovedKind::SystemOwner, "now()", "app"),
        not_moved(NotMovedKind::SystemSchema, "pg_catalog.days", ""),
        not_moved(
            NotMovedKind::TextSearch,
            "configuration english",
            "asciiword 1 pg_catalog simple",
        ),
        not_moved(
            NotMovedKind::UnreadableDefinition,
            "subscription orders",
            "",
        ),
        not_moved(NotMovedKind::UnloggedSequence, "public.tickets", ""),
        not_moved(
            NotMovedKind::ExtensionSequence,
            "public.hints",
            "hints (70)",
        ),
        not_moved(NotMovedKind::ViewComputedAgain, "public.totals", ""),
        not_moved(NotMovedKind::ViewComputedAgain, "public.months", ""),
        not_moved(NotMovedKind::LanguagePrivilege, "language sql", "no role"),
        not_moved(
            NotMovedKind::FamilyMember,
            "operator family pg_catalog.integer_ops USING btree",
            "OPERATOR 1 public.<#(integer,text)",
        ),
        not_moved(NotMovedKind::NullableChild, "public.child", "id, name"),
        not_moved(NotMovedKind::ShadowedFunction, "public.uuidv7()", ""),
        not_moved(
            NotMovedKind::ShadowedFunction,
            "public.date_add(date,interval)",
            "date_add(timestamp with time zone, interval)",
        ),
        not_moved(NotMovedKind::StoredLexemes, "public.art", "found tsvector"),
        not_moved(NotMovedKind::StoredLexemes, "public.page", "found tsvector"),
    ];
    let mut case = Case::new("", vec![erp]);
    case.inspection.target.newer.stemmers = vec!["english".into(), "german".into()];
    assert_snapshot!(lines(&case.compile()), @r#"
    Fix source/system-object [erp cast (integer AS boolean)] the cast (integer AS boolean) of pg_catalog is not as on the target (implicit), and pg_dump does not bring it along: statements, views and functions that rely on it fail or compute something else
      fix: make the change on the target before the run, where it is still wanted
    Fix source/text-search [erp configuration english] the text search configuration english of pg_catalog is not as on the target, and pg_dump does not bring it along: to_tsvector finds other words there, also in generated columns and indexes
      fix: use one of your own (CREATE TEXT SEARCH CONFIGURATION … (COPY = …)) on the source; or make the change on the target after the run, and compute columns and indexes again
    Warn source/acl-without-role [erp public.salary] a privilege on it is held by a role that is gone (oid 16412); it may take others along
      fix: compare its privileges on both sides after the run, and GRANT on the target what is missing
    Warn source/dropped-object [erp schema public] the source has no schema public; a new database has it, so it is on the target
      fix: DROP it on the target after the run
    Warn source/extension-owner [erp hstore] the extension hstore belongs to role app; on the target it belongs to postgres, who creates it
      fix: nothing where the role only uses it; ALTER and DROP EXTENSION are then for a superuser on the target
    Warn source/extension-rows [erp public.hint] the table belongs to the extension hints and is not marked as configuration (pg_extension_config_dump), so pg_dump leaves its rows out: those that were added or changed are not brought along
      fix: compare the table on both sides after the run, and copy what is missing by hand
    Warn source/extension-rows [erp public.hints] the sequence belongs to the extension hints (70) and is not marked as configuration (pg_extension_config_dump), so pg_dump does not bring along where it stands: on the target it stands where the extension's script leaves it
      fix: compare it on both sides after the run, and setval on the target where it is behind
    Warn source/information-schema [erp information_schema] its privileges were changed, and pg_dump brings none of them along: tables, columns
      fix: GRANT and REVOKE on the target after the run
    Warn source/inherited-columns [erp] columns may be NULL here and are inherited from such as are NOT NULL in the parent, which from 18 on holds for all that inherit: on the target they are NOT NULL, and refuse NULL from clients, or in the restore from the dump: public.child (id, name)
      fix: SET NOT NULL for them on the source, or, where rows have NULL, ALTER TABLE … NO INHERIT; or, where none has NULL yet, on the target after the run ALTER TABLE … ALTER CONSTRAINT … NO INHERIT for the parent's NOT NULL, then ALTER … DROP NOT NULL for the child
    Warn source/leads-here [erp itself] the foreign server leads to old-db:5432, which is the source: on the target it does so still, after the switch too
      fix: ALTER SERVER … OPTIONS (SET host …) on the target after the run; or keep the source's name for the target
    Warn source/partition-identity [erp] these columns are GENERATED ALWAYS AS IDENTITY in partitioned tables, which from 17 on holds for the partitions too: on the target, an INSERT into a partition itself with a value of its own for the column fails: public.part (id)
      fix: where loaders or jobs insert into partitions with numbers of their own: OVERRIDING SYSTEM VALUE in their statements, or ALTER TABLE … ALTER COLUMN … SET GENERATED BY DEFAULT for the partitioned table on the target after the run
    Warn source/range-function [erp span(real,real)] its privileges were changed; pg_dump does not bring along those of a function that CREATE TYPE made
      fix: GRANT and REVOKE on the target after the run
    Warn source/server-values [erp audit.log] it keeps object ids of the source: relid oid; large objects have the same on the target, but tables, functions, roles and all else have others: what joins them with pg_class, or compares them with TG_RELID, finds nothing there, or another object
      fix: where they are of large objects, nothing; otherwise ALTER COLUMN … TYPE regclass (regproc, regrole …) on the source before the run, which arrives by name, or keep the names beside them, and look the numbers up again on the target after it
    Warn source/server-values [erp public.outbox] it keeps what the source counts for itself, and the target counts from elsewhere: written xid8; a comparison with the target's own transaction ids, snapshots or WAL positions finds too much, or nothing for a long time
      fix: see what uses the columns (outboxes, queues, heartbeats), and begin their values again on the target after the run
    Warn source/shadowed-function [erp] the target's pg_catalog has functions that are called as these, and the source's has not; pg_catalog is searched first, so that calls without a schema, in bodies of functions and in statements of clients, find those of the system there, which may return something else: public.uuidv7(); the target's pg_catalog has functions of these names for other types, which PostgreSQL may take in their place where the arguments of a call are not exactly of these types, and the source's has none: public.date_add(date,interval) (date_add(timestamp with time zone, interval))
      fix: compare what both return; where they differ, call yours with its schema, or give it another name; or put pg_catalog last in search_path (ALTER DATABASE … SET search_path = public, pg_catalog)
    Warn source/stored-lexemes [erp] columns keep lexemes as the source made them, and the stemmers of the target make others of some words (english, german): searches with to_tsquery do not find all rows there any more: public.art (found tsvector), public.page (found tsvector)
      fix: where they are of these languages, compute the columns again on the target after the run, as the trigger or the application does (UPDATE … SET column = to_tsvector(…)); generated columns and indexes on to_tsvector(…) are right
    Warn source/subscription-disabled [erp orders] the subscription is enabled, and arrives disabled and without its tables: the target gets nothing of its publisher, whose slot "feed" goes on serving the source
      fix: where the target is to go on with it: ALTER SUBSCRIPTION … DISABLE on the source before the run; after it, ALTER SUBSCRIPTION … SET (slot_name = NONE) on both servers, and on the target DROP SUBSCRIPTION and CREATE SUBSCRIPTION … WITH (create_slot = false, slot_name = …, copy_data = false); with copy_data, all rows come a second time
    Warn source/system-object [erp language sql] its privileges are not those of the target, and pg_dump does not bring them along: beside its owner, on the source no role may use it
      fix: GRANT and REVOKE USAGE ON LANGUAGE … on the target after the run
    Warn source/system-object [erp operator family pg_catalog.integer_ops USING btree] it is a part of the system, and pg_dump leaves out what users added to it: on the target, indexes of this family do not serve these operators
      fix: on the target after the run: ALTER OPERATOR FAMILY pg_catalog.integer_ops USING btree ADD OPERATOR 1 public.<#(integer,text)
    Warn source/system-owner [erp now()] it is a part of the system and belongs to role app; on the target it belongs to the role that ran initdb
      fix: ALTER … OWNER TO on the target after the run
    Warn source/system-schema [erp pg_catalog.days] it is in a schema of the system, which pg_dump leaves out: it is not brought along
      fix: create it in a schema of your own before the run, or on the target by hand
    Warn source/unlogged-on-standby [erp public.tickets] the sequence is unlogged and the source is a standby, which cannot read it: on the target it begins again, before the values that are in the tables
      fix: use the primary as the source, or setval on the target after the run
    Warn source/unreadable-definition [erp subscription orders] only a superuser may read all of subscription orders; pg_dump leaves it, or its options, out
      fix: use a superuser for [source], or create it on the target by hand
    Info source/views-computed [erp] materialized views have no rows in a dump; the restore computes them, from the rows of the dump, by the settings of the target and of its migrating role: public.totals, public.months
      fix: where one keeps an older state, or was refreshed by a role with settings of its own (ALTER ROLE … SET), compare it after the run; keep what must not change in a table
    "#);
}

#[test]
fn what_the_server_loses_is_told() {
    let mut postgres = database("postgres", 1, 0);
    postgres.settings = vec![Setting {
        role: None,
        name: "work_mem".into(),
        value: "7MB".into(),
    }];
    postgres.privileges = Some(vec![Privilege {
        grantor: "postgres".into(),
        grantee: None,
        privilege: "TEMPORARY".into(),
        grantable: false,
    }]);
    contents(&mut postgres).not_moved = vec![not_moved(
        NotMovedKind::SystemPrivilege,
        "pg_switch_wal()",
        "",
    )];
    let mut case = Case::new("", vec![postgres, database("erp", 1, 1)]);
    case.inspection.source.not_moved = vec![
        not_moved(NotMovedKind::SettingOfAllRoles, "log_statement", "ddl"),
        not_moved(NotMovedKind::MembershipWithoutRole, "team", "lead"),
        not_moved(
            NotMovedKind::MigratingRole,
            "postgres",
            "setting work_mem=7MB",
        ),
        not_moved(NotMovedKind::SecurityLabel, "erp", "selinux"),
        not_moved(
            NotMovedKind::ReplicationSlot,
            "cdc",
            "logical in database erp",
        ),
        not_moved(NotMovedKind::ReplicationSlot, "standby1", "physical"),
        not_moved(
            NotMovedKind::SystemTablespace,
            "pg_default",
            "ALTER TABLESPACE pg_default SET (random_page_cost = 1.1)",
        ),
        not_moved(
            NotMovedKind::SystemTablespace,
            "pg_default",
            "GRANT CREATE ON TABLESPACE pg_default TO app",
        ),
    ];
    assert_snapshot!(lines(&case.compile()), @r#"
    Warn source/membership-without-role [ROLE team] the membership of lead in team refers to a role that is gone, as member, group or grantor: pg_dumpall leaves it out or gives it another grantor
      fix: REVOKE it and GRANT it again on the source, or on the target after the run
    Warn source/migrating-role [ROLE postgres] the source's setting work_mem=7MB of this role is not brought along: the role runs the migration on the target, and stays there as it is
      fix: set it on the target after the run, or use another role for [target]
    Warn source/replication-slots [] replication slots are not brought along, and what reads from them (standbys, subscribers, change data capture) goes on reading from the source: "cdc" (logical in database erp), "standby1" (physical)
      fix: see who reads from them; for the target, standbys are made again, and slots of subscribers are made before clients write there
    Warn source/setting-of-all-roles [log_statement] ALTER ROLE ALL SET log_statement = "ddl" is not brought along: it would hold in the whole target
      fix: run it on the target when everything has arrived, if it shall hold there
    Warn source/system-tablespace [TABLESPACE pg_default] each server has its own tablespace of this name, and pg_dumpall leaves it out: what was set for the source's (costs that decide about plans, privileges, owner, comment) does not hold on the target
      fix: on the target after the run, what shall hold there as well: ALTER TABLESPACE pg_default SET (random_page_cost = 1.1); GRANT CREATE ON TABLESPACE pg_default TO app
    Warn source/security-label [erp] its security label of provider selinux is not brought along
      fix: SECURITY LABEL … ON DATABASE … on the target after the run
    Warn source/installation-database [postgres] each server has its own database of this name, so these of the source are not brought along: setting work_mem, CONNECT taken from PUBLIC, privileges on pg_switch_wal()
      fix: set them on the target by hand, where they matter
    "#);

    // Without roles, nothing of them is expected.
    case.plan.globals = false;
    assert_eq!(
        codes(&case.compile()),
        [
            (Severity::Block, Code::TargetOwnerMissing),
            (Severity::Warn, Code::SourceReplicationSlots),
            (Severity::Warn, Code::SourceSettingOfAllRoles),
            (Severity::Warn, Code::SourceSecurityLabel),
            (Severity::Warn, Code::SourceInstallationDatabase),
        ]
    );
}

/// An empty database of the target is used as it is.
#[test]
fn how_an_empty_database_of_the_target_differs_is_told() {
    let mut case = Case::new("", vec![database("crm", 1, 1)]);
    let mut empty = database("crm", 1, 0);
    empty.owner = "other".into();
    empty.collate = "C".into();
    empty.comment = Some("of the target".into());
    empty.connection_limit = 5;
    empty.settings = vec![Setting {
        role: Some("app".into()),
        name: "work_mem".into(),
        value: "7MB".into(),
    }];
    let granted = |grantee: &str, privilege: &str| Privilege {
        grantor: "other".into(),
        grantee: Some(grantee.into()),
        privilege: privilege.into(),
        grantable: false,
    };
    empty.privileges = Some(vec![
        granted("other", "CREATE"),
        granted("monitor", "CONNECT"),
        granted("app", "TEMPORARY"),
    ]);
    case.inspection.target.databases = vec![empty];
    assert_snapshot!(lines(&case.compile()), @r#"
    Warn target/database-exists [crm] the target has an empty database of this name, which will be used as it is, with locale (LC_COLLATE) C instead of en_US.UTF-8, its own setting work_mem of role app, its own comment, its own CONNECTION LIMIT 5; replaced by what the source has: its owner, the role "other", the privilege CONNECT for role "monitor", the privilege TEMPORARY for role "app" (ALTER DATABASE … OWNER TO and GRANT after the run, where they are wanted); if the restore is interrupted, the next run drops it and creates it again as it was found, or says what it would lose
      fix: drop it on the target, and the run creates it as it is on the source
    "#);
}

#[test]
fn libraries_that_the_target_lacks_are_told_with_whom_they_keep_out() {
    let lacked = |database: Option<&str>, role: Option<&str>, is_certain| LackedLibrary {
        database: database.map(str::to_owned),
        role: role.map(str::to_owned),
        setting: "session_preload_libraries".into(),
        library: "safeupdate".into(),
        is_certain,
    };
    let mut case = Case::new("", vec![database("crm", 1, 1)]);
    case.inspection.target.lacked_libraries = vec![
        lacked(None, Some("app"), true),
        lacked(None, Some("guest"), false),
        lacked(Some("crm"), None, true),
        lacked(Some("crm"), Some("app"), true),
        lacked(Some("crm"), Some("guest"), false),
        lacked(Some("another"), None, true),
    ];
    assert_snapshot!(lines(&case.compile()), @r#"
    Block target/library-of-database [crm] session_preload_libraries names safeupdate, which the target does not have, so no client can connect to it
      fix: install the library on the target, or ALTER … RESET the setting on the source before the run
    Fix target/library-of-role [ROLE app] session_preload_libraries names safeupdate, which the target does not have, so the role cannot connect to it
      fix: install the library on the target, or ALTER … RESET the setting on the source before the run
    Fix target/library-of-database [crm] session_preload_libraries names safeupdate, which the target does not have, so role app cannot connect to it
      fix: install the library on the target, or ALTER … RESET the setting on the source before the run
    Warn target/library-of-role [ROLE guest] session_preload_libraries names safeupdate; our role may not see whether the target has it, and without it the role cannot connect
      fix: look for the library on the target
    Warn target/library-of-database [crm] session_preload_libraries names safeupdate; our role may not see whether the target has it, and without it role guest cannot connect
      fix: look for the library on the target
    "#);
}

#[test]
fn an_extension_that_is_older_on_the_target_blocks() {
    let of = |here: &str, there: &str| {
        let mut erp = database("erp", 1 << 20, 1);
        let version = ("hstore".to_owned(), here.to_owned());
        contents(&mut erp).extension_versions.extend([version]);
        let mut case = Case::new("", vec![erp]);
        let versions = &mut case.inspection.target.extension_versions;
        versions.insert("hstore".to_owned(), there.to_owned());
        codes(&case.compile())
    };
    let code = Code::TargetExtensionOlder;
    for (here, there) in [
        ("1.1", "1.0"),
        ("1.10", "1.9"),
        ("3.4.1", "3.4"),
        ("2", "1.9"),
    ] {
        assert_eq!(of(here, there), [(Severity::Block, code)], "{here} {there}");
    }
    for (here, there) in [
        ("1.0", "1.1"),
        ("1.9", "1.10"),
        ("1.1", "1.1"),
        ("1.0", "1"),
        ("1.5dev", "1.5dev"),
    ] {
        assert_eq!(of(here, there), [], "{here} {there}");
    }
    assert_eq!(of("1.5dev", "1.4"), [(Severity::Warn, code)]);
}

#[test]
fn an_extension_that_the_target_lacks_is_told_and_blocks_where_columns_need_it() {
    let mut erp = database("erp", 1 << 20, 1);
    let version = ("hstore".to_owned(), "1.8".to_owned());
    contents(&mut erp).extension_versions.extend([version]);
    let mut case = Case::new("", vec![erp.clone()]);
    // It does not tell.
    assert_eq!(codes(&case.compile()), []);
    let versions = &mut case.inspection.target.extension_versions;
    versions.insert("plpgsql".to_owned(), "1.0".to_owned());
    let code = Code::TargetExtensionMissing;
    assert_eq!(codes(&case.compile()), [(Severity::Fix, code)]);
    let in_columns = &mut contents(&mut erp).extensions_in_columns;
    in_columns.insert("hstore".to_owned());
    let mut case = Case::new("", vec![erp]);
    let versions = &mut case.inspection.target.extension_versions;
    versions.insert("plpgsql".to_owned(), "1.0".to_owned());
    assert_eq!(codes(&case.compile()), [(Severity::Block, code)]);
}

#[test]
fn an_extension_whose_configuration_meets_another_version_is_told() {
    let mut erp = database("erp", 1 << 20, 1);
    let version = ("postgis".to_owned(), "2.5".to_owned());
    contents(&mut erp).configured_extensions.extend([version]);
    let mut case = Case::new("", vec![erp]);
    let told = |case: &Case| {
        codes(&case.compile()).contains(&(Severity::Warn, Code::TargetExtensionConfiguration))
    };
    assert!(!told(&case));
    let versions = &mut case.inspection.target.extension_versions;
    versions.insert("postgis".to_owned(), "2.5".to_owned());
    assert!(!told(&case));
    let versions = &mut case.inspection.target.extension_versions;
    versions.insert("postgis".to_owned(), "3.4".to_owned());
    assert!(told(&case));
}
