use std::sync::Arc;

use jiff::Timestamp;

use super::*;
use crate::graph::tests::synthetic::{Case, database};
use crate::journal::{Created, RunState, Status, StepState};
use crate::names::Sightings;

const SECOND: i64 = 1_000_000;

fn primary(timeline: u32, position: u64) -> Sighting {
    Sighting {
        identifier: Some(7),
        timeline: Some(timeline),
        position,
        next_transaction: 1000,
        started: 100 * SECOND,
        seen: i64::try_from(position).unwrap() * SECOND,
    }
}

/// Both servers, as they are seen.
fn seen(source: Sighting, target: Sighting) -> Inspection {
    let case = Case::new("", vec![database("open", 1, 1), database("closed", 1, 1)]);
    let mut inspection = case.inspection;
    inspection.source.seen = Some(source);
    inspection.target.seen = Some(target);
    inspection
}

fn done(state: &mut State, step: &str) {
    let step_state = StepState {
        status: Status::Done,
        attempt: 1,
        run: 0,
        started: Timestamp::UNIX_EPOCH,
        seconds: None,
        error: None,
        output: Arc::default(),
    };
    state.steps.insert(step.parse().unwrap(), step_state);
}

/// One database is verified and open, another verified and closed, a third restored; both servers were seen at 500.
fn state(inspection: &Inspection) -> State {
    let mut state = State {
        runs: vec![RunState {
            started: Timestamp::UNIX_EPOCH,
            fingerprint: String::new(),
            source: inspection.source.system_identifier.clone(),
            target: inspection.target.system_identifier.clone(),
            findings: Vec::new(),
            databases: None,
            warnings: Vec::new(),
            is_reset: false,
            ended: None,
        }],
        seen: Sightings {
            source: Some(primary(1, 500)),
            target: Some(primary(1, 500)),
        },
        ..State::default()
    };
    for (name, oid) in [("open", 1), ("closed", 2), ("restored", 3)] {
        for kind in ["create", "dump", "source-counts", "restore"] {
            done(&mut state, &format!("{name}/{kind}"));
        }
        let created = Created::WithOid(oid);
        state.created.insert(name.to_owned(), created);
        state.closed.insert(name.to_owned());
    }
    for name in ["open", "closed"] {
        done(&mut state, &format!("{name}/verify"));
        state.verified.insert(name.to_owned(), None);
    }
    state.closed.remove("open");
    state
}

fn steps_of(state: &State, name: &str) -> String {
    let steps = state.steps.keys().filter(|step| step.is_about(name));
    let mut kinds: Vec<&str> = steps.map(|step| step.kind.as_str()).collect();
    kinds.sort_unstable();
    kinds.join(" ")
}

#[test]
fn nothing_is_doubted_while_both_servers_go_on() {
    let inspection = seen(primary(1, 600), primary(1, 500));
    let state = state(&inspection);
    let doubts = Doubts::find(&state, &inspection, None);
    assert_eq!(doubts, Doubts::default());
    assert!(matches!(doubts.believed(&state), Cow::Borrowed(_)));
}

#[test]
fn another_cluster_is_another_matter() {
    let mut inspection = seen(primary(1, 600), primary(1, 100));
    let state = state(&inspection);
    inspection.target.system_identifier = Some("another".into());
    assert_eq!(Doubts::find(&state, &inspection, None), Doubts::default());
}

/// What is not open yet is made again from its archive where that is kept, and it stays ours.
#[test]
fn after_a_promotion_only_what_is_in_use_is_believed() {
    let inspection = seen(primary(1, 600), primary(2, 400));
    let state = state(&inspection);
    let doubts = Doubts::find(&state, &inspection, None);
    let target = doubts.target.as_ref().unwrap();
    assert_eq!(target.databases.in_use, ["open"]);
    assert_eq!(target.databases.again, ["closed", "restored"]);
    let believed = doubts.believed(&state);
    assert_eq!(
        steps_of(&believed, "open"),
        "create dump restore source-counts verify"
    );
    assert_eq!(steps_of(&believed, "closed"), "");
    assert_eq!(steps_of(&believed, "restored"), "dump source-counts");
    assert!(!believed.verified.contains_key("closed"));
    assert_eq!(believed.made("restored"), Some(3));
    assert!(believed.is_closed("restored"));
}

/// An object id is given out again there.
#[test]
fn in_an_older_state_nothing_is_ours() {
    let inspection = seen(primary(1, 600), primary(1, 400));
    let state = state(&inspection);
    let doubts = Doubts::find(&state, &inspection, None);
    let believed = doubts.believed(&state);
    assert_eq!(believed.made("restored"), None);
    assert!(!believed.is_closed("restored"));
    assert_eq!(believed.made("open"), Some(1));
}

/// That it is dropped only where it was not written to holds on.
#[test]
fn what_was_named_to_be_dropped_is_no_matter_of_trust() {
    let inspection = seen(primary(1, 600), primary(2, 400));
    let mut state = state(&inspection);
    state.may_drop.insert("open".to_owned());
    let doubts = Doubts::find(&state, &inspection, None);
    let target = doubts.target.as_ref().unwrap();
    assert!(target.databases.in_use.is_empty());
    let believed = doubts.believed(&state);
    assert!(believed.verified.contains_key("open"));
    // In an older state it is not known whose it is.
    let inspection = seen(primary(1, 600), primary(1, 400));
    let doubts = Doubts::find(&state, &inspection, None);
    assert_eq!(doubts.believed(&state).made("open"), None);
}

#[test]
fn after_the_source_failed_over_what_is_not_verified_is_dumped_again() {
    let inspection = seen(primary(2, 400), primary(1, 600));
    let state = state(&inspection);
    let doubts = Doubts::find(&state, &inspection, None);
    let source = doubts.source.as_ref().unwrap();
    assert_eq!(source.databases.in_use, ["closed", "open"]);
    assert_eq!(source.databases.again, ["restored"]);
    let believed = doubts.believed(&state);
    assert_eq!(steps_of(&believed, "restored"), "");
    assert_eq!(believed.made("restored"), Some(3));
    assert_eq!(
        steps_of(&believed, "closed"),
        "create dump restore source-counts verify"
    );
}

/// What is made again on the target is not kept because it was verified there.
#[test]
fn where_both_failed_over_both_rules_hold() {
    let inspection = seen(primary(2, 400), primary(2, 400));
    let state = state(&inspection);
    let doubts = Doubts::find(&state, &inspection, None);
    let source = doubts.source.as_ref().unwrap();
    assert_eq!(source.databases.in_use, ["open"]);
    let believed = doubts.believed(&state);
    assert_eq!(steps_of(&believed, "closed"), "");
    assert_eq!(steps_of(&believed, "restored"), "");
}
