//! Steps, claims, commands and budgets.

use insta::assert_snapshot;
use proptest::prelude::*;

use super::synthetic::{Case, contents, database};
use crate::finding::{Code, Severity};
use crate::graph::{Amounts, Graph, Resource, Step, StepIndex};
use crate::names::{Kind, StepId};
use crate::report::{plan_json, plan_text};

/// The step of a database.
fn step<'a>(graph: &'a Graph, database: &str, kind: Kind) -> &'a Step {
    graph
        .steps
        .iter()
        .find(|step| step.id.is_about(database) && step.id.kind == kind)
        .expect("the database has such a step")
}

fn has_argument(step: &Step, argument: &str) -> bool {
    step.command.iter().any(|other| other == argument)
}

/// The code and the text of every finding of this severity.
fn findings(graph: &Graph, severity: Severity) -> Vec<(&str, &str)> {
    graph
        .findings
        .iter()
        .filter(|finding| finding.severity == severity)
        .map(|finding| (finding.code.as_str(), finding.message.as_str()))
        .collect()
}

#[test]
fn a_small_plan_reads_like_this() {
    let mut crm = database("crm", 20 << 20, 3);
    contents(&mut crm).large_objects = 7;
    let mut case = Case::new(
        "source.max_connections = 12\ntarget.max_connections = 9",
        vec![crm, database("Weird \"Name\"", 7 << 10, 0)],
    );
    case.inspection.client.zstd = false;
    assert_snapshot!(plan_text::render(&case.compile(), 100), @r#"
    Plan erp

    source       PostgreSQL 10.23, at most 10 of this run's 12 connections at a time
    target       PostgreSQL 18.6, at most 9 of this run's 9 connections at a time
    moves        2 databases, 20.0 MB, 3 tables, in 15 steps
    findings     3 info
    fingerprint  sha256:1170a5fb21d504a5cb4bc8490355ca0ed0295a05d658f2b567216dd525069609

    info client/compression
      - this pg_dump (18.6) was built without zstd:5, the default; lz4 is used instead
        fix: set dump.compression = "lz4" to say so in the plan

    info source/dump-jobs-lowered
      - at most 2 dump jobs for each database instead of 24: with 2 databases at a time, the run may use
        12 connections of the source
        fix: raise source.max_connections in the plan, or lower parallelism.dump_jobs or
             parallelism.dump_parallel

    info target/restore-jobs-lowered
      - at most 3 restore jobs for each database instead of 12: with 2 databases at a time, the run may
        use 9 connections of the target
        fix: raise target.max_connections in the plan, or lower parallelism.restore_jobs or
             parallelism.restore_parallel

      database         size   tables  delayed
      Weird "Name"   7.0 kB        0
      crm           20.0 MB        3

    Server
      tune-target      takes 1 target.connections
      globals          after tune-target; takes 1 source.connections, 1 target.connections
        $ pg_dumpall --globals-only --encoding=UTF8 --database=postgres \
            '--dbname=host=old-db port=5432 user=postgres dbname=postgres sslmode=prefer connect_timeout=10 keepalives_idle=60 keepalives_interval=10 keepalives_count=6'

    Database Weird "Name"
      create           after tune-target, globals; takes 1 target.connections
      dump             after create; takes 1 source.connections, 1 source.databases; shares Weird
                       "Name"/snapshot (1 source.connections)
        $ pg_dump --format=directory --jobs=1 --compress=lz4 --lock-wait-timeout=10000 \
            --quote-all-identifiers --encoding=UTF8 --statistics --verbose \
            '--snapshot=<exported by the run>' '--file=/plans/pg_dumps/erp/Weird %22Name%22' \
            '--dbname=host=old-db port=5432 user=postgres dbname='\''Weird "Name"'\'' sslmode=prefer connect_timeout=10 keepalives_idle=60 keepalives_interval=10 keepalives_count=6'
      source-counts    after create; takes 1 source.connections, 1 verify.queries; shares Weird
                       "Name"/snapshot (1 source.connections)
      restore          after tune-target, create, dump, source-counts; takes 1 target.connections, 1
                       target.databases
        $ pg_restore --format=directory --jobs=1 --verbose \
            '--use-list=<pre-data, then data, then post-data>' \
            '--dbname=host=new-db port=5432 user=postgres dbname='\''Weird "Name"'\'' sslmode=prefer connect_timeout=10 keepalives_idle=60 keepalives_interval=10 keepalives_count=6' \
            '/plans/pg_dumps/erp/Weird %22Name%22'
      target-counts    after restore; takes 1 target.connections, 1 verify.queries
      verify           after source-counts, target-counts; takes 1 target.connections

    Database crm
      create           after tune-target, globals; takes 1 target.connections
      dump             after create; takes 3 source.connections, 1 source.databases; shares crm/snapshot
                       (1 source.connections)
        $ pg_dump --format=directory --jobs=2 --compress=lz4 --lock-wait-timeout=10000 \
            --quote-all-identifiers --encoding=UTF8 --statistics --verbose \
            '--snapshot=<exported by the run>' --file=/plans/pg_dumps/erp/crm \
            '--dbname=host=old-db port=5432 user=postgres dbname=crm sslmode=prefer connect_timeout=10 keepalives_idle=60 keepalives_interval=10 keepalives_count=6'
      source-counts    after create; takes 2 source.connections, 2 verify.queries; shares crm/snapshot
                       (1 source.connections)
      restore          after tune-target, create, dump, source-counts; takes 4 target.connections, 1
                       target.databases
        $ pg_restore --format=directory --jobs=3 --verbose \
            '--use-list=<pre-data, then data, then post-data>' \
            '--dbname=host=new-db port=5432 user=postgres dbname=crm sslmode=prefer connect_timeout=10 keepalives_idle=60 keepalives_interval=10 keepalives_count=6' \
            /plans/pg_dumps/erp/crm
      target-counts    after restore; takes 2 target.connections, 2 verify.queries
      verify           after source-counts, target-counts; takes 1 target.connections

    Server
      restore-settings after tune-target, globals, Weird "Name"/create, crm/create and 10 other steps;
                       runs also after failures; takes 1 target.connections
    "#);
}

#[test]
fn a_small_plan_is_this_json() {
    let case = Case::new("", vec![database("crm", 20 << 20, 3)]);
    assert_snapshot!(plan_json::render(&case.compile()), @r#"
    {
      "name": "erp",
      "fingerprint": "sha256:c5616ae49eb49968ff1c94e0b1c038af501ed341b8639092847ab5bced16ea4f",
      "servers": {
        "source": {
          "version": "10.23",
          "budget": 92
        },
        "target": {
          "version": "18.6",
          "budget": 92
        }
      },
      "databases": [
        {
          "name": "crm",
          "bytes": 20971520,
          "tables": 3,
          "delayed": []
        }
      ],
      "steps": [
        {
          "id": "tune-target",
          "kind": "tune-target",
          "database": null,
          "needs": [],
          "claims": {
            "target.connections": 1
          }
        },
        {
          "id": "globals",
          "kind": "globals",
          "database": null,
          "needs": [
            "tune-target"
          ],
          "claims": {
            "source.connections": 1,
            "target.connections": 1
          },
          "command": [
            "pg_dumpall",
            "--globals-only",
            "--encoding=UTF8",
            "--database=postgres",
            "--dbname=host=old-db port=5432 user=postgres dbname=postgres sslmode=prefer connect_timeout=10 keepalives_idle=60 keepalives_interval=10 keepalives_count=6"
          ]
        },
        {
          "id": "crm/create",
          "kind": "create",
          "database": "crm",
          "needs": [
            "tune-target",
            "globals"
          ],
          "claims": {
            "target.connections": 1
          }
        },
        {
          "id": "crm/dump",
          "kind": "dump",
          "database": "crm",
          "needs": [
            "crm/create"
          ],
          "claims": {
            "source.connections": 4,
            "source.databases": 1
          },
          "command": [
            "pg_dump",
            "--format=directory",
            "--jobs=3",
            "--compress=zstd:5",
            "--lock-wait-timeout=10000",
            "--quote-all-identifiers",
            "--encoding=UTF8",
            "--statistics",
            "--verbose",
            "--snapshot=<exported by the run>",
            "--file=/plans/pg_dumps/erp/crm",
            "--dbname=host=old-db port=5432 user=postgres dbname=crm sslmode=prefer connect_timeout=10 keepalives_idle=60 keepalives_interval=10 keepalives_count=6"
          ]
        },
        {
          "id": "crm/source-counts",
          "kind": "source-counts",
          "database": "crm",
          "needs": [
            "crm/create"
          ],
          "claims": {
            "source.connections": 3,
            "verify.queries": 3
          }
        },
        {
          "id": "crm/restore",
          "kind": "restore",
          "database": "crm",
          "needs": [
            "tune-target",
            "crm/create",
            "crm/dump",
            "crm/source-counts"
          ],
          "claims": {
            "target.connections": 10,
            "target.databases": 1
          },
          "command": [
            "pg_restore",
            "--format=directory",
            "--jobs=9",
            "--verbose",
            "--use-list=<pre-data, then data, then post-data>",
            "--dbname=host=new-db port=5432 user=postgres dbname=crm sslmode=prefer connect_timeout=10 keepalives_idle=60 keepalives_interval=10 keepalives_count=6",
            "/plans/pg_dumps/erp/crm"
          ]
        },
        {
          "id": "crm/target-counts",
          "kind": "target-counts",
          "database": "crm",
          "needs": [
            "crm/restore"
          ],
          "claims": {
            "target.connections": 3,
            "verify.queries": 3
          }
        },
        {
          "id": "crm/verify",
          "kind": "verify",
          "database": "crm",
          "needs": [
            "crm/source-counts",
            "crm/target-counts"
          ],
          "claims": {
            "target.connections": 1
          }
        },
        {
          "id": "restore-settings",
          "kind": "restore-settings",
          "database": null,
          "needs": [
            "tune-target",
            "globals",
            "crm/create",
            "crm/dump",
            "crm/source-counts",
            "crm/restore",
            "crm/target-counts",
            "crm/verify"
          ],
          "claims": {
            "target.connections": 1
          }
        }
      ],
      "peaks": {
        "source.connections": 9,
        "target.connections": 19
      },
      "findings": []
    }
    "#);
}

#[test]
fn databases_come_smallest_first_then_by_name() {
    let case = Case::new(
        "[databases]\nexclude = [\"scratch_*\"]",
        vec![
            database("large", 9 << 30, 1),
            database("b", 8 << 20, 1),
            database("scratch_1", 1, 1),
            database("a", 8 << 20, 1),
            database("postgres", 7 << 20, 0),
            database("template1", 7 << 20, 0),
        ],
    );
    let graph = case.compile();
    let names: Vec<&str> = graph
        .databases
        .iter()
        .map(|database| database.name.as_str())
        .collect();
    assert_eq!(names, ["a", "b", "large"]);
}

/// The reference tool's defaults want 6 × 25 connections of servers that have 100, a quarter of which a source gives.
#[test]
fn the_reference_tools_defaults_are_lowered_to_what_a_new_server_has() {
    let databases = (0..12)
        .map(|number| database(&format!("db{number:02}"), 1 << 30, 40))
        .collect();
    let mut case = Case::new("", databases);
    case.inspection.source.max_connections = 100;
    case.inspection.source.used_connections = 20;
    case.inspection.target.used_connections = 40;
    let graph = case.compile();
    assert_eq!((graph.source.budget, graph.target.budget), (25, 52));
    assert_snapshot!(
        findings(&graph, Severity::Info)
            .iter()
            .map(|(code, message)| format!("{code}: {message}\n"))
            .collect::<String>(),
        @"
    source/dump-jobs-lowered: at most 1 dump job for each database instead of 24: with 6 databases at a time, the run may use 25 connections of the source
    target/restore-jobs-lowered: at most 7 restore jobs for each database instead of 12: with 6 databases at a time, the run may use 52 connections of the target
    "
    );
    let dump = step(&graph, "db00", Kind::Dump);
    assert!(has_argument(dump, &format!("--jobs={}", dump.jobs)));
    let (dump_claims, snapshot) = (dump.claims, graph.snapshots.first().unwrap().claims);
    let counts = step(&graph, "db00", Kind::SourceCounts).claims;
    let of_one = dump_claims.plus(&snapshot).plus(&counts);
    let parallel = graph.budgets.get(Resource::SourceDatabases);
    assert_eq!(parallel, 6);
    assert!(parallel * of_one.get(Resource::SourceConnections) <= 72);
    assert!(graph.peaks.get(Resource::SourceConnections) <= 72);
    assert!(graph.peaks.get(Resource::TargetConnections) <= 52);
}

#[test]
fn nothing_is_lowered_where_there_is_room() {
    let mut case = Case::new("", vec![database("large", 1 << 40, 300)]);
    case.inspection.source.max_connections = 500;
    case.inspection.target.max_connections = 500;
    let graph = case.compile();
    assert_eq!(graph.findings, []);
    assert_eq!(step(&graph, "large", Kind::Dump).jobs, 24);
    assert_eq!(step(&graph, "large", Kind::Restore).jobs, 12);
    assert_eq!(step(&graph, "large", Kind::SourceCounts).jobs, 16);
}

#[test]
fn a_small_database_gets_no_more_jobs_than_it_has_work() {
    let graph = Case::new("", vec![database("empty", 0, 0), database("tiny", 1, 2)]).compile();
    let jobs = |name, kind| step(&graph, name, kind).jobs;
    assert_eq!(jobs("empty", Kind::Dump), 1);
    assert_eq!(jobs("empty", Kind::Restore), 1);
    assert_eq!(jobs("empty", Kind::SourceCounts), 1);
    assert_eq!(jobs("tiny", Kind::Dump), 2);
    // Two tables and four indexes.
    assert_eq!(jobs("tiny", Kind::Restore), 6);
    let claims = step(&graph, "empty", Kind::Dump).claims;
    assert_eq!(claims.get(Resource::SourceConnections), 1);
}

#[test]
fn overrides_hold_for_the_databases_they_name_and_the_later_one_wins() {
    let mut case = Case::new(
        "[dump]\ncompression = \"gzip:6\"\n\
         [[override]]\ndatabases = [\"analytics*\"]\ndump_jobs = 4\nrestore_jobs = 3\ncompression = \"none\"\n\
         [[override]]\ndatabases = [\"*_eu\"]\ndump_jobs = 2\n\
         [[override]]\ndatabases = [\"nobody\"]\ndump_jobs = 1\n",
        ["analytics", "analytics_eu", "crm"]
            .map(|name| database(name, 1 << 30, 30))
            .into(),
    );
    case.inspection.source.max_connections = 500;
    let graph = case.compile();
    let shape = |name| {
        let dump = step(&graph, name, Kind::Dump);
        let compression = dump
            .command
            .iter()
            .find(|argument| argument.starts_with("--compress"));
        let restore = step(&graph, name, Kind::Restore);
        (dump.jobs, restore.jobs, compression.unwrap().as_str())
    };
    assert_eq!(shape("analytics"), (4, 3, "--compress=none"));
    assert_eq!(shape("analytics_eu"), (2, 3, "--compress=none"));
    assert_eq!(shape("crm"), (24, 12, "--compress=gzip:6"));
    let codes: Vec<Code> = graph.findings.iter().map(|finding| finding.code).collect();
    assert_eq!(codes, [Code::PlanOverrideMatchesNothing]);
}

#[test]
fn index_builds_keep_to_the_jobs_and_to_the_memory() {
    let builds = |memory: &str| {
        let rest = format!(
            "[parallelism]\nrestore_jobs = 5\n[delay]\ntable_data = [\"erp.table_*\"]\nindex_memory = \"{memory}\""
        );
        let graph = Case::new(&rest, vec![database("erp", 1 << 30, 9)]).compile();
        let recreate = graph
            .find(&"erp/recreate-indexes".parse().unwrap())
            .unwrap();
        let step = &graph.steps[recreate];
        let claimed = step.claims.get(Resource::IndexMemory);
        assert!(claimed <= graph.budgets.get(Resource::IndexMemory));
        assert_eq!(step.claims.get(Resource::TargetConnections), step.jobs);
        step.jobs
    };
    // 64MB a build.
    assert_eq!(builds("200MB"), 3);
    assert_eq!(builds("10GB"), 5);
    // One is built in any case.
    assert_eq!(builds("1MB"), 1);
}

#[test]
fn estimates_are_one_query_a_side_and_delayed_tables_are_counted() {
    let jobs = |rest: &str, kind: &str| {
        let graph = Case::new(rest, vec![database("erp", 1 << 30, 9)]).compile();
        let step = graph.find(&format!("erp/{kind}").parse().unwrap()).unwrap();
        graph.steps[step].jobs
    };
    let fast = "[verify]\nmode = \"fast\"\n";
    assert_eq!(jobs("", "source-counts"), 9);
    assert_eq!(jobs(fast, "source-counts"), 1);
    assert_eq!(jobs(fast, "target-counts"), 1);
    let delayed = format!("{fast}[delay]\ntable_data = [\"erp.table_0002\", \"erp.table_0004\"]\n");
    assert_eq!(jobs(&delayed, "source-counts"), 2);
    assert_eq!(jobs(&delayed, "target-counts"), 2);
    let later = format!("{delayed}snapshot = \"later\"\n");
    assert_eq!(jobs(&later, "source-counts"), 1);
    assert_eq!(jobs(&later, "target-counts"), 2);
}

#[test]
fn without_globals_the_databases_do_not_wait_for_roles() {
    let case = Case::new("[globals]\nmigrate = false", vec![database("a", 1, 1)]);
    let graph = case.compile();
    assert!(graph.steps.iter().all(|step| step.id.kind != Kind::Globals));
    // Position 0: it tunes the target.
    assert_eq!(step(&graph, "a", Kind::Create).needs, [StepIndex::new(0)]);
}

#[test]
fn what_changes_the_target_waits_until_it_is_tuned_and_its_settings_come_back_last() {
    let case = Case::new("", vec![database("a", 1, 1), database("b", 2, 1)]);
    let graph = case.compile();
    assert_eq!(
        graph.steps.first().unwrap().id,
        StepId::server(Kind::TuneTarget)
    );
    for step in graph.steps.iter().skip(1) {
        let changes_the_target =
            matches!(step.id.kind, Kind::Globals | Kind::Create | Kind::Restore);
        let waits = changes_the_target || step.finally;
        assert_eq!(
            step.needs.contains(&StepIndex::new(0)),
            waits,
            "{}",
            step.id
        );
    }
    let last = graph.steps.last().unwrap();
    assert_eq!(last.id, StepId::server(Kind::RestoreSettings));
    assert!(last.finally);
    assert_eq!(last.needs.len(), graph.steps.len() - 1);

    let case = Case::new("target.tuning.mode = \"off\"", vec![database("a", 1, 1)]);
    let graph = case.compile();
    assert!(graph.steps.iter().all(|step| !step.id.kind.is_tuning()));
}

#[test]
fn the_fingerprint_changes_with_what_would_run_and_with_nothing_else() {
    let case = || Case::new("", vec![database("a", 1 << 20, 3), database("b", 1, 1)]);
    let fingerprint = case().compile().fingerprint;
    let with = |change: fn(&mut Case)| {
        let mut case = case();
        change(&mut case);
        case.compile().fingerprint
    };
    let same: [fn(&mut Case); 3] = [
        |case| case.inspection.source.used_connections = 60,
        |case| case.inspection.source.databases[0].bytes = Some(5 << 30),
        |case| case.inspection.source.version.0 += 1,
    ];
    for (number, change) in same.into_iter().enumerate() {
        assert_eq!(with(change), fingerprint, "change {number}");
    }
    let other: [fn(&mut Case); 5] = [
        |case| case.inspection.source.version.0 += 10_000,
        |case| case.inspection.target.system_identifier = Some("1".into()),
        |case| case.inspection.source.databases.truncate(1),
        |case| case.inspection.source.databases[0].name = "c".into(),
        |case| {
            case.plan
                .keys
                .insert("globals.migrate".into(), "true".into());
        },
    ];
    for (number, change) in other.into_iter().enumerate() {
        assert_ne!(with(change), fingerprint, "change {number}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever order the catalog queries gave the databases in.
    #[test]
    fn the_same_servers_give_the_same_bytes(
        sizes in prop::collection::vec((0..4_u64, 0..5_u32), 0..12),
        turn in any::<prop::sample::Index>(),
    ) {
        let databases: Vec<_> = sizes
            .iter()
            .enumerate()
            .map(|(number, (bytes, tables))| database(&format!("db{number}"), *bytes, *tables))
            .collect();
        let mut turned = databases.clone();
        if !turned.is_empty() {
            turned.rotate_left(turn.index(databases.len()));
        }
        let (one, other) = (Case::new("", databases).compile(), Case::new("", turned).compile());
        prop_assert_eq!(plan_json::render(&one), plan_json::render(&other));
        prop_assert_eq!(plan_text::render(&one, 100), plan_text::render(&other, 100));
    }

    #[test]
    fn steps_stand_after_what_they_need_and_claim_no_more_than_there_is(
        tables in prop::collection::vec(0..9_u32, 0..9),
    ) {
        let databases = tables
            .iter()
            .enumerate()
            .map(|(number, tables)| database(&format!("db{number}"), 1, *tables))
            .collect();
        let graph = Case::new("", databases).compile();
        for (index, step) in graph.steps.iter().enumerate() {
            prop_assert!(step.needs.iter().all(|need| usize::from(*need) < index));
            prop_assert!(step.claims.fits_in(&graph.budgets));
        }
        let all = graph
            .snapshots
            .iter()
            .fold(Amounts::default(), |sum, snapshot| sum.plus(&snapshot.claims));
        prop_assert!(all.get(Resource::SourceConnections) as usize == tables.len());
    }
}
