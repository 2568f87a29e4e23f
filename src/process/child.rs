//! One child process, from start to end.

use std::convert::Infallible;
use std::ffi::OsString;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::pin::pin;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use miette::Diagnostic;
use nix::sys::signal::Signal;
use tokio::process::ChildStdout;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::environment::{PgEnvironment, remove_secrets};
use super::output::{Tail, open_log, read_bytes, read_lines};
use super::spawner::{Group, spawn};
use super::transient::{is_lock_refused, is_login_refused, is_transient};
#[cfg(debug_assertions)]
use crate::failpoint::reach;
use crate::postgres::{Class, escape_control};

/// How long a child may take to end after SIGTERM, before SIGKILL.
const GRACE: Duration = Duration::from_secs(10);

/// How long a child's pipes may stay open after its end: a process that left its process group
/// may hold them.
const DRAIN: Duration = Duration::from_secs(if cfg!(test) { 1 } else { 5 });

/// A child process to be: a program, its arguments, its environment, and where its output goes.
///
/// Standard input is empty. Arguments are seen by every user of the machine: no secret belongs there.
#[derive(Debug)]
pub(crate) struct Invocation {
    program: OsString,
    arguments: Vec<OsString>,
    environment: Option<PgEnvironment>,
    stdout: Stdout,
    log: Option<PathBuf>,
    grace: Duration,
}

/// What becomes of a child's standard output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stdout {
    Null,
    /// Kept in memory, up to so many bytes; a child that writes more is ended, and fails.
    Capture {
        limit: usize,
    },
}

/// How a child ended.
#[derive(Debug)]
pub(crate) struct Finished {
    pub program: String,
    pub status: ExitStatus,
    pub stdout: Vec<u8>,
    /// The last 20 lines of standard error, oldest first.
    pub stderr_tail: Vec<String>,
    /// We ended it, since the run is stopping.
    pub interrupted: bool,
}

/// Why a child did not run, or did not succeed.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub(crate) enum ChildError {
    #[error("cannot start {program}: there is no such program")]
    #[diagnostic(help("Install it, or put its directory on PATH."))]
    NotFound { program: String },
    #[error("cannot start {program}")]
    Start { program: String, source: io::Error },
    #[error("cannot wait for {program}")]
    Wait { program: String, source: io::Error },
    #[error("{program} wrote more than {limit} bytes to its standard output")]
    TooMuchOutput { program: String, limit: usize },
    #[error("cannot read the standard output of {program}")]
    Output { program: String, source: io::Error },
    #[error("{program} ended, but a process that it started still holds its standard output open")]
    #[diagnostic(help(
        "What was read of it may be incomplete. A wrapper must wait for what it starts, or give it another \
         standard output."
    ))]
    OutputOpen { program: String },
    #[error("{program} was stopped")]
    Interrupted { program: String },
    #[error("{program} {}{}", describe(*status), quote_tail(stderr_tail))]
    Failed {
        program: String,
        status: ExitStatus,
        stderr_tail: Vec<String>,
    },
}

impl ChildError {
    /// The last lines of what the program said, where it failed.
    pub(crate) fn last_words(&self) -> &[String] {
        match self {
            ChildError::Failed { stderr_tail, .. } => stderr_tail,
            _ => &[],
        }
    }
}

impl Invocation {
    /// The program is looked up on PATH unless it is a path.
    pub(crate) fn new(program: impl Into<OsString>) -> Self {
        Invocation {
            program: program.into(),
            arguments: Vec::new(),
            environment: None,
            stdout: Stdout::Null,
            log: None,
            grace: GRACE,
        }
    }

    pub(crate) fn arguments<A: Into<OsString>>(
        mut self,
        arguments: impl IntoIterator<Item = A>,
    ) -> Self {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    /// Without it the child has our environment, but for passwords of the servers.
    pub(crate) fn environment(mut self, environment: PgEnvironment) -> Self {
        self.environment = Some(environment);
        self
    }

    pub(crate) fn stdout(mut self, stdout: Stdout) -> Self {
        self.stdout = stdout;
        self
    }

    /// A file that standard error is appended to, made with mode 0600.
    pub(crate) fn log(mut self, path: impl Into<PathBuf>) -> Self {
        self.log = Some(path.into());
        self
    }

    /// Another grace, for tests that wait it out.
    #[cfg(test)]
    fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// Runs the child to its end; `on_line` gets each line of its standard error.
    ///
    /// When `stop` is cancelled, the child and all that it started get SIGTERM and, after the
    /// grace, SIGKILL. When this future is dropped they get SIGKILL.
    ///
    /// An exit status other than 0 is not an error here: see [`Finished::success`].
    pub(crate) async fn run(
        self,
        stop: &CancellationToken,
        on_line: impl FnMut(&str),
    ) -> Result<Finished, ChildError> {
        let program = self.program.to_string_lossy().into_owned();
        let Stdout::Capture { limit } = self.stdout else {
            let ignore = async |_| Ok::<(), Infallible>(());
            return Ok(self.start(stop, on_line, Some(DRAIN), ignore).await?.0);
        };
        let read = async |stdout: Option<ChildStdout>| {
            let stdout = stdout.expect("standard output is piped");
            match read_bytes(stdout, limit).await {
                Ok(Some(bytes)) => Ok(bytes),
                Ok(None) => Err(ChildError::TooMuchOutput {
                    program: program.clone(),
                    limit,
                }),
                Err(source) => Err(ChildError::Output {
                    program: program.clone(),
                    source,
                }),
            }
        };
        let (mut finished, bytes) = self.start(stop, on_line, Some(DRAIN), read).await?;
        match bytes {
            Some(bytes) => finished.stdout = bytes?,
            // A part of it, or nothing, could be taken for all that the child had to say.
            None if finished.status.success() => return Err(ChildError::OutputOpen { program }),
            None => {}
        }
        Ok(finished)
    }

    /// As [`Invocation::run`], with the child's standard output handed to `consume` as it comes. However long
    /// that takes, it is waited for; where it fails, the child is ended.
    pub(crate) async fn stream<T, E>(
        mut self,
        stop: &CancellationToken,
        on_line: impl FnMut(&str),
        consume: impl AsyncFnOnce(ChildStdout) -> Result<T, E>,
    ) -> Result<(Finished, Result<T, E>), ChildError> {
        self.stdout = Stdout::Capture { limit: 0 };
        let consume = async |stdout: Option<ChildStdout>| {
            consume(stdout.expect("standard output is piped")).await
        };
        let (finished, result) = self.start(stop, on_line, None, consume).await?;
        Ok((finished, result.expect("it was waited for")))
    }

    /// Runs the child. `drain`: how long its output is waited for once it has ended; `None`: to its end.
    async fn start<T, E>(
        self,
        stop: &CancellationToken,
        mut on_line: impl FnMut(&str),
        drain: Option<Duration>,
        consume: impl AsyncFnOnce(Option<ChildStdout>) -> Result<T, E>,
    ) -> Result<(Finished, Option<Result<T, E>>), ChildError> {
        let program = self.program.to_string_lossy().into_owned();
        let log = match &self.log {
            Some(path) => open_log(path).await,
            None => None,
        };
        let mut group = spawn(self.command()).await.map_err(|source| {
            let program = program.clone();
            match source.kind() {
                io::ErrorKind::NotFound => ChildError::NotFound { program },
                _ => ChildError::Start { program, source },
            }
        })?;
        #[cfg(debug_assertions)]
        if let Some(log) = self.log.as_deref().and_then(std::path::Path::file_stem) {
            // The log is named after the step.
            reach!("{program} of {} started", log.display());
        }
        let stdout = group.child.stdout.take();
        let stderr = group.child.stderr.take();

        let failed = stop.child_token();
        let mut consumed = None;
        let mut tail = Tail::default();
        let status = {
            let read_stdout = async {
                let result = consume(stdout).await;
                if result.is_err() {
                    // What the child still writes is of no use.
                    failed.cancel();
                }
                consumed = Some(result);
            };
            let read_stderr = async {
                if let Some(stderr) = stderr {
                    read_lines(stderr, log, &mut tail, &mut on_line).await;
                }
            };
            let reading = async { tokio::join!(read_stdout, read_stderr) };
            finish(&mut group, &failed, self.grace, drain, reading).await
        };
        let status = status.map_err(|source| ChildError::Wait {
            program: program.clone(),
            source,
        })?;
        let finished = Finished {
            program,
            status,
            stdout: Vec::new(),
            stderr_tail: tail.into_lines(),
            // A child that had done its work before the signal came was not interrupted.
            interrupted: stop.is_cancelled() && !status.success(),
        };
        Ok((finished, consumed))
    }

    fn command(&self) -> std::process::Command {
        #[expect(
            clippy::disallowed_methods,
            reason = "this is the place that starts children"
        )]
        let mut command = std::process::Command::new(&self.program);
        command
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(match self.stdout {
                Stdout::Null => Stdio::null(),
                Stdout::Capture { .. } => Stdio::piped(),
            })
            .stderr(Stdio::piped());
        remove_secrets(&mut command);
        if let Some(environment) = &self.environment {
            environment.apply(&mut command);
        }
        command
    }
}

/// Waits for the child while its output is read, then for the rest of the output.
async fn finish<R>(
    group: &mut Group,
    stop: &CancellationToken,
    grace: Duration,
    drain: Option<Duration>,
    reading: impl Future<Output = R>,
) -> io::Result<ExitStatus> {
    let mut reading = pin!(reading);
    let mut is_read = false;
    let status = {
        let mut ending = pin!(end(group, stop, grace));
        loop {
            tokio::select! {
                status = &mut ending => break status?,
                _ = &mut reading, if !is_read => is_read = true,
            }
        }
    };
    match drain {
        _ if is_read => {}
        // Its consumer may take as long as it needs for what is in the pipe: every row counts.
        None => {
            reading.await;
        }
        Some(drain) => {
            if timeout(drain, reading).await.is_err() {
                tracing::warn!("a process that a child started still holds its output open");
            }
        }
    }
    Ok(status)
}

/// Waits for the child; ends it when `stop` is cancelled.
async fn end(
    group: &mut Group,
    stop: &CancellationToken,
    grace: Duration,
) -> io::Result<ExitStatus> {
    tokio::select! {
        // A child that has ended is not sent a signal.
        biased;
        status = group.wait() => return status,
        () = stop.cancelled() => {}
    }
    group.signal(Signal::SIGTERM);
    if let Ok(status) = timeout(grace, group.wait()).await {
        return status;
    }
    group.signal(Signal::SIGKILL);
    group.wait().await
}

impl ChildError {
    /// Whether another attempt may succeed: the program lost its connection, waited too long for a lock,
    /// met a deadlock.
    pub(crate) fn class(&self) -> Class {
        match self {
            ChildError::Failed { stderr_tail, .. }
                if stderr_tail.iter().any(|line| is_transient(line)) =>
            {
                Class::Retry
            }
            ChildError::Interrupted { .. } => Class::Interrupted,
            _ => Class::Fail,
        }
    }

    /// Whether the program waited too long for a lock, or did not want to wait for it.
    pub(crate) fn is_lock_refused(&self) -> bool {
        self.says(is_lock_refused)
    }

    /// Whether the server did not let the program in, for its password perhaps.
    pub(crate) fn is_login_refused(&self) -> bool {
        self.says(is_login_refused)
    }

    fn says(&self, words: impl Fn(&str) -> bool) -> bool {
        match self {
            ChildError::Failed { stderr_tail, .. } => stderr_tail.iter().any(|line| words(line)),
            _ => false,
        }
    }
}

impl Finished {
    /// The child, if it succeeded; otherwise why not, with the end of its standard error.
    pub(crate) fn success(self) -> Result<Self, ChildError> {
        let Finished { program, .. } = &self;
        if self.interrupted {
            let program = program.clone();
            Err(ChildError::Interrupted { program })
        } else if self.status.success() {
            Ok(self)
        } else {
            Err(ChildError::Failed {
                program: self.program,
                status: self.status,
                stderr_tail: self.stderr_tail,
            })
        }
    }
}

fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("ended with exit status {code}"),
        (None, Some(number)) => match Signal::try_from(number) {
            Ok(signal) => format!("was killed by {signal}"),
            Err(_) => format!("was killed by signal {number}"),
        },
        (None, None) => "ended without a status".to_owned(),
    }
}

fn quote_tail(lines: &[String]) -> String {
    if lines.is_empty() {
        return " without a message".to_owned();
    }
    lines
        .iter()
        .map(|line| format!("\n  {}", escape_control(line)))
        .collect::<String>()
        .replacen('\n', ":\n", 1)
}

#[cfg(test)]
#[path = "child_tests.rs"]
mod tests;
