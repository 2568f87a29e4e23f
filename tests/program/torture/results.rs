//! What came of the trials of one state of `src/`, kept in a file, so that a campaign goes on where it stopped.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::support::place;

use super::campaign::Verdict;
use super::check::below;
use super::trials::Trial;

/// A line of the file.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Result {
    pub scope: String,
    pub seed: u64,
    /// By which the trial is asked for alone.
    pub label: String,
    /// What happens in it, where that is made up in full before it begins: a trial that is another now is played again.
    pub script: String,
    pub verdict: Word,
    pub cause: Vec<String>,
    pub resumes: u32,
    pub wrote_meanwhile: bool,
    /// Hands of the night that found what they need.
    #[serde(default)]
    pub struck: Vec<String>,
    pub seconds: f64,
    /// Failpoints of its resuming runs that an undisturbed run does not reach.
    pub seen: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Word {
    Right,
    Wrong,
}

/// So many trials with hands say something about how often clients write.
const ENOUGH: usize = 50;

type Key = (String, u64, String);

pub struct Results {
    path: PathBuf,
    seed: u64,
    kept: Mutex<(File, BTreeMap<Key, Result>)>,
}

impl Results {
    /// Those of `src/` as it is now.
    pub fn open(seed: u64) -> Results {
        let directory = place::target_directory().join("torture");
        fs::create_dir_all(&directory).unwrap();
        let path = directory.join(format!("{}.jsonl", hash_of_sources()));
        let text = fs::read_to_string(&path).unwrap_or_default();
        let mut known = BTreeMap::new();
        // A line that was cut short says nothing, and the trial is played again.
        for result in text
            .lines()
            .filter_map(|line| serde_json::from_str::<Result>(line).ok())
        {
            known.insert(
                (result.scope.clone(), result.seed, result.label.clone()),
                result,
            );
        }
        let mut file = File::options()
            .create(true)
            .append(true)
            .open(&path)
            .unwrap();
        if !text.is_empty() && !text.ends_with('\n') {
            writeln!(file).unwrap();
        }
        Results {
            path,
            seed,
            kept: Mutex::new((file, known)),
        }
    }

    /// What is on record of the trial, if it went right.
    pub fn right(&self, trial: &Trial) -> Option<Result> {
        let key = (trial.scope.to_owned(), self.seed, trial.label.clone());
        let kept = self.kept.lock().unwrap();
        let result = kept.1.get(&key)?;
        let same = result.verdict == Word::Right && result.script == trial.script();
        same.then(|| result.clone())
    }

    pub fn add(
        &self,
        trial: &Trial,
        verdict: &Verdict,
        seconds: f64,
        usual: &BTreeMap<String, u32>,
    ) {
        let name = |point: &str| {
            point
                .rsplit_once(':')
                .map_or(point, |(name, _)| name)
                .to_owned()
        };
        let result = Result {
            scope: trial.scope.to_owned(),
            seed: self.seed,
            label: trial.label.clone(),
            script: trial.script(),
            verdict: match verdict.wrong.is_empty() {
                true => Word::Right,
                false => Word::Wrong,
            },
            cause: verdict.wrong.clone(),
            resumes: verdict.resumes,
            wrote_meanwhile: verdict.wrote_meanwhile,
            struck: verdict.struck.clone(),
            seconds,
            seen: verdict
                .seen
                .iter()
                .filter(|point| !usual.contains_key(&name(point)))
                .cloned()
                .collect(),
        };
        let mut kept = self.kept.lock().unwrap();
        let line = serde_json::to_string(&result).unwrap();
        writeln!(kept.0, "{line}").unwrap();
        let key = (result.scope.clone(), result.seed, result.label.clone());
        kept.1.insert(key, result);
    }

    /// A line for each kind of trials, over all seeds.
    pub fn table(&self) -> String {
        let kept = self.kept.lock().unwrap();
        let mut rows: BTreeMap<&str, [usize; 4]> = BTreeMap::new();
        for result in kept.1.values() {
            let row = rows.entry(&result.scope).or_default();
            row[0] += usize::from(result.verdict == Word::Right);
            row[1] += usize::from(result.verdict == Word::Wrong);
            row[2] += result.resumes as usize;
            row[3] += usize::from(result.wrote_meanwhile);
        }
        let mut table = format!(
            "torture: {}\n{:10} {:>6} {:>6} {:>8} {:>16}\n",
            self.path.display(),
            "scope",
            "right",
            "WRONG",
            "resumes",
            "wrote meanwhile"
        );
        for (scope, [right, wrong, resumes, wrote]) in rows {
            table.push_str(&format!(
                "{scope:10} {right:6} {wrong:6} {resumes:8} {wrote:16}\n"
            ));
        }
        let mut struck: BTreeMap<&str, [usize; 2]> = BTreeMap::new();
        for result in kept.1.values() {
            for hand in &result.struck {
                struck.entry(hand).or_default()[usize::from(result.verdict == Word::Wrong)] += 1;
            }
        }
        for (hand, [right, wrong]) in struck {
            table.push_str(&format!("  {hand:16} {right:6} {wrong:6}\n"));
        }
        table
    }

    /// A campaign in which clients seldom write after the snapshot shows little.
    pub fn assert_that_clients_write(&self) {
        let kept = self.kept.lock().unwrap();
        let hands = kept.1.values().filter(|result| result.scope == "hands");
        let (wrote, quiet): (Vec<_>, Vec<_>) = hands.partition(|result| result.wrote_meanwhile);
        assert!(
            wrote.len() + quiet.len() < ENOUGH || wrote.len() >= quiet.len(),
            "a client wrote after the snapshot in {} of {} trials",
            wrote.len(),
            wrote.len() + quiet.len()
        );
    }
}

/// What the program is made of, in sixteen letters.
fn hash_of_sources() -> String {
    let root = place::repository();
    let mut files = below(&root.join("src"));
    files.extend(["Cargo.toml", "Cargo.lock"].map(|name| root.join(name)));
    let mut hash = Sha256::new();
    for file in files.iter().filter(|file| file.is_file()) {
        let name: &Path = file.strip_prefix(root).expect("it is below");
        hash.update(name.as_os_str().as_encoded_bytes());
        hash.update([0]);
        hash.update(fs::read(file).unwrap());
        hash.update([0]);
    }
    let digest = hash.finalize();
    digest[..8]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}
