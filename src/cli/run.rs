//! `pg-migrate run`.

use std::io::IsTerminal;
use std::path::Path;
use std::time::Duration;

use tokio::sync::mpsc;

use super::arguments::RunArguments;
use super::failure::Failure;
use super::log;
use super::output::{Terminal, offer, tell};
use super::prepare::{Prepared, load, prepare};
use super::revert::restore_settings;
use crate::escape::escape_control_lines;
use crate::event::Event;
use crate::exit::Exit;
use crate::failpoint::reach;
use crate::finding::{Code, Finding};
use crate::graph::{DatabaseSummary, PerStep, Step, archives};
use crate::journal::{Journal, Lock, State, stored};
use crate::names::Kind;
use crate::private_directory;
use crate::report::progress::Progress;
use crate::report::{document, plan_json, summary};
use crate::run::{Finished, Job, Signals, changed_since_completion, missing, refuse_held_target};

/// How often the bars are drawn.
const TICK: Duration = Duration::from_millis(200);

pub(super) async fn run(arguments: RunArguments, terminal: &Terminal) -> Result<Exit, Failure> {
    let plan = load(&arguments.plan)?;
    let mut signals = Signals::catch()?;
    let lock = Lock::take(&plan.state_dir)?;
    let mut journal = Journal::open(&plan.state_dir, lock)?;
    let progress = progress(terminal);
    let _log = log::start(&plan.state_dir, Some(progress.log_writer()));

    // Before anything that may refuse the run: the target does not stay as a killed run left it, and what its
    // settings are from here on is its owner's choice.
    restore_settings(&plan, &mut journal, &mut signals).await?;

    let state_dir = plan.state_dir.clone();
    let archives = archives(&plan);
    let prepared = tokio::select! {
        prepared = prepare(plan, journal.state()) => prepared?,
        signal = signals.next() => {
            return Err(Failure::message(
                signal.exit(),
                format!("{signal} received; nothing was changed"),
                "run it again at any time",
            ));
        }
    };
    let is_complete = {
        let believed = prepared.doubts.believed(journal.state());
        let gone = missing(
            prepared.graph.database_names(),
            &believed,
            &prepared.inspection.target,
        );
        gone.is_empty() && is_complete(&prepared, &believed)
    };
    if !is_complete {
        let is_unsafe = |finding: &Finding| finding.code == Code::TargetLeftUnsafe;
        if prepared.graph.blockers().any(is_unsafe) {
            // A run at work sets that, and says so better.
            refuse_held_target(&prepared.plan, &prepared.target, &journal).await?;
        }
        prepared.refuse_blockers()?;
    }
    reach!("prepared");
    refuse_drift_and_store(&prepared, journal.state())?;
    private_directory::make(&archives).map_err(|error| {
        Failure::message(
            Exit::NotStarted,
            format!(
                "the directory {} is not used for archives: {error}",
                archives.display()
            ),
            &format!(
                "set dump.root to a directory that only this user may write to: {}",
                private_directory::HELP
            ),
        )
    })?;
    let report_file = document::path(&state_dir);
    if is_complete {
        // The run that completed it may have been killed before its report was on disk.
        let Prepared { plan, graph, .. } = &prepared;
        let report = report_of(&plan.name, &graph.databases, &graph.steps, journal.state())?;
        if let Err(error) = document::write(&report, &report_file) {
            terminal.show(&error.into());
        }
        tell!(
            "{}: already completed, nothing to do{}; `pg-migrate report` shows the result",
            prepared.plan.name,
            as_of(journal.state()),
        );
    }
    let databases = prepared.graph.databases.clone();
    let steps = prepared.graph.steps.clone();
    let name = prepared.plan.name.clone();
    let job = Job {
        plan: prepared.plan,
        source: prepared.source,
        target: prepared.target,
        inspection: prepared.inspection,
        graph: prepared.graph,
        journal,
        older_target: prepared.older_target,
    };
    if is_complete {
        for change in changed_since_completion(job).await {
            tracing::warn!("{change}");
            tell!("warning: {}", escape_control_lines(&change));
        }
        return Ok(Exit::Completed);
    }
    let (events, received) = mpsc::unbounded_channel();
    let watcher = tokio::spawn(watch(progress, received));
    let finished = job.run(&mut signals, events).await;
    // It ends when the last sender is dropped, so everything has been shown.
    let _ = watcher.await;
    let Finished {
        exit, has_begun, ..
    } = finished?;
    if !has_begun {
        tell!("the run was stopped before its first step");
        return Ok(exit);
    }
    // Fails where archives are left, which then stay.
    let _ = std::fs::remove_dir(&archives);

    // The work has ended, on record: whether that can be reported does not change how.
    let reported = report(
        || report_of(&name, &databases, &steps, &read_state(&state_dir)?),
        &report_file,
        terminal,
    );
    if let Err(failure) = reported {
        terminal.show(&failure);
    }
    Ok(exit)
}

/// Writes the report and shows its summary, each whatever becomes of the other.
fn report(
    build: impl FnOnce() -> Result<document::Report, Failure>,
    file: &Path,
    terminal: &Terminal,
) -> Result<(), Failure> {
    let report = build()?;
    let written = document::write(&report, file);
    offer(&summary::render(
        &report,
        terminal.columns(),
        terminal.stdout_color(),
    ));
    written?;
    tell!("report: {}", file.display());
    Ok(())
}

fn read_state(state_dir: &Path) -> Result<State, Failure> {
    Ok(crate::journal::read(state_dir)?.unwrap_or_default())
}

fn report_of(
    name: &str,
    databases: &[DatabaseSummary],
    steps: &PerStep<Step>,
    state: &State,
) -> Result<document::Report, Failure> {
    document::build(name, databases, steps, state).ok_or_else(|| {
        Failure::message(
            Exit::Unexpected,
            "the journal holds no run",
            "this is a fault of pg-migrate",
        )
    })
}

fn progress(terminal: &Terminal) -> Progress {
    let color = terminal.stderr_color();
    if std::io::stderr().is_terminal() {
        Progress::bars(console::Term::stderr(), color, jiff::Zoned::now)
    } else {
        Progress::lines(std::io::stderr(), color, jiff::Zoned::now)
    }
}

/// Shows events until the run has ended.
async fn watch(mut progress: Progress, mut events: mpsc::UnboundedReceiver<Event>) {
    let mut tick = tokio::time::interval(TICK);
    loop {
        tokio::select! {
            event = events.recv() => match event {
                Some(event) => progress.handle(&event),
                None => return,
            },
            _ = tick.tick() => progress.tick(),
        }
    }
}

/// Refuses what differs from a sealed plan, or from the servers of earlier runs; then stores the plan that the journal
/// will be about.
fn refuse_drift_and_store(prepared: &Prepared, state: &State) -> Result<(), Failure> {
    prepared.refuse_other_servers(state)?;
    let state_dir = &prepared.plan.state_dir;
    let basis = prepared.basis();
    let stored = stored::read(state_dir)?;
    if let Some(stored) = &stored {
        let drift = stored.drift(&prepared.graph, &basis);
        if stored.sealed && !drift.is_empty() {
            return Err(Failure::message(
                Exit::NotStarted,
                format!(
                    "what was sealed by `pg-migrate plan` differs from what would run:\n\n- {}",
                    drift.join("\n- ")
                ),
                "review it again with `pg-migrate plan --dry-run`, then seal it with `pg-migrate plan`",
            ));
        }
        for line in drift {
            tracing::warn!("since the last run: {line}");
            tell!("since the last run: {}", escape_control_lines(&line));
        }
    }
    let sealed = stored.is_some_and(|stored| stored.sealed);
    stored::write(
        state_dir,
        &plan_json::render(&prepared.graph),
        &basis,
        sealed,
    )
    // Nothing was changed yet.
    .map_err(Failure::with(Exit::NotStarted))
}

/// Every step is done, and the last run said so. The steps that set and restore settings move nothing.
fn is_complete(prepared: &Prepared, state: &State) -> bool {
    let is_in_question = |finding: &Finding| {
        matches!(
            finding.code,
            Code::TargetUnfinished
                | Code::TargetPromoted
                | Code::TargetWentBack
                | Code::TargetLeftUnsafe
                | Code::TargetCrashedUnsafe
        )
    };
    state.is_completed()
        && !prepared.graph.blockers().any(is_in_question)
        && prepared
            .graph
            .steps
            .iter()
            .all(|step| step.id.kind.is_tuning() || state.is_done(&step.id))
}

/// Since when the source is ahead of the target.
fn as_of(state: &State) -> String {
    let dumps = state.steps.iter();
    let dumps = dumps.filter(|(step, _)| step.kind == Kind::Dump);
    let oldest = dumps.map(|(_, dump)| dump.started).min();
    oldest.map_or(String::new(), |oldest| {
        format!(" (its first dump is of {oldest:.0}: what was written to the source since its dump is not in a database)")
    })
}
