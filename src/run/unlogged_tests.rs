use jiff::Timestamp;

use super::*;
use crate::graph::tests::synthetic::{Case, contents, database};
use crate::journal::{RunState, Status, StepState};
use crate::names::{ArchiveSeal, Counts, DelayedDump, Dumped, Output, RegularDump, TableCount};

/// The database `a` with three unlogged tables of ten rows, the first of them delayed, and a logged one.
fn case(snapshot: &str) -> Case {
    let mut a = database("a", 1, 4);
    for relation in &mut contents(&mut a).relations[..3] {
        relation.unlogged = true;
    }
    let rest = format!("[delay]\ntable_data = [\"a.table_0000\"]\nsnapshot = \"{snapshot}\"");
    Case::new(&rest, vec![a, database("b", 1, 2)])
}

/// A journal in which these steps of `a` are done.
fn state(kinds: &[Kind], output_of: impl Fn(Kind) -> Output) -> State {
    let steps = kinds.iter().map(|kind| {
        let state = StepState {
            status: Status::Done,
            attempt: 1,
            run: 0,
            started: Timestamp::UNIX_EPOCH,
            seconds: None,
            error: None,
            output: Arc::new(output_of(*kind)),
        };
        (StepId::database(&"a".into(), *kind), state)
    });
    State {
        steps: steps.collect(),
        ..State::default()
    }
}

fn rows(table: &str, rows: u64) -> TableCount {
    TableCount {
        table: TableName::new("public", table),
        kind: RelationKind::Table,
        rows: Some(rows),
        extension: None,
    }
}

fn dumped() -> Dumped {
    Dumped {
        archive: ArchiveSeal {
            files: 1,
            bytes: 1,
            digest: String::new(),
        },
        snapshot: "00000003-1".into(),
        oldest_transaction: None,
        source_read_only: false,
        database: None,
        source: None,
    }
}

fn output_of(kind: Kind) -> Output {
    let product = match kind {
        Kind::Dump => Product::Dump(RegularDump {
            dump: dumped(),
            delayed: vec![TableName::new("public", "table_0000")],
            sequences: Vec::new(),
            meanings: Vec::new(),
        }),
        Kind::SourceCounts => Product::Counts(Counts {
            tables: vec![
                rows("table_0000", 10),
                rows("table_0001", 11),
                rows("table_0002", 0),
                rows("table_0003", 13),
            ],
            estimated: false,
            snapshot: None,
            source_read_only: false,
            large_objects: None,
            large_objects_before: None,
        }),
        Kind::DelayedDump => Product::DelayedDump(DelayedDump {
            newer: Vec::new(),
            dump: dumped(),
            counts: vec![rows("table_0000", 20)],
            large_objects: None,
            sequences: Some(Vec::new()),
            columns: Vec::new(),
        }),
        _ => Product::Nothing,
    };
    product.into()
}

fn shown(found: &[Unlogged]) -> Vec<String> {
    found
        .iter()
        .flat_map(|found| {
            let table =
                |table: &Table| format!("{}.{} {}", found.database, table.name.name, table.rows);
            found.tables.iter().map(table).collect::<Vec<_>>()
        })
        .collect()
}

const RESTORED: [Kind; 4] = [Kind::Create, Kind::Dump, Kind::SourceCounts, Kind::Restore];

#[test]
fn tables_that_got_rows_are_looked_at_each_in_its_time() {
    let (case, nothing) = (case("later"), HashSet::new());
    let graph = case.compile();
    let before = |state: &State| shown(&not_yet_verified(&graph, state, &case.inspection));
    let after = |state: &State| shown(&verified(&graph, state, &case.inspection, &nothing));
    let restored = state(&RESTORED, output_of);
    assert_eq!(before(&restored), ["a.table_0001 11"]);
    assert_eq!(after(&restored), Vec::<String>::new());
    let mut kinds = RESTORED.to_vec();
    kinds.extend([Kind::Verify, Kind::DelayedDump]);
    let regular = state(&kinds, output_of);
    assert_eq!(before(&regular), Vec::<String>::new());
    assert_eq!(after(&regular), ["a.table_0001 11"]);
    kinds.push(Kind::DelayedVerify);
    let all = state(&kinds, output_of);
    assert_eq!(after(&all), ["a.table_0000 20", "a.table_0001 11"]);
}

#[test]
fn what_a_completed_run_has_seen_is_its_owners() {
    let case = case("same");
    let graph = case.compile();
    let kinds = [&RESTORED[..], &[Kind::Verify]].concat();
    let mut state = state(&kinds, output_of);
    let done: Vec<StepIndex> = graph.steps.positions().collect();
    let ended = |outcome, databases: Option<&[&str]>| RunState {
        started: Timestamp::UNIX_EPOCH,
        fingerprint: String::new(),
        source: None,
        target: None,
        findings: Vec::new(),
        databases: databases.map(|names| names.iter().map(|name| (*name).to_owned()).collect()),
        warnings: Vec::new(),
        is_reset: false,
        ended: Some((Timestamp::UNIX_EPOCH, outcome, 0)),
    };
    let (mismatched, completed) = (Outcome::Mismatched, Outcome::Completed);
    for (runs, looks) in [
        (vec![ended(mismatched, Some(&["a", "b"]))], 1),
        (vec![ended(completed, Some(&["a", "b"]))], 0),
        (vec![ended(completed, None)], 0),
        // The database was excluded, so nobody looked.
        (
            vec![
                ended(mismatched, Some(&["a", "b"])),
                ended(completed, Some(&["b"])),
            ],
            1,
        ),
        (
            vec![
                ended(completed, Some(&["a"])),
                ended(mismatched, Some(&["a"])),
            ],
            0,
        ),
    ] {
        state.runs = runs;
        let confirmed = confirmed(&graph, &state, &done);
        let found = verified(&graph, &state, &case.inspection, &confirmed);
        assert_eq!(found.len(), looks, "{:?}", state.runs);
    }
    // Verified once more by a run after that one, whatever the clock said.
    state.runs = vec![ended(completed, None), ended(mismatched, None)];
    let verify = StepId::database(&"a".into(), Kind::Verify);
    state.steps.get_mut(&verify).unwrap().run = 1;
    let confirmed = confirmed(&graph, &state, &done);
    let found = verified(&graph, &state, &case.inspection, &confirmed);
    assert_eq!(found.len(), 1);
}

#[test]
fn the_warning_names_the_tables_and_what_to_do() {
    let emptied = Unlogged {
        database: "a".into(),
        tables: vec![
            Table {
                name: TableName::new("public", "sessions\n"),
                rows: 500,
                filled: None,
                is_refilled: false,
            },
            Table {
                name: TableName::new("public", "cache"),
                rows: 1,
                filled: None,
                is_refilled: false,
            },
        ],
        sequences: Vec::new(),
        filled: None,
    };
    insta::assert_snapshot!(warning(&emptied), @r"a crash of the target emptied unlogged tables after they were restored: public.sessions\n (500 rows were verified), public.cache (1 rows were verified); fill them again from the source (pg_dump --data-only --table=TABLE, for instance) and run again, or, where the database is not in use on the target yet, `pg-migrate reset PLAN --database NAME --drop NAME`: the next run creates it again");
}
