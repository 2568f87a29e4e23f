//! What is in a database and would not arrive as it is.

use crate::catalog::{Contents, Database, Oversized, Relation, ServerFacts};
use crate::finding::{Code, Finding, Severity};
use crate::names::TableName;

pub(super) fn for_database(
    database: &Database,
    source: &ServerFacts,
    target: &ServerFacts,
) -> Vec<Finding> {
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
        found.extend(row_security_on_target(relation, target).map(here));
        found.extend(unlogged_on_standby(relation, source).map(here));
    }
    found.extend(contents.oversized.iter().map(|oversized| {
        let TableName { schema, name } = &oversized.table;
        too_large(oversized)
            .database(&database.name)
            .object(format!("{schema}.{name}"))
    }));
    let versions = contents.configured_extensions.iter();
    let finding = |(name, version): (&String, &String)| {
        other_version(name, version, target).map(|finding| finding.database(&database.name))
    };
    found.extend(versions.filter_map(finding));
    let missing = contents.extension_versions.keys();
    let missing = missing.filter_map(|name| missing_extension(name, contents, target));
    found.extend(missing.map(|finding| finding.database(&database.name)));
    let versions = contents.extension_versions.iter();
    let older = versions.filter_map(|(name, version)| older_extension(name, version, target));
    found.extend(older.map(|finding| finding.database(&database.name)));
    found
}

fn too_large(oversized: &Oversized) -> Finding {
    let rows = match oversized.rows {
        1 => "1 row is".to_owned(),
        more => format!("{more} rows are"),
    };
    let message = format!(
        "{rows} longer than the 1 GB of text that COPY can write (a bytea takes two characters a byte), most of it in the column \
         {}; the dump would fail there",
        oversized.column
    );
    Finding::new(Code::SourceValueTooLarge, message).fix(
        "the log of pg-migrate names the row; split its value over several rows; or \\copy (SELECT … WHERE …) TO 'file' WITH \
         (FORMAT binary), take the value out on the source for the migration, and load the file on the target afterwards",
    )
}

/// Its script, too, may insert rows into its configuration tables.
fn other_version(extension: &str, version: &str, target: &ServerFacts) -> Option<Finding> {
    let there = target.extension_versions.get(extension)?;
    (there != version).then(|| {
        let message = format!(
            "the extension {extension} has version {version} on the source and {there} on the target: rows of its configuration \
             tables are restored into those of that version, and not compared"
        );
        Finding::new(Code::TargetExtensionConfiguration, message).fix(format!(
            "ALTER EXTENSION {extension} UPDATE on the source, or install version {version} on the target; otherwise compare \
             the tables by hand after the run"
        ))
    })
}

/// Where the target does not tell which it has, nothing is known.
fn missing_extension(
    extension: &str,
    contents: &Contents,
    target: &ServerFacts,
) -> Option<Finding> {
    let versions = &target.extension_versions;
    if versions.is_empty() || versions.contains_key(extension) {
        return None;
    }
    let what = "the target does not have the extension (pg_available_extensions), so it is not created there, and";
    let (severity, what) = match contents.extensions_in_columns.contains(extension) {
        true => (
            Severity::Block,
            format!("{what} no table with a column of one of its types is, nor its rows"),
        ),
        false => (
            Severity::Fix,
            format!("{what} nothing is that needs it: functions, indexes, defaults"),
        ),
    };
    Some(
        Finding::new(Code::TargetExtensionMissing, what)
            .severity(severity)
            .object(extension)
            .fix(
                "install its package on the target; or, where nobody needs it, DROP EXTENSION on the source, or accept the restore \
                 errors ([[accept]])",
            ),
    )
}

/// A dump names no version: the target creates its own.
fn older_extension(extension: &str, version: &str, target: &ServerFacts) -> Option<Finding> {
    let there = target.extension_versions.get(extension)?;
    let numbers = numbers(version).zip(numbers(there));
    let is_certain = numbers.is_some();
    let may_be_older = match numbers {
        Some((here, there)) => there < here,
        None => version != there,
    };
    may_be_older.then(|| {
        let (severity, what) = if is_certain {
            (
                Severity::Block,
                "what came after that version is missing there, and functions may compute something else",
            )
        } else {
            (
                Severity::Warn,
                "which of them is newer cannot be told; where that is the source's, something is missing on the target",
            )
        };
        let message = format!(
            "the extension has version {version} on the source, and CREATE EXTENSION makes {there} on the target: {what}"
        );
        Finding::new(Code::TargetExtensionOlder, message)
            .severity(severity)
            .object(extension)
            .fix(format!(
                "install the package that has version {version} on the target; or, where nothing that is restored needs it, waive \
                 this and ALTER EXTENSION {extension} UPDATE TO '{version}' on the target after the run"
            ))
    })
}

/// Of a version as `1.10`, without zeros at its end; `None`: it is no such version.
fn numbers(version: &str) -> Option<Vec<u64>> {
    let numbers = version.split('.').map(|number| number.parse().ok());
    let mut numbers: Vec<u64> = numbers.collect::<Option<_>>()?;
    while numbers.last() == Some(&0) {
        numbers.pop();
    }
    Some(numbers)
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

/// Once it is restored, it can neither be counted nor loaded.
fn row_security_on_target(relation: &Relation, target: &ServerFacts) -> Option<Finding> {
    (relation.forces_row_security && !target.bypasses_row_security).then(|| {
        let message = format!(
            "row security applies to the owner too (FORCE), so the role \"{}\" cannot read the table on the target in full",
            target.user
        );
        Finding::new(Code::TargetRowSecurity, message).fix(
            "ALTER ROLE … BYPASSRLS on the target, or use a superuser for [target]; or ALTER TABLE … NO FORCE ROW LEVEL \
             SECURITY on the source until the run is done, and FORCE it again on both",
        )
    })
}
