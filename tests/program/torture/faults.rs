//! What goes wrong in a trial, and how it is brought about.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::project::{Finished, Project, Running};
use crate::support::proxy::Proxy;
use crate::support::server::{Mode, Server};

use super::check::processes;
use super::hands::Script;
use super::run_takes;

/// What happens to the first run, and for some to the one that resumes it.
#[derive(Debug, Clone)]
pub enum Fault {
    /// SIGKILL at a failpoint; then, of the run that resumes, at another.
    Point { at: String, then: Option<String> },
    /// SIGKILL after so long; then, of the run that resumes, once more.
    Kill {
        after: Duration,
        then: Option<Duration>,
    },
    /// SIGKILL at a failpoint, and at once the target's server crashes as well.
    Crash { at: String },
    /// Every connection to one server ends at these times.
    Cut { side: Side, at: Vec<Duration> },
    Restart {
        side: Side,
        mode: Mode,
        after: Duration,
    },
    /// A file system has room for this many KiB more, until the run has ended.
    Full { what: Disk, room: u32 },
    /// The children stop for a while; or for ever, when the runner is killed meanwhile.
    Stop { after: Duration, kill_runner: bool },
    /// One child is killed.
    Child { after: Duration },
    /// Several runs of one migration are killed, one after the other.
    Kills { strikes: Vec<Strike> },
    /// What people and applications do.
    Hands(Script),
}

/// How one run of several is killed.
#[derive(Debug, Clone)]
pub enum Strike {
    /// At a failpoint; `crash`: and at once the target's server crashes as well.
    At { point: String, crash: bool },
    /// After this part of what a run takes.
    After { permille: u32, crash: bool },
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Fault::Hands(script) => write!(f, "{script}"),
            other => write!(f, "{other:?}"),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    Source,
    Target,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disk {
    DumpRoot,
    State,
    Target,
}

/// What a trial is played with.
pub struct Scene<'a> {
    pub project: Project,
    pub source: &'a mut Option<Server>,
    pub target: &'a mut Server,
    pub source_proxy: Option<Proxy>,
    pub target_proxy: Option<Proxy>,
    /// The full disk, where the fault is one.
    pub disk: Option<SmallDisk>,
}

impl Fault {
    /// Whether the runner was killed: then nothing ends what it started.
    pub fn kills(&self) -> bool {
        matches!(
            self,
            Fault::Point { .. }
                | Fault::Kill { .. }
                | Fault::Crash { .. }
                | Fault::Kills { .. }
                | Fault::Stop {
                    kill_runner: true,
                    ..
                }
        )
    }

    /// Whether a run may end like this once the fault has come.
    fn explains(&self, finished: &Finished) -> bool {
        match self {
            Fault::Point { .. }
            | Fault::Kill { .. }
            | Fault::Crash { .. }
            | Fault::Kills { .. }
            | Fault::Stop {
                kill_runner: true, ..
            } => finished.signal == Some(9) || finished.code == Some(0),
            Fault::Cut { .. } | Fault::Restart { .. } => {
                matches!(finished.code, Some(0 | 3 | 4))
            }
            // Its server may end by itself.
            Fault::Full {
                what: Disk::Target, ..
            } => matches!(finished.code, Some(0 | 3 | 4)),
            Fault::Full { .. } => {
                // An error is wrapped to the terminal's width.
                let said = finished.said();
                finished.code == Some(0)
                    || matches!(finished.code, Some(1 | 3 | 4))
                        && said.contains("No space left on device")
            }
            Fault::Stop { .. } => finished.code == Some(0),
            Fault::Child { .. } => matches!(finished.code, Some(0 | 4)),
            // They have a play of their own.
            Fault::Hands(_) => false,
        }
    }

    /// Lets the fault happen to a run. Returns what should not be.
    pub fn strike(&self, scene: &mut Scene<'_>) -> Vec<String> {
        let mut wrong = Vec::new();
        for finished in self.runs(scene, &mut wrong) {
            if !self.explains(&finished) {
                wrong.push(format!("the fault does not explain: {}", told(&finished)));
            }
        }
        wrong
    }

    fn runs(&self, scene: &mut Scene<'_>, wrong: &mut Vec<String>) -> Vec<Finished> {
        match self {
            Fault::Point { at, then } => {
                let mut ended = vec![up_to(scene, at)];
                tear_last_record(&scene.project, at);
                if let Some(then) = then {
                    ended.push(up_to(scene, then));
                    tear_last_record(&scene.project, then);
                }
                if ended[0].signal.is_none() {
                    wrong.push("not reached: the run ended before".to_owned());
                }
                // How much a run has to do again depends on how far the one before came, so it may end well instead.
                if let Some(second) = ended.get(1)
                    && second.signal.is_none()
                    && second.code != Some(0)
                {
                    wrong.push(format!(
                        "it neither reached {then:?} nor ended well: {}",
                        told(second)
                    ));
                }
                ended
            }
            Fault::Kill { after, then } => {
                let times = std::iter::once(after).chain(then);
                times
                    .map(|after| {
                        let running = scene.project.start(&["run"]);
                        sleep(*after);
                        running.kill9();
                        running.wait()
                    })
                    .collect()
            }
            Fault::Cut { side, at } => {
                let running = scene.project.start(&["run"]);
                let begun = Instant::now();
                for at in at {
                    sleep(at.saturating_sub(begun.elapsed()));
                    let proxy = match side {
                        Side::Source => &scene.source_proxy,
                        Side::Target => &scene.target_proxy,
                    };
                    proxy.as_ref().expect("the scene has both").cut();
                }
                vec![running.wait()]
            }
            Fault::Restart { side, mode, after } => {
                let running = scene.project.start(&["run"]);
                sleep(*after);
                match side {
                    Side::Source => scene
                        .source
                        .as_mut()
                        .expect("the scene has its own source")
                        .restart(*mode),
                    Side::Target => scene.target.restart(*mode),
                }
                vec![running.wait()]
            }
            Fault::Crash { at } => {
                let finished = up_to(scene, at);
                scene.target.restart(Mode::Immediate);
                if finished.signal.is_none() {
                    wrong.push("not reached: the run ended before".to_owned());
                }
                vec![finished]
            }
            Fault::Full { .. } => {
                let finished = scene.project.run(&["run"]);
                scene.disk.as_ref().expect("the scene has one").grow();
                if !scene.target.is_up() {
                    scene.target.start_again();
                }
                // It may be recovering.
                let deadline = Instant::now() + Duration::from_secs(60);
                while scene.target.try_psql("postgres", "SELECT 1").is_err() {
                    assert!(Instant::now() < deadline, "{}", scene.target.log());
                    sleep(Duration::from_millis(100));
                }
                vec![finished]
            }
            Fault::Stop { after, kill_runner } => {
                let mut running = scene.project.start(&["run"]);
                sleep(*after);
                let stopped = children(&mut running, &scene.project);
                send(&stopped, Signal::SIGSTOP);
                sleep(Duration::from_millis(300));
                if *kill_runner && running.is_running() {
                    running.kill9();
                    sleep(Duration::from_millis(200));
                }
                // What was stopped cannot end before: the signal of its parent's death waits for it.
                send(&stopped, Signal::SIGCONT);
                vec![running.wait()]
            }
            Fault::Child { after } => {
                let mut running = scene.project.start(&["run"]);
                sleep(*after);
                let victims = children(&mut running, &scene.project);
                send(&victims[..victims.len().min(1)], Signal::SIGKILL);
                vec![running.wait()]
            }
            Fault::Kills { strikes } => {
                let mut ended = Vec::new();
                for strike in strikes {
                    ended.push(strike.fall(scene));
                    if ended.last().is_some_and(|run| run.code == Some(0)) {
                        break;
                    }
                }
                ended
            }
            Fault::Hands(_) => Vec::new(),
        }
    }
}

impl Strike {
    fn fall(&self, scene: &mut Scene<'_>) -> Finished {
        let (finished, crash) = match self {
            Strike::At { point, crash } => {
                let finished = up_to(scene, point);
                if finished.signal.is_some() {
                    tear_last_record(&scene.project, point);
                }
                (finished, *crash)
            }
            Strike::After { permille, crash } => {
                let running = scene.project.start(&["run"]);
                sleep(run_takes() * *permille / 1000);
                running.kill9();
                (running.wait(), *crash)
            }
        };
        if crash {
            scene.target.restart(Mode::Immediate);
        }
        finished
    }
}

/// How a run ended and what it said last, in few lines.
pub fn told(finished: &Finished) -> String {
    let skipped = finished.stderr.lines().count().saturating_sub(12);
    let last: Vec<&str> = finished.stderr.lines().skip(skipped).collect();
    format!(
        "code {:?}, signal {:?}\n{}",
        finished.code,
        finished.signal,
        last.join("\n")
    )
}

/// A run that is killed when it reaches the point.
fn up_to(scene: &mut Scene<'_>, point: &str) -> Finished {
    scene
        .project
        .start_with(&["run"], &[("PG_MIGRATE_FAILPOINT", point.as_ref())])
        .wait()
}

/// A record that was written and not synced may be on disk in part.
fn tear_last_record(project: &Project, point: &str) {
    if !(point.starts_with("journal ") && point.contains(" written:")) {
        return;
    }
    let path = project.state_directory().join("journal.jsonl");
    let text = std::fs::read(&path).unwrap();
    let before = text[..text.len() - 1]
        .iter()
        .rposition(|byte| *byte == b'\n')
        .map_or(0, |end| end + 1);
    let torn = before + (text.len() - before) / 2;
    std::fs::write(&path, &text[..torn]).unwrap();
}

/// The client programs of the run, as soon as there are any; none when it ends before.
fn children(running: &mut Running, project: &Project) -> Vec<u32> {
    while running.is_running() {
        let found: Vec<u32> = processes(project)
            .into_iter()
            .filter(|(pid, name)| *pid != running.pid() && name.starts_with("pg_"))
            .map(|(pid, _)| pid)
            .collect();
        if !found.is_empty() {
            return found;
        }
        sleep(Duration::from_millis(2));
    }
    Vec::new()
}

/// Some of them may have ended since.
fn send(processes: &[u32], signal: Signal) {
    for pid in processes {
        kill(Pid::from_raw(pid.cast_signed()), signal).ok();
    }
}

/// A file system of its own over a directory. Needs root.
pub struct SmallDisk {
    directory: PathBuf,
}

impl SmallDisk {
    /// Over the directory where the disk is full, with as much room.
    pub fn mount(directory: &Path, kibibytes: u64) -> SmallDisk {
        std::fs::create_dir_all(directory).unwrap();
        let options = format!("size={kibibytes}k,mode=0700");
        run(
            "mount",
            &["-t", "tmpfs", "-o", &options, "tmpfs"],
            directory,
        );
        SmallDisk {
            directory: directory.to_owned(),
        }
    }

    /// From now on there is room for so many KiB more than what lies on it.
    pub fn leave(&self, kibibytes: u64) {
        let taken = super::stage::kibibytes_of(&self.directory);
        let options = format!("remount,size={}k", taken + kibibytes);
        run("mount", &["-o", &options], &self.directory);
    }

    /// The cause is gone: what lies on the disk stays, and there is room for more.
    pub fn grow(&self) {
        run("mount", &["-o", "remount,size=2g"], &self.directory);
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        run("umount", &["--lazy"], &self.directory);
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the tests mount file systems of their own"
)]
fn run(program: &str, arguments: &[&str], directory: &Path) {
    let done = Command::new(program)
        .args(arguments)
        .arg(directory)
        .output()
        .unwrap_or_else(|error| panic!("{program}: {error}"));
    assert!(
        done.status.success(),
        "{program} {}: {}\nthe trials with full disks mount small file systems, which only root may do",
        directory.display(),
        String::from_utf8_lossy(&done.stderr)
    );
}
