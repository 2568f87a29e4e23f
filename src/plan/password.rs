//! A server's password, which may have to be asked for again while a run is under way.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use secrecy::{ExposeSecret, SecretString};

/// A password that is being asked for, or why it could not be had, without a secret in it.
pub(crate) type Asking = Pin<Box<dyn Future<Output = Result<SecretString, String>> + Send>>;

/// The password of a server. What its source says can change within hours, where it is a command (tokens live for minutes) or a
/// file. All clones know the last one that was had.
#[derive(Clone)]
pub(crate) struct Password(Arc<Shared>);

struct Shared {
    known: Mutex<Known>,
    /// `None`: the source says the same as long as the program runs.
    ask: Option<Box<dyn Fn() -> Asking + Send + Sync>>,
    /// Held by whoever asks.
    asking: tokio::sync::Mutex<()>,
}

/// A password as it was at some time.
#[derive(Clone)]
pub(crate) struct Known {
    text: SecretString,
    /// How often it was asked for again before.
    age: u64,
}

impl Password {
    /// A password that stays as it is.
    pub(crate) fn fixed(text: SecretString) -> Self {
        Password::new(text, None)
    }

    /// A password that can be asked for again.
    pub(crate) fn asked(
        text: SecretString,
        ask: impl Fn() -> Asking + Send + Sync + 'static,
    ) -> Self {
        Password::new(text, Some(Box::new(ask)))
    }

    fn new(text: SecretString, ask: Option<Box<dyn Fn() -> Asking + Send + Sync>>) -> Self {
        Password(Arc::new(Shared {
            known: Mutex::new(Known { text, age: 0 }),
            ask,
            asking: tokio::sync::Mutex::default(),
        }))
    }

    /// Whether its source may say another one later.
    pub(crate) fn can_be_asked_again(&self) -> bool {
        self.0.ask.is_some()
    }

    /// The last one that was had.
    pub(crate) fn now(&self) -> Known {
        self.0.lock().clone()
    }

    /// The password after a server refused this one: asks for it, unless another connection has asked since. It may
    /// be the same again.
    ///
    /// Whoever stops waiting for it finds it later: a connection has a time limit, which a command need not keep.
    ///
    /// # Errors
    ///
    /// Why it could not be had.
    pub(crate) async fn after(&self, refused: &Known) -> Result<Known, String> {
        let (shared, refused) = (Arc::clone(&self.0), refused.age);
        let asking = tokio::spawn(async move { shared.after(refused).await });
        asking.await.map_err(|error| error.to_string())?
    }
}

impl Shared {
    async fn after(&self, refused: u64) -> Result<Known, String> {
        let Some(ask) = &self.ask else {
            return Ok(self.lock().clone());
        };
        let _one_at_a_time = self.asking.lock().await;
        let known = self.lock().clone();
        if known.age != refused {
            return Ok(known);
        }
        let text = ask().await?;
        let age = known.age + 1;
        let fresh = Known { text, age };
        *self.lock() = fresh.clone();
        Ok(fresh)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    pub(crate) fn expose(&self) -> &str {
        self.text.expose_secret()
    }

    pub(crate) fn is_same(&self, other: &Known) -> bool {
        self.expose() == other.expose()
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(…)")
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::Duration;

    use tokio::time::{sleep, timeout};

    use super::*;

    #[tokio::test]
    async fn it_is_asked_for_once_for_each_refusal() {
        let asked = Arc::new(AtomicU32::new(0));
        let ours = Arc::clone(&asked);
        let password = Password::asked("t0".into(), move || {
            let number = ours.fetch_add(1, Ordering::Relaxed) + 1;
            Box::pin(async move { Ok(format!("t{number}").into()) })
        });
        let first = password.now();
        let (one, other) = tokio::join!(password.after(&first), password.after(&first));
        assert_eq!(
            (one.unwrap().expose(), other.unwrap().expose()),
            ("t1", "t1")
        );
        assert_eq!(asked.load(Ordering::Relaxed), 1);
        // A clone of before knows it, and a refusal of that one asks again.
        let known = password.clone().now();
        assert_eq!(known.expose(), "t1");
        assert!(!known.is_same(&first));
        assert_eq!(password.after(&known).await.unwrap().expose(), "t2");
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_nobody_waits_for_any_more_is_kept() {
        let password = Password::asked("t0".into(), || {
            Box::pin(async {
                sleep(Duration::from_secs(30)).await;
                Ok("t1".into())
            })
        });
        let refused = password.now();
        let limit = Duration::from_secs(20);
        assert!(timeout(limit, password.after(&refused)).await.is_err());
        let answer = timeout(limit, password.after(&refused)).await;
        assert_eq!(answer.unwrap().unwrap().expose(), "t1");
        assert_eq!(password.now().age, 1);
    }

    #[tokio::test]
    async fn what_cannot_be_asked_for_stays() {
        let fixed = Password::fixed("p".into());
        assert!(!fixed.can_be_asked_again());
        assert_eq!(fixed.after(&fixed.now()).await.unwrap().expose(), "p");
        let sealed = Password::asked("p".into(), || {
            Box::pin(async { Err("the vault is sealed".to_owned()) })
        });
        let error = sealed.after(&sealed.now()).await.err().unwrap();
        assert_eq!(error, "the vault is sealed");
        assert_eq!(sealed.now().expose(), "p");
        assert_eq!(format!("{sealed:?}"), "Password(…)");
    }
}
