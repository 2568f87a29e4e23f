use std::collections::BTreeMap;

use super::*;
use crate::journal::Outcome;
use crate::names::{Kind, Product};

fn line(entry: Entry) -> String {
    let record = Record {
        v: VERSION,
        at: jiff::Timestamp::UNIX_EPOCH,
        entry,
    };
    serde_json::to_string(&record).unwrap() + "\n"
}

fn run() -> String {
    line(Entry::RunStarted {
        program: "0.1.0".into(),
        fingerprint: "sha256:0".into(),
        source: Some("1".into()),
        target: None,
        findings: Vec::new(),
        databases: None,
    })
}

fn dump() -> StepId {
    StepId::database(&"Weird / Name".into(), Kind::Dump)
}

fn started() -> String {
    line(Entry::StepStarted {
        step: dump(),
        attempt: 1,
    })
}

fn done() -> String {
    line(Entry::StepDone {
        step: dump(),
        attempt: 1,
        seconds: 1.5,
        output: Arc::default(),
        seen: crate::names::Sightings::default(),
        marked: None,
    })
}

#[test]
fn a_step_that_started_and_ended_is_done() {
    let text = run() + &started() + &done();
    let replay = replay(text.as_bytes()).unwrap();
    assert_eq!(replay.records, 3);
    assert_eq!(replay.whole, text.len() as u64);
    assert_eq!(replay.state.steps[&dump()].status, Status::Done);
}

#[test]
fn a_start_without_an_end_is_interrupted_by_the_next_run() {
    let first = replay((run() + &started()).as_bytes()).unwrap();
    assert_eq!(first.state.steps[&dump()].status, Status::Started);
    let second = replay((run() + &started() + &run()).as_bytes()).unwrap();
    assert_eq!(second.state.steps[&dump()].status, Status::Interrupted);
}

#[test]
fn a_torn_last_line_is_left_out_wherever_it_is_torn() {
    let whole = run() + &started();
    let text = whole.clone() + &done();
    for length in whole.len()..text.len() {
        let replay = replay(&text.as_bytes()[..length]).unwrap();
        assert_eq!(replay.records, 2);
        assert_eq!(replay.whole, whole.len() as u64);
    }
    let zeros = whole.clone() + "\0\0\0\0\n";
    assert_eq!(replay(zeros.as_bytes()).unwrap().whole, whole.len() as u64);
}

#[test]
fn damage_in_the_middle_is_an_error_that_names_the_line() {
    let text = run() + "{\"v\":1,\"at\"\n" + &started();
    let damage = replay(text.as_bytes()).unwrap_err();
    assert_eq!(damage.line, 2);
    assert!(matches!(damage.why, Illegal::Unreadable(_)));
}

#[test]
fn a_newer_format_is_refused_even_at_the_end() {
    let text = run() + "{\"v\":3,\"what\":\"ever\"}\n";
    assert_eq!(replay(text.as_bytes()).unwrap_err().why, Illegal::Newer(3));
}

#[test]
fn illegal_transitions_are_errors() {
    let ended = line(Entry::RunEnded {
        outcome: Outcome::Completed,
        exit_code: 0,
    });
    for (text, line) in [
        (started(), 1),
        (ended, 1),
        (run() + &done(), 2),
        (run() + &started() + &started(), 3),
        (run() + &started() + &done() + &done(), 4),
        (run() + &started() + &done() + &started(), 4),
        (run() + &started() + &run() + &done(), 4),
    ] {
        assert_eq!(replay(text.as_bytes()).unwrap_err().line, line, "{text}");
    }
}

#[test]
fn the_first_value_before_wins_until_it_is_restored() {
    let alter = |value: &str, before: Option<&str>| {
        let setting = crate::journal::AlteredSetting {
            name: "work_mem".into(),
            value: value.into(),
            before: before.map(str::to_owned),
        };
        line(
            Change::AlterSystem {
                settings: vec![setting],
                since: crate::journal::Started::default(),
            }
            .into(),
        )
    };
    let restored = line(
        Change::SettingsRestored {
            settings: vec!["work_mem".into()],
            damage: None,
        }
        .into(),
    );
    let tuned = |text: &str| replay(text.as_bytes()).unwrap().state.tuned;
    let killed = run() + &alter("1GB", Some("64MB")) + &run() + &alter("2GB", Some("1GB"));
    let work_mem = &tuned(&killed)["work_mem"];
    assert_eq!(work_mem.before.as_deref(), Some("64MB"));
    assert_eq!(work_mem.values.len(), 2);
    assert!(tuned(&(killed.clone() + &restored)).is_empty());
    let again = tuned(&(killed + &restored + &alter("2GB", None)));
    assert_eq!(again["work_mem"].before, None);
}

/// Of a transaction that was not committed, all is as before; of one that was, nothing is asked again.
#[test]
fn a_database_is_looked_at_until_its_opening_is_on_record() {
    let database = || "erp".to_owned();
    let change = |change: Change| line(change.into());
    let written = r#"{"oid":1,"rows":0,"transactions":0,"reset":null}"#;
    let marked = change(Change::MarkWritten {
        database: database(),
        written: Some(serde_json::from_str(written).unwrap()),
        delayed: false,
    });
    let verified = run()
        + &change(Change::CloseDatabase {
            database: database(),
            source: BTreeMap::new(),
            tablespaces: crate::plan::Tablespaces::default(),
        })
        + &marked;
    let let_in = change(Change::LetInDatabase {
        database: database(),
        opening: crate::journal::Opening {
            transaction: Some(7),
            server_started: "1".into(),
            refused: vec!["setting a".into()],
        },
    });
    let stays = change(Change::StayClosed {
        database: database(),
    });
    let opened = change(Change::OpenDatabase {
        database: database(),
        waived: false,
    });
    let state = |text: String| replay(text.as_bytes()).unwrap().state;
    let begun = state(verified.clone() + &let_in);
    assert!(!begun.is_closed("erp") && begun.restored.contains_key("erp"));
    assert_eq!(begun.let_in["erp"].transaction, Some(7));
    let not_committed = state(verified.clone() + &let_in + &stays);
    assert!(not_committed.is_closed("erp") && not_committed.restored.contains_key("erp"));
    assert!(not_committed.refused.is_empty());
    let open = verified.clone() + &let_in + &opened;
    let is_open = state(open.clone());
    assert!(is_open.closed.is_empty() && is_open.let_in.is_empty() && is_open.restored.is_empty());
    assert_eq!(is_open.refused["erp"], ["setting a"]);
    // What is written to it from there on is its clients', also where it is verified again.
    assert!(state(open + &marked).restored.is_empty());
    // As earlier versions wrote it.
    let before = r#"{"change":"let-in-database","database":"erp"}"#;
    let read: Change = serde_json::from_str(before).unwrap();
    let expected = Change::LetInDatabase {
        database: database(),
        opening: crate::journal::Opening::default(),
    };
    assert_eq!(read, expected);
}

#[test]
fn a_snapshot_is_held_until_it_or_its_run_ends() {
    let change = |change: Change| line(change.into());
    let hold = change(Change::HoldSnapshot {
        database: "erp".into(),
        snapshot: "00000003-1".into(),
    });
    let end = change(Change::EndSnapshot {
        database: "erp".into(),
    });
    let ended = line(Entry::RunEnded {
        outcome: Outcome::Failed,
        exit_code: 4,
    });
    let held = |text: String| replay(text.as_bytes()).unwrap().state.snapshots;
    assert_eq!(held(run() + &hold)["erp"].id, "00000003-1");
    assert!(held(run() + &hold + &end).is_empty());
    assert!(held(run() + &hold + &ended).is_empty());
    assert!(held(run() + &hold + &run()).is_empty());
}

#[test]
fn an_index_that_is_dropped_again_is_the_one_that_was_there_last() {
    let dropped = |indexes: &[(&str, &str)]| {
        let indexes = indexes
            .iter()
            .map(|(name, definition)| crate::names::IndexDefinition {
                schema: "public".into(),
                table: "events".into(),
                name: (*name).to_owned(),
                definition: (*definition).to_owned(),
                tablespace: None,
                comment: None,
                statistics: Vec::new(),
                clustered: false,
                table_bytes: 0,
            });
        line(Entry::from(Change::DropIndexes {
            database: "erp".into(),
            indexes: indexes.collect(),
        }))
    };
    let text = run() + &dropped(&[("a", "(a)"), ("b", "(b)")]) + &dropped(&[("b", "(b, a)")]);
    let state = replay(text.as_bytes()).unwrap().state;
    let known = state.dropped_indexes["erp"].iter();
    let known: Vec<_> = known.map(|one| (&*one.name, &*one.definition)).collect();
    assert_eq!(known, [("a", "(a)"), ("b", "(b, a)")]);
}

#[test]
fn a_failed_step_leaves_the_mark_of_the_restore() {
    let written = crate::names::WriteMark {
        oid: 7,
        rows: 1,
        transactions: 1,
        reset: None,
        uncounted: false,
        lasting: None,
    };
    let database = || "erp".to_owned();
    let text = [
        run(),
        line(Entry::from(Change::RestoredDatabase {
            database: database(),
            written: written.clone(),
            filled: None,
        })),
        line(Entry::from(Change::LeaveDatabase {
            database: database(),
            written: written.clone(),
        })),
    ]
    .concat();
    let state = replay(text.as_bytes()).unwrap().state;
    assert_eq!(state.restored.get("erp"), Some(&written));
}

#[test]
fn a_warning_is_about_its_run() {
    let warning = line(Entry::Warning {
        database: Some("erp".into()),
        message: "look".into(),
    });
    let runs = replay((run() + &warning + &run()).as_bytes())
        .unwrap()
        .state
        .runs;
    assert_eq!(runs[0].warnings, [(Some("erp".into()), "look".into())]);
    assert!(runs[1].warnings.is_empty());
}

#[test]
fn the_output_of_the_last_end_counts() {
    let done = |output: &str| done().replace("\"output\":{}", &format!("\"output\":{output}"));
    let again = line(Entry::Forgotten {
        steps: vec![dump()],
        reason: "reset".into(),
        drop: Vec::new(),
    }) + &started();
    let first = run() + &started() + &done(r#"{"warnings":["first"]}"#);
    let output = |text: &str| {
        replay(text.as_bytes()).unwrap().state.steps[&dump()]
            .output
            .clone()
    };
    assert_eq!(output(&first).warnings, ["first"]);
    assert_eq!(output(&(first.clone() + &again)), Arc::default());
    let second = first + &again + &done(r#"{"warnings":["second"]}"#);
    assert_eq!(output(&second).warnings, ["second"]);

    let no_output = run() + &started() + &done(r#"{"warnings":7}"#) + &run();
    let damage = replay(no_output.as_bytes()).unwrap_err();
    assert_eq!(damage.line, 3);
    assert!(matches!(damage.why, Illegal::Unreadable(_)));
    assert_eq!(output(&(no_output + &again)), Arc::default());
}

/// Two databases and a delayed table, killed, resumed and completed by 0.1.0.
const OF_0_1_0: &[u8] = include_bytes!("../../tests/fuzz/corpus/journal/killed-and-resumed");

#[test]
fn a_journal_of_0_1_0_reads() {
    let replay = replay(OF_0_1_0).unwrap();
    assert!(OF_0_1_0.starts_with(b"{\"v\":1,"));
    assert_eq!(replay.state.done_by_0_1_0.len(), replay.state.steps.len());
    let mut products: Vec<String> = Vec::new();
    for (id, step) in &replay.state.steps {
        assert_eq!(step.status, Status::Done, "{id}");
        let said = match &step.output.product {
            Product::Nothing | Product::Globals(_) => continue,
            Product::Dump(dump) => {
                assert_eq!(dump.dump.archive.digest.len(), 64);
                format!("{} delayed", dump.delayed.len())
            }
            Product::DelayedDump(dump) => format!("under {}", dump.dump.snapshot),
            Product::Counts(counts) => format!("{} tables", counts.tables.len()),
            Product::Restore(restored) => format!("{} errors", restored.errors.len()),
            Product::Comparison(compared) => format!("{} compared", compared.tables.len()),
            Product::DelayedLoad(loaded) => format!("{} loaded", loaded.counts.len()),
        };
        products.push(format!("{id}: {said}"));
    }
    products.sort();
    insta::assert_snapshot!(products.join("\n"), @r#"
    crm/delayed-dump: under 00000004-0000000F-1
    crm/delayed-restore: 1 loaded
    crm/delayed-verify: 1 compared
    crm/dump: 1 delayed
    crm/restore: 0 errors
    crm/source-counts: 2 tables
    crm/target-counts: 2 tables
    crm/verify: 1 compared
    größe "A"/dump: 0 delayed
    größe "A"/restore: 0 errors
    größe "A"/source-counts: 1 tables
    größe "A"/target-counts: 1 tables
    größe "A"/verify: 1 compared
    "#);
}

#[test]
fn delayed_tables_that_0_1_0_named_ambiguously_are_unknown() {
    let product = |delayed: &str| {
        let output = format!(
            r#"{{"archive":{{"files":1,"bytes":1,"digest":"0"}},"snapshot":"1-1","delayed":["{delayed}"]}}"#
        );
        let line = done()
            .replace("{\"v\":2,", "{\"v\":1,")
            .replace("\"output\":{}", &format!("\"output\":{output}"));
        let replay = replay((run() + &started() + &line).as_bytes()).unwrap();
        replay.state.steps[&dump()].output.product.clone()
    };
    assert!(matches!(product("public.events"), Product::Dump(_)));
    assert_eq!(product("a.b.c"), Product::Nothing);
}

#[test]
fn a_forgotten_step_may_start_again() {
    let forgotten = line(Entry::Forgotten {
        steps: vec![dump()],
        reason: "reset".into(),
        drop: Vec::new(),
    });
    let text = run() + &started() + &done() + &forgotten + &started();
    let replay = replay(text.as_bytes()).unwrap();
    assert_eq!(replay.state.steps[&dump()].status, Status::Started);
}

/// A migration of roles that a run began, it goes on with itself; the next one goes by what was seen of them before.
#[test]
fn what_is_known_of_roles_outlives_a_run_that_died_and_a_database_that_is_dropped() {
    let change = |change: Change| line(change.into());
    let subject = || "role \"app\"".to_owned();
    let begin = change(Change::MigrateRoles {
        subjects: [(subject(), "source".to_owned())].into(),
    });
    let after = crate::journal::MigratedSubject {
        target: Some("target".into()),
        warnings: Vec::new(),
    };
    let end = change(Change::MigratedRoles {
        subjects: [(subject(), after.clone())].into(),
    });
    let roles = |text: &str| replay(text.as_bytes()).unwrap().state.roles_to_migrate();
    let ended = run() + &begin + &end;
    assert_eq!(roles(&ended)[&subject()].begun, None);
    let again = ended.clone() + &run() + &begin;
    assert_eq!(roles(&again)[&subject()].after, None);
    let next = roles(&(again + &run()));
    assert_eq!(next[&subject()].after, Some(after));
    assert_eq!(next[&subject()].begun, Some(2));

    let database = "erp".to_owned();
    let dropped = ended.clone() + &change(Change::DroppedDatabase { database });
    assert_eq!(roles(&dropped), roles(&ended));
    let doubted = Change::DoubtDatabases {
        databases: Vec::new(),
        disowned: true,
    };
    assert!(roles(&(ended + &change(doubted))).is_empty());
}
