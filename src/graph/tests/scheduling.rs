//! A compiled graph, run on paper: the promises of the plan hold in every order of events.

use std::collections::BTreeSet;
use std::time::Duration;

use proptest::prelude::*;
use proptest::sample::Index;

use super::synthetic::{Case, contents, database};
use crate::graph::budget::{CONTROL_CONNECTIONS, LEAST_ON_TARGET, LEAST_PER_SOURCE_DATABASE};
use crate::graph::{Amounts, Graph, Resource, StepIndex};
use crate::schedule::{Ended, Schedule};

/// What is in use at one moment, added up without the schedule's help.
fn in_use(graph: &Graph, running: &BTreeSet<StepIndex>, ended: &BTreeSet<StepIndex>) -> Amounts {
    let steps = running.iter().map(|step| &graph.steps[*step].claims);
    let is_open = |steps: &[StepIndex]| {
        steps
            .iter()
            .any(|step| running.contains(step) || ended.contains(step))
            && !steps.iter().all(|step| ended.contains(step))
    };
    let snapshots = graph
        .snapshots
        .iter()
        .filter(|snapshot| is_open(&snapshot.steps))
        .map(|snapshot| &snapshot.claims);
    steps
        .chain(snapshots)
        .fold(Amounts::default(), |sum, claims| sum.plus(claims))
}

/// Runs every step to a good end; `pick` says which of so many running steps ends next. Returns what was
/// in use after each event.
fn drive(graph: &Graph, mut pick: impl FnMut(usize) -> usize) -> Vec<Amounts> {
    let retry = Case::new("", Vec::new()).plan.retry;
    let mut schedule = Schedule::new(graph, [], retry).expect("every claim fits its budget");
    let (mut running, mut ended) = (BTreeSet::new(), BTreeSet::new());
    let mut used = Vec::new();
    while !schedule.is_finished() {
        let starts = schedule.start(Duration::ZERO);
        running.extend(starts.iter().map(|start| start.step));
        used.push(in_use(graph, &running, &ended));
        assert!(!running.is_empty(), "nothing runs, and nothing can start");
        let next = running.iter().nth(pick(running.len()));
        let step = *next.expect("one of those that run");
        running.remove(&step);
        ended.insert(step);
        let consequences = schedule.ended(step, Ended::Done, Duration::ZERO);
        assert_eq!(consequences.skipped, Vec::<StepIndex>::new());
    }
    assert_eq!(ended.len(), graph.steps.len());
    used
}

prop_compose! {
    fn any_case()(
        databases in prop::collection::vec((0..5_u64, 0..20_u32, 0..2_u64), 0..14),
        source in LEAST_PER_SOURCE_DATABASE..120,
        target in LEAST_ON_TARGET..120,
        parallel in (1..9_u32, 1..9_u32),
        jobs in (1..30_u32, 1..30_u32),
        queries in 1..20_u32,
        delayed in (prop::sample::select(vec!["db*.table_000*", "db00.*", "none.*"]), any::<bool>()),
        index_memory in prop::option::of(1..4_096_u32),
    ) -> Case {
        let databases = databases
            .into_iter()
            .enumerate()
            .map(|(number, (bytes, tables, large_objects))| {
                let mut database = database(&format!("db{number:02}"), bytes, tables);
                contents(&mut database).large_objects = large_objects;
                database
            })
            .collect();
        let rest = format!(
            "source.max_connections = {source}\ntarget.max_connections = {target}\n[parallelism]\n\
             dump_parallel = {}\nrestore_parallel = {}\ndump_jobs = {}\nrestore_jobs = {}\n\
             verify_concurrency = {queries}\n[delay]\ntable_data = [\"{}\"]\nsnapshot = \"{}\"\n{}",
            parallel.0,
            parallel.1,
            jobs.0,
            jobs.1,
            delayed.0,
            if delayed.1 { "same" } else { "later" },
            index_memory.map_or(String::new(), |mb| format!("index_memory = \"{mb}MB\""))
        );
        Case::new(&rest, databases)
    }
}

proptest! {
    #[test]
    fn no_run_ever_uses_more_than_the_budgets_and_the_announced_peaks(
        case in any_case(),
        order in prop::collection::vec(any::<Index>(), 1..40),
    ) {
        let graph = case.compile();
        let mut peaks = graph.peaks;
        // The run's own connection is in the peak, and set aside from the budget.
        let target = Resource::TargetConnections;
        prop_assert!(peaks.get(target) >= CONTROL_CONNECTIONS);
        peaks.set(target, peaks.get(target) - CONTROL_CONNECTIONS);
        prop_assert!(graph.peaks.get(target) <= graph.target.budget);
        let mut order = order.iter().cycle();
        let pick = |running| order.next().expect("it begins again").index(running);
        for used in drive(&graph, pick) {
            prop_assert!(used.fits_in(&graph.budgets), "{:?} of {:?}", used, graph.budgets);
            for connections in [Resource::SourceConnections, target] {
                prop_assert!(used.get(connections) <= peaks.get(connections));
            }
        }
    }
}

/// A migration is only worth its price where the next dump overlaps the restore before it.
#[test]
fn the_next_databases_dump_overlaps_the_restore_of_the_one_before() {
    let databases = (0..3)
        .map(|number| database(&format!("db{number}"), 1, 4))
        .collect();
    let case = Case::new("[parallelism]\nmax_parallel = 1", databases);
    let graph = case.compile();
    let both_sides = drive(&graph, |_| 0).into_iter().any(|used| {
        used.get(Resource::SourceDatabases) > 0 && used.get(Resource::TargetDatabases) > 0
    });
    assert!(both_sides);
}
