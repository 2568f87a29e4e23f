//! Findings that the plan waives, and waivers that are of no use.

use insta::assert_snapshot;

use super::{codes, lines};
use crate::finding::{Code, Severity};
use crate::graph::tests::synthetic::{Case, contents, database, plan, table};

/// Tables with oids, one of them waived until the last day of January 2027.
fn with_oids() -> Case {
    let mut erp = database("erp", 1, 0);
    for name in ["accounts", "legacy_orders"] {
        let mut relation = table(1, name);
        relation.has_oids = true;
        contents(&mut erp).relations.push(relation);
    }
    Case::new(
        "[[waive]]\ncode = \"source/with-oids\"\nobject = \"erp.public.legacy_*\"\n\
         until = 2027-01-31\nreason = \"ticket 4711\"",
        vec![erp],
    )
}

#[test]
fn a_waiver_holds_for_its_objects_until_its_last_day() {
    let mut case = with_oids();
    case.today = jiff::civil::date(2027, 1, 31);
    let graph = case.compile();
    let blockers: Vec<&str> = graph
        .blockers()
        .filter_map(|finding| finding.object.as_deref())
        .collect();
    assert_eq!(blockers, ["public.accounts"]);
    assert_snapshot!(lines(&graph), @r#"
    Block source/with-oids [erp public.accounts] the table was created WITH OIDS; pg_dump 12 and later leave the oids out, so they would be lost
      fix: ALTER TABLE … SET WITHOUT OIDS on the source, or accept the loss by [[waive]] with object = "DATABASE.SCHEMA.TABLE"
    Info source/with-oids [erp public.legacy_orders] the table was created WITH OIDS; pg_dump 12 and later leave the oids out, so they would be lost (waived until 2027-01-31: ticket 4711)
      fix: none
    "#);
}

#[test]
fn a_waiver_is_over_on_the_day_after() {
    let mut case = with_oids();
    case.today = jiff::civil::date(2027, 2, 1);
    assert_eq!(
        codes(&case.compile()),
        [
            (Severity::Block, Code::SourceWithOids),
            (Severity::Block, Code::SourceWithOids),
            (Severity::Warn, Code::PlanWaiverExpired),
        ]
    );
}

/// A plan with these waivers, each a code, an object and the last day.
fn waiving(waivers: &[(&str, &str, &str)]) -> String {
    let entry = |(code, object, until): &(&str, &str, &str)| {
        format!(
            "[[waive]]\ncode = \"{code}\"\nobject = \"{object}\"\nuntil = {until}\nreason = \"ticket 4711\"\n"
        )
    };
    waivers.iter().map(entry).collect()
}

#[test]
fn a_waiver_that_expired_says_what_counts_again() {
    let mut case = with_oids();
    case.plan = plan(&waiving(&[
        ("source/with-oids", "erp.public.*", "2026-02-28"),
        ("source/standby", "*", "2026-02-28"),
    ]));
    assert_snapshot!(lines(&case.compile()), @r#"
    Block source/with-oids [erp public.accounts] the table was created WITH OIDS; pg_dump 12 and later leave the oids out, so they would be lost
      fix: ALTER TABLE … SET WITHOUT OIDS on the source, or accept the loss by [[waive]] with object = "DATABASE.SCHEMA.TABLE"
    Block source/with-oids [erp public.legacy_orders] the table was created WITH OIDS; pg_dump 12 and later leave the oids out, so they would be lost
      fix: ALTER TABLE … SET WITHOUT OIDS on the source, or accept the loss by [[waive]] with object = "DATABASE.SCHEMA.TABLE"
    Warn plan/waiver-expired [] the waiver of source/with-oids for "erp.public.*" ended on 2026-02-28, and the findings that it matches have their own severity again
      fix: fix what was waived and remove the [[waive]] entry, or look at its reason again and set a later `until`
    Warn plan/waiver-expired [] the waiver of source/standby for "*" ended on 2026-02-28, and matches no finding now
      fix: remove the [[waive]] entry
    "#);
}

#[test]
fn a_waiver_that_matches_nothing_says_what_it_is_compared_with() {
    let mut case = with_oids();
    case.plan = plan(&waiving(&[
        ("source/with-oids", "erp.accounts", "2026-03-01"),
        ("target/standby", "*", "2026-03-01"),
        ("source/standby", "standby.internal", "2026-03-01"),
        ("target/tuning-value", "work_mem", "2026-03-01"),
    ]));
    assert_snapshot!(lines(&case.compile()), @r#"
    Block source/with-oids [erp public.accounts] the table was created WITH OIDS; pg_dump 12 and later leave the oids out, so they would be lost
      fix: ALTER TABLE … SET WITHOUT OIDS on the source, or accept the loss by [[waive]] with object = "DATABASE.SCHEMA.TABLE"
    Block source/with-oids [erp public.legacy_orders] the table was created WITH OIDS; pg_dump 12 and later leave the oids out, so they would be lost
      fix: ALTER TABLE … SET WITHOUT OIDS on the source, or accept the loss by [[waive]] with object = "DATABASE.SCHEMA.TABLE"
    Warn plan/waiver-matches-nothing [] the waiver of source/with-oids for "erp.accounts" matches no finding
      fix: remove the [[waive]] entry, or correct its `object`, which is compared with DATABASE.SCHEMA.OBJECT
    Warn plan/waiver-matches-nothing [] the waiver of target/standby for "*" matches no finding
      fix: remove the [[waive]] entry
    Warn plan/waiver-matches-nothing [] the waiver of source/standby for "standby.internal" matches no finding
      fix: remove the [[waive]] entry, or correct its `object`, which is compared with an empty text: write `*`
    Warn plan/waiver-matches-nothing [] the waiver of target/tuning-value for "work_mem" matches no finding
      fix: remove the [[waive]] entry, or correct its `object`, which is compared with the name of the setting
    "#);
}

#[test]
fn several_waivers_may_match_the_same_finding() {
    let mut case = with_oids();
    case.plan = plan(&waiving(&[
        ("source/with-oids", "erp.public.*", "2026-03-01"),
        ("source/with-oids", "*.legacy_orders", "2026-03-01"),
    ]));
    let found = codes(&case.compile());
    assert_eq!(found, [(Severity::Info, Code::SourceWithOids); 2]);
}

#[test]
fn a_finding_about_the_migration_is_waived_by_a_star() {
    let mut case = Case::new(
        &waiving(&[("source/passwords-unreadable", "*", "2026-03-01")]),
        vec![database("crm", 1, 1)],
    );
    case.inspection.source.reads_passwords = false;
    let found = codes(&case.compile());
    assert_eq!(found, [(Severity::Info, Code::SourcePasswordsUnreadable)]);
}
