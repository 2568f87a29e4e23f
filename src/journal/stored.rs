//! `plan.json` in the state directory: the compiled plan that the journal is about.

mod drift;

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::{Path, PathBuf};

use miette::Diagnostic;
use serde::{Deserialize, Serialize};

use crate::atomic_file;
use crate::escape::escape_json;
use crate::graph::{Amounts, DatabaseSummary, PerStep, Reach, Step, StepIndex};
use crate::names::StepId;
use crate::plan::keys::Keys;

/// What a later run or `status` needs of the compiled plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stored {
    pub fingerprint: String,
    /// `plan` sealed it: a run refuses drift.
    pub sealed: bool,
    pub basis: Basis,
    pub databases: Vec<DatabaseSummary>,
    /// Ids and needs; claims and commands are computed again.
    pub steps: PerStep<Step>,
    /// The settings of the target for the load, by name, with their reach.
    pub tuning: BTreeMap<String, Reach>,
}

/// What the plan was compiled from, for saying what drifted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Basis {
    /// The keys of the plan file.
    pub plan: Keys,
    /// `system_identifier`, where it may be read, and major version.
    pub source: (Option<String>, String),
    pub target: (Option<String>, String),
}

#[derive(Debug, thiserror::Error, Diagnostic)]
pub(crate) enum Error {
    #[error("cannot {action} {}: {source}", path.display())]
    #[diagnostic(help(
        "look at the directory's permissions and at the free space of its file system"
    ))]
    Io {
        action: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    #[error("{} is not a compiled plan of this program", path.display())]
    #[diagnostic(help(
        "move it away, then `pg-migrate plan` compiles and seals the plan again; what is done stays on record in the journal"
    ))]
    Damaged {
        path: PathBuf,
        source: serde_json::Error,
    },
}

#[derive(Deserialize)]
struct File {
    fingerprint: String,
    state: FileState,
    databases: Vec<DatabaseSummary>,
    steps: Vec<FileStep>,
}

/// What `plan.json` has beside the output of `plan --format json`.
#[derive(Serialize, Deserialize)]
struct FileState {
    sealed: bool,
    basis: Basis,
}

#[derive(Deserialize)]
struct FileStep {
    id: StepId,
    needs: Vec<StepId>,
    #[serde(default)]
    settings: Vec<FileSetting>,
}

#[derive(Deserialize)]
struct FileSetting {
    name: String,
    scope: Reach,
}

/// The file's place.
pub(crate) fn path(state_dir: &Path) -> PathBuf {
    state_dir.join("plan.json")
}

/// Writes the compiled plan, `json` being its contract form. A reader finds the old one or the new one.
///
/// # Errors
///
/// Where the directory or the disk refuses.
pub(crate) fn write(
    state_dir: &Path,
    json: &str,
    basis: &Basis,
    sealed: bool,
) -> Result<(), Error> {
    let path = path(state_dir);
    let mut value: serde_json::Value =
        serde_json::from_str(json).map_err(|source| Error::Damaged {
            path: path.clone(),
            source,
        })?;
    let state = FileState {
        sealed,
        basis: basis.clone(),
    };
    value["state"] = serde_json::to_value(state).expect("the state has no keys but strings");
    let text = serde_json::to_string_pretty(&value).expect("it was JSON before");
    atomic_file::write(&path, escape_json(&text).as_bytes()).map_err(|source| Error::Io {
        action: "write",
        path,
        source,
    })
}

/// The compiled plan of a state directory, if there is one.
///
/// # Errors
///
/// A file that cannot be read or is damaged.
pub(crate) fn read(state_dir: &Path) -> Result<Option<Stored>, Error> {
    let path = path(state_dir);
    let text = match std::fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => {
            return Err(Error::Io {
                action: "read",
                path,
                source,
            });
        }
    };
    let file: File = serde_json::from_slice(&text).map_err(|source| Error::Damaged {
        path: path.clone(),
        source,
    })?;
    let positions: HashMap<StepId, StepIndex> = file
        .steps
        .iter()
        .enumerate()
        .map(|(index, step)| (step.id.clone(), StepIndex::new(index)))
        .collect();
    let steps = file
        .steps
        .iter()
        .enumerate()
        .map(|(index, step)| Step {
            id: step.id.clone(),
            needs: step
                .needs
                .iter()
                .filter_map(|need| positions.get(need).copied())
                .collect(),
            claims: Amounts::default(),
            finally: step.id.kind.traits().runs_finally,
            snapshot: None,
            command: Vec::new(),
            jobs: 1,
            rank: index as u32,
        })
        .collect();
    Ok(Some(Stored {
        fingerprint: file.fingerprint,
        sealed: file.state.sealed,
        basis: file.state.basis,
        databases: file.databases,
        steps,
        tuning: file
            .steps
            .into_iter()
            .flat_map(|step| step.settings)
            .map(|setting| (setting.name, setting.scope))
            .collect(),
    }))
}

#[cfg(test)]
#[path = "stored_tests.rs"]
mod tests;
