//! Signals that ask a run to stop.

use std::fmt;
use std::io;
use std::mem::MaybeUninit;

use nix::errno::Errno;
use nix::libc;
use tokio::signal::unix::{self, SignalKind};

use crate::exit::Exit;

/// A signal that a run answers with an orderly stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Signal {
    Interrupt,
    Terminate,
    /// The terminal went away.
    HangUp,
}

impl Signal {
    /// How the program ends after it: by 128 and the signal's number, as a shell reports it. A hang-up asks for the same as
    /// SIGTERM, and scripts know one number for both.
    pub(crate) fn exit(self) -> Exit {
        match self {
            Signal::Interrupt => Exit::Interrupted,
            Signal::Terminate | Signal::HangUp => Exit::Terminated,
        }
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Signal::Interrupt => "SIGINT",
            Signal::Terminate => "SIGTERM",
            Signal::HangUp => "SIGHUP",
        })
    }
}

pub(crate) struct Signals {
    interrupt: unix::Signal,
    terminate: unix::Signal,
    /// `None`: it was ignored when the program started, and stays so.
    hangup: Option<unix::Signal>,
}

impl Signals {
    /// From here on these signals are ours.
    ///
    /// # Errors
    ///
    /// Where the operating system refuses a handler.
    pub(crate) fn catch() -> io::Result<Self> {
        // `nohup` ignores it for whoever starts a run that shall outlive its terminal: a handler would undo that.
        let hangup = if is_ignored(libc::SIGHUP)? {
            None
        } else {
            Some(unix::signal(SignalKind::hangup())?)
        };
        Ok(Signals {
            interrupt: unix::signal(SignalKind::interrupt())?,
            terminate: unix::signal(SignalKind::terminate())?,
            hangup,
        })
    }

    /// Waits for the next one.
    pub(crate) async fn next(&mut self) -> Signal {
        let hangup = async {
            match &mut self.hangup {
                Some(hangup) => hangup.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.interrupt.recv() => Signal::Interrupt,
            _ = self.terminate.recv() => Signal::Terminate,
            _ = hangup => Signal::HangUp,
        }
    }
}

/// Whether the signal is ignored now. Asking changes nothing.
fn is_ignored(signal: libc::c_int) -> io::Result<bool> {
    let mut now = MaybeUninit::<libc::sigaction>::uninit();
    // SAFETY: without a new action, sigaction(2) only writes the one in force where `now` has room for it, and it has
    // written it where it returns 0.
    #[expect(
        unsafe_code,
        reason = "no safe function asks for an action without setting one"
    )]
    let now = unsafe {
        Errno::result(libc::sigaction(signal, std::ptr::null(), now.as_mut_ptr()))?;
        now.assume_init()
    };
    Ok(now.sa_sigaction == libc::SIG_IGN)
}
