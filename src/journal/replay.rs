//! Replay: records become a [`State`], through legal transitions only.

use std::collections::{HashMap, HashSet, hash_map};
use std::sync::Arc;

use serde::Deserialize;

use super::record::{Change, Entry, NOTHING, RESET, Record, Unread, VERSION};
use super::state::{
    Created, HeldSnapshot, RoleState, RunState, State, Status, StepState, TunedSetting,
};
use crate::names::{Kind, Output, OutputV1, StepId};

/// A record that cannot follow those before it, or that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Illegal {
    #[error("it is not a record: {0}")]
    Unreadable(String),
    #[error("it was written by a newer pg-migrate (format {0}, this program knows {VERSION})")]
    Newer(u32),
    #[error("{step} {what}")]
    Transition { step: String, what: &'static str },
    #[error("it stands before the first run")]
    BeforeRun,
}

/// A journal's text, replayed.
#[derive(Debug, Default)]
pub struct Replay {
    pub state: State,
    pub records: u64,
    /// Bytes up to the end of the last whole record. What follows was torn by a crash.
    pub whole: u64,
}

/// The line of a journal that is damaged.
#[derive(Debug, PartialEq, Eq)]
pub struct DamagedLine {
    /// 1 for the first.
    pub line: u64,
    pub why: Illegal,
}

/// Replays a journal. A last line that is torn is left out; any other damage is an error. Of an output that a
/// later start or end of its step replaced, it is looked at no more than that it is JSON.
///
/// # Errors
///
/// The first line that is not a record, was written by a newer program or cannot follow those before it.
pub fn replay(text: &[u8]) -> Result<Replay, DamagedLine> {
    let mut replay = Replay::default();
    let mut ends: Vec<End<'_>> = Vec::new();
    let mut rest = text;
    while let Some(end) = memchr::memchr(b'\n', rest) {
        let (line, after) = (&rest[..end], &rest[end + 1..]);
        let number = replay.records + 1;
        let damaged = |why| DamagedLine { line: number, why };
        match read_record::<Unread>(line) {
            Ok(record) => {
                if let Entry::StepDone { step, .. } | Entry::StepFailed { step, .. } = &record.entry
                {
                    ends.push(End {
                        step: step.clone(),
                        version: record.v,
                        number,
                        line,
                    });
                }
                replay.state.apply(record).map_err(damaged)?;
            }
            // The last line may be torn in a way that still ends it: a file system that had grown the file
            // but not written the block.
            Err(Illegal::Unreadable(_)) if after.is_empty() => break,
            Err(why) => return Err(damaged(why)),
        }
        replay.records = number;
        replay.whole += end as u64 + 1;
        rest = after;
    }
    replay.state.read_outputs(&ends)?;
    Ok(replay)
}

/// The line of a journal that says that a step is done or failed.
struct End<'a> {
    step: StepId,
    version: u32,
    /// 1 for the first line.
    number: u64,
    line: &'a [u8],
}

impl End<'_> {
    fn read<O: for<'de> Deserialize<'de> + Default>(&self) -> Result<O, DamagedLine> {
        let record: Record<O> = read_record(self.line).map_err(|why| DamagedLine {
            line: self.number,
            why,
        })?;
        Ok(match record.entry {
            Entry::StepDone { output, .. } | Entry::StepFailed { output, .. } => output,
            _ => O::default(),
        })
    }
}

/// Whether a line is a record with all its parts, by the format that it was written in.
pub fn is_record(line: &[u8]) -> bool {
    match read_record::<Unread>(line) {
        Ok(record) if record.v == 1 => read_record::<OutputV1>(line).is_ok(),
        Ok(_) => read_record::<Output>(line).is_ok(),
        Err(_) => false,
    }
}

fn read_record<'a, O: Deserialize<'a>>(line: &'a [u8]) -> Result<Record<O>, Illegal> {
    // At once: otherwise it is asked of every string in it.
    let line = std::str::from_utf8(line).map_err(|error| Illegal::Unreadable(error.to_string()))?;
    serde_json::from_str(line).map_err(|error| {
        /// What a record of any version has.
        #[derive(Deserialize)]
        struct AnyVersion {
            v: u32,
        }
        match serde_json::from_str::<AnyVersion>(line) {
            Ok(any) if any.v > VERSION => Illegal::Newer(any.v),
            _ => {
                // The line that serde counts is the only one that it sees.
                let said = error.to_string();
                let what = said.split(" at line ").next().unwrap_or_default();
                Illegal::Unreadable(format!("{what}, at column {}", error.column()))
            }
        }
    })
}

impl State {
    /// Reads the outputs of the steps that are done or failed from the lines that say so, of which the last counts.
    fn read_outputs(&mut self, ends: &[End<'_>]) -> Result<(), DamagedLine> {
        let mut unread: HashMap<&StepId, &mut Arc<Output>> = self
            .steps
            .iter_mut()
            .filter(|(_, step)| matches!(step.status, Status::Done | Status::Failed))
            .map(|(id, step)| (id, &mut step.output))
            .collect();
        for end in ends.iter().rev() {
            if unread.is_empty() {
                break;
            }
            let Some(output) = unread.remove(&end.step) else {
                continue;
            };
            let read = match end.version {
                1 => end
                    .read::<OutputV1>()
                    .map(|old| old.into_output(end.step.kind)),
                _ => end.read::<Output>(),
            };
            *output = Arc::new(read?);
        }
        Ok(())
    }

    /// Takes a record in.
    ///
    /// # Errors
    ///
    /// A record that cannot follow those before it; the state is as it was.
    pub fn apply<O: Into<Arc<Output>>>(&mut self, record: Record<O>) -> Result<(), Illegal> {
        if record.v > VERSION {
            return Err(Illegal::Newer(record.v));
        }
        if self.runs.is_empty() && !matches!(record.entry, Entry::RunStarted { .. }) {
            return Err(Illegal::BeforeRun);
        }
        match record.entry {
            Entry::RunStarted {
                fingerprint,
                source,
                target,
                findings,
                databases,
                ..
            } => {
                self.advance(record.at);
                // Their run is dead, or it would hold the lock.
                for step in self.steps.values_mut() {
                    if step.status == Status::Started {
                        step.status = Status::Interrupted;
                    }
                }
                self.snapshots.clear();
                self.runs.push(RunState {
                    started: record.at,
                    fingerprint,
                    source,
                    target,
                    findings,
                    databases,
                    warnings: Vec::new(),
                    is_reset: false,
                    ended: None,
                });
            }
            Entry::StepStarted { step, attempt } => {
                if step.kind == Kind::DelayedDump {
                    self.loads_are_from_an_earlier_archive(&step);
                }
                let entry = self.steps.entry(step);
                if let hash_map::Entry::Occupied(known) = &entry {
                    let what = match known.get().status {
                        Status::Started => Some("starts while it is under way"),
                        Status::Done => Some("starts although it is done"),
                        Status::Failed | Status::Interrupted => None,
                    };
                    if let Some(what) = what {
                        return Err(illegal(known.key(), what));
                    }
                }
                entry.insert_entry(StepState {
                    status: Status::Started,
                    attempt,
                    run: self.runs.len() - 1,
                    started: record.at,
                    seconds: None,
                    error: None,
                    output: Arc::clone(&NOTHING),
                });
            }
            Entry::StepDone {
                step,
                attempt,
                seconds,
                output,
                seen,
                marked,
            } => {
                self.confirmed = self.confirmed.max(marked.unwrap_or_default());
                let is_old = record.v < VERSION;
                let state = self.under_way(&step, attempt)?;
                state.status = Status::Done;
                state.seconds = Some(seconds);
                state.output = output.into();
                self.seen.update(&seen);
                if let (true, Some(database)) = (step.kind.traits().compares, step.database_name())
                {
                    self.differences.remove(database.as_ref());
                }
                if let (Kind::Verify, Some(database)) = (step.kind, step.database_name()) {
                    // A version that did not write down how much had been written opened it all the same.
                    if !self.verified.contains_key(database.as_ref()) {
                        self.verified.insert(database.to_string(), None);
                    }
                }
                if is_old {
                    self.done_by_0_1_0.insert(step);
                } else if !self.done_by_0_1_0.is_empty() {
                    self.done_by_0_1_0.remove(&step);
                }
            }
            Entry::StepFailed {
                step,
                attempt,
                seconds,
                error,
                output,
            } => {
                let state = self.under_way(&step, attempt)?;
                state.status = Status::Failed;
                state.seconds = Some(seconds);
                state.error = Some(error);
                state.output = output.into();
            }
            Entry::StepInterrupted { step, attempt } => {
                self.under_way(&step, attempt)?.status = Status::Interrupted;
            }
            Entry::Change { change } => {
                if change.is_marked() {
                    self.advance(record.at);
                    self.number(&change);
                }
                self.change(*change, record.at);
            }
            Entry::Warning { database, message } => {
                if let Some(run) = self.runs.last_mut() {
                    run.warnings.push((database, message));
                }
            }
            Entry::Forgotten {
                steps,
                reason,
                drop,
            } => {
                for step in &steps {
                    if self.steps.get(step).map(|state| state.status) == Some(Status::Started) {
                        return Err(illegal(step, "is forgotten while it is under way"));
                    }
                }
                for step in &steps {
                    self.steps.remove(step);
                    // It is dumped again, with what was written until then.
                    if step.kind == Kind::Dump
                        && let Some(database) = step.database_name()
                    {
                        self.source_written.remove(&**database);
                    }
                }
                self.may_drop.extend(drop);
                if let Some(run) = self.runs.last_mut().filter(|_| reason == RESET) {
                    run.is_reset = true;
                }
            }
            Entry::ServersSeen { seen } => self.seen.update(&seen),
            Entry::SourceWritten { database, written } => {
                self.source_written.insert(database, written);
            }
            Entry::RunEnded { outcome, exit_code } => {
                if let Some(run) = self.runs.last_mut() {
                    run.ended = Some((record.at, outcome, exit_code));
                }
                self.snapshots.clear();
            }
        }
        Ok(())
    }

    /// Takes in which database a marked change is about.
    fn number(&mut self, change: &Change) {
        let number = self.position().map_or(0, |last| last.number);
        let Some(database) = change.database() else {
            return;
        };
        let numbers = self.numbers.entry(database.to_owned()).or_default();
        numbers.last = number;
        if matches!(
            change,
            Change::CreatedDatabase { .. }
                | Change::FillDatabase { .. }
                | Change::RemakeDatabase { .. }
        ) {
            numbers.made = number;
        }
    }

    fn change(&mut self, change: Change, at: jiff::Timestamp) {
        match change {
            Change::CreateDatabase { database } => {
                // What was in one of this name before is gone.
                self.dropped_indexes.remove(&database);
                self.loads.remove(&database);
                self.before_move.remove(&database);
                self.verified.remove(&database);
                self.left.remove(&database);
                self.restored.remove(&database);
                self.filled.remove(&database);
                self.regular.remove(&database);
                self.differences.remove(&database);
                self.asked.remove(&database);
                self.may_drop.remove(&database);
                self.shut.remove(&database);
                self.created.insert(database, Created::Begun);
            }
            Change::CreatedDatabase { database, oid } => {
                self.created.insert(database, Created::WithOid(oid));
            }
            Change::CloseDatabase {
                database,
                source,
                tablespaces,
            } => {
                self.placed.insert(database.clone(), tablespaces);
                self.made_from.insert(database.clone(), source);
                self.refused.remove(&database);
                self.let_in.remove(&database);
                self.closed.insert(database);
            }
            Change::ShutDatabase { database } => {
                self.shut.insert(database);
            }
            Change::ReopenDatabase { database } => {
                self.shut.remove(&database);
            }
            Change::MarkWritten {
                database, written, ..
            } => {
                match &written {
                    // What is open is its clients', also where it is verified again.
                    _ if !self.closed.contains(&database) => None,
                    Some(written) => self.restored.insert(database.clone(), written.clone()),
                    None => self.restored.remove(&database),
                };
                // What clients wrote since it was verified first counts.
                self.verified.entry(database).or_insert(written);
            }
            Change::RestoredDatabase {
                database,
                written,
                filled,
            } => {
                if let Some(filled) = filled {
                    self.filled.entry(database.clone()).or_insert(filled);
                }
                self.restored.insert(database, written);
            }
            Change::LeaveDatabase { database, written } => {
                // What was written since its restore is compared all the same, unless a person was told to change something.
                if self.asked.contains_key(&database) {
                    self.restored.remove(&database);
                }
                self.left.entry(database).or_insert(written);
            }
            Change::MarkRegular { database, written } => {
                self.regular.insert(database, written);
            }
            Change::FindDifference { database, tables } => {
                self.differences.entry(database).or_default().extend(tables);
            }
            Change::AskForCorrection { database, tables } => {
                self.asked.entry(database).or_default().extend(tables);
            }
            Change::LetInDatabase { database, opening } => {
                self.refused
                    .insert(database.clone(), opening.refused.clone());
                self.let_in.insert(database, opening);
            }
            Change::StayClosed { database } => {
                self.refused.remove(&database);
                self.let_in.remove(&database);
            }
            Change::OpenDatabase { database, waived } => {
                if waived {
                    self.differences.remove(&database);
                }
                self.restored.remove(&database);
                self.regular.remove(&database);
                self.let_in.remove(&database);
                self.closed.remove(&database);
            }
            Change::FillDatabase { database, oid, own } => {
                self.dropped_indexes.remove(&database);
                self.loads.remove(&database);
                self.before_move.remove(&database);
                self.verified.remove(&database);
                self.left.remove(&database);
                self.restored.remove(&database);
                self.filled.remove(&database);
                self.regular.remove(&database);
                self.differences.remove(&database);
                self.asked.remove(&database);
                self.may_drop.remove(&database);
                self.shut.remove(&database);
                self.remade.remove(&database);
                self.found.insert(database.clone(), own);
                self.created.insert(database, Created::Found(oid));
            }
            Change::RemakeDatabase {
                database,
                oid,
                statements,
            } => {
                self.filled.remove(&database);
                self.remade.insert(database.clone(), statements);
                self.created.insert(database, Created::WithOid(oid));
            }
            Change::DropIndexes { database, indexes } => {
                self.written_by_us(&database);
                let known = self.dropped_indexes.entry(database).or_default();
                // One that is there again is not the one that was dropped: a client may have made it since.
                known.retain(|known| {
                    let mut now = indexes.iter();
                    !now.any(|now| (&now.schema, &now.name) == (&known.schema, &known.name))
                });
                known.extend(indexes);
            }
            Change::MoveSequences { database, found } => {
                self.written_by_us(&database);
                self.before_move.insert(database, found);
            }
            Change::CommitLoad { database, load } => {
                self.written_by_us(&database);
                self.loads.entry(database).or_default().push(load);
            }
            Change::LoadCommitted { database, load } => {
                let mut known = self.loads.get_mut(&database).into_iter().flatten();
                if let Some(known) = known.find(|known| **known == load) {
                    known.committed = true;
                }
            }
            Change::HoldSnapshot { database, snapshot } => {
                let held = HeldSnapshot {
                    id: snapshot,
                    taken: at,
                };
                self.snapshots.insert(database, held);
            }
            Change::EndSnapshot { database } => {
                self.snapshots.remove(&database);
            }
            Change::AlterSystem { settings, since } => {
                for setting in settings {
                    let tuned = self.tuned.entry(setting.name.clone());
                    // What was recorded first wins: later, the file holds what we wrote.
                    let tuned = tuned.or_insert_with(|| TunedSetting {
                        before: setting.before.clone(),
                        since: since.clone(),
                        ..TunedSetting::default()
                    });
                    tuned.values.insert(setting.value.clone());
                }
            }
            Change::MigrateRoles { subjects } => {
                for (subject, source) in subjects {
                    let begun = Some(self.runs.len());
                    let role = self.roles.entry(subject).or_default();
                    *role = RoleState {
                        source,
                        after: role.after.take(),
                        begun,
                    };
                }
            }
            Change::MigratedRoles { subjects } => {
                for (subject, after) in subjects {
                    if let Some(role) = self.roles.get_mut(&subject) {
                        role.after = Some(after);
                        role.begun = None;
                    }
                }
            }
            Change::CreateRoles { roles } => {
                let begun = roles.into_iter().map(|role| (role, None));
                self.created_roles.extend(begun);
            }
            Change::CreatedRoles { roles } => {
                let made = roles.into_iter().map(|(role, oid)| (role, Some(oid)));
                self.created_roles.extend(made);
            }
            Change::DropDatabase { .. } | Change::DropRole { .. } => {}
            Change::DroppedDatabase { database } => {
                self.forget(std::slice::from_ref(&database), true);
                self.found.remove(&database);
                self.remade.remove(&database);
                self.made_from.remove(&database);
                self.placed.remove(&database);
            }
            Change::DroppedRole { role } => {
                self.created_roles.remove(&role);
                self.roles.remove(&format!("role \"{role}\""));
            }
            Change::DoubtDatabases {
                databases,
                disowned,
            } => {
                self.doubt(&databases, disowned);
            }
            Change::StepKept { .. } => {}
            Change::SettingsRestored { settings, damage } => {
                self.damage = self.damage.take().or(damage);
                for name in settings {
                    self.tuned.remove(&name);
                }
            }
        }
    }

    /// Version 0.1.0 did not write down from which archive a load was, and this step makes another.
    fn loads_are_from_an_earlier_archive(&mut self, dump: &StepId) {
        let loads = dump
            .database_name()
            .and_then(|name| self.loads.get_mut(&**name));
        for load in loads.into_iter().flatten() {
            load.archive.get_or_insert_default();
        }
    }

    /// The target is not as it was: of what was done to these databases nothing is believed, nor of what was done to roles and
    /// tablespaces, where no verified database is kept that clients use with them.
    pub(crate) fn doubt(&mut self, databases: &[String], disowned: bool) {
        self.forget(databases, disowned);
        if !self.verified.keys().any(|name| self.is_to_be_kept(name)) {
            self.roles.clear();
        }
    }

    /// Of what was done to these databases on the target nothing is known but, unless they are disowned, that they are
    /// ours. What was dumped for one that was verified is gone in most cases.
    fn forget(&mut self, databases: &[String], disowned: bool) {
        let is_meant = |name: &str| databases.iter().any(|database| database == name);
        let verified: HashSet<String> = (self.verified.keys())
            .filter(|name| is_meant(name))
            .cloned()
            .collect();
        self.steps.retain(|step, _| {
            let Some(name) = step.database_name().filter(|name| is_meant(name)) else {
                return true;
            };
            !step.kind.traits().touches_target && !verified.contains(&**name)
        });
        for database in databases {
            self.verified.remove(database);
            self.left.remove(database);
            self.restored.remove(database);
            self.filled.remove(database);
            self.regular.remove(database);
            self.dropped_indexes.remove(database);
            self.loads.remove(database);
            self.before_move.remove(database);
            if disowned {
                self.created.remove(database);
                self.closed.remove(database);
                self.let_in.remove(database);
                self.may_drop.remove(database);
                self.shut.remove(database);
            }
        }
    }

    /// What clients write from now on cannot be told from what this plan writes.
    fn written_by_us(&mut self, database: &str) {
        self.restored.remove(database);
        if let Some(written) = self.verified.get_mut(database) {
            *written = None;
        }
    }

    fn under_way(&mut self, step: &StepId, attempt: u32) -> Result<&mut StepState, Illegal> {
        match self.steps.get_mut(step) {
            Some(state) if state.status == Status::Started && state.attempt == attempt => Ok(state),
            Some(state) if state.status == Status::Started => {
                Err(illegal(step, "ends with another attempt than it started"))
            }
            _ => Err(illegal(step, "ends without a start")),
        }
    }
}

fn illegal(step: &StepId, what: &'static str) -> Illegal {
    Illegal::Transition {
        step: step.to_string(),
        what,
    }
}

#[cfg(test)]
#[path = "replay_tests.rs"]
mod tests;
