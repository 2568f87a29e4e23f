//! A database as a whole: what the target has of its name, and whether it can be created there.

use std::collections::BTreeSet;

use crate::catalog::{
    CHANGES_WHAT_IS_RESTORED, Contents, Database, LocaleProvider, Missing, ServerFacts, Setting,
    granted_on_target, locale,
};
use crate::finding::{Code, Finding, Severity};
use crate::names::some_of;

pub(super) fn for_database(
    database: &Database,
    source: &ServerFacts,
    target: &ServerFacts,
    created: &BTreeSet<String>,
) -> Vec<Finding> {
    [
        about_target(database, target, created),
        unreadable(database, source),
        not_utf8(database),
        login_triggers(database, source),
        event_triggers(database, target),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Tables that are named.
const NAMED: usize = 5;

/// What the dump would fail on.
fn unreadable(database: &Database, source: &ServerFacts) -> Option<Finding> {
    let contents = database.contents.as_ref()?;
    let tables = &contents.unreadable;
    let mut parts = Vec::new();
    if !tables.is_empty() {
        let number = match tables.len() {
            1 => "1 table or sequence".to_owned(),
            number => format!("{number} tables or sequences"),
        };
        parts.push(format!("{number} ({})", some_of(tables, NAMED)));
    }
    if contents.unreadable_large_objects > 0 {
        parts.push(match contents.unreadable_large_objects {
            1 => "1 large object".to_owned(),
            number => format!("{number} large objects"),
        });
    }
    (!parts.is_empty()).then(|| {
        let message = format!(
            "the role \"{}\" may not read {}",
            source.user,
            parts.join(" and ")
        );
        let fix = if source.version.major() >= 1400 {
            "GRANT pg_read_all_data to the role, or GRANT USAGE on the schemas and SELECT on what is named; for large \
             objects, their owners' roles; or use a superuser for [source]"
        } else {
            "GRANT USAGE on the schemas and SELECT on what is named to the role; for large objects, their owners' roles; or \
             use a superuser for [source]"
        };
        Finding::new(Code::SourceUnreadable, message)
            .database(&database.name)
            .fix(fix)
    })
}

/// Names that no text of ours can hold.
fn not_utf8(database: &Database) -> Option<Finding> {
    let names = &database.contents.as_ref()?.names_not_utf8;
    (!names.is_empty()).then(|| {
        let message = format!("these names are not UTF-8: {}", some_of(names, NAMED));
        Finding::new(Code::SourceNameNotUtf8, message)
            .database(&database.name)
            .fix(
                "rename them on the source, as in DO $$ BEGIN EXECUTE format('ALTER TABLE %I RENAME TO new_name', \
                 E'caf\\xe9'); END $$; or exclude the database",
            )
    })
}

/// What fires in each session of ours on the source.
fn login_triggers(database: &Database, source: &ServerFacts) -> Option<Finding> {
    let names = event_triggers_of(database, |event| event == "login")?;
    (!source.sets_event_triggers).then(|| {
        let message = format!(
            "the role \"{}\" may not switch event triggers off on the source, so login triggers fire in each session of the \
             run: {names}",
            source.user
        );
        Finding::new(Code::SourceLoginTriggers, message)
            .database(&database.name)
            .fix("GRANT SET ON PARAMETER event_triggers TO … on the source, or use a superuser for [source]")
    })
}

/// What fires on the target once it is restored there, and logs or forbids what the run does then.
fn event_triggers(database: &Database, target: &ServerFacts) -> Option<Finding> {
    let names = event_triggers_of(database, |_| true)?;
    (!target.sets_event_triggers).then(|| {
        let (reason, fix) = if target.version.major() < 1700 {
            (
                "before 17 event triggers cannot be switched off for a session".to_owned(),
                "ALTER EVENT TRIGGER … DISABLE on the source before the run, and ENABLE on both servers after it",
            )
        } else {
            (
                format!("the role \"{}\" may not switch event triggers off on the target", target.user),
                "GRANT SET ON PARAMETER event_triggers TO … on the target, or use a superuser for [target]",
            )
        };
        let message = format!(
            "{reason}, so these fire for what the run does after they are restored (indexes, materialized views, sessions): \
             {names}"
        );
        Finding::new(Code::TargetEventTriggers, message)
            .database(&database.name)
            .fix(fix)
    })
}

/// Names of the database's event triggers for such events; `None`: it has none.
fn event_triggers_of(database: &Database, is_wanted: impl Fn(&str) -> bool) -> Option<String> {
    let triggers = &database.contents.as_ref()?.event_triggers;
    let names: Vec<&str> = triggers
        .iter()
        .filter(|trigger| is_wanted(&trigger.event))
        .map(|trigger| trigger.name.as_str())
        .collect();
    (!names.is_empty()).then(|| names.join(", "))
}

fn about_target(
    database: &Database,
    target: &ServerFacts,
    created: &BTreeSet<String>,
) -> Option<Finding> {
    let name = &database.name;
    let existing = target.database(name).filter(|_| !created.contains(name));
    match existing {
        Some(existing) => Some(exists(database, existing, &target.user)),
        None => locale_missing(database, target),
    }
}

/// About a database of this plan that the next run drops. `is_verified`: clients may use it.
pub(crate) fn for_dropped(name: &str, is_verified: bool) -> Finding {
    let (severity, message) = if is_verified {
        (
            Severity::Warn,
            "drop and recreate: the next run drops it, as `pg-migrate reset --drop` asked for, unless it was written to since \
             it was verified",
        )
    } else {
        (
            Severity::Info,
            "drop and recreate: an earlier run of this plan created it, and it was not verified",
        )
    };
    Finding::new(Code::TargetDatabaseRecreated, message)
        .severity(severity)
        .database(name)
}

/// About a database that was there, empty, that this plan filled and is to fill again, and that it does not drop: why.
pub(crate) fn for_not_remade(name: &str, obstacle: &str) -> Finding {
    let message = format!(
        "this plan found this database empty and filled it, and is to fill it again; it does not drop it, because {obstacle}"
    );
    Finding::new(Code::TargetDatabaseNotEmpty, message)
        .database(name)
        .fix("if what is in it is not needed: DROP DATABASE on the target, CREATE DATABASE with what it had, and run again")
}

/// About a database that this plan made, and that is not there any more. One that was not verified is made again.
pub(crate) fn for_missing(missing: &Missing) -> Finding {
    let shown = str::to_owned;
    let what = missing.what(shown).to_string();
    let finding = Finding::new(Code::TargetDatabaseGone, what).database(&missing.database);
    if missing.is_verified {
        finding.fix(missing.help(shown))
    } else {
        let message = format!("{}; the next run creates it again", finding.message);
        Finding { message, ..finding }.severity(Severity::Info)
    }
}

/// About a database of that name which this plan did not create.
fn exists(database: &Database, existing: &Database, user: &str) -> Finding {
    // What could not be looked into may hold anything.
    let contents = existing.contents.as_ref();
    let is_empty = contents.is_some_and(|contents| contents.is_empty());
    let finding = if !is_empty {
        Finding::new(
            Code::TargetDatabaseNotEmpty,
            "the target has a database of this name, and it is not empty; nothing is overwritten that this plan did \
             not create",
        )
        .fix("drop or rename it on the target, or exclude it (databases.exclude)")
    } else if let Some(changing) = changing(contents) {
        let message = format!(
            "the target has an empty database of this name, and it is not filled, because it holds what would change what is restored \
             into it: {changing}"
        );
        let statements = contents.map_or(String::new(), |contents| {
            contents.without_default_privileges.join("; ")
        });
        let colon = if statements.is_empty() { "" } else { ": " };
        Finding::new(Code::TargetDatabaseNotEmpty, message).fix(format!(
            "drop it on the target, and the run creates it; or take these out of it{colon}{statements}"
        ))
    } else if existing.encoding != database.encoding {
        let message = format!(
            "the target has an empty database of this name with encoding {}, the source's is {}",
            existing.encoding, database.encoding
        );
        Finding::new(Code::TargetDatabaseEncoding, message).fix("drop it on the target")
    } else {
        let message = format!(
            "the target has an empty database of this name, which will be used as it is{}{}; if the restore is interrupted, the \
             next run drops it and creates it again as it was found, or says what it would lose",
            differences(database, existing),
            replaced(database, existing, user)
        );
        Finding::new(Code::TargetDatabaseExists, message)
            .fix("drop it on the target, and the run creates it as it is on the source")
    };
    finding.database(&database.name)
}

/// What an empty database must not hold, in words; `None`: nothing of it.
fn changing(contents: Option<&Contents>) -> Option<String> {
    let own = contents.iter().flat_map(|contents| &contents.own);
    let changing = own.map(String::as_str);
    let changing: Vec<&str> = changing
        .filter(|word| CHANGES_WHAT_IS_RESTORED.contains(word))
        .collect();
    (!changing.is_empty()).then(|| changing.join(", "))
}

/// What does not, in words. That our role owns it, who made it knows.
fn replaced(database: &Database, existing: &Database, user: &str) -> String {
    let owner = existing.owner.as_str();
    let is_owned = owner != database.owner && owner != user;
    let mut replaced: Vec<String> = is_owned
        .then(|| format!("its owner, the role \"{owner}\""))
        .into_iter()
        .collect();
    replaced.extend(granted_on_target(database, existing, Some(owner)));
    if replaced.is_empty() {
        return String::new();
    }
    format!(
        "; replaced by what the source has: {} (ALTER DATABASE … OWNER TO and GRANT after the run, where they are wanted)",
        replaced.join(", ")
    )
}

/// What stays as it is on the target, in words. Owner and privileges become those of the source.
fn differences(database: &Database, existing: &Database) -> String {
    let provider = |of: &Database| format!("{:?}", of.provider).to_lowercase();
    let or_none = |text: &Option<String>| text.clone().unwrap_or_else(|| "none".to_owned());
    let parts = [
        ("locale provider", provider(database), provider(existing)),
        (
            "locale",
            or_none(&database.locale),
            or_none(&existing.locale),
        ),
        (
            "ICU rules",
            or_none(&database.icu_rules),
            or_none(&existing.icu_rules),
        ),
        (
            "locale (LC_COLLATE)",
            database.collate.clone(),
            existing.collate.clone(),
        ),
        (
            "locale (LC_CTYPE)",
            database.ctype.clone(),
            existing.ctype.clone(),
        ),
        (
            "tablespace",
            database.tablespace.clone(),
            existing.tablespace.clone(),
        ),
    ];
    let differ = parts
        .into_iter()
        .filter(|(_, source, target)| source != target);
    let mut told: Vec<String> = differ
        .map(|(what, source, target)| format!("{what} {target} instead of {source}"))
        .collect();
    told.extend(own_properties(database, existing));
    if told.is_empty() {
        String::new()
    } else {
        format!(", with {}", told.join(", "))
    }
}

/// What the target's database has and the source's does not, so that nothing is set in its place.
fn own_properties(database: &Database, existing: &Database) -> Vec<String> {
    let is_own = |setting: &&Setting| {
        let mut here = database.settings.iter();
        !here.any(|here| here.role == setting.role && here.name == setting.name)
    };
    let settings = existing.settings.iter().filter(is_own);
    let mut own: Vec<String> = settings
        .map(|setting| match &setting.role {
            Some(role) => format!("its own setting {} of role {role}", setting.name),
            None => format!("its own setting {}", setting.name),
        })
        .collect();
    if database.comment.is_none() && existing.comment.is_some() {
        own.push("its own comment".to_owned());
    }
    if database.connection_limit < 0 && existing.connection_limit >= 0 {
        own.push(format!(
            "its own CONNECTION LIMIT {}",
            existing.connection_limit
        ));
    }
    if !database.is_template && existing.is_template {
        own.push("its mark of a template".to_owned());
    }
    own
}

fn locale_missing(database: &Database, target: &ServerFacts) -> Option<Finding> {
    if database.provider != LocaleProvider::Libc {
        return None;
    }
    let mut locales = [&database.collate, &database.ctype].into_iter();
    let missing = locales.find(|name| !locale::is_available(name, &target.locales))?;
    let message =
        format!("the target's operating system does not seem to have the locale \"{missing}\"");
    Some(
        Finding::new(Code::TargetLocaleMissing, message)
            .database(&database.name)
            .fix("install the locale on the target's host, then SELECT pg_import_system_collations('pg_catalog')"),
    )
}
