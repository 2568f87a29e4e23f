//! Whether both servers are still those that earlier runs left, and which of their work is not believed where they are not.

use std::borrow::Cow;
use std::collections::BTreeSet;

use super::control::Older;
use crate::catalog::{Inspection, ServerFacts, is_of_another, properties};
use crate::journal::{self, Change, Entry, Journal, State};
use crate::names::{Continuity, Kind, Product, Sighting, StepId, continuity};

/// Why steps of a database are forgotten.
const OLDER_SOURCE: &str = "the source is not as it was when it was dumped";
const OTHER_DATABASE: &str = "another database of the source has its name since it was dumped";

/// What is not believed of the work that is on record.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Doubts {
    pub target: Option<Doubt>,
    pub source: Option<Doubt>,
    /// The source's database of this name is not the one that was dumped.
    pub replaced: Doubted,
}

/// A server is not as it was.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Doubt {
    pub continuity: Continuity,
    /// What shows it.
    pub difference: String,
    pub databases: Doubted,
    /// Of those that are moved again: what has their names on the target may be anybody's.
    pub disowned: Vec<String>,
    /// Of a target that was promoted: it lacks some of what was done to it, as its mark shows.
    pub behind: Option<Behind>,
}

/// A standby took over that had not all that this plan did on the target.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Behind {
    /// What shows it.
    pub difference: String,
    /// Databases that may lack something, were verified, and that clients may use.
    pub in_use: Vec<String>,
}

/// The databases that it is about.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Doubted {
    /// They are moved again, as far as they were.
    pub again: Vec<String>,
    /// They were verified, and clients may use them.
    pub in_use: Vec<String>,
}

impl Doubts {
    /// Compares what is on record with what was found. `older`: the target's mark has not all that it was given.
    pub(crate) fn find(state: &State, inspection: &Inspection, older: Option<&Older>) -> Doubts {
        let target = &inspection.target;
        let run = state.runs.last();
        let last = run.and_then(|run| run.target.as_ref());
        let (continuity, difference) = match (since(state.seen.target, last, target), older) {
            // Who has no mark at all is told that: a person may have dropped it.
            ((Continuity::Same, _), Some(older)) if !older.is_gone() => {
                (Continuity::WentBack, older.what.clone())
            }
            (seen, _) => seen,
        };
        let target = (continuity != Continuity::Same)
            .then(|| of_target(state, continuity, difference, older));
        // What is made again on the target is dumped again with everything else.
        let lost: &[String] = target.as_ref().map_or(&[], |doubt| &doubt.databases.again);
        let is_kept =
            |name: &str| state.verified.contains_key(name) && !lost.contains(&name.to_owned());
        let last = run.and_then(|run| run.source.as_ref());
        let (continuity, difference) = since(state.seen.source, last, &inspection.source);
        let source = (continuity != Continuity::Same).then(|| Doubt {
            continuity,
            difference,
            databases: split(dumped(state), is_kept),
            disowned: Vec::new(),
            behind: None,
        });
        let mut replaced: BTreeSet<String> = dumped(state).collect();
        replaced.extend(state.made_from.keys().cloned());
        replaced.retain(|name| is_replaced(name, state, &inspection.source));
        let replaced = split(replaced.into_iter(), is_kept);
        Doubts {
            target,
            source,
            replaced,
        }
    }

    /// The record without what is not believed.
    pub(crate) fn believed<'a>(&self, state: &'a State) -> Cow<'a, State> {
        let mut believed = Cow::Borrowed(state);
        if let Some(target) = &self.target {
            for (databases, disowned) in target.by_owner() {
                believed.to_mut().doubt(&databases, disowned);
            }
        }
        for (_, steps) in self.of_source(&believed) {
            let state = believed.to_mut();
            for step in steps {
                state.steps.remove(&step);
            }
        }
        believed
    }

    /// Puts on record what is not believed, before anything is done about it. A run that is killed then finds the same.
    ///
    /// # Errors
    ///
    /// A journal that cannot be written.
    pub(super) fn record(&self, journal: &mut Journal) -> Result<(), journal::Error> {
        if let Some(target) = &self.target {
            for (databases, disowned) in target.by_owner() {
                let change = Change::DoubtDatabases {
                    databases,
                    disowned,
                };
                journal.append(change.into())?;
            }
        }
        for (reason, steps) in self.of_source(journal.state()) {
            tracing::warn!(reason, steps = steps.len(), "to be done again");
            journal.append(Entry::Forgotten {
                steps,
                reason: reason.to_owned(),
                drop: Vec::new(),
            })?;
        }
        Ok(())
    }

    /// The steps that are done and that have to be done again because of the source, by reason.
    fn of_source(&self, state: &State) -> Vec<(&'static str, Vec<StepId>)> {
        let again = self.source.iter().map(|doubt| &doubt.databases.again);
        let again = again.flatten().map(|name| (OLDER_SOURCE, name)).chain(
            self.replaced
                .again
                .iter()
                .map(|name| (OTHER_DATABASE, name)),
        );
        let mut known = BTreeSet::new();
        let again = again.filter(|(_, name)| known.insert(*name));
        again
            .map(|(reason, name)| {
                let done = state.steps.keys().filter(|id| id.is_about(name));
                let done = done.filter(|id| state.is_done(id)).cloned();
                (reason, done.collect::<Vec<StepId>>())
            })
            .filter(|(_, steps)| !steps.is_empty())
            .collect()
    }
}

impl Doubt {
    /// What is moved again, without and with what is disowned.
    fn by_owner(&self) -> [(Vec<String>, bool); 2] {
        let again = self.databases.again.iter().cloned();
        let (disowned, ours) = again.partition(|name| self.disowned.contains(name));
        [(ours, false), (disowned, true)]
    }
}

/// What is not believed of the work on a target that is not as it was.
fn of_target(
    state: &State,
    continuity: Continuity,
    difference: String,
    older: Option<&Older>,
) -> Doubt {
    let is_promoted = matches!(continuity, Continuity::Promoted { .. });
    let numbers = |name: &str| state.numbers.get(name).copied().unwrap_or_default();
    // The server may be another. A standby that was promoted has the history, and so the object ids, of the server that it followed, up
    // to where it had it.
    let is_disowned =
        |name: &str| !is_promoted || older.is_some_and(|older| numbers(name).made > older.number);
    let is_in_use = |name: &str| state.is_to_be_kept(name) && !state.is_closed(name);
    // One that was named to be dropped is dropped, unless clients wrote to it.
    let is_named = |name: &String| state.may_drop.contains(name) && !state.is_closed(name);
    let created = state.created.keys();
    let created = created.filter(|name| is_disowned(name) || !is_named(name));
    let mut databases = split(created.cloned(), is_in_use);
    let disowned = databases.again.iter().filter(|name| is_disowned(name));
    let disowned = disowned.cloned().collect();
    let behind = older.filter(|_| is_promoted).map(|older| {
        let is_behind = |name: &mut String| numbers(name).last > older.number;
        Behind {
            difference: format!("{difference}; {}", older.what),
            in_use: databases.in_use.extract_if(.., is_behind).collect(),
        }
    });
    Doubt {
        continuity,
        difference,
        databases,
        disowned,
        behind,
    }
}

/// What a server is to the one that a run saw last, and what shows it. One of another cluster (`identifier`) is refused for
/// that.
fn since(
    last: Option<Sighting>,
    identifier: Option<&String>,
    now: &ServerFacts,
) -> (Continuity, String) {
    let is_of_cluster = identifier == now.system_identifier.as_ref();
    continuity(last, now.seen.filter(|_| is_of_cluster))
}

fn split(names: impl Iterator<Item = String>, is_in_use: impl Fn(&str) -> bool) -> Doubted {
    let (in_use, again) = names.partition(|name| is_in_use(name));
    Doubted { again, in_use }
}

/// The databases of which anything that was read of the source is on record as done.
fn dumped(state: &State) -> impl Iterator<Item = String> {
    let steps = state.steps.keys().filter(|id| state.is_done(id));
    let names: BTreeSet<String> = steps
        .filter(|id| id.kind.traits().touches_source)
        .filter_map(|id| id.database_name().map(|name| name.to_string()))
        .collect();
    names.into_iter()
}

/// Another database of the source has the name of the one that was dumped, or as which the target's was created. One that is gone is not
/// moved.
fn is_replaced(name: &str, state: &State, source: &ServerFacts) -> bool {
    let dump = state.output_of(&StepId::database(&name.into(), Kind::Dump));
    let was = dump.and_then(|output| match &output.product {
        Product::Dump(dump) => dump.dump.database,
        _ => None,
    });
    let Some(is) = source.database(name) else {
        return false;
    };
    let made_from = state.made_from.get(name);
    was.is_some_and(|was| was != is.oid)
        || made_from.is_some_and(|was| is_of_another(was, &properties(is)))
}

#[cfg(test)]
#[path = "doubts_tests.rs"]
mod tests;
