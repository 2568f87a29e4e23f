//! The mark on the target: what plans did there, kept where a lost, copied or older state directory cannot take it along.
//!
//! It is a small database of ours, because that shows in no dump of another and needs no more than CREATEDB. It has a row for
//! each state directory: the last change that is in its journal as well, and which run is at work. A run takes it over before it
//! ends what an earlier one left, and from then on nothing that the earlier one wants to put on record is taken.

mod error;
mod left;
mod roles;
mod rows;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Mutex;
use tokio_postgres::error::SqlState;

use crate::catalog::{MARK_COMMENT, MARK_DATABASE};
use crate::inspect::contents_of;
use crate::journal::{Change, Position, State, TunedSetting};
use crate::plan::Endpoint;
use crate::postgres::{
    Application, Connection, Session, connect, escape_control, quote_identifier, quote_literal,
};

pub(crate) use error::Error;
pub(crate) use left::{Lacks, Left, LeftDatabase};
pub(crate) use roles::RoleUser;
pub(crate) use rows::{Entry, Marked};

/// How long another session may keep a row.
const PATIENCE: Duration = Duration::from_secs(10);

/// The mark of one state directory's plan, held by one run. Clones are the same.
#[derive(Clone)]
pub(crate) struct Mark(Arc<Inner>);

struct Inner {
    target: Endpoint,
    session: Session,
    plan: String,
    /// The id of the state directory.
    state: String,
    /// What tells this run from others of the same state directory, and of copies of it.
    run: String,
    /// Used by one change at a time.
    connection: Mutex<Option<Connection>>,
    /// The number of the last change that the server confirmed.
    written: AtomicU64,
}

/// How the mark and a journal stand to each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// The journal has the mark's last change, and perhaps some that were not marked before a kill.
    Agrees,
    /// The journal ends before the mark's last change.
    JournalIsOlder,
    /// Both went on from a common start.
    Diverged,
    /// The mark ends before a change that it was given: the target is in an older state.
    TargetIsOlder,
    /// The mark was given changes, and has none.
    Gone,
}

/// What is left of the mark once a plan is taken out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Removed {
    Whole,
    /// It stays, as that of other plans.
    ButOthers,
    /// It stays, because it says that the cluster may be damaged.
    ButDamage,
}

/// Compares the mark's last change with what the journal has.
pub(crate) fn compare(entry: Option<&Entry>, state: &State) -> Standing {
    let last = state.position().map_or(0, |last| last.number);
    // Of 0: a run took the target, and was killed before it had anything to put on record.
    let Some(entry) = entry.filter(|entry| entry.position.number > 0) else {
        return match state.confirmed {
            0 => Standing::Agrees,
            _ => Standing::Gone,
        };
    };
    if entry.position.number > last {
        return Standing::JournalIsOlder;
    }
    let is_older = entry.position.number < state.confirmed;
    match state.changed_at(entry.position.number) {
        // `None`: so long ago that it is not kept in mind.
        Some(at) if at != entry.position.at => Standing::Diverged,
        _ if is_older => Standing::TargetIsOlder,
        _ => Standing::Agrees,
    }
}

impl Mark {
    /// For a run of the state directory. Nothing is asked of the server yet.
    pub(crate) fn new(
        target: &Endpoint,
        application: &Application,
        (plan, state): (&str, &str),
        run: &str,
    ) -> Mark {
        Mark(Arc::new(Inner {
            target: target.clone(),
            // Who resumes asks this server, and no standby.
            session: Session::new(&application.application_name_for("mark"))
                .settings([("synchronous_commit", "local")].into_iter())
                .lock_timeout(PATIENCE),
            plan: plan.to_owned(),
            state: state.to_owned(),
            run: run.to_owned(),
            connection: Mutex::new(None),
            written: AtomicU64::new(0),
        }))
    }

    /// For a command that only reads it.
    pub(crate) fn to_read(target: &Endpoint, plan: &str, id: Option<&str>) -> Mark {
        let application = Application::with_state(plan, id);
        let state = (plan, id.unwrap_or_default());
        Mark::new(target, &application, state, "")
    }

    /// Makes the database where it is missing. `false`: the role may not, or may not write to it.
    ///
    /// # Errors
    ///
    /// [`Error::Foreign`]; a target that cannot be reached.
    pub(crate) async fn create(&self) -> Result<bool, Error> {
        match self.make().await {
            Err(error) if error.is_forbidden() => Ok(false),
            made => made,
        }
    }

    async fn make(&self) -> Result<bool, Error> {
        let Inner {
            target, session, ..
        } = &*self.0;
        let server = connect(target, &target.database, session).await?;
        let exists = server
            .query_opt(
                "SELECT FROM pg_catalog.pg_database WHERE datname = $1",
                &[&MARK_DATABASE],
            )
            .await
            .map_err(server.failed("look for the mark"))?
            .is_some();
        let name = quote_identifier(MARK_DATABASE);
        if !exists {
            let create = format!(
                "CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C'"
            );
            match server.batch_execute(&create).await {
                Ok(()) => {}
                Err(error) if error.code() == Some(&SqlState::DUPLICATE_DATABASE) => {}
                Err(error) => {
                    return Err(server.failed("make the database of the mark")(error).into());
                }
            }
        }
        server.close().await;
        let connection = open_trusted(target, session).await?;
        let may_write = match rows::may_write(&connection).await? {
            Some(may_write) => may_write,
            None => {
                if !contents_of(&connection).await?.is_empty() {
                    return Err(Error::Foreign);
                }
                rows::create(&connection).await?;
                let comment = quote_literal(MARK_COMMENT);
                connection
                    .batch_execute(&format!("COMMENT ON DATABASE {name} IS {comment}"))
                    .await
                    .map_err(connection.failed("say what the database of the mark is"))?;
                true
            }
        };
        *self.0.connection.lock().await = Some(connection);
        Ok(may_write)
    }

    /// Whether our role may write to the one that is there; `None`: there is none.
    ///
    /// # Errors
    ///
    /// A target that cannot be reached.
    pub(crate) async fn may_write(&self) -> Result<Option<bool>, Error> {
        match self.find().await {
            Err(error) if error.is_forbidden() => Ok(Some(false)),
            found => found,
        }
    }

    async fn find(&self) -> Result<Option<bool>, Error> {
        let mut held = self.0.connection.lock().await;
        match self.connected_or_gone(&mut held).await? {
            Some(connection) => rows::may_write(connection).await,
            None => Ok(None),
        }
    }

    /// What the mark says of this state directory; `None`: nothing yet.
    ///
    /// # Errors
    ///
    /// A target that cannot be reached.
    pub(crate) async fn read(&self) -> Result<Option<Entry>, Error> {
        let mut held = self.0.connection.lock().await;
        let connection = self.connected(&mut held).await?;
        rows::read(connection, &self.0.state).await
    }

    /// From here on only this run may put changes on record.
    ///
    /// # Errors
    ///
    /// A target that cannot be reached.
    pub(crate) async fn take_over(&self) -> Result<(), Error> {
        let Inner {
            plan, state, run, ..
        } = &*self.0;
        let mut held = self.0.connection.lock().await;
        let connection = self.connected(&mut held).await?;
        rows::take_over(connection, (plan, state), run).await
    }

    /// Writes a change that is in the journal at this position.
    ///
    /// # Errors
    ///
    /// [`Error::TakenOver`]; [`Error::WentBack`]; a target that cannot be reached.
    pub(crate) async fn write(
        &self,
        change: Option<&Change>,
        position: Position,
    ) -> Result<(), Error> {
        let Inner { state, run, .. } = &*self.0;
        let mut held = self.0.connection.lock().await;
        let Some(connection) = self.connected_or_gone(&mut held).await? else {
            return Ok(());
        };
        match rows::write(connection, (state, run), change, position, self.written()).await {
            Ok(()) => {
                self.0.written.fetch_max(position.number, Ordering::Relaxed);
                Ok(())
            }
            failed => gone_or(failed),
        }
    }

    /// The number of the last change that the mark certainly has; 0: none.
    pub(crate) fn written(&self) -> u64 {
        self.0.written.load(Ordering::Relaxed)
    }

    /// Fails where another run took the target over.
    ///
    /// # Errors
    ///
    /// [`Error::TakenOver`]; a target that cannot be reached.
    pub(crate) async fn ensure_ours(&self) -> Result<(), Error> {
        let Inner { state, run, .. } = &*self.0;
        let mut held = self.0.connection.lock().await;
        let Some(connection) = self.connected_or_gone(&mut held).await? else {
            return Ok(());
        };
        gone_or(rows::ensure_ours(connection, (state, run)).await)
    }

    /// The plan of another state directory that made the database of this object id.
    ///
    /// # Errors
    ///
    /// A target that cannot be reached.
    pub(crate) async fn made_by_another(&self, oid: u32) -> Result<Option<String>, Error> {
        let mut held = self.0.connection.lock().await;
        let Some(connection) = self.connected_or_gone(&mut held).await? else {
            return Ok(None);
        };
        rows::made_by_another(connection, &self.0.state, oid).await
    }

    /// What plans of our name did, each with its own state directory, ours among them. Empty where our role may not see it.
    ///
    /// # Errors
    ///
    /// A target that cannot be reached.
    pub(crate) async fn of_plan(&self) -> Result<Vec<Marked>, Error> {
        let mut held = self.0.connection.lock().await;
        let Some(connection) = self.connected_or_gone(&mut held).await? else {
            return Ok(Vec::new());
        };
        match rows::of_plan(connection, &self.0.plan).await {
            Err(error) if error.is_gone() || error.is_forbidden() => Ok(Vec::new()),
            found => found,
        }
    }

    /// What plans of any name did not bring to an end. `None`: it is not there.
    ///
    /// # Errors
    ///
    /// A server that cannot be reached, or lets our role not read it.
    pub(crate) async fn left(&self) -> Result<Option<Left>, Error> {
        let mut held = self.0.connection.lock().await;
        let Some(connection) = self.connected_or_gone(&mut held).await? else {
            return Ok(None);
        };
        match left::read(connection).await {
            Err(error) if error.is_gone() => Ok(None),
            left => left.map(Some),
        }
    }

    /// What was seen of a crash of the target's machine while it did not wait for the disk, by any plan, and where none was, the settings
    /// that are still those for the load, of each other state directory, of whatever plan. Nothing where our role may not see it.
    ///
    /// # Errors
    ///
    /// A target that cannot be reached.
    pub(crate) async fn damage(
        &self,
    ) -> Result<(Option<String>, Vec<BTreeMap<String, TunedSetting>>), Error> {
        let mut held = self.0.connection.lock().await;
        let read = async {
            let Some(connection) = self.connected_or_gone(&mut held).await? else {
                return Ok((None, Vec::new()));
            };
            Ok(match rows::damage(connection).await? {
                Some(damage) => (Some(damage), Vec::new()),
                None => (
                    None,
                    rows::settings_of_others(connection, &self.0.state).await?,
                ),
            })
        };
        read.await.or_else(
            |error: Error| match error.is_gone() || error.is_forbidden() {
                true => Ok((None, Vec::new())),
                false => Err(error),
            },
        )
    }

    /// Takes out that these settings are still those for the load, whichever state directory of the plan changed them, and keeps what was
    /// seen of a crash of the machine meanwhile.
    ///
    /// # Errors
    ///
    /// A target that cannot be reached.
    pub(crate) async fn restored(
        &self,
        settings: &[&str],
        damage: Option<&str>,
    ) -> Result<(), Error> {
        let mut held = self.0.connection.lock().await;
        let Some(connection) = self.connected_or_gone(&mut held).await? else {
            return Ok(());
        };
        gone_or(rows::restored(connection, &self.0.plan, settings, damage).await)
    }

    /// Takes out what the mark has of settings that this state directory changed, but for these: the others were restored while the
    /// mark could not be written to. `damage`: what was seen of a crash of the machine then.
    ///
    /// # Errors
    ///
    /// A target that cannot be reached.
    pub(crate) async fn keep_settings(
        &self,
        settings: &[&str],
        damage: Option<&str>,
    ) -> Result<(), Error> {
        let Inner { state, run, .. } = &*self.0;
        let mut held = self.0.connection.lock().await;
        let Some(connection) = self.connected_or_gone(&mut held).await? else {
            return Ok(());
        };
        gone_or(rows::keep_settings(connection, (state, run), settings, damage).await)
    }

    /// Puts down which roles the source of our plan has now.
    ///
    /// # Errors
    ///
    /// A target that cannot be reached.
    pub(crate) async fn use_roles(
        &self,
        source: Option<&str>,
        names: &[&str],
    ) -> Result<(), Error> {
        let Inner { state, run, .. } = &*self.0;
        let mut held = self.0.connection.lock().await;
        let Some(connection) = self.connected_or_gone(&mut held).await? else {
            return Ok(());
        };
        gone_or(roles::note(connection, (state, run), source, names).await)
    }

    /// Which plans need which roles, but for our state directory. Empty where our role may not see it.
    ///
    /// # Errors
    ///
    /// A target that cannot be reached.
    pub(crate) async fn role_users(&self) -> Result<Vec<RoleUser>, Error> {
        let mut held = self.0.connection.lock().await;
        let Some(connection) = self.connected_or_gone(&mut held).await? else {
            return Ok(Vec::new());
        };
        match roles::users(connection, &self.0.state).await {
            Err(error) if error.is_gone() || error.is_forbidden() => Ok(Vec::new()),
            found => found,
        }
    }

    /// Makes roles that our and these other state directories made those of the plans that need them.
    ///
    /// # Errors
    ///
    /// A target that cannot be reached.
    pub(crate) async fn hand_roles_over(
        &self,
        others: &[&str],
        users: &[&RoleUser],
    ) -> Result<(), Error> {
        let mut held = self.0.connection.lock().await;
        let Some(connection) = self.connected_or_gone(&mut held).await? else {
            return Ok(());
        };
        let from: Vec<&str> = others
            .iter()
            .copied()
            .chain([self.0.state.as_str()])
            .collect();
        gone_or(roles::hand_over(connection, &from, users).await)
    }

    /// Takes out a database that was dropped, whichever state directory's plan made it.
    ///
    /// # Errors
    ///
    /// A target that cannot be reached.
    pub(crate) async fn dropped(&self, oid: u32) -> Result<(), Error> {
        let mut held = self.0.connection.lock().await;
        let Some(connection) = self.connected_or_gone(&mut held).await? else {
            return Ok(());
        };
        gone_or(rows::dropped(connection, oid).await)
    }

    /// Takes out what our and these other state directories did, and drops the database where nothing else is in it. `is_sound`: a person
    /// says that no crash damaged the cluster.
    ///
    /// # Errors
    ///
    /// A target that cannot be reached, or that refuses to drop it.
    pub(crate) async fn remove(&self, others: &[&str], is_sound: bool) -> Result<Removed, Error> {
        let Inner {
            target,
            session,
            state,
            ..
        } = &*self.0;
        let mut held = self.0.connection.lock().await;
        let left = match self.connected_or_gone(&mut held).await? {
            Some(connection) => {
                let states: Vec<&str> = others.iter().copied().chain([state.as_str()]).collect();
                rows::forget(connection, &states, is_sound).await?
            }
            None => return Ok(Removed::Whole),
        };
        match left {
            (0, 0) => {}
            (0, _) => return Ok(Removed::ButDamage),
            _ => return Ok(Removed::ButOthers),
        }
        if let Some(connection) = held.take() {
            connection.close().await;
        }
        let server = connect(target, &target.database, session).await?;
        let name = quote_identifier(MARK_DATABASE);
        server
            .batch_execute(&format!("DROP DATABASE {name}"))
            .await
            .map_err(server.failed("drop the database of the mark"))?;
        server.close().await;
        Ok(Removed::Whole)
    }

    /// Ends the session, if there is one.
    pub(crate) async fn close(&self) {
        if let Some(connection) = self.0.connection.lock().await.take() {
            connection.close().await;
        }
    }

    /// `None`: there is none, or a person dropped it under the run. What is under way is not left unsafe for that; the next run makes it
    /// again.
    async fn connected_or_gone<'a>(
        &self,
        held: &'a mut Option<Connection>,
    ) -> Result<Option<&'a Connection>, Error> {
        match self.connected(held).await {
            Err(error) if error.is_gone() => {
                tracing::warn!("there is no mark on the target");
                Ok(None)
            }
            connected => connected.map(Some),
        }
    }

    /// The session, made again where it was lost.
    async fn connected<'a>(
        &self,
        held: &'a mut Option<Connection>,
    ) -> Result<&'a Connection, Error> {
        let is_lost =
            |connection: &Connection| connection.ended().is_none_or(|ended| ended.is_cancelled());
        let open = held.take().filter(|connection| !is_lost(connection));
        let open = match open {
            Some(open) => open,
            None => open_trusted(&self.0.target, &self.0.session).await?,
        };
        Ok(held.insert(open))
    }
}

/// Connects to it, and looks at nothing in it but the catalog before it is known whose all of it is: what belongs to a role with fewer
/// rights than ours would run with ours.
async fn open_trusted(server: &Endpoint, session: &Session) -> Result<Connection, Error> {
    let connection = connect(server, MARK_DATABASE, session).await?;
    let row = connection
        .query_one(OWNERS, &[])
        .await
        .map_err(connection.failed("read whose the mark is"))?;
    match row.get::<_, Option<String>>(0) {
        None => Ok(connection),
        Some(owners) => Err(Error::NotTrusted {
            server: server.to_string(),
            owners: escape_control(&owners).into_owned(),
        }),
    }
}

/// Where our role is a superuser: which others, that are none, own the database or something in it.
const OWNERS: &str = "\
    SELECT string_agg(quote_ident(r.rolname), ', ' ORDER BY r.rolname) FROM pg_catalog.pg_roles r \
    WHERE NOT r.rolsuper AND r.oid >= 16384 \
      AND (SELECT o.rolsuper FROM pg_catalog.pg_roles o WHERE o.rolname = current_user) \
      AND r.oid IN (SELECT datdba FROM pg_catalog.pg_database WHERE datname = current_database() \
                    UNION ALL SELECT nspowner FROM pg_catalog.pg_namespace \
                    UNION ALL SELECT relowner FROM pg_catalog.pg_class \
                    UNION ALL SELECT typowner FROM pg_catalog.pg_type \
                    UNION ALL SELECT oprowner FROM pg_catalog.pg_operator \
                    UNION ALL SELECT proowner FROM pg_catalog.pg_proc)";

/// As [`Mark::connected_or_gone`], for its tables.
fn gone_or(result: Result<(), Error>) -> Result<(), Error> {
    result.or_else(|error| if error.is_gone() { Ok(()) } else { Err(error) })
}
