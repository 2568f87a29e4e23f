//! Journals in, reports out.

use std::sync::Arc;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::journal::State;
use crate::names::StepId;
use crate::report::samples::{self, at};
use crate::report::{Color, html, status, summary};

fn report(state: &State) -> Report {
    let graph = samples::graph();
    build(&graph.name, &graph.databases, &graph.steps, state).unwrap()
}

fn outcomes(report: &Report) -> Vec<&'static str> {
    let databases = report.databases.iter();
    databases
        .map(|database| database.outcome.as_str())
        .collect()
}

fn keys(value: &Value) -> Vec<&str> {
    value
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect()
}

#[test]
fn holds_the_promised_keys() {
    let value = serde_json::to_value(samples::report()).unwrap();
    assert_eq!(
        keys(&value),
        [
            "name",
            "outcome",
            "exit_code",
            "started",
            "finished",
            "resumed",
            "settings_restored",
            "server",
            "databases"
        ]
    );
    let database = &value["databases"][2];
    assert_eq!(
        keys(database),
        [
            "name", "outcome", "bytes", "seconds", "steps", "tables", "ledger", "warnings"
        ]
    );
    assert_eq!(keys(&database["seconds"]), ["regular", "delayed"]);
    assert_eq!(
        keys(&database["steps"][3]),
        ["kind", "state", "seconds", "attempts", "error", "started"]
    );
    assert_eq!(
        keys(&database["ledger"][0]),
        ["object", "message", "accepted"]
    );
    assert_eq!(
        value["databases"][0]["tables"][0],
        json!({"schema": "public", "table": "calls", "source_rows": 10, "target_rows": 10, "match": true})
    );
    assert_eq!(value["started"], "2026-03-01T23:06:40Z");
    let back: Report = serde_json::from_value(value).unwrap();
    assert_eq!(back, samples::report());
}

#[test]
fn each_database_has_its_outcome() {
    let report = samples::report();
    assert_eq!(
        outcomes(&report),
        ["completed", "mismatched", "failed", "interrupted"]
    );
    let states = |position: usize| -> Vec<&str> {
        let steps = report.databases[position].steps.iter();
        steps.map(|step| step.state.as_str()).collect()
    };
    assert_eq!(
        states(2),
        ["done", "done", "done", "failed", "skipped", "skipped"]
    );
    assert_eq!(states(3)[..3], ["done", "pending", "pending"]);
    let dump = &report.databases[3].steps[1];
    assert_eq!((dump.attempts, dump.seconds), (1, 0.0));
    assert!(dump.error.as_deref().unwrap().starts_with("interrupted"));
    assert_eq!(report.server.warnings.len(), 1);
    // It runs whatever happens to the databases, and has not run yet.
    let restore_settings = &report.server.steps[2];
    assert_eq!(restore_settings.state, StepOutcome::Pending);
}

#[test]
fn a_journal_without_a_run_has_no_report() {
    let graph = samples::graph();
    let built = build(
        &graph.name,
        &graph.databases,
        &graph.steps,
        &State::default(),
    );
    assert!(built.is_none());
}

#[test]
fn a_run_that_started_nothing_leaves_all_pending() {
    let mut state = samples::state();
    state.steps.clear();
    state.tuned.clear();
    let report = report(&state);
    assert_eq!(outcomes(&report), ["pending"; 4]);
    assert!(report.settings_restored);
    assert_eq!(report.databases[0].seconds, Seconds::default());
}

#[test]
fn a_killed_run_has_no_end() {
    let mut state = samples::state();
    state.runs[1].ended = None;
    let report = report(&state);
    assert_eq!(report.outcome, Outcome::Interrupted);
    assert_eq!((report.exit_code, report.finished), (None, None));
    let value = serde_json::to_value(report).unwrap();
    assert!(value["exit_code"].is_null() && value["finished"].is_null());
}

#[test]
fn a_verification_that_failed_without_a_difference_is_a_failure() {
    let mut state = samples::state();
    let verify = StepId::database(&samples::EVIL.into(), Kind::Verify);
    state.steps.get_mut(&verify).unwrap().output = Arc::default();
    assert_eq!(report(&state).databases[1].outcome, DatabaseOutcome::Failed);
}

#[test]
fn time_between_runs_does_not_count() {
    // From 10 to 43, where the first run was killed, then from 4,000 to 4,062.1 and before crm's end.
    let seconds = samples::report().databases[0].seconds;
    let killed = samples::state()
        .steps
        .values()
        .map(|step| step.started)
        .filter(|at| *at < samples::at(4_000))
        .max();
    assert_eq!(killed, Some(at(12)));
    assert!(
        (seconds.regular - (42.0 - 10.0 + 62.1)).abs() < 1e-6,
        "{seconds:?}"
    );
    assert_eq!(seconds.delayed, 0.0);
}

#[test]
fn the_delayed_phase_has_its_own_time_and_the_last_word() {
    let mut state = samples::state();
    let mut add = |kind, started: i64, seconds, tables: &[(&str, u64)]| {
        let mut step = state.steps[&StepId::server(Kind::Globals)].clone();
        step.started = at(started);
        step.seconds = Some(seconds);
        let tables = tables
            .iter()
            .map(|(name, rows)| samples::table(name, Some(5), Some(*rows)))
            .collect();
        step.output = samples::compared(tables);
        state
            .steps
            .insert(StepId::database(&"erp".into(), kind), step);
    };
    add(Kind::Verify, 5_000, 1.0, &[("events", 0), ("people", 5)]);
    add(Kind::DelayedDump, 5_100, 10.0, &[]);
    add(Kind::DelayedVerify, 5_200, 2.5, &[("events", 5)]);
    let report = report(&state);
    let erp = &report.databases[3];
    assert_eq!(erp.seconds.delayed, 102.5);
    let tables: Vec<_> = erp
        .tables
        .iter()
        .map(|table| (&*table.table.name, table.matches))
        .collect();
    assert_eq!(tables, [("events", true), ("people", true)]);
}

#[test]
fn settings_are_restored_when_nothing_is_left_to_restore() {
    let mut state = samples::state();
    assert!(!report(&state).settings_restored);
    state.tuned.clear();
    assert!(report(&state).settings_restored);
}

/// Moves every time on record, each by its own number of seconds.
fn with_clock(mut state: State, jumps: &[i64]) -> State {
    let mut jumps = jumps.iter().cycle();
    let mut moved = |at: Timestamp| at + jiff::SignedDuration::from_secs(*jumps.next().unwrap());
    for run in &mut state.runs {
        run.started = moved(run.started);
        run.ended = run
            .ended
            .map(|(at, outcome, code)| (moved(at), outcome, code));
    }
    for step in state.steps.values_mut() {
        step.started = moved(step.started);
    }
    state
}

proptest! {
    #[test]
    fn a_clock_that_jumps_changes_no_result(
        jumps in prop::collection::vec(-100_000i64..100_000, 1..40),
        now in -100_000i64..100_000,
    ) {
        let right = samples::report();
        let state = with_clock(samples::state(), &jumps);
        let jumped = report(&state);
        prop_assert_eq!((jumped.outcome, jumped.exit_code), (right.outcome, right.exit_code));
        for (jumped, right) in jumped.databases.iter().zip(&right.databases) {
            prop_assert_eq!(jumped.outcome, right.outcome);
            prop_assert_eq!(&jumped.tables, &right.tables);
            let of_steps = |report: &DatabaseReport| -> Vec<_> {
                report.steps.iter().map(|step| (step.state, step.seconds)).collect()
            };
            prop_assert_eq!(of_steps(jumped), of_steps(right));
            let longest = jumped.steps.iter().map(|step| step.seconds).fold(0.0, f64::max);
            prop_assert!(jumped.seconds.regular.max(jumped.seconds.delayed) >= longest);
        }
        let graph = samples::graph();
        let told = status::status(&graph.name, &graph.steps, &state, true, at(now));
        let running = told.databases.iter().flat_map(|database| &database.steps);
        prop_assert!(running.filter_map(|step| step.seconds).all(|seconds| seconds >= 0.0));
        for text in [
            status::text(&told, 80, Color::Off),
            summary::render(&jumped, 80, Color::Off),
        ] {
            let negative = text.split_whitespace().any(|word| {
                word.strip_prefix('-').is_some_and(|word| word.starts_with(|c: char| c.is_ascii_digit()))
            });
            prop_assert!(!negative, "{}", text);
        }
        let page = html::render(&jumped);
        prop_assert!(!page.contains("NaN"));
        for style in page.split("style=\"left:").skip(1) {
            let (left, rest) = style.split_once("%;width:").unwrap();
            let (width, _) = rest.split_once("%\"").unwrap();
            let (left, width): (f64, f64) = (left.parse().unwrap(), width.parse().unwrap());
            prop_assert!(left >= 0.0 && width > 0.0 && left + width <= 100.01, "{} {}", left, width);
        }
    }
}
