//! The compilation: databases become steps, with what each needs and claims.

use std::collections::BTreeSet;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::budget::{self, Share};
use super::command::{self, DumpCommand};
use super::{
    Amounts, DatabaseSummary, Finding, Graph, Hold, Kind, Resource, ServerSummary, Severity, Step,
    StepId, preflight, selection,
};
use crate::catalog::{Contents, Database, Inspection, RelationKind};
use crate::plan::{Endpoint, Plan, Side, VerifyMode};
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

    let mut builder = Builder {
        input: &input,
        share,
        steps: Vec::with_capacity(databases.len() * 6 + 3),
        holds: Vec::with_capacity(databases.len()),
        findings,
    };
    builder.build(&databases);
    let Builder {
        steps,
        holds,
        mut findings,
        ..
    } = builder;
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

    let budgets = budget::budgets(&share, &plan.parallelism, source_budget, target_budget);
    let databases = databases
        .iter()
        .map(|database| DatabaseSummary {
            name: database.name.clone(),
            bytes: database.bytes.unwrap_or(0),
            tables: contents(database).relations.len(),
            delayed: Vec::new(),
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
    };
    graph.fingerprint = fingerprint(&graph, &input);
    graph
}

/// `inspect` looks into every database that migrates; one it could not look into has a finding instead.
fn contents(database: &Database) -> &Contents {
    static NOTHING: Contents = Contents {
        relations: Vec::new(),
        indexes: 0,
        large_objects: 0,
        user_objects: 0,
        extensions: Vec::new(),
    };
    database.contents.as_ref().unwrap_or(&NOTHING)
}

struct Builder<'a> {
    input: &'a Input<'a>,
    share: Share,
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

    /// The regular phase of one database.
    fn database(&mut self, database: &Database, name: &Arc<str>, create: u32) {
        let plan = self.input.plan;
        let client = &self.input.inspection.client;
        let contents = contents(database);
        let options = plan.options(name);
        let archive = command::archive(plan, name);

        let with_data = contents
            .relations
            .iter()
            .filter(|relation| {
                matches!(
                    relation.kind,
                    RelationKind::Table | RelationKind::MaterializedView
                )
            })
            .count() as u32;
        // A job more than there are items would cost a connection and do nothing.
        let dump_items = with_data + u32::from(contents.large_objects > 0);
        let dump_jobs = options
            .dump_jobs
            .min(self.share.dump_jobs)
            .min(dump_items)
            .max(1);
        let restore_jobs = options
            .restore_jobs
            .min(self.share.restore_jobs)
            .min(dump_items + contents.indexes)
            .max(1);
        let queries = match plan.verify {
            VerifyMode::Fast => 1,
            VerifyMode::Exact | VerifyMode::Checksum => {
                self.share.count_queries.min(with_data).max(1)
            }
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
        }
        .render();
        let count_claims = |connections| {
            Amounts::new(&[(connections, queries), (Resource::VerifyQueries, queries)])
        };
        let source_counts = self.push(
            StepId::of(name, Kind::SourceCounts),
            vec![create],
            count_claims(Resource::SourceConnections),
        );
        self.steps[source_counts as usize].jobs = queries;
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
            count_claims(Resource::TargetConnections),
        );
        self.steps[target_counts as usize].jobs = queries;
        self.push(
            StepId::of(name, Kind::Verify),
            vec![source_counts, target_counts],
            Amounts::default(),
        );
    }
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
    line(&input.plan.digest);
    for facts in [&input.inspection.source, &input.inspection.target] {
        line(facts.system_identifier.as_deref().unwrap_or_default());
        line(&facts.version.major_text());
    }
    let mut ids: Vec<String> = graph
        .steps
        .iter()
        .map(|step| {
            let needs: Vec<String> = step
                .needs
                .iter()
                .map(|need| graph.steps[*need as usize].id.to_string())
                .collect();
            format!("{} <- {}", step.id, needs.join(", "))
        })
        .collect();
    ids.sort_unstable();
    ids.iter().for_each(|id| line(id));
    for database in &graph.databases {
        database.delayed.iter().for_each(|table| line(table));
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
