//! What a plan asks for and does not get.

use insta::assert_snapshot;

use super::{codes, lines};
use crate::catalog::{LocaleProvider, Version};
use crate::finding::{Code, Severity};
use crate::graph::tests::synthetic::{Case, contents, database, table};
use crate::names::RelationKind;

#[test]
fn what_this_version_cannot_do_blocks_the_run() {
    let rest =
        "[verify]\nmode = \"checksum\"\n[[override]]\ndatabases = [\"crm\"]\ntransfer = \"stream\"";
    let graph = Case::new(rest, vec![database("crm", 1, 1)]).compile();
    assert_snapshot!(lines(&graph), @r#"
    Block plan/not-available [] transfer = "stream" is not available in this version
      fix: remove it: archives are the default
    Block plan/not-available [] verify.mode = "checksum" is not available in this version
      fix: set verify.mode = "exact"
    "#);
}

#[test]
fn patterns_that_delay_nothing_say_so() {
    let mut crm = database("crm", 1 << 20, 0);
    let mut view = table(1, "fact_view");
    view.kind = RelationKind::MaterializedView;
    let mut elsewhere = table(2, "fact_far");
    elsewhere.kind = RelationKind::ForeignTable;
    let mut of_extension = table(3, "fact_ext");
    of_extension.extension = Some("postgis".into());
    contents(&mut crm).relations = vec![view, elsewhere, of_extension];
    let rest = "[delay]\ntable_data = [\"crm.fact_*\", \"crm.evnets\"]";
    let graph = Case::new(rest, vec![crm]).compile();
    assert_snapshot!(lines(&graph), @r#"
    Warn plan/delay-matches-nothing [] delay.table_data has "crm.evnets", which no table of a database that migrates matches
      fix: correct the pattern, or remove it
    Warn plan/delay-refused [crm public.fact_ext] it matches delay.table_data but is not delayed, because it is a table of an extension: its data comes with the extension
      fix: make the pattern narrower
    Warn plan/delay-refused [crm public.fact_far] it matches delay.table_data but is not delayed, because it is a foreign table: its rows are on another server and do not migrate
      fix: make the pattern narrower
    Warn plan/delay-refused [crm public.fact_view] it matches delay.table_data but is not delayed, because it is a materialized view: it has no data of its own, the restore refreshes it
      fix: make the pattern narrower
    "#);
}

#[test]
fn a_later_snapshot_is_told_and_more_so_where_a_table_is_split() {
    let mut crm = database("crm", 1 << 20, 1);
    let mut root = table(10, "p");
    root.kind = RelationKind::PartitionedTable;
    let part = |oid, name| {
        let mut part = table(oid, name);
        part.parents = vec![10];
        part
    };
    contents(&mut crm)
        .relations
        .extend([root, part(11, "p23"), part(12, "p24")]);
    let told = |delay: &str, source: &str| {
        let rest = format!("[delay]\ntable_data = [{delay}]\n{source}");
        let graph = Case::new(&rest, vec![crm.clone()]).compile();
        let found = graph.findings.iter();
        let mut found = found.filter(|finding| finding.code == Code::DelayLaterSnapshot);
        found
            .next()
            .map(|finding| (finding.severity, finding.message.contains("public.p")))
    };
    let later = "snapshot = \"later\"";
    assert_eq!(told("\"crm.p\"", later), Some((Severity::Warn, false)));
    assert_eq!(told("\"crm.p23\"", later), Some((Severity::Fix, true)));
    assert_eq!(told("\"crm.p23\"", ""), None);
    assert_eq!(told("\"crm.none\"", later), None);
}

#[test]
fn delayed_tables_need_a_target_of_10_and_like_a_role_that_may_act_as_a_replica() {
    let rest = "[delay]\ntable_data = [\"*.table_0000\"]";
    let databases = vec![database("crm", 1, 1), database("erp", 1, 1)];
    let mut case = Case::new(rest, databases);
    case.inspection.source.version = Version(90_624);
    case.inspection.target.version = Version(90_624);
    case.inspection.target.sets_replication_role = false;
    assert_snapshot!(lines(&case.compile()), @r#"
    Block target/too-old-for-delays [] a target of version 9.6.24 cannot tell whether an interrupted load was committed (txid_status is new in 10)
      fix: use a target of version 10 or later, or remove delay.table_data
    Warn target/triggers-by-table [crm] the role "postgres" may not set session_replication_role on the target: the loads of delayed tables disable user triggers by ALTER TABLE, which locks each table against writes until it is loaded, and foreign keys are checked row by row
      fix: GRANT SET ON PARAMETER session_replication_role TO … on the target (15 or later), or use a superuser
    Warn target/triggers-by-table [erp] the role "postgres" may not set session_replication_role on the target: the loads of delayed tables disable user triggers by ALTER TABLE, which locks each table against writes until it is loaded, and foreign keys are checked row by row
      fix: GRANT SET ON PARAMETER session_replication_role TO … on the target (15 or later), or use a superuser
    "#);
}

#[test]
fn connections_that_a_server_does_not_have_are_not_promised() {
    // Too few for one database.
    let none = "source.max_connections = 2\ntarget.max_connections = 1";
    let graph = Case::new(none, vec![database("crm", 1, 1)]).compile();
    assert_snapshot!(lines(&graph), @"
    Block source/no-connections [] the run may use 2 connections of the source and needs at least 3 (max_connections 368, reserved 3, in use 0)
      fix: raise max_connections on the server or source.max_connections in the plan
    Block target/no-connections [] the run may use 1 connection of the target and needs at least 2 (max_connections 100, reserved 3, in use 0)
      fix: raise max_connections on the server or target.max_connections in the plan
    ");

    // More than there are.
    let many = "source.max_connections = 100\ntarget.max_connections = 100";
    let mut case = Case::new(many, vec![database("crm", 1, 1)]);
    case.inspection.source.max_connections = 100;
    case.inspection.source.used_connections = 60;
    case.inspection.target.used_connections = 20;
    assert_snapshot!(lines(&case.compile()), @"
    Warn source/connections-beyond-free [] the plan allows 100 connections to the source, which has about 32 free (max_connections 100, reserved 3, in use 60)
      fix: lower source.max_connections, or raise max_connections on the server
    Warn target/connections-beyond-free [] the plan allows 100 connections to the target, which has about 72 free (max_connections 100, reserved 3, in use 20)
      fix: lower target.max_connections, or raise max_connections on the server
    ");

    // Room for fewer databases at a time.
    let few = "source.max_connections = 6\ntarget.max_connections = 3";
    let databases = (0..6)
        .map(|number| database(&format!("db{number}"), 1, 1))
        .collect();
    let graph = Case::new(few, databases).compile();
    let found = codes(&graph);
    for code in [
        Code::SourceDumpParallelLowered,
        Code::TargetRestoreParallelLowered,
    ] {
        assert!(found.contains(&(Severity::Info, code)), "{code}: {found:?}");
    }
}

#[test]
fn without_globals_owners_have_to_be_there() {
    let mut crm = database("crm", 1, 1);
    crm.owner = "sales".into();
    let mut scratch = database("scratch", 1, 1);
    scratch.owner = "nobody".into();
    let rest = "[globals]\nmigrate = false\n[databases]\nexclude = [\"scratch\"]";
    let mut case = Case::new(rest, vec![crm, database("erp", 1, 1), scratch]);
    case.inspection.target.roles = vec![crate::catalog::Role {
        name: "postgres".into(),
        is_superuser: true,
        can_login: true,
        ..crate::catalog::Role::default()
    }];
    assert_snapshot!(lines(&case.compile()), @r#"
    Block target/owner-missing [ROLE sales] the role "sales" owns a database, is not on the target, and globals.migrate is false
      fix: create the role on the target, or set globals.migrate = true
    "#);
}

#[test]
fn locales_of_other_providers_are_not_the_operating_systems() {
    let mut crm = database("crm", 1, 1);
    crm.collate = "xx_XX".into();
    crm.provider = LocaleProvider::Icu;
    assert_eq!(codes(&Case::new("", vec![crm]).compile()), []);
}
