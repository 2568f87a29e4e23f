//! Events in, what stands on the screen out.

use std::io::Write;
use std::sync::{Arc, Mutex};

use indicatif::{InMemoryTerm, TermLike};
use jiff::{SignedDuration, Zoned};
use tracing_subscriber::fmt::MakeWriter;

use super::*;
use crate::event::{DatabaseWork, Ending, Progress as Done, Unit};
use crate::names::{Kind, Phase, StepId};
use crate::report::samples::{EVIL, LONG};

/// A clock that stands still until it is moved.
#[derive(Clone)]
struct Clock(Arc<Mutex<Zoned>>);

impl Clock {
    fn new() -> Self {
        let start = "2026-03-01T12:03:04+01:00[+01:00]";
        Clock(Arc::new(Mutex::new(start.parse().unwrap())))
    }

    fn read(&self) -> impl Fn() -> Zoned + Send + 'static {
        let clock = Arc::clone(&self.0);
        move || clock.lock().unwrap().clone()
    }

    fn pass(&self, seconds: i64) {
        let mut now = self.0.lock().unwrap();
        *now = &*now + SignedDuration::from_secs(seconds);
    }
}

#[derive(Clone, Default)]
struct Paper(Arc<Mutex<Vec<u8>>>);

impl Paper {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Paper {
    fn write(&mut self, text: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(text)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn step(database: &str, kind: Kind) -> StepId {
    StepId::database(&database.into(), kind)
}

fn run_started(databases: &[&str]) -> Event {
    Event::RunStarted {
        name: "erp-10-to-18".to_owned(),
        resumed: false,
        steps: 6 * databases.len() + 1,
        done: 0,
        databases: databases
            .iter()
            .map(|name| DatabaseWork {
                name: (*name).to_owned(),
                bytes: 1 << 30,
                steps: 6,
                done: 0,
            })
            .collect(),
    }
}

fn started(step: StepId) -> Event {
    Event::StepStarted { step }
}

fn progress(step: StepId, done: u64, total: Option<u64>, unit: Unit) -> Event {
    Event::StepProgress {
        step,
        progress: Done { done, total, unit },
    }
}

fn ended(step: StepId, ending: Ending, seconds: f64) -> Event {
    Event::StepEnded {
        step,
        ending,
        seconds,
    }
}

fn failed(step: StepId) -> Event {
    let error = "pg_restore ended with 1:\n  ERROR:  no \x1b[1mlibrary\n".to_owned();
    ended(step, Ending::Failed { error }, 3_723.4)
}

/// Some of everything under way.
fn busy() -> Vec<Event> {
    vec![
        run_started(&["crm", EVIL, LONG, "erp"]),
        started(StepId::server(Kind::TuneTarget)),
        ended(StepId::server(Kind::TuneTarget), Ending::Done, 0.2),
        started(StepId::server(Kind::Globals)),
        started(step("crm", Kind::SourceCounts)),
        started(step("crm", Kind::Dump)),
        progress(step("crm", Kind::SourceCounts), 3, Some(42), Unit::Tables),
        progress(
            step("crm", Kind::Dump),
            400 << 20,
            Some(1_023 << 20),
            Unit::Bytes,
        ),
        started(step(EVIL, Kind::RecreateIndexes)),
        progress(step(EVIL, Kind::RecreateIndexes), 12, Some(40), Unit::Items),
        started(step(LONG, Kind::TargetCounts)),
        progress(
            step(LONG, Kind::TargetCounts),
            1_234_567,
            None,
            Unit::Tables,
        ),
        started(step("erp", Kind::Restore)),
        progress(step("erp", Kind::Restore), 9_999, Some(9_999), Unit::Items),
    ]
}

fn complete(database: &str) -> Vec<Event> {
    let kinds = Kind::ALL
        .into_iter()
        .filter(|kind| kind.phase() == Phase::Regular);
    kinds
        .flat_map(|kind| {
            let step = step(database, kind);
            [started(step.clone()), ended(step, Ending::Done, 1.0)]
        })
        .collect()
}

fn on_terminal(rows: u16, columns: u16) -> (Progress, InMemoryTerm, Clock) {
    let (terminal, clock) = (InMemoryTerm::new(rows, columns), Clock::new());
    let progress = Progress::bars(terminal.clone(), Color::Off, clock.read());
    (progress, terminal, clock)
}

#[test]
fn bars_at_80_columns() {
    let (mut progress, terminal, clock) = on_terminal(24, 80);
    busy().iter().for_each(|event| progress.handle(event));
    clock.pass(3_723);
    progress.tick();
    insta::assert_snapshot!(terminal.contents(), @r#"
    12:03:04 run of erp-10-to-18 started: 4 databases, 4.0 GB, 25 steps
    (server)             globals                                             1:02:03
    crm                  dump +1          [###.......] 400 MB of 1023 MB     1:02:03
    we\u{1b}[31mird "db" recreate-indexes [###.......] 12 of 40 items        1:02:03
    請求書管理…〇二四年  target-counts                 1.2M tables           1:02:03
    erp                  restore          [##########] 10.0k of 10.0k items  1:02:03
    1 of 25 steps, 0 of 4 databases done, 5 under way                        1:02:03
    "#);
}

#[test]
fn bars_at_200_columns() {
    let (mut progress, terminal, clock) = on_terminal(24, 200);
    busy().iter().for_each(|event| progress.handle(event));
    clock.pass(42);
    progress.tick();
    insta::assert_snapshot!(terminal.contents(), @r#"
    12:03:04 run of erp-10-to-18 started: 4 databases, 4.0 GB, 25 steps
    (server)                                   globals                                                                                                0:42
    crm                                        dump +1          [######################....................................] 400 MB of 1023 MB        0:42
    we\u{1b}[31mird "db"                       recreate-indexes [#################.........................................] 12 of 40 items           0:42
    請求書管理システム顧客別売上集計二〇二四年 target-counts                                                                 1.2M tables              0:42
    erp                                        restore          [##########################################################] 10.0k of 10.0k items     0:42
    1 of 25 steps, 0 of 4 databases done, 5 under way                                                                                                                                                   0:42
    "#);
}

#[test]
fn bars_leave_room_and_the_rest_is_summed_up() {
    let (mut progress, terminal, _clock) = on_terminal(7, 80);
    busy().iter().for_each(|event| progress.handle(event));
    progress.tick();
    insta::assert_snapshot!(terminal.contents(), @r#"
    12:03:04 run of erp-10-to-18 started: 4 databases, 4.0 GB, 25 steps
    (server)             globals                                                0:00
    crm                  dump +1          [###.......] 400 MB of 1023 MB        0:00
    we\u{1b}[31mird "db" recreate-indexes [###.......] 12 of 40 items           0:00
    … and 2 more under way: restore 1, target-counts 1
    1 of 25 steps, 0 of 4 databases done, 5 under way                           0:00
    "#);
}

#[test]
fn a_bar_goes_when_its_database_has_nothing_under_way() {
    let (mut progress, terminal, clock) = on_terminal(24, 80);
    busy().iter().for_each(|event| progress.handle(event));
    progress.tick();
    clock.pass(60);
    for kind in [Kind::Dump, Kind::SourceCounts] {
        progress.handle(&ended(step("crm", kind), Ending::Done, 60.0));
    }
    progress.handle(&failed(step(LONG, Kind::TargetCounts)));
    progress.handle(&ended(
        step(EVIL, Kind::RecreateIndexes),
        Ending::Done,
        60.0,
    ));
    progress.tick();
    insta::assert_snapshot!(terminal.contents(), @r"
    12:03:04 run of erp-10-to-18 started: 4 databases, 4.0 GB, 25 steps
    12:04:04 請求書管理システム顧客別売上集計二〇二四年/target-counts FAILED after 1
    h 02m 03s: pg_restore ended with 1:
               ERROR:  no \u{1b}[1mlibrary
    (server)             globals                                                1:00
    erp                  restore          [##########] 10.0k of 10.0k items     1:00
    4 of 25 steps, 0 of 4 databases done, 1 failed, 2 under way                 1:00
    ");
}

#[test]
fn log_lines_and_news_stand_above_the_bars() {
    let (mut progress, terminal, _clock) = on_terminal(24, 80);
    progress.handle(&run_started(&["crm", "erp"]));
    progress.handle(&started(step("erp", Kind::Dump)));
    progress.tick();
    let writer = progress.log_writer();
    let mut line = writer.make_writer();
    write!(line, "INFO half a line").unwrap();
    assert!(
        !terminal.contents().contains("half"),
        "lines are printed whole"
    );
    writeln!(line, " and the other half").unwrap();
    drop(line);
    let subscriber = tracing_subscriber::fmt()
        .with_writer(writer)
        .without_time()
        .with_target(false)
        .with_ansi(false)
        .finish();
    tracing::subscriber::with_default(subscriber, || tracing::info!("and by tracing"));
    complete("crm")
        .iter()
        .for_each(|event| progress.handle(event));
    progress.tick();
    insta::assert_snapshot!(terminal.contents(), @"
    12:03:04 run of erp-10-to-18 started: 2 databases, 2.0 GB, 13 steps
    INFO half a line and the other half
     INFO and by tracing
    12:03:04 crm completed in 0.0 s, 1.0 GB: 1 of 2 databases done
    erp      dump                                                               0:00
    6 of 13 steps, 1 of 2 databases done, 1 under way                           0:00
    ");
    progress.handle(&Event::RunEnded);
    assert!(!terminal.contents().contains("under way"));
    progress.tick();
    assert!(
        !terminal.contents().contains("under way"),
        "nothing is drawn after the end"
    );
}

#[test]
fn plain_lines_tell_what_ended() {
    let (paper, clock) = (Paper::default(), Clock::new());
    let mut progress = Progress::lines(paper.clone(), Color::Off, clock.read());
    for event in busy() {
        progress.handle(&event);
    }
    progress.tick();
    clock.pass(29);
    progress.tick();
    clock.pass(1);
    progress.tick();
    progress.tick();
    progress.handle(&ended(step("crm", Kind::Dump), Ending::Done, 42.13));
    progress.handle(&Event::StepWillRetry {
        step: step("erp", Kind::Restore),
        attempt: 1,
        error: "connection to the target was lost".to_owned(),
        pause_seconds: 2.0,
    });
    progress.handle(&failed(step(LONG, Kind::TargetCounts)));
    progress.handle(&ended(step(LONG, Kind::Verify), Ending::Skipped, 0.0));
    progress.handle(&Event::Warning {
        database: Some(EVIL.to_owned()),
        message: "the snapshot is 2 hours old".to_owned(),
    });
    progress.handle(&Event::Stopping {
        reason: "SIGINT".to_owned(),
    });
    progress.handle(&ended(
        step("crm", Kind::SourceCounts),
        Ending::Interrupted,
        30.0,
    ));
    progress.handle(&Event::RunEnded);
    insta::assert_snapshot!(paper.text(), @r#"
    12:03:04 run of erp-10-to-18 started: 4 databases, 4.0 GB, 25 steps
    12:03:04 tune-target done in 0.2 s
    12:03:34 1 of 25 steps, 0 of 4 databases done; under way: globals, crm/source-counts 3 of 42 tables, crm/dump 400 MB of 1023 MB, we\u{1b}[31mird "db"/recreate-indexes 12 of 40 items, 請求書管理システム顧客別売上集計二〇二四年/target-counts 1,234,567 tables and 1 more
    12:03:34 crm/dump done in 42.1 s, 400 MB
    12:03:34 erp/restore failed in attempt 1 and is tried again in 2.0 s: connection to the target was lost
    12:03:34 請求書管理システム顧客別売上集計二〇二四年/target-counts FAILED after 1h 02m 03s: pg_restore ended with 1:
               ERROR:  no \u{1b}[1mlibrary
    12:03:34 請求書管理システム顧客別売上集計二〇二四年/verify skipped: a step that it needs failed
    12:03:34 warning: we\u{1b}[31mird "db": the snapshot is 2 hours old
    12:03:34 stopping: SIGINT
    12:03:34 crm/source-counts interrupted after 30.0 s
    12:03:34 run ended: 2 of 25 steps, 0 of 4 databases done, 1 failed
    "#);
}

/// Client programs say what they are doing first, and why they ended last.
#[test]
fn of_a_long_error_the_first_line_and_the_last_are_shown() {
    let (paper, clock) = (Paper::default(), Clock::new());
    let mut progress = Progress::lines(paper.clone(), Color::Off, clock.read());
    progress.handle(&run_started(&["crm"]));
    let lines: Vec<String> = (1..=24).map(|line| format!("  line {line}")).collect();
    let error = format!(
        "pg_restore ended with exit status 1:\n{}\n  FATAL: the cause\nlook at the log",
        lines.join("\n")
    );
    progress.handle(&ended(
        step("crm", Kind::Restore),
        Ending::Failed { error },
        1.0,
    ));
    let shown = paper.text();
    assert!(
        shown.contains("pg_restore ended with exit status 1:\n         (7 lines left out)\n"),
        "{shown}"
    );
    assert!(!shown.contains("line 7\n"), "{shown}");
    assert!(shown.contains("  line 8\n"), "{shown}");
    assert!(
        shown.ends_with("FATAL: the cause\n         look at the log\n"),
        "{shown}"
    );
}

#[test]
fn a_resumed_run_says_so_and_completed_databases_count() {
    let (paper, clock) = (Paper::default(), Clock::new());
    let mut progress = Progress::lines(paper.clone(), Color::On, clock.read());
    let Event::RunStarted { mut databases, .. } = run_started(&["crm", "erp"]) else {
        unreachable!("it is the start of a run");
    };
    databases[0].done = 6;
    databases[1].done = 5;
    progress.handle(&Event::RunStarted {
        name: "erp".to_owned(),
        resumed: true,
        steps: 12,
        done: 11,
        databases,
    });
    progress.handle(&started(step("erp", Kind::Verify)));
    clock.pass(3);
    progress.handle(&ended(step("erp", Kind::Verify), Ending::Done, 3.0));
    progress.handle(&Event::RunEnded);
    insta::assert_snapshot!(paper.text().replace('\x1b', "ESC"), @"
    12:03:04 run of erp resumed: 2 databases, 2.0 GB, 12 steps, 11 of them done before
    12:03:07 erp/verify done in 3.0 s
    12:03:07 ESC[32merp completed in 3.0 s, 1.0 GB: 2 of 2 databases doneESC[0m
    12:03:07 run ended: 12 of 12 steps, 2 of 2 databases done
    ");
}

/// A terminal that was closed.
#[derive(Debug)]
struct Gone;

impl TermLike for Gone {
    fn width(&self) -> u16 {
        80
    }
    fn height(&self) -> u16 {
        24
    }
    fn move_cursor_up(&self, _: usize) -> std::io::Result<()> {
        Err(std::io::ErrorKind::BrokenPipe.into())
    }
    fn move_cursor_down(&self, _: usize) -> std::io::Result<()> {
        Err(std::io::ErrorKind::BrokenPipe.into())
    }
    fn move_cursor_right(&self, _: usize) -> std::io::Result<()> {
        Err(std::io::ErrorKind::BrokenPipe.into())
    }
    fn move_cursor_left(&self, _: usize) -> std::io::Result<()> {
        Err(std::io::ErrorKind::BrokenPipe.into())
    }
    fn write_line(&self, _: &str) -> std::io::Result<()> {
        Err(std::io::ErrorKind::BrokenPipe.into())
    }
    fn write_str(&self, _: &str) -> std::io::Result<()> {
        Err(std::io::ErrorKind::BrokenPipe.into())
    }
    fn clear_line(&self) -> std::io::Result<()> {
        Err(std::io::ErrorKind::BrokenPipe.into())
    }
    fn flush(&self) -> std::io::Result<()> {
        Err(std::io::ErrorKind::BrokenPipe.into())
    }
}

#[test]
fn a_closed_terminal_does_not_end_the_run() {
    let mut progress = Progress::bars(Gone, Color::Off, Clock::new().read());
    for event in busy() {
        progress.handle(&event);
        progress.tick();
    }
    progress.handle(&Event::RunEnded);
}
