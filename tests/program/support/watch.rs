//! Looks at what others could see of a run: process arguments, and files.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{JoinHandle, sleep};
use std::time::Duration;

/// Reads the arguments of every process on the machine until it is stopped.
pub struct ProcessWatch {
    over: Arc<AtomicBool>,
    watcher: JoinHandle<BTreeSet<String>>,
}

impl ProcessWatch {
    pub fn start() -> ProcessWatch {
        let over = Arc::new(AtomicBool::new(false));
        let ours = Arc::clone(&over);
        let watcher = std::thread::spawn(move || {
            let mut seen = BTreeSet::new();
            while !ours.load(Ordering::Relaxed) {
                seen.extend(command_lines());
                sleep(Duration::from_millis(2));
            }
            seen
        });
        ProcessWatch { over, watcher }
    }

    /// Every command line that was seen, arguments separated by spaces.
    pub fn stop(self) -> BTreeSet<String> {
        self.over.store(true, Ordering::Relaxed);
        self.watcher.join().expect("the watcher ends well")
    }
}

/// The command lines of all processes now.
pub fn command_lines() -> Vec<String> {
    let processes = fs::read_dir("/proc").expect("/proc is mounted");
    processes
        .flatten()
        .filter_map(|entry| fs::read(entry.path().join("cmdline")).ok())
        .filter(|bytes| !bytes.is_empty())
        .map(|bytes| String::from_utf8_lossy(&bytes).replace('\0', " "))
        .collect()
}

/// Every file below the directory that holds the text.
pub fn files_with(directory: &Path, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(files_with(&path, text));
        } else if fs::read(&path).is_ok_and(|bytes| String::from_utf8_lossy(&bytes).contains(text))
        {
            found.push(path.display().to_string());
        }
    }
    found
}
