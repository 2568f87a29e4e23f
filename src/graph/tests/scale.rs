//! As many databases as the largest servers have.

use std::time::Duration;

use std::num::NonZeroU32;
use std::sync::Arc;

use jiff::Timestamp;

use super::synthetic::{Case, database};
use crate::graph::{Amounts, Graph, Resource, Step, StepIndex};
use crate::journal::{Entry, Record, State, VERSION};
use crate::names::{Kind, StepId};
use crate::report::{plan_json, plan_text};
use crate::run::{ResumePolicy, resume};
use crate::schedule::{Ended, Schedule};

const DATABASES: u32 = 2_000;
const TABLES_EACH: u32 = 50;
/// Of the whole process: the catalog, the graph, and whatever other tests there are in it.
const MOST_MEMORY: u64 = 500 << 20;
const LONGEST: Duration = Duration::from_secs(2);

/// The most memory that this process had at a time, in bytes (proc(5), /proc/pid/status).
fn peak_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .unwrap();
    let kilobytes: u64 = line.trim().trim_end_matches(" kB").parse().unwrap();
    kilobytes << 10
}

/// How long this thread had a processor so far (kernel, Documentation/scheduler/sched-stats.rst). Other
/// tests keep the machine busy, which is not the compilation's fault.
fn processor_time() -> Duration {
    let statistics = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    let nanoseconds = statistics.split(' ').next().unwrap().parse().unwrap();
    Duration::from_nanos(nanoseconds)
}

/// Before the first run: an empty target, with all the locales of glibc.
fn fresh() -> Case {
    let databases = (0..DATABASES)
        .map(|number| {
            database(
                &name(number),
                u64::from(number * 7 % 1_000) << 20,
                TABLES_EACH,
            )
        })
        .collect();
    let mut case = Case::new("", databases);
    let locales = &mut case.inspection.target.locales;
    locales.splice(0..0, (0..900).map(|number| format!("xx_{number:03}.utf8")));
    case
}

/// After a run that was interrupted at its end: the target has every database.
fn resumed() -> Case {
    let mut case = fresh();
    case.inspection.target.databases = (0..DATABASES)
        .map(|number| database(&name(number), 1, 0))
        .collect();
    case.created = (0..DATABASES).map(name).collect();
    case
}

fn name(number: u32) -> String {
    format!("tenant_{number:04}")
}

#[test]
fn two_thousand_databases_with_a_hundred_thousand_tables_compile_at_once() {
    for (what, case) in [("fresh", fresh()), ("resumed", resumed())] {
        let begun = processor_time();
        let graph = case.compile();
        let took = processor_time() - begun;
        let tables: usize = graph.databases.iter().map(|database| database.tables).sum();
        assert_eq!(tables, 100_000);
        assert_eq!(graph.steps.len(), 3 + 6 * DATABASES as usize);

        let begun = processor_time();
        let shown = plan_json::render(&graph).len() + plan_text::render(&graph, 100).len();
        let memory = peak_memory();
        println!(
            "{what}: compiled in {took:?}, shown ({shown} bytes) in {:?}, {} MiB at most",
            processor_time() - begun,
            memory >> 20
        );
        assert!(took < LONGEST, "{what}: {took:?}");
        assert!(memory < MOST_MEMORY, "{what}: {memory} bytes");
    }
}

const PIECES_OF: u32 = 200;
const PIECES_EACH: u32 = 500;
const PIECES_TAKE: Duration = Duration::from_secs(3);
const PIECES_MEMORY: u64 = 600 << 20;

/// Databases whose restore has many pieces more, each of which claims a connection: all that no step of today has and
/// what comes has.
fn in_pieces() -> Graph {
    let databases = (0..PIECES_OF)
        .map(|number| database(&name(number), 1 << 20, 20))
        .collect();
    let mut graph = Case::new("", databases).compile();
    for number in 0..PIECES_OF {
        let name: Arc<str> = name(number).into();
        let find = |graph: &Graph, kind| {
            let id = StepId::database(&name, kind);
            graph.find(&id).expect("it was compiled")
        };
        let (dump, counts) = (find(&graph, Kind::Dump), find(&graph, Kind::TargetCounts));
        for piece in 1..=PIECES_EACH {
            let piece = NonZeroU32::new(piece).expect("from 1");
            let step = graph.steps.push(Step {
                id: StepId::piece(&name, Kind::RecreateIndexes, piece),
                needs: vec![dump],
                claims: Amounts::new(&[(Resource::TargetConnections, 1)]),
                finally: false,
                snapshot: None,
                command: Vec::new(),
                jobs: 1,
                rank: number,
            });
            graph.steps[counts].needs.push(step);
        }
    }
    graph
}

/// Runs what is left, the step that was started first ends first. Returns how many steps ran.
fn run_to_the_end(graph: &Graph, done: Vec<StepIndex>) -> usize {
    let retry = Case::new("", Vec::new()).plan.retry;
    let mut schedule = Schedule::new(graph, done, retry).expect("every claim fits");
    let mut running = std::collections::VecDeque::new();
    let mut ran = 0;
    while !schedule.is_finished() {
        running.extend(schedule.start(Duration::ZERO));
        let start = running.pop_front().expect("something runs until the end");
        schedule.ended(start.step, Ended::Done, Duration::ZERO);
        ran += 1;
    }
    ran
}

/// A journal in which every second piece is done, with all that comes before pieces.
fn half_done(graph: &Graph) -> State {
    let mut state = State::default();
    let mut append = |entry| {
        let at = Timestamp::UNIX_EPOCH;
        let record: Record = Record {
            v: VERSION,
            at,
            entry,
        };
        state.apply(record).expect("it may follow");
    };
    append(Entry::RunStarted {
        program: "test".into(),
        fingerprint: graph.fingerprint.clone(),
        source: None,
        target: None,
        findings: Vec::new(),
        databases: None,
    });
    let before = |kind| {
        matches!(
            kind,
            Kind::Globals | Kind::Create | Kind::Dump | Kind::SourceCounts
        )
    };
    for (index, step) in graph.steps.iter_with_positions() {
        let is_piece = step.id.kind == Kind::RecreateIndexes;
        if before(step.id.kind) || is_piece && usize::from(index) % 2 == 0 {
            let (step, attempt) = (step.id.clone(), 1);
            append(Entry::StepStarted {
                step: step.clone(),
                attempt,
            });
            let (seconds, output) = (1.0, Arc::default());
            append(Entry::StepDone {
                step,
                attempt,
                seconds,
                output,
                seen: crate::names::Sightings::default(),
                marked: None,
            });
        }
    }
    state
}

#[test]
fn a_hundred_thousand_pieces_compile_run_and_resume_in_no_time() {
    let begun = processor_time();
    let graph = in_pieces();
    let compiled = processor_time() - begun;
    assert!(graph.steps.len() > 100_000);

    assert_eq!(run_to_the_end(&graph, Vec::new()), graph.steps.len());
    let ran = processor_time() - begun;
    let state = half_done(&graph);
    let resumed = resume(&graph, &state, ResumePolicy::default(), |_| None, |_| true);
    let done = resumed.done.len();
    assert!(done > 50_000, "{done}");
    assert_eq!(
        run_to_the_end(&graph, resumed.done),
        graph.steps.len() - done
    );
    let (took, memory) = (processor_time() - begun, peak_memory());
    println!(
        "compiled in {compiled:?}, run by {ran:?}, resumed by {took:?}, {} MiB at most",
        memory >> 20
    );
    assert!(took < PIECES_TAKE, "{took:?}");
    assert!(memory < PIECES_MEMORY, "{memory} bytes");
}
