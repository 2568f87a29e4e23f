//! Reads what a child writes, and never lets it wait for us.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::io;
use std::path::Path;

use tokio::fs::{File, OpenOptions};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWriteExt, BufReader};

use crate::postgres::escape_control;

/// Lines of standard error that are kept for messages.
const TAIL_LINES: usize = 20;

/// Longer lines reach the callback in pieces, so that a child cannot fill our memory.
const LONGEST_LINE: usize = 1024 * 1024;

/// The log of a child's standard error, for its owner alone. It is appended to: a step's earlier
/// attempts stay. Without one the child runs all the same: what matters of its output is in the report.
pub(super) async fn open_log(path: &Path) -> Option<File> {
    let mut options = OpenOptions::new();
    let opened = options.create(true).append(true).mode(0o600).open(path);
    match opened.await {
        Ok(file) => Some(file),
        Err(error) => {
            tracing::warn!(log = %path.display(), %error, "cannot open the log of a child; continuing without it");
            None
        }
    }
}

/// The last lines of standard error.
#[derive(Default)]
pub(super) struct Tail(VecDeque<String>);

impl Tail {
    fn push(&mut self, line: String) {
        if self.0.len() == TAIL_LINES {
            self.0.pop_front();
        }
        self.0.push_back(line);
    }

    pub(super) fn into_lines(self) -> Vec<String> {
        self.0.into()
    }
}

/// Reads standard error to its end: every line to the log, to `on_line` and to the tail.
///
/// In the log, control characters of a line are escaped, and so are bytes that are not UTF-8.
///
/// A log that cannot be written, on a full disk for instance, is reported once and given up: a
/// child whose output is not read would wait for ever.
pub(super) async fn read_lines(
    input: impl AsyncRead + Unpin,
    mut log: Option<File>,
    tail: &mut Tail,
    on_line: &mut impl FnMut(&str),
) {
    let mut input = BufReader::with_capacity(64 * 1024, input);
    let mut line = Vec::new();
    // Lines for the log that it has not got yet.
    let mut shown = String::new();
    loop {
        let chunk = match input.fill_buf().await {
            Ok(chunk) if !chunk.is_empty() => chunk,
            Ok(_) => break,
            Err(error) => {
                tracing::warn!(%error, "cannot read the standard error of a child");
                break;
            }
        };
        for piece in chunk.split_inclusive(|byte| *byte == b'\n') {
            line.extend_from_slice(piece);
            if line.ends_with(b"\n") || line.len() >= LONGEST_LINE {
                show(&line, &mut shown);
                end_line(&mut line, tail, on_line);
            }
        }
        let read = chunk.len();
        input.consume(read);
        write(&mut log, &mut shown).await;
    }
    if !line.is_empty() {
        show(&line, &mut shown);
        end_line(&mut line, tail, on_line);
        write(&mut log, &mut shown).await;
    }
    if let Some(file) = &mut log
        && let Err(error) = file.flush().await
    {
        tracing::warn!(%error, "cannot write the log of a child");
    }
}

/// Writes what is to be written; gives the log up when that fails.
async fn write(log: &mut Option<File>, shown: &mut String) {
    if let Some(file) = log
        && let Err(error) = file.write_all(shown.as_bytes()).await
    {
        tracing::warn!(%error, "cannot write the log of a child; continuing without it");
        *log = None;
    }
    shown.clear();
}

/// Appends the line as a person may read it on a terminal.
fn show(line: &[u8], shown: &mut String) {
    let (text, end) = match line.strip_suffix(b"\n") {
        Some(text) => (text, "\n"),
        None => (line, ""),
    };
    for chunk in text.utf8_chunks() {
        shown.push_str(&escape_control(chunk.valid()));
        for byte in chunk.invalid() {
            let _ = write!(shown, "\\x{byte:02x}");
        }
    }
    shown.push_str(end);
}

fn end_line(line: &mut Vec<u8>, tail: &mut Tail, on_line: &mut impl FnMut(&str)) {
    let text = String::from_utf8_lossy(line);
    let text = text.strip_suffix('\n').unwrap_or(&text);
    let text = text.strip_suffix('\r').unwrap_or(text);
    on_line(text);
    tail.push(text.to_owned());
    line.clear();
}

/// Reads standard output to its end. `None`: there was more than `limit` bytes, and the rest was
/// left unread.
pub(super) async fn read_bytes(
    input: impl AsyncRead + Unpin,
    limit: usize,
) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    let mut input = input.take(limit as u64 + 1);
    input.read_to_end(&mut bytes).await?;
    Ok((bytes.len() <= limit).then_some(bytes))
}
