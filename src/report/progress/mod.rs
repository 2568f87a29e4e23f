//! Progress as it happens: bars on a terminal, plain lines elsewhere.
//!
//! Events come in through [`Progress::handle`], the caller's timer through [`Progress::tick`]. `tally`
//! adds the events up, `news` and `frame` say it in words, `screen` brings it to stderr without tearing
//! log lines.

mod frame;
mod news;
mod screen;
mod tally;

use indicatif::TermLike;
use jiff::{Timestamp, Zoned};

pub(crate) use screen::LogWriter;
use screen::Screen;
use tally::Tally;

use super::Color;
use crate::event::Event;

/// Seconds between two lines about the whole run, where there are no bars.
const SECONDS_BETWEEN_LINES: i64 = 30;

/// Shows a run on stderr.
pub(crate) struct Progress {
    screen: Screen,
    color: Color,
    clock: Box<dyn Fn() -> Zoned + Send>,
    tally: Tally,
    /// When a line about the whole run is due, where there are no bars.
    next_line: Option<Timestamp>,
}

impl Progress {
    /// Bars, and lines above them. For stderr the terminal is [`console::Term::stderr`].
    ///
    /// `clock` gives the time of day, in the time zone in which lines show it.
    pub(crate) fn bars(
        terminal: impl TermLike + 'static,
        color: Color,
        clock: impl Fn() -> Zoned + Send + 'static,
    ) -> Self {
        Progress::new(Screen::terminal(terminal), color, clock)
    }

    /// Plain lines. For stderr `out` is [`std::io::stderr`].
    pub(crate) fn lines(
        out: impl std::io::Write + Send + 'static,
        color: Color,
        clock: impl Fn() -> Zoned + Send + 'static,
    ) -> Self {
        Progress::new(Screen::plain(out), color, clock)
    }

    fn new(screen: Screen, color: Color, clock: impl Fn() -> Zoned + Send + 'static) -> Self {
        Progress {
            screen,
            color,
            clock: Box::new(clock),
            tally: Tally::default(),
            next_line: None,
        }
    }

    /// Where log lines go, so that they and the bars stay whole.
    pub(crate) fn log_writer(&self) -> LogWriter {
        LogWriter::new(self.screen.clone())
    }

    /// Takes an event in: prints what is news at once, and remembers the rest for the next tick.
    pub(crate) fn handle(&mut self, event: &Event) {
        let now = (self.clock)();
        let change = self.tally.apply(event, now.timestamp());
        for news in news::for_event(event, &change, &self.tally) {
            if news.also_above_bars || !self.screen.has_bars() {
                self.print(&news.text, news.tone, &now);
            }
        }
        if matches!(event, Event::RunEnded) {
            self.screen.end_bars();
        }
    }

    /// Redraws the bars, or prints a line now and then. A few times a second are enough.
    pub(crate) fn tick(&mut self) {
        if !self.tally.is_running() {
            return;
        }
        let now = (self.clock)();
        if let Some((columns, rows)) = self.screen.size() {
            let lines = frame::lines(&self.tally, now.timestamp(), columns, rows, self.color);
            self.screen.draw(&lines);
            return;
        }
        let due = *self.next_line.get_or_insert_with(|| later(&now));
        if now.timestamp() >= due {
            self.next_line = Some(later(&now));
            let text = news::now_and_then(&self.tally);
            self.print(&text, super::color::Tone::Plain, &now);
        }
    }

    fn print(&self, text: &str, tone: super::color::Tone, now: &Zoned) {
        let line = format!(
            "{} {}\n",
            now.strftime("%H:%M:%S"),
            self.color.paint(tone, text)
        );
        self.screen.print(line.as_bytes());
    }
}

fn later(now: &Zoned) -> Timestamp {
    now.timestamp() + jiff::SignedDuration::from_secs(SECONDS_BETWEEN_LINES)
}

#[cfg(test)]
mod tests;
