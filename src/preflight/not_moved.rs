//! What of the source no client program brings along, and no count shows.

use super::words::objects_of;
use super::{elsewhere, newer, system};
use crate::catalog::{
    Appeared, Contents, Database, Inspection, NotMoved, NotMovedKind, Privilege, ServerFacts,
};
use crate::finding::{Code, Finding, Severity};
use crate::names::some_of;
use crate::plan::Plan;

/// About the server as a whole, and its databases that do not migrate.
pub(super) fn for_server(globals: bool, inspection: &Inspection) -> Vec<Finding> {
    let source = &inspection.source;
    let mut found = in_server(globals, &source.not_moved);
    found.extend(of_installation(source));
    found
}

fn in_server(globals: bool, not_moved: &[NotMoved]) -> Vec<Finding> {
    let each = not_moved.iter();
    each.filter_map(|one| of_server(globals, one))
        .chain(slots(not_moved))
        .chain(system::tablespaces(globals, not_moved))
        .collect()
}

/// One for all of them. Whoever reads from one has a place in the source's WAL.
fn slots(not_moved: &[NotMoved]) -> Option<Finding> {
    let slots = not_moved.iter();
    let slots = slots.filter(|found| found.what == NotMovedKind::ReplicationSlot);
    let slots: Vec<String> = slots
        .map(|found| format!("\"{}\" ({})", found.object, found.detail))
        .collect();
    (!slots.is_empty()).then(|| {
        let message = format!(
            "replication slots are not brought along, and what reads from them (standbys, subscribers, change data capture) goes on reading from \
             the source: {}",
            some_of(&slots, 5)
        );
        Finding::new(Code::SourceReplicationSlots, message).fix(
            "see who reads from them; for the target, standbys are made again, and slots of subscribers are made before clients write there",
        )
    })
}

fn of_server(
    globals: bool,
    NotMoved {
        what,
        object,
        detail,
    }: &NotMoved,
) -> Option<Finding> {
    match what {
        NotMovedKind::SettingOfAllRoles => Some(
            Finding::new(
                Code::SourceSettingOfAllRoles,
                format!("ALTER ROLE ALL SET {object} = {detail:?} is not brought along: it would hold in the whole target"),
            )
            .object(object)
            .fix("run it on the target when everything has arrived, if it shall hold there"),
        ),
        NotMovedKind::MembershipWithoutRole if globals => Some(
            Finding::new(
                Code::SourceMembershipWithoutRole,
                format!(
                    "the membership of {detail} in {object} refers to a role that is gone, as member, group or grantor: \
                     pg_dumpall leaves it out or gives it another grantor"
                ),
            )
            .object(format!("ROLE {object}"))
            .fix("REVOKE it and GRANT it again on the source, or on the target after the run"),
        ),
        NotMovedKind::MigratingRole if globals => Some(
            Finding::new(
                Code::SourceMigratingRole,
                format!(
                    "the source's {detail} of this role is not brought along: the role runs the migration on the target, and \
                     stays there as it is"
                ),
            )
            .object(format!("ROLE {object}"))
            .fix("set it on the target after the run, or use another role for [target]"),
        ),
        NotMovedKind::SecurityLabel => Some(
            Finding::new(
                Code::SourceSecurityLabel,
                format!("its security label of provider {detail} is not brought along"),
            )
            .database(object)
            .fix("SECURITY LABEL … ON DATABASE … on the target after the run"),
        ),
        _ => None,
    }
}

/// Settings and privileges of the databases that every installation has.
fn of_installation(source: &ServerFacts) -> Vec<Finding> {
    let databases = source.databases.iter();
    databases
        .filter(|database| database.is_of_installation())
        .filter_map(|database| {
            let mut parts: Vec<String> = database
                .settings
                .iter()
                .map(|setting| match &setting.role {
                    Some(role) => format!("setting {} of role {role}", setting.name),
                    None => format!("setting {}", setting.name),
                })
                .collect();
            parts.extend(privileges(database));
            parts.extend(others(database, source));
            let in_it = database.contents.iter();
            let functions = in_it.flat_map(|contents| &contents.not_moved);
            parts.extend(
                functions
                    .filter(|found| found.what == NotMovedKind::SystemPrivilege)
                    .map(|found| format!("privileges on {}", found.object)),
            );
            (!parts.is_empty()).then(|| {
                Finding::new(
                    Code::SourceInstallationDatabase,
                    format!(
                        "each server has its own database of this name, so these of the source are not brought along: {}",
                        parts.join(", ")
                    ),
                )
                .database(&database.name)
                .fix("set them on the target by hand, where they matter")
            })
        })
        .collect()
}

/// What else was changed since initdb.
fn others(database: &Database, source: &ServerFacts) -> Vec<String> {
    let mut parts = Vec::new();
    // Hardly anybody gives template0 to another role.
    let initdb = source.database("template0");
    if initdb.is_some_and(|template0| template0.owner != database.owner) {
        parts.push(format!("owner {}", database.owner));
    }
    if database.connection_limit >= 0 {
        parts.push(format!("CONNECTION LIMIT {}", database.connection_limit));
    }
    match &database.contents {
        _ if database.name == "template0" => {}
        None if database.allows_connections => {
            parts.push("whatever is in it, which our role cannot see".to_owned());
        }
        None => parts.push("ALLOW_CONNECTIONS false".to_owned()),
        // Those of postgres are a finding of their own.
        Some(contents) if database.name == "template1" && !contents.is_empty() => {
            parts.push("objects of users, which new databases get".to_owned());
        }
        Some(_) => {}
    }
    parts
}

/// How the privileges differ from those that initdb gives.
fn privileges(database: &Database) -> Vec<String> {
    let Some(privileges) = &database.privileges else {
        return Vec::new();
    };
    let public: &[&str] = match database.name.as_str() {
        "postgres" => &["CONNECT", "TEMPORARY"],
        _ => &["CONNECT"],
    };
    let is_public = |entry: &&Privilege| entry.grantee.is_none();
    let mut differences = Vec::new();
    for name in public {
        if !privileges
            .iter()
            .filter(is_public)
            .any(|entry| entry.privilege == *name)
        {
            differences.push(format!("{name} taken from PUBLIC"));
        }
    }
    let extra = privileges.iter().filter(|entry| match &entry.grantee {
        None => !public.contains(&entry.privilege.as_str()),
        Some(grantee) => *grantee != database.owner,
    });
    differences.extend(extra.map(|entry| {
        let grantee = entry.grantee.as_deref().unwrap_or("PUBLIC");
        format!("{} of {grantee}", entry.privilege)
    }));
    differences
}

/// About a database that migrates.
pub(super) fn for_database(plan: &Plan, database: &Database, target: &ServerFacts) -> Vec<Finding> {
    let contents = database.contents.iter();
    contents
        .flat_map(|contents| in_database(plan, &database.name, &contents.not_moved, target))
        .collect()
}

fn in_database(
    plan: &Plan,
    name: &str,
    not_moved: &[NotMoved],
    target: &ServerFacts,
) -> Vec<Finding> {
    let each = not_moved.iter();
    each.filter_map(|found| of_database(plan, found, target))
        .chain(system_collations(not_moved))
        .chain(information_schema(not_moved))
        .chain(views_computed_again(not_moved))
        .chain(elsewhere::in_database(not_moved))
        .chain(newer::in_database(not_moved, target))
        .chain(system::in_database(not_moved))
        .map(|finding| finding.database(name))
        .collect()
}

/// About what appeared on the source after a run's first look: sentences, for nothing of it keeps a run from starting any more.
pub(crate) fn for_appeared(plan: &Plan, appeared: &Appeared, target: &ServerFacts) -> Vec<String> {
    let findings = match &appeared.database {
        None => in_server(plan.globals, &appeared.not_moved),
        Some(name) => in_database(plan, name, &appeared.not_moved, target),
    };
    let reported = findings
        .iter()
        .filter(|finding| finding.severity != Severity::Info);
    let mut sentences: Vec<String> = reported
        .map(|finding| {
            let fix = finding.fix.as_deref().unwrap_or_default();
            format!("since this run's first look the source has what a dump does not bring along as it is: {finding}; {fix}")
        })
        .collect();
    // Without a choice, pg_restore puts it where the archive says.
    if !plan.tablespaces.0.is_empty() && !appeared.placed.is_empty() {
        let placed = appeared.placed.iter();
        let placed: Vec<String> = placed
            .map(|placed| {
                format!(
                    "{} {} into \"{}\"",
                    placed.kind.word(),
                    placed.name,
                    placed.tablespace
                )
            })
            .collect();
        sentences.push(format!(
            "database \"{}\": since this run's first look, these were put into another tablespace on the source, and may be in the \
             default tablespace of the database on the target, whatever [tablespaces] says: {}; ALTER … SET TABLESPACE there, where \
             they are to be elsewhere",
            appeared.database.as_deref().unwrap_or_default(),
            some_of(&placed, 5)
        ));
    }
    sentences
}

/// One for all of them.
fn views_computed_again(not_moved: &[NotMoved]) -> Option<Finding> {
    let views = objects_of(not_moved, NotMovedKind::ViewComputedAgain);
    (!views.is_empty()).then(|| {
        let message = format!(
            "materialized views have no rows in a dump; the restore computes them, from the rows of the dump, by the settings of the target and of \
             its migrating role: {}",
            some_of(&views, 5)
        );
        Finding::new(Code::SourceViewsComputed, message).fix(
            "where one keeps an older state, or was refreshed by a role with settings of its own (ALTER ROLE … SET), compare it after the run; \
             keep what must not change in a table",
        )
    })
}

/// Of pg_import_system_collations there are hundreds.
fn is_collation(found: &NotMoved) -> bool {
    found.what == NotMovedKind::SystemSchema && found.object.starts_with("collation ")
}

/// One for all of them.
fn system_collations(not_moved: &[NotMoved]) -> Option<Finding> {
    let found = not_moved.iter().filter(|found| is_collation(found));
    let names: Vec<&str> = found.map(|found| found.object.as_str()).collect();
    (!names.is_empty()).then(|| {
        let message = format!(
            "collations of a schema of the system that the target does not have, which pg_dump leaves out: {}; what uses one of them is not \
             restored",
            some_of(&names, 5)
        );
        Finding::new(Code::SourceSystemSchema, message)
            .object("pg_catalog")
            .fix("install their locales on the target's host and call pg_import_system_collations there; or make them in a schema of your own")
    })
}

/// One for all of its views: they are mostly changed together.
fn information_schema(not_moved: &[NotMoved]) -> Option<Finding> {
    let changed = objects_of(not_moved, NotMovedKind::InformationSchema);
    (!changed.is_empty()).then(|| {
        let message = format!(
            "its privileges were changed, and pg_dump brings none of them along: {}",
            some_of(&changed, 5)
        );
        Finding::new(Code::SourceInformationSchema, message)
            .object("information_schema")
            .fix("GRANT and REVOKE on the target after the run")
    })
}

fn of_database(
    plan: &Plan,
    NotMoved {
        what,
        object,
        detail,
    }: &NotMoved,
    target: &ServerFacts,
) -> Option<Finding> {
    let (code, message, fix) = match what {
        NotMovedKind::SystemSchema if object.starts_with("collation ") => return None,
        NotMovedKind::AclWithoutRole => (
            Code::SourceAclWithoutRole,
            format!("a privilege on it is held by a role that is gone (oid {detail}); it may take others along"),
            "compare its privileges on both sides after the run, and GRANT on the target what is missing",
        ),
        NotMovedKind::ColumnOrder => return Some(column_order(object, detail)),
        NotMovedKind::OwnersCode => {
            let when = "while the database is restored";
            return Some(owners_code(plan, object, detail, target, when));
        }
        NotMovedKind::OwnersCodeInRows if target.is_superuser => {
            return Some(owners_code_in_rows(object, detail));
        }
        NotMovedKind::OwnersCodeInRows => {
            let when = "while rows are loaded";
            return Some(owners_code(plan, object, detail, target, when));
        }
        NotMovedKind::GeneratedColumn => (
            Code::SourceGeneratedColumn,
            format!(
                "the stored generated column {detail} is computed again on the target: values that the function, text search configuration, \
                 dictionary or collation of an earlier day stored, or that depend on more than the row, come out as they do today"
            ),
            "where it was replaced or altered since, compare the column on both sides after the run",
        ),
        NotMovedKind::DetachPending => (
            Code::SourceDetachPending,
            format!(
                "it is being detached from {detail} (DETACH PARTITION CONCURRENTLY): queries of that table leave it out, and it would \
                 arrive attached"
            ),
            "wait until that has ended; where it was cancelled, ALTER TABLE … DETACH PARTITION … FINALIZE on the source",
        ),
        NotMovedKind::InvalidIndex => (
            Code::SourceIndexInvalid,
            format!(
                "the {detail}{}index is not valid, because its CREATE INDEX or REINDEX CONCURRENTLY failed or has not ended: pg_dump \
                 leaves it out, and the target will not have it",
                if detail.is_empty() { "" } else { " " }
            ),
            "DROP INDEX, or REINDEX INDEX CONCURRENTLY on the source before the run; otherwise CREATE INDEX on the target after it",
        ),
        NotMovedKind::ReferenceDisabled => (
            Code::SourceReferenceDisabled,
            format!(
                "the foreign key {detail} is not enforced there, because DISABLE TRIGGER ALL disabled its own triggers: on the target \
                 they are enabled"
            ),
            "ALTER TABLE … ENABLE TRIGGER ALL on the source; or DISABLE TRIGGER ALL on the target after the run",
        ),
        NotMovedKind::ExtensionOwner if *detail != target.user => (
            Code::SourceExtensionOwner,
            format!(
                "the extension {object} belongs to role {detail}; on the target it belongs to {}, who creates it",
                target.user
            ),
            "nothing where the role only uses it; ALTER and DROP EXTENSION are then for a superuser on the target",
        ),
        NotMovedKind::ExtensionRows => (
            Code::SourceExtensionRows,
            format!(
                "the table belongs to the extension {detail} and is not marked as configuration \
                 (pg_extension_config_dump), so pg_dump leaves its rows out: those that were added or changed are not \
                 brought along"
            ),
            "compare the table on both sides after the run, and copy what is missing by hand",
        ),
        NotMovedKind::ExtensionSequence => (
            Code::SourceExtensionRows,
            format!(
                "the sequence belongs to the extension {detail} and is not marked as configuration (pg_extension_config_dump), so \
                 pg_dump does not bring along where it stands: on the target it stands where the extension's script leaves it"
            ),
            "compare it on both sides after the run, and setval on the target where it is behind",
        ),
        NotMovedKind::Dropped => (
            Code::SourceDroppedObject,
            format!("the source has no {object}; a new database has it, so it is on the target"),
            "DROP it on the target after the run",
        ),
        NotMovedKind::RangeFunction => (
            Code::SourceRangeFunction,
            "its privileges were changed; pg_dump does not bring along those of a function that CREATE TYPE made".to_owned(),
            "GRANT and REVOKE on the target after the run",
        ),
        NotMovedKind::SubscriptionCopying => (
            Code::SourceSubscriptionCopying,
            format!(
                "the subscription's initial copy of these tables has not ended, so that the source has none of their rows, or not all, and \
                 the target would have no more: {detail}"
            ),
            "wait until pg_subscription_rel.srsubstate is r or s for each of them on the source; or exclude the database; where their \
             rows are not wanted, DROP SUBSCRIPTION or a waiver",
        ),
        NotMovedKind::SystemObject => (
            Code::SourceSystemObject,
            format!(
                "the {object} of pg_catalog is not as on the target ({detail}), and pg_dump does not bring it along: statements, views and \
                 functions that rely on it fail or compute something else"
            ),
            "make the change on the target before the run, where it is still wanted",
        ),
        NotMovedKind::SystemOwner => (
            Code::SourceSystemOwner,
            format!("it is a part of the system and belongs to role {detail}; on the target it belongs to the role that ran initdb"),
            "ALTER … OWNER TO on the target after the run",
        ),
        NotMovedKind::SystemSchema => (
            Code::SourceSystemSchema,
            "it is in a schema of the system, which pg_dump leaves out: it is not brought along".to_owned(),
            "create it in a schema of your own before the run, or on the target by hand",
        ),
        NotMovedKind::TextSearch => (
            Code::SourceTextSearch,
            format!(
                "the text search {object} of pg_catalog is not as on the target, and pg_dump does not bring it along: to_tsvector finds \
                 other words there, also in generated columns and indexes"
            ),
            "use one of your own (CREATE TEXT SEARCH CONFIGURATION … (COPY = …)) on the source; or make the change on the target after \
             the run, and compute columns and indexes again",
        ),
        NotMovedKind::UnloggedSequence => (
            Code::SourceUnloggedOnStandby,
            "the sequence is unlogged and the source is a standby, which cannot read it: on the target it begins again, before the \
             values that are in the tables"
                .to_owned(),
            "use the primary as the source, or setval on the target after the run",
        ),
        NotMovedKind::UnreadableDefinition => (
            Code::SourceUnreadableDefinition,
            format!("only a superuser may read all of {object}; pg_dump leaves it, or its options, out"),
            "use a superuser for [source], or create it on the target by hand",
        ),
        _ => return None,
    };
    Some(Finding::new(code, message).object(object).fix(fix))
}

/// What PostgreSQL does not run as the owner of a table.
fn owners_code(plan: &Plan, function: &str, of: &str, target: &ServerFacts, when: &str) -> Finding {
    let rights = match target.is_superuser {
        true => ", a superuser: whoever may replace the function can become one there",
        false => ": whoever may replace the function can do there what that role may",
    };
    let message = format!(
        "the function is of role {of}; {when} it runs on the target with the rights of \"{}\"{rights}",
        target.user
    );
    let severity = match plan.untrusted_owners {
        true => Severity::Block,
        false => Severity::Warn,
    };
    Finding::new(Code::SourceOwnersCode, message)
        .severity(severity)
        .object(function)
        .fix(
            "read it (\\sf in psql), and give it to a role that you trust (ALTER FUNCTION … OWNER TO) until the run is done; or take away \
             what calls it, and make that again on the target after the run as its owner; where you trust all owners, nothing",
        )
}

fn owners_code_in_rows(function: &str, of: &str) -> Finding {
    let message = format!(
        "the function is of role {of}; the rows of the database are loaded on the target by a login that may insert rows there and nothing \
         else, made for that and dropped again: the function runs with its rights"
    );
    Finding::new(Code::SourceOwnersCodeInRows, message)
        .object(function)
        .fix(
            "nothing; where it reads tables, so that rows are refused, read it and waive this finding: the rows are loaded with the rights of \
             the target's role then",
        )
}

/// Where a database has delayed tables: they are loaded with our rights.
pub(super) fn owners_code_in_delayed(
    plan: &Plan,
    contents: &Contents,
    target: &ServerFacts,
) -> Vec<Finding> {
    let found = contents.not_moved.iter();
    found
        .filter(|found| target.is_superuser && found.what == NotMovedKind::OwnersCodeInRows)
        .map(|found| {
            let when = "while delayed tables are loaded";
            owners_code(plan, &found.object, &found.detail, target, when)
        })
        .collect()
}

/// Values of a row type are written without the names of its columns.
fn column_order(table: &str, row_columns: &str) -> Finding {
    let order = "the table inherits, and has columns in another order than CREATE TABLE … INHERITS gives them, which is theirs on the target";
    let fix = "ALTER TABLE … NO INHERIT on the source before the run and INHERIT again on both sides after it: the table is made by itself \
               then, with its own order; or make the table again on the source";
    let (severity, what) = if row_columns.is_empty() {
        let what =
            "statements that name no columns (INSERT … VALUES, COPY, SELECT *) find others there";
        (Severity::Warn, what.to_owned())
    } else {
        let what = format!(
            "values of its row type are written in the old order and read in the new, so that they change places within {row_columns}"
        );
        (Severity::Block, what)
    };
    Finding::new(Code::SourceColumnOrder, format!("{order}: {what}"))
        .severity(severity)
        .object(table)
        .fix(fix)
}
