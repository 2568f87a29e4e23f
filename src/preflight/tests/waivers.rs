//! Findings that the plan waives, and waivers that are of no use.

use insta::assert_snapshot;

use super::{codes, lines};
use crate::finding::{Code, Severity};
use crate::graph::tests::synthetic::{Case, contents, database, table};

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
            (Severity::Block, Code::SourceWithOids)
        ]
    );
}
