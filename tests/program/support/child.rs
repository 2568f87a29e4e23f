//! Child processes that end with the test process, however that ends.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};
use std::sync::OnceLock;
use std::sync::mpsc::{self, Sender};

use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{self, Signal};
use nix::unistd::Pid;

struct Request {
    command: Command,
    reply: Sender<io::Result<Child>>,
}

/// Starts the command; when the test process dies, the child gets the signal.
///
/// The kernel sends it when the *thread* that forked ends (prctl(2), PR_SET_PDEATHSIG), and a test's
/// thread ends before the process does. So one thread that never ends does all the forking.
pub fn spawn(mut command: Command, at_parents_death: Signal) -> io::Result<Child> {
    static SPAWNER: OnceLock<Sender<Request>> = OnceLock::new();
    let spawner = SPAWNER.get_or_init(|| {
        let (requests, inbox) = mpsc::channel::<Request>();
        std::thread::spawn(move || {
            for mut request in inbox {
                // The reply has no receiver only when the asking test panicked.
                request.reply.send(request.command.spawn()).ok();
            }
        });
        requests
    });
    // SAFETY: prctl is a bare system call, which is allowed between fork and exec.
    #[expect(
        unsafe_code,
        reason = "no safe function does something between fork and exec"
    )]
    unsafe {
        command.pre_exec(move || set_pdeathsig(at_parents_death).map_err(io::Error::from))
    };
    let (reply, answer) = mpsc::channel();
    spawner
        .send(Request { command, reply })
        .expect("the spawning thread never ends");
    answer.recv().expect("the spawning thread always answers")
}

/// Sends a signal to a child that was not waited for yet.
pub fn send(child: &Child, signal: Signal) {
    let pid = Pid::from_raw(child.id().cast_signed());
    signal::kill(pid, signal).expect("a child that is not reaped can be signalled");
}
