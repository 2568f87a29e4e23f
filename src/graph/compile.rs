//! The compilation: a plan and two servers become a graph.

use sha2::{Digest, Sha256};

use super::budget;
use super::builder::{Builder, contents, restore_jobs_at_a_time};
use super::delay::Delays;
use super::input::Input;
use super::{
    Amounts, DatabaseSummary, Graph, PerSnapshot, PerStep, Resource, ServerSummary, SharedSnapshot,
    Step, selection, tuning,
};
use crate::catalog::Inspection;
use crate::escape::hexadecimal;
use crate::finding::{Code, Finding, Severity};
use crate::plan::{Plan, Side};
use crate::preflight;

/// Compiles a plan against two servers. The same input yields the same graph, to the byte.
pub(crate) fn compile(input: Input<'_>) -> Graph {
    let Inspection { source, target, .. } = input.inspection;
    let plan = input.plan;
    let budget_of = |side, facts| {
        plan.server(side)
            .max_connections
            .unwrap_or_else(|| budget::default_budget(side, facts))
            .min(budget::hard_limit(facts, input.inspection.open_files))
    };
    let source_budget = budget_of(Side::Source, source);
    let target_budget = budget_of(Side::Target, target);

    let mut findings = input.findings.clone();
    findings.extend(preflight::for_servers(plan, input.inspection));
    let databases = selection::select(plan, source);
    findings.extend(preflight::for_selection(
        plan,
        source,
        &databases,
        &preflight::Earlier {
            created: input.created,
            in_use: input.in_use,
        },
    ));
    findings.extend(preflight::for_tablespaces(
        plan,
        input.inspection,
        &databases,
    ));
    let count = databases.len() as u32;
    let share = budget::share(&plan.parallelism, count, source_budget, target_budget);
    let fitted = budget::fitted(plan, input.inspection, &share, count);
    findings.extend(preflight::for_budgets(&fitted));
    findings.extend(preflight::for_lock_table(
        source,
        &databases,
        share.dump_parallel.min(count),
    ));
    let delayed_builds = if plan.delay.patterns.is_empty() {
        1
    } else {
        budget::BUILDS_BY_DEFAULT
    };
    let others = selection::others(target, &databases, input.created);
    let load = tuning::Load {
        jobs: restore_jobs_at_a_time(plan, &databases, &share).max(delayed_builds),
        others: others.serving,
        prepared: others.prepared,
        in_use: input.in_use.iter().map(String::as_str).collect(),
    };
    let (tuning, tuning_findings) = tuning::tune(plan, target, &load);
    findings.extend(tuning_findings);
    let maintenance_work_mem = tuning
        .as_ref()
        .and_then(|tuning| tuning.maintenance_work_mem)
        .unwrap_or(target.maintenance_work_mem);
    let index_memory = budget::IndexMemory::for_plan(plan, maintenance_work_mem);

    let mut builder = Builder {
        input: &input,
        share,
        index_memory,
        delays: Delays::new(plan),
        delayed: Vec::with_capacity(databases.len()),
        steps: PerStep::with_capacity(databases.len() * 6 + 3),
        snapshots: PerSnapshot::with_capacity(databases.len()),
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
        snapshots,
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
                finding.code,
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
        peaks: peaks(&steps, &snapshots, &budgets),
        steps,
        snapshots,
        budgets,
        findings,
        tuning,
        maintenance_work_mem,
    };
    graph.fingerprint = fingerprint(&graph, &input);
    graph
}

/// The most connections that can be claimed at a time: every slot taken by its largest step, every
/// snapshot open, every count query in flight; never more than the budget.
fn peaks(steps: &[Step], snapshots: &[SharedSnapshot], budgets: &Amounts) -> Amounts {
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
        let held: u32 = snapshots
            .iter()
            .map(|snapshot| snapshot.claims.get(connections))
            .sum();
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
                .map(|need| graph.steps[*need].id.to_string())
                .collect();
            // The order of databases is that of their sizes.
            needs.sort_unstable();
            format!("{} <- {}", step.id, needs.join(", "))
        })
        .collect();
    ids.sort_unstable();
    ids.iter().for_each(|id| line(id));
    for database in &graph.databases {
        for table in &database.delayed {
            line(&table.to_string());
        }
    }
    // How much memory an index build gets depends on the jobs.
    for setting in graph.tuning.iter().flat_map(|tuning| &tuning.settings) {
        line(&format!("{} {:?}", setting.name, setting.reach));
    }
    format!("sha256:{}", hexadecimal(&hash.finalize()))
}

/// Whether a standby may be the source that has not all that its primary has, today.
pub(crate) fn accepts_stale_source(plan: &Plan) -> bool {
    preflight::is_waived(Code::SourceStale, &plan.waive, jiff::Zoned::now().date())
}

impl Graph {
    /// Whether the plan waives that code of owners runs with our rights while rows of a database are loaded.
    pub(crate) fn trusts_owners_in_rows(&self, database: &str) -> bool {
        let mut findings = self.findings.iter();
        findings.any(|finding| {
            finding.code == Code::SourceOwnersCodeInRows
                && finding.database.as_deref() == Some(database)
                && finding.waived.is_some()
        })
    }

    /// The databases that migrate.
    pub(crate) fn database_names(&self) -> impl Iterator<Item = &String> {
        self.databases.iter().map(|database| &database.name)
    }

    /// Whether the plan waives what a verification found in the database.
    pub(crate) fn accepts_difference(&self, database: &str) -> bool {
        self.findings.iter().any(|finding| {
            finding.code == Code::TargetDiffered
                && finding.database.as_deref() == Some(database)
                && finding.severity == Severity::Info
        })
    }

    /// The findings that keep the run from starting.
    pub(crate) fn blockers(&self) -> impl Iterator<Item = &Finding> {
        self.findings
            .iter()
            .filter(|finding| finding.severity == Severity::Block)
    }

    /// The position of a step.
    #[cfg(test)]
    pub(crate) fn find(&self, id: &crate::names::StepId) -> Option<super::StepIndex> {
        self.steps
            .iter()
            .position(|step| step.id == *id)
            .map(super::StepIndex::new)
    }
}
