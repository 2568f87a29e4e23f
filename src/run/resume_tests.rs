use std::collections::BTreeMap;

use jiff::Timestamp;
use proptest::prelude::*;

use super::*;
use crate::graph::tests::synthetic::{Case, database};
use crate::journal::StepState;
use crate::names::{ArchiveSeal, Compared, Counts, Dumped, RegularDump, TableResult};

/// The databases `a` and `b`.
fn graph() -> Graph {
    Case::new("", vec![database("a", 1, 2), database("b", 2, 2)]).compile()
}

fn id(text: &str) -> StepId {
    text.parse().unwrap()
}

/// A journal in which these steps stand so.
fn state<'a>(steps: impl IntoIterator<Item = (&'a str, Status)>) -> State {
    let steps = steps.into_iter().map(|(step, status)| {
        let is_difference = status == Status::Failed && id(step).kind == Kind::Verify;
        let state = StepState {
            status,
            attempt: 1,
            run: 0,
            started: Timestamp::UNIX_EPOCH,
            seconds: None,
            error: None,
            output: if is_difference {
                difference()
            } else {
                Arc::default()
            },
        };
        (id(step), state)
    });
    State {
        steps: steps.collect(),
        ..State::default()
    }
}

/// What a verification yields that finds one.
fn difference() -> Arc<Output> {
    let result = TableResult {
        table: TableName::new("public", "table_0000"),
        source_rows: Some(1),
        target_rows: Some(0),
        matches: false,
        note: None,
    };
    let tables = vec![result];
    Arc::new(Product::Comparison(Compared { tables }).into())
}

/// A journal in which these steps are done.
fn done(steps: &[&'static str]) -> Vec<(&'static str, Status)> {
    steps.iter().map(|step| (*step, Status::Done)).collect()
}

/// What a run would take over, and what it would do again. Every archive is there.
fn resumed(state: &State, read_only: bool) -> (Vec<String>, Vec<String>) {
    named(&resume(
        &graph(),
        state,
        policy(read_only),
        |_| None,
        |_| true,
    ))
}

fn policy(source_is_read_only: bool) -> ResumePolicy {
    ResumePolicy {
        source_is_read_only,
        ..ResumePolicy::default()
    }
}

fn named(resume: &Resume) -> (Vec<String>, Vec<String>) {
    let graph = graph();
    let done = resume.done.iter();
    let done = done.map(|step| graph.steps[*step].id.to_string());
    let again = resume.forgotten.iter().map(|(step, _)| step.to_string());
    (done.collect(), again.collect())
}

#[test]
fn a_first_run_takes_nothing_over() {
    assert_eq!(
        resume(
            &graph(),
            &State::default(),
            ResumePolicy::default(),
            |_| None,
            |_| false
        ),
        Resume::default()
    );
}

#[test]
fn only_what_has_an_end_is_done() {
    for status in [Status::Started, Status::Failed, Status::Interrupted] {
        let state = state([("a/create", Status::Done), ("b/create", status)]);
        let (done, again) = resumed(&state, false);
        assert_eq!(done, ["a/create"], "{status:?}");
        assert_eq!(again, Vec::<String>::new());
    }
}

#[test]
fn roles_are_looked_at_again_by_a_run_that_has_work() {
    let state = state([("globals", Status::Done), ("a/create", Status::Done)]);
    let (done, again) = resumed(&state, false);
    assert_eq!(done, ["a/create"]);
    assert_eq!(again, ["globals"]);
}

#[test]
fn a_completed_database_stays_as_it_is_though_its_archive_is_gone() {
    let all = [
        "a/create",
        "a/dump",
        "a/source-counts",
        "a/restore",
        "a/target-counts",
        "a/verify",
    ];
    let resume = resume(
        &graph(),
        &state(done(&all)),
        ResumePolicy::default(),
        |_| None,
        |_| false,
    );
    let (done, again) = named(&resume);
    assert_eq!(done, all);
    assert_eq!(again, Vec::<String>::new());
}

#[test]
fn a_database_whose_restore_did_not_end_is_made_again_from_its_archive() {
    for status in [Status::Started, Status::Failed, Status::Interrupted] {
        let mut steps = done(&["a/create", "a/dump", "a/source-counts"]);
        steps.push(("a/restore", status));
        let (done, again) = resumed(&state(steps), false);
        assert_eq!(done, ["a/dump", "a/source-counts"], "{status:?}");
        assert_eq!(again, ["a/create"]);
    }
}

#[test]
fn a_database_that_a_crash_emptied_is_made_again_until_it_is_verified() {
    let emptied = |steps: &[(&'static str, Status)], read_only, is_whole: bool| {
        let state = state(steps.iter().copied());
        named(&resume(
            &graph(),
            &state,
            policy(read_only),
            |database| (database == "a").then_some(EMPTIED),
            |_| is_whole,
        ))
    };
    let mut steps = done(&["a/create", "a/dump", "a/source-counts", "a/restore"]);
    let (done_still, again) = emptied(&steps, false, true);
    assert_eq!(done_still, ["a/dump", "a/source-counts"]);
    assert_eq!(again, ["a/create", "a/restore"]);
    // The archive was removed at the end of the verification, which is not on record.
    steps.extend(done(&["a/target-counts"]));
    steps.push(("a/verify", Status::Interrupted));
    assert_eq!(emptied(&steps, false, false).0, Vec::<String>::new());
    assert_eq!(emptied(&steps, true, false).0, ["a/source-counts"]);
    steps.pop();
    steps.extend(done(&["a/verify"]));
    let (done_still, again) = emptied(&steps, false, true);
    assert_eq!(done_still, VERIFIED);
    assert_eq!(again, Vec::<String>::new());
}

#[test]
fn what_0_1_0_did_counts_where_it_verified_the_database() {
    let resumed_of = |steps: &[&'static str]| {
        let mut state = state(done(steps));
        state.done_by_0_1_0 = steps.iter().map(|step| id(step)).collect();
        resumed(&state, false)
    };
    let (still_done, again) = resumed_of(&RESTORED);
    assert_eq!(still_done, Vec::<String>::new());
    assert_eq!(
        again,
        ["a/create", "a/dump", "a/source-counts", "a/restore"]
    );
    let (still_done, again) = resumed_of(&VERIFIED);
    assert_eq!(still_done, VERIFIED);
    assert_eq!(again, Vec::<String>::new());
}

#[test]
fn a_dump_without_its_counts_is_redone_because_their_snapshot_is_gone() {
    for counts in [Status::Started, Status::Failed] {
        let mut steps = done(&["a/create", "a/dump"]);
        steps.push(("a/source-counts", counts));
        let (done, again) = resumed(&state(steps.clone()), false);
        assert_eq!(done, ["a/create"]);
        assert_eq!(again, ["a/dump", "a/source-counts"]);
        // The source is read-only, so a new snapshot shows the same.
        let (done, again) = resumed(&state(steps), true);
        assert_eq!(done, ["a/create", "a/dump"]);
        assert_eq!(again, Vec::<String>::new());
    }
}

/// Whoever wrote before the key was set is in one of the two.
#[test]
fn a_read_only_source_says_nothing_of_the_time_before() {
    for (dumped_then, counted_then, kept) in [(true, true, 2), (false, true, 0), (false, false, 0)]
    {
        let mut steps = done(&["a/create", "a/dump"]);
        steps.push(("a/source-counts", Status::Interrupted));
        let mut state = state(steps);
        let mut dump = regular_dump(&[]);
        dump.dump.source_read_only = dumped_then;
        state.steps.get_mut(&id("a/dump")).unwrap().output = Arc::new(Product::Dump(dump).into());
        let (still_done, _) = resumed(&state, true);
        assert_eq!(still_done.len(), if dumped_then { 2 } else { 1 });
        let counts = Counts {
            tables: Vec::new(),
            estimated: false,
            snapshot: None,
            source_read_only: counted_then,
            large_objects: None,
            large_objects_before: None,
        };
        let counted = state.steps.get_mut(&id("a/source-counts")).unwrap();
        counted.status = Status::Done;
        counted.output = Arc::new(Product::Counts(counts).into());
        let (still_done, _) = resumed(&state, true);
        assert_eq!(still_done.len(), 1 + kept);
    }
}

#[test]
fn counts_of_another_mode_are_redone_until_the_database_is_restored() {
    let fast = |steps: &[&'static str], read_only| {
        let state = state(done(steps));
        let terms = ResumePolicy {
            verify: VerifyMode::Fast,
            ..policy(read_only)
        };
        named(&resume(&graph(), &state, terms, |_| None, |_| true)).1
    };
    let dumped = ["a/create", "a/dump", "a/source-counts"];
    assert_eq!(fast(&dumped, false), ["a/source-counts", "a/dump"]);
    assert_eq!(fast(&dumped, true), ["a/source-counts"]);
    let restored = [&dumped[..], &["a/restore"]].concat();
    assert_eq!(fast(&restored, false), Vec::<String>::new());
}

#[test]
fn estimates_are_not_enough_where_rows_are_counted_now() {
    let exact = |steps: &[&'static str], read_only| {
        let mut state = state(done(steps));
        let counted = state.steps.get_mut(&id("a/source-counts")).unwrap();
        let counts = Counts {
            tables: Vec::new(),
            estimated: true,
            snapshot: None,
            source_read_only: true,
            large_objects: None,
            large_objects_before: None,
        };
        counted.output = Arc::new(Product::Counts(counts).into());
        let mut dump = regular_dump(&[]);
        dump.dump.source_read_only = true;
        state.steps.get_mut(&id("a/dump")).unwrap().output = Arc::new(Product::Dump(dump).into());
        let mut again = resumed(&state, read_only).1;
        again.sort();
        again
    };
    let counted = &VERIFIED[..VERIFIED.len() - 1];
    let mut all = counted.to_vec();
    all.sort_unstable();
    assert_eq!(exact(counted, false), all);
    assert_eq!(exact(counted, true), ["a/source-counts", "a/target-counts"]);
    // Clients may use it.
    assert_eq!(exact(&VERIFIED, false), Vec::<String>::new());
}

#[test]
fn counts_without_their_dump_are_redone_too() {
    let steps = state([
        ("a/create", Status::Done),
        ("a/dump", Status::Interrupted),
        ("a/source-counts", Status::Done),
    ]);
    assert_eq!(resumed(&steps, false).0, ["a/create"]);
    assert_eq!(resumed(&steps, true).0, ["a/create", "a/source-counts"]);
}

#[test]
fn a_dump_whose_archive_is_gone_is_redone_and_its_counts_with_it() {
    let steps = state(done(&["a/create", "a/dump", "a/source-counts"]));
    let resumed = |read_only| {
        named(&resume(
            &graph(),
            &steps,
            policy(read_only),
            |_| None,
            |dump| *dump != id("a/dump"),
        ))
    };
    let (done, again) = resumed(false);
    assert_eq!(done, ["a/create"]);
    assert_eq!(again, ["a/dump", "a/source-counts"]);
    let (done, again) = resumed(true);
    assert_eq!(done, ["a/create", "a/source-counts"]);
    assert_eq!(again, ["a/dump"]);
}

#[test]
fn the_target_is_counted_again_after_a_difference() {
    let whole = [
        "a/create",
        "a/dump",
        "a/source-counts",
        "a/restore",
        "a/target-counts",
    ];
    let mut steps = done(&whole);
    steps.push(("a/verify", Status::Failed));
    let (done, again) = resumed(&state(steps), false);
    assert_eq!(done, whole[..4]);
    assert_eq!(again, ["a/target-counts"]);
}

/// It may have opened the database already: what clients write since is no difference.
#[test]
fn the_target_is_not_counted_again_where_the_verification_failed_otherwise() {
    let mut steps = done(&VERIFIED[..5]);
    steps.push(("a/verify", Status::Failed));
    let mut state = state(steps);
    state.steps.get_mut(&id("a/verify")).unwrap().output = Arc::default();
    let (done, again) = resumed(&state, false);
    assert_eq!(done, VERIFIED[..5]);
    assert_eq!(again, Vec::<String>::new());
}

#[test]
fn the_target_is_tuned_again_by_a_run_that_loads_and_by_no_other() {
    let everything: Vec<String> = graph()
        .steps
        .iter()
        .map(|step| step.id.to_string())
        .collect();
    let all = || everything.iter().map(|step| (step.as_str(), Status::Done));
    let (done, again) = resumed(&state(all()), false);
    assert_eq!((done.len(), again.len()), (everything.len(), 0));

    let with = |step: &'static str, status| state(all().chain([(step, status)]));
    let (done, again) = resumed(&with("a/verify", Status::Failed), false);
    assert!(done.contains(&"b/verify".to_owned()));
    assert_eq!(
        again,
        [
            "a/target-counts",
            "globals",
            "tune-target",
            "restore-settings"
        ]
    );

    // The run before was killed at its very end.
    let (done, again) = resumed(&with("restore-settings", Status::Interrupted), false);
    assert_eq!(done.len(), everything.len() - 1);
    assert_eq!(again, Vec::<String>::new());
}

#[test]
fn a_database_that_does_not_migrate_any_more_is_left_alone() {
    let steps = state([
        ("gone/create", Status::Done),
        ("gone/restore", Status::Failed),
    ]);
    assert_eq!(resumed(&steps, false), (Vec::new(), Vec::new()));
}

/// The database `a` with a delayed table.
fn delayed_graph(snapshot: &str) -> Graph {
    let rest = format!("[delay]\ntable_data = [\"a.table_0000\"]\nsnapshot = \"{snapshot}\"");
    Case::new(&rest, vec![database("a", 1, 2)]).compile()
}

/// As [`resumed`], with a delayed table in `a`.
fn resumed_with_delays(
    snapshot: &str,
    steps: &[(&'static str, Status)],
    read_only: bool,
    archive_exists: impl Fn(&StepId) -> bool,
) -> (Vec<String>, Vec<String>) {
    let graph = delayed_graph(snapshot);
    let mut state = state(steps.iter().copied());
    leave_to_the_delayed_phase(&mut state, &graph.databases[0].delayed);
    let resume = resume(&graph, &state, policy(read_only), |_| None, archive_exists);
    let done = resume.done.iter();
    let done = done.map(|step| graph.steps[*step].id.to_string());
    let again = resume.forgotten.iter().map(|(step, _)| step.to_string());
    (done.collect(), again.collect())
}

fn regular_dump(delayed: &[TableName]) -> RegularDump {
    RegularDump {
        dump: Dumped {
            archive: ArchiveSeal {
                files: 1,
                bytes: 1,
                digest: String::new(),
            },
            snapshot: "00000003-1".into(),
            oldest_transaction: None,
            source_read_only: true,
            database: None,
            source: None,
        },
        delayed: delayed.to_vec(),
        sequences: Vec::new(),
        meanings: Vec::new(),
    }
}

/// What `a` was dumped without.
fn leave_to_the_delayed_phase(state: &mut State, tables: &[TableName]) {
    if let Some(dump) = state.steps.get_mut(&id("a/dump")) {
        dump.output = Arc::new(Product::Dump(regular_dump(tables)).into());
    }
    if let Some(counted) = state.steps.get_mut(&id("a/source-counts")) {
        let counts = Counts {
            tables: Vec::new(),
            estimated: false,
            snapshot: Some("00000003-1".into()),
            source_read_only: true,
            large_objects: None,
            large_objects_before: None,
        };
        counted.output = Arc::new(Product::Counts(counts).into());
    }
}

const RESTORED: [&str; 4] = ["a/create", "a/dump", "a/source-counts", "a/restore"];
const VERIFIED: [&str; 6] = [
    "a/create",
    "a/dump",
    "a/source-counts",
    "a/restore",
    "a/target-counts",
    "a/verify",
];

#[test]
fn a_snapshot_that_delayed_tables_share_takes_the_database_with_it_until_that_is_verified() {
    let resumed = |steps: &[&'static str], read_only| {
        resumed_with_delays("same", &done(steps), read_only, |_| true)
    };
    assert_eq!(resumed(&RESTORED, false).0, Vec::<String>::new());
    assert_eq!(resumed(&RESTORED, true).0, RESTORED);
    // Clients may write to it, so it is not created again: the delayed dump says what to do.
    assert_eq!(resumed(&VERIFIED, false), resumed(&VERIFIED, true));
    assert_eq!(resumed(&VERIFIED, false).0, VERIFIED);
}

#[test]
fn a_later_snapshot_is_nothing_to_the_regular_phase() {
    let mut steps = done(&RESTORED);
    assert_eq!(
        resumed_with_delays("later", &steps, false, |_| true).0,
        RESTORED
    );
    steps.extend(done(&["a/target-counts"]));
    steps.push(("a/verify", Status::Failed));
    let (done, again) = resumed_with_delays("later", &steps, false, |_| true);
    assert_eq!(done, RESTORED);
    assert_eq!(again, ["a/target-counts"]);
}

#[test]
fn delayed_tables_are_not_of_a_time_before_the_others() {
    let steps = done(&["a/create", "a/dump", "a/source-counts", "a/delayed-dump"]);
    for snapshot in ["same", "later"] {
        let gone = |dump: &StepId| dump.kind != Kind::Dump;
        let (_, again) = resumed_with_delays(snapshot, &steps, false, gone);
        assert!(again.contains(&"a/delayed-dump".to_owned()), "{again:?}");
    }
}

#[test]
fn delayed_tables_whose_archive_is_gone_are_dumped_again_until_they_are_loaded() {
    let mut steps = done(&VERIFIED);
    steps.extend(done(&["a/delayed-dump", "a/drop-indexes"]));
    steps.push(("a/delayed-restore", Status::Failed));
    for snapshot in ["same", "later"] {
        let gone = |dump: &StepId| dump.kind != Kind::DelayedDump;
        let (_, again) = resumed_with_delays(snapshot, &steps, false, gone);
        assert_eq!(again, ["a/delayed-dump"]);
        let mut loaded = steps.clone();
        loaded.pop();
        loaded.extend(done(&["a/delayed-restore"]));
        let (_, again) = resumed_with_delays(snapshot, &loaded, false, gone);
        assert_eq!(again, Vec::<String>::new());
    }
}

#[test]
fn other_delayed_tables_take_the_database_with_them_until_that_is_verified() {
    let graph = delayed_graph("later");
    let dumped_without = |steps: &[&'static str], tables: &[&str]| {
        let mut state = state(done(steps));
        let tables: Vec<TableName> = tables.iter().map(|table| table.parse().unwrap()).collect();
        leave_to_the_delayed_phase(&mut state, &tables);
        let resume = resume(&graph, &state, ResumePolicy::default(), |_| None, |_| true);
        (resume.done.len(), resume.conflicts.len())
    };
    let same = ["public.table_0000"];
    assert_eq!(dumped_without(&RESTORED, &same), (4, 0));
    assert_eq!(dumped_without(&RESTORED, &[]), (0, 0));
    assert_eq!(dumped_without(&RESTORED, &["public.table_0001"]), (0, 0));
    // The data that was left out would never come, or what is there would come twice.
    assert_eq!(dumped_without(&VERIFIED, &same), (6, 0));
    assert_eq!(dumped_without(&VERIFIED, &[]).1, 1);
    assert_eq!(dumped_without(&VERIFIED, &["public.table_0001"]).1, 1);
    let loaded: Vec<&'static str> = VERIFIED
        .into_iter()
        .chain([
            "a/delayed-dump",
            "a/drop-indexes",
            "a/delayed-restore",
            "a/recreate-indexes",
            "a/delayed-verify",
        ])
        .collect();
    assert_eq!(dumped_without(&loaded, &["public.table_0001"]).1, 0);

    // The pattern was removed before the delayed data came.
    let without = Case::new("", vec![database("a", 1, 2)]).compile();
    let mut state = state(done(&VERIFIED));
    leave_to_the_delayed_phase(&mut state, &[TableName::new("public", "table_0000")]);
    let resume = resume(
        &without,
        &state,
        ResumePolicy::default(),
        |_| None,
        |_| true,
    );
    insta::assert_snapshot!(
        resume.conflicts.join("\n"),
        @r#"database "a": its delayed tables were [public.table_0000] when it was dumped, now they are []; if public.table_0000 was dropped or renamed on the source before its rows were dumped: give it its name back, or create the database again"#
    );
}

/// What can be on record for one database of this graph: steps that started, each after those that it
/// needs were done.
fn any_record(graph: &Graph) -> impl Strategy<Value = BTreeMap<Kind, Status>> + use<> {
    let end = prop_oneof![
        8 => Just(Some(Status::Done)),
        1 => Just(Some(Status::Failed)),
        1 => Just(Some(Status::Interrupted)),
        1 => Just(Some(Status::Started)),
        1 => Just(None),
    ];
    let steps: Vec<(Kind, Vec<Kind>)> = graph
        .steps
        .iter()
        .map(|step| {
            let kind = |need: &StepIndex| graph.steps[*need].id.kind;
            (step.id.kind, step.needs.iter().map(kind).collect())
        })
        .collect();
    prop::collection::vec(end, steps.len()).prop_map(move |ends| {
        let mut record = BTreeMap::new();
        for ((kind, needs), end) in steps.iter().zip(ends) {
            let may_start = needs
                .iter()
                .all(|need| record.get(need) == Some(&Status::Done));
            if let Some(end) = end.filter(|_| may_start) {
                record.insert(*kind, end);
            }
        }
        record
    })
}

proptest! {
    #[test]
    fn nothing_counts_as_done_that_has_to_be_redone(
        (snapshot, record) in prop::sample::select(vec!["same", "later"])
            .prop_flat_map(|snapshot| (Just(snapshot), any_record(&delayed_graph(snapshot)))),
        read_only in any::<bool>(),
        archives in any::<(bool, bool)>(),
        is_emptied in any::<bool>(),
    ) {
        let graph = delayed_graph(snapshot);
        let step = |kind| if Kind::is_server_level(kind) {
            StepId::server(kind)
        } else {
            StepId::database(&"a".into(), kind)
        };
        let texts: Vec<(String, Status)> = record
            .iter()
            .map(|(kind, status)| (step(*kind).to_string(), *status))
            .collect();
        let mut state = state(texts.iter().map(|(step, status)| (step.as_str(), *status)));
        leave_to_the_delayed_phase(&mut state, &graph.databases[0].delayed);
        let archive = |kind| if kind == Kind::Dump { archives.0 } else { archives.1 };
        let resume = resume(&graph, &state, policy(read_only), |_| is_emptied.then_some(EMPTIED), |dump| archive(dump.kind));
        let kinds: BTreeSet<Kind> = resume
            .done
            .iter()
            .map(|step| graph.steps[*step].id.kind)
            .collect();
        let kept = |kind| kinds.contains(&kind);
        let was = |kind| record.get(&kind) == Some(&Status::Done);

        prop_assert!(kinds.iter().all(|kind| was(*kind)));
        // What was restored went into what was created then, and was read by what was dumped then.
        for (kind, needs) in [
            (Kind::Restore, &[Kind::Create, Kind::Dump, Kind::SourceCounts][..]),
            (Kind::TargetCounts, &[Kind::Restore]),
            (Kind::Verify, &[Kind::TargetCounts]),
            (Kind::DropIndexes, &[Kind::Verify]),
            (Kind::DelayedRestore, &[Kind::DelayedDump, Kind::DropIndexes]),
        ] {
            prop_assert!(!kept(kind) || needs.iter().all(|need| kept(*need)), "{}", kind);
        }
        // Once it is verified, clients may write to it.
        prop_assert!(!was(Kind::Verify) || kept(Kind::Create) && kept(Kind::Restore));
        // What a crash emptied is loaded again.
        let is_lost = is_emptied && was(Kind::Restore) && !was(Kind::Verify);
        prop_assert!(!is_lost || !kept(Kind::Restore) && !kept(Kind::TargetCounts));
        if !kept(Kind::Restore) {
            // A restore that began left something in the database.
            prop_assert!(!(record.contains_key(&Kind::Restore) && kept(Kind::Create)));
            // What will be restored was read under one snapshot, and can be read.
            prop_assert!(read_only || kept(Kind::Dump) == kept(Kind::SourceCounts));
            prop_assert!(archive(Kind::Dump) || !kept(Kind::Dump));
            let shared = snapshot == "same" && !read_only;
            prop_assert!(!shared || kept(Kind::Dump) == kept(Kind::DelayedDump));
        }
        if !kept(Kind::DelayedRestore) {
            prop_assert!(archive(Kind::DelayedDump) || !kept(Kind::DelayedDump));
        }
        if record.get(&Kind::Verify) == Some(&Status::Failed) {
            prop_assert!(!kept(Kind::TargetCounts));
        }

        // With these forgotten, the journal lets every step start that is not done.
        for (step, reason) in &resume.forgotten {
            prop_assert!(!reason.is_empty());
            prop_assert!(state.steps.remove(step).is_some(), "{} was not on record", step);
        }
        for (index, step) in graph.steps.iter_with_positions() {
            let on_record = state.steps.get(&step.id).map(|state| state.status);
            let done = resume.done.contains(&index);
            prop_assert_eq!(on_record == Some(Status::Done), done, "{}", &step.id);
        }
    }
}
