//! The compilation: databases become steps, with what each needs and claims.

use std::collections::BTreeSet;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::budget::{self, Share};
use super::command::{self, Content, DumpCommand};
use super::delay::{DelayedTable, Delays};
use super::{
    Amounts, DatabaseSummary, Finding, Graph, Hold, Kind, Resource, ServerSummary, Severity, Step,
    StepId, delay_findings, preflight, selection, tuning,
};
use crate::catalog::{Contents, Database, Inspection, RelationKind};
use crate::plan::{Compression, DelaySnapshot, Endpoint, Plan, Side, VerifyMode};
use crate::postgres::conninfo;

/// Everything a graph is made of.
pub struct Input<'a> {
    pub plan: &'a Plan,
    pub source: &'a Endpoint,
    pub target: &'a Endpoint,
    pub inspection: &'a Inspection,
    /// Databases of the target that this plan created, by its journal.
    pub created: &'a BTreeSet<String>,
    /// Decides which waivers still hold.
    pub today: jiff::civil::Date,
    /// What was found on this machine, beside the servers.
    pub findings: Vec<Finding>,
}

/// Compiles a plan against two servers. The same input yields the same graph, to the byte.
pub fn compile(input: Input<'_>) -> Graph {
    let Inspection { source, target, .. } = input.inspection;
    let plan = input.plan;
    let budget_of = |side, facts| {
        plan.server(side)
            .max_connections
            .unwrap_or_else(|| budget::free_connections(facts))
    };
    let source_budget = budget_of(Side::Source, source);
    let target_budget = budget_of(Side::Target, target);

    let mut findings = input.findings.clone();
    findings.extend(preflight::of_servers(plan, input.inspection));
    let (databases, selection_findings) = selection::select(plan, source);
    findings.extend(selection_findings);
    let count = databases.len() as u32;
    let share = budget::share(&plan.parallelism, count, source_budget, target_budget);
    findings.extend(preflight::of_budgets(plan, input.inspection, &share, count));
    let delayed_builds = match plan.delay.patterns.is_empty() {
        true => 1,
        false => budget::BUILDS_BY_DEFAULT,
    };
    let load = tuning::Load {
        jobs: restore_jobs_at_a_time(plan, &databases, &share).max(delayed_builds),
        others: selection::others(target, &databases, input.created),
    };
    let (tuning, tuning_findings) = tuning::tune(plan, target, &load);
    findings.extend(tuning_findings);
    let maintenance_work_mem = tuning
        .as_ref()
        .and_then(|tuning| tuning.maintenance_work_mem)
        .unwrap_or(target.maintenance_work_mem);
    let index_memory = budget::IndexMemory::of(plan, maintenance_work_mem);

    let mut builder = Builder {
        input: &input,
        share,
        index_memory,
        delays: Delays::new(plan),
        delayed: Vec::with_capacity(databases.len()),
        steps: Vec::with_capacity(databases.len() * 6 + 3),
        holds: Vec::with_capacity(databases.len()),
        findings,
    };
    let tune = tuning.is_some().then(|| builder.tune_target());
    builder.build(&databases);
    if let Some(tune) = tune {
        builder.await_tuning(tune);
        builder.restore_settings();
    }
    let Builder {
        steps,
        holds,
        mut findings,
        delays,
        delayed,
        ..
    } = builder;
    findings.extend(delays.finish());
    preflight::waive(&mut findings, &plan.waive, input.today);
    findings.sort_by(|a, b| {
        let key = |finding: &Finding| {
            (
                finding.severity,
                finding.database.clone(),
                finding.code.clone(),
                finding.object.clone(),
            )
        };
        key(a).cmp(&key(b))
    });
    // Compression and the like are the same finding for every database.
    findings.dedup();

    let mut budgets = budget::budgets(&share, &plan.parallelism, source_budget, target_budget);
    budgets.set(Resource::IndexMemory, index_memory.total_mb);
    let databases = databases
        .iter()
        .zip(delayed)
        .map(|(database, delayed)| DatabaseSummary {
            name: database.name.clone(),
            bytes: database.bytes.unwrap_or(0),
            tables: contents(database).relations.len(),
            delayed,
        })
        .collect();
    let mut graph = Graph {
        name: plan.name.clone(),
        fingerprint: String::new(),
        source: ServerSummary {
            version: source.version,
            budget: source_budget,
        },
        target: ServerSummary {
            version: target.version,
            budget: target_budget,
        },
        databases,
        peaks: peaks(&steps, &holds, &budgets),
        steps,
        holds,
        budgets,
        findings,
        tuning,
        maintenance_work_mem,
    };
    graph.fingerprint = fingerprint(&graph, &input);
    graph
}

/// `inspect` looks into every database that migrates; one it could not look into has a finding instead.
fn contents(database: &Database) -> &Contents {
    static NOTHING: Contents = Contents {
        relations: Vec::new(),
        indexes: 0,
        attached_indexes: Vec::new(),
        hurdles: Vec::new(),
        large_objects: 0,
        user_objects: 0,
        extensions: Vec::new(),
        bytes: 0,
    };
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
fn restore_jobs_at_a_time(plan: &Plan, databases: &[&Database], share: &Share) -> u32 {
    let mut jobs: Vec<u32> = databases
        .iter()
        .map(|database| restore_jobs(plan, database, share))
        .collect();
    jobs.sort_unstable_by(|a, b| b.cmp(a));
    jobs.iter().take(share.restore_parallel as usize).sum()
}

struct Builder<'a> {
    input: &'a Input<'a>,
    share: Share,
    index_memory: budget::IndexMemory,
    delays: Delays<'a>,
    /// Of each database in order, `schema.table`, sorted.
    delayed: Vec<Vec<String>>,
    steps: Vec<Step>,
    holds: Vec<Hold>,
    findings: Vec<Finding>,
}

impl Builder<'_> {
    fn build(&mut self, databases: &[&Database]) {
        let globals = self.input.plan.globals.then(|| self.globals());
        let names: Vec<Arc<str>> = databases
            .iter()
            .map(|database| Arc::from(database.name.as_str()))
            .collect();
        // All at the beginning: a locale that the target lacks shows before hours of dumping.
        let creates: Vec<u32> = names
            .iter()
            .map(|name| {
                let claims = Amounts::new(&[(Resource::TargetConnections, 1)]);
                self.push(
                    StepId::of(name, Kind::Create),
                    globals.iter().copied().collect(),
                    claims,
                )
            })
            .collect();
        for ((database, name), create) in databases.iter().zip(&names).zip(creates) {
            self.findings.extend(preflight::of_database(
                database,
                &self.input.inspection.target,
                self.input.created,
            ));
            self.database(database, name, create);
        }
    }

    fn push(&mut self, id: StepId, needs: Vec<u32>, claims: Amounts) -> u32 {
        let index = self.steps.len() as u32;
        self.steps.push(Step {
            id,
            needs,
            claims,
            finally: false,
            hold: None,
            command: Vec::new(),
            jobs: 1,
            rank: index,
        });
        index
    }

    fn globals(&mut self) -> u32 {
        let claims = Amounts::new(&[
            (Resource::SourceConnections, 1),
            (Resource::TargetConnections, 1),
        ]);
        let index = self.push(StepId::server(Kind::Globals), Vec::new(), claims);
        let conninfo = conninfo(self.input.source, &self.input.source.database);
        self.steps[index as usize].command =
            command::globals(&conninfo, self.input.inspection.source.reads_passwords);
        index
    }

    fn tune_target(&mut self) -> u32 {
        let claims = Amounts::new(&[(Resource::TargetConnections, 1)]);
        self.push(StepId::server(Kind::TuneTarget), Vec::new(), claims)
    }

    /// What changes the target waits until it is tuned. A run that goes on has no other step before it.
    fn await_tuning(&mut self, tune: u32) {
        for step in &mut self.steps {
            let changes_the_target = matches!(
                step.id.kind,
                Kind::Globals
                    | Kind::Create
                    | Kind::Restore
                    | Kind::DropIndexes
                    | Kind::DelayedRestore
                    | Kind::RecreateIndexes
            );
            if changes_the_target {
                step.needs.insert(0, tune);
            }
        }
    }

    /// The last step, whatever happened to the others.
    fn restore_settings(&mut self) {
        let claims = Amounts::new(&[(Resource::TargetConnections, 1)]);
        let all = (0..self.steps.len() as u32).collect();
        let step = self.push(StepId::server(Kind::RestoreSettings), all, claims);
        self.steps[step as usize].finally = true;
    }

    /// The regular phase of one database.
    fn database(&mut self, database: &Database, name: &Arc<str>, create: u32) {
        let plan = self.input.plan;
        let client = &self.input.inspection.client;
        let contents = contents(database);
        let options = plan.options(name);
        let archive = command::archive(plan, name);
        let delayed = self.delays.of(database, contents);

        let with_data = with_data(contents);
        // A job more than there are items would cost a connection and do nothing.
        let dump_jobs = options
            .dump_jobs
            .min(self.share.dump_jobs)
            .min(dump_items(contents))
            .max(1);
        let restore_jobs = restore_jobs(plan, database, &self.share);
        let queries = |counted: u32| self.share.count_queries.min(counted).max(1);
        // Estimates are one query a side; the delayed tables' rows are counted all the same, and in the regular
        // phase where both dumps share a snapshot.
        let (source_queries, target_queries) = match plan.verify {
            VerifyMode::Fast if plan.delay.snapshot == DelaySnapshot::Same => {
                (queries(delayed.len() as u32), 1)
            }
            VerifyMode::Fast => (1, 1),
            VerifyMode::Exact | VerifyMode::Checksum => (queries(with_data), queries(with_data)),
        };
        let (compression, finding) = preflight::compression(
            &options.compression,
            options.compression_is_explicit,
            client,
        );
        self.findings.extend(finding);

        let dump = self.push(
            StepId::of(name, Kind::Dump),
            vec![create],
            Amounts::new(&[
                (
                    Resource::SourceConnections,
                    budget::connections_of(dump_jobs),
                ),
                (Resource::SourceDatabases, 1),
            ]),
        );
        self.steps[dump as usize].jobs = dump_jobs;
        self.steps[dump as usize].command = DumpCommand {
            conninfo: &conninfo(self.input.source, name),
            archive: &archive,
            jobs: dump_jobs,
            compression: &compression,
            client: client.version,
            target: self.input.inspection.target.version,
            lock_timeout: plan.source_lock_timeout,
            content: Content::Regular(&delayed),
        }
        .render();
        let count_claims = |connections, queries| {
            Amounts::new(&[(connections, queries), (Resource::VerifyQueries, queries)])
        };
        let source_counts = self.push(
            StepId::of(name, Kind::SourceCounts),
            vec![create],
            count_claims(Resource::SourceConnections, source_queries),
        );
        self.steps[source_counts as usize].jobs = source_queries;
        // Both read under one snapshot, which lives on a connection of its own.
        let hold = self.holds.len() as u32;
        self.holds.push(Hold {
            id: format!("{name}/snapshot"),
            claims: Amounts::new(&[(Resource::SourceConnections, 1)]),
            steps: vec![dump, source_counts],
        });
        self.steps[dump as usize].hold = Some(hold);
        self.steps[source_counts as usize].hold = Some(hold);

        // It needs the counts too: should the snapshot be lost before they are done, both are redone,
        // and nothing of the older one is on the target yet.
        let restore = self.push(
            StepId::of(name, Kind::Restore),
            vec![create, dump, source_counts],
            Amounts::new(&[
                (
                    Resource::TargetConnections,
                    budget::connections_of(restore_jobs),
                ),
                (Resource::TargetDatabases, 1),
            ]),
        );
        self.steps[restore as usize].jobs = restore_jobs;
        self.steps[restore as usize].command =
            command::restore(&conninfo(self.input.target, name), &archive, restore_jobs);
        let target_counts = self.push(
            StepId::of(name, Kind::TargetCounts),
            vec![restore],
            count_claims(Resource::TargetConnections, target_queries),
        );
        self.steps[target_counts as usize].jobs = target_queries;
        let verify = self.push(
            StepId::of(name, Kind::Verify),
            vec![source_counts, target_counts],
            // For the settings that would have disturbed the load.
            Amounts::new(&[(Resource::TargetConnections, 1)]),
        );
        let mut names: Vec<String> = delayed
            .iter()
            .map(|table| format!("{}.{}", table.schema, table.name))
            .collect();
        names.sort_unstable();
        self.delayed.push(names);
        if !delayed.is_empty() {
            self.findings
                .extend(delay_findings::of(name, contents, &delayed));
            let regular = Regular {
                dump,
                verify,
                hold,
                compression,
            };
            self.delayed(name, &delayed, &regular);
        }
    }

    /// The delayed phase of one database. Its dump shares the regular dump's snapshot where the plan says so,
    /// and then follows it at once, so that the snapshot holds back vacuum no longer than it must.
    fn delayed(&mut self, name: &Arc<str>, tables: &[DelayedTable], regular: &Regular) {
        let plan = self.input.plan;
        let options = plan.options(name);
        let count = u32::try_from(tables.len()).unwrap_or(u32::MAX);
        let dump_jobs = options.dump_jobs.min(self.share.dump_jobs).min(count);
        let same = plan.delay.snapshot == DelaySnapshot::Same;
        // A later snapshot is counted under as well, by the dump's own step.
        let counting = if same {
            0
        } else {
            self.share.count_queries.min(count)
        };
        let dump = self.push(
            StepId::of(name, Kind::DelayedDump),
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
        let step = &mut self.steps[dump as usize];
        step.jobs = dump_jobs;
        step.command = DumpCommand {
            conninfo: &conninfo(self.input.source, name),
            archive: &command::delayed_archive(plan, name),
            jobs: dump_jobs,
            compression: &regular.compression,
            client: client.version,
            target: self.input.inspection.target.version,
            lock_timeout: plan.source_lock_timeout,
            content: Content::Delayed(tables),
        }
        .render();
        step.hold = Some(if same {
            self.holds[regular.hold as usize].steps.push(dump);
            regular.hold
        } else {
            self.holds.push(Hold {
                id: format!("{name}/delayed-snapshot"),
                claims: Amounts::new(&[(Resource::SourceConnections, 1)]),
                steps: vec![dump],
            });
            self.holds.len() as u32 - 1
        });

        let one = Amounts::new(&[(Resource::TargetConnections, 1)]);
        let drop = self.push(
            StepId::of(name, Kind::DropIndexes),
            vec![regular.verify],
            one,
        );
        let load_jobs = options.restore_jobs.min(self.share.restore_jobs).min(count);
        let load = self.push(
            StepId::of(name, Kind::DelayedRestore),
            vec![dump, drop],
            Amounts::new(&[
                (Resource::TargetConnections, load_jobs),
                (Resource::TargetDatabases, 1),
            ]),
        );
        self.steps[load as usize].jobs = load_jobs;

        let target = &self.input.inspection.target;
        let memory = self.index_memory;
        let builds = options
            .restore_jobs
            .min(self.share.restore_jobs)
            .min(memory.builds())
            .max(1);
        let recreate = self.push(
            StepId::of(name, Kind::RecreateIndexes),
            vec![load],
            Amounts::new(&[
                (Resource::TargetConnections, builds),
                (Resource::TargetDatabases, 1),
                (Resource::IndexMemory, builds * memory.per_build_mb),
            ]),
        );
        self.steps[recreate as usize].jobs = builds;
        let queries = self.share.count_queries.min(count).max(1);
        let verify = self.push(
            StepId::of(name, Kind::DelayedVerify),
            vec![recreate],
            Amounts::new(&[
                (Resource::TargetConnections, queries),
                (Resource::VerifyQueries, queries),
            ]),
        );
        self.steps[verify as usize].jobs = queries;
        self.findings.extend(preflight::of_delays(name, target));
    }
}

/// What the delayed phase of a database takes over from the regular one.
struct Regular {
    dump: u32,
    verify: u32,
    hold: u32,
    compression: Compression,
}

/// The most connections that can be claimed at a time: every slot taken by its largest step, every
/// snapshot open, every count query in flight; never more than the budget.
fn peaks(steps: &[Step], holds: &[Hold], budgets: &Amounts) -> Amounts {
    let mut peaks = Amounts::default();
    let sides = [
        (Resource::SourceConnections, Resource::SourceDatabases, 0),
        (
            Resource::TargetConnections,
            Resource::TargetDatabases,
            budget::CONTROL_CONNECTIONS,
        ),
    ];
    for (connections, slots, own) in sides {
        let mut in_slots: Vec<u32> = Vec::new();
        let mut counting = 0;
        let mut others = 0;
        for step in steps {
            let claim = step.claims.get(connections);
            if step.claims.get(slots) > 0 {
                in_slots.push(claim);
            } else if step.claims.get(Resource::VerifyQueries) > 0 {
                counting += claim;
            } else {
                others += claim;
            }
        }
        in_slots.sort_unstable_by(|a, b| b.cmp(a));
        let slots_taken: u32 = in_slots.iter().take(budgets.get(slots) as usize).sum();
        let held: u32 = holds.iter().map(|hold| hold.claims.get(connections)).sum();
        let counting = counting.min(budgets.get(Resource::VerifyQueries));
        let most = (slots_taken + held + counting + others).min(budgets.get(connections));
        peaks.set(connections, most + own);
    }
    peaks
}

/// SHA-256 over what must not change between `plan` and `run`: the plan file, the servers' identity and
/// version, the databases and the shape of the graph. Sizes, free connections and jobs may.
fn fingerprint(graph: &Graph, input: &Input<'_>) -> String {
    let mut hash = Sha256::new();
    let mut line = |text: &str| {
        hash.update(text.len().to_le_bytes());
        hash.update(text);
    };
    for (key, value) in &input.plan.keys {
        line(key);
        line(value);
    }
    for facts in [&input.inspection.source, &input.inspection.target] {
        line(facts.system_identifier.as_deref().unwrap_or_default());
        line(&facts.version.major_text());
    }
    let mut ids: Vec<String> = graph
        .steps
        .iter()
        .map(|step| {
            let mut needs: Vec<String> = step
                .needs
                .iter()
                .map(|need| graph.steps[*need as usize].id.to_string())
                .collect();
            // The order of databases is that of their sizes.
            needs.sort_unstable();
            format!("{} <- {}", step.id, needs.join(", "))
        })
        .collect();
    ids.sort_unstable();
    ids.iter().for_each(|id| line(id));
    for database in &graph.databases {
        database.delayed.iter().for_each(|table| line(table));
    }
    // How much memory an index build gets depends on the jobs.
    for setting in graph.tuning.iter().flat_map(|tuning| &tuning.settings) {
        line(&format!("{} {:?}", setting.name, setting.reach));
    }
    let digest: String = hash
        .finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("sha256:{digest}")
}

impl Graph {
    /// The findings that keep the run from starting.
    pub fn blockers(&self) -> impl Iterator<Item = &Finding> {
        self.findings
            .iter()
            .filter(|finding| finding.severity == Severity::Block)
    }

    /// The position of a step.
    pub fn find(&self, id: &StepId) -> Option<u32> {
        self.steps
            .iter()
            .position(|step| step.id == *id)
            .map(|index| index as u32)
    }
}
