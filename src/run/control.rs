//! The run's own connection to the target: it keeps the target for this plan.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::copies::Copies;
use super::damage::marked_damage;
use super::error::Error;
use super::leftovers;
use crate::journal::{Change, Journal, State};
use crate::mark::{self, Entry, Mark, Marked, Standing};
use crate::plan::{Endpoint, Plan, Retry};
use crate::postgres::{
    self, Application, Class, Connection, Session, connect, escape_control, with_retries,
};

/// The advisory lock's key, one for all plans: "pg-m" and "igra" as numbers.
const KEY: (i32, i32) = (0x7067_2d6d, 0x6967_7261);

/// How often a holder shows that it lives, and looks for copies that are made of the target. A small one takes no longer.
const RENEWAL: Duration = Duration::from_secs(1);

/// A holder that did not show it for so long, by the server's clock, does not live: it was stopped, or cannot reach the server.
const LEASE: Duration = Duration::from_secs(15);

/// How often a holder is looked at that may be dead.
const LOOK: Duration = Duration::from_millis(500);

/// How long giving the target back may take.
const RELEASE: Duration = Duration::from_secs(5);

/// The target, kept for one run until this is released or dropped.
pub(super) struct Control {
    /// Cancelled when the target could not be kept.
    pub(super) lost: CancellationToken,
    /// Those of the target that were begun since.
    pub(super) copies: Copies,
    /// `None`: our role may not make it.
    pub(super) mark: Option<Mark>,
    /// What is put on record moves the mark on. Not where something is undone on a target that is older than its mark was: the next
    /// run has to find that.
    advances: bool,
    release: CancellationToken,
    keeper: JoinHandle<()>,
}

/// Whose target it is to be.
pub(super) struct Claim<'a> {
    pub plan: &'a Plan,
    pub target: &'a Endpoint,
    pub journal: &'a Journal,
    pub application: Application,
    /// Something is undone, no more: the mark is not made for that, and any journal knows enough.
    pub only_undoes: bool,
}

impl<'a> Claim<'a> {
    /// For a run.
    pub(super) fn new(plan: &'a Plan, target: &'a Endpoint, journal: &'a Journal) -> Claim<'a> {
        Claim {
            plan,
            target,
            journal,
            application: Application::for_state(&plan.name, journal.id()),
            only_undoes: false,
        }
    }

    pub(super) fn only_to_undo(mut self) -> Claim<'a> {
        self.only_undoes = true;
        self
    }

    /// The mark, as the run of this number has it.
    fn mark(&self, run: &str) -> Mark {
        let state = (self.plan.name.as_str(), self.journal.id());
        Mark::new(self.target, &self.application, state, run)
    }
}

/// How the target is taken, at first and again.
struct Keeper {
    target: Endpoint,
    application: Application,
    session: Session,
    retry: Retry,
    mark: Option<Mark>,
    copies: Copies,
    lost: CancellationToken,
    release: CancellationToken,
}

/// A session that has the lock.
struct Holder {
    connection: Connection,
    session: SessionId,
}

/// Tells a session from all others of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
struct SessionId {
    pid: i32,
    began: String,
}

/// Another session that has the lock.
struct Other {
    session: SessionId,
    application: String,
    /// How long it has shown nothing, in seconds; `None`: our role may not see that.
    silent: Option<f64>,
}

/// What came of asking for the lock.
enum Asked {
    Got(Holder),
    Held(Other),
}

impl Control {
    /// Takes the target for this run: the lock first, then the mark, and then client programs and sessions that a killed run
    /// of the same state directory left are ended. A connection that breaks is made again, as often as the plan retries a step.
    ///
    /// # Errors
    ///
    /// [`Error::TargetHeld`] where another run has it, or a living one of a copy of this state directory
    /// ([`Error::HeldByCopy`]); a journal that does not agree with the mark; a target that cannot be reached.
    pub(super) async fn take(claim: &Claim<'_>) -> Result<Control, Error> {
        let mut keeper = Keeper::new(claim);
        let holder = keeper.take_when_free().await?;
        let advances;
        (keeper.mark, advances) = take_mark(claim).await?;
        // Programs first: they may connect again.
        leftovers::end_programs(&claim.application).await?;
        let kept = holder.session.pid;
        leftovers::end(claim.target, &claim.application, Some(kept)).await?;
        Ok(Control {
            lost: keeper.lost.clone(),
            copies: keeper.copies.clone(),
            mark: keeper.mark.clone(),
            advances,
            release: keeper.release.clone(),
            keeper: tokio::spawn(keeper.keep(holder)),
        })
    }

    /// Writes into the mark what was put on record last, outside of a step: a change, or that a run has begun.
    pub(super) async fn mark(&self, change: Option<&Change>, state: &State) -> Result<(), Error> {
        if let (Some(mark), Some(mut position)) = (&self.mark, state.position()) {
            if !self.advances {
                position.number = 0;
            }
            mark.write(change, position).await?;
        }
        Ok(())
    }

    /// Gives the target back.
    pub(super) async fn release(mut self) {
        if let Some(mark) = &self.mark {
            mark.close().await;
        }
        self.release.cancel();
        if timeout(RELEASE, &mut self.keeper).await.is_err() {
            tracing::warn!("the connection that held the target did not end in time");
        }
    }
}

/// Makes the mark where it is missing, compares it with the journal, and takes it over; whether what is put on record moves it on.
async fn take_mark(claim: &Claim<'_>) -> Result<(Option<Mark>, bool), Error> {
    let run = format!(
        "{:08x}",
        RandomState::new().hash_one(std::process::id()) as u32
    );
    let mark = claim.mark(&run);
    if claim.only_undoes {
        return take_to_undo(mark, claim.journal).await;
    }
    if !mark.create().await? {
        tracing::warn!(
            "our role may not create the database of the mark on the target, or not write to it, so what this plan does is on record in its state directory alone"
        );
        return Ok((None, true));
    }
    let standing = refuse_disagreement(&mark, claim.journal).await?;
    mark.take_over().await?;
    // One that is in an older state has the settings of then.
    if standing == Standing::Agrees {
        let state = claim.journal.state();
        let settings: Vec<&str> = state.tuned.keys().map(String::as_str).collect();
        mark.keep_settings(&settings, state.damage.as_deref())
            .await?;
    }
    Ok((Some(mark), true))
}

/// What is unsafe is undone whatever became of the mark: only another run keeps us from that.
async fn take_to_undo(mark: Mark, journal: &Journal) -> Result<(Option<Mark>, bool), Error> {
    let taken = async {
        match mark.may_write().await? {
            Some(true) => {
                let standing = mark::compare(mark.read().await?.as_ref(), journal.state());
                mark.take_over().await?;
                Ok(Some(standing == Standing::Agrees))
            }
            _ => Ok(None),
        }
    };
    match taken.await {
        Ok(Some(agrees)) => Ok((Some(mark), agrees)),
        Ok(None) => Ok((None, true)),
        Err(mark::Error::TakenOver) => Err(mark::Error::TakenOver.into()),
        Err(error) => {
            tracing::warn!(%error, "the target's mark cannot be used");
            Ok((None, true))
        }
    }
}

/// What the finding for it says was told before the run.
async fn refuse_disagreement(mark: &Mark, journal: &Journal) -> Result<Standing, Error> {
    let entry = mark.read().await?;
    standing(entry.as_ref(), journal.state())
}

/// How the mark and the journal stand to each other.
///
/// # Errors
///
/// A journal that is older than the mark, or another.
fn standing(entry: Option<&Entry>, state: &State) -> Result<Standing, Error> {
    match (mark::compare(entry, state), entry) {
        (standing @ (Standing::JournalIsOlder | Standing::Diverged), Some(entry)) => {
            Err(Error::other_state(standing, entry, state.position()))
        }
        (standing, _) => Ok(standing),
    }
}

/// A mark that has not all that it was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Older {
    /// The number of the last change that it has; 0: none, or there is no mark.
    pub number: u64,
    /// What shows it.
    pub what: String,
}

impl Older {
    pub(crate) fn is_gone(&self) -> bool {
        self.number == 0
    }
}

/// What the target's mark says before anything is done.
#[derive(Debug, Default)]
pub(crate) struct Marking {
    /// It has not all that it was given.
    pub older: Option<Older>,
    /// It is there, and our role may not write to it.
    pub is_closed: bool,
    /// What plans of this name did under other state directories.
    pub others: Vec<Marked>,
    /// What was seen of a crash of the target's machine while it did not wait for the disk.
    pub damage: Option<String>,
}

/// Looks at the target's mark, and changes nothing. `id`: that of the state directory, if there is one.
///
/// # Errors
///
/// A state directory that does not agree with it; a target that cannot be reached.
pub(crate) async fn look_at_mark(
    plan: &Plan,
    target: &Endpoint,
    (state, id): (&State, Option<&str>),
) -> Result<Marking, Error> {
    let mark = Mark::to_read(target, &plan.name, id);
    let looked = look(&mark, state, id.unwrap_or_default()).await;
    mark.close().await;
    let looked = looked?;
    let damage = marked_damage(plan, target, id).await?;
    Ok(Marking { damage, ..looked })
}

async fn look(mark: &Mark, state: &State, id: &str) -> Result<Marking, Error> {
    let entry = match mark.may_write().await? {
        Some(true) => mark.read().await?,
        Some(false) => {
            return Ok(Marking {
                is_closed: true,
                ..Marking::default()
            });
        }
        None => None,
    };
    let standing = standing(entry.as_ref(), state)?;
    let mut others = mark.of_plan().await?;
    others.retain(|other| other.state != id);
    let older = match (standing, entry) {
        (Standing::TargetIsOlder, Some(Entry { position: is, .. })) => Some(Older {
            number: is.number,
            what: format!(
                "its mark ends with change {} of {}, and was given change {} since",
                is.number, is.at, state.confirmed
            ),
        }),
        (Standing::Gone, _) => Some(Older {
            number: 0,
            what: format!(
                "its mark has nothing of this plan, and was given change {}",
                state.confirmed
            ),
        }),
        _ => None,
    };
    Ok(Marking {
        older,
        is_closed: false,
        others,
        damage: None,
    })
}

/// Refuses a target that a run of another plan, or of another state, is at work on.
///
/// # Errors
///
/// That it is; a target that cannot be reached.
pub(crate) async fn refuse_held_target(
    plan: &Plan,
    target: &Endpoint,
    journal: &Journal,
) -> Result<(), Error> {
    let claim = Claim::new(plan, target, journal);
    let holder = Keeper::new(&claim).take_when_free().await?;
    holder.connection.close().await;
    Ok(())
}

impl Drop for Control {
    fn drop(&mut self) {
        self.release.cancel();
    }
}

impl Keeper {
    fn new(claim: &Claim<'_>) -> Keeper {
        Keeper {
            target: claim.target.clone(),
            application: claim.application.clone(),
            session: Session::new(&claim.application.application_name_for("control")),
            retry: claim.plan.retry,
            mark: None,
            copies: Copies::default(),
            lost: CancellationToken::new(),
            release: CancellationToken::new(),
        }
    }

    /// Takes the lock, also from a holder of this state directory, or of a copy, that does not live. We hold the state
    /// directory, so a run that had this one itself is dead, and its session about to end.
    async fn take_when_free(&self) -> Result<Holder, Error> {
        let mut seen: Option<Other> = None;
        loop {
            let other = match self.ask().await? {
                Asked::Got(holder) => return Ok(holder),
                Asked::Held(other) => other,
            };
            let target = || self.target.to_string();
            if !self.application.owns(&other.application) {
                return Err(Error::TargetHeld { target: target() });
            }
            // A session of our own role is visible.
            let silent = other.silent.unwrap_or_default();
            let before = seen.as_ref().filter(|seen| seen.session == other.session);
            if before.is_some_and(|before| silent < before.silent.unwrap_or_default()) {
                return Err(Error::HeldByCopy { target: target() });
            }
            if silent > LEASE.as_secs_f64() {
                tracing::warn!(
                    session = escape_control(&other.application).as_ref(),
                    pid = other.session.pid,
                    silent,
                    "ending the session of a run that does not live"
                );
                self.end(&other.session).await?;
            }
            seen = Some(other);
            sleep(LOOK).await;
        }
    }

    /// Asks for the lock.
    async fn ask(&self) -> Result<Asked, postgres::Error> {
        let connection = connect(&self.target, &self.target.database, &self.session).await?;
        let row = connection
            .query_one(
                "SELECT pg_catalog.pg_try_advisory_lock($1, $2), pg_catalog.pg_backend_pid(), \
                 (SELECT backend_start::text FROM pg_catalog.pg_stat_activity WHERE pid = pg_catalog.pg_backend_pid())",
                &[&KEY.0, &KEY.1],
            )
            .await
            .map_err(connection.failed("take the advisory lock of this run"))?;
        let other = other_holder(&connection).await?;
        if row.get::<_, bool>(0) && other.is_none() {
            let session = SessionId {
                pid: row.get(1),
                began: row.get::<_, Option<String>>(2).unwrap_or_default(),
            };
            return Ok(Asked::Got(Holder {
                connection,
                session,
            }));
        }
        // Ending the session gives back what it has.
        connection.close().await;
        Ok(match other {
            Some(other) => Asked::Held(other),
            // Gone between the two looks.
            None => Box::pin(self.ask()).await?,
        })
    }

    /// Ends one session, if it is still there.
    async fn end(&self, session: &SessionId) -> Result<(), postgres::Error> {
        let connection = connect(&self.target, &self.target.database, &self.session).await?;
        connection
            .execute(
                "SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity \
                 WHERE pid = $1 AND backend_start::text = $2 AND usename = current_user",
                &[&session.pid, &session.began],
            )
            .await
            .map_err(connection.failed("end the session that held the target before"))?;
        connection.close().await;
        Ok(())
    }

    async fn keep(self, mut holder: Holder) {
        let mut renewal = interval(RENEWAL);
        renewal.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let ended = holder.connection.ended().unwrap_or_default();
            tokio::select! {
                () = ended.cancelled() => {}
                () = self.release.cancelled() => return holder.connection.close().await,
                _ = renewal.tick() => {
                    // Where it fails, the connection ends.
                    let renew = self.copies.look(&holder.connection);
                    tokio::select! {
                        _ = renew => {}
                        () = ended.cancelled() => {}
                        () = self.release.cancelled() => return,
                    }
                    continue;
                }
            }
            tracing::warn!(server = %self.target, "the connection that holds the target was lost");
            tokio::select! {
                again = self.take_again(&holder.session) => match again {
                    Some(again) => holder = again,
                    None => return self.lost.cancel(),
                },
                () = self.release.cancelled() => return,
            }
        }
    }

    /// `before`: where the connection broke on its way, the server may still keep its session.
    async fn take_again(&self, before: &SessionId) -> Option<Holder> {
        // The first attempt is the connection that was just lost.
        let retry = Retry {
            attempts: self.retry.attempts.saturating_add(1),
            ..self.retry
        };
        let taken = with_retries(&retry, NotTaken::class, |attempt| async move {
            if attempt == 1 {
                return Err(NotTaken::Unreachable("the connection was lost".to_owned()));
            }
            let unreachable =
                |error: &dyn std::error::Error| NotTaken::Unreachable(error.to_string());
            self.end(before)
                .await
                .map_err(|error| unreachable(&error))?;
            match self.ask().await.map_err(|error| unreachable(&error))? {
                Asked::Held(other) if other.session == *before => Err(NotTaken::Unreachable(
                    "its session before is ending".to_owned(),
                )),
                Asked::Held(_) => Err(NotTaken::TakenOver),
                Asked::Got(holder) => match self.ensure_ours().await {
                    Ok(()) => Ok(holder),
                    Err(mark::Error::TakenOver) => Err(NotTaken::TakenOver),
                    Err(error) => Err(unreachable(&error)),
                },
            }
        });
        match taken.await {
            Ok(holder) => {
                tracing::info!(server = %self.target, "the target is held again");
                Some(holder)
            }
            Err(error) => {
                tracing::warn!(server = %self.target, %error, "the target cannot be held again");
                None
            }
        }
    }

    async fn ensure_ours(&self) -> Result<(), mark::Error> {
        match &self.mark {
            Some(mark) => mark.ensure_ours().await,
            None => Ok(()),
        }
    }
}

/// Why the target is not held again.
#[derive(Debug, thiserror::Error)]
enum NotTaken {
    #[error("{0}")]
    Unreachable(String),
    #[error("another run holds it")]
    TakenOver,
}

impl NotTaken {
    fn class(&self) -> Class {
        match self {
            NotTaken::Unreachable(_) => Class::Retry,
            NotTaken::TakenOver => Class::Fail,
        }
    }
}

/// Another session that has the lock, which it can in another database as well: an advisory lock is one of a
/// database (PostgreSQL manual, 13.3.5), a run's target is the whole server. `pg_locks` shows the locks of all
/// databases to everybody; two keys of 32 bits are its `classid` and `objid`, and its `objsubid` is 2 then (53.13).
///
/// Each run looks after it has asked for its own, so that of two that come at once one sees the other, or both do.
async fn other_holder(connection: &Connection) -> Result<Option<Other>, postgres::Error> {
    let row = connection
        .query_opt(
            "SELECT l.pid, coalesce(a.backend_start::text, ''), coalesce(a.application_name, ''), \
                    extract(epoch FROM pg_catalog.clock_timestamp() - a.state_change)::float8 \
             FROM pg_catalog.pg_locks l LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid \
             WHERE l.locktype = 'advisory' AND l.granted \
               AND l.classid::int8 = $1::int4 AND l.objid::int8 = $2::int4 AND l.objsubid = 2 \
               AND l.pid <> pg_catalog.pg_backend_pid() LIMIT 1",
            &[&KEY.0, &KEY.1],
        )
        .await
        .map_err(connection.failed("look for another run in all databases"))?;
    Ok(row.map(|row| Other {
        session: SessionId {
            pid: row.get(0),
            began: row.get(1),
        },
        application: row.get(2),
        silent: row.get(3),
    }))
}
