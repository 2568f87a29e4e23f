//! What is in a database and would not arrive as it is.

use crate::catalog::{Database, Relation, ServerFacts};
use crate::finding::{Code, Finding};

pub(super) fn for_database(database: &Database, source: &ServerFacts) -> Vec<Finding> {
    let Some(contents) = &database.contents else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for relation in &contents.relations {
        let here = |finding: Finding| {
            finding
                .database(&database.name)
                .object(format!("{}.{}", relation.schema, relation.name))
        };
        found.extend(with_oids(relation).map(here));
        found.extend(row_security(relation).map(here));
        found.extend(unlogged_on_standby(relation, source).map(here));
    }
    found
}

fn with_oids(relation: &Relation) -> Option<Finding> {
    relation.has_oids.then(|| {
        Finding::new(
            Code::SourceWithOids,
            "the table was created WITH OIDS; pg_dump 12 and later leave the oids out, so they would be lost",
        )
        .fix(
            "ALTER TABLE … SET WITHOUT OIDS on the source, or accept the loss by [[waive]] with object = \
             \"DATABASE.SCHEMA.TABLE\"",
        )
    })
}

fn unlogged_on_standby(relation: &Relation, source: &ServerFacts) -> Option<Finding> {
    (relation.unlogged && source.in_recovery).then(|| {
        Finding::new(
            Code::SourceUnloggedOnStandby,
            "the table is unlogged and the source is a standby, which has none of its rows: it arrives empty",
        )
        .fix("use the primary as the source, or fill the table on the target after the run")
    })
}

fn row_security(relation: &Relation) -> Option<Finding> {
    relation.row_security.then(|| {
        Finding::new(
            Code::SourceRowSecurity,
            "row security applies to the source's role, so the table cannot be read in full",
        )
        .fix("use a role with BYPASSRLS, or the table's owner, for [source]")
    })
}
