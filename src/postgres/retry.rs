//! The one loop that tries a thing again.

use std::fmt::Display;

use tokio::time::sleep;

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

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::future::ready;
    use std::time::Duration;

    use tokio::time::{Instant, timeout};

    use super::*;

    const RETRY: Retry = Retry {
        attempts: 4,
        backoff: Duration::from_secs(2),
        max_backoff: Duration::from_secs(5),
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

    #[tokio::test(start_paused = true)]
    async fn whoever_stops_waiting_ends_it_in_a_pause() {
        let lost = [Err(Class::Retry); 4];
        let limit = Duration::from_secs(3);
        assert!(timeout(limit, outcome(RETRY, &lost)).await.is_err());
    }
}
