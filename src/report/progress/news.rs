//! What is worth a line of its own.

use super::frame::{amount, sums};
use super::tally::{Change, Tally};
use crate::event::{Ending, Event, Progress};
use crate::postgres::escape_control;
use crate::report::color::Tone;
use crate::report::format::{bytes, count, counted, duration};

/// Steps that a line about the whole run names.
const STEPS_NAMED: usize = 5;
/// Lines of an error that are shown: the first, which says what failed, and the last, since client programs print the cause
/// last. All of them are in the journal, the report and the log.
const ERROR_LINES: usize = 20;

/// A line, or a few that belong together; without the time and without an end of line.
pub(super) struct News {
    pub(super) text: String,
    pub(super) tone: Tone,
    /// Worth a line even where bars show what is under way.
    pub(super) also_above_bars: bool,
}

impl News {
    fn line(text: String) -> Self {
        News {
            text,
            tone: Tone::Plain,
            also_above_bars: false,
        }
    }

    fn loud(tone: Tone, text: String) -> Self {
        News {
            text,
            tone,
            also_above_bars: true,
        }
    }
}

/// What the event, just added to the tally, has to say.
pub(super) fn for_event(event: &Event, change: &Change, tally: &Tally) -> Vec<News> {
    let mut news: Vec<News> = match event {
        Event::RunStarted { resumed, .. } => {
            vec![News::loud(Tone::Plain, started(tally, *resumed))]
        }
        Event::StepStarted { .. } | Event::StepProgress { .. } => Vec::new(),
        Event::StepEnded {
            step,
            ending,
            seconds,
        } => {
            let step = step.to_string();
            vec![ended(
                &escape_control(&step),
                ending,
                *seconds,
                change.progress,
            )]
        }
        Event::StepWillRetry {
            step,
            attempt,
            error,
            pause_seconds,
        } => vec![News::loud(
            Tone::Attention,
            format!(
                "{} failed in attempt {attempt} and is tried again in {}: {}",
                escape_control(&step.to_string()),
                duration(*pause_seconds),
                shown(error)
            ),
        )],
        Event::Warning { database, message } => {
            let about = match database {
                Some(database) => format!("{}: ", escape_control(database)),
                None => String::new(),
            };
            vec![News::loud(
                Tone::Attention,
                format!("warning: {about}{}", shown(message)),
            )]
        }
        Event::Stopping { reason } => vec![News::loud(
            Tone::Attention,
            format!("stopping: {}", shown(reason)),
        )],
        Event::RunEnded => vec![News::line(format!("run ended: {}", sums(tally)))],
    };
    if let Some(completed) = &change.completed {
        news.push(News::loud(
            Tone::Good,
            format!(
                "{} completed in {}, {}: {} of {} done",
                escape_control(&completed.name),
                duration(completed.seconds),
                bytes(completed.bytes),
                count(tally.databases_done as u64),
                counted(tally.databases, "database"),
            ),
        ));
    }
    news
}

fn started(tally: &Tally, resumed: bool) -> String {
    let mut text = format!(
        "run of {} {}: {}, {}, {}",
        escape_control(&tally.name),
        if resumed { "resumed" } else { "started" },
        counted(tally.databases, "database"),
        bytes(tally.bytes),
        counted(tally.steps, "step"),
    );
    if resumed {
        text.push_str(&format!(
            ", {} of them done before",
            count(tally.steps_done as u64)
        ));
    }
    text
}

fn ended(step: &str, ending: &Ending, seconds: f64, progress: Option<Progress>) -> News {
    let took = duration(seconds);
    match ending {
        Ending::Done => {
            // A step that is done did everything, so only what it did is of interest.
            let did = progress.map(|progress| Progress {
                total: None,
                ..progress
            });
            let did = did.map_or(String::new(), |did| format!(", {}", amount(did)));
            News::line(format!("{step} done in {took}{did}"))
        }
        Ending::Failed { error } => News::loud(
            Tone::Bad,
            format!("{step} FAILED after {took}: {}", shown(error)),
        ),
        Ending::Interrupted => {
            News::loud(Tone::Attention, format!("{step} interrupted after {took}"))
        }
        Ending::Skipped => News::line(format!("{step} skipped: a step that it needs failed")),
    }
}

/// The whole run in one line: the sums, and some of what is under way.
pub(super) fn now_and_then(tally: &Tally) -> String {
    let mut text = sums(tally);
    let steps: Vec<String> = tally
        .under_way
        .iter()
        .take(STEPS_NAMED)
        .map(|(id, step)| {
            let id = id.to_string();
            match step.progress {
                Some(progress) => format!("{} {}", escape_control(&id), amount(progress)),
                None => escape_control(&id).into_owned(),
            }
        })
        .collect();
    if !steps.is_empty() {
        text.push_str("; under way: ");
        text.push_str(&steps.join(", "));
    }
    if tally.under_way.len() > STEPS_NAMED {
        text.push_str(&format!(
            " and {} more",
            count((tally.under_way.len() - STEPS_NAMED) as u64)
        ));
    }
    text
}

/// A text from elsewhere, its further lines indented below the first.
fn shown(text: &str) -> String {
    let lines: Vec<&str> = text.trim_end().lines().collect();
    let left_out = lines.len().saturating_sub(ERROR_LINES);
    let mut shown: Vec<_> = lines.iter().map(|line| escape_control(line)).collect();
    if left_out > 0 {
        let instead = format!("({} left out)", counted(left_out, "line"));
        shown.splice(1..=left_out, [instead.into()]);
    }
    shown.join("\n         ")
}
