//! A small migration in which much goes wrong, for tests of what people read.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::document::{Report, build};
use crate::catalog::Version;
use crate::finding::{Code, Finding, Severity};
use crate::graph::{
    Amounts, DatabaseSummary, Graph, PerSnapshot, PerStep, Reach, Resource, ServerSummary, Step,
    StepIndex, Tuning, TuningSetting,
};
use crate::journal::{Outcome, RunState, State, Status, StepState, TunedSetting};
use crate::names::{
    Compared, Kind, Output, Phase, Product, RestoreError, Restored, StepId, TableName, TableResult,
};

/// 63 bytes of UTF-8, as many as a name may have, in 42 columns.
pub(super) const LONG: &str = "請求書管理システム顧客別売上集計二〇二四年";
/// A name that would recolour a terminal.
pub(super) const EVIL: &str = "we\x1b[31mird \"db\"";

const GB: u64 = 1 << 30;

pub(super) fn at(seconds: i64) -> Timestamp {
    "2026-03-01T22:00:00Z".parse::<Timestamp>().unwrap() + SignedDuration::from_secs(seconds)
}

/// `erp` has a delayed table, the others have none.
pub(super) fn graph() -> Graph {
    let databases = vec![
        summary("crm", 20 << 20, 3, &[]),
        summary(EVIL, GB / 3, 12, &[]),
        summary(LONG, 5 * GB, 140, &[]),
        summary("erp", 1_200 * GB, 1_042, &["public.events"]),
    ];
    let mut graph = Graph {
        name: "erp-10-to-18".to_owned(),
        fingerprint: "sha256:6f1ed002ab5595859014ebf0951522d9".to_owned(),
        source: server(100_023, 80),
        target: server(180_006, 90),
        budgets: Amounts::new(&[
            (Resource::SourceConnections, 80),
            (Resource::TargetConnections, 90),
        ]),
        peaks: Amounts::new(&[
            (Resource::SourceConnections, 61),
            (Resource::TargetConnections, 53),
        ]),
        findings: findings(),
        tuning: None,
        maintenance_work_mem: 64 << 20,
        snapshots: PerSnapshot::new(),
        steps: PerStep::new(),
        databases: Vec::new(),
    };
    add(&mut graph, None, Kind::TuneTarget, &[]);
    add(&mut graph, None, Kind::Globals, &[StepIndex::new(0)]);
    let mut last = Vec::new();
    for database in databases {
        last.push(add_database(&mut graph, database));
    }
    add(&mut graph, None, Kind::RestoreSettings, &last);
    graph
}

/// Settings of each reach.
pub(super) fn tuning() -> Tuning {
    let setting = |name: &str, value: &str, reach| TuningSetting {
        name: name.to_owned(),
        value: value.to_owned(),
        reach,
    };
    Tuning {
        settings: vec![
            setting("fsync", "off", Reach::System),
            setting("maintenance_work_mem", "2GB", Reach::Both),
            setting("wal_compression", "pglz", Reach::Session),
        ],
        maintenance_work_mem: Some(2 * GB),
    }
}

/// The same with so many databases of six steps.
pub(super) fn wide_graph(databases: usize) -> Graph {
    let mut graph = graph();
    graph.databases.clear();
    graph.steps.truncate(2);
    for number in 0..databases {
        add_database(
            &mut graph,
            summary(&format!("tenant_{number:03}"), GB, 10, &[]),
        );
    }
    graph
}

fn add_database(graph: &mut Graph, database: DatabaseSummary) -> StepIndex {
    let name: Arc<str> = database.name.as_str().into();
    let delayed = !database.delayed.is_empty();
    graph.databases.push(database);
    let mut last = add(graph, Some(&name), Kind::Create, &[StepIndex::new(1)]);
    let dump = add(graph, Some(&name), Kind::Dump, &[last]);
    let source = add(graph, Some(&name), Kind::SourceCounts, &[last]);
    let restore = add(graph, Some(&name), Kind::Restore, &[dump]);
    let target = add(graph, Some(&name), Kind::TargetCounts, &[restore]);
    last = add(graph, Some(&name), Kind::Verify, &[source, target]);
    if delayed {
        for kind in Kind::ALL
            .into_iter()
            .filter(|kind| kind.phase() == Phase::Delayed)
        {
            last = add(graph, Some(&name), kind, &[last]);
        }
    }
    last
}

fn add(
    graph: &mut Graph,
    database: Option<&Arc<str>>,
    kind: Kind,
    needs: &[StepIndex],
) -> StepIndex {
    let rank = graph.steps.len() as u32;
    let name = database.map_or("", |name| name);
    let (claims, command) = match kind {
        Kind::Dump | Kind::DelayedDump => (
            Amounts::new(&[
                (Resource::SourceConnections, 5),
                (Resource::SourceDatabases, 1),
            ]),
            vec![
                "pg_dump", "-Fd", "-j", "4", "-Z", "zstd:5", "--file", "dump", "-d", name,
            ],
        ),
        Kind::Restore => (
            Amounts::new(&[
                (Resource::TargetConnections, 13),
                (Resource::TargetDatabases, 1),
            ]),
            vec!["pg_restore", "-j", "12", "-d", name, "dump"],
        ),
        Kind::Create => (Amounts::new(&[(Resource::TargetConnections, 1)]), vec![]),
        _ => (Amounts::default(), vec![]),
    };
    graph.steps.push(Step {
        id: match database {
            Some(name) => StepId::database(name, kind),
            None => StepId::server(kind),
        },
        needs: needs.to_vec(),
        claims,
        finally: kind.traits().runs_finally,
        snapshot: None,
        command: command.into_iter().map(str::to_owned).collect(),
        jobs: 1,
        rank,
    })
}

fn server(version: u32, budget: u32) -> ServerSummary {
    ServerSummary {
        version: Version(version),
        budget,
    }
}

fn summary(name: &str, bytes: u64, tables: usize, delayed: &[&str]) -> DatabaseSummary {
    DatabaseSummary {
        name: name.to_owned(),
        bytes,
        tables,
        delayed: delayed.iter().map(|table| table.parse().unwrap()).collect(),
    }
}

fn findings() -> Vec<Finding> {
    let oids = |object: &str| {
        Finding::new(
            Code::SourceWithOids,
            "the table has oids, and pg_dump of 12 and later leaves them out without a word",
        )
        .severity(Severity::Fix)
        .database("erp")
        .object(object)
        .fix(format!("ALTER TABLE {object} SET WITHOUT OIDS;"))
    };
    vec![
        Finding::new(
            Code::TargetDatabaseNotEmpty,
            "the target has a database of this name, and it is not empty",
        )
        .database(EVIL)
        .fix("drop it, or leave the database out with databases.exclude"),
        oids("public.orders"),
        oids("public.\"order|lines\""),
        Finding::new(
            Code::SourceDumpJobsLowered,
            "dump_jobs lowered from 24 to 4",
        ),
    ]
}

fn done(started: i64, seconds: f64) -> StepState {
    StepState {
        status: Status::Done,
        attempt: 1,
        run: 0,
        started: at(started),
        seconds: Some(seconds),
        error: None,
        output: Arc::default(),
    }
}

fn failed(started: i64, seconds: f64, attempt: u32, error: &str) -> StepState {
    StepState {
        status: Status::Failed,
        attempt,
        error: Some(error.to_owned()),
        ..done(started, seconds)
    }
}

pub(super) fn table(name: &str, source: Option<u64>, target: Option<u64>) -> TableResult {
    TableResult {
        table: TableName::new("public", name),
        source_rows: source,
        target_rows: target,
        matches: source.is_some() && source == target,
        note: None,
    }
}

pub(super) fn compared(tables: Vec<TableResult>) -> Arc<Output> {
    Arc::new(Product::Comparison(Compared { tables }).into())
}

/// A second run, an hour after the first was killed: `crm` is complete, one database differs, one
/// failed, and `erp` was interrupted.
pub(super) fn state() -> State {
    let run = |started, ended| RunState {
        started: at(started),
        fingerprint: "sha256:6f1ed002ab5595859014ebf0951522d9".to_owned(),
        source: None,
        databases: None,
        findings: Vec::new(),
        target: None,
        warnings: Vec::new(),
        is_reset: false,
        ended,
    };
    let mut state = State {
        runs: vec![
            run(0, None),
            run(4_000, Some((at(8_000), Outcome::Failed, 4))),
        ],
        tuned: [("fsync".to_owned(), TunedSetting::default())].into(),
        ..State::default()
    };
    let mut add = |database: Option<&str>, kind, step| {
        let id = match database {
            Some(name) => StepId::database(&name.into(), kind),
            None => StepId::server(kind),
        };
        state.steps.insert(id, step);
    };
    add(None, Kind::TuneTarget, done(0, 0.4));
    let mut globals = done(1, 2.25);
    globals.output = Arc::new(Output::of_warnings(vec![
        "role \"app\" moved without its password".to_owned(),
    ]));
    add(None, Kind::Globals, globals);

    for (position, kind) in [Kind::Create, Kind::Dump, Kind::SourceCounts]
        .into_iter()
        .enumerate()
    {
        add(Some("crm"), kind, done(10 + position as i64, 30.0));
    }
    add(Some("crm"), Kind::Restore, done(4_001, 60.0));
    add(Some("crm"), Kind::TargetCounts, done(4_061, 1.0));
    let mut verify = done(4_062, 0.1);
    verify.output = compared(vec![
        table("people", Some(1_234_567), Some(1_234_567)),
        table("calls", Some(10), Some(10)),
    ]);
    add(Some("crm"), Kind::Verify, verify);

    for kind in [
        Kind::Create,
        Kind::Dump,
        Kind::SourceCounts,
        Kind::Restore,
        Kind::TargetCounts,
    ] {
        add(Some(EVIL), kind, done(4_100, 12.5));
    }
    let mut verify = failed(4_113, 0.1, 1, "2 of 3 tables differ");
    verify.output = compared(vec![
        table("same", Some(1), Some(1)),
        table("more\x1b[1m", Some(1_000), Some(1_001)),
        TableResult {
            note: Some("not on the target".to_owned()),
            ..table("gone", Some(7), None)
        },
    ]);
    add(Some(EVIL), Kind::Verify, verify);

    for kind in [Kind::Create, Kind::Dump, Kind::SourceCounts] {
        add(Some(LONG), kind, done(4_200, 300.0));
    }
    let mut restore = failed(
        4_500,
        1_201.0,
        5,
        "pg_restore ended with 1 on the target:\n  ERROR:  could not access file \"$libdir/legacy\": No such file or directory",
    );
    let errors = vec![
        RestoreError {
            object: "FUNCTION legacy.hash(text)".to_owned(),
            message: "could not access file \"$libdir/legacy\": No such file or directory"
                .to_owned(),
            accepted: false,
        },
        RestoreError {
            object: "COMMENT EXTENSION plpgsql".to_owned(),
            message: "must be owner of extension plpgsql".to_owned(),
            accepted: true,
        },
    ];
    restore.output = Arc::new(
        Product::Restore(Restored {
            errors,
            ..Restored::default()
        })
        .into(),
    );
    add(Some(LONG), Kind::Restore, restore);

    add(Some("erp"), Kind::Create, done(4_300, 0.2));
    add(
        Some("erp"),
        Kind::Dump,
        StepState {
            status: Status::Interrupted,
            seconds: None,
            ..done(4_301, 0.0)
        },
    );
    state
}

pub(super) fn report() -> Report {
    let graph = graph();
    build(&graph.name, &graph.databases, &graph.steps, &state()).expect("a run was started")
}
