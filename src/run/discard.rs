//! Dropping what a plan made on the target, as a person asks for it: after a rehearsal, or to give up.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::control::{Claim, Control};
use super::error::Error;
use super::made::{Made, MadeDatabase, MadeRole, Whose, is_bare};
use crate::failpoint::reach;
use crate::graph::{archive, archives, delayed_archive};
use crate::journal::{Change, Entry, Journal, Outcome, RESET, State};
use crate::mark::{Removed, RoleUser};
use crate::plan::{Endpoint, Plan};
use crate::postgres::{Connection, Session, connect, quote_identifier};
use crate::step::StepError;
use crate::step::archive::{archives_in, remove as remove_archive};
use crate::step::create::drop_asked;
use crate::step::tuning;

/// What a person asks to be dropped.
pub(crate) struct Asked<'a> {
    /// Databases by their names.
    pub names: &'a [String],
    /// All that this plan made under its state directory.
    pub all: bool,
    /// The plan says that no crash damaged the target's cluster.
    pub is_sound: bool,
}

/// What came of it.
#[derive(Default)]
pub(crate) struct Discarded {
    /// A line each.
    pub done: Vec<String>,
    /// What was asked for and is still there, and why.
    pub failed: Vec<String>,
    /// What stays, and why.
    pub left: Vec<String>,
}

impl Asked<'_> {
    /// Whether a database is to be dropped.
    pub(crate) fn is_asked(&self, database: &MadeDatabase) -> bool {
        let is_named = self.names.contains(&database.existing.name);
        match database.whose {
            Whose::Ours => self.all || is_named,
            Whose::Perhaps | Whose::Another(_) => is_named,
            Whose::Found | Whose::Renamed(_) => false,
        }
    }
}

/// Drops what is asked for, with the target held for this plan, each with its record before. What was dropped is not on record any
/// more, so that it may be done again after it was killed.
///
/// # Errors
///
/// Another run at work on the target; another server than the plan's; a journal that cannot be written. What the server refuses to
/// drop is in [`Discarded::failed`].
pub(crate) async fn discard(
    plan: &Plan,
    target: &Endpoint,
    journal: &mut Journal,
    made: &Made,
    asked: &Asked<'_>,
) -> Result<Discarded, Error> {
    let claim = Claim::new(plan, target, journal).only_to_undo();
    let application = claim.application.clone();
    let control = Control::take(&claim).await?;
    let session = Session::new(&application.application_name_for("discard"));
    let mut work = Work {
        plan,
        target,
        session,
        journal,
        control: &control,
        discarded: Discarded::default(),
    };
    let done = work.discard(made, asked).await;
    let discarded = work.discarded;
    control.release().await;
    done.map(|()| discarded)
}

struct Work<'a> {
    plan: &'a Plan,
    target: &'a Endpoint,
    session: Session,
    journal: &'a mut Journal,
    control: &'a Control,
    discarded: Discarded,
}

impl Work<'_> {
    async fn discard(&mut self, made: &Made, asked: &Asked<'_>) -> Result<(), Error> {
        self.refuse_other_target().await?;
        self.begin()?;
        let mut dropped = BTreeSet::new();
        for database in made.databases.iter().filter(|one| asked.is_asked(one)) {
            if self.drop_database(database).await? {
                dropped.insert(database.existing.oid);
            }
        }
        if asked.all && self.discarded.failed.is_empty() {
            let others = made.others.iter().map(String::as_str);
            let others: Vec<&str> = others
                .filter(|other| is_given_up(other, made, &dropped))
                .collect();
            let mut databases = made.databases.iter();
            let kept = databases.find(|one| !dropped.contains(&one.existing.oid));
            self.drop_roles(made, &others, kept).await?;
            self.remove_archives(made, &others);
            self.remove_mark(made, &others, asked.is_sound).await?;
        }
        self.end(made, &dropped)
    }

    async fn refuse_other_target(&self) -> Result<(), Error> {
        let application = "pg-migrate/discard";
        let is = tuning::identity(self.target, application).await?;
        let was = self.journal.state().runs.last();
        let was = was.and_then(|run| run.target.clone());
        match (was, is) {
            (Some(was), Some(is)) if was != is => Err(Error::AnotherTarget { was, is }),
            _ => Ok(()),
        }
    }

    /// A lost state directory has nothing on record: the mark has.
    fn begin(&mut self) -> Result<(), Error> {
        let Some(last) = self.journal.state().runs.last() else {
            return Ok(());
        };
        let entry = Entry::RunStarted {
            program: env!("CARGO_PKG_VERSION").to_owned(),
            fingerprint: last.fingerprint.clone(),
            source: last.source.clone(),
            target: last.target.clone(),
            findings: Vec::new(),
            databases: last.databases.clone(),
        };
        Ok(self.journal.append(entry)?)
    }

    fn end(&mut self, made: &Made, dropped: &BTreeSet<u32>) -> Result<(), Error> {
        if self.journal.state().runs.is_empty() {
            return Ok(());
        }
        let databases = made.databases.iter();
        let databases = databases.filter(|one| dropped.contains(&one.existing.oid));
        let names: BTreeSet<&str> = databases.map(|one| &*one.existing.name).collect();
        let is_of = |name: &str| names.contains(name);
        let steps = self.journal.state().steps.keys();
        let steps = steps.filter(|step| step.database_name().is_some_and(|name| is_of(name)));
        let mut steps: Vec<_> = steps.cloned().collect();
        steps.sort();
        self.journal.append(Entry::Forgotten {
            steps,
            reason: RESET.to_owned(),
            drop: Vec::new(),
        })?;
        self.journal.append(Entry::RunEnded {
            outcome: Outcome::Interrupted,
            exit_code: 0,
        })?;
        Ok(())
    }

    async fn record(&mut self, change: Change) -> Result<(), Error> {
        if self.journal.state().runs.is_empty() {
            return Ok(());
        }
        self.journal.append(change.clone().into())?;
        self.control.mark(Some(&change), self.journal.state()).await
    }

    /// `false`: it is still there.
    async fn drop_database(&mut self, database: &MadeDatabase) -> Result<bool, Error> {
        let existing = &database.existing;
        let shown = format!("database \"{}\"", existing.name);
        if database.whose == Whose::Perhaps
            && !is_bare(self.target, existing, &self.session).await?
        {
            self.discarded.failed.push(format!(
                "{shown} stays: a run that was killed was about to create it, and it holds something, which this plan cannot have \
                 written; if nobody needs it, DROP DATABASE on the target"
            ));
            return Ok(false);
        }
        self.record(Change::DropDatabase {
            database: existing.name.clone(),
        })
        .await?;
        reach!("discard drops a database");
        let dropped = drop_asked((self.target, &self.session), existing, database.is_closed);
        if let Err(error) = dropped.await {
            self.discarded.failed.push(format!(
                "{shown} stays: {error}; when the cause is gone, discard it again"
            ));
            return Ok(false);
        }
        reach!("discard dropped a database");
        self.record(Change::DroppedDatabase {
            database: existing.name.clone(),
        })
        .await?;
        if let Some(mark) = &self.control.mark {
            mark.dropped(existing.oid).await?;
        }
        self.discarded.done.push(format!("{shown} is dropped"));
        Ok(true)
    }

    /// `kept`: a database that stays, whose clients may need any of them.
    async fn drop_roles(
        &mut self,
        made: &Made,
        others: &[&str],
        kept: Option<&MadeDatabase>,
    ) -> Result<(), Error> {
        let is_asked = |role: &&MadeRole| match &role.whose {
            Whose::Ours => true,
            Whose::Another(other) => others.contains(&other.as_str()),
            _ => false,
        };
        let mut roles: Vec<&MadeRole> = made.roles.iter().filter(is_asked).collect();
        let user = |role: &&MadeRole| {
            let mut users = role.users.iter();
            users.find(|user| !others.contains(&&*user.state)).cloned()
        };
        let needed: Vec<RoleUser> = roles.iter().filter_map(user).collect();
        roles.retain(|role| user(role).is_none());
        if let (false, Some(mark)) = (needed.is_empty(), &self.control.mark) {
            let needed: Vec<&RoleUser> = needed.iter().collect();
            mark.hand_roles_over(others, &needed).await?;
        }
        for RoleUser { role, plan, .. } in needed {
            self.discarded.left.push(format!(
                "role \"{role}\" stays: by the target's mark, plan \"{plan}\" has databases there, whose clients may need it; `pg-migrate \
                 discard` with that plan drops it"
            ));
        }
        if let Some(kept) = kept {
            for role in roles.drain(..) {
                self.discarded.left.push(format!(
                    "role \"{}\" stays: database \"{}\", which this plan made or filled, stays, and its clients may need it; when it is \
                     gone, DROP ROLE on the target",
                    role.name, kept.existing.name
                ));
            }
        }
        if roles.is_empty() {
            return Ok(());
        }
        let connection = connect(self.target, &self.target.database, &self.session).await?;
        let going: Vec<&str> = roles.iter().map(|role| &*role.name).collect();
        for role in &roles {
            let name = role.name.clone();
            if let Some(used) = used_by_others(&connection, &name, &going).await? {
                self.discarded
                    .left
                    .push(format!("role \"{name}\" stays, since {used}"));
                continue;
            }
            self.record(Change::DropRole { role: name.clone() }).await?;
            reach!("discard drops a role");
            match drop_role(&connection, &role.name).await {
                Ok(()) => {
                    self.record(Change::DroppedRole { role: name }).await?;
                    self.discarded
                        .done
                        .push(format!("role \"{}\" is dropped", role.name));
                }
                Err(error) => self.discarded.left.push(format!(
                    "role \"{}\" stays, since what this plan did not make needs it: {error}",
                    role.name
                )),
            }
        }
        connection.close().await;
        Ok(())
    }

    fn remove_archives(&mut self, made: &Made, others: &[&str]) {
        let directory = archives(self.plan);
        if !directory.exists() {
            return;
        }
        let names = names(self.journal.state(), made);
        let named = names
            .iter()
            .flat_map(|name| [archive(self.plan, name), delayed_archive(self.plan, name)]);
        // A lost state directory named others, of databases that are gone.
        let archives: BTreeSet<PathBuf> = named.chain(archives_in(&directory)).collect();
        let owners: Vec<&str> = others.iter().copied().chain([self.journal.id()]).collect();
        let mut failed = Vec::new();
        for archive in &archives {
            for owner in &owners {
                if let Err(error) = remove_archive(archive, owner) {
                    failed.push(error.to_string());
                }
            }
        }
        self.discarded.failed.extend(failed);
        match std::fs::remove_dir(&directory) {
            Ok(()) => self
                .discarded
                .done
                .push(format!("archives in {} are removed", directory.display())),
            Err(error) => self.discarded.left.push(format!(
                "{} stays ({error}): what is in it is not this plan's",
                directory.display()
            )),
        }
    }

    async fn remove_mark(
        &mut self,
        made: &Made,
        others: &[&str],
        is_sound: bool,
    ) -> Result<(), Error> {
        let (true, Some(mark)) = (made.has_mark, &self.control.mark) else {
            return Ok(());
        };
        let removed = mark.remove(others, is_sound).await;
        reach!("discard removed the mark");
        match removed {
            Ok(Removed::Whole) => self
                .discarded
                .done
                .push("the mark is dropped (database \"pg_migrate_mark\")".to_owned()),
            Ok(Removed::ButDamage) => self.discarded.left.push(
                "database \"pg_migrate_mark\" stays: it says that a crash may have damaged the target's cluster (target/crashed-unsafe)"
                    .to_owned(),
            ),
            Ok(Removed::ButOthers) => self.discarded.done.push(
                "the mark has nothing of this plan any more; database \"pg_migrate_mark\" stays, as that of other plans"
                    .to_owned(),
            ),
            Err(error) => self.discarded.left.push(format!(
                "database \"pg_migrate_mark\" stays: {error}; nothing of this plan is in it any more"
            )),
        }
        Ok(())
    }
}

/// Whether all databases that were made under another state directory were dropped by name: it is lost then, and not another plan's.
fn is_given_up(other: &str, made: &Made, dropped: &BTreeSet<u32>) -> bool {
    let is_its = |one: &&MadeDatabase| matches!(&one.whose, Whose::Another(id) if id == other);
    let mut its = made.databases.iter().filter(is_its).peekable();
    its.peek().is_some() && its.all(|one| dropped.contains(&one.existing.oid))
}

/// Databases of which there may be archives.
fn names(state: &State, made: &Made) -> BTreeSet<String> {
    let of_steps = state.steps.keys().filter_map(|step| step.database_name());
    let of_steps = of_steps.map(|name| name.to_string());
    let of_made = made.databases.iter().map(|one| one.existing.name.clone());
    let of_runs = state.runs.iter().filter_map(|run| run.databases.clone());
    let all = of_steps.chain(state.created.keys().cloned());
    all.chain(of_made).chain(of_runs.flatten()).collect()
}

/// How a role is used by what is not the plan's: in words. What it owns keeps it anyway; privileges on a database that stays,
/// settings in one, and its members, would go with it. `going`: roles that are dropped as well.
async fn used_by_others(
    connection: &Connection,
    role: &str,
    going: &[&str],
) -> Result<Option<String>, Error> {
    // Since 16, who made a role is a member of it.
    let row = connection
        .query_opt(
            "SELECT used FROM pg_catalog.pg_roles r, LATERAL ( \
                 SELECT 1, pg_catalog.format(CASE s.deptype WHEN 'o' THEN 'it owns database \"%s\"' \
                                             ELSE 'it has privileges on database \"%s\"' END, d.datname) \
                 FROM pg_catalog.pg_shdepend s JOIN pg_catalog.pg_database d ON d.oid = s.objid \
                 WHERE s.dbid = 0 AND s.classid = 'pg_catalog.pg_database'::pg_catalog.regclass \
                   AND s.refclassid = 'pg_catalog.pg_authid'::pg_catalog.regclass AND s.refobjid = r.oid \
                 UNION ALL \
                 SELECT 2, pg_catalog.format('it has settings in database \"%s\"', d.datname) \
                 FROM pg_catalog.pg_db_role_setting s JOIN pg_catalog.pg_database d ON d.oid = s.setdatabase \
                 WHERE s.setrole = r.oid \
                 UNION ALL \
                 SELECT 3, pg_catalog.format('role \"%s\" is a member of it', m.rolname) \
                 FROM pg_catalog.pg_auth_members a JOIN pg_catalog.pg_roles m ON m.oid = a.member \
                 WHERE a.roleid = r.oid AND m.rolname <> current_user AND m.rolname::text <> ALL ($2)) AS found(turn, used) \
             WHERE r.rolname::text = $1 ORDER BY turn, used LIMIT 1",
            &[&role, &going],
        )
        .await
        .map_err(connection.failed("look for who uses the role"))?;
    Ok(row.map(|row| row.get(0)))
}

/// Drops a role, with the privileges that it has on what all databases share (tablespaces, parameters). What it owns, or may use in
/// a database that stays, keeps it, and nothing of that is revoked.
async fn drop_role(connection: &Connection, role: &str) -> Result<(), StepError> {
    let row = connection
        .query_one(
            "SELECT count(*) FILTER (WHERE dbid = 0 AND deptype = 'a'), count(*) \
             FROM pg_catalog.pg_shdepend \
             WHERE refclassid = 'pg_catalog.pg_authid'::pg_catalog.regclass \
               AND refobjid = (SELECT oid FROM pg_catalog.pg_roles WHERE rolname::text = $1)",
            &[&role],
        )
        .await
        .map_err(connection.failed("look for what needs the role"))?;
    let (shared, all): (i64, i64) = (row.get(0), row.get(1));
    let name = quote_identifier(role);
    // Both or none: they go in one message.
    let sql = match shared {
        1.. if shared == all => format!("DROP OWNED BY {name}; DROP ROLE {name}"),
        _ => format!("DROP ROLE {name}"),
    };
    let Err(error) = connection.batch_execute(&sql).await else {
        return Ok(());
    };
    Err(connection.failed(format!("run {sql}"))(error).into())
}
