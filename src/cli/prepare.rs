//! From a plan file to a compiled graph: what `run`, `plan`, `check` and `verify` have in common.

use std::collections::BTreeMap;
use std::path::Path;

use nix::unistd::{AccessFlags, access};

use super::chain;
use super::failure::Failure;
use super::left;
use super::output::tell;
use crate::catalog::Inspection;
use crate::disk::FileSystem;
use crate::exit::Exit;
use crate::finding::Finding;
use crate::graph::{DumpedTables, Graph, Input, compile, select};
use crate::journal::stored::Basis;
use crate::journal::{Lock, State};
use crate::names::{Kind, Product, StepId};
use crate::plan::{Endpoint, PasswordSource, Plan, Side};
use crate::postgres::resolve;
use crate::process::{LocalEnvironment, keep_from_children};
use crate::run::{Doubts, Older, is_replaced, look_at_mark, look_at_source_mark};
use crate::{inspect, plan, preflight, process};

/// A plan, compiled against both servers.
pub(super) struct Prepared {
    pub plan: Plan,
    pub source: Endpoint,
    pub target: Endpoint,
    pub inspection: Inspection,
    pub graph: Graph,
    /// What is not believed of what this plan did so far.
    pub doubts: Doubts,
    /// The target's mark has not all that it was given.
    pub older_target: Option<Older>,
}

/// Reads and checks the plan file.
pub(super) fn load(path: &Path) -> Result<Plan, Failure> {
    let plan = plan::load(path).map_err(Failure::with(Exit::WrongInput))?;
    let passwords = [&plan.source, &plan.target].map(|server| server.password.as_ref());
    let variables = passwords
        .into_iter()
        .flatten()
        .filter_map(|source| match source {
            PasswordSource::Env(name) => Some(name.clone()),
            _ => None,
        });
    keep_from_children(variables.collect());
    Ok(plan)
}

/// How both servers are reached, with every reference resolved.
pub(super) async fn endpoints(plan: &Plan) -> Result<(Endpoint, Endpoint), Failure> {
    let mut resolved = Vec::with_capacity(2);
    for server in [&plan.source, &plan.target] {
        let found = resolve(server, &LocalEnvironment)
            .await
            .map_err(Failure::with(Exit::WrongInput))?;
        for warning in &found.warnings {
            tracing::warn!("{warning}");
            tell!("warning: {warning}");
        }
        resolved.push(found.endpoint);
    }
    let target = resolved.pop();
    let source = resolved.pop();
    Ok((source.expect("two servers"), target.expect("two servers")))
}

/// How the target alone is reached.
pub(super) async fn target(plan: &Plan) -> Result<Endpoint, Failure> {
    let resolved = resolve(&plan.target, &LocalEnvironment).await;
    Ok(resolved.map_err(Failure::with(Exit::WrongInput))?.endpoint)
}

/// Looks at both servers and at this machine, and compiles.
///
/// `state`: what this plan did so far, by its journal.
pub(super) async fn prepare(plan: Plan, state: &State) -> Result<Prepared, Failure> {
    let (source, target) = endpoints(&plan).await?;
    let client = process::client_facts()
        .await
        .map_err(Failure::with(Exit::NotStarted))?;
    let (source_facts, target_facts) = inspect::servers(&plan, &source, &target)
        .await
        .map_err(Failure::with(Exit::NotStarted))?;
    let mut source_facts = source_facts;
    for database in &mut source_facts.databases {
        let dump = StepId::database(&database.name.as_str().into(), Kind::Dump);
        if let Some(contents) = database.contents.as_mut().filter(|_| state.is_done(&dump)) {
            // A row that came since is in the way of nothing.
            contents.oversized.clear();
        }
    }
    let mut inspection = Inspection {
        source: source_facts,
        target: target_facts,
        client,
        open_files: process::open_files(),
    };
    let id = Lock::id_of(&plan.state_dir);
    let marking = look_at_mark(&plan, &target, (state, id.as_deref())).await?;
    let source_mark = look_at_source_mark(&plan, &source)
        .await
        .map_err(Failure::with(Exit::NotStarted))?;
    let doubts = Doubts::find(state, &inspection, marking.older.as_ref());
    let believed = doubts.believed(state);
    let state = &*believed;
    inspection.target.kept_roles = left::kept_roles(&plan, &marking, state, &inspection);
    let is_ours = |name: &&String| {
        !is_replaced(name, state, &inspection.target)
            && !left::is_found_again(name, state, &inspection.target)
    };
    let created = state.created.keys().filter(is_ours).cloned().collect();
    let in_use = state.in_use();
    let graph = compile(Input {
        plan: &plan,
        source: &source,
        target: &target,
        inspection: &inspection,
        created: &created,
        in_use: &in_use,
        dumped: &dumped(state),
        today: jiff::Zoned::now().date(),
        findings: dump_root(&plan)
            .into_iter()
            .chain(dump_space(&plan, state, &inspection))
            .chain(left::findings(&plan, state, &inspection, &doubts))
            .chain(left::roles_there(&plan, &marking, state, &inspection))
            .chain(chain::findings(&plan, &source_mark, &inspection))
            .chain(left::by_mark(&marking, state, &inspection.target, &doubts))
            .collect(),
    });
    Ok(Prepared {
        plan,
        source,
        target,
        inspection,
        graph,
        doubts,
        older_target: marking.older,
    })
}

impl Prepared {
    /// What the graph was compiled from.
    pub(super) fn basis(&self) -> Basis {
        let identity = |facts: &crate::catalog::ServerFacts| {
            (facts.system_identifier.clone(), facts.version.major_text())
        };
        Basis {
            plan: self.plan.keys.clone(),
            source: identity(&self.inspection.source),
            target: identity(&self.inspection.target),
        }
    }

    /// Refuses a plan that was started with another server on either side, by the journal: what is done was done there, and
    /// databases of the same names here are not this plan's.
    pub(super) fn refuse_other_servers(&self, state: &State) -> Result<(), Failure> {
        let Some(last) = state.runs.last() else {
            return Ok(());
        };
        let Inspection { source, target, .. } = &self.inspection;
        let others: Vec<String> = [
            (Side::Source, &last.source, &source.system_identifier),
            (Side::Target, &last.target, &target.system_identifier),
        ]
        .into_iter()
        .filter(|(_, was, is)| was != is)
        .map(|(side, was, is)| {
            let shown = |identifier: &Option<String>| {
                identifier.clone().unwrap_or_else(|| "unknown".to_owned())
            };
            let (was, is) = (shown(was), shown(is));
            format!("the {side}'s system identifier was {was}, now it is {is}")
        })
        .collect();
        if others.is_empty() {
            return Ok(());
        }
        Err(Failure::message(
            Exit::NotStarted,
            format!(
                "this plan was started with other servers, and their data cannot be combined:\n\n- {}",
                others.join("\n- ")
            ),
            "give the new migration another name in its plan, or correct [source] and [target]",
        ))
    }

    /// Refuses a run that a finding blocks.
    pub(super) fn refuse_blockers(&self) -> Result<(), Failure> {
        let blockers: Vec<String> = self.graph.blockers().map(describe).collect();
        if blockers.is_empty() {
            return Ok(());
        }
        Err(Failure::message(
            Exit::NotStarted,
            format!(
                "the run cannot start, and nothing was changed:\n\n{}",
                blockers.join("\n\n")
            ),
            "`pg-migrate check` shows every finding",
        ))
    }
}

/// A finding and what fixes it, for a message.
pub(super) fn describe(finding: &Finding) -> String {
    let fix = finding
        .fix
        .as_ref()
        .map(|fix| format!("\n  to fix it: {fix}"))
        .unwrap_or_default();
    crate::postgres::escape_control_lines(&format!("{finding}{fix}"))
}

/// The tables of each database that is verified, as they were when it was dumped.
fn dumped(state: &State) -> BTreeMap<String, DumpedTables> {
    let kept = state
        .verified
        .keys()
        .filter(|name| state.is_to_be_kept(name));
    kept.filter_map(|name| {
        let id = |kind| StepId::database(&name.as_str().into(), kind);
        let output = |kind| state.output_of(&id(kind));
        let (dump, counts) = (output(Kind::Dump)?, output(Kind::SourceCounts)?);
        let (Product::Dump(dump), Product::Counts(counts)) = (&dump.product, &counts.product)
        else {
            return None;
        };
        let counted = counts.tables.iter().map(|count| &count.table);
        let tables = counted.chain(&dump.delayed).cloned().collect();
        let is_to_be_loaded =
            state.is_done(&id(Kind::DelayedDump)) && !state.is_done(&id(Kind::DelayedVerify));
        let to_load = if is_to_be_loaded {
            dump.delayed.clone()
        } else {
            Vec::new()
        };
        Some((name.clone(), DumpedTables { tables, to_load }))
    })
    .collect()
}

/// A finding where archives could not be written. Nothing is written to find out.
fn dump_root(plan: &Plan) -> Option<Finding> {
    let root = &plan.dump.root;
    let existing = root
        .ancestors()
        .find(|path| path.symlink_metadata().is_ok())?;
    let problem = if !existing.is_dir() {
        format!("{} is not a directory", existing.display())
    } else {
        let error = access(existing, AccessFlags::W_OK | AccessFlags::X_OK).err()?;
        format!("{}: {}", existing.display(), error.desc())
    };
    Some(preflight::for_dump_root(root, &problem))
}

/// A finding where the archives may not fit, by what the databases take on the source.
fn dump_space(plan: &Plan, state: &State, inspection: &Inspection) -> Option<Finding> {
    let is_to_be_dumped = |name: &str| {
        let is_done = |kind| state.is_done(&StepId::database(&name.into(), kind));
        !is_done(Kind::Dump)
    };
    let databases = select(plan, &inspection.source);
    let bytes = databases
        .iter()
        .filter(|database| is_to_be_dumped(&database.name))
        .filter_map(|database| database.bytes)
        .sum();
    let root = &plan.dump.root;
    let found = FileSystem::of(root)?;
    preflight::for_dump_space(root, &found.mounted_at, found.free, bytes)
}
