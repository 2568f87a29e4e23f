//! What a reader should know before the run, and whether it may start.

use std::collections::BTreeSet;
use std::path::Path;

use insta::assert_snapshot;

use super::{codes, lines};
use crate::catalog::{
    AttachedIndex, EventTrigger, FunctionSetting, LoadOrderConstraint, Membership, Oversized,
    Placed, PlacedKind, Role, Setting, TableTrigger, Version,
};
use crate::finding::{Code, Finding, Severity};
use crate::graph::tests::synthetic::{Case, contents, database, table};
use crate::names::TableName;
use crate::preflight::for_dump_space;

#[test]
fn a_healthy_pair_of_servers_has_no_findings() {
    let graph = Case::new("", vec![database("crm", 1 << 20, 10)]).compile();
    assert_eq!(codes(&graph), []);
}

#[test]
fn rows_that_copy_cannot_write_are_named_with_a_way_on() {
    let mut erp = database("erp", 1 << 20, 3);
    contents(&mut erp).oversized = vec![Oversized {
        table: TableName::new("public", "documents"),
        column: "body".to_owned(),
        rows: 2,
    }];
    assert_snapshot!(lines(&Case::new("", vec![erp]).compile()), @r"
    Block source/value-too-large [erp public.documents] 2 rows are longer than the 1 GB of text that COPY can write (a bytea takes two characters a byte), most of it in the column body; the dump would fail there
      fix: the log of pg-migrate names the row; split its value over several rows; or \copy (SELECT … WHERE …) TO 'file' WITH (FORMAT binary), take the value out on the source for the migration, and load the file on the target afterwards
    ");
}

#[test]
fn limits_of_the_role_the_database_and_the_process_are_told() {
    let mut erp = database("erp", 1 << 20, 30);
    erp.connection_limit = 6;
    erp.used_connections = 1;
    let mut crm = database("crm", 1 << 20, 30);
    crm.connection_limit = 2;
    let mut case = Case::new("", vec![erp, crm]);
    case.inspection.source.is_superuser = false;
    case.inspection.source.left_to_role = Some(9);
    case.inspection.open_files = Some(80);
    let graph = case.compile();
    assert_eq!(graph.source.budget, 8);
    assert_eq!(graph.target.budget, 8);
    let found = lines(&graph);
    for words in [
        "Block source/database-limit [crm] its CONNECTION LIMIT 2 leaves 2 connections to the run (0 other sessions at the moment), and a \
         dump needs 3 at least",
        "raise the limit of open files of this process (ulimit -n)",
    ] {
        assert!(found.contains(words), "{words}: {found}");
    }
    case.inspection.open_files = None;
    let found = lines(&case.compile());
    let words = "raise the role's limit (ALTER ROLE … CONNECTION LIMIT on the source)";
    assert!(found.contains(words), "{found}");
    case.inspection.source.left_to_role = None;
    let found = lines(&case.compile());
    let words = "Warn source/database-limit [erp] its CONNECTION LIMIT 6 leaves 5 connections to the run (1 other session at the \
                 moment), so that it is dumped and counted with these";
    assert!(found.contains(words), "{found}");
}

#[test]
fn archives_that_may_not_fit_are_told_with_both_sizes() {
    let root = Path::new("/srv/dumps");
    let of = |free, bytes| for_dump_space(root, Path::new("/srv"), free, bytes);
    assert_eq!(of(1 << 30, 1 << 30), None);
    let finding = of((1 << 30) - 1, 1 << 30).unwrap();
    assert_eq!(finding.code, Code::ClientDumpSpace);
    assert_snapshot!(finding.message, @"the databases that are to be dumped take up to 1.0 GB, indexes included and before compression, and where archives go (dump.root, /srv/dumps) about 1020 MB are free in /srv");
}

#[test]
fn databases_that_cannot_migrate_are_named_with_the_reason() {
    let mut closed = database("closed", 1, 1);
    closed.allows_connections = false;
    closed.contents = None;
    let mut invalid = database("half dropped", 1, 1);
    invalid.connection_limit = -2;
    let mut template = database("mould", 1, 1);
    template.is_template = true;
    let mut postgres = database("postgres", 1, 1);
    contents(&mut postgres).user_objects = 1;
    let case = Case::new(
        "[databases]\ninclude = [\"*\", \"crn\"]",
        vec![closed, invalid, template, postgres],
    );
    let graph = case.compile();
    assert_eq!(graph.databases, []);
    assert_eq!(graph.blockers().count(), 2);
    assert_snapshot!(lines(&graph), @r#"
    Block plan/include-matches-nothing [] databases.include has "crn", which no database of the source matches
      fix: correct the pattern, or remove it
    Block source/postgres-database [postgres] the database "postgres" holds user objects, and there is no other database; it does not migrate, because each server has its own
      fix: move them to another database, or migrate them by hand
    Warn source/no-databases [] no database of the source migrates
      fix: look at databases.include and databases.exclude
    Warn source/database-closed [closed] it allows no connections (ALLOW_CONNECTIONS is false), so it cannot be read; it does not migrate
      fix: ALTER DATABASE … ALLOW_CONNECTIONS true on the source, or exclude it
    Warn source/database-invalid [half dropped] DROP DATABASE was interrupted (datconnlimit is -2), so it cannot be connected to; it does not migrate
      fix: DROP DATABASE on the source, or exclude it
    Warn source/database-template [mould] it is a template (IS_TEMPLATE is true); it does not migrate
      fix: ALTER DATABASE … IS_TEMPLATE false on the source, or exclude it
    "#);
}

#[test]
fn settings_for_clients_that_differ_are_told_with_the_statements() {
    let mut case = Case::new("", vec![database("crm", 1 << 20, 10)]);
    let settings = |of: [&str; 5]| {
        let names = [
            "datestyle",
            "lc_time",
            "search_path",
            "timezone",
            "xmloption",
        ];
        let pairs = names.into_iter().zip(of);
        let pairs = pairs.filter(|(_, value)| *value != "absent");
        pairs
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect()
    };
    let source = &mut case.inspection.source.configuration.of_clients;
    *source = settings([
        "ISO, DMY",
        "en_US.utf8",
        "app, \"$user\"",
        "Etc/UTC",
        "content",
    ]);
    let target = &mut case.inspection.target.configuration.of_clients;
    *target = settings([
        "ISO, MDY",
        "en_US.UTF-8",
        "\"$user\", public",
        "GMT",
        "absent",
    ]);
    assert_snapshot!(lines(&case.compile()), @r#"
    Warn target/other-settings [] these settings of the source are not as on the target, and are not brought along: datestyle = ISO, DMY (target: ISO, MDY), search_path = app, "$user" (target: "$user", public); materialized views that are refreshed there, policies, functions and clients compute and show by the target's
      fix: where clients count on them, on the target before the run: ALTER SYSTEM SET datestyle = 'ISO, DMY'; ALTER SYSTEM SET search_path = app, "$user"; SELECT pg_reload_conf()
    "#);
    let target = &mut case.inspection.target.configuration.of_clients;
    *target = settings([
        "ISO, DMY",
        "en_US.UTF-8",
        "app, \"$user\"",
        "Europe/London",
        "content",
    ]);
    let found = lines(&case.compile());
    assert!(
        found.contains("timezone = Etc/UTC (target: Europe/London)"),
        "{found}"
    );
    assert!(!found.contains("datestyle"), "{found}");
}

#[test]
fn a_database_that_is_expected_and_cannot_migrate_blocks() {
    let closed = |name: &str| {
        let mut database = database(name, 1, 1);
        database.allows_connections = false;
        database.contents = None;
        database
    };
    let databases = ["a*b", "begun", "crm", "erp", "given up", "leftover"].map(closed);
    let include = r#"["*", "erp", 'a\*b', "cr?", "given up", "moved", "gone", "no*", "leftover"]"#;
    let mut case = Case::new(
        &format!("[databases]\ninclude = {include}\nexclude = [\"left*\"]"),
        databases.to_vec(),
    );
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    case.created = names(&["begun", "given up", "moved"]);
    case.in_use = names(&["given up", "moved"]);
    let graph = case.compile();
    let found = graph.findings.iter();
    let found: Vec<String> = found
        .filter(|finding| finding.code != Code::SourceNoDatabases)
        .map(|finding| format!("{:?} {finding}", finding.severity))
        .collect();
    assert_snapshot!(found.join("\n"), @r#"
    Block plan/include-matches-nothing: databases.include has "gone", which no database of the source matches
    Block source/database-closed: database "a*b": it allows no connections (ALLOW_CONNECTIONS is false), so it cannot be read; it does not migrate, and databases.include names it
    Block source/database-closed: database "begun": it allows no connections (ALLOW_CONNECTIONS is false), so it cannot be read; it does not migrate, and an earlier run of this plan began it and did not verify it
    Block source/database-closed: database "erp": it allows no connections (ALLOW_CONNECTIONS is false), so it cannot be read; it does not migrate, and databases.include names it
    Warn plan/include-matches-nothing: databases.include has "moved", which no database of the source matches
    Warn plan/include-matches-nothing: databases.include has "no*", which no database of the source matches
    Warn source/database-closed: database "crm": it allows no connections (ALLOW_CONNECTIONS is false), so it cannot be read; it does not migrate
    Warn source/database-closed: database "given up": it allows no connections (ALLOW_CONNECTIONS is false), so it cannot be read; it does not migrate
    Info target/tuning-clients: clients may use databases that this plan has verified (given up, moved): fsync and full_page_writes stay as they are
    "#);
}

#[test]
fn a_database_of_the_installation_that_is_included_by_name_is_refused() {
    let mut postgres = database("postgres", 1, 1);
    contents(&mut postgres).user_objects = 1;
    let case = Case::new(
        "[databases]\ninclude = [\"erp\", \"post*\"]",
        vec![database("erp", 1 << 20, 3), postgres],
    );
    assert_snapshot!(lines(&case.compile()), @r#"
    Block source/postgres-database [postgres] databases.include names "postgres", which does not migrate: each server has its own
      fix: remove it from databases.include; what is in it has to be moved to another database before the run, or migrated by hand
    "#);
}

#[test]
fn settings_that_the_target_refuses_are_told_where_they_are_made() {
    let setting = |role: Option<&str>, name: &str| Setting {
        role: role.map(str::to_owned),
        name: name.to_owned(),
        value: "on".to_owned(),
    };
    let mut erp = database("erp", 1 << 20, 3);
    erp.settings = vec![
        setting(None, "sql_inheritance"),
        setting(None, "work_mem"),
        setting(Some("app"), "app-x.mode"),
        setting(Some("absent"), "work_mem"),
    ];
    contents(&mut erp).function_settings = vec![FunctionSetting {
        function: "public.legacy()".to_owned(),
        name: "operator_precedence_warning".to_owned(),
        value: "off".to_owned(),
    }];
    let mut case = Case::new("", vec![erp.clone()]);
    case.inspection.source.roles = ["app", "absent"].map(role).into();
    case.inspection.source.role_settings = vec![setting(Some("app"), "default_with_oids")];
    assert_snapshot!(lines(&case.compile()), @r#"
    Fix source/function-setting [erp public.legacy()] the function sets operator_precedence_warning, and cannot be restored: PostgreSQL 14 and later have no parameter operator_precedence_warning
      fix: ALTER FUNCTION … RESET on the source, or drop the function there
    Warn target/role-setting-refused [ROLE app] the setting default_with_oids of the role "app" is left out on the target: PostgreSQL 12 and later have no parameter default_with_oids
      fix: ALTER ROLE … RESET on the source where nobody needs it, or make it on the target after the run
    Warn target/setting-refused [erp app-x.mode] the setting for the role "app" is left out on the target: from PostgreSQL 14 on app-x.mode is not a valid name of a parameter
      fix: ALTER ROLE … IN DATABASE … RESET on the source where nobody needs it, or make it on the target after the run
    Warn target/setting-refused [erp sql_inheritance] the setting is left out on the target: PostgreSQL 10 and later have no parameter sql_inheritance
      fix: ALTER DATABASE … RESET on the source where nobody needs it, or make it on the target after the run
    "#);
    let mut case = Case::new("[globals]\nmigrate = false", vec![erp]);
    case.inspection.target.roles = ["app", "postgres"].map(role).into();
    let graph = case.compile();
    assert!(codes(&graph).contains(&(Severity::Warn, Code::TargetRoleMissing)));
    assert!(!lines(&graph).contains("default_with_oids"));
}

fn role(name: &str) -> Role {
    Role {
        name: name.to_owned(),
        is_superuser: false,
        can_login: true,
        ..Role::default()
    }
}

/// Where a role cannot be granted, because it would be a member of its own, or need not be, it is left out.
#[test]
fn what_createrole_means_less_from_16_on_is_told_with_what_to_grant() {
    let in_group = |name: &str, group: &str, admin: bool| {
        let mut role = role(name);
        let membership = Membership {
            admin,
            ..Membership::default()
        };
        role.member_of.insert(group.to_owned(), membership);
        role
    };
    let mut admin = in_group("admin", "reader", true);
    admin.attributes.insert("CREATEROLE", true);
    let mut case = Case::new("", vec![database("erp", 1, 1)]);
    case.inspection.source.roles.extend([
        admin,
        role("App"),
        role("reader"),
        in_group("deputy", "admin", false),
        in_group("member", "deputy", false),
    ]);
    let told = |case: &Case| {
        let found = case.compile().findings.into_iter();
        let mut found = found.filter(|finding| finding.code == Code::SourceCreaterole);
        found.next().and_then(|finding| finding.fix)
    };
    assert_snapshot!(told(&case).unwrap(), @r#"on the target after the run, for the roles that it is to manage: GRANT "App" TO "admin" WITH ADMIN OPTION, INHERIT FALSE, SET FALSE"#);
    case.inspection
        .target
        .roles
        .push(in_group("admin", "App", true));
    assert_eq!(told(&case), None);
    case.inspection.target.roles.pop();
    case.inspection.source.version = Version(160_000);
    assert_eq!(told(&case), None);
}

#[test]
fn what_the_role_may_not_read_blocks_the_run_in_one_line() {
    let mut erp = database("erp", 1 << 20, 3);
    let name = |number: u32| TableName::new("public", format!("table_{number:04}"));
    contents(&mut erp).unreadable = (0..120).map(name).collect();
    contents(&mut erp).unreadable_large_objects = 2;
    assert_snapshot!(lines(&Case::new("", vec![erp]).compile()), @r#"
    Block source/unreadable [erp] the role "postgres" may not read 120 tables or sequences (public.table_0000, public.table_0001, public.table_0002, public.table_0003, public.table_0004 and 115 more) and 2 large objects
      fix: GRANT USAGE on the schemas and SELECT on what is named to the role; for large objects, their owners' roles; or use a superuser for [source]
    "#);
}

#[test]
fn an_attached_index_of_a_delayed_partition_is_kept_and_said() {
    let mut erp = database("erp", 1 << 20, 3);
    let attached = |table: &str| AttachedIndex {
        table: TableName::new("public", table),
        name: format!("{table}_at_idx"),
        parent: TableName::new("public", "parts_at"),
    };
    contents(&mut erp).attached_indexes = vec![attached("table_0000"), attached("table_0002")];
    let plain = Case::new("", vec![erp.clone()]).compile();
    assert_eq!(codes(&plain), []);
    let rest = "[delay]\ntable_data = [\"erp.table_0002\"]";
    assert_snapshot!(lines(&Case::new(rest, vec![erp]).compile()), @"
    Info delay/index-kept [erp public.table_0002_at_idx] it stays while public.table_0002 is loaded, which makes the load slower: it is attached to the partitioned index public.parts_at, and can only be dropped together with that one and the indexes of all partitions, delayed or not
      fix: none
    ");
}

#[test]
fn delayed_tables_that_refer_to_each_other_need_a_role_that_loads_as_a_replica() {
    let mut erp = database("erp", 1 << 20, 4);
    let refers = |child: &str, parent: &str| LoadOrderConstraint {
        table: TableName::new("public", parent),
        constraint: "k".into(),
        referring: Some(TableName::new("public", child)),
        is_not_null: false,
    };
    contents(&mut erp).load_order_constraints = vec![
        refers("table_0000", "table_0001"),
        refers("table_0001", "table_0002"),
        refers("table_0002", "table_0001"),
        refers("table_0003", "table_0000"),
    ];
    let rest = "[delay]\ntable_data = [\"erp.table_*\"]\n";
    let mut case = Case::new(rest, vec![erp]);
    assert_eq!(codes(&case.compile()), []);
    case.inspection.target.sets_replication_role = false;
    case.inspection.target.user = "mover".into();
    let found: Vec<String> = lines(&case.compile())
        .lines()
        .filter(|line| line.contains("delay/"))
        .map(str::to_owned)
        .collect();
    assert_snapshot!(found.join("\n"), @r#"
    Block delay/foreign-key-cycle [erp public.table_0001] its foreign keys lead back to it by way of other delayed tables, and the role "mover" may not set session_replication_role on the target: none of them can be loaded before the others
    Block delay/foreign-key-cycle [erp public.table_0002] its foreign keys lead back to it by way of other delayed tables, and the role "mover" may not set session_replication_role on the target: none of them can be loaded before the others
    "#);
}

#[test]
fn a_table_that_came_after_the_dump_is_not_delayed() {
    let rest = "[delay]\ntable_data = [\"erp.table_*\"]\n";
    let mut case = Case::new(rest, vec![database("erp", 1 << 20, 2)]);
    let delayed = |case: &Case| case.compile().databases[0].delayed.len();
    assert_eq!(delayed(&case), 2);
    let then = BTreeSet::from([TableName::new("public", "table_0001")]);
    let dumped = crate::graph::DumpedTables {
        tables: then,
        ..Default::default()
    };
    case.dumped.insert("erp".into(), dumped);
    assert_eq!(delayed(&case), 1);
    assert_snapshot!(lines(&case.compile()), @"
    Warn delay/too-new [erp public.table_0000] it matches delay.table_data and was created after the database had been dumped: the target has no such table, and its rows do not migrate
      fix: none where it may stay behind; otherwise create it on the target and copy its rows after the run; under a later snapshot the run ends with a difference until they are there, or target/differed is waived
    ");
}

#[test]
fn what_clients_of_a_delayed_table_wait_for_is_said() {
    let mut erp = database("erp", 1 << 20, 3);
    let name = |table: &str| TableName::new("public", table);
    contents(&mut erp).indexed_tables = vec![name("table_0000"), name("table_0002")];
    contents(&mut erp).always_triggers = vec![TableTrigger {
        table: name("table_0002"),
        name: "audit".into(),
    }];
    assert_eq!(codes(&Case::new("", vec![erp.clone()]).compile()), []);
    let rest = "[delay]\ntable_data = [\"erp.table_0002\"]\n";
    assert_snapshot!(lines(&Case::new(rest, vec![erp.clone()]).compile()), @"
    Warn delay/index-builds [erp public.table_0002] clients cannot write to it while each of its secondary indexes is built again after the load: CREATE INDEX locks the table against writes for as long as the build takes
      fix: delay.concurrently = true (CREATE INDEX CONCURRENTLY), which lets clients write and takes longer
    Warn delay/triggers-lock [erp public.table_0002] clients cannot write to it while it is loaded: its trigger audit is enabled always or for replicas, and is switched off for the load by ALTER TABLE, whose lock lasts until the load ends
      fix: ALTER TABLE … ENABLE TRIGGER … on the source before the run, and as it was on the target after it
    ");
    let rest = format!("{rest}concurrently = true");
    assert_eq!(
        codes(&Case::new(&rest, vec![erp]).compile()),
        [(Severity::Warn, Code::DelayTriggersLock)]
    );
}

#[test]
fn constraints_that_a_delayed_table_cannot_meet_are_said_before_the_night() {
    let mut erp = database("erp", 1 << 20, 3);
    let constraint = |constraint: &str, referring: Option<&str>| LoadOrderConstraint {
        table: TableName::new("public", "table_0000"),
        constraint: constraint.into(),
        referring: referring.map(|table| TableName::new("public", table)),
        is_not_null: constraint == "given",
    };
    contents(&mut erp).load_order_constraints = vec![
        constraint("fkey_1", Some("table_0001")),
        constraint("fkey_2", Some("table_0002")),
        constraint("given", None),
        constraint("positive", None),
    ];
    assert_eq!(codes(&Case::new("", vec![erp.clone()]).compile()), []);
    let rest = "[delay]\ntable_data = [\"erp.table_0000\", \"erp.table_0002\"]";
    assert_snapshot!(lines(&Case::new(rest, vec![erp]).compile()), @"
    Block delay/referenced [erp public.table_0000] the regular phase could not create the foreign keys that refer to it, for the rows that they refer to would not be there yet: fkey_1 of public.table_0001
      fix: delay as well: public.table_0001; or do not delay public.table_0000
    Warn delay/not-valid-check [erp public.table_0000] the NOT NULL constraint given is NOT VALID: a regular restore loads rows that violate it before it adds it, but the delayed load would fail on them
      fix: ALTER TABLE … VALIDATE CONSTRAINT on the source, or do not delay public.table_0000
    Warn delay/not-valid-check [erp public.table_0000] the check positive is NOT VALID: a regular restore loads rows that violate it before it adds it, but the delayed load would fail on them
      fix: ALTER TABLE … VALIDATE CONSTRAINT on the source, or do not delay public.table_0000
    ");
}

#[test]
fn large_objects_that_come_before_the_rows_of_delayed_tables_are_said() {
    let mut erp = database("erp", 1 << 20, 3);
    let name = |table: &str| TableName::new("public", table);
    contents(&mut erp).large_object_tables = vec![name("table_0000"), name("table_0001")];
    let delay = |table: &str| format!("[delay]\ntable_data = [\"erp.{table}\"]\n");
    // Columns of type oid are no large objects.
    assert_eq!(
        codes(&Case::new(&delay("table_0001"), vec![erp.clone()]).compile()),
        []
    );
    contents(&mut erp).large_objects = 500;
    assert_eq!(
        codes(&Case::new(&delay("table_0002"), vec![erp.clone()]).compile()),
        []
    );
    assert_snapshot!(lines(&Case::new(&delay("table_0001"), vec![erp.clone()]).compile()), @"
    Warn delay/large-objects [erp] large objects come with the regular restore, and the rows of these delayed tables, which may refer to them, come later: public.table_0001; until then vacuumlo on the target removes them as if nobody needed them
      fix: run no vacuumlo, and no job like it, on the target until the run has ended
    ");
    let later = [&delay("table_0001"), "snapshot = \"later\"\n"].concat();
    assert_snapshot!(lines(&Case::new(&later, vec![erp]).compile()), @r#"
    Warn delay/large-objects [erp] large objects come with the regular restore, and the rows of these delayed tables, which may refer to them, come later: public.table_0001; until then vacuumlo on the target removes them as if nobody needed them; those that clients make or change on the source between the two dumps (delay.snapshot = "later") do not arrive
      fix: run no vacuumlo, and no job like it, on the target until the run has ended; and let no client make or change large objects on the source between the two dumps, or delay.snapshot = "same"
    Warn delay/later-snapshot [erp] its delayed tables are dumped as they are later than the others (delay.snapshot = "later"): a row that clients move between a delayed table and another in between arrives in both or in none, and the counts match; and where clients write to both servers in between, the same numbers of sequences are given out on both
      fix: let no job move rows between them until delayed-dump is done, and let clients write to one server alone; or delay.snapshot = "same"; or source.read_only = true, where nobody writes to the source
    "#);
}

#[test]
fn a_target_that_does_not_fit_blocks_the_run() {
    let mut crm = database("crm", 1 << 20, 10);
    crm.collate = "tr_TR.UTF-8".into();
    let mut case = Case::new("", vec![crm]);
    case.inspection.target.version = Version(90_624);
    case.inspection.client.version = Version(90_624);
    case.inspection.target.in_recovery = true;
    case.inspection.target.is_superuser = false;
    case.inspection.target.can_create_database = false;
    case.inspection.target.can_create_role = false;
    assert_snapshot!(lines(&case.compile()), @r#"
    Block client/too-old [] the client programs are of version 9.6.24, older than the newest server (10.23): pg_dump refuses servers that are newer than itself
      fix: install the client programs of PostgreSQL 10 or later and put them first on PATH
    Block target/cannot-create-databases [] the role "postgres" may not create databases on the target
      fix: ALTER ROLE … CREATEDB on the target, or use another role for [target]
    Block target/older-than-source [] the target is of version 9.6.24, older than the source (10.23)
      fix: exchange [source] and [target], or use a newer target
    Block target/standby [] the target is a standby: nothing can be written to it
      fix: use its primary as the target
    Fix target/limited-role [] the role "postgres" may not create roles on the target: roles that are missing there do not migrate
      fix: use a superuser for [target], or create the roles before the run and set globals.migrate = false
    Fix target/locale-missing [crm] the target's operating system does not seem to have the locale "tr_TR.UTF-8"
      fix: install the locale on the target's host, then SELECT pg_import_system_collations('pg_catalog')
    Warn target/public-schema-owner [] before 15 the schema public belongs to the superuser who created the cluster, to whom the role "postgres" cannot give it on the target: pg_restore reports an error in each database
      fix: [[accept]] with each database, object = "*SCHEMA*public*" and a reason, or use a superuser for [target]
    "#);
}

#[test]
fn nothing_is_overwritten_that_this_plan_did_not_create() {
    let mut case = Case::new("", vec![database("crm", 1 << 20, 2)]);
    case.inspection.target.databases = vec![database("crm", 7 << 20, 1)];
    assert_eq!(
        codes(&case.compile()),
        [(Severity::Block, Code::TargetDatabaseNotEmpty)]
    );

    // What could not be looked into may hold anything.
    case.inspection.target.databases[0].contents = None;
    assert_eq!(
        codes(&case.compile()),
        [(Severity::Block, Code::TargetDatabaseNotEmpty)]
    );

    case.inspection.target.databases = vec![database("crm", 7 << 20, 0)];
    assert_eq!(
        codes(&case.compile()),
        [(Severity::Warn, Code::TargetDatabaseExists)]
    );

    case.inspection.target.databases[0].encoding = "LATIN1".into();
    assert_eq!(
        codes(&case.compile()),
        [(Severity::Block, Code::TargetDatabaseEncoding)]
    );

    case.created.insert("crm".into());
    assert_eq!(codes(&case.compile()), []);
}

#[test]
fn a_locale_is_found_however_its_code_set_is_spelled() {
    let mut crm = database("crm", 1 << 20, 2);
    let mut case = Case::new("", vec![crm.clone()]);
    assert_eq!(case.inspection.target.locales, ["en_US.utf8"]);
    assert_eq!(crm.collate, "en_US.UTF-8");
    assert_eq!(codes(&case.compile()), []);

    crm.ctype = "de_DE.UTF-8".into();
    case.inspection.source.databases = vec![crm];
    let graph = case.compile();
    assert_eq!(codes(&graph), [(Severity::Fix, Code::TargetLocaleMissing)]);
    assert!(graph.findings[0].message.contains("de_DE.UTF-8"));
}

#[test]
fn client_programs_have_to_know_both_servers_and_the_plans_wishes() {
    let rest = "source.sslmode = \"verify-full\"\nsource.sslrootcert = \"ca.pem\"\n[dump]\ncompression = \"zstd:9\"";
    let mut case = Case::new(rest, vec![database("crm", 1, 1)]);
    case.inspection.client.version = Version(170_010);
    case.inspection.client.zstd = false;
    case.inspection.client.tls = false;
    assert_snapshot!(lines(&case.compile()), @r#"
    Block client/compression [] this pg_dump (17.10) was built without zstd:9
      fix: set compression = "lz4" or "auto", or install a pg_dump that has it
    Block client/no-tls [] the plan asks for TLS to the source, but pg_dump was built without it
      fix: install client programs that were built with OpenSSL and put them first on PATH
    Block client/too-old [] the client programs are of version 17.10, older than the newest server (18.6): pg_dump refuses servers that are newer than itself
      fix: install the client programs of PostgreSQL 18 or later and put them first on PATH
    "#);
}

#[test]
fn a_source_that_hides_something_says_so() {
    let mut crm = database("crm", 1, 1);
    let mut secret = table(1, "salaries");
    secret.row_security = true;
    contents(&mut crm).relations.push(secret);
    let mut case = Case::new("", vec![crm]);
    case.inspection.source.version = Version(90_524);
    case.inspection.source.in_recovery = true;
    case.inspection.source.reads_passwords = false;
    case.inspection.source.roles = vec![Role {
        name: "pg_reader".into(),
        is_superuser: false,
        can_login: true,
        ..Role::default()
    }];
    assert_snapshot!(lines(&case.compile()), @r#"
    Block source/standby [] the source is a standby of version 9.5.24, which cannot export a snapshot
      fix: use its primary as the source
    Block source/row-security [crm public.salaries] row security applies to the source's role, so the table cannot be read in full
      fix: use a role with BYPASSRLS, or the table's owner, for [source]
    Fix source/role-name-reserved [ROLE pg_reader] the role "pg_reader" cannot be created on the target: names that start with pg_ are reserved since 9.6
      fix: ALTER ROLE … RENAME TO … on the source
    Warn source/passwords-unreadable [] the role "postgres" may not read pg_authid, so roles migrate without their passwords
      fix: use a superuser for [source], or set passwords on the target after the run
    "#);
}

#[test]
fn source_and_target_are_two_servers() {
    let mut case = Case::new("", vec![database("crm", 1, 1)]);
    case.inspection.target = case.inspection.source.clone();
    assert!(codes(&case.compile()).contains(&(Severity::Block, Code::TargetSameServer)));
}

#[test]
fn what_this_machine_lacks_is_a_finding_like_any_other() {
    let mut case = Case::new("", vec![database("crm", 1, 1)]);
    case.findings.push(Finding::new(
        Code::ClientDumpRoot,
        "archives cannot be written",
    ));
    let graph = case.compile();
    assert_eq!(codes(&graph), [(Severity::Block, Code::ClientDumpRoot)]);
    assert_eq!(graph.blockers().count(), 1);
}

#[test]
fn sessions_that_cannot_be_seen_are_a_guess() {
    let mut case = Case::new("", vec![database("crm", 1, 1)]);
    for server in [&mut case.inspection.source, &mut case.inspection.target] {
        server.sees_sessions = false;
        server.user = "mover".into();
    }
    assert_snapshot!(lines(&case.compile()), @r#"
    Warn source/sessions-hidden [] the role "mover" may not see the sessions of others on the source (pg_read_all_stats), so it is a guess how many connections are free; the run may use 46
      fix: GRANT pg_read_all_stats TO … on the source, or set source.max_connections in the plan
    Warn target/sessions-hidden [] the role "mover" may not see the sessions of others on the target (pg_read_all_stats), so it is a guess how many connections are free; the run may use 46
      fix: GRANT pg_read_all_stats TO … on the target, or set target.max_connections in the plan
    "#);
}

#[test]
fn event_triggers_that_cannot_be_switched_off_are_said() {
    let mut crm = database("crm", 1, 1);
    let trigger = |name: &str, event: &str| EventTrigger {
        name: name.into(),
        event: event.into(),
    };
    contents(&mut crm).event_triggers = vec![
        trigger("audit_login", "login"),
        trigger("log_ddl", "ddl_command_end"),
    ];
    let mut case = Case::new("", vec![crm]);
    case.inspection.source.version = Version(170_004);
    case.inspection.source.sets_event_triggers = true;
    assert_eq!(codes(&case.compile()), []);
    for server in [&mut case.inspection.source, &mut case.inspection.target] {
        server.sets_event_triggers = false;
        server.user = "mover".into();
    }
    assert_snapshot!(lines(&case.compile()), @r#"
    Warn source/login-triggers [crm] the role "mover" may not switch event triggers off on the source, so login triggers fire in each session of the run: audit_login
      fix: GRANT SET ON PARAMETER event_triggers TO … on the source, or use a superuser for [source]
    Warn target/event-triggers [crm] the role "mover" may not switch event triggers off on the target, so these fire for what the run does after they are restored (indexes, materialized views, sessions): audit_login, log_ddl
      fix: GRANT SET ON PARAMETER event_triggers TO … on the target, or use a superuser for [target]
    "#);
    case.inspection.source.version = Version(160_004);
    case.inspection.target.version = Version(160_004);
    contents(&mut case.inspection.source.databases[0])
        .event_triggers
        .remove(0);
    assert_snapshot!(lines(&case.compile()), @"
    Warn target/event-triggers [crm] before 17 event triggers cannot be switched off for a session, so these fire for what the run does after they are restored (indexes, materialized views, sessions): log_ddl
      fix: ALTER EVENT TRIGGER … DISABLE on the source before the run, and ENABLE on both servers after it
    ");
}

#[test]
fn a_standby_has_no_rows_of_unlogged_tables() {
    let mut crm = database("crm", 1, 1);
    contents(&mut crm).relations[0].unlogged = true;
    let mut case = Case::new("", vec![crm]);
    assert_eq!(codes(&case.compile()), []);
    case.inspection.source.in_recovery = true;
    assert_snapshot!(lines(&case.compile()), @"
    Warn source/standby [] the source is a standby: it cancels long queries when it has to apply changes; whether the server that it follows has all that the primary has cannot be seen from it, where that is a standby too
      fix: raise max_standby_streaming_delay on the standby, or set hot_standby_feedback = on
    Warn source/unlogged-on-standby [crm public.table_0000] the table is unlogged and the source is a standby, which has none of its rows: it arrives empty
      fix: use the primary as the source, or fill the table on the target after the run
    ");
}

#[test]
fn a_lock_table_that_is_too_small_is_said() {
    let databases = vec![database("crm", 1, 2_000), database("erp", 2, 100)];
    let mut case = Case::new("", databases);
    assert_eq!(codes(&case.compile()), []);
    case.inspection.source.lock_slots = 6_000;
    assert_snapshot!(lines(&case.compile()), @r#"
    Fix source/lock-table [] the run needs room for up to 6300 locks on tables and indexes of the source, 2 databases at a time, and the server has room for about 6000, for all sessions together (max_locks_per_transaction, for each of max_connections and max_prepared_transactions): "out of shared memory" is likely
      fix: raise max_locks_per_transaction on the source to 3 times what it is (a restart), or lower parallelism.dump_parallel
    "#);
    // One database alone has too many: nothing but the server's setting helps.
    case.inspection.source.lock_slots = 1_000;
    let fix = lines(&case.compile());
    assert!(!fix.contains("dump_parallel"), "{fix}");
}

/// Snapshot, pg_dump, its jobs and the counts each hold a table that has no index.
#[test]
fn tables_without_indexes_need_room_for_all_who_lock_them() {
    let mut crm = database("crm", 1, 2_000);
    contents(&mut crm).indexes = 0;
    let mut case = Case::new("", vec![crm]);
    case.inspection.source.lock_slots = 3_999;
    assert_eq!(
        codes(&case.compile()),
        [(Severity::Fix, Code::SourceLockTable)]
    );
    case.inspection.source.lock_slots = 4_000;
    assert_eq!(codes(&case.compile()), []);
}

#[test]
fn a_tablespace_that_the_target_lacks_is_a_choice_of_the_plan() {
    let placed = |name: &str, kind, tablespace: &str| Placed {
        name: TableName::new("public", name),
        kind,
        tablespace: tablespace.to_owned(),
    };
    let mut erp = database("erp", 1 << 20, 3);
    erp.tablespace = "slow".to_owned();
    contents(&mut erp).placed = vec![
        placed("t", PlacedKind::Table, "fast"),
        placed("i", PlacedKind::Index, "fast"),
        placed("j", PlacedKind::Index, "fast"),
        placed("v", PlacedKind::MaterializedView, "fast"),
        placed("there", PlacedKind::Table, "same"),
        placed("makeable", PlacedKind::Table, "makeable"),
        placed("usual", PlacedKind::Table, "pg_default"),
    ];
    let setting = |role: Option<&str>, name: &str, value: &str| Setting {
        role: role.map(str::to_owned),
        name: name.to_owned(),
        value: value.to_owned(),
    };
    erp.settings = vec![setting(
        Some("app"),
        "temp_tablespaces",
        "fast, \"Big One\", gone",
    )];
    let case = |plan: &str| {
        let mut case = Case::new(plan, vec![erp.clone()]);
        let of_source = ["Big One", "fast", "makeable", "same", "slow"];
        case.inspection.source.tablespaces = of_source.map(str::to_owned).to_vec();
        case.inspection.target.tablespaces = vec!["same".to_owned(), "ssd".to_owned()];
        case.inspection.target.makeable_tablespaces = vec!["makeable".to_owned()];
        case
    };
    assert_snapshot!(lines(&case("").compile()), @r#"
    Block target/tablespace-missing [TABLESPACE Big One] it is not on the target; used by temp_tablespaces of role "app" in database "erp"
      fix: say in the plan where it goes: [tablespaces] with "Big One" = "default" (the default tablespace of the database) or the name of a tablespace of the target (pg_default, same, ssd); or CREATE TABLESPACE there. The run itself only makes it where globals.migrate is true, [target] has a superuser, and the directory that it has on the source is there and empty
    Block target/tablespace-missing [TABLESPACE fast] it is not on the target; used by 1 table, 1 materialized view, 2 indexes (erp.public.t, erp.public.i, erp.public.j, …), temp_tablespaces of role "app" in database "erp"
      fix: say in the plan where it goes: [tablespaces] with fast = "default" (the default tablespace of the database) or the name of a tablespace of the target (pg_default, same, ssd); or CREATE TABLESPACE there. The run itself only makes it where globals.migrate is true, [target] has a superuser, and the directory that it has on the source is there and empty
    Block target/tablespace-missing [TABLESPACE slow] it is not on the target; used by database "erp"
      fix: say in the plan where it goes: [tablespaces] with slow = "default" (the default tablespace of the database) or the name of a tablespace of the target (pg_default, same, ssd); or CREATE TABLESPACE there. The run itself only makes it where globals.migrate is true, [target] has a superuser, and the directory that it has on the source is there and empty
    "#);
    assert_snapshot!(
        lines(&case("[tablespaces]\n\"Big One\" = \"default\"\nfast = \"ssd\"\nslow = \"pg_default\"\nsolw = \"ssd\"").compile()),
        @r"
    Warn plan/tablespace-matches-nothing [TABLESPACE solw] [tablespaces] names it, and the source has no such tablespace
      fix: correct the name, or remove it
    "
    );
    // The one that would be made is not, where the plan replaces it.
    let graph = case(
        "[tablespaces]\n\"Big One\" = \"makeable\"\nfast = \"hdd\"\nslow = \"same\"\nmakeable = \"ssd\"",
    )
    .compile();
    assert_snapshot!(lines(&graph), @r#"
    Block target/tablespace-missing [TABLESPACE Big One] the plan puts what is in it into the tablespace "makeable", which is not on the target; used by temp_tablespaces of role "app" in database "erp"
      fix: say in the plan where it goes: [tablespaces] with "Big One" = "default" (the default tablespace of the database) or the name of a tablespace of the target (pg_default, same, ssd); or CREATE TABLESPACE there. The run itself only makes it where globals.migrate is true, [target] has a superuser, and the directory that it has on the source is there and empty
    Block target/tablespace-missing [TABLESPACE fast] the plan puts what is in it into the tablespace "hdd", which is not on the target; used by 1 table, 1 materialized view, 2 indexes (erp.public.t, erp.public.i, erp.public.j, …), temp_tablespaces of role "app" in database "erp"
      fix: say in the plan where it goes: [tablespaces] with fast = "default" (the default tablespace of the database) or the name of a tablespace of the target (pg_default, same, ssd); or CREATE TABLESPACE there. The run itself only makes it where globals.migrate is true, [target] has a superuser, and the directory that it has on the source is there and empty
    "#);
}

#[test]
fn a_database_whose_names_are_not_utf8_is_not_begun() {
    let mut erp = database("erp", 1 << 20, 3);
    contents(&mut erp).names_not_utf8 = (1..=7)
        .map(|number| format!("table public.caf\\xe9{number}"))
        .collect();
    assert_snapshot!(lines(&Case::new("", vec![erp]).compile()), @r"
    Block source/name-not-utf8 [erp] these names are not UTF-8: table public.caf\xe91, table public.caf\xe92, table public.caf\xe93, table public.caf\xe94, table public.caf\xe95 and 2 more
      fix: rename them on the source, as in DO $$ BEGIN EXECUTE format('ALTER TABLE %I RENAME TO new_name', E'caf\xe9'); END $$; or exclude the database
    ");
    let mut erp = database("erp", 1 << 20, 3);
    let table = contents(&mut erp).relations[0].table_name();
    let plan = format!("[delay]\ntable_data = [\"erp.{}\"]\n", table.name);
    let parts = vec![r"column caf\xe9".to_owned()];
    contents(&mut erp).parts_not_utf8.insert(table, parts);
    let graph = Case::new(&plan, vec![erp]).compile();
    assert_snapshot!(lines(&graph), @r"
    Block delay/part-not-utf8 [erp public.table_0000] the name, definition or comment of these is not UTF-8, so it cannot be loaded later: column caf\xe9
      fix: rename them on the source, or do not delay the table
    ");
}
