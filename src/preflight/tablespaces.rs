//! Tablespaces of the source that the target lacks.

use std::collections::{BTreeMap, BTreeSet};

use super::words::counted;
use crate::catalog::{Database, Inspection, PlacedKind, Setting, parameter};
use crate::finding::{Code, Finding};
use crate::plan::Plan;

/// `selected`: the databases that migrate.
pub(crate) fn for_tablespaces(
    plan: &Plan,
    inspection: &Inspection,
    selected: &[&Database],
) -> Vec<Finding> {
    let uses = uses(plan, inspection, selected);
    let missing = uses
        .iter()
        .filter_map(|(name, uses)| missing(plan, inspection, name, uses));
    missing.chain(without_match(plan, inspection)).collect()
}

/// Relations that are named.
const NAMED: usize = 3;

/// What is in a tablespace, or goes there.
#[derive(Default)]
struct Uses<'a> {
    /// Databases whose default tablespace it is.
    databases: Vec<&'a str>,
    /// How many relations of each kind.
    counts: BTreeMap<PlacedKind, u32>,
    /// Some of these, each with its database.
    relations: Vec<String>,
    /// Settings that name it, in words.
    settings: BTreeSet<String>,
}

/// By the names of the source's tablespaces.
fn uses<'a>(
    plan: &Plan,
    inspection: &'a Inspection,
    selected: &[&'a Database],
) -> BTreeMap<&'a str, Uses<'a>> {
    let mut uses: BTreeMap<&str, Uses<'_>> = BTreeMap::new();
    for database in selected {
        let name = database.name.as_str();
        uses.entry(&database.tablespace)
            .or_default()
            .databases
            .push(name);
        for placed in database
            .contents
            .iter()
            .flat_map(|contents| &contents.placed)
        {
            let uses = uses.entry(&placed.tablespace).or_default();
            *uses.counts.entry(placed.kind).or_default() += 1;
            if uses.relations.len() < NAMED {
                uses.relations.push(format!("{name}.{}", placed.name));
            }
        }
    }
    let of_roles = inspection.source.role_settings.iter();
    let of_roles = of_roles
        .filter(|setting| {
            let role = setting.role.as_ref();
            plan.globals && role.is_none_or(|role| !inspection.target.keeps_role(role))
        })
        .map(|setting| (setting, None));
    let of_databases = selected.iter().flat_map(|database| {
        let settings = database.settings.iter();
        settings.map(|setting| (setting, Some(database.name.as_str())))
    });
    for (setting, database) in of_roles.chain(of_databases) {
        for name in tablespaces_in(setting) {
            // One that the source does not have any more means nothing there either.
            let known = inspection.source.tablespaces.iter();
            for known in known.filter(|known| **known == name) {
                let words = words(setting, database);
                uses.entry(known).or_default().settings.insert(words);
            }
        }
    }
    uses
}

fn tablespaces_in(setting: &Setting) -> Vec<String> {
    parameter::tablespaces_in(&setting.name, &setting.value).unwrap_or_default()
}

/// `default_tablespace of role "app" in database "erp"`
fn words(setting: &Setting, database: Option<&str>) -> String {
    let mut words = setting.name.clone();
    if let Some(role) = &setting.role {
        words += &format!(" of role \"{role}\"");
    }
    match (database, &setting.role) {
        (Some(database), Some(_)) => words += &format!(" in database \"{database}\""),
        (Some(database), None) => words += &format!(" of database \"{database}\""),
        (None, _) => {}
    }
    words
}

/// About a tablespace whose place on the target is not there.
fn missing(plan: &Plan, inspection: &Inspection, name: &str, uses: &Uses<'_>) -> Option<Finding> {
    let target = &inspection.target;
    let place = plan.tablespaces.on_target(name)?;
    let is_made = |place: &String| place == name || !plan.tablespaces.chooses(place);
    let mut there = target.tablespaces.iter();
    let mut made = target.makeable_tablespaces.iter();
    if place == "pg_default"
        || there.any(|there| there == place)
        || made.any(|made| made == place && is_made(made))
    {
        return None;
    }
    let what = if plan.tablespaces.chooses(name) {
        format!(
            "the plan puts what is in it into the tablespace \"{place}\", which is not on the target"
        )
    } else {
        "it is not on the target".to_owned()
    };
    let others: Vec<String> = target
        .tablespaces
        .iter()
        .map(|name| format!(", {name}"))
        .collect();
    let fix = format!(
        "say in the plan where it goes: [tablespaces] with {} = \"default\" (the default tablespace of the database) or the \
         name of a tablespace of the target (pg_default{}); or CREATE TABLESPACE there. The run itself only makes it where \
         globals.migrate is true, [target] has a superuser, and the directory that it has on the source is there and empty",
        key(name),
        others.concat()
    );
    let message = format!("{what}; used by {}", in_words(uses));
    Some(
        Finding::new(Code::TargetTablespaceMissing, message)
            .object(format!("TABLESPACE {name}"))
            .fix(fix),
    )
}

/// As a key of TOML.
fn key(name: &str) -> String {
    let is_bare = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    if !name.is_empty() && name.chars().all(is_bare) {
        name.to_owned()
    } else {
        serde_json::Value::from(name).to_string()
    }
}

fn in_words(uses: &Uses<'_>) -> String {
    let mut parts: Vec<String> = uses
        .databases
        .iter()
        .map(|database| format!("database \"{database}\""))
        .collect();
    if !uses.counts.is_empty() {
        let counts = uses.counts.iter();
        let counts: Vec<String> = counts
            .map(|(kind, number)| match (kind, number) {
                (PlacedKind::Index, 2..) => format!("{number} indexes"),
                _ => counted(*number, kind.word()),
            })
            .collect();
        let all: u32 = uses.counts.values().sum();
        let more = if all as usize > uses.relations.len() {
            ", …"
        } else {
            ""
        };
        let named = uses.relations.join(", ");
        parts.push(format!("{} ({named}{more})", counts.join(", ")));
    }
    parts.extend(uses.settings.iter().cloned());
    parts.join(", ")
}

/// Names in the plan that the source does not know.
fn without_match(plan: &Plan, inspection: &Inspection) -> Vec<Finding> {
    let names = plan.tablespaces.0.keys();
    names
        .filter(|name| !inspection.source.tablespaces.contains(name))
        .map(|name| {
            let message = "[tablespaces] names it, and the source has no such tablespace";
            Finding::new(Code::PlanTablespaceMatchesNothing, message)
                .object(format!("TABLESPACE {name}"))
                .fix("correct the name, or remove it")
        })
        .collect()
}
