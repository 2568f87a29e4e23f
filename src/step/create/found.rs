//! A database of the target, looked for by its name.

use crate::catalog::Database;
use crate::journal::Created;
use crate::names::LOAD_LOGIN;
use crate::plan::Side;
use crate::postgres::{Connection, Session, connect, escape_control, quote_identifier};
use crate::step::{Context, StepError};

/// A database of the target.
pub(super) struct Found {
    pub oid: u32,
    /// What a DROP DATABASE that was interrupted leaves, from 16 on and in the last minors before: nobody can connect to
    /// it, and all that can be done with it is to drop it (PostgreSQL manual, 23.5 "Destroying a Database").
    pub is_invalid: bool,
    /// What CREATE DATABASE of this plan leaves until last of all our role may connect: nothing was restored into it.
    pub is_bare: bool,
    /// It takes more than what CREATE DATABASE copied.
    pub is_larger: bool,
    /// Another role may connect, or owns it where that is ours until it is opened.
    pub is_open: bool,
}

/// The login that a restore makes to load rows (`step::restore::login`) is ours. An owner who may not connect is one that a role which is
/// not a superuser gave it (`lock_out_owner`).
const FIND: &str = "\
    SELECT d.oid, d.datconnlimit = -2, NOT d.datallowconn, \
           NOT d.datallowconn AND pg_catalog.pg_database_size(d.oid) \
               > (SELECT pg_catalog.pg_database_size(t.oid) FROM pg_catalog.pg_database t WHERE t.datname = 'template0'), \
           d.datallowconn AND EXISTS (SELECT FROM pg_catalog.aclexplode(coalesce(d.datacl, pg_catalog.acldefault('d', d.datdba))) a \
                   WHERE a.privilege_type = 'CONNECT' AND a.grantee <> r.oid \
                     AND a.grantee <> ALL (SELECT l.oid FROM pg_catalog.pg_roles l WHERE l.rolname::text = $2 || d.oid)) \
    FROM pg_catalog.pg_database d, pg_catalog.pg_roles r \
    WHERE d.datname = $1 AND r.rolname = current_user";

/// The database of this name.
pub(super) async fn find(connection: &Connection, name: &str) -> Result<Option<Found>, StepError> {
    let row = connection
        .query_opt(FIND, &[&name, &LOAD_LOGIN])
        .await
        .map_err(connection.failed("look for the database"))?;
    Ok(row.map(|row| Found {
        oid: row.get(0),
        is_invalid: row.get(1),
        is_bare: row.get(2),
        is_larger: row.get::<_, Option<bool>>(3).unwrap_or(true),
        is_open: row.get(4),
    }))
}

/// Fails where the step's database is closed by the journal, and other roles may connect to it on the target: then the journal
/// is older than the target.
///
/// # Errors
///
/// As said, or a target that cannot be asked.
pub(crate) async fn refuse_what_is_open(context: &Context) -> Result<(), StepError> {
    // One that was there, empty, may have privileges of its own.
    if !context.is_closed || !matches!(context.created(), Some(Created::WithOid(_))) {
        return Ok(());
    }
    let target = context.endpoint(Side::Target);
    let connection = connect(target, &target.database, &context.session(Side::Target)).await?;
    let found = find(&connection, context.database_name()).await?;
    connection.close().await;
    if !found.is_some_and(|found| found.is_open) {
        return Ok(());
    }
    Err(StepError::new(format!(
        "other roles may connect to the database \"{}\" on the target, which this plan did not allow: a run with another copy of \
         this plan's state directory may have completed it",
        context.shown_database()
    ))
    .help(
        "where such a copy went on, go on with that one; where a person granted CONNECT, revoke it (REVOKE CONNECT ON DATABASE) \
         and run again",
    ))
}

/// Who may connect to a database of this name but our role; empty: PUBLIC.
const MAY_CONNECT: &str = "\
    SELECT DISTINCT coalesce(g.rolname::text, '') \
    FROM pg_catalog.pg_database d, pg_catalog.aclexplode(coalesce(d.datacl, pg_catalog.acldefault('d', d.datdba))) a \
    LEFT JOIN pg_catalog.pg_roles g ON g.oid = a.grantee \
    WHERE d.datname = $1 AND a.privilege_type = 'CONNECT' AND (a.grantee = 0 OR g.rolname <> current_user) ORDER BY 1";

/// Fails where somebody granted CONNECT on a database that is closed by the journal, and about to be opened: opening it grants what the
/// source grants, and takes nothing from anybody else. What the source grants as well is no matter.
///
/// # Errors
///
/// As said, or a target that cannot be asked.
pub(crate) async fn refuse_who_was_let_in(
    context: &Context,
    database: &Database,
) -> Result<(), StepError> {
    let target = context.endpoint(Side::Target);
    let session = Session::new(&context.application());
    let connection = connect(target, &target.database, &session).await?;
    let rows = connection
        .query(MAY_CONNECT, &[&database.name])
        .await
        .map_err(connection.failed("read the privileges of the database"))?;
    connection.close().await;
    let grantees: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    let is_stranger = |grantee: &&String| !may_connect_on_source(database, grantee);
    let strangers = names(grantees.iter().filter(is_stranger));
    if strangers.is_empty() {
        return Ok(());
    }
    // The next run would not go on with any of them there.
    let (all, shown) = (names(&grantees), escape_control(&database.name));
    Err(StepError::new(format!(
        "database {shown}: on the target CONNECT is granted to {strangers}, which this plan did not do, nor is it so on the source; \
         it is not opened"
    ))
    .help(format!(
        "find out who granted it; REVOKE CONNECT ON DATABASE {} FROM {all} on the target, and run again: the database is opened as \
         it is on the source; whoever shall connect besides is granted it after that",
        escape_control(&quote_identifier(&database.name))
    )))
}

/// For a statement, fit for a terminal.
fn names<'a>(grantees: impl IntoIterator<Item = &'a String>) -> String {
    let names = grantees.into_iter().map(|grantee| match grantee.as_str() {
        "" => "PUBLIC".to_owned(),
        role => quote_identifier(role),
    });
    escape_control(&names.collect::<Vec<_>>().join(", ")).into_owned()
}

/// `grantee`: empty for PUBLIC.
fn may_connect_on_source(database: &Database, grantee: &str) -> bool {
    // Its owner may grant it to itself at any time.
    if grantee == database.owner {
        return true;
    }
    let Some(privileges) = &database.privileges else {
        return grantee.is_empty();
    };
    privileges.iter().any(|privilege| {
        privilege.privilege == "CONNECT"
            && privilege.grantee.as_deref().unwrap_or_default() == grantee
    })
}
