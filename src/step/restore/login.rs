//! A login that may insert rows into the tables of one database, and nothing else.
//!
//! COPY runs CHECK constraints with the rights of whoever loads, and the functions in them belong to the owners of objects on the
//! source. A superuser who loads gives these his rights, and SET ROLE takes none away, since a function can reset it. So where there are
//! such functions, the rows come by a login that has nothing to take: it is no member of any role, owns nothing and may not read, and one
//! that knew its password would get no further. It is on record before it is made, and dropped when the rows are in; a crash leaves it
//! to the next attempt.

use std::collections::HashSet;
use std::time::Duration;

use postgres_protocol::password::scram_sha_256;
use tokio::time::sleep;
use tokio_postgres::error::SqlState;

use super::parts::Part;
use crate::catalog::{Contents, NotMovedKind};
use crate::escape::hexadecimal;
use crate::failpoint::reach;
use crate::inspect::keep_out_of_log;
use crate::journal::Change;
use crate::names::{LOAD_LOGIN, some_of};
use crate::plan::password::Password;
use crate::plan::{Endpoint, Side};
use crate::postgres::{
    Class, Connection, Session, connect, conninfo, escape_control, quote_identifier, quote_literal,
};
use crate::process::Invocation;
use crate::process::restore_log::{Entry, Toc};
use crate::shell;
use crate::step::child::{environment, settings};
use crate::step::{Context, StepError, ours};

/// How often, and how long, to look whether its sessions are gone.
const LOOK: Duration = Duration::from_millis(50);
const LOOKS: u32 = 400;

/// How many constraints a message names.
const NAMED: usize = 5;

/// A login that was made.
pub(super) struct Login {
    /// The target, as this login connects to it.
    endpoint: Endpoint,
}

/// Whether rows of the step's database are loaded by a login of its own: functions of roles that are not superusers would run with
/// the rights of one, and the plan does not waive that.
pub(super) fn is_wanted(context: &Context) -> bool {
    let is_waived = context
        .shared
        .graph
        .trusts_owners_in_rows(context.database_name());
    let is_superuser = context.shared.inspection.target.is_superuser;
    is_superuser && found(context, NotMovedKind::OwnersCodeInRows) && !is_waived
}

/// Which entries of the archive the login loads. The tables of extensions are not owners', and an extension may keep others out of them.
pub(super) fn takes(context: &Context) -> impl Fn(&Entry) -> bool {
    let relations = contents(context)
        .into_iter()
        .flat_map(|contents| &contents.relations);
    let of_extensions: HashSet<(String, String)> = relations
        .filter(|relation| relation.extension.is_some())
        .map(|relation| (relation.schema.to_string(), relation.name.to_string()))
        .collect();
    let is_wanted = is_wanted(context);
    move |entry| {
        let name = (entry.schema.clone().unwrap_or_default(), entry.tag.clone());
        is_wanted && !of_extensions.contains(&name)
    }
}

/// Drops logins that a killed run left, also where none is wanted any more.
pub(super) async fn drop_what_is_left(context: &Context) -> Result<(), StepError> {
    let mut roles = context.created_roles.keys();
    if !roles.any(|role| role.starts_with(LOAD_LOGIN)) {
        return Ok(());
    }
    let connection = ours::open(context, &context.session(Side::Target)).await?;
    let dropped = drop_left(context, &connection, &name_in(&connection).await?).await;
    connection.close().await;
    dropped
}

/// What the login of the connection's database is called.
async fn name_in(connection: &Connection) -> Result<String, StepError> {
    let row = connection
        .query_one(
            "SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()",
            &[],
        )
        .await
        .map_err(connection.failed("ask for the object id of the database"))?;
    Ok(format!("{LOAD_LOGIN}{}", row.get::<_, u32>(0)))
}

/// Whether the source's database has any of this.
fn found(context: &Context, what: NotMovedKind) -> bool {
    contents(context)
        .is_some_and(|contents| contents.not_moved.iter().any(|found| found.what == what))
}

/// What the look at the source found in the database.
fn contents(context: &Context) -> Option<&Contents> {
    let source = &context.shared.inspection.source;
    source.database(context.database_name())?.contents.as_ref()
}

/// Looks for CHECK constraints that are added after the rows, and so checked with the rights of our role, where a look at the source
/// found none that calls a function of an owner: what pg_dump adds late depends on more than that look follows.
///
/// # Errors
///
/// There are such, and the plan does not trust owners.
pub(super) fn look_at_late(context: &Context, toc: &Toc, entries: &[u32]) -> Result<(), StepError> {
    if !is_wanted(context) || found(context, NotMovedKind::OwnersCode) {
        return Ok(());
    }
    let late = entries.iter().filter_map(|id| toc.get(*id));
    let late = late.filter(|entry| entry.description == "CHECK CONSTRAINT");
    let late: Vec<String> = late
        .map(|entry| escape_control(&entry.object()).into_owned())
        .collect();
    if late.is_empty() {
        return Ok(());
    }
    let what = format!(
        "database \"{}\": constraints are added when the rows are in, and checked with the rights of the target's role, also where they \
         call functions of owners: {}",
        context.shown_database(),
        some_of(&late, NAMED)
    );
    if context.plan().untrusted_owners {
        let database = shell::quote(context.database_name());
        return Err(StepError::new(format!("{what}; target.untrusted_owners is true")).help(format!(
            "read what they call; take them away on the source until the run is done and make them again on the target as their owners, or \
             take target.untrusted_owners out of the plan; then `pg-migrate reset PLAN --database {database} --step dump`, and run again"
        )));
    }
    context.notices.extend([what]);
    Ok(())
}

/// Makes the login. `None`: the target does not let it in, which is told.
///
/// # Errors
///
/// A statement that the target refuses. A login that is not let in, where the plan does not trust owners.
pub(super) async fn make(context: &Context) -> Result<Option<Login>, StepError> {
    let connection = ours::open(context, &context.session(Side::Target)).await?;
    let made = make_on(context, &connection).await;
    let login = match made {
        Ok(login) => login,
        Err(error) => {
            connection.close().await;
            return Err(error);
        }
    };
    let session = Session::new(&context.application()).like_a_client();
    let refused = match connect(&login.endpoint, context.database_name(), &session).await {
        Ok(session) => {
            session.close().await;
            None
        }
        Err(error) => Some(error),
    };
    let Some(error) = refused else {
        connection.close().await;
        return Ok(Some(login));
    };
    let dropped = drop_login(context, &connection, &login.endpoint.user).await;
    connection.close().await;
    dropped?;
    if error.class() != Class::Fail || context.stop.is_cancelled() {
        return Err(error.into());
    }
    let what = format!(
        "database \"{}\": the target does not let in the login that would load rows without a superuser's rights",
        context.shown_database()
    );
    if context.plan().untrusted_owners {
        let error: StepError = error.into();
        return Err(error.place(&format!("{what}, and target.untrusted_owners is true: ")).help(
            "let roles whose names begin with pgmigrate_load_ connect from this host by scram-sha-256 (pg_hba.conf on the target), and \
             run again; or trust the owners: take target.untrusted_owners out of the plan",
        ));
    }
    context.notices.extend([format!(
        "{what}, so the functions that source/owners-code-in-rows names ran with that role's rights: {error}"
    )]);
    Ok(None)
}

async fn make_on(context: &Context, connection: &Connection) -> Result<Login, StepError> {
    let name = name_in(connection).await?;
    drop_left(context, connection, &name).await?;
    let mut secret = [0; 24];
    getrandom::fill(&mut secret).map_err(StepError::fault)?;
    let secret = hexadecimal(&secret);
    let roles = vec![name.clone()];
    context.record(Change::CreateRoles { roles }).await?;
    reach!("{} login recorded", context.step().id);
    keep_out_of_log(connection).await?;
    let execute = async |sql: String| {
        connection
            .batch_execute(&sql)
            .await
            .map_err(connection.failed(format!("make the login {name} that loads rows")))
    };
    let role = quote_identifier(&name);
    // Committed once it is on record by its object id.
    execute(format!(
        "BEGIN; CREATE ROLE {role} LOGIN NOINHERIT PASSWORD {}",
        quote_literal(&scram_sha_256(secret.as_bytes()))
    ))
    .await?;
    let row = connection
        .query_one(
            "SELECT oid FROM pg_catalog.pg_roles WHERE rolname::text = $1",
            &[&name],
        )
        .await
        .map_err(connection.failed("ask for the object id of the login"))?;
    let roles = [(name.clone(), row.get(0))].into();
    context.record(Change::CreatedRoles { roles }).await?;
    execute("COMMIT".to_owned()).await?;
    reach!("{} login made", context.step().id);
    execute(format!(
        "COMMENT ON ROLE {role} IS 'pg-migrate loads rows by it; it is dropped after that'"
    ))
    .await?;
    // A superuser sets what the login could not set for itself.
    let part = Part::Rows.settings(&context.shared.inspection.target);
    let placed = super::placement::settings(context);
    // What the database sets in this place would keep it out.
    let own = [("role", "none")];
    let more: Vec<_> = part.into_iter().chain(placed).chain(own).collect();
    for (setting, value) in settings(context, Side::Target, &more) {
        execute(format!(
            "ALTER ROLE {role} SET {} = {}",
            quote_identifier(&setting),
            quote_literal(&value)
        ))
        .await?;
    }
    let database = quote_identifier(context.database_name());
    execute(format!("GRANT CONNECT ON DATABASE {database} TO {role}")).await?;
    let rows = connection
        .query(
            "SELECT nspname::text FROM pg_catalog.pg_namespace \
             WHERE nspname !~ '^pg_' AND nspname <> 'information_schema' ORDER BY 1",
            &[],
        )
        .await
        .map_err(connection.failed("list the schemas"))?;
    let schemas = rows.iter().map(|row| quote_identifier(row.get(0)));
    let schemas = schemas.collect::<Vec<String>>().join(", ");
    if !schemas.is_empty() {
        execute(format!("GRANT USAGE ON SCHEMA {schemas} TO {role}")).await?;
    }
    execute(format!(
        "{} {}",
        for_tables(&role),
        for_definers("REVOKE", "FROM")
    ))
    .await?;
    let target = context.endpoint(Side::Target);
    Ok(Login {
        endpoint: Endpoint {
            user: name,
            password: Some(Password::fixed(secret.into())),
            sslcert: None,
            sslkey: None,
            ..target.clone()
        },
    })
}

/// Who inserts into a view does it with the rights of the view's owner, so it is tables alone.
fn for_tables(role: &str) -> String {
    format!(
        "DO $login$ DECLARE name text; BEGIN \
             FOR name IN SELECT pg_catalog.format('%I.%I', n.nspname, c.relname) \
                 FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
                 WHERE c.relkind IN ('r', 'p') AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' AND NOT EXISTS ( \
                     SELECT FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = c.oid \
                         AND d.deptype = 'e') \
             LOOP EXECUTE 'GRANT INSERT ON ' || name || ' TO {role}'; END LOOP; END $login$;"
    )
}

/// The privileges of functions are restored after the rows, so that by now PUBLIC may run those that it may not on the source: no login
/// runs one that runs with the rights of its owner meanwhile. What extensions set themselves stays.
fn for_definers(verb: &str, to: &str) -> String {
    format!(
        "DO $login$ DECLARE name regprocedure; BEGIN \
             FOR name IN SELECT p.oid FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace \
                 WHERE p.prosecdef AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' AND NOT EXISTS ( \
                     SELECT FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_catalog.pg_proc'::regclass AND d.objid = p.oid \
                         AND d.deptype = 'e') \
             LOOP EXECUTE '{verb} EXECUTE ON ' || CASE WHEN (SELECT pg_catalog.to_jsonb(p) ->> 'prokind' \
                 FROM pg_catalog.pg_proc p WHERE p.oid = name) = 'p' THEN 'PROCEDURE ' ELSE 'FUNCTION ' END \
                 || name || ' {to} PUBLIC'; END LOOP; END $login$"
    )
}

/// The step's command for its rows, by the login.
pub(super) fn invocation(context: &Context, login: &Login, command: &[String]) -> Invocation {
    let server = conninfo(&login.endpoint, context.database_name());
    let (program, arguments) = command.split_first().expect("it is a command of the graph");
    let of_login = arguments
        .iter()
        .map(|argument| match argument.starts_with("--dbname=") {
            true => format!("--dbname={server}"),
            false => argument.clone(),
        });
    Invocation::new(program)
        .arguments(of_login)
        .environment(environment(context, &login.endpoint))
        .log(context.log_file())
}

/// Ends what the login has, and drops it.
pub(super) async fn end(context: &Context, login: &Login) -> Result<(), StepError> {
    let connection = ours::open(context, &context.session(Side::Target)).await?;
    let dropped = drop_login(context, &connection, &login.endpoint.user).await;
    connection.close().await;
    dropped
}

/// Drops what an attempt that was killed left: the login of this database, and those of databases that are gone.
async fn drop_left(
    context: &Context,
    connection: &Connection,
    name: &str,
) -> Result<(), StepError> {
    let ours: Vec<&String> = context.created_roles.keys().collect();
    let rows = connection
        .query(
            "SELECT rolname::text FROM pg_catalog.pg_roles \
             WHERE rolname::text = $1 \
                OR rolname::text = ANY ($2) AND pg_catalog.left(rolname::text, pg_catalog.length($3)) = $3 \
                   AND NOT EXISTS (SELECT FROM pg_catalog.pg_database WHERE rolname::text = $3 || oid)",
            &[&name, &ours, &LOAD_LOGIN],
        )
        .await
        .map_err(connection.failed("look for logins of an attempt that did not end"))?;
    for row in rows {
        drop_login(context, connection, row.get(0)).await?;
    }
    Ok(())
}

/// A session that was in the middle of something may take a moment to end.
async fn drop_login(
    context: &Context,
    connection: &Connection,
    name: &str,
) -> Result<(), StepError> {
    let role = quote_identifier(name);
    let action = format!("drop the login {name} that loaded rows");
    context
        .record(Change::DropRole {
            role: name.to_owned(),
        })
        .await?;
    let closed = connection
        .batch_execute(&format!("ALTER ROLE {role} NOLOGIN"))
        .await;
    let dropped = Change::DroppedRole {
        role: name.to_owned(),
    };
    match closed {
        // Another step was faster.
        Err(error) if error.code() == Some(&SqlState::UNDEFINED_OBJECT) => {
            return context.record(dropped).await;
        }
        closed => closed.map_err(connection.failed(&action))?,
    }
    for _ in 0..LOOKS {
        let rows = connection
            .query(
                "SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity WHERE usename = $1",
                &[&name],
            )
            .await
            .map_err(connection.failed("end the sessions of the login that loaded rows"))?;
        if rows.is_empty() {
            break;
        }
        sleep(LOOK).await;
    }
    // Before 15 a role may grant itself, and who got it was in the database, which is closed.
    let rows = connection
        .query(
            "WITH member AS (SELECT m.oid, m.rolname FROM pg_catalog.pg_auth_members a \
                             JOIN pg_catalog.pg_roles r ON r.oid = a.roleid JOIN pg_catalog.pg_roles m ON m.oid = a.member \
                             WHERE r.rolname::text = $1 AND m.rolname <> current_user) \
             SELECT m.rolname::text, (SELECT count(pg_catalog.pg_terminate_backend(s.pid)) FROM pg_catalog.pg_stat_activity s \
                                      WHERE s.usesysid = m.oid AND s.datname = pg_catalog.current_database()) FROM member m ORDER BY 1",
            &[&name],
        )
        .await
        .map_err(connection.failed("look for members of the login that loaded rows"))?;
    let members: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    let drop = format!(
        "{}; DROP OWNED BY {role}; DROP ROLE {role}",
        for_definers("GRANT", "TO")
    );
    let ran = connection.batch_execute(&drop).await;
    if let Err(error) = ran {
        let failure: StepError = connection.failed(&action)(error).into();
        return Err(failure.help(format!(
            "where it made something elsewhere, DROP OWNED BY {role} in the databases that the message names, then DROP ROLE {role}, and run \
             again"
        )));
    }
    reach!("{} login dropped", context.step().id);
    context.record(dropped).await?;
    if members.is_empty() {
        return Ok(());
    }
    Err(StepError::new(format!(
        "while rows were loaded, a function of an owner made these roles members of the login {name}, so that they could connect to the \
         closed database: {}",
        escape_control(&some_of(&members, NAMED))
    ))
    .help("read the functions that source/owners-code-in-rows names, and take such a thing out on the source; then have the database dumped again"))
}

/// What a person does about rows that were refused since the login may not do what a function does.
pub(super) const ASKS_FOR_MORE: &str = "rows were loaded by a login that may insert and nothing else, for they run functions of owners \
     (source/owners-code-in-rows); where one of these needs more, read it, waive that finding with the function as its object \
     ([[waive]]), and run again: the rows are loaded with the rights of the target's role";

/// What a person does where the login is not let in any more: nothing else knows it, and it may change its own password.
pub(super) const CHANGED_PASSWORD: &str = "rows were loaded by a login of their own, for they run functions of owners \
     (source/owners-code-in-rows), and one of these may have changed its password: read them, and take such a thing out on the source; \
     then have the database dumped again (`pg-migrate reset PLAN` with its name and --step dump), and run again";
