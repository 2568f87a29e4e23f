//! Tests of [`super::Invocation`], with shell scripts as children.

use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::task::{Context, Waker};
use std::time::Instant;

use nix::sys::signal::kill;
use nix::unistd::Pid;

use super::*;

const CAPTURE: Stdout = Stdout::Capture { limit: 4096 };

fn sh(script: &str) -> Invocation {
    Invocation::new("sh").arguments(["-c", script])
}

async fn run(invocation: Invocation) -> Result<Finished, ChildError> {
    invocation.run(&CancellationToken::new(), |_| {}).await
}

fn text(finished: &Finished) -> &str {
    std::str::from_utf8(&finished.stdout).unwrap().trim_end()
}

/// Whether the process ends, and is reaped by whoever has to, within some seconds.
fn ends(pid: i32) -> bool {
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(5) {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // A zombie whose parent does not care has ended all the same.
        if stat.is_empty() || stat.contains(") Z ") {
            return true;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    false
}

/// Waits until the script has written numbers of processes into the file, one a line.
async fn pids(file: &std::path::Path, count: usize) -> Vec<i32> {
    for _ in 0..500 {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        if text.ends_with('\n') && text.lines().count() == count {
            return text.lines().map(|line| line.parse().unwrap()).collect();
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the script did not start");
}

#[tokio::test]
async fn a_child_has_its_own_group_no_input_and_a_private_umask() {
    let script = "cat; umask; cut -d' ' -f5 /proc/$$/stat; echo $$";
    let finished = run(sh(script).stdout(CAPTURE)).await.unwrap();
    let lines: Vec<_> = text(&finished).lines().collect();
    assert_eq!(lines.len(), 3);
    assert_eq!(lines[0], "0077");
    assert_eq!(lines[1], lines[2]);
}

#[tokio::test]
async fn standard_error_is_kept_whole() {
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("dump.log");
    let script = "i=1; while [ $i -le 5000 ]; do echo \"line $i\"; i=$((i+1)); done >&2; printf 'no end\\377' >&2";
    let mut lines = Vec::new();
    for _ in 0..2 {
        let finished = sh(script)
            .log(&log)
            .run(&CancellationToken::new(), |line| {
                lines.push(line.to_owned())
            })
            .await
            .unwrap();
        assert_eq!(finished.stderr_tail.len(), 20);
        assert_eq!(finished.stderr_tail[0], "line 4982");
        assert_eq!(finished.stderr_tail[19], "no end\u{fffd}");
    }
    assert_eq!(lines.len(), 2 * 5001);
    assert_eq!(
        (lines[0].as_str(), lines[4999].as_str()),
        ("line 1", "line 5000")
    );
    let mut expected: Vec<u8> = (1..=5000)
        .flat_map(|i| format!("line {i}\n").into_bytes())
        .collect();
    // What is no UTF-8 can be read, and told apart.
    expected.extend(br"no end\xff");
    // A second attempt leaves the first one's log in place.
    assert!(std::fs::read(&log).unwrap() == expected.repeat(2));
    assert_eq!(log.metadata().unwrap().permissions().mode() & 0o777, 0o600);
}

#[tokio::test]
async fn a_log_that_cannot_be_written_stops_no_child() {
    let mut count = 0;
    let finished = sh("for i in 1 2 3; do echo $i >&2; done")
        .log("/dev/full")
        .run(&CancellationToken::new(), |_| count += 1)
        .await
        .unwrap();
    assert!(finished.status.success());
    assert_eq!(count, 3);
}

#[tokio::test]
async fn a_failure_says_how_and_shows_the_end_of_standard_error() {
    let finished =
        run(sh("echo secret; printf 'a\\033[31mb\\n' >&2; exit 7").stdout(CAPTURE)).await;
    insta::assert_snapshot!(finished.unwrap().success().unwrap_err(), @r"
    sh ended with exit status 7:
      a\u{1b}[31mb
    ");
    let finished = run(sh("kill -SEGV $$")).await;
    insta::assert_snapshot!(finished.unwrap().success().unwrap_err(), @"sh was killed by SIGSEGV without a message");
}

#[tokio::test]
async fn too_much_output_ends_the_child() {
    let start = Instant::now();
    let error = run(sh("yes").stdout(CAPTURE)).await.unwrap_err();
    insta::assert_snapshot!(error, @"sh wrote more than 4096 bytes to its standard output");
    assert!(start.elapsed() < Duration::from_secs(5));
    let exact = run(sh("head -c 4096 /dev/zero").stdout(CAPTURE))
        .await
        .unwrap();
    assert_eq!(exact.stdout.len(), 4096);
}

/// The roles of a server would be those that were read by then.
#[tokio::test]
async fn output_that_cannot_be_read_to_its_end_is_not_taken_for_all() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("started").display().to_string();
    // Out of the child's process group before the child ends, so that it is not ended with it.
    let leave = format!(
        "setsid sh -c 'touch {file}; exec sleep 3' & until [ -e {file} ]; do sleep 0.01; done; echo half; rm {file}"
    );
    let error = run(sh(&leave).stdout(CAPTURE)).await.unwrap_err();
    insta::assert_snapshot!(error, @"sh ended, but a process that it started still holds its standard output open");
    let failed = run(sh(&format!("{leave}; exit 1")).stdout(CAPTURE)).await;
    assert!(failed.unwrap().success().is_err());
    let ignored = run(sh(&leave).stdout(Stdout::Null)).await;
    assert!(ignored.unwrap().success().is_ok());
}

#[tokio::test]
async fn cancellation_asks_first() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("pids");
    let script = format!(
        "trap 'echo stopping >&2; exit 1' TERM; echo $$ > {}; sleep 60 & wait",
        file.display()
    );
    let stop = CancellationToken::new();
    let (finished, ()) = tokio::join!(sh(&script).run(&stop, |_| {}), async {
        pids(&file, 1).await;
        stop.cancel();
    });
    let finished = finished.unwrap();
    assert!(finished.interrupted);
    assert_eq!(finished.stderr_tail, ["stopping"]);
    assert!(matches!(
        finished.success(),
        Err(ChildError::Interrupted { .. })
    ));
}

#[tokio::test]
async fn cancellation_does_not_ask_twice() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("pids");
    // Ignored signals stay ignored in what the shell starts.
    let script = format!(
        "trap '' TERM; sleep 60 & echo \"$$\n$!\" > {}; sleep 60; sleep 60",
        file.display()
    );
    let stop = CancellationToken::new();
    let grace = Duration::from_millis(300);
    let start = Instant::now();
    let (finished, pids) = tokio::join!(sh(&script).grace(grace).run(&stop, |_| {}), async {
        let pids = pids(&file, 2).await;
        stop.cancel();
        pids
    });
    let finished = finished.unwrap();
    assert_eq!(finished.status.signal(), Some(Signal::SIGKILL as i32));
    assert!(finished.interrupted);
    assert!(start.elapsed() >= grace && start.elapsed() < Duration::from_secs(5));
    assert!(pids.into_iter().all(ends));
}

#[tokio::test]
async fn a_dropped_future_leaves_no_process_alive() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("pids");
    let script = format!(
        "trap '' TERM; sleep 60 & echo \"$$\n$!\" > {}; wait",
        file.display()
    );
    let pids = {
        let stop = CancellationToken::new();
        let running = sh(&script).run(&stop, |_| {});
        tokio::select! {
            _ = running => panic!("the script ended by itself"),
            pids = pids(&file, 2) => pids,
        }
    };
    assert!(pids.into_iter().all(ends));
}

#[tokio::test]
async fn what_a_child_leaves_behind_is_ended_with_it() {
    let start = Instant::now();
    let finished = run(sh("sleep 60 & echo $!").stdout(CAPTURE)).await.unwrap();
    assert!(finished.status.success());
    assert!(ends(text(&finished).parse().unwrap()));
    assert!(start.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn the_end_of_a_thread_is_not_the_end_of_its_children() {
    let runtime = tokio::runtime::Handle::current();
    // The thread that starts the child ends at once, as a runtime's blocking threads do in time.
    let mut running = std::thread::spawn(move || {
        let _runtime = runtime.enter();
        let mut running = Box::pin(run(sh("sleep 0.3; echo alive").stdout(CAPTURE)));
        let mut context = Context::from_waker(Waker::noop());
        assert!(running.as_mut().poll(&mut context).is_pending());
        running
    })
    .join()
    .unwrap();
    let finished = (&mut running).await.unwrap();
    assert_eq!(text(&finished), "alive");
}

/// The test runs itself again, as a runner whose child is a `sleep`, and kills that runner.
#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "the runner must be another process, to be killed"
)]
fn a_killed_runner_takes_its_children_along() {
    const ROLE: &str = "PG_MIGRATE_TEST_RUNNER";
    if std::env::var_os(ROLE).is_some() {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let _ = runtime.block_on(
            sh("echo \"child $$\" >&2; exec sleep 60")
                .run(&CancellationToken::new(), |line| println!("{line}")),
        );
        return;
    }
    let mut runner = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "--nocapture"])
        .arg("process::child::tests::a_killed_runner_takes_its_children_along")
        .env(ROLE, "1")
        .stdout(Stdio::piped())
        .process_group(0)
        .spawn()
        .unwrap();
    let child: i32 = BufReader::new(runner.stdout.take().unwrap())
        .lines()
        .find_map(|line| Some(line.unwrap().split_once("child ")?.1.parse().unwrap()))
        .expect("the runner starts its child");
    kill(Pid::from_raw(child), None).expect("the child is alive");
    runner.kill().unwrap();
    runner.wait().unwrap();
    assert!(ends(child));
}
