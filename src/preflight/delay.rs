//! Delayed tables: what cannot be delayed, and what the delayed load would fail on.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::not_moved;
use crate::catalog::{
    AttachedIndex, Computed, Contents, Database, LoadOrderConstraint, Relation, ServerFacts,
    TableTrigger,
};
use crate::finding::{Code, Finding, Severity};
use crate::names::{RelationKind, TableName, some_of};
use crate::plan::Plan;

/// About a database with delayed tables.
pub(crate) fn for_delayed_tables<'a>(
    plan: &Plan,
    database: &str,
    contents: &Contents,
    delayed: impl Iterator<Item = &'a TableName>,
    later_snapshot: bool,
    target: &ServerFacts,
) -> Vec<Finding> {
    let delayed: HashSet<&TableName> = delayed.collect();
    let indexes = contents.attached_indexes.iter();
    let mut found: Vec<Finding> = indexes
        .filter(|index| delayed.contains(&index.table))
        .map(index_kept)
        .collect();
    let parts = contents.parts_not_utf8.iter();
    found.extend(
        parts
            .filter(|(table, _)| delayed.contains(table))
            .map(|(table, parts)| part_not_utf8(table, parts)),
    );
    if !plan.delay.concurrently {
        let tables = contents.indexed_tables.iter();
        found.extend(
            tables
                .filter(|table| delayed.contains(table))
                .map(index_builds),
        );
    }
    let triggers = contents.always_triggers.iter();
    found.extend(
        triggers
            .filter(|trigger| delayed.contains(&trigger.table))
            .map(trigger_locks),
    );
    let computed = contents.computed.iter();
    found.extend(computed.filter_map(|computed| computed_early(computed, &delayed)));
    let constraints = contents.load_order_constraints.iter();
    found.extend(
        constraints
            .filter(|constraint| delayed.contains(&constraint.table))
            .filter_map(not_valid),
    );
    let mut tables: Vec<&TableName> = delayed.iter().copied().collect();
    tables.sort();
    let tables = tables.into_iter();
    found.extend(
        tables.filter_map(|table| referenced(table, &contents.load_order_constraints, &delayed)),
    );
    found.extend(large_objects(contents, &delayed, later_snapshot));
    if !target.sets_replication_role {
        found.extend(foreign_key_cycles(contents, &delayed, target));
    }
    found.extend(triggers_by_table(target));
    found.extend(not_moved::owners_code_in_delayed(plan, contents, target));
    let mut found: Vec<Finding> = found
        .into_iter()
        .map(|finding| finding.database(database))
        .collect();
    found.extend(too_old(target));
    found
}

/// A pattern of `delay.table_data` that matched nothing.
pub(crate) fn for_delay_pattern(pattern: &str) -> Finding {
    let message = format!(
        "delay.table_data has {pattern:?}, which no table of a database that migrates matches"
    );
    Finding::new(Code::PlanDelayMatchesNothing, message).fix("correct the pattern, or remove it")
}

/// What a pattern of `delay.table_data` matches and cannot be delayed.
pub(crate) fn for_refused_table(database: &Database, relation: &Relation) -> Finding {
    let why = match relation.kind {
        RelationKind::MaterializedView => {
            "a materialized view: it has no data of its own, the restore refreshes it"
        }
        RelationKind::ForeignTable => {
            "a foreign table: its rows are on another server and do not migrate"
        }
        RelationKind::Table | RelationKind::PartitionedTable => {
            "a table of an extension: its data comes with the extension"
        }
    };
    let message = format!("it matches delay.table_data but is not delayed, because it is {why}");
    Finding::new(Code::PlanDelayRefused, message)
        .database(&database.name)
        .object(relation.table_name().to_string())
        .fix("make the pattern narrower")
}

/// What a pattern of `delay.table_data` matches and was not there when the database was dumped.
pub(crate) fn for_new_table(database: &Database, relation: &Relation) -> Finding {
    let message = "it matches delay.table_data and was created after the database had been dumped: the target has no such table, \
                   and its rows do not migrate";
    Finding::new(Code::DelayTooNew, message)
        .database(&database.name)
        .object(relation.table_name().to_string())
        .fix(
            "none where it may stay behind; otherwise create it on the target and copy its rows after the run; under a later snapshot \
             the run ends with a difference until they are there, or target/differed is waived",
        )
}

/// Large objects that come with the regular restore, and that rows of delayed tables may refer to.
fn large_objects(
    contents: &Contents,
    delayed: &HashSet<&TableName>,
    later_snapshot: bool,
) -> Option<Finding> {
    let tables = contents.large_object_tables.iter();
    let tables: Vec<&TableName> = tables.filter(|table| delayed.contains(table)).collect();
    if contents.large_objects == 0 || tables.is_empty() {
        return None;
    }
    let message = format!(
        "large objects come with the regular restore, and the rows of these delayed tables, which may refer to them, come later: {}; until \
         then vacuumlo on the target removes them as if nobody needed them",
        some_of(&tables, TABLES_NAMED)
    );
    let fix = "run no vacuumlo, and no job like it, on the target until the run has ended";
    let finding = |message, fix: &str| Finding::new(Code::DelayLargeObjects, message).fix(fix);
    if !later_snapshot {
        return Some(finding(message, fix));
    }
    Some(finding(
        format!(
            "{message}; those that clients make or change on the source between the two dumps (delay.snapshot = \"later\") do not arrive"
        ),
        &format!(
            "{fix}; and let no client make or change large objects on the source between the two dumps, or delay.snapshot = \"same\""
        ),
    ))
}

/// Tables that are named.
const TABLES_NAMED: usize = 5;

/// Partitioned tables that are named.
const SPLIT_NAMED: usize = 5;

/// About a database whose delayed tables are dumped under another snapshot than the others. `split`: partitioned tables that are
/// delayed in part.
pub(crate) fn for_later_snapshot(database: &str, split: &[TableName]) -> Finding {
    let message = "its delayed tables are dumped as they are later than the others (delay.snapshot = \"later\"): a row that clients move \
                   between a delayed table and another in between arrives in both or in none, and the counts match; and where clients write \
                   to both servers in between, the same numbers of sequences are given out on both";
    let finding = Finding::new(Code::DelayLaterSnapshot, message).database(database);
    if split.is_empty() {
        return finding.fix(
            "let no job move rows between them until delayed-dump is done, and let clients write to one server alone; or \
             delay.snapshot = \"same\"; or source.read_only = true, where nobody writes to the source",
        );
    }
    let message = format!(
        "{message}; so does one whose partition key is updated, in these tables, of which some partitions are delayed and others not: {}",
        some_of(split, SPLIT_NAMED)
    );
    Finding { message, ..finding }
        .severity(Severity::Fix)
        .fix(
            "delay all of their partitions or none; or delay.snapshot = \"same\"; or source.read_only = true, where nobody writes to the \
             source",
        )
}

/// Neither could its rows be loaded by the names of its columns, nor its indexes be made again.
fn part_not_utf8(table: &TableName, parts: &[String]) -> Finding {
    let message = format!(
        "the name, definition or comment of these is not UTF-8, so it cannot be loaded later: {}",
        parts.join(", ")
    );
    Finding::new(Code::DelayPartNotUtf8, message)
        .object(table.to_string())
        .fix("rename them on the source, or do not delay the table")
}

/// A secondary index of a delayed table that stays during the load.
fn index_kept(index: &AttachedIndex) -> Finding {
    let message = format!(
        "it stays while {} is loaded, which makes the load slower: it is attached to the partitioned index {}, and can \
         only be dropped together with that one and the indexes of all partitions, delayed or not",
        index.table, index.parent
    );
    let name = TableName::new(&*index.table.schema, &*index.name);
    Finding::new(Code::DelayIndexKept, message).object(name.to_string())
}

/// A table whose secondary indexes are built while clients use it.
fn index_builds(table: &TableName) -> Finding {
    let message = "clients cannot write to it while each of its secondary indexes is built again after the load: CREATE INDEX \
                   locks the table against writes for as long as the build takes";
    Finding::new(Code::DelayIndexBuilds, message)
        .object(table.to_string())
        .fix("delay.concurrently = true (CREATE INDEX CONCURRENTLY), which lets clients write and takes longer")
}

/// A table that is locked for as long as it is loaded.
fn trigger_locks(trigger: &TableTrigger) -> Finding {
    let message = format!(
        "clients cannot write to it while it is loaded: its trigger {} is enabled always or for replicas, and is switched \
         off for the load by ALTER TABLE, whose lock lasts until the load ends",
        trigger.name
    );
    Finding::new(Code::DelayTriggersLock, message)
        .object(trigger.table.to_string())
        .fix("ALTER TABLE … ENABLE TRIGGER … on the source before the run, and as it was on the target after it")
}

/// An index or a column that is computed from a delayed table while that is empty.
fn computed_early(computed: &Computed, delayed: &HashSet<&TableName>) -> Option<Finding> {
    let early = computed.too_early(|table| delayed.contains(table));
    if early.is_empty() {
        return None;
    }
    let (table, read) = (&computed.table, some_of(&early, TABLES_NAMED));
    let name = format!("{table}.{}", computed.name);
    if !computed.is_index {
        let message = format!(
            "it is a stored generated column whose function reads or names delayed tables, which are empty when its values are computed \
             on the target, and it keeps these: {read}"
        );
        let fix = format!(
            "do not delay them; or, on the target after the run, compute it again: UPDATE {table} SET a column that it is computed \
             from to what that is"
        );
        return Some(
            Finding::new(Code::DelayComputedEarly, message)
                .severity(Severity::Fix)
                .object(name)
                .fix(fix),
        );
    }
    let message = format!(
        "it is an index of {table} by a function that reads or names delayed tables, which are empty when it is built on the target: \
         {read}; it is built again after the load (REINDEX), and until then queries by it do not find what they should"
    );
    let name = TableName::new(&*table.schema, &*computed.name);
    Some(
        Finding::new(Code::DelayComputedEarly, message)
            .object(name.to_string())
            .fix("none where clients can wait for the end of the run; otherwise do not delay them"),
    )
}

/// A constraint with which the load would fail.
fn not_valid(found: &LoadOrderConstraint) -> Option<Finding> {
    if found.referring.is_some() {
        return None;
    }
    let (table, constraint) = (&found.table, &found.constraint);
    let message = format!(
        "the {} {constraint} is NOT VALID: a regular restore loads rows that violate it before it adds it, but the delayed load \
         would fail on them",
        if found.is_not_null {
            "NOT NULL constraint"
        } else {
            "check"
        }
    );
    Some(
        Finding::new(Code::DelayNotValidCheck, message)
            .fix(format!(
                "ALTER TABLE … VALIDATE CONSTRAINT on the source, or do not delay {table}"
            ))
            .object(table.to_string()),
    )
}

/// Foreign keys that are named; one is enough to see what is meant.
const KEYS_NAMED: usize = 3;

/// Foreign keys to a delayed table with which the regular phase would fail: one finding, that names every table which has
/// to be delayed for it.
fn referenced(
    table: &TableName,
    constraints: &[LoadOrderConstraint],
    delayed: &HashSet<&TableName>,
) -> Option<Finding> {
    let keys_to = |table: &TableName| {
        let keys = constraints.iter().filter(move |key| key.table == *table);
        let keys = keys.filter_map(|key| Some((key.referring.as_ref()?, &key.constraint)));
        keys.filter(|(referring, _)| !delayed.contains(referring))
            .collect::<Vec<_>>()
    };
    let keys = keys_to(table);
    if keys.is_empty() {
        return None;
    }
    let named: Vec<String> = keys
        .iter()
        .map(|(referring, constraint)| format!("{constraint} of {referring}"))
        .collect();
    let message = format!(
        "the regular phase could not create the foreign keys that refer to it, for the rows that they refer to would not be \
         there yet: {}",
        some_of(&named, KEYS_NAMED)
    );
    // A table that is delayed for this one may be referred to in turn.
    let mut needed: BTreeSet<&TableName> = BTreeSet::new();
    let mut waiting: Vec<&TableName> = keys.iter().map(|(referring, _)| *referring).collect();
    while let Some(next) = waiting.pop() {
        if needed.insert(next) {
            waiting.extend(keys_to(next).into_iter().map(|(referring, _)| referring));
        }
    }
    let needed: Vec<String> = needed.iter().map(ToString::to_string).collect();
    Some(
        Finding::new(Code::DelayReferenced, message)
            .fix(format!(
                "delay as well: {}; or do not delay {table}",
                needed.join(", ")
            ))
            .object(table.to_string()),
    )
}

/// Tables of which none can be loaded before the others.
fn foreign_key_cycles(
    contents: &Contents,
    delayed: &HashSet<&TableName>,
    target: &ServerFacts,
) -> Vec<Finding> {
    let mut parents: BTreeMap<&TableName, Vec<&TableName>> = BTreeMap::new();
    for found in &contents.load_order_constraints {
        let referring = found.referring.as_ref();
        if let Some(child) = referring.filter(|child| delayed.contains(child))
            && delayed.contains(&found.table)
        {
            parents.entry(child).or_default().push(&found.table);
        }
    }
    let refers_to_itself = |table: &&&TableName| {
        let mut seen: HashSet<&TableName> = HashSet::new();
        let mut next: Vec<&TableName> = parents.get(**table).cloned().unwrap_or_default();
        while let Some(parent) = next.pop() {
            if seen.insert(parent) {
                next.extend(parents.get(parent).into_iter().flatten());
            }
        }
        seen.contains(**table)
    };
    let message = format!(
        "its foreign keys lead back to it by way of other delayed tables, and the role \"{}\" may not set \
         session_replication_role on the target: none of them can be loaded before the others",
        target.user
    );
    let found = parents.keys().filter(refers_to_itself).map(|table| {
        Finding::new(Code::DelayForeignKeyCycle, &*message)
            .object(table.to_string())
            .fix(
                "GRANT SET ON PARAMETER session_replication_role TO … on the target (15 or later), use a superuser, or do not \
                 delay these tables",
            )
    });
    found.collect()
}

/// About the target as a whole, so once, however many databases have delayed tables.
fn too_old(target: &ServerFacts) -> Option<Finding> {
    (target.version.major() < 1000).then(|| {
        let message = format!(
            "a target of version {} cannot tell whether an interrupted load was committed (txid_status is new in 10)",
            target.version
        );
        Finding::new(Code::TargetTooOldForDelays, message)
            .fix("use a target of version 10 or later, or remove delay.table_data")
    })
}

fn triggers_by_table(target: &ServerFacts) -> Option<Finding> {
    (!target.sets_replication_role).then(|| {
        let message = format!(
            "the role \"{}\" may not set session_replication_role on the target: the loads of delayed tables disable \
             user triggers by ALTER TABLE, which locks each table against writes until it is loaded, and foreign \
             keys are checked row by row",
            target.user
        );
        Finding::new(Code::TargetTriggersByTable, message).fix(
            "GRANT SET ON PARAMETER session_replication_role TO … on the target (15 or later), or use a superuser",
        )
    })
}
