//! The one loop that tries a thing again.

use std::fmt::Display;
use std::pin::pin;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::class::Class;
use crate::plan::Retry;

/// Runs `attempt`, with its number from 1 on, until it succeeds, until it fails in a way that another attempt would not
/// change (`class`), or as often as the plan allows. Between two attempts it pauses as the plan says.
///
/// Steps are tried again by the schedule, which does other work meanwhile: this is for what is not a step, or what the
/// schedule would not try again. Who drops the future gives up, also during a pause.
///
/// # Errors
///
/// That of the last attempt.
pub(crate) async fn with_retries<T, E, F>(
    retry: &Retry,
    class: impl Fn(&E) -> Class,
    // Not `AsyncFnMut`: such a future is not known to be `Send`, as every step must be.
    mut attempt: impl FnMut(u32) -> F,
) -> Result<T, E>
where
    E: Display,
    F: Future<Output = Result<T, E>>,
{
    let mut number = 1;
    loop {
        match attempt(number).await {
            Err(error) if number < retry.attempts && class(&error) == Class::Retry => {
                let pause = retry.pause_after(number);
                tracing::warn!(attempt = number, ?pause, %error, "trying again");
                sleep(pause).await;
                number += 1;
            }
            result => return result,
        }
    }
}

/// Between two attempts of [`with_patience`] it pauses no longer than this: what it tries counts every second.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// How long an attempt may still take once it was given up.
pub(crate) const LAST_ATTEMPT: Duration = Duration::from_secs(15);

/// Why [`with_patience`] ended without success.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Impatient<E> {
    /// The last attempt failed with this.
    Failed(E),
    /// It was given up.
    GivenUp,
}

/// As [`with_retries`], for what is worth a longer patience than a step: it is tried again until `patience` has passed since
/// it first failed, or until `give_up` is cancelled. One attempt is made in any case, and gets the time to end well. `tell` gets
/// each failure that is not the last, with the pause that follows.
///
/// # Errors
///
/// See [`Impatient`].
pub(crate) async fn with_patience<T, E, F>(
    retry: &Retry,
    patience: Duration,
    give_up: &CancellationToken,
    class: impl Fn(&E) -> Class,
    mut tell: impl FnMut(u32, &E, Duration),
    mut attempt: impl FnMut(u32) -> F,
) -> Result<T, Impatient<E>>
where
    F: Future<Output = Result<T, E>>,
{
    let mut number = 1;
    let mut first_failed = None;
    loop {
        let error = {
            let mut under_way = pin!(attempt(number));
            let ended = tokio::select! {
                biased;
                result = &mut under_way => Some(result),
                () = give_up.cancelled() => timeout(LAST_ATTEMPT, under_way).await.ok(),
            };
            match ended {
                Some(Ok(done)) => return Ok(done),
                Some(Err(error)) => error,
                None => return Err(Impatient::GivenUp),
            }
        };
        let since = *first_failed.get_or_insert_with(Instant::now);
        let pause = retry.pause_after(number).min(LONGEST_PAUSE);
        if class(&error) != Class::Retry || since.elapsed() + pause > patience {
            return Err(Impatient::Failed(error));
        }
        if give_up.is_cancelled() {
            return Err(Impatient::GivenUp);
        }
        tell(number, &error, pause);
        tokio::select! {
            () = sleep(pause) => number += 1,
            () = give_up.cancelled() => return Err(Impatient::GivenUp),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::future::ready;

    use super::*;

    const RETRY: Retry = Retry {
        attempts: 4,
        backoff: Duration::from_secs(2),
        max_backoff: Duration::from_secs(5),
        restore_settings: Duration::ZERO,
    };

    /// What attempts that end like these come to, how many were made, and how many seconds they took.
    async fn outcome(
        retry: Retry,
        endings: &[Result<&'static str, Class>],
    ) -> (Result<&'static str, String>, u32, u64) {
        let start = Instant::now();
        let made = Cell::new(0);
        let class = |error: &String| match error.as_str() {
            "Retry" => Class::Retry,
            "Fail" => Class::Fail,
            _ => Class::Interrupted,
        };
        let result = with_retries(&retry, class, |number| {
            made.set(made.get() + 1);
            assert_eq!(number, made.get());
            ready(endings[number as usize - 1].map_err(|class| format!("{class:?}")))
        });
        (result.await, made.get(), start.elapsed().as_secs())
    }

    #[tokio::test(start_paused = true)]
    async fn what_succeeds_is_not_tried_again() {
        assert_eq!(outcome(RETRY, &[Ok("a")]).await, (Ok("a"), 1, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn attempts_are_made_as_the_plan_says_with_growing_pauses() {
        let lost = Err(Class::Retry);
        let twice = outcome(RETRY, &[lost, lost, Ok("a")]).await;
        assert_eq!(twice, (Ok("a"), 3, 2 + 4));
        let always = outcome(RETRY, &[lost; 4]).await;
        assert_eq!(always, (Err("Retry".to_owned()), 4, 2 + 4 + 5));
    }

    #[tokio::test(start_paused = true)]
    async fn what_would_fail_again_is_not_tried_again() {
        for class in [Class::Fail, Class::Interrupted] {
            let ends = outcome(RETRY, &[Err(Class::Retry), Err(class)]).await;
            assert_eq!(ends, (Err(format!("{class:?}")), 2, 2));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_plan_without_retries_has_one_attempt() {
        for attempts in [0, 1] {
            let retry = Retry { attempts, ..RETRY };
            let once = outcome(retry, &[Err(Class::Retry)]).await;
            assert_eq!(once, (Err("Retry".to_owned()), 1, 0));
        }
    }

    /// How attempts end that fail in this way until so many seconds have passed, and after how many seconds.
    async fn patient(
        class: Class,
        until: u64,
        give_up: &CancellationToken,
    ) -> (Result<(), Impatient<Class>>, u64) {
        let start = Instant::now();
        let attempt = |_| async {
            if start.elapsed() < Duration::from_secs(until) {
                Err(class)
            } else {
                Ok(())
            }
        };
        let patience = Duration::from_secs(60);
        let tell = |_, _: &Class, _| {};
        let result = with_patience(&RETRY, patience, give_up, |class| *class, tell, attempt);
        (result.await, start.elapsed().as_secs())
    }

    #[tokio::test(start_paused = true)]
    async fn patience_is_a_time_and_no_number() {
        let never = CancellationToken::new();
        assert_eq!(patient(Class::Retry, 0, &never).await, (Ok(()), 0));
        // 2, 4, then every 5 seconds.
        assert_eq!(patient(Class::Retry, 50, &never).await, (Ok(()), 51));
        let failed = Err(Impatient::Failed(Class::Retry));
        assert_eq!(patient(Class::Retry, 100, &never).await, (failed, 56));
        let failed = Err(Impatient::Failed(Class::Fail));
        assert_eq!(patient(Class::Fail, 1, &never).await, (failed, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_given_up_has_one_attempt() {
        let given_up = CancellationToken::new();
        given_up.cancel();
        assert_eq!(patient(Class::Retry, 0, &given_up).await, (Ok(()), 0));
        let given = (Err(Impatient::GivenUp), 0);
        assert_eq!(patient(Class::Retry, 9, &given_up).await, given);
        // In a pause.
        let later = CancellationToken::new();
        let ours = later.clone();
        tokio::spawn(async move {
            sleep(Duration::from_secs(13)).await;
            ours.cancel();
        });
        let given = (Err(Impatient::GivenUp), 13);
        assert_eq!(patient(Class::Retry, 90, &later).await, given);
    }

    #[tokio::test(start_paused = true)]
    async fn an_attempt_that_hangs_is_left_a_while_after_it_was_given_up() {
        let given_up = CancellationToken::new();
        given_up.cancel();
        let start = Instant::now();
        let hangs = with_patience(
            &RETRY,
            Duration::from_secs(60),
            &given_up,
            |_: &Class| Class::Retry,
            |_, _, _| {},
            |_| std::future::pending::<Result<(), Class>>(),
        );
        assert_eq!(hangs.await, Err(Impatient::GivenUp));
        assert_eq!(start.elapsed(), LAST_ATTEMPT);
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_stops_waiting_ends_it_in_a_pause() {
        let lost = [Err(Class::Retry); 4];
        let limit = Duration::from_secs(3);
        assert!(timeout(limit, outcome(RETRY, &lost)).await.is_err());
    }
}
