use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::catalog::Version;
use crate::graph::{Resource, ServerSummary, SharedSnapshot, Step};
use crate::names::{Kind, StepId};

const BUDGET: [u32; Resource::COUNT] = [10, 3, 10, 3, 4, 8];

/// What a snapshot of the random graphs claims.
const HELD: u32 = 2;

fn budgets() -> Amounts {
    let amounts: Vec<_> = Resource::ALL.into_iter().zip(BUDGET).collect();
    Amounts::new(&amounts)
}

fn at(step: u32) -> StepIndex {
    StepIndex::new(step as usize)
}

fn graph(steps: Vec<Step>, snapshots: Vec<SharedSnapshot>) -> Graph {
    let server = ServerSummary {
        version: Version(180_000),
        budget: 10,
    };
    Graph {
        name: "test".into(),
        fingerprint: String::new(),
        source: server.clone(),
        target: server,
        databases: Vec::new(),
        steps: steps.into_iter().collect(),
        snapshots: snapshots.into_iter().collect(),
        budgets: budgets(),
        peaks: Amounts::default(),
        findings: Vec::new(),
        tuning: None,
        maintenance_work_mem: 64 << 20,
    }
}

fn step(index: u32, needs: &[u32], claims: &[(Resource, u32)]) -> Step {
    Step {
        id: StepId::database(&Arc::from(format!("db{index}")), Kind::Dump),
        needs: needs.iter().copied().map(at).collect(),
        claims: Amounts::new(claims),
        finally: false,
        snapshot: None,
        command: Vec::new(),
        jobs: 1,
        rank: index,
    }
}

fn retry(attempts: u32) -> Retry {
    Retry {
        restore_settings: Duration::ZERO,
        attempts,
        backoff: Duration::from_secs(1),
        max_backoff: Duration::from_secs(4),
    }
}

const FAILED: Ended = Ended::Failed {
    retry: false,
    snapshot_lost: false,
};

fn steps(starts: &[Start]) -> Vec<u32> {
    starts
        .iter()
        .map(|start| usize::from(start.step) as u32)
        .collect()
}

#[test]
fn a_failed_step_takes_with_it_only_what_needs_it() {
    let graph = graph(
        vec![
            step(0, &[], &[]),
            step(1, &[0], &[]),
            step(2, &[1], &[]),
            step(3, &[0], &[]),
        ],
        Vec::new(),
    );
    let mut schedule = Schedule::new(&graph, [], retry(1)).unwrap();
    assert_eq!(steps(&schedule.start(Duration::ZERO)), [0]);
    schedule.ended(at(0), Ended::Done, Duration::ZERO);
    assert_eq!(steps(&schedule.start(Duration::ZERO)), [1, 3]);
    let consequences = schedule.ended(at(1), FAILED, Duration::ZERO);
    assert_eq!(consequences.skipped, [at(2)]);
    assert!(!schedule.is_finished());
    schedule.ended(at(3), Ended::Done, Duration::ZERO);
    assert!(schedule.is_finished());
    assert_eq!(schedule.standing(at(1)), Standing::Failed);
    assert_eq!(schedule.standing(at(2)), Standing::Skipped);
}

#[test]
fn a_step_that_waits_is_not_overtaken_on_what_it_claims() {
    let connections = Resource::SourceConnections;
    let graph = graph(
        vec![
            step(0, &[], &[(connections, 6)]),
            step(1, &[], &[(connections, 8)]),
            step(2, &[], &[(connections, 2)]),
            step(3, &[], &[(Resource::TargetConnections, 2)]),
        ],
        Vec::new(),
    );
    let mut schedule = Schedule::new(&graph, [], retry(1)).unwrap();
    assert_eq!(steps(&schedule.start(Duration::ZERO)), [0, 3]);
    schedule.ended(at(0), Ended::Done, Duration::ZERO);
    assert_eq!(steps(&schedule.start(Duration::ZERO)), [1, 2]);
}

#[test]
fn a_retry_waits_for_its_pause_and_gives_up_in_the_end() {
    let graph = graph(vec![step(0, &[], &[])], Vec::new());
    let mut schedule = Schedule::new(&graph, [], retry(3)).unwrap();
    let mut now = Duration::ZERO;
    let fails = Ended::Failed {
        retry: true,
        snapshot_lost: false,
    };
    for pause in [1, 2] {
        assert_eq!(schedule.start(now).len(), 1);
        let consequences = schedule.ended(at(0), fails, now);
        assert_eq!(consequences.pause, Some(Duration::from_secs(pause)));
        assert!(schedule.start(now).is_empty());
        now = schedule.wakes_at().unwrap();
    }
    assert_eq!(schedule.start(now)[0].attempt, 3);
    assert_eq!(schedule.ended(at(0), fails, now).pause, None);
    assert_eq!(schedule.standing(at(0)), Standing::Failed);
}

#[test]
fn steps_whose_snapshot_is_lost_are_redone_together() {
    let mut dump = step(0, &[], &[]);
    let mut counts = step(1, &[], &[]);
    dump.snapshot = Some(SnapshotIndex::new(0));
    counts.snapshot = Some(SnapshotIndex::new(0));
    let graph = graph(
        vec![dump, counts, step(2, &[0, 1], &[])],
        vec![SharedSnapshot {
            id: "db/snapshot".into(),
            claims: Amounts::new(&[(Resource::SourceConnections, 1)]),
            steps: vec![at(0), at(1)],
        }],
    );
    let mut schedule = Schedule::new(&graph, [], retry(2)).unwrap();
    assert_eq!(schedule.start(Duration::ZERO).len(), 2);
    assert_eq!(schedule.taken().get(Resource::SourceConnections), 1);
    schedule.ended(at(0), Ended::Done, Duration::ZERO);
    let lost = Ended::Failed {
        retry: true,
        snapshot_lost: true,
    };
    let consequences = schedule.ended(at(1), lost, Duration::ZERO);
    assert_eq!(consequences.redone, [at(0)]);
    assert_eq!(steps(&schedule.start(Duration::ZERO)), [0]);
    assert_eq!(steps(&schedule.start(Duration::from_secs(1))), [1]);
    schedule.ended(at(1), Ended::Done, Duration::from_secs(1));
    assert!(schedule.start(Duration::from_secs(1)).is_empty());
    let consequences = schedule.ended(at(0), Ended::Done, Duration::from_secs(1));
    assert_eq!(consequences.closed_snapshot, Some(SnapshotIndex::new(0)));
    assert_eq!(*schedule.taken(), Amounts::default());
    assert_eq!(steps(&schedule.start(Duration::from_secs(1))), [2]);
}

#[test]
fn a_step_that_began_under_a_lost_snapshot_is_done_again_under_the_new_one() {
    let mut dump = step(0, &[], &[]);
    let mut counts = step(1, &[], &[]);
    dump.snapshot = Some(SnapshotIndex::new(0));
    counts.snapshot = Some(SnapshotIndex::new(0));
    let snapshot = SharedSnapshot {
        id: "db/snapshot".into(),
        claims: Amounts::default(),
        steps: vec![at(0), at(1)],
    };
    let graph = graph(vec![dump, counts], vec![snapshot]);
    let mut schedule = Schedule::new(&graph, [], retry(3)).unwrap();
    let lost = || Ended::Failed {
        retry: true,
        snapshot_lost: true,
    };
    let second = Duration::from_secs(1);
    schedule.start(Duration::ZERO);
    schedule.ended(at(1), lost(), Duration::ZERO);
    assert!(schedule.is_stale(at(0)));
    assert_eq!(steps(&schedule.start(second)), [1]);
    // It held on to the old one to its end. The counts under the new one stay.
    assert_eq!(
        schedule.ended(at(0), lost(), second).redone,
        Vec::<StepIndex>::new()
    );
    assert!(!schedule.is_stale(at(1)));
    schedule.ended(at(1), Ended::Done, second);
    assert_eq!(steps(&schedule.start(2 * second)), [0]);
    assert!(!schedule.is_stale(at(0)));
    schedule.ended(at(0), Ended::Done, 2 * second);
    assert!(schedule.is_finished());
}

/// The delayed dump, whose database is being restored already: it is tried again alone.
#[test]
fn a_lost_snapshot_redoes_nothing_that_was_made_use_of() {
    let mut dump = step(0, &[], &[]);
    let mut delayed = step(1, &[0], &[]);
    dump.snapshot = Some(SnapshotIndex::new(0));
    delayed.snapshot = Some(SnapshotIndex::new(0));
    let snapshot = SharedSnapshot {
        id: "db/snapshot".into(),
        claims: Amounts::default(),
        steps: vec![at(0), at(1)],
    };
    let graph = graph(vec![dump, delayed, step(2, &[0], &[])], vec![snapshot]);
    let mut schedule = Schedule::new(&graph, [], retry(2)).unwrap();
    schedule.start(Duration::ZERO);
    schedule.ended(at(0), Ended::Done, Duration::ZERO);
    assert_eq!(steps(&schedule.start(Duration::ZERO)), [1, 2]);
    let lost = Ended::Failed {
        retry: true,
        snapshot_lost: true,
    };
    let consequences = schedule.ended(at(1), lost, Duration::ZERO);
    assert_eq!(consequences.redone, Vec::<StepIndex>::new());
    assert_eq!(steps(&schedule.start(Duration::from_secs(1))), [1]);
}

#[test]
fn a_step_of_the_end_runs_after_a_failure_and_after_a_stop() {
    let mut last = step(2, &[0, 1], &[]);
    last.finally = true;
    let graph = graph(vec![step(0, &[], &[]), step(1, &[0], &[]), last], vec![]);
    for stops in [false, true] {
        let mut schedule = Schedule::new(&graph, [], retry(1)).unwrap();
        schedule.start(Duration::ZERO);
        let ended = if stops {
            schedule.stop();
            Ended::Interrupted
        } else {
            FAILED
        };
        schedule.ended(at(0), ended, Duration::ZERO);
        assert_eq!(steps(&schedule.start(Duration::ZERO)), [2]);
        schedule.ended(at(2), Ended::Done, Duration::ZERO);
        assert!(schedule.is_finished());
    }
}

#[test]
fn a_claim_that_can_never_be_granted_is_refused_at_once() {
    let graph = graph(
        vec![step(0, &[], &[(Resource::TargetConnections, 11)])],
        Vec::new(),
    );
    let error = Schedule::new(&graph, [], retry(1)).unwrap_err();
    assert_eq!(error.step, "db0/dump");
}

prop_compose! {
    /// A step with some claims, needs among the steps before it, and perhaps a share in a snapshot.
    fn any_step(index: u32)(
        claims in prop::collection::vec((0..Resource::COUNT, 1..9_u32), 0..3),
        needs in prop::collection::vec(any::<prop::sample::Index>(), 0..3),
        snapshot in prop::option::weighted(0.4, 0..3_usize),
        rank in 0..100_u32,
        finally in prop::bool::weighted(0.1),
    ) -> Step {
        let mut amounts = Amounts::default();
        for (resource, amount) in claims {
            amounts.set(Resource::ALL[resource], amount.min(BUDGET[resource]));
        }
        let needs = if index == 0 {
            Vec::new()
        } else {
            needs.iter().map(|need| need.index(index as usize) as u32).collect()
        };
        let mut step = step(index, &needs, &[]);
        step.needs.sort_unstable();
        step.needs.dedup();
        step.claims = amounts;
        step.snapshot = snapshot.filter(|_| !finally).map(SnapshotIndex::new);
        step.rank = rank;
        step.finally = finally;
        step
    }
}

fn any_graph() -> impl Strategy<Value = Graph> {
    (1..25_u32)
        .prop_flat_map(|count| (0..count).map(any_step).collect::<Vec<_>>())
        .prop_map(|mut steps| {
            let mut snapshots: Vec<SharedSnapshot> = (0..3)
                .map(|index| SharedSnapshot {
                    id: format!("snapshot{index}"),
                    claims: Amounts::new(&[(Resource::SourceConnections, HELD)]),
                    steps: Vec::new(),
                })
                .collect();
            let snapshot_of: Vec<_> = steps.iter().map(|step| step.snapshot).collect();
            for (index, step) in steps.iter_mut().enumerate() {
                if let Some(snapshot) = step.snapshot {
                    // What a step with a snapshot claims is close to what there is: the case in which snapshots could
                    // block each other. It needs none but others of its snapshot, as a delayed dump does.
                    step.needs
                        .retain(|need| snapshot_of[usize::from(*need)] == Some(snapshot));
                    let most = BUDGET[Resource::SourceConnections as usize] - HELD;
                    step.claims
                        .set(Resource::SourceConnections, most - step.rank % 3);
                    snapshots[usize::from(snapshot)]
                        .steps
                        .push(StepIndex::new(index));
                }
            }
            graph(steps, snapshots)
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn whatever_happens_budgets_hold_and_every_step_ends_once(
        graph in any_graph(),
        choices in prop::collection::vec((any::<usize>(), 0..10_u8), 400),
        stops_at in prop::option::of(0..40_usize),
        done_before in prop::collection::vec(any::<bool>(), 25),
    ) {
        // What is done must be closed under needs, as a journal's is.
        let mut done = vec![false; graph.steps.len()];
        for (index, step) in graph.steps.iter().enumerate() {
            done[index] = done_before[index] && !step.finally
                && step.needs.iter().all(|need| done[usize::from(*need)]);
        }
        let before = done.iter().enumerate().filter(|(_, done)| **done).map(|(index, _)| StepIndex::new(index));
        let mut schedule = Schedule::new(&graph, before, retry(3)).unwrap();
        let mut now = Duration::ZERO;
        let mut running: Vec<StepIndex> = Vec::new();
        // How often each snapshot was lost, and how often it had when each step began.
        let mut losses = vec![0; graph.snapshots.len()];
        let mut losses_before = vec![0; graph.steps.len()];
        let mut failed = false;
        let mut choices = choices.into_iter();
        let mut turn = 0;
        while !schedule.is_finished() {
            for start in schedule.start(now) {
                let step = &graph.steps[start.step];
                for need in &step.needs {
                    let standing = schedule.standing(*need);
                    prop_assert!(standing == Standing::Done || (step.finally && standing.has_ended()));
                }
                prop_assert!(!running.contains(&start.step));
                running.push(start.step);
                if let Some(snapshot) = step.snapshot {
                    losses_before[usize::from(start.step)] = losses[usize::from(snapshot)];
                }
            }
            prop_assert!(schedule.taken().fits_in(&graph.budgets));
            let claimed = running.iter().fold(Amounts::default(), |sum, step| {
                sum.plus(&graph.steps[*step].claims)
            });
            prop_assert!(claimed.fits_in(schedule.taken()));
            turn += 1;
            if stops_at == Some(turn) {
                schedule.stop();
                continue;
            }
            if running.is_empty() {
                // Nothing could be started, so something must be waiting for its pause.
                let wake = schedule.wakes_at();
                prop_assert!(wake.is_some(), "deadlock");
                now = wake.unwrap_or(now).max(now);
                continue;
            }
            let (choice, fate) = choices.next().unwrap_or((0, 9));
            let step = running.swap_remove(choice % running.len());
            let ended = match fate {
                0 => FAILED,
                1 => Ended::Failed { retry: true, snapshot_lost: false },
                2 => Ended::Failed { retry: true, snapshot_lost: true },
                _ if schedule.is_stale(step) => Ended::Failed { retry: true, snapshot_lost: true },
                3 if stops_at.is_some_and(|stop| stop < turn) => Ended::Interrupted,
                _ => Ended::Done,
            };
            let is_stale = schedule.is_stale(step);
            if let Some(snapshot) = graph.steps[step].snapshot {
                let began = losses_before[usize::from(step)];
                prop_assert_eq!(is_stale, began < losses[usize::from(snapshot)]);
                let is_lost = matches!(ended, Ended::Failed { snapshot_lost: true, .. }) && !is_stale;
                schedule.ended(step, ended, now);
                let again = matches!(schedule.standing(step), Standing::Paused(_));
                losses[usize::from(snapshot)] += u32::from(is_lost && again);
            } else {
                schedule.ended(step, ended, now);
            }
            failed |= schedule.standing(step) == Standing::Failed;
        }
        prop_assert!(running.is_empty());
        prop_assert_eq!(*schedule.taken(), Amounts::default());
        for index in graph.steps.positions() {
            let standing = schedule.standing(index);
            prop_assert!(standing.has_ended());
            if standing == Standing::Skipped {
                prop_assert!(failed);
            }
        }
    }
}
