//! The steps of every database, one after the other: what each needs, claims and calls.

use std::sync::{Arc, LazyLock};

use super::budget::{self, Share};
use super::command::{self, Content, DumpCommand};
use super::delay::{self, DelayedTable, Delays};
use super::input::Input;
use super::{
    Amounts, PerSnapshot, PerStep, Resource, SharedSnapshot, SnapshotIndex, Step, StepIndex,
    compression,
};
use crate::catalog::{Contents, Database, Inspection};
use crate::finding::Finding;
use crate::names::{Kind, RelationKind, StepId, TableName};
use crate::plan::{Compression, DelaySnapshot, Plan, VerifyMode};
use crate::postgres::conninfo;
use crate::preflight;

/// `inspect` looks into every database that migrates; one it could not look into has a finding instead.
pub(super) fn contents(database: &Database) -> &Contents {
    static NOTHING: LazyLock<Contents> = LazyLock::new(Contents::default);
    database.contents.as_ref().unwrap_or(&NOTHING)
}

/// Tables whose data is dumped.
fn with_data(contents: &Contents) -> u32 {
    let relations = contents.relations.iter().filter(|relation| {
        matches!(
            relation.kind,
            RelationKind::Table | RelationKind::MaterializedView
        )
    });
    relations.count() as u32
}

/// What can be dumped at a time: tables with data, and large objects.
fn dump_items(contents: &Contents) -> u32 {
    with_data(contents) + u32::from(contents.large_objects > 0)
}

/// Jobs of a database's restore. One more than there are items would cost a connection and do nothing.
fn restore_jobs(plan: &Plan, database: &Database, share: &Share) -> u32 {
    let contents = contents(database);
    let wanted = plan.options(&database.name).restore_jobs;
    wanted
        .min(share.restore_jobs)
        .min(dump_items(contents) + contents.indexes)
        .max(1)
}

/// The most restore jobs, and with them index builds, that can be at work at a time.
pub(super) fn restore_jobs_at_a_time(plan: &Plan, databases: &[&Database], share: &Share) -> u32 {
    let mut jobs: Vec<u32> = databases
        .iter()
        .map(|database| restore_jobs(plan, database, share))
        .collect();
    jobs.sort_unstable_by(|a, b| b.cmp(a));
    jobs.iter().take(share.restore_parallel as usize).sum()
}

pub(super) struct Builder<'a> {
    pub(super) input: &'a Input<'a>,
    pub(super) share: Share,
    pub(super) index_memory: budget::IndexMemory,
    pub(super) delays: Delays<'a>,
    /// Of each database in order, sorted.
    pub(super) delayed: Vec<Vec<TableName>>,
    pub(super) steps: PerStep<Step>,
    pub(super) snapshots: PerSnapshot<SharedSnapshot>,
    pub(super) findings: Vec<Finding>,
}

impl Builder<'_> {
    pub(super) fn build(&mut self, databases: &[&Database]) {
        let globals = self.input.plan.globals.then(|| self.globals());
        let names: Vec<Arc<str>> = databases
            .iter()
            .map(|database| Arc::from(database.name.as_str()))
            .collect();
        // All at the beginning: a locale that the target lacks shows before hours of dumping.
        let creates: Vec<StepIndex> = names
            .iter()
            .map(|name| {
                let claims = Amounts::new(&[(Resource::TargetConnections, 1)]);
                self.push(
                    StepId::database(name, Kind::Create),
                    globals.iter().copied().collect(),
                    claims,
                )
            })
            .collect();
        for ((database, name), create) in databases.iter().zip(&names).zip(creates) {
            self.findings.extend(preflight::for_database(
                self.input.plan,
                database,
                self.input.inspection,
                self.input.created,
            ));
            self.database(database, name, create);
        }
    }

    fn push(&mut self, id: StepId, needs: Vec<StepIndex>, claims: Amounts) -> StepIndex {
        let rank = self.steps.len() as u32;
        self.steps.push(Step {
            needs,
            claims,
            finally: id.kind.traits().runs_finally,
            id,
            snapshot: None,
            command: Vec::new(),
            jobs: 1,
            rank,
        })
    }

    fn globals(&mut self) -> StepIndex {
        let claims = Amounts::new(&[
            (Resource::SourceConnections, 1),
            (Resource::TargetConnections, 1),
        ]);
        let index = self.push(StepId::server(Kind::Globals), Vec::new(), claims);
        let source = self.input.source;
        self.steps[index].command = command::globals(
            &conninfo(source, &source.database),
            &source.database,
            self.input.inspection.source.reads_passwords,
        );
        index
    }

    pub(super) fn tune_target(&mut self) -> StepIndex {
        let claims = Amounts::new(&[(Resource::TargetConnections, 1)]);
        self.push(StepId::server(Kind::TuneTarget), Vec::new(), claims)
    }

    /// What changes the target waits until it is tuned. A run that goes on has no other step before it.
    pub(super) fn await_tuning(&mut self, tune: StepIndex) {
        for step in self.steps.iter_mut() {
            if step.id.kind.loads() {
                step.needs.insert(0, tune);
            }
        }
    }

    /// The last step, whatever happened to the others.
    pub(super) fn restore_settings(&mut self) {
        let claims = Amounts::new(&[(Resource::TargetConnections, 1)]);
        let all = self.steps.positions().collect();
        self.push(StepId::server(Kind::RestoreSettings), all, claims);
    }

    /// What a database may have of each server, whose connections to it may be limited (CONNECTION LIMIT). `is_open`: on the
    /// target it has the limit of the source by then.
    fn share_of(&self, database: &Database, is_open: bool) -> Share {
        let Inspection { source, target, .. } = self.input.inspection;
        let existing = target.database(&database.name);
        let existing = existing.and_then(|existing| existing.connections_left(target));
        let set = u32::try_from(database.connection_limit).ok();
        let set = set.filter(|_| is_open && !target.is_superuser);
        let on_target = existing.into_iter().chain(set).min();
        self.share
            .within(database.connections_left(source), on_target)
    }

    /// The regular phase of one database.
    fn database(&mut self, database: &Database, name: &Arc<str>, create: StepIndex) {
        let plan = self.input.plan;
        let client = &self.input.inspection.client;
        let contents = contents(database);
        let options = plan.options(name);
        let archive = command::archive(plan, name);
        let dumped = self.input.dumped.get(&database.name);
        let delayed = self.delays.for_database(database, contents, dumped);

        let with_data = with_data(contents);
        let share = self.share_of(database, false);
        // A job more than there are items would cost a connection and do nothing.
        let dump_jobs = options
            .dump_jobs
            .min(share.dump_jobs)
            .min(dump_items(contents))
            .max(1);
        let restore_jobs = restore_jobs(plan, database, &share);
        let queries = |counted: u32| share.count_queries.min(counted).max(1);
        // Estimates are one query a side; the delayed tables' rows are counted all the same, and in the regular
        // phase where both dumps share a snapshot.
        let (source_queries, target_queries) = match plan.verify {
            VerifyMode::Fast => {
                let late = queries(delayed.len() as u32);
                match plan.delay.snapshot {
                    DelaySnapshot::Same => (late, late),
                    DelaySnapshot::Later => (1, late),
                }
            }
            VerifyMode::Exact | VerifyMode::Checksum => (queries(with_data), queries(with_data)),
        };
        let source = &self.input.inspection.source;
        if let Some(left) = database.connections_left(source) {
            let jobs = options.dump_jobs.min(self.share.dump_jobs);
            let jobs = jobs.min(dump_items(contents)).max(1);
            let queries = self.share.count_queries.min(with_data).max(1);
            let wanted = 1 + budget::connections_of(jobs) + queries;
            let least = budget::LEAST_PER_SOURCE_DATABASE;
            self.findings
                .extend(preflight::for_database_limit(database, left, wanted, least));
        }
        let compression = compression::available(&options.compression, client);
        self.findings.extend(preflight::for_compression(
            &options.compression,
            options.compression_is_explicit,
            &compression,
            client,
        ));

        let dump = self.push(
            StepId::database(name, Kind::Dump),
            vec![create],
            Amounts::new(&[
                (
                    Resource::SourceConnections,
                    budget::connections_of(dump_jobs),
                ),
                (Resource::SourceDatabases, 1),
            ]),
        );
        self.steps[dump].jobs = dump_jobs;
        self.steps[dump].command = DumpCommand {
            conninfo: &conninfo(self.input.source, name),
            archive: &archive,
            jobs: dump_jobs,
            compression: &compression,
            client: client.version,
            target: self.input.inspection.target.version,
            lock_timeout: plan.source_lock_timeout,
            is_standby: self.input.inspection.source.in_recovery,
            encoding: &database.encoding,
            content: Content::Regular(&delayed),
        }
        .render();
        let count_claims = |connections, queries| {
            Amounts::new(&[(connections, queries), (Resource::VerifyQueries, queries)])
        };
        let source_counts = self.push(
            StepId::database(name, Kind::SourceCounts),
            vec![create],
            count_claims(Resource::SourceConnections, source_queries),
        );
        self.steps[source_counts].jobs = source_queries;
        // Both read under one snapshot, which lives on a connection of its own.
        let snapshot = self.snapshots.push(SharedSnapshot {
            id: format!("{name}/snapshot"),
            claims: Amounts::new(&[(Resource::SourceConnections, 1)]),
            steps: vec![dump, source_counts],
        });
        self.steps[dump].snapshot = Some(snapshot);
        self.steps[source_counts].snapshot = Some(snapshot);

        // It needs the counts too: should the snapshot be lost before they are done, both are redone,
        // and nothing of the older one is on the target yet.
        let restore = self.push(
            StepId::database(name, Kind::Restore),
            vec![create, dump, source_counts],
            Amounts::new(&[
                (
                    Resource::TargetConnections,
                    budget::connections_of(restore_jobs),
                ),
                (Resource::TargetDatabases, 1),
            ]),
        );
        self.steps[restore].jobs = restore_jobs;
        let mut placed = contents.placed.iter();
        let chooses_tablespaces = placed.any(|placed| plan.tablespaces.chooses(&placed.tablespace));
        self.steps[restore].command = command::restore(
            &conninfo(self.input.target, name),
            &archive,
            restore_jobs,
            chooses_tablespaces,
        );
        let target_counts = self.push(
            StepId::database(name, Kind::TargetCounts),
            vec![restore],
            count_claims(Resource::TargetConnections, target_queries),
        );
        self.steps[target_counts].jobs = target_queries;
        let verify = self.push(
            StepId::database(name, Kind::Verify),
            vec![source_counts, target_counts],
            // For the settings that would have disturbed the load.
            Amounts::new(&[(Resource::TargetConnections, 1)]),
        );
        let mut names: Vec<TableName> = delayed.iter().map(|table| table.name.clone()).collect();
        names.sort_unstable();
        self.delayed.push(names);
        if !delayed.is_empty() {
            let is_later = plan.delay.snapshot == DelaySnapshot::Later && !plan.source_read_only;
            self.findings.extend(preflight::for_delayed_tables(
                plan,
                name,
                contents,
                delayed.iter().map(|table| &table.name),
                is_later,
                &self.input.inspection.target,
            ));
            if is_later {
                let split = delay::split(contents, &delayed);
                self.findings
                    .push(preflight::for_later_snapshot(name, &split));
            }
            let regular = Regular {
                dump,
                verify,
                snapshot,
                compression,
            };
            self.delayed(database, name, &delayed, &regular);
        }
    }

    /// The delayed phase of one database. Its dump shares the regular dump's snapshot where the plan says so,
    /// and then follows it at once, so that the snapshot holds back vacuum no longer than it must.
    fn delayed(
        &mut self,
        database: &Database,
        name: &Arc<str>,
        tables: &[DelayedTable],
        regular: &Regular,
    ) {
        let plan = self.input.plan;
        let options = plan.options(name);
        let share = self.share_of(database, true);
        let count = u32::try_from(tables.len()).unwrap_or(u32::MAX);
        let dump_jobs = options.dump_jobs.min(share.dump_jobs).min(count);
        let same = plan.delay.snapshot == DelaySnapshot::Same;
        // A later snapshot is counted under as well, by the dump's own step.
        let counting = if same {
            0
        } else {
            share.count_queries.min(count)
        };
        let dump = self.push(
            StepId::database(name, Kind::DelayedDump),
            vec![if same { regular.dump } else { regular.verify }],
            Amounts::new(&[
                (
                    Resource::SourceConnections,
                    budget::connections_of(dump_jobs) + counting,
                ),
                (Resource::SourceDatabases, 1),
                (Resource::VerifyQueries, counting),
            ]),
        );
        let client = &self.input.inspection.client;
        let step = &mut self.steps[dump];
        step.jobs = dump_jobs;
        step.command = DumpCommand {
            conninfo: &conninfo(self.input.source, name),
            archive: &command::delayed_archive(plan, name),
            jobs: dump_jobs,
            compression: &regular.compression,
            client: client.version,
            target: self.input.inspection.target.version,
            lock_timeout: plan.source_lock_timeout,
            is_standby: self.input.inspection.source.in_recovery,
            encoding: &database.encoding,
            content: Content::Delayed(tables),
        }
        .render();
        step.snapshot = Some(if same {
            self.snapshots[regular.snapshot].steps.push(dump);
            regular.snapshot
        } else {
            self.snapshots.push(SharedSnapshot {
                id: format!("{name}/delayed-snapshot"),
                claims: Amounts::new(&[(Resource::SourceConnections, 1)]),
                steps: vec![dump],
            })
        });

        let one = Amounts::new(&[(Resource::TargetConnections, 1)]);
        let drop = self.push(
            StepId::database(name, Kind::DropIndexes),
            // Until there is something to load, clients have their indexes.
            vec![regular.verify, dump],
            one,
        );
        let load_jobs = options.restore_jobs.min(share.restore_jobs).min(count);
        let load = self.push(
            StepId::database(name, Kind::DelayedRestore),
            vec![dump, drop],
            Amounts::new(&[
                (Resource::TargetConnections, load_jobs),
                (Resource::TargetDatabases, 1),
            ]),
        );
        self.steps[load].jobs = load_jobs;

        let memory = self.index_memory;
        let builds = options
            .restore_jobs
            .min(share.restore_jobs)
            .min(memory.builds())
            .max(1);
        let recreate = self.push(
            StepId::database(name, Kind::RecreateIndexes),
            vec![load],
            Amounts::new(&[
                (Resource::TargetConnections, builds),
                (Resource::TargetDatabases, 1),
                (Resource::IndexMemory, builds * memory.per_build_mb),
            ]),
        );
        self.steps[recreate].jobs = builds;
        let queries = share.count_queries.min(count).max(1);
        let verify = self.push(
            StepId::database(name, Kind::DelayedVerify),
            vec![recreate],
            Amounts::new(&[
                (Resource::TargetConnections, queries),
                (Resource::VerifyQueries, queries),
            ]),
        );
        self.steps[verify].jobs = queries;
    }
}

/// What the delayed phase of a database takes over from the regular one.
struct Regular {
    dump: StepIndex,
    verify: StepIndex,
    snapshot: SnapshotIndex,
    compression: Compression,
}
