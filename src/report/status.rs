//! `pg-migrate status`: every step and its state, by the journal.

use indexmap::IndexMap;
use jiff::Timestamp;
use serde::Serialize;

use super::closed::{self, ClosedDatabase};
use super::color::{Color, Tone};
use super::format::{count, counted, duration, seconds_between};
use super::width::{left, right, wrap};
use crate::graph::Step;
use crate::journal::{Outcome, State, Status as Recorded, StepState};
use crate::names::{Kind, StepId};
use crate::postgres::{escape_control, escape_json};

/// The state of a plan at a time; serializes to what `status --format json` prints, whose keys are
/// the names of the fields here and do not change.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Status {
    /// The plan's name.
    pub name: String,
    /// When the status was read.
    pub now: Timestamp,
    pub steps_total: usize,
    pub steps_done: usize,
    /// How often `run` was started.
    pub runs: usize,
    /// The last run; `null` where there was none.
    pub run: Option<Run>,
    /// Snapshots that the run under way holds on the source: while they are open, vacuum there keeps what
    /// they see.
    pub snapshots: Vec<SnapshotStatus>,
    /// Settings of the target that this plan changed and has not restored yet.
    pub tuned: Vec<String>,
    /// Databases of the target that clients cannot connect to yet.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub closed: Vec<ClosedDatabase>,
    /// Steps about the whole server, in the graph's order.
    pub server: Vec<StepStatus>,
    /// In the graph's order.
    pub databases: Vec<DatabaseStatus>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Run {
    pub started: Timestamp,
    /// A run is at work now.
    pub under_way: bool,
    /// Since the last run, `pg-migrate reset` forgot steps: `started` says when.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub reset: bool,
    /// `null`: it is under way, or was killed. So are `outcome` and `exit_code`.
    pub ended: Option<Timestamp>,
    pub outcome: Option<Outcome>,
    pub exit_code: Option<u8>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct SnapshotStatus {
    pub database: String,
    /// By `pg_export_snapshot()`.
    pub snapshot: String,
    pub taken: Timestamp,
    /// Its age.
    pub seconds: f64,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct DatabaseStatus {
    pub name: String,
    pub steps: Vec<StepStatus>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct StepStatus {
    pub id: StepId,
    pub kind: Kind,
    pub state: StepPhase,
    /// How often the step was started; 0: never.
    pub attempts: u32,
    /// When the last attempt started.
    pub started: Option<Timestamp>,
    /// How long the last attempt took, or takes until now; `null`: no attempt, or without an end.
    pub seconds: Option<f64>,
    pub error: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum StepPhase {
    Done,
    Running,
    Failed,
    /// Stopped by a signal, or dead with its run.
    Interrupted,
    Pending,
}

impl StepPhase {
    fn word(self) -> (&'static str, Tone) {
        match self {
            StepPhase::Done => ("done", Tone::Good),
            StepPhase::Running => ("running", Tone::Plain),
            StepPhase::Failed => ("FAILED", Tone::Bad),
            StepPhase::Interrupted => ("interrupted", Tone::Attention),
            StepPhase::Pending => ("pending", Tone::Plain),
        }
    }
}

/// Reads the status off the steps of the compiled plan and the journal about it.
///
/// `under_way`: a run holds the state's lock. The journal alone cannot tell a run at work from one
/// that was killed.
pub(crate) fn status(
    name: &str,
    steps: &[Step],
    state: &State,
    under_way: bool,
    now: Timestamp,
) -> Status {
    let mut status = Status {
        name: name.to_owned(),
        now,
        steps_total: steps.len(),
        steps_done: 0,
        runs: state.runs.iter().filter(|run| !run.is_reset).count(),
        run: state.runs.last().map(|run| Run {
            started: run.started,
            under_way: under_way && run.ended.is_none() && !run.is_reset,
            reset: run.is_reset,
            ended: run.ended.map(|(at, _, _)| at),
            outcome: run.ended.map(|(_, outcome, _)| outcome),
            exit_code: run.ended.map(|(_, _, exit_code)| exit_code),
        }),
        snapshots: Vec::new(),
        tuned: state.tuned.keys().cloned().collect(),
        closed: closed::closed(state),
        server: Vec::new(),
        databases: Vec::new(),
    };
    let alive = status.run.as_ref().is_some_and(|run| run.under_way);
    let held = state.snapshots.iter().filter(|_| alive);
    status.snapshots = held
        .map(|(database, held)| SnapshotStatus {
            database: database.clone(),
            snapshot: held.id.clone(),
            taken: held.taken,
            seconds: seconds_between(held.taken, now),
        })
        .collect();
    let mut databases: IndexMap<&str, Vec<StepStatus>> = IndexMap::new();
    for step in steps {
        let told = step_status(&step.id, state.steps.get(&step.id), alive, now);
        status.steps_done += usize::from(told.state == StepPhase::Done);
        match step.id.database_name() {
            Some(database) => databases.entry(database).or_default().push(told),
            None => status.server.push(told),
        }
    }
    status.databases = databases
        .into_iter()
        .map(|(name, steps)| DatabaseStatus {
            name: name.to_owned(),
            steps,
        })
        .collect();
    status
}

fn step_status(id: &StepId, state: Option<&StepState>, alive: bool, now: Timestamp) -> StepStatus {
    let phase = match state.map(|state| state.status) {
        None => StepPhase::Pending,
        Some(Recorded::Done) => StepPhase::Done,
        Some(Recorded::Failed) => StepPhase::Failed,
        Some(Recorded::Started) if alive => StepPhase::Running,
        Some(Recorded::Started | Recorded::Interrupted) => StepPhase::Interrupted,
    };
    StepStatus {
        id: id.clone(),
        kind: id.kind,
        state: phase,
        attempts: state.map_or(0, |state| state.attempt),
        started: state.map(|state| state.started),
        seconds: match (phase, state) {
            (StepPhase::Running, Some(state)) => Some(seconds_between(state.started, now)),
            (_, state) => state.and_then(|state| state.seconds),
        },
        error: state
            .filter(|_| phase == StepPhase::Failed)
            .and_then(|state| state.error.clone()),
    }
}

/// The status as JSON, with an end of line.
pub(crate) fn json(status: &Status) -> String {
    let text = serde_json::to_string_pretty(status).expect("a status has no keys but strings");
    escape_json(&text) + "\n"
}

/// The status for a terminal of this width. Times of day are shown in UTC, durations matter more.
pub(crate) fn text(status: &Status, columns: usize, color: Color) -> String {
    let mut out = String::new();
    for line in [overall(status), run(status)] {
        wrap(&mut out, "", &line, columns);
    }
    for snapshot in &status.snapshots {
        let line = format!(
            "database {}: its snapshot {} is {} old, and vacuum on the source cannot remove rows that it sees",
            escape_control(&snapshot.database),
            snapshot.snapshot,
            duration(snapshot.seconds)
        );
        wrap(&mut out, "", &line, columns);
    }
    let is_under_way = status.run.as_ref().is_some_and(|run| run.under_way);
    if !status.tuned.is_empty() && !is_under_way {
        let line = format!(
            "the target still has its settings for the load ({}): `pg-migrate revert PLAN` restores its own \
             settings, and so does the next run before anything else",
            status.tuned.join(", ")
        );
        let mut lines = String::new();
        wrap(&mut lines, "", &line, columns);
        for line in lines.lines() {
            out.push_str(&color.paint(Tone::Attention, line));
            out.push('\n');
        }
    }
    if !is_under_way {
        for line in closed::sentences(&status.closed) {
            wrap(&mut out, "", &line, columns);
        }
    }
    if !status.server.is_empty() {
        group(&mut out, "server", &status.server, columns, color);
    }
    for database in &status.databases {
        let title = format!("database {}", escape_control(&database.name));
        group(&mut out, &title, &database.steps, columns, color);
    }
    out
}

/// `erp-10-to-18: 12 of 68 steps done, 2 running, 1 failed`.
fn overall(status: &Status) -> String {
    let mut text = format!(
        "{}: {} of {} done",
        escape_control(&status.name),
        count(status.steps_done as u64),
        counted(status.steps_total, "step"),
    );
    for phase in [
        StepPhase::Running,
        StepPhase::Failed,
        StepPhase::Interrupted,
    ] {
        let databases = status.databases.iter().flat_map(|database| &database.steps);
        let number = databases
            .chain(&status.server)
            .filter(|step| step.state == phase)
            .count();
        if number > 0 {
            let word = phase.word().0.to_lowercase();
            text.push_str(&format!(", {} {word}", count(number as u64)));
        }
    }
    text
}

fn run(status: &Status) -> String {
    let Some(run) = &status.run else {
        return "never run: `pg-migrate run PLAN` starts it".to_owned();
    };
    let ago = |at| duration(seconds_between(at, status.now));
    let number = if status.runs > 1 {
        format!("run {}", status.runs)
    } else {
        "run".to_owned()
    };
    let started = clock(run.started);
    if run.reset {
        return format!(
            "`pg-migrate reset` forgot steps at {started}: `pg-migrate run PLAN` does them again"
        );
    }
    match (run.ended, run.outcome) {
        (Some(ended), Some(outcome)) => format!(
            "{number} {} after {}, {} ago (from {started} to {}{})",
            match outcome {
                Outcome::Completed => "completed",
                Outcome::Failed => "ended with failed steps",
                Outcome::Mismatched => "ended with differences",
                Outcome::Interrupted => "was interrupted",
            },
            duration(seconds_between(run.started, ended)),
            ago(ended),
            clock(ended),
            run.exit_code
                .map_or(String::new(), |code| format!(", exit code {code}")),
        ),
        _ if run.under_way => format!(
            "{number} under way for {}, since {started}",
            ago(run.started)
        ),
        _ => format!(
            "{number} was started at {started} and did not record its end: it was killed. `pg-migrate run PLAN` resumes it"
        ),
    }
}

fn clock(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

fn group(out: &mut String, title: &str, steps: &[StepStatus], columns: usize, color: Color) {
    let done = steps.iter().filter(|step| step.state == StepPhase::Done);
    out.push_str(&format!(
        "\n{title}: {} of {} done\n",
        done.count(),
        steps.len()
    ));
    for step in steps {
        let (word, tone) = step.state.word();
        let seconds = step.seconds.map_or(String::new(), duration);
        let attempts = match step.attempts {
            0 | 1 => String::new(),
            attempts => format!("  attempt {attempts}"),
        };
        let line = format!(
            "  {} {} {}{attempts}",
            left(step.kind.as_str(), KIND),
            color.paint(tone, &left(word, PHASE)),
            right(&seconds, SECONDS),
        );
        out.push_str(line.trim_end());
        out.push('\n');
        if let Some(error) = &step.error {
            wrap(out, "      ", error, columns);
        }
    }
}

/// Columns of the longest kind, phase and duration.
const KIND: usize = 16;
const PHASE: usize = 11;
const SECONDS: usize = 11;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::HeldSnapshot;
    use crate::report::samples::{at, graph, state};

    fn sample(state: &State, under_way: bool, now: i64) -> Status {
        let graph = graph();
        status(&graph.name, &graph.steps, state, under_way, at(now))
    }

    #[test]
    fn tells_every_step() {
        let status = sample(&state(), false, 9_000);
        insta::assert_snapshot!(text(&status, 80, Color::Off), @r#"
        erp-10-to-18: 17 of 32 steps done, 2 failed, 1 interrupted
        run 2 ended with failed steps after 1h 06m 40s, 16m 40s ago (from 2026-03-01
        23:06:40 UTC to 2026-03-02 00:13:20 UTC, exit code 4)
        the target still has its settings for the load (fsync): `pg-migrate revert PLAN`
        restores its own settings, and so does the next run before anything else

        server: 2 of 3 done
          tune-target      done              0.4 s
          globals          done              2.2 s
          restore-settings pending

        database crm: 6 of 6 done
          create           done             30.0 s
          dump             done             30.0 s
          source-counts    done             30.0 s
          restore          done             1m 00s
          target-counts    done              1.0 s
          verify           done              0.1 s

        database we\u{1b}[31mird "db": 5 of 6 done
          create           done             12.5 s
          dump             done             12.5 s
          source-counts    done             12.5 s
          restore          done             12.5 s
          target-counts    done             12.5 s
          verify           FAILED            0.1 s
              2 of 3 tables differ

        database 請求書管理システム顧客別売上集計二〇二四年: 3 of 6 done
          create           done             5m 00s
          dump             done             5m 00s
          source-counts    done             5m 00s
          restore          FAILED          20m 01s  attempt 5
              pg_restore ended with 1 on the target:
                ERROR:  could not access file "$libdir/legacy": No such file or
                directory
          target-counts    pending
          verify           pending

        database erp: 1 of 11 done
          create           done              0.2 s
          dump             interrupted
          source-counts    pending
          restore          pending
          target-counts    pending
          verify           pending
          delayed-dump     pending
          drop-indexes     pending
          delayed-restore  pending
          recreate-indexes pending
          delayed-verify   pending
        "#);
    }

    #[test]
    fn a_started_step_runs_while_its_run_does() {
        let mut state = state();
        state.runs[1].ended = None;
        let dump = StepId::database(&"erp".into(), Kind::Dump);
        state.steps.get_mut(&dump).unwrap().status = Recorded::Started;
        for (under_way, phase, seconds) in [
            (true, StepPhase::Running, Some(699.0)),
            (false, StepPhase::Interrupted, None),
        ] {
            let status = sample(&state, under_way, 5_000);
            let erp = status.databases.last().unwrap();
            let step = erp
                .steps
                .iter()
                .find(|step| step.kind == Kind::Dump)
                .unwrap();
            assert_eq!((step.state, step.seconds), (phase, seconds));
        }
        insta::assert_snapshot!(
            [true, false].map(|under_way| run(&sample(&state, under_way, 5_000))).join("\n"),
            @"
        run 2 under way for 16m 40s, since 2026-03-01 23:06:40 UTC
        run 2 was started at 2026-03-01 23:06:40 UTC and did not record its end: it was killed. `pg-migrate run PLAN` resumes it
        "
        );
        assert!(run(&sample(&State::default(), false, 0)).starts_with("never run"));
    }

    #[test]
    fn a_snapshot_has_its_age_while_the_run_is_under_way() {
        let mut state = state();
        state.runs[1].ended = None;
        let held = HeldSnapshot {
            id: "00000003-0000001B-1".into(),
            taken: at(4_000),
        };
        state.snapshots.insert("erp".into(), held);
        assert!(sample(&state, false, 9_000).snapshots.is_empty());
        let status = sample(&state, true, 9_000);
        insta::assert_snapshot!(serde_json::to_string(&status.snapshots).unwrap(), @r#"[{"database":"erp","snapshot":"00000003-0000001B-1","taken":"2026-03-01T23:06:40Z","seconds":5000.0}]"#);
        let text = text(&status, 80, Color::Off);
        let lines: Vec<&str> = text.lines().skip(2).take(2).collect();
        insta::assert_snapshot!(lines.join("\n"), @"
        database erp: its snapshot 00000003-0000001B-1 is 1h 23m 20s old, and vacuum on
        the source cannot remove rows that it sees
        ");
    }

    #[test]
    fn json_keeps_its_keys() {
        let mut status = sample(&state(), false, 9_000);
        status.databases.drain(..1);
        status.databases.truncate(1);
        status.databases[0].steps.drain(..5);
        status.server.truncate(1);
        insta::assert_snapshot!(json(&status), @r#"
        {
          "name": "erp-10-to-18",
          "now": "2026-03-02T00:30:00Z",
          "steps_total": 32,
          "steps_done": 17,
          "runs": 2,
          "run": {
            "started": "2026-03-01T23:06:40Z",
            "under_way": false,
            "ended": "2026-03-02T00:13:20Z",
            "outcome": "failed",
            "exit_code": 4
          },
          "snapshots": [],
          "tuned": [
            "fsync"
          ],
          "server": [
            {
              "id": "tune-target",
              "kind": "tune-target",
              "state": "done",
              "attempts": 1,
              "started": "2026-03-01T22:00:00Z",
              "seconds": 0.4,
              "error": null
            }
          ],
          "databases": [
            {
              "name": "we\u001b[31mird \"db\"",
              "steps": [
                {
                  "id": "we\u001b[31mird \"db\"/verify",
                  "kind": "verify",
                  "state": "failed",
                  "attempts": 1,
                  "started": "2026-03-01T23:08:33Z",
                  "seconds": 0.1,
                  "error": "2 of 3 tables differ"
                }
              ]
            }
          ]
        }
        "#);
    }
}
