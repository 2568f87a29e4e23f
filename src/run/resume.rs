//! Which steps are done, by the journal. A pure function of the record: one function for each rule, with the reason that
//! the user reads.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use indexmap::IndexMap;

use super::archives::restored_by;
use crate::graph::{DatabaseSummary, Graph, SharedSnapshot, StepIndex};
use crate::journal::{State, Status};
use crate::names::{Kind, Output, Phase, Product, StepId, TableName, list_of_tables};
use crate::plan::VerifyMode;

/// What a run takes over from the runs before it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Resume {
    /// Steps that are done.
    pub done: Vec<StepIndex>,
    /// Steps that are on record and have to be done again, with the reason.
    pub forgotten: Vec<(StepId, &'static str)>,
    /// What was done cannot be combined with the plan as it is now, and must not be done again without being
    /// asked for. Nothing may start.
    pub conflicts: Vec<String>,
}

/// What of the plan decides, beside its graph.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct ResumePolicy {
    pub source_is_read_only: bool,
    pub verify: VerifyMode,
}

/// Works out what is done. `why_lost` tells whether what was restored of a database does not count, as long as it is not verified:
/// one of the reasons below; `archive_is_whole` whether the archive of a dump, which is still to be restored, is as it was written.
///
/// A start without an end is not done. What else is not, the rules below say.
pub(crate) fn resume(
    graph: &Graph,
    state: &State,
    policy: ResumePolicy,
    why_lost: impl Fn(&str) -> Option<&'static str>,
    archive_is_whole: impl Fn(&StepId) -> bool,
) -> Resume {
    let mut record = Record::new(graph, state);
    for database in &graph.databases {
        let name: Arc<str> = database.name.as_str().into();
        record.redo_what_0_1_0_left(&name);
        record.redo_other_delayed_tables(&name, database);
        let lost = why_lost(&name).filter(|_| record.is_unverified(&name));
        if let Some(reason) = lost {
            record.restore_again(&name, reason);
        } else {
            record.redo_unfinished_restore(&name);
            record.count_again_before_verifying(&name);
        }
        record.restored.insert(
            Arc::clone(&name),
            record.all_done(&name, Kind::Restore) && lost.is_none(),
        );
    }
    for snapshot in graph.snapshots.iter() {
        record.redo_other_counts(snapshot, policy);
        record.redo_missing_archives(snapshot, &archive_is_whole);
        record.redo_lost_snapshot(snapshot, policy);
    }
    for database in &graph.databases {
        record.redo_older_delayed_dump(&database.name.as_str().into());
    }
    record.open_again();
    for database in &graph.databases {
        record.keep_what_is_used(&database.name.as_str().into());
    }
    record.do_every_time();
    record.finish()
}

/// The journal beside the graph, and what the rules found so far.
struct Record<'a> {
    graph: &'a Graph,
    state: &'a State,
    /// Of the graph and the journal, by database and kind: there may be several, and some may be of one side alone.
    steps: HashMap<(Arc<str>, Kind), BTreeSet<&'a StepId>>,
    /// Whether a database is restored, and nothing of that was lost since.
    restored: HashMap<Arc<str>, bool>,
    again: IndexMap<StepId, &'static str>,
    conflicts: Vec<String>,
}

impl<'a> Record<'a> {
    fn new(graph: &'a Graph, state: &'a State) -> Self {
        let mut steps: HashMap<(Arc<str>, Kind), BTreeSet<&StepId>> = HashMap::new();
        let planned = graph.steps.iter().map(|step| &step.id);
        for id in planned.chain(state.steps.keys()) {
            if let Some(database) = id.database_name() {
                let key = (Arc::clone(database), id.kind);
                steps.entry(key).or_default().insert(id);
            }
        }
        Record {
            graph,
            state,
            steps,
            restored: HashMap::new(),
            again: IndexMap::new(),
            conflicts: Vec::new(),
        }
    }

    /// Version 0.1.0 set a database's settings, connection limit and privileges when it verified it, where this one opens
    /// what it has closed; and it took restores for done that were not. Only what it verified is done.
    fn redo_what_0_1_0_left(&mut self, name: &Arc<str>) {
        let by_0_1_0 =
            |id: &StepId| self.state.is_done(id) && self.state.done_by_0_1_0.contains(id);
        let mut steps = Kind::ALL
            .into_iter()
            .flat_map(|kind| self.steps_of(name, kind));
        if self.is_unverified(name) && steps.any(by_0_1_0) {
            for kind in Kind::ALL {
                self.redo_kind(name, kind, "version 0.1.0 began it and did not verify it");
            }
        }
    }

    /// Delayed tables are others than when the database was dumped: what is on the target was made for those. Once it was
    /// verified, clients may write to it, so that is for a person to decide.
    fn redo_other_delayed_tables(&mut self, name: &Arc<str>, database: &DatabaseSummary) {
        let id = StepId::database(name, Kind::Dump);
        let Some(dumped) = self.state.output_of(&id) else {
            return;
        };
        let before = delayed_at_dump(dumped);
        if before.map_or(database.delayed.is_empty(), |before| {
            before == database.delayed
        }) {
            return;
        }
        if self.is_unverified(name) {
            for kind in Kind::ALL {
                self.redo_kind(name, kind, "its delayed tables are others now");
            }
            return;
        }
        let is_loaded =
            before.is_some_and(<[TableName]>::is_empty) || self.all_done(name, Kind::DelayedVerify);
        let mut steps = self.graph.steps.iter().map(|step| &step.id);
        let is_complete = is_loaded
            && before.is_some()
            && steps.all(|id| !id.is_about(name) || self.state.is_done(id));
        if !is_complete {
            let missing: Vec<TableName> = before
                .into_iter()
                .flatten()
                .filter(|table| !database.delayed.contains(table))
                .cloned()
                .collect();
            let gone = if missing.is_empty() || self.all_done(name, Kind::DelayedDump) {
                String::new()
            } else {
                format!(
                    "; if {} was dropped or renamed on the source before its rows were dumped: give it its name back, or \
                     create the database again",
                    list_of_tables(&missing)
                )
            };
            self.conflicts.push(format!(
                "database \"{name}\": its delayed tables were {} when it was dumped, now they are {}{gone}",
                before.map_or("others, which the journal does not tell for sure".to_owned(), list),
                list(&database.delayed)
            ));
        }
    }

    /// A crash of the target took rows that were restored and not verified, or another session the whole database, or the plan puts
    /// it elsewhere.
    fn restore_again(&mut self, name: &Arc<str>, reason: &'static str) {
        for kind in [
            Kind::Create,
            Kind::Restore,
            Kind::TargetCounts,
            Kind::Verify,
        ] {
            self.redo_kind(name, kind, reason);
        }
    }

    /// What a restore that did not end left is in the way of the next one.
    fn redo_unfinished_restore(&mut self, name: &Arc<str>) {
        if self.any_started(name, Kind::Restore) && !self.all_done(name, Kind::Restore) {
            self.redo_kind(name, Kind::Create, "its restore did not end");
        }
    }

    /// What is counted is verified by the same run: the target may have been changed in between, by hand or by a server that
    /// was put back to an older state. Not where others were let in and only the record of it is missing: what is counted would be
    /// its clients'. Where the verification was forgotten, a person wants to know what is there now.
    fn count_again_before_verifying(&mut self, name: &Arc<str>) {
        let verify = StepId::database(name, Kind::Verify);
        let step = self.state.steps.get(&verify);
        let is_difference = step
            .filter(|step| step.status == Status::Failed)
            .is_some_and(|step| step.output.is_a_difference());
        let reason = if is_difference {
            "the target is counted again after a difference"
        } else if step.is_none() || self.state.is_closed(name) && !self.state.is_done(&verify) {
            "the target is counted by the run that verifies it"
        } else {
            return;
        };
        if self.all_done(name, Kind::Restore) {
            self.redo_kind(name, Kind::TargetCounts, reason);
        }
    }

    /// Estimates cannot stand beside counted rows, nor prove anything where the plan says now that rows are counted: then a
    /// database that is restored, and not verified, is dumped again with its counts. Where it says the opposite, that is
    /// compared by the counts that there are.
    fn redo_other_counts(&mut self, snapshot: &SharedSnapshot, policy: ResumePolicy) {
        for id in self.sharers(snapshot) {
            let Some(counted) = self.state.output_of(id) else {
                continue;
            };
            let is_estimated =
                matches!(&counted.product, Product::Counts(counts) if counts.estimated);
            let is_other = is_estimated != (policy.verify == VerifyMode::Fast);
            let Some(name) = id.database_name().filter(|_| is_other) else {
                continue;
            };
            let is_too_little = is_estimated && self.is_unverified(name);
            if id.kind == Kind::SourceCounts && (is_too_little || !self.is_restored(id)) {
                self.redo(id, OTHER_MODE);
                self.redo_kind(name, Kind::TargetCounts, OTHER_MODE);
            }
        }
    }

    /// What is still to be restored is dumped again where its archive is not what was written.
    fn redo_missing_archives(
        &mut self,
        snapshot: &SharedSnapshot,
        is_whole: impl Fn(&StepId) -> bool,
    ) {
        for id in self.sharers(snapshot) {
            let Some(restore) = restored_by(id).filter(|_| self.state.is_done(id)) else {
                continue;
            };
            let is_restored = match restore.kind {
                Kind::Restore => self.is_restored(id),
                _ => self.state.is_done(&restore),
            };
            if is_restored || is_whole(id) {
                continue;
            }
            match self.loaded_of_its_time(id) {
                None => self.redo(id, "its archive is gone or damaged"),
                Some(tables) => self.conflicts.push(format!(
                    "database \"{}\": the archive of its delayed tables is gone or damaged, and of these {tables} was loaded \
                     already; those of a new archive would be of another time (delay.snapshot = \"later\"); put the archive \
                     back where it was",
                    id.database_name().map_or("", |name| name),
                )),
            }
        }
    }

    /// The tables that were loaded from an archive that cannot be made again: its snapshot was its own.
    fn loaded_of_its_time(&self, dump: &StepId) -> Option<String> {
        let output = self.state.output_of(dump)?;
        if !matches!(&output.product, Product::DelayedDump(dump) if dump.is_later()) {
            return None;
        }
        let loads = self.state.loads.get(&**dump.database_name()?)?;
        let loads = loads.iter().filter(|load| load.committed);
        let tables: Vec<TableName> = loads.map(|load| load.table.clone()).collect();
        (!tables.is_empty()).then(|| list_of_tables(&tables))
    }

    /// Steps that share a snapshot are done again together unless all are done under the same, because the snapshot ended
    /// with its run. Where the plan says that no client writes to the source, and said so all along, a new one shows the same.
    ///
    /// Where delayed tables share it and are not dumped yet, that is the whole database. Not once it was verified: clients
    /// may write to it, and the delayed dump finds out whether a new snapshot will do.
    fn redo_lost_snapshot(&mut self, snapshot: &SharedSnapshot, policy: ResumePolicy) {
        let sharers = self.sharers(snapshot);
        let Some(name) = sharers.first().and_then(|id| id.database_name()).cloned() else {
            return;
        };
        let was_read_only = |id: &&StepId| {
            let output = self
                .state
                .output_of(id)
                .filter(|_| !self.again.contains_key(*id));
            output.is_none_or(|output| output.source_was_read_only())
        };
        let is_read_only = policy.source_is_read_only && sharers.iter().all(was_read_only);
        if sharers.len() == 1 || is_read_only {
            return;
        }
        let snapshot_of = |kind| {
            let output = self.state.output_of(&StepId::database(&name, kind));
            output.map(|output| output.snapshot())
        };
        let all_under_one = snapshot_of(Kind::Dump) == snapshot_of(Kind::SourceCounts)
            && sharers
                .iter()
                .all(|id| self.state.is_done(id) && !self.again.contains_key(*id));
        if all_under_one {
            return;
        }
        if !self.restored.get(&name).copied().unwrap_or_default() {
            for id in sharers {
                self.redo(id, "the snapshot that it shared is gone");
            }
        } else if self.is_unverified(&name) {
            for kind in Kind::of_phase(Phase::Regular) {
                self.redo_kind(&name, kind, "the snapshot that its steps shared is gone");
            }
        }
    }

    /// The plan may have said of the delayed tables' snapshot what it does not say now: either way they are not of a time
    /// before the other tables.
    fn redo_older_delayed_dump(&mut self, name: &Arc<str>) {
        let dump = StepId::database(name, Kind::Dump);
        let is_dumped = self.state.is_done(&dump) && !self.again.contains_key(&dump);
        if !is_dumped && self.is_unverified(name) {
            self.redo_kind(
                name,
                Kind::DelayedDump,
                "the dump of the other tables is made again",
            );
        }
    }

    /// What clients may use is not dropped, and made again, by any of these rules.
    fn keep_what_is_used(&mut self, name: &Arc<str>) {
        let create = StepId::database(name, Kind::Create);
        let is_dropped = !self.state.is_done(&create) || self.again.contains_key(&create);
        if is_dropped && self.state.is_to_be_kept(name) {
            self.conflicts.push(format!(
                "database \"{name}\": it was verified, so clients may use it, and would have to be dropped"
            ));
        }
    }

    /// What a run left closed until the settings were restored is opened by its verification, where this plan restores
    /// none.
    fn open_again(&mut self) {
        let mut steps = self.graph.steps.iter();
        if steps.any(|step| step.id.kind == Kind::RestoreSettings) {
            return;
        }
        for name in self.state.verified_and_closed() {
            self.redo_kind(&name.into(), Kind::Verify, "it is still closed to others");
        }
    }

    /// A run that has nothing else to do changes neither the target's settings nor its roles.
    fn do_every_time(&mut self) {
        let has_work = self.graph.steps.iter().any(|step| {
            !step.id.kind.is_tuning()
                && (!self.state.is_done(&step.id) || self.again.contains_key(&step.id))
        });
        if has_work {
            self.redo(
                &StepId::server(Kind::Globals),
                "every run that moves something brings along what changed of roles since",
            );
        }
        if has_work || !self.state.verified_and_closed().is_empty() {
            for kind in Kind::of_phase(Phase::Tuning) {
                self.redo(
                    &StepId::server(kind),
                    "every run that loads tunes the target, and restores its settings",
                );
            }
        }
    }

    fn finish(self) -> Resume {
        let is_done = |id: &StepId| self.state.is_done(id) && !self.again.contains_key(id);
        let done = self
            .graph
            .steps
            .iter_with_positions()
            .filter(|(_, step)| is_done(&step.id))
            .map(|(index, _)| index)
            .collect();
        Resume {
            done,
            forgotten: self.again.into_iter().collect(),
            conflicts: self.conflicts,
        }
    }

    /// The database was not reported as verified yet.
    fn is_unverified(&self, name: &Arc<str>) -> bool {
        !self.state.verified.contains_key(&**name) && !self.all_done(name, Kind::Verify)
    }

    fn is_restored(&self, id: &StepId) -> bool {
        let name = id.database_name();
        name.is_some_and(|name| self.restored.get(name).copied().unwrap_or_default())
    }

    fn sharers(&self, snapshot: &SharedSnapshot) -> Vec<&'a StepId> {
        let graph = self.graph;
        let ids = snapshot.steps.iter().map(|step| &graph.steps[*step].id);
        ids.collect()
    }

    fn status(&self, id: &StepId) -> Option<Status> {
        self.state.steps.get(id).map(|step| step.status)
    }

    fn steps_of(&self, name: &Arc<str>, kind: Kind) -> impl Iterator<Item = &'a StepId> + use<'a> {
        let steps = self.steps.get(&(Arc::clone(name), kind)).cloned();
        steps.into_iter().flatten()
    }

    fn all_done(&self, name: &Arc<str>, kind: Kind) -> bool {
        let mut steps = self.steps_of(name, kind).peekable();
        steps.peek().is_some() && steps.all(|id| self.state.is_done(id))
    }

    fn any_started(&self, name: &Arc<str>, kind: Kind) -> bool {
        self.steps_of(name, kind)
            .any(|id| self.status(id).is_some())
    }

    fn redo_kind(&mut self, name: &Arc<str>, kind: Kind, reason: &'static str) {
        for id in self.steps_of(name, kind) {
            self.redo(id, reason);
        }
    }

    /// The first reason is kept: the others follow from it.
    fn redo(&mut self, id: &StepId, reason: &'static str) {
        if self.state.steps.contains_key(id) {
            self.again.entry(id.clone()).or_insert(reason);
        }
    }
}

/// Another session dropped or renamed it.
pub(super) const GONE: &str = "its database is gone from the target";
pub(super) const EMPTIED: &str = "its unlogged tables were emptied by a crash of the target";
pub(super) const PUT_ELSEWHERE: &str =
    "[tablespaces] puts it, or something in it, elsewhere than when it was created";

const OTHER_MODE: &str = "verify.mode was another when it was counted";

/// The tables that a dump left to the delayed phase. `None`: the journal does not tell for sure.
fn delayed_at_dump(dumped: &Output) -> Option<&[TableName]> {
    match &dumped.product {
        Product::Dump(regular) => Some(&regular.delayed),
        _ => None,
    }
}

fn list(tables: &[TableName]) -> String {
    format!("[{}]", list_of_tables(tables))
}

#[cfg(test)]
#[path = "resume_tests.rs"]
mod tests;
