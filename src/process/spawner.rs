//! Starts children so that they never outlive this process.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::ExitStatus;
use std::sync::{LazyLock, mpsc};

use nix::errno::Errno;
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{Signal, killpg};
use nix::sys::stat::{Mode, umask};
use nix::unistd::{Pid, getpid, getppid};
use tokio::process::{Child, Command};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

/// A child that leads a process group. Dropped alive, the whole group is killed.
pub(super) struct Group {
    pub(super) child: Child,
    /// `None` when the child was waited for: its process id may then belong to another process.
    leader: Option<Pid>,
}

/// Starts the child. What it writes to disk is for this user alone (umask 077).
pub(super) async fn spawn(mut command: std::process::Command) -> io::Result<Group> {
    let parent = getpid();
    command.process_group(0);
    // SAFETY: between fork and exec only async-signal-safe functions are called: prctl, getppid
    // and umask are bare system calls, and nothing is allocated.
    #[expect(
        unsafe_code,
        reason = "no safe function does something between fork and exec"
    )]
    unsafe {
        command.pre_exec(move || {
            // SIGTERM rather than SIGKILL: the leader of a parallel pg_dump or pg_restore hands
            // SIGTERM on to its workers and cancels their queries. The workers are not our
            // children and get no such signal themselves: after a SIGKILL of their leader each
            // would go on to the end of its table.
            set_pdeathsig(Signal::SIGTERM)?;
            // The parent may have died before that call.
            if getppid() != parent {
                return Err(Errno::ESRCH.into());
            }
            umask(Mode::S_IRWXG | Mode::S_IRWXO);
            Ok(())
        });
    }
    let (reply, answer) = oneshot::channel();
    let request = Request {
        command: command.into(),
        runtime: Handle::current(),
        reply,
    };
    SPAWNER
        .send(request)
        .map_err(|_| io::Error::other("the thread that starts children is gone"))?;
    answer
        .await
        .map_err(|_| io::Error::other("the thread that starts children is gone"))?
}

struct Request {
    command: Command,
    runtime: Handle,
    reply: oneshot::Sender<io::Result<Group>>,
}

/// The parent-death signal comes when the *thread* that forked ends (prctl(2), PR_SET_PDEATHSIG),
/// and a runtime's threads may end before it does. So one thread, which lives as long as the
/// process, starts every child.
static SPAWNER: LazyLock<mpsc::Sender<Request>> = LazyLock::new(|| {
    let (sender, requests) = mpsc::channel::<Request>();
    std::thread::Builder::new()
        .name("spawner".to_owned())
        .spawn(move || {
            for mut request in requests {
                let _runtime = request.runtime.enter();
                let group = request.command.spawn().map(|child| Group {
                    leader: child.id().map(|id| Pid::from_raw(id.cast_signed())),
                    child,
                });
                // If the caller no longer waits, the group comes back, is dropped, and killed.
                let _ = request.reply.send(group);
            }
        })
        .expect("a thread can be started");
    sender
});

impl Group {
    /// Sends the signal to the child and whatever it started, as long as the child was not waited for.
    pub(super) fn signal(&self, signal: Signal) {
        if let Some(leader) = self.leader {
            // ESRCH: all of them are gone already.
            let _ = killpg(leader, signal);
        }
    }

    /// Waits for the child, then kills what it left behind: workers of a pg_dump that was killed
    /// would go on writing to its archive.
    pub(super) async fn wait(&mut self) -> io::Result<ExitStatus> {
        let status = self.child.wait().await?;
        self.signal(Signal::SIGKILL);
        self.leader = None;
        Ok(status)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // tokio reaps a child whose handle is gone.
        self.signal(Signal::SIGKILL);
    }
}
