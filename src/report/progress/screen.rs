//! stderr: bars at its bottom if it is a terminal, lines above them.

use std::fmt;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle, TermLike};
use tracing_subscriber::fmt::MakeWriter;

/// Draws a second, at most: a terminal on a slow line must not hold up the run.
const DRAWS_A_SECOND: u8 = 10;

#[derive(Clone)]
pub(super) enum Screen {
    Plain(Arc<Mutex<dyn Write + Send>>),
    Terminal {
        terminal: Terminal,
        all: MultiProgress,
        /// All bars, a line each. One thing for indicatif, so that a tick redraws them once and not as
        /// often as there are bars; `None` while there is nothing to show.
        bars: Arc<Mutex<Option<ProgressBar>>>,
    },
}

impl Screen {
    pub(super) fn plain(out: impl Write + Send + 'static) -> Self {
        Screen::Plain(Arc::new(Mutex::new(out)))
    }

    pub(super) fn terminal(terminal: impl TermLike + 'static) -> Self {
        let terminal = Terminal(Arc::new(terminal));
        let target =
            ProgressDrawTarget::term_like_with_hz(Box::new(terminal.clone()), DRAWS_A_SECOND);
        Screen::Terminal {
            terminal,
            all: MultiProgress::with_draw_target(target),
            bars: Arc::default(),
        }
    }

    pub(super) fn has_bars(&self) -> bool {
        matches!(self, Screen::Terminal { .. })
    }

    /// Columns and rows of the terminal, as they are now.
    pub(super) fn size(&self) -> Option<(usize, usize)> {
        match self {
            Screen::Plain(_) => None,
            Screen::Terminal { terminal, .. } => {
                Some((terminal.width().into(), terminal.height().into()))
            }
        }
    }

    /// Shows these lines as bars, in place of those before.
    pub(super) fn draw(&self, lines: &[String]) {
        if let Screen::Terminal { all, bars, .. } = self {
            let mut bars = bars.lock().unwrap_or_else(PoisonError::into_inner);
            let bars = bars.get_or_insert_with(|| {
                let style = ProgressStyle::with_template("{msg}").expect("the template is right");
                all.add(ProgressBar::no_length().with_style(style))
            });
            bars.set_message(lines.join("\n"));
        }
    }

    /// Leaves the terminal as if there had been no bars.
    pub(super) fn end_bars(&self) {
        if let Screen::Terminal { all, bars, .. } = self {
            let bars = bars.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(bars) = bars {
                bars.finish_and_clear();
                all.remove(&bars);
            }
        }
    }

    /// Prints whole lines above the bars.
    ///
    /// Errors are ignored: a run does not fail because its progress has no reader any more. What
    /// matters is in the journal and in the log.
    pub(super) fn print(&self, text: &[u8]) {
        match self {
            Screen::Plain(out) => {
                let mut out = out.lock().unwrap_or_else(PoisonError::into_inner);
                let _ = out.write_all(text).and_then(|()| out.flush());
            }
            Screen::Terminal { terminal, all, .. } => all.suspend(|| {
                for line in String::from_utf8_lossy(text).lines() {
                    let _ = terminal.write_line(line);
                }
                let _ = terminal.flush();
            }),
        }
    }
}

/// A terminal whose errors are ignored. indicatif panics on some of them, and a terminal that was
/// closed must not end a run.
#[derive(Debug, Clone)]
pub(super) struct Terminal(Arc<dyn TermLike>);

impl TermLike for Terminal {
    fn width(&self) -> u16 {
        self.0.width()
    }

    fn height(&self) -> u16 {
        self.0.height()
    }

    fn move_cursor_up(&self, n: usize) -> io::Result<()> {
        forgive(self.0.move_cursor_up(n))
    }

    fn move_cursor_down(&self, n: usize) -> io::Result<()> {
        forgive(self.0.move_cursor_down(n))
    }

    fn move_cursor_right(&self, n: usize) -> io::Result<()> {
        forgive(self.0.move_cursor_right(n))
    }

    fn move_cursor_left(&self, n: usize) -> io::Result<()> {
        forgive(self.0.move_cursor_left(n))
    }

    fn write_line(&self, text: &str) -> io::Result<()> {
        forgive(self.0.write_line(text))
    }

    fn write_str(&self, text: &str) -> io::Result<()> {
        forgive(self.0.write_str(text))
    }

    fn clear_line(&self) -> io::Result<()> {
        forgive(self.0.clear_line())
    }

    fn flush(&self) -> io::Result<()> {
        forgive(self.0.flush())
    }
}

fn forgive(result: io::Result<()>) -> io::Result<()> {
    drop(result);
    Ok(())
}

/// Takes log lines and prints them above the bars. For `tracing_subscriber::fmt::layer().with_writer`.
#[derive(Clone)]
pub(crate) struct LogWriter {
    screen: Screen,
}

impl LogWriter {
    pub(super) fn new(screen: Screen) -> Self {
        LogWriter { screen }
    }
}

impl fmt::Debug for LogWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogWriter").finish_non_exhaustive()
    }
}

impl<'a> MakeWriter<'a> for LogWriter {
    type Writer = LogLine;

    fn make_writer(&'a self) -> LogLine {
        LogLine {
            screen: self.screen.clone(),
            text: Vec::new(),
        }
    }
}

/// One log event, printed whole when it is complete.
pub(crate) struct LogLine {
    screen: Screen,
    text: Vec<u8>,
}

impl Write for LogLine {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        self.text.extend_from_slice(text);
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for LogLine {
    fn drop(&mut self) {
        if !self.text.is_empty() {
            self.screen.print(&self.text);
        }
    }
}
