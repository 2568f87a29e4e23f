//! As many databases as the largest servers have.

use std::time::Duration;

use super::synthetic::{Case, database};
use crate::report::{plan_json, plan_text};

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
/// tests keep the machine busy, which is no fault of the compilation.
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
