//! What a plan made on the target, by the journal, by the mark, and by what is there.

use std::collections::{BTreeMap, BTreeSet};

use super::error::Error;
use crate::catalog::MARK_DATABASE;
use crate::inspect::contents_of;
use crate::journal::{Created, State};
use crate::mark::{Mark, Marked, RoleUser};
use crate::names::Since;
use crate::plan::{Endpoint, Plan};
use crate::postgres::{self, Application, Connection, Session, connect};
use crate::step::create::Existing;
use crate::step::used::written_since;

/// What a plan made on the target, and what of it is there.
#[derive(Default)]
pub(crate) struct Made {
    pub databases: Vec<MadeDatabase>,
    pub roles: Vec<MadeRole>,
    /// Settings that are still those for the load.
    pub tuned: BTreeSet<String>,
    /// State directories of plans of this name, but for this one, that the mark knows.
    pub others: Vec<String>,
    /// There is a mark on the target.
    pub has_mark: bool,
}

pub(crate) struct MadeDatabase {
    pub existing: Existing,
    pub whose: Whose,
    pub used: Use,
    /// No role but ours may connect.
    pub is_closed: bool,
}

pub(crate) struct MadeRole {
    pub name: String,
    pub whose: Whose,
    /// Other state directories whose plans need it.
    pub users: Vec<RoleUser>,
}

/// How sure it is that a plan made it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Whose {
    Ours,
    /// A run that was killed was about to make it, and another session may have made it since.
    Perhaps,
    /// It was there before, empty, and this plan filled it.
    Found,
    /// It was made under another state directory: this plan's, which is lost or was copied, or that of another plan of the name.
    Another(String),
    /// This plan's database has another name now, which a person gave it.
    Renamed(String),
}

/// Whether a database may be in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Use {
    NotVerified,
    Verified(Since),
}

/// Looks for what plans of this name made.
///
/// `state`: what the journal says; `id`: that of its state directory, if there is one.
///
/// # Errors
///
/// A target that cannot be reached.
pub(crate) async fn made(
    plan: &Plan,
    target: &Endpoint,
    (state, id): (&State, Option<&str>),
) -> Result<Made, Error> {
    let application = Application::with_state(&plan.name, id);
    let mark = Mark::to_read(target, &plan.name, id);
    let read = async { Ok::<_, Error>((mark.of_plan().await?, mark.role_users().await?)) };
    let read = read.await;
    mark.close().await;
    let (marked, role_users) = read?;
    let session = Session::new(&application.application_name_for("discard"));
    let connection = connect(target, &target.database, &session).await?;
    let databases = existing(&connection).await?;
    let roles = roles(&connection).await?;
    connection.close().await;

    let mut made = Made {
        tuned: state.tuned.keys().cloned().collect(),
        has_mark: databases.iter().any(|one| one.name == MARK_DATABASE),
        ..Made::default()
    };
    for marked in &marked {
        made.tuned.extend(marked.settings.keys().cloned());
        if Some(marked.state.as_str()) != id {
            made.others.push(marked.state.clone());
        }
    }
    let own = marked.iter().find(|one| Some(one.state.as_str()) == id);
    for existing in databases {
        let Some((name, whose)) = whose(&existing, state, own, &marked) else {
            continue;
        };
        let database = (&existing, name.as_str(), &whose);
        let used = look((target, &application), database, (state, &marked)).await;
        let is_handed_over = marked
            .iter()
            .flat_map(|one| &one.databases)
            .any(|database| database.oid == Some(existing.oid) && database.is_handed_over);
        made.databases.push(MadeDatabase {
            is_closed: whose == Whose::Ours && state.is_closed(&name) && !is_handed_over,
            existing,
            whose,
            used,
        });
    }
    let own_roles = own.map(|own| own.roles.clone()).unwrap_or_default();
    for (name, oid) in roles {
        let whose = match (state.created_roles.get(&name), own_roles.get(&name)) {
            (Some(Some(made)), _) | (_, Some(made)) if *made == oid => Whose::Ours,
            (Some(None), _) => Whose::Perhaps,
            _ => {
                let other = marked.iter().find(|one| one.roles.get(&name) == Some(&oid));
                let Some(other) = other.filter(|one| Some(one.state.as_str()) != id) else {
                    continue;
                };
                Whose::Another(other.state.clone())
            }
        };
        let users = role_users.iter().filter(|user| user.role == name);
        made.roles.push(MadeRole {
            users: users.cloned().collect(),
            name,
            whose,
        });
    }
    Ok(made)
}

/// Under which name a database of the target was made, and how sure that is; `None`: by no plan of this name.
fn whose(
    existing: &Existing,
    state: &State,
    own: Option<&Marked>,
    marked: &[Marked],
) -> Option<(String, Whose)> {
    let is_it = |created: &Created| match created {
        Created::WithOid(oid) | Created::Found(oid) => *oid == existing.oid,
        Created::Begun => false,
    };
    let created = state.created.iter().find(|(_, created)| is_it(created));
    if let Some((name, created)) = created {
        let whose = match created {
            _ if *name != existing.name => Whose::Renamed(name.clone()),
            Created::Found(_) => Whose::Found,
            _ => Whose::Ours,
        };
        return Some((name.clone(), whose));
    }
    let of = |marked: &Marked| {
        let databases = marked.databases.iter();
        let mut of_this_oid = databases.filter(|one| one.oid == Some(existing.oid));
        of_this_oid.next().cloned()
    };
    if let Some(known) = own.and_then(of) {
        let whose = match known.was_there {
            _ if known.name != existing.name => Whose::Renamed(known.name.clone()),
            true => Whose::Found,
            false => Whose::Ours,
        };
        return Some((known.name, whose));
    }
    let begun = state.created.get(&existing.name) == Some(&Created::Begun);
    if begun {
        return Some((existing.name.clone(), Whose::Perhaps));
    }
    let (other, known) = marked.iter().find_map(|one| Some((one, of(one)?)))?;
    let whose = match known.was_there {
        _ if known.name != existing.name => Whose::Renamed(known.name.clone()),
        true => Whose::Found,
        false => Whose::Another(other.state.clone()),
    };
    Some((known.name, whose))
}

/// Whether it was verified, and written to since.
async fn look(
    (target, application): (&Endpoint, &Application),
    (existing, name, whose): (&Existing, &str, &Whose),
    (state, marked): (&State, &[Marked]),
) -> Use {
    let before = match whose {
        Whose::Another(_) => None,
        _ => state.verified.get(name),
    };
    let is_marked = marked
        .iter()
        .flat_map(|one| &one.databases)
        .any(|database| database.oid == Some(existing.oid) && database.is_verified);
    match before {
        Some(before) => {
            let what = format!("{name}/used");
            let session = Session::new(&application.application_name_for(&what));
            let before = before.as_ref();
            // Who cannot look does not know.
            let since = written_since(target, &existing.name, &session, application, before);
            Use::Verified(since.await.unwrap_or(Since::Unknown))
        }
        None if is_marked => Use::Verified(Since::Unknown),
        None => Use::NotVerified,
    }
}

/// The databases of a server.
async fn existing(connection: &Connection) -> Result<Vec<Existing>, postgres::Error> {
    let rows = connection
        .query(
            "SELECT datname::text, oid, datconnlimit = -2, datallowconn, datistemplate \
             FROM pg_catalog.pg_database ORDER BY 1",
            &[],
        )
        .await
        .map_err(connection.failed("list the databases"))?;
    let existing = rows.iter().map(|row| Existing {
        name: row.get(0),
        oid: row.get(1),
        is_invalid: row.get(2),
        lets_in: row.get(3),
        is_template: row.get(4),
    });
    Ok(existing.collect())
}

/// The roles of a server, with their object ids.
async fn roles(connection: &Connection) -> Result<BTreeMap<String, u32>, postgres::Error> {
    let rows = connection
        .query("SELECT rolname::text, oid FROM pg_catalog.pg_roles", &[])
        .await
        .map_err(connection.failed("list the roles"))?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}

/// Whether a database holds nothing, or is half dropped.
pub(super) async fn is_bare(
    target: &Endpoint,
    existing: &Existing,
    session: &Session,
) -> Result<bool, postgres::Error> {
    if existing.is_invalid {
        return Ok(true);
    }
    let connection = connect(target, &existing.name, session).await?;
    let contents = contents_of(&connection).await?;
    connection.close().await;
    Ok(contents.is_empty())
}
