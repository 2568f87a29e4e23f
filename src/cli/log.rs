//! Logs: always to the state directory, and to the terminal where RUST_LOG asks for it.

use std::path::Path;

use tracing::{Level, Metadata};
use tracing_appender::non_blocking::WorkerGuard;
use tracing_appender::rolling::{RollingFileAppender, Rotation};
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, fmt};

use super::failure::{Failure, UNEXPECTED};
use crate::report::progress::LogWriter;

/// Days of logs that are kept.
const DAYS: usize = 14;

/// The client library logs whole statements, and those that make roles hold their passwords.
fn tells_statements(metadata: &Metadata<'_>) -> bool {
    metadata.target().starts_with("tokio_postgres") && *metadata.level() > Level::INFO
}

/// Starts logging. What is still in memory is written when the guard is dropped.
pub fn start(state_dir: &Path, screen: Option<LogWriter>) -> Result<WorkerGuard, Failure> {
    let directory = state_dir.join("log");
    std::fs::create_dir_all(&directory)?;
    let appender = RollingFileAppender::builder()
        .rotation(Rotation::DAILY)
        .filename_prefix("pg-migrate")
        .filename_suffix("log")
        .max_log_files(DAYS)
        .build(&directory)
        .map_err(|error| {
            Failure::message(
                UNEXPECTED,
                format!("cannot write a log in {}: {error}", state_dir.display()),
                "look at the directory's permissions and at its free space",
            )
        })?;
    let (file, guard) = tracing_appender::non_blocking(appender);
    let asked = std::env::var("RUST_LOG")
        .ok()
        .filter(|filter| !filter.is_empty());
    let filter =
        |default: &str| EnvFilter::builder().parse_lossy(asked.as_deref().unwrap_or(default));
    let to_file = fmt::layer()
        .with_writer(file)
        .with_ansi(false)
        .with_filter(filter("info"));
    // Progress tells a person what happens; the log on the screen is for whoever asks.
    let to_screen = screen.filter(|_| asked.is_some()).map(|screen| {
        fmt::layer()
            .with_writer(screen)
            .with_ansi(false)
            .with_filter(filter("warn"))
    });
    tracing_subscriber::registry()
        .with(filter_fn(|metadata| !tells_statements(metadata)))
        .with(to_file)
        .with(to_screen)
        .init();
    Ok(guard)
}
