//! What a client program failed of that has nothing to do with what it moved: a full disk, too little memory, on either side.

use super::{Context, StepError};
use crate::disk::FileSystem;
use crate::graph::archive;
use crate::names::Kind;
use crate::plan::Side;
use crate::postgres::{Exhausted, says_full};

/// Why a program failed, and what to do about it.
pub(super) struct Cause {
    pub what: String,
    pub help: String,
}

/// By the last lines that it wrote.
pub(super) fn cause(context: &Context, lines: &[String]) -> Option<Cause> {
    let is_dump = matches!(context.step().id.kind, Kind::Dump | Kind::DelayedDump);
    if is_dump && lines.iter().any(|line| is_too_long(line)) {
        return Some(too_long());
    }
    let by_server = lines.iter().find_map(|line| of_server(line));
    if let Some(exhausted) = by_server {
        return Some(on_server(context, exhausted));
    }
    let is_full = lines.iter().any(|line| says_full(line));
    is_full.then(|| here(context))
}

/// What servers say where a row's text does not fit into a buffer: since 8.1, until 16, from 17 on.
fn is_too_long(line: &str) -> bool {
    let words = [
        "invalid memory alloc request size",
        "Cannot enlarge string buffer",
        "string buffer exceeds maximum allowed length",
    ];
    words.iter().any(|words| line.contains(words))
}

fn too_long() -> Cause {
    Cause {
        what: "a row of the table is too large for COPY, which writes at most 1 GB of text for one, and a bytea as two characters a \
               byte"
            .to_owned(),
        help: "find it (SELECT … ORDER BY octet_length(…) DESC) and split its value over several rows; or \\copy (SELECT … WHERE …) \
               TO 'file' WITH (FORMAT binary), take the value out on the source for the migration, load the file on the target \
               afterwards, and run again"
            .to_owned(),
    }
}

/// What a line quotes of a server's message.
fn of_server(line: &str) -> Option<Exhausted> {
    let words = ["ERROR:  ", "FATAL:  "];
    let message = words
        .iter()
        .find_map(|severity| Some(line.split_once(severity)?.1))?;
    Exhausted::from_message(message)
}

/// The error of a restore of which some entries failed so: they are no errors that a plan may accept.
pub(super) fn of_restore(
    context: &Context,
    exhausted: Exhausted,
    object: &str,
    message: &str,
) -> StepError {
    let cause = on_server(context, exhausted);
    StepError::new(format!(
        "database \"{}\": {}: {object}: {}",
        context.shown_database(),
        cause.what,
        message.lines().next().unwrap_or_default()
    ))
    .help(format!(
        "{}: the database is created again and restored from the same archive; all messages are in {}",
        cause.help,
        context.log_file().display()
    ))
}

fn on_server(context: &Context, exhausted: Exhausted) -> Cause {
    let side = match context.step().id.kind {
        Kind::Dump | Kind::DelayedDump => Side::Source,
        _ => Side::Target,
    };
    Cause {
        what: exhausted.what(&context.endpoint(side).to_string()),
        help: exhausted.help().to_owned(),
    }
}

/// Client programs write archives on this machine, and nothing else that is large.
fn here(context: &Context) -> Cause {
    let path = match context.step().id.database_name() {
        Some(name) => archive(context.plan(), name),
        None => context.plan().dump.root.clone(),
    };
    let mounted_at = FileSystem::of(&path).map(|found| found.mounted_at);
    let mounted_at = mounted_at.unwrap_or(path);
    Cause {
        what: format!(
            "the file system {} of this machine is full",
            mounted_at.display()
        ),
        help: format!(
            "the half-written archive was removed; make room in {}, or set dump.root to a larger file system, and run again",
            mounted_at.display()
        ),
    }
}
