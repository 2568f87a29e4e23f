//! What pg_restore writes to its standard error: errors by object, warnings, progress.
//!
//! pg_restore must run with `--verbose`, for only then it says which entry of the archive an error
//! belongs to. Its words are compared, so they must be English, as `PgEnvironment` sees to.

mod line;
mod progress;
mod toc;

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use line::{Line, SEVERITIES, starts_with_any, strip_any};
use progress::ItemCount;
pub(crate) use toc::Entry;
pub(crate) use toc::TableRows;
pub use toc::Toc;

use super::transient::is_transient;
use crate::plan::Accept;

/// One error of pg_restore that it went on after.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestoreError {
    /// `FUNCTION public.f(integer)`, `TABLE DATA public.t`.
    pub object: String,
    /// The server's message, with its detail, hint and context in lines of their own.
    pub message: String,
}

/// All that pg_restore reported.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RestoreReport {
    /// In the order in which they were written.
    pub errors: Vec<RestoreError>,
    /// Errors that belong to no entry of the archive. With one of them the restore is incomplete in a
    /// way that no `[[accept]]` covers: a lost connection, a missing file, a worker that died.
    pub fatal: Vec<String>,
    /// One of them may not happen again: a lost connection, a deadlock.
    pub is_transient: bool,
    /// Such as `restoring tables WITH OIDS is not supported anymore`.
    pub warnings: Vec<String>,
    /// Settings of pg_restore's own session that an older server does not have: nothing is lost without them.
    pub harmless: u64,
    /// How many errors pg_restore says it went on after. With jobs it counts an entry with errors once more.
    pub ignored: u64,
    /// Fewer or other errors were read than it says: the lines of its workers were torn beyond reading.
    pub is_torn: bool,
}

/// Reads the standard error of one pg_restore, line by line.
///
/// Workers write to the same stream without waiting for each other: a line may hold two beginnings,
/// and what entry an error belongs to may be said some lines before. What stays unclear is an error
/// of no entry, so that it is never taken for an accepted one.
#[derive(Debug)]
pub struct RestoreLog {
    toc: Arc<Toc>,
    is_parallel: bool,
    /// Entries that an error was read for.
    failed: BTreeSet<u32>,
    /// Entries that the leader restored itself, before its workers started.
    by_leader: BTreeSet<u32>,
    /// Settings that the server does not have.
    unknown_settings: BTreeSet<&'static str>,
    items: ItemCount,
    report: RestoreReport,
    /// Entries, with their dump ids, named by `from TOC entry` that no error was read for yet.
    announced: VecDeque<(u32, Entry)>,
    /// The entry of the last error. pg_restore names an entry only before its first error.
    current: Option<(u32, Entry)>,
    open: Option<Open>,
    /// The beginning of a line was written into another: the rest of it comes as a line of its own.
    torn: bool,
}

/// An error whose lines are still coming.
#[derive(Debug)]
struct Open {
    /// `None`: it belongs to none.
    entry: Option<Entry>,
    message: Vec<String>,
    /// The command that failed is being quoted, to the end of the error.
    in_command: bool,
    is_harmless: bool,
    taken: Taken,
}

/// The entry that an error was given, in case it turns out to be of none.
#[derive(Debug, Default)]
struct Taken {
    entry: Option<(u32, Entry)>,
    was_announced: bool,
    failed_first: bool,
}

/// Settings that pg_restore makes for its own session and that came with a later version (`_doSetFixedOutputState` in
/// pg_backup_archiver.c): 9.6 and 17. With the command, and what a server says to it. One whose messages are in another
/// language, where our role may not change that, has other words, and there the command tells.
const LATER_SETTINGS: [(&str, &str, &str); 2] = [
    (
        "idle_in_transaction_session_timeout",
        "SET idle_in_transaction_session_timeout = 0;",
        "unrecognized configuration parameter \"idle_in_transaction_session_timeout\"",
    ),
    (
        "transaction_timeout",
        "SET transaction_timeout = 0;",
        "unrecognized configuration parameter \"transaction_timeout\"",
    ),
];

/// What introduces a command in an error.
const COMMAND: [&str; 2] = ["Command was: ", "Query was: "];
/// More about an error in lines of their own, from 14 on.
const REMARKS: [&str; 2] = ["detail: ", "hint: "];
const FROM_ENTRY: &str = "from TOC entry ";
const COPY_FAILED: &str = "COPY failed for table \"";

/// The errors that pg_restore goes on after, by how they start (pg_backup_archiver.c and
/// pg_backup_db.c, calls of `warn_or_exit_horribly`).
const RECOVERABLE: [&str; 8] = [
    "could not execute query: ",
    "COPY failed for table ",
    "could not set ",
    "could not alter table access method",
    "could not create large object",
    "could not write to large object",
    "could not start database transaction",
    "could not commit database transaction",
];

/// How lines start that only `--verbose` writes.
const VERBOSE: [&str; 8] = [
    "finished ",
    "launching item ",
    "processing ",
    "creating ",
    "executing ",
    "restoring large object ",
    "restored ",
    "entering main parallel loop",
];

impl RestoreLog {
    /// `jobs` as in `pg_restore --jobs`.
    pub fn new(toc: impl Into<Arc<Toc>>, jobs: u32) -> Self {
        RestoreLog {
            toc: toc.into(),
            is_parallel: jobs > 1,
            failed: BTreeSet::new(),
            by_leader: BTreeSet::new(),
            unknown_settings: BTreeSet::new(),
            items: ItemCount::new(jobs),
            report: RestoreReport::default(),
            announced: VecDeque::new(),
            current: None,
            open: None,
            torn: false,
        }
    }

    /// Takes one line, without its line break.
    pub fn push_line(&mut self, line: &str) {
        let Some(line) = Line::parse(line) else {
            return self.continuation(line);
        };
        self.torn |= line.torn;
        match &mut self.open {
            Some(open) if starts_with_any(line.text, &REMARKS) => open.push(line.text),
            _ => {
                self.close();
                self.line(&line);
            }
        }
    }

    /// How many entries of the archive are done, out of [`Toc::entry_count`].
    pub fn items_done(&self) -> u64 {
        self.items.done().min(self.toc.entry_count() as u64)
    }

    /// Everything that was read, once pg_restore has ended.
    pub fn finish(mut self) -> RestoreReport {
        self.close();
        let counted = self.counted();
        let RestoreReport {
            errors,
            fatal,
            harmless,
            ignored,
            is_torn,
            ..
        } = &mut self.report;
        let has_errors = !errors.is_empty() || *harmless > 0;
        // It counts them at its very end. Killed before that, in the middle of building indexes for instance, it has
        // said nothing that is not accepted or harmless, and yet it is not done.
        if *ignored == 0 && has_errors && fatal.is_empty() {
            fatal.push(
                "pg_restore did not come to its end, where it counts the errors that it ignored"
                    .to_owned(),
            );
        }
        if *ignored > 0 && *ignored != counted && fatal.is_empty() {
            *is_torn = true;
            fatal.push(format!(
                "pg_restore ignored {ignored} errors, and {} of them could be read from its output",
                if has_errors { "not all" } else { "none" }
            ));
        }
        self.report
    }

    /// What pg_restore counts when it meets the errors that were read (pg_backup_archiver.c and parallel.c).
    ///
    /// With jobs the leader adds a worker's errors of an entry and one for the entry itself; it makes its own settings
    /// before its workers start and again after they ended. What a worker meets before its first entry is not counted.
    fn counted(&self) -> u64 {
        let RestoreReport {
            errors, harmless, ..
        } = &self.report;
        if self.is_parallel {
            let by_workers = self.failed.difference(&self.by_leader).count();
            (errors.len() + by_workers + 2 * self.unknown_settings.len()) as u64
        } else {
            errors.len() as u64 + harmless
        }
    }

    /// A line that pg_restore began with its name.
    fn line(&mut self, line: &Line<'_>) {
        // Clients before 12 name a part of the program instead of the severity.
        let part = line
            .text
            .strip_prefix('[')
            .and_then(|rest| rest.split_once("] "));
        let text = part.map_or(line.text, |(_, text)| text);
        let place = text.strip_prefix("Error ").unwrap_or(text);
        if let Some(entry) = place.strip_prefix(FROM_ENTRY) {
            self.announce(entry);
        } else if place == "while PROCESSING TOC:" {
            // The entry is in the next line.
        } else if place == "while INITIALIZING:" || place == "while FINALIZING:" {
            self.current = None;
        } else if let Some(warning) = strip_any(text, &["warning: ", "WARNING: "]) {
            self.warning(warning);
        } else if part.is_some() || (line.is_error && !starts_with_any(text, &VERBOSE)) {
            self.error(text);
        } else {
            self.verbose(text);
        }
    }

    /// A line that pg_restore did not begin with its name.
    fn continuation(&mut self, line: &str) {
        // The blank before the severity may be on either side of a tear.
        let text = strip_any(line.trim_start_matches(' '), &SEVERITIES).unwrap_or(line);
        if let Some(count) = line.strip_prefix("WARNING: ").and_then(errors_ignored) {
            // Clients before 12 begin it so.
            self.close();
            self.report.ignored = count;
        } else if self.torn && (text != line || starts_with_any(text, &RECOVERABLE)) {
            self.torn = false;
            self.close();
            self.error(text);
        } else if let Some(entry) = line.strip_prefix(FROM_ENTRY).filter(|_| self.torn) {
            self.torn = false;
            self.announce(entry);
        } else {
            self.more(line);
        }
    }

    fn announce(&mut self, text: &str) {
        if let Some((id, entry)) = Entry::from_error(text) {
            let entry = self.toc.get(id).cloned().unwrap_or(entry);
            self.announced.push_back((id, entry));
        }
    }

    fn warning(&mut self, text: &str) {
        match errors_ignored(text) {
            Some(count) => self.report.ignored = count,
            None => self.report.warnings.push(text.to_owned()),
        }
    }

    /// What is under way. An entry that was announced before and is over can have no more errors.
    fn verbose(&mut self, text: &str) {
        let counted = self.items.push(text);
        let item = |start| {
            let (id, _) = text.strip_prefix(start)?.split_once(' ')?;
            id.parse::<u32>().ok()
        };
        self.by_leader.extend(item("processing item "));
        if text.starts_with("finished item ") {
            let id = item("finished item ");
            self.announced
                .retain(|(announced, _)| Some(*announced) != id);
        } else if counted && (!self.is_parallel || text.starts_with("processing item ")) {
            self.announced.clear();
            self.current = None;
        }
    }

    fn error(&mut self, text: &str) {
        let unknown = LATER_SETTINGS
            .into_iter()
            .find_map(|(_, _, words)| text.ends_with(words).then_some(words));
        let is_harmless = unknown.is_some();
        self.unknown_settings.extend(unknown);
        let announced = self.announced.len();
        // Every worker makes such a setting before its first entry, and must not take the entry of another's error.
        let entry = if is_harmless {
            None
        } else {
            self.entry_of(text)
        };
        let failed_first = entry
            .as_ref()
            .is_some_and(|(id, _)| self.failed.insert(*id));
        let taken = Taken {
            entry: entry.clone(),
            was_announced: self.announced.len() < announced,
            failed_first,
        };
        let entry = entry.map(|(_, entry)| entry);
        let mut message = text.strip_prefix(RECOVERABLE[0]).unwrap_or(text);
        if let (Some(Entry { tag, .. }), Some(rest)) = (&entry, message.strip_prefix(COPY_FAILED)) {
            let named = rest.strip_prefix(tag.as_str());
            message = named
                .and_then(|rest| rest.strip_prefix("\": "))
                .unwrap_or(message);
        }
        self.open = Some(Open {
            entry,
            message: vec![
                message
                    .strip_prefix("ERROR:  ")
                    .unwrap_or(message)
                    .to_owned(),
            ],
            in_command: false,
            is_harmless,
            taken,
        });
    }

    /// Takes a further line of the error.
    fn more(&mut self, line: &str) {
        let Some(open) = &mut self.open else { return };
        let setting = if open.is_harmless {
            None
        } else {
            open.later_setting(line)
        };
        open.push(line);
        let Some(setting) = setting else { return };
        open.is_harmless = true;
        let taken = std::mem::take(&mut open.taken);
        self.unknown_settings.insert(setting);
        if let Some(entry) = taken.entry {
            if taken.failed_first {
                self.failed.remove(&entry.0);
            }
            if taken.was_announced {
                self.announced.push_front(entry);
            }
        }
    }

    /// The entry that an error belongs to: one that was announced, or else the last one.
    fn entry_of(&mut self, text: &str) -> Option<(u32, Entry)> {
        let names = |entry: &Entry| {
            text.strip_prefix(COPY_FAILED)
                .and_then(|rest| rest.strip_prefix(entry.tag.as_str()))
                .is_some_and(|rest| rest.starts_with("\": "))
        };
        let position = self.announced.iter().position(|(_, entry)| names(entry));
        if let Some(entry) = self.announced.remove(position.unwrap_or(0)) {
            self.current = Some(entry);
        } else if !starts_with_any(text, &RECOVERABLE) {
            return None;
        }
        self.current.clone()
    }

    /// Files the error whose lines have all come.
    fn close(&mut self) {
        let Some(open) = self.open.take() else { return };
        if open.is_harmless {
            self.report.harmless += 1;
            return;
        }
        let entry = open.entry.as_ref();
        // Where the entry is not known, neither is what its command contains.
        let shows_command = entry.is_some_and(|entry| !entry.may_hold_secrets());
        let message = open.message(shows_command);
        match entry {
            Some(entry) if !is_transient(&message) => {
                self.report.errors.push(RestoreError {
                    object: entry.object(),
                    message,
                });
            }
            Some(entry) => {
                self.report.is_transient = true;
                let message = format!("{}: {message}", entry.object());
                self.report.fatal.push(message);
            }
            None => self.report.fatal.push(message),
        }
    }
}

impl Open {
    fn push(&mut self, line: &str) {
        // Clients before 12 indent it.
        self.in_command |= starts_with_any(line.trim_start(), &COMMAND);
        if !self.in_command {
            self.message.push(line.to_owned());
        }
    }

    /// The setting that the error is about, by the command in its next line, and by its name in what the server said.
    fn later_setting(&self, line: &str) -> Option<&'static str> {
        let command = strip_any(line.trim_start(), &COMMAND)?.trim_end();
        let (name, words) = LATER_SETTINGS
            .iter()
            .find_map(|(name, set, words)| (*set == command).then_some((*name, *words)))?;
        let says = self.message.first()?;
        (!self.in_command && says.contains(name)).then_some(words)
    }

    /// The message, where `with_command` decides on the part of the command that libpq shows in it:
    /// `LINE 1: …`, with a caret in the next line.
    fn message(&self, with_command: bool) -> String {
        let mut lines = self.message.iter().map(String::as_str).peekable();
        let mut kept = Vec::new();
        while let Some(line) = lines.next() {
            if !with_command && line.starts_with("LINE ") {
                lines.next_if(|line| line.trim_start() == "^");
            } else {
                kept.push(line);
            }
        }
        kept.join("\n").trim_end().to_owned()
    }
}

/// Whether the plan expects this error of a database (`[[accept]]`).
pub(crate) fn accepted(accepts: &[Accept], database: &str, object: &str) -> bool {
    accepts
        .iter()
        .any(|accept| accept.database == database && accept.object.is_match(object))
}

fn errors_ignored(warning: &str) -> Option<u64> {
    let count = warning.strip_prefix("errors ignored on restore: ")?;
    count.trim().parse().ok()
}

#[cfg(test)]
mod tests;
