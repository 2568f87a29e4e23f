//! State directories that are lost, put back to an earlier state, or copied.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::hand::Hand;
use super::people::People;
use crate::support::project::{Project, string};
use crate::torture::chance::Chance;
use crate::torture::faults::told;

#[derive(Default)]
pub struct Directories {
    /// An earlier state, as a backup has it.
    saved: Option<PathBuf>,
    /// Which a person can go on with, in place of the one that is there.
    newest: Option<PathBuf>,
    /// The newest is gone for good.
    pub is_lost: bool,
}

impl People<'_> {
    /// Whether the hand is one of these.
    pub fn with_directories(&mut self, hand: Hand, chance: &mut Chance) -> bool {
        let state = self.project.state_directory();
        match hand {
            Hand::SaveState => {
                let saved = self.project.directory().join("saved");
                if copy_state(&state, &saved) {
                    self.tell("the state directory is saved");
                    self.night.directories.saved = Some(saved);
                }
            }
            Hand::OlderState => self.put_back(chance.percent(30)),
            Hand::LoseState if state.exists() => {
                fs::remove_dir_all(&state).unwrap();
                self.tell("the state directory is lost");
                self.struck.insert(hand);
                self.night.directories.is_lost = true;
            }
            Hand::CopiedState if state.join("journal.jsonl").exists() => self.run_from_a_copy(),
            Hand::LoseState | Hand::CopiedState => {}
            _ => return false,
        }
        true
    }

    fn put_back(&mut self, for_good: bool) {
        let state = self.project.state_directory();
        let Some(saved) = self.night.directories.saved.take() else {
            return;
        };
        if for_good {
            self.night.directories.is_lost = true;
        } else {
            let newest = self.project.directory().join("newest");
            copy_state(&state, &newest);
            self.night.directories.newest = Some(newest);
        }
        replace_state(&saved, &state);
        self.struck.insert(Hand::OlderState);
        let what = if for_good { ", for good" } else { "" };
        self.tell(format!(
            "the state directory is put back to an earlier state{what}"
        ));
    }

    /// The same plan, from a copy of its directory.
    fn run_from_a_copy(&mut self) {
        let [source, target] = self.night.ports();
        let mut copy = Project::between(&self.source, &self.target)
            .named(&self.name)
            .source("port", &source.to_string())
            .target("port", &target.to_string());
        // The archives are where they were.
        let root = self.project.directory().join("pg_dumps");
        let root = format!("[dump]\nroot = {}\n", string(&root.display().to_string()));
        copy.set_rest(&self.keys.text().replace("[dump]\n", &root));
        for key in ["dump_jobs", "restore_jobs"] {
            copy.set_parallelism(key, self.keys.jobs);
        }
        if !copy_state(&self.project.state_directory(), &copy.state_directory()) {
            return;
        }
        let was_running = self.is_running && !self.watch_ended();
        let finished = copy.run(&["run"]);
        self.struck.insert(Hand::CopiedState);
        self.heard("run from a copy of the state directory", &finished);
        let left = crate::torture::check::processes(&copy);
        if !left.is_empty() {
            self.wrong(format!("of the run from a copy there live on {left:?}"));
        }
        // While a run is alive, another one is held up, unless the first ends by itself, or is killed, in that moment.
        let is_alive = was_running && !self.watch_ended();
        let fits = match is_alive {
            true => matches!(finished.code, Some(3 | 6)),
            false => matches!(finished.code, Some(0 | 3 | 4 | 5 | 6)),
        };
        if !fits {
            self.wrong(format!(
                "a copy of the state directory: {}",
                told(&finished)
            ));
        }
        let is_newer = lines_of(&copy.state_directory()) > 0
            && !is_start(&copy.state_directory(), &self.project.state_directory());
        if is_newer {
            let newest = self.project.directory().join("newest");
            copy_state(&copy.state_directory(), &newest);
            self.night.directories.newest = Some(newest);
        }
    }

    /// Whether the run under way has ended by its journal. One that has nothing on record has done nothing, and may have ended too.
    fn watch_ended(&self) -> bool {
        let records = super::watch::records(&self.project);
        let last = records.iter().rev().find_map(|record| {
            let entry = record["entry"].as_object()?;
            let kind = entry.keys().next()?;
            matches!(kind.as_str(), "run-started" | "run-ended").then(|| kind.clone())
        });
        last.as_deref() != Some("run-started")
    }

    /// As a run that finds another's work asks for. Whether there was such a directory.
    pub fn go_on_with_the_newest(&mut self) -> bool {
        let Some(newest) = self.night.directories.newest.take() else {
            return false;
        };
        self.make_room();
        replace_state(&newest, &self.project.state_directory());
        self.tell("people go on with the newest state directory");
        true
    }
}

fn lines_of(state: &Path) -> usize {
    let text = fs::read_to_string(state.join("journal.jsonl")).unwrap_or_default();
    text.lines().count()
}

/// Whether the journal of the one is the beginning of the other's.
fn is_start(one: &Path, other: &Path) -> bool {
    let read = |state: &Path| fs::read(state.join("journal.jsonl")).unwrap_or_default();
    read(other).starts_with(&read(one))
}

fn replace_state(from: &Path, state: &Path) {
    if state.exists() {
        fs::remove_dir_all(state).unwrap();
    }
    copy_state(from, state);
}

/// As a backup takes it, also under a run. `false`: there is none yet.
fn copy_state(from: &Path, to: &Path) -> bool {
    if !from.join("journal.jsonl").exists() {
        return false;
    }
    if to.exists() {
        fs::remove_dir_all(to).unwrap();
    }
    fs::create_dir_all(to).unwrap();
    for directory in [Some(to), to.parent()].into_iter().flatten() {
        if directory.ends_with(".pg-migrate") || directory == to {
            fs::set_permissions(directory, fs::Permissions::from_mode(0o700)).unwrap();
        }
    }
    for name in ["lock", "journal.jsonl", "plan.json", "report.json"] {
        // One that a run is about to replace may be there or not.
        fs::copy(from.join(name), to.join(name)).ok();
    }
    true
}
