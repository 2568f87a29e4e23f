//! What is different between the stored plan and the one that was compiled now.

use std::collections::{BTreeMap, BTreeSet};

use super::{Basis, Stored};
use crate::graph::{DatabaseSummary, Graph, Reach};
use crate::names::{TableName, list_of_tables};
use crate::plan::keys;

impl Stored {
    /// What is different now, in a person's words, a line each.
    pub(crate) fn drift(&self, graph: &Graph, basis: &Basis) -> Vec<String> {
        let mut drift = self.file_drift(basis);
        drift.extend(self.server_drift(basis));
        drift.extend(self.database_drift(graph));
        drift.extend(self.setting_drift(graph));
        // Only where nothing else explains it.
        if drift.is_empty() && self.fingerprint != graph.fingerprint {
            drift.push(
                "the steps are different: the plan was compiled by another version of pg-migrate"
                    .to_owned(),
            );
        }
        drift
    }

    fn file_drift(&self, basis: &Basis) -> Vec<String> {
        keys::differences(&self.basis.plan, &basis.plan)
            .iter()
            .map(|difference| {
                let limit = match difference.starts_with("tablespaces.") {
                    true => " (what is in databases that are verified stays where it is)",
                    false => "",
                };
                format!("the plan file: {difference}{limit}")
            })
            .collect()
    }

    fn server_drift(&self, basis: &Basis) -> Vec<String> {
        let mut drift = Vec::new();
        for (side, old, new) in [
            ("source", &self.basis.source, &basis.source),
            ("target", &self.basis.target, &basis.target),
        ] {
            if old.0 != new.0 {
                drift.push(format!(
                    "the {side} is another server: its system identifier was {}, now it is {}",
                    old.0.as_deref().unwrap_or("unknown"),
                    new.0.as_deref().unwrap_or("unknown")
                ));
            }
            if old.1 != new.1 {
                drift.push(format!(
                    "the {side}'s version was {}, now it is {}",
                    old.1, new.1
                ));
            }
        }
        drift
    }

    fn database_drift(&self, graph: &Graph) -> Vec<String> {
        let by_name = |databases: &[DatabaseSummary]| -> BTreeMap<String, Vec<TableName>> {
            databases
                .iter()
                .map(|database| (database.name.clone(), database.delayed.clone()))
                .collect()
        };
        let (before, now) = (by_name(&self.databases), by_name(&graph.databases));
        let mut drift = Vec::new();
        for database in &graph.databases {
            let name = &database.name;
            match before.get(name) {
                None => drift.push(format!("the database \"{name}\" is new")),
                Some(delayed) if *delayed != database.delayed => drift.push(format!(
                    "the delayed tables of \"{name}\" were [{}], now they are [{}]",
                    list_of_tables(delayed),
                    list_of_tables(&database.delayed)
                )),
                Some(_) => {}
            }
        }
        for name in before.keys().filter(|name| !now.contains_key(*name)) {
            drift.push(format!("the database \"{name}\" does not migrate any more"));
        }
        drift
    }

    fn setting_drift(&self, graph: &Graph) -> Vec<String> {
        let now: BTreeMap<&str, Reach> = graph
            .tuning
            .iter()
            .flat_map(|tuning| &tuning.settings)
            .map(|setting| (setting.name.as_str(), setting.reach))
            .collect();
        let before = self.tuning.keys().map(String::as_str);
        let names: BTreeSet<&str> = before.chain(now.keys().copied()).collect();
        names
            .into_iter()
            .map(|name| (name, self.tuning.get(name).copied(), now.get(name).copied()))
            .filter(|(_, before, now)| before != now)
            .map(|(name, before, now)| {
                let (before, now) = (place_of(before), place_of(now));
                format!("the target's {name} was to be set {before}, now {now}")
            })
            .collect()
    }
}

fn place_of(reach: Option<Reach>) -> &'static str {
    match reach {
        Some(Reach::System | Reach::Both) => "in the whole server",
        Some(Reach::Session) => "in the run's own sessions",
        None => "nowhere",
    }
}
