//! How long a run waits for its journal.

use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::*;
use crate::names::{
    Compared, Counts, Kind, Output, Phase, Product, RelationKind, StepId, TableCount, TableName,
    TableResult,
};

const DATABASES: u64 = 2_000;
/// What the program is promised to do, and what a build without optimizations does on a slow machine.
const LINES: u64 = if cfg!(debug_assertions) {
    100_000
} else {
    1_000_000
};
const LONGEST: Duration = Duration::from_secs(if cfg!(debug_assertions) { 20 } else { 1 });

/// A run of all databases that does everything again, as a rehearsal every night does.
fn night() -> Vec<Entry> {
    let mut entries = vec![Entry::RunStarted {
        program: "0.1.0".into(),
        fingerprint: format!("sha256:{:064}", 7),
        source: Some("7711044131915331685".into()),
        target: Some("7711044138570209496".into()),
        findings: Vec::new(),
        databases: None,
    }];
    for number in 0..DATABASES {
        let database: Arc<str> = format!("customer_{number:04}").into();
        entries.push(Entry::Forgotten {
            steps: Kind::of_phase(Phase::Regular)
                .map(|kind| StepId::database(&database, kind))
                .collect(),
            reason: "pg-migrate reset".into(),
            drop: Vec::new(),
        });
        for kind in Kind::of_phase(Phase::Regular) {
            let step = StepId::database(&database, kind);
            let (seconds, output) = (1.569664554, Arc::new(output(kind)));
            entries.push(Entry::StepStarted {
                step: step.clone(),
                attempt: 1,
            });
            entries.push(Entry::StepDone {
                step,
                attempt: 1,
                seconds,
                output,
                seen: crate::names::Sightings::default(),
                marked: None,
            });
        }
    }
    entries.push(Entry::RunEnded {
        outcome: Outcome::Completed,
        exit_code: 0,
    });
    entries
}

fn output(kind: Kind) -> Output {
    let tables = ["accounts", "branches", "history", "tellers"];
    let counts = tables.map(|table| TableCount {
        table: TableName::new("public", table),
        kind: RelationKind::Table,
        rows: Some(60_000),
        extension: None,
    });
    let compared = tables.map(|table| TableResult {
        table: TableName::new("public", table),
        source_rows: Some(60_000),
        target_rows: Some(60_000),
        matches: true,
        note: None,
    });
    match kind {
        Kind::SourceCounts | Kind::TargetCounts => Product::Counts(Counts {
            tables: counts.to_vec(),
            estimated: false,
            snapshot: Some("00000003-00001013-1".into()),
            source_read_only: false,
            large_objects: None,
            large_objects_before: None,
        })
        .into(),
        Kind::Verify => Product::Comparison(Compared {
            tables: compared.to_vec(),
        })
        .into(),
        _ => Output::default(),
    }
}

#[test]
fn a_million_lines_replay_within_a_second() {
    let root = tempfile::tempdir().unwrap();
    let mut block = Vec::new();
    let night = night();
    for entry in &night {
        let record = Record {
            v: VERSION,
            at: jiff::Timestamp::UNIX_EPOCH,
            entry: entry.clone(),
        };
        serde_json::to_writer(&mut block, &record).unwrap();
        block.push(b'\n');
    }
    let nights = LINES.div_ceil(night.len() as u64);
    let mut file = std::fs::File::create(root.path().join("journal.jsonl")).unwrap();
    for _ in 0..nights {
        file.write_all(&block).unwrap();
    }
    // As a run leaves it.
    file.sync_all().unwrap();

    let started = Instant::now();
    let journal = Journal::open(root.path(), Lock::take(root.path()).unwrap()).unwrap();
    let taken = started.elapsed();
    println!(
        "{} lines of {} bytes in {taken:?}",
        nights * night.len() as u64,
        block.len() as u64 * nights
    );
    assert_eq!(journal.state().runs.len() as u64, nights);
    assert_eq!(
        journal.state().steps.len(),
        DATABASES as usize * Kind::of_phase(Phase::Regular).count()
    );
    assert!(taken < LONGEST, "it took {taken:?}");
}
