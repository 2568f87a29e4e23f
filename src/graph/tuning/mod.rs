//! The target's settings for the load: which, with which values, and how far each of them reaches.

mod memory;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use crate::catalog::parameter::{Changeable, Parameter};
use crate::catalog::{Configuration, ServerFacts, value};
use crate::finding::Finding;
use crate::plan::{Plan, TuningMode};
use crate::preflight::{self, TuningFacts};
use memory::Memory;

/// Settings with which a crash of the operating system loses the whole cluster.
pub(crate) const UNSAFE: [(&str, &str); 2] = [("fsync", "off"), ("full_page_writes", "off")];

/// Settings of either mode, beside those that are worked out. They help without danger: fewer checkpoints
/// write fewer pages twice, commits of a load need not wait for the disk one by one, and autovacuum does
/// not read tables that are still being filled. `max_wal_size` stays the owner's, though more would help: nothing
/// tells how much room `pg_wal` has, and a server whose `pg_wal` is full goes down (PostgreSQL manual, 28.5).
const SAFE: [(&str, &str); 4] = [
    ("synchronous_commit", "off"),
    ("checkpoint_completion_target", "0.9"),
    ("checkpoint_timeout", "1h"),
    ("autovacuum", "off"),
];

/// The settings for the load; there are none where the plan's mode is `off`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Tuning {
    pub settings: Vec<TuningSetting>,
    /// Bytes that one of our index builds may take (`maintenance_work_mem`); `None`: as the server has it.
    pub maintenance_work_mem: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct TuningSetting {
    pub name: String,
    pub value: String,
    #[serde(rename = "scope")]
    pub reach: Reach,
}

/// Where a setting holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Reach {
    /// In the whole server, by ALTER SYSTEM.
    System,
    /// In this run's own sessions alone.
    Session,
    /// In the whole server, and in this run's sessions also where the role or the database has a value of
    /// its own.
    Both,
}

impl Tuning {
    /// What ALTER SYSTEM sets.
    pub(crate) fn system(&self) -> impl Iterator<Item = &TuningSetting> {
        self.reaching([Reach::System, Reach::Both])
    }

    /// What this run's sessions on the target set for themselves.
    pub(crate) fn session(&self) -> impl Iterator<Item = &TuningSetting> {
        self.reaching([Reach::Session, Reach::Both])
    }

    fn reaching(&self, reaches: [Reach; 2]) -> impl Iterator<Item = &TuningSetting> {
        self.settings
            .iter()
            .filter(move |setting| reaches.contains(&setting.reach))
    }

    fn facts<'a>(&'a self, load: &'a Load<'_>, spared: &'a [&'a str]) -> TuningFacts<'a> {
        let pair = |setting: &'a TuningSetting| (setting.name.as_str(), setting.value.as_str());
        let in_sessions_alone = self
            .settings
            .iter()
            .filter(|setting| setting.reach == Reach::Session);
        TuningFacts {
            system: self.system().map(pair).collect(),
            session: in_sessions_alone.map(pair).collect(),
            dangers: self.unsafe_settings(),
            no_autovacuum: self.switches_off_autovacuum(),
            others: &load.others,
            prepared: load.prepared,
            in_use: spared,
        }
    }

    /// Whether a crash of the target's operating system loses the cluster while these are set.
    pub(crate) fn is_unsafe(&self) -> bool {
        !self.unsafe_settings().is_empty()
    }

    fn switches_off_autovacuum(&self) -> bool {
        self.system().any(|setting| {
            setting.name == "autovacuum" && value::boolean(&setting.value) == Some(false)
        })
    }

    /// Settings for the whole server with which a crash of its operating system loses the cluster.
    fn unsafe_settings(&self) -> Vec<&str> {
        self.system()
            .filter(|setting| {
                UNSAFE.iter().any(|(name, _)| *name == setting.name)
                    && value::boolean(&setting.value) == Some(false)
            })
            .map(|setting| setting.name.as_str())
            .collect()
    }
}

/// What of the load the settings depend on.
pub(super) struct Load<'a> {
    /// Index builds that may run at a time.
    pub jobs: u32,
    /// Databases of the target that this plan did not make and that hold something, or may.
    pub others: Vec<&'a str>,
    /// One that it did not make either, and that holds no rows.
    pub prepared: Option<&'a str>,
    /// Databases of this plan that clients may use already.
    pub in_use: Vec<&'a str>,
}

/// Works out the settings; `None` where the plan wants the target as it is.
pub(super) fn tune(
    plan: &Plan,
    target: &ServerFacts,
    load: &Load<'_>,
) -> (Option<Tuning>, Vec<Finding>) {
    let mode = plan.tuning.mode;
    if mode == TuningMode::Off {
        return (None, Vec::new());
    }
    let configuration = &target.configuration;
    let memory = Memory::from_configuration(configuration);
    let mut wanted = of_mode(mode, configuration, memory.as_ref(), load);
    wanted.extend(plan.tuning.settings.iter().cloned());

    let mut findings = Vec::new();
    let mut tuning = Tuning::default();
    let mut spared: &[&str] = &[];
    if !load.in_use.is_empty() && !plan.tuning.open_early {
        let all = wanted.len();
        wanted.retain(|name, _| !UNSAFE.iter().any(|(one, _)| one == name));
        if wanted.len() < all {
            spared = &load.in_use;
        }
    }
    let mut out_of_reach = Vec::new();
    let may_alter = configuration.no_alter_system().is_none();
    for (name, value) in wanted {
        let Some(parameter) = configuration.parameters.get(&name) else {
            // What a mode sets, a server of another version may not have.
            if plan.tuning.settings.iter().any(|(own, _)| *own == name) {
                findings.push(preflight::for_unknown_setting(&name, target));
            }
            continue;
        };
        let problem = value::check(parameter, &value).err();
        if let Some(finding) = preflight::for_setting(parameter, &value, problem.as_deref()) {
            findings.push(finding);
            continue;
        }
        match reach(mode, parameter, may_alter) {
            Some(reach) => tuning.settings.push(TuningSetting { name, value, reach }),
            None => out_of_reach.push(parameter),
        }
    }
    findings.extend(preflight::for_tuning(
        plan,
        target,
        &tuning.facts(load, spared),
    ));
    findings.extend(preflight::for_settings_out_of_reach(&out_of_reach, target));
    if let (Some(memory), Some(parameter)) =
        (memory, configuration.parameters.get("maintenance_work_mem"))
    {
        let set = tuning
            .settings
            .iter()
            .find(|setting| setting.name == parameter.name);
        let now = value::at_least(parameter, "0");
        let value = set.map_or(&now, |setting| &setting.value);
        let bytes = value::bytes(parameter, value);
        findings.extend(
            memory
                .worst_case(configuration, value, load.jobs)
                .map(|worst| preflight::for_memory(&worst)),
        );
        tuning.maintenance_work_mem = bytes;
    }
    (Some(tuning), findings)
}

/// The settings of a mode with their values on this server.
fn of_mode(
    mode: TuningMode,
    configuration: &Configuration,
    memory: Option<&Memory>,
    load: &Load<'_>,
) -> IndexMap<String, String> {
    let mut settings = IndexMap::new();
    if mode == TuningMode::Fast {
        settings.extend(UNSAFE.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }
    if let Some(memory) = memory {
        settings.insert("maintenance_work_mem".to_owned(), memory.fit(load.jobs));
    }
    for (name, value) in SAFE {
        // Other databases still need it.
        if name == "autovacuum" && !(load.others.is_empty() && load.in_use.is_empty()) {
            continue;
        }
        let value = match configuration.parameters.get(name) {
            Some(parameter) if name == "checkpoint_timeout" => value::at_least(parameter, value),
            _ => value.to_owned(),
        };
        settings.insert(name.to_owned(), value);
    }
    settings
}

/// How far a setting of the parameter reaches; `None`: it cannot be set. In mode `safe`, what sessions can
/// set for themselves does not concern other sessions.
fn reach(mode: TuningMode, parameter: &Parameter, may_alter: bool) -> Option<Reach> {
    let in_sessions = match parameter.changeable {
        Changeable::Session => true,
        Changeable::PrivilegedSession => parameter.may_set,
        _ => false,
    };
    // A crash of one backend must not lose what a client was told is committed.
    let by_system = may_alter
        && parameter.name != "synchronous_commit"
        && parameter.may_alter_system
        && !parameter.is_fixed
        && (mode == TuningMode::Fast || !in_sessions);
    match (by_system, in_sessions) {
        (true, true) => Some(Reach::Both),
        (true, false) => Some(Reach::System),
        (false, true) => Some(Reach::Session),
        (false, false) => None,
    }
}

#[cfg(test)]
mod tests;
