//! What was changed on the source of tables, rows, sequences, functions and the like that belong to extensions: no client program brings it along, and only
//! beside what CREATE EXTENSION made on the target does it show.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use futures_util::{StreamExt, TryStreamExt, stream};

use crate::inspect::{
    Member, ScriptedRows, ScriptedSequence, members, scripted_rows, scripted_sequences,
};
use crate::names::some_of;
use crate::plan::Endpoint;
use crate::postgres::{self, Session, connect, escape_control};
use crate::step::Shared;

/// Databases that are looked into at a time.
const AT_A_TIME: usize = 4;

/// Parts that scripts of all versions make alike.
const OF_ALL_VERSIONS: [&str; 2] = ["mappings", "options"];

/// So many differences of an extension are named.
const SHOWN: usize = 8;

/// A sentence for each extension of a database that has members which are not on the target as they are on the source.
pub(super) async fn not_on_target(shared: &Shared) -> Vec<(Option<String>, String)> {
    let source = &shared.inspection.source;
    let with_extensions = shared.graph.database_names().filter(|name| {
        let contents = source
            .database(name)
            .and_then(|found| found.contents.as_ref());
        contents.is_some_and(|contents| contents.extensions > 0)
    });
    let looks: Result<Vec<(String, Vec<String>)>, postgres::Error> = stream::iter(with_extensions)
        .map(|name| async move { Ok((name.clone(), look(shared, name).await?)) })
        .buffer_unordered(AT_A_TIME)
        .try_collect()
        .await;
    let mut found = match looks {
        Ok(found) => found,
        // The run is over: a server that is away is not waited for, nor asked about the other databases.
        Err(error) => {
            let message = format!(
                "it could not be seen whether tables, rows, sequences and functions of extensions are on the target as they are on the source: {error}"
            );
            return vec![(None, message)];
        }
    };
    found.sort();
    let about = |(name, messages): (String, Vec<String>)| {
        let messages = messages.into_iter();
        messages.map(move |message| (Some(name.clone()), message))
    };
    found.into_iter().flat_map(about).collect()
}

/// What of the extensions of a database is as their scripts and others left it.
struct State {
    members: Vec<Member>,
    sequences: Vec<ScriptedSequence>,
    rows: Vec<ScriptedRows>,
    /// The server's.
    major: u32,
}

async fn look(shared: &Shared, database: &str) -> Result<Vec<String>, postgres::Error> {
    let source = read(shared, &shared.source, database, None).await?;
    if source.members.is_empty() && source.sequences.is_empty() && source.rows.is_empty() {
        return Ok(Vec::new());
    }
    let target = read(shared, &shared.target, database, Some(&source.rows)).await?;
    let mut found = compare(&source.members, &target.members);
    found.extend(sequences_behind(&source.sequences, &target.sequences));
    found.extend(other_rows(&source, &target));
    Ok(found)
}

async fn read(
    shared: &Shared,
    endpoint: &Endpoint,
    database: &str,
    conditions: Option<&[ScriptedRows]>,
) -> Result<State, postgres::Error> {
    let session = Session::new(&shared.application.application_name_for("members"));
    let connection = connect(endpoint, database, &session).await?;
    let state = State {
        members: members(&connection).await?,
        sequences: scripted_sequences(&connection).await?,
        rows: scripted_rows(&connection, conditions).await?,
        major: connection.version().major(),
    };
    connection.close().await;
    Ok(state)
}

/// Sequences of extensions that no dump brings along, and that would give out values again.
fn sequences_behind(source: &[ScriptedSequence], target: &[ScriptedSequence]) -> Option<String> {
    let behind = source.iter().filter_map(|here| {
        let there = target.iter().find(|one| one.name == here.name)?;
        let (name, extension) = (&here.name, &here.extension);
        match (&here.sequence, &there.sequence) {
            (Some(here), Some(there)) if there.is_behind(here) => Some(format!(
                "{name} of {extension} ({}, on the target {})",
                here.value.last, there.value.last
            )),
            (Some(_), Some(_)) => None,
            _ => Some(format!("{name} of {extension} (not readable)")),
        }
    });
    let behind: Vec<String> = behind
        .map(|one| escape_control(&one).into_owned())
        .collect();
    (!behind.is_empty()).then(|| {
        format!(
            "sequences that extensions made and did not mark as configuration are on the target where their scripts left them, because \
             pg_dump does not bring them along: {}; setval them on the target to where they stand on the source",
            some_of(&behind, SHOWN)
        )
    })
}

/// Rows that the conditions of configuration tables leave out of the dump, where an extension has the same version on both sides.
fn other_rows(source: &State, target: &State) -> Option<String> {
    let writes_alike = (source.major < 1200) == (target.major < 1200);
    let other = source.rows.iter().filter_map(|here| {
        let same = |one: &&ScriptedRows| one.table == here.table && one.extension == here.extension;
        let there = target.rows.iter().find(same)?;
        let what = match (&here.rows, &there.rows) {
            (Some(here), Some(there)) if here.number != there.number => {
                format!("{} rows, on the target {}", here.number, there.number)
            }
            (Some(here), Some(there))
                if here.digest != there.digest && (here.is_plain || writes_alike) =>
            {
                format!("{} rows, on the target with other values", here.number)
            }
            (Some(_), Some(_)) => return None,
            _ => "not readable".to_owned(),
        };
        Some(format!("{} of {} ({what})", here.table, here.extension))
    });
    let other: Vec<String> = other.map(|one| escape_control(&one).into_owned()).collect();
    (!other.is_empty()).then(|| {
        format!(
            "rows of configuration tables that the extension's condition (pg_extension_config_dump) leaves out of the dump are not on the \
             target as on the source: {}; compare the tables, and make on the target what was changed on the source by hand (what a script computes by itself, such as a time or \
             an identifier of the installation, may differ)",
            some_of(&other, SHOWN)
        )
    })
}

/// What the source has, and of what both have the parts. Where the extension is of another version, its script may have made other objects
/// and parts, so that, but for few, only those parts count that the target does not have at all.
fn compare(source: &[Member], target: &[Member]) -> Vec<String> {
    let by_part = |members: &[Member]| -> HashMap<(String, String), Member> {
        let members = members.iter();
        members
            .map(|one| ((one.object.clone(), one.part.clone()), one.clone()))
            .collect()
    };
    let (here, there) = (by_part(source), by_part(target));
    let objects = |members: &[Member]| -> HashSet<String> {
        members.iter().map(|one| one.object.clone()).collect()
    };
    let (in_source, in_target) = (objects(source), objects(target));
    let versions: HashMap<&str, &str> = target
        .iter()
        .map(|one| (one.extension.as_str(), one.version.as_str()))
        .collect();
    let mut differences: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    // ALTER EXTENSION … ADD, by a person.
    let added = source.iter().filter(|one| {
        let is_same_version = versions.get(one.extension.as_str()) == Some(&one.version.as_str());
        is_same_version && !in_target.contains(&one.object)
    });
    let added: BTreeSet<(&str, &str)> = added
        .map(|one| (one.extension.as_str(), one.object.as_str()))
        .collect();
    for (extension, object) in added {
        let list = differences.entry(extension).or_default();
        list.push(format!("all of {object}"));
    }
    for one in source.iter().filter(|one| in_target.contains(&one.object)) {
        let is_same_version = versions.get(one.extension.as_str()) == Some(&one.version.as_str());
        let differs = match there.get(&(one.object.clone(), one.part.clone())) {
            None => true,
            Some(there) => {
                let is_alike = is_same_version || OF_ALL_VERSIONS.contains(&one.part.as_str());
                is_alike && there.definition != one.definition
            }
        };
        if differs {
            let list = differences.entry(&one.extension).or_default();
            list.push(format!("{} of {}", one.part, one.object));
        }
    }
    for one in target.iter().filter(|one| in_source.contains(&one.object)) {
        let version = source.iter().find(|here| here.object == one.object);
        let is_same_version = version.is_some_and(|here| here.version == one.version);
        if is_same_version && !here.contains_key(&(one.object.clone(), one.part.clone())) {
            let list = differences.entry(&one.extension).or_default();
            list.push(format!(
                "{} of {} (not on the source)",
                one.part, one.object
            ));
        }
    }
    differences
        .into_iter()
        .map(|(extension, mut list)| {
            list.sort_unstable();
            sentence(extension, &list)
        })
        .collect()
}

fn sentence(extension: &str, differences: &[String]) -> String {
    let shown: Vec<_> = differences.iter().map(|one| escape_control(one)).collect();
    format!(
        "what the extension {} made was changed on the source, which pg_dump does not bring along: {}; make the same changes on \
         the target",
        escape_control(extension),
        some_of(&shown, SHOWN)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(version: &str, object: &str, part: &str, definition: &str) -> Member {
        Member {
            extension: "jobs".to_owned(),
            version: version.to_owned(),
            object: object.to_owned(),
            part: part.to_owned(),
            definition: definition.to_owned(),
        }
    }

    #[test]
    fn what_differs_is_told_and_of_another_version_only_what_is_missing() {
        let source = |version: &str| {
            vec![
                member(version, "public.job", "column id", "integer NOT NULL"),
                member(version, "public.job", "index mine", "CREATE INDEX mine"),
                member(version, "dictionary of_jobs", "options", "maxlen = 3"),
                member(
                    version,
                    "public.gone",
                    "comment",
                    "of a table that the target lacks",
                ),
            ]
        };
        let target = vec![
            member("1.0", "public.job", "column id", "integer"),
            member("1.0", "dictionary of_jobs", "options", ""),
            member(
                "1.0",
                "public.job",
                "trigger theirs",
                "CREATE TRIGGER theirs",
            ),
        ];
        insta::assert_snapshot!(compare(&source("1.0"), &target).join("\n"), @"what the extension jobs made was changed on the source, which pg_dump does not bring along: all of public.gone, column id of public.job, index mine of public.job, options of dictionary of_jobs, trigger theirs of public.job (not on the source); make the same changes on the target");
        insta::assert_snapshot!(compare(&source("1.1"), &target).join("\n"), @"what the extension jobs made was changed on the source, which pg_dump does not bring along: index mine of public.job, options of dictionary of_jobs; make the same changes on the target");
        assert_eq!(compare(&target, &target), Vec::<String>::new());
    }
}
