//! Logs: always to the state directory, and to the terminal where RUST_LOG asks for it.

use std::io::{self, Write};
use std::path::Path;

use tracing::{Level, Metadata};
use tracing_appender::non_blocking::WorkerGuard;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, fmt};

use super::log_file::LogFile;
use super::output::tell;
use crate::escape::{escape_control, escape_control_lines};
use crate::report::progress::LogWriter;

/// The client library logs whole statements, and those that make roles hold their passwords.
fn tells_statements(metadata: &Metadata<'_>) -> bool {
    metadata.target().starts_with("tokio_postgres") && *metadata.level() > Level::INFO
}

/// Makes writers that show what they are given, an event at a time.
struct Shown<M>(M);

impl<'a, M: MakeWriter<'a>> MakeWriter<'a> for Shown<M> {
    type Writer = ShownEvent<M::Writer>;

    fn make_writer(&'a self) -> Self::Writer {
        ShownEvent(self.0.make_writer())
    }
}

struct ShownEvent<W>(W);

impl<W: Write> Write for ShownEvent<W> {
    /// Takes an event whole, as the formatting layer writes it.
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        self.0
            .write_all(shown(&String::from_utf8_lossy(event)).as_bytes())?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// The event without what could steer a terminal. What it says in further lines is indented: no name makes a
/// line that could be taken for an event.
fn shown(event: &str) -> String {
    let text = escape_control_lines(event.trim_end_matches('\n'));
    text.replace('\n', "\n    ") + "\n"
}

/// Starts logging. A log is a courtesy: what keeps it from being written is said, and the work goes on. What is still in memory
/// is written when the guard is dropped.
pub(super) fn start(state_dir: &Path, screen: Option<LogWriter>) -> WorkerGuard {
    let directory = state_dir.join("log");
    let (file, error) = LogFile::open(&directory);
    if let Some(error) = error {
        tell!(
            "warning: there is no log in {} for now: {error}",
            directory.display()
        );
    }
    // A disk that hangs holds up the log's own thread alone.
    let (file, guard) = tracing_appender::non_blocking(file);
    let asked = asked();
    let to_file = fmt::layer()
        .with_writer(Shown(file))
        // They would be printed to stderr, and panic where that cannot be written.
        .log_internal_errors(false)
        .with_ansi(false)
        .with_filter(asked.clone().unwrap_or_else(|| EnvFilter::new("info")));
    // On the screen, progress already says what happens; the log is added where RUST_LOG asks for it.
    let to_screen = screen.zip(asked).map(|(screen, asked)| {
        fmt::layer()
            .with_writer(Shown(screen))
            .log_internal_errors(false)
            .with_ansi(false)
            .with_filter(asked)
    });
    tracing_subscriber::registry()
        .with(filter_fn(|metadata| !tells_statements(metadata)))
        .with(to_file)
        .with(to_screen)
        .init();
    guard
}

/// What RUST_LOG asks for. The library would print what it does not understand, and panic where that cannot be printed.
fn asked() -> Option<EnvFilter> {
    let text = std::env::var("RUST_LOG").ok()?;
    if text.is_empty() {
        return None;
    }
    match EnvFilter::builder().parse(&text) {
        Ok(filter) => Some(filter),
        Err(error) => {
            let text = escape_control(&text);
            tell!("warning: RUST_LOG is ignored, since \"{text}\" is not a filter: {error}");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_makes_an_event_or_steers_a_terminal() {
        let event = "INFO done step=a\n2026-11-22T00:00:00Z ERROR b\u{1b}[2J\u{202e}/dump\n";
        let mut written = Vec::new();
        ShownEvent(&mut written)
            .write_all(event.as_bytes())
            .unwrap();
        insta::assert_snapshot!(String::from_utf8(written).unwrap(), @r"
        INFO done step=a
            2026-11-22T00:00:00Z ERROR b\u{1b}[2J\u{202e}/dump
        ");
    }
}
