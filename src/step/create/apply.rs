//! Making the database on the target, and what comes after its load.

use tokio_postgres::error::SqlState;

use super::discard::drop_own;
use super::found::{Found, find};
use super::opened::opening;
use super::remake;
use super::sql::{Creation, Target, creation};
use super::statement::Statement;
use crate::catalog::{CHANGES_WHAT_IS_RESTORED, Database, properties};
use crate::failpoint::reach;
use crate::inspect::{contents_of, own_of, without_default_privileges};
use crate::journal::{Change, Created, Opening};
use crate::names::Output;
use crate::plan::Side;
use crate::postgres::{Class, Connection, Session, connect, escape_control, quote_identifier};
use crate::step::others::refuse_who_stays;
use crate::step::{Context, StepError};

/// Creates the database, empty, as it is on the source. One that this plan made before, or found empty and filled, is dropped
/// first: it holds a restore that did not end. Any other that holds something is left alone, also one that was created in
/// place of ours.
pub(crate) async fn run(context: &Context) -> Result<Output, StepError> {
    let connection = connect_for(context).await?;
    let _guard = connection.cancel_when(&context.stop);
    let result = create_on(context, &connection).await;
    connection.close().await;
    result.map_err(|error| error.during(&context.stop))
}

async fn create_on(context: &Context, connection: &Connection) -> Result<Output, StepError> {
    let creation = plan(context)?;
    let name = context.database_name();
    match find(connection, name).await? {
        Some(found) if is_own(context, &found).await? => {
            drop_own(context, connection, &found).await?;
            make(context, connection, &creation).await?;
        }
        Some(found) if is_filled(context, &found).await? => {
            remake::prepare(context, &found).await?;
            drop_own(context, connection, &found).await?;
            make(context, connection, &creation).await?;
        }
        Some(found) if found.is_bare && !found.is_invalid => {
            return Err(refuse_what_lets_nobody_in(context));
        }
        Some(found) => {
            let own = refuse_unless_empty(context, &found).await?;
            refuse_what_another_made(context, &found).await?;
            refuse_who_stays(context).await?;
            close(context).await?;
            let (database, oid) = (name.to_owned(), found.oid);
            let own = Some(own);
            context
                .record(Change::FillDatabase { database, oid, own })
                .await?;
            context.set_created(Created::Found(oid));
            take_over(connection, name).await?;
            // One that was on its way in.
            refuse_who_stays(context).await?;
        }
        None => make(context, connection, &creation).await?,
    }
    let refused = apply(context, connection, &creation.before_load).await?;
    let warnings = [creation.losses, refused].concat();
    Ok(Output::of_warnings(warnings))
}

/// Puts on record that nobody else may connect from here on.
async fn close(context: &Context) -> Result<(), StepError> {
    let database = context.database()?;
    let close = Change::CloseDatabase {
        database: database.name.clone(),
        source: properties(database),
        tablespaces: context.plan().tablespaces.clone(),
    };
    context.record(close).await
}

/// Creates the database, with its object id on record: as it was found, or as it is on the source.
async fn make(
    context: &Context,
    connection: &Connection,
    creation: &Creation,
) -> Result<(), StepError> {
    close(context).await?;
    let database = context.database_name().to_owned();
    context
        .record(Change::CreateDatabase {
            database: database.clone(),
        })
        .await?;
    context.set_created(Created::Begun);
    let as_found = context.remade();
    if as_found.is_empty() {
        create(connection, creation).await?;
    } else {
        remake::run(connection, &as_found).await?;
    }
    reach!("{database}/create made");
    let found = find(connection, &database).await?.ok_or_else(|| {
        StepError::new(format!(
            "the database \"{}\" is gone from the target a moment after it was created",
            context.shown_database()
        ))
        .help("find out who dropped it, and run again")
    })?;
    let oid = found.oid;
    context
        .record(Change::CreatedDatabase { database, oid })
        .await?;
    context.set_created(Created::WithOid(oid));
    Ok(())
}

/// Opens a database that is verified: owner, privileges, settings are as on the source. Then it has answered an ordinary session.
/// What is optional and was refused, it returns: a line each. `made`: the object id of the one that is ours. `let_in`: an earlier
/// attempt committed that, and what people set since stays. `waived`: the plan waives differences that are on record.
///
/// # Errors
///
/// Any other statement that the target refuses: then the database stays closed. A database that lets nobody in.
pub(crate) async fn open(
    context: &Context,
    database: &Database,
    made: Option<u32>,
    let_in: Option<&Opening>,
    waived: bool,
) -> Result<Vec<String>, StepError> {
    let name = &database.name;
    let connection = connect_for(context).await?;
    if !is_there(&connection, name, made).await? {
        let name = escape_control(name);
        return Err(StepError::new(format!(
            "the database \"{name}\" that this plan made is gone from the target: it was dropped or renamed, so its owner, \
             privileges and settings were not set"
        ))
        .help("run again: the run says what to do"));
    }
    let refused = match let_in {
        Some(opening) => opening.refused.clone(),
        None => let_others_in(context, &connection, database).await?,
    };
    connection.close().await;
    reach!("{name} let in");
    prove_open(context, database).await?;
    context
        .record(Change::OpenDatabase {
            database: name.clone(),
            waived,
        })
        .await?;
    Ok(refused)
}

/// Sets all of it in one transaction, which is on record before it is committed: until then nobody is let in.
async fn let_others_in(
    context: &Context,
    connection: &Connection,
    database: &Database,
) -> Result<Vec<String>, StepError> {
    let target = Target::new(
        &context.shared.inspection.target,
        &context.plan().tablespaces,
    );
    let creation = creation(database, &target);
    let execute = async |sql: &str, what: &str| {
        connection
            .batch_execute(sql)
            .await
            .map_err(connection.failed(format!("set {what}")))
    };
    let mut refused = Vec::new();
    // What is on record as opened is open after a crash of the server as well.
    let begin = "BEGIN; SET LOCAL synchronous_commit = local";
    execute(begin, "owner, privileges and settings").await?;
    let statements = creation.open.iter().map(|statement| (statement, false));
    let again = creation.again.iter().map(|statement| (statement, true));
    for (statement, is_again) in again.chain(statements) {
        if statement.is_optional {
            execute("SAVEPOINT optional", &statement.what).await?;
            if let Some(warning) = attempt(connection, &database.name, statement).await? {
                // It was told when it was refused first.
                refused.extend((!is_again).then_some(warning));
                execute("ROLLBACK TO SAVEPOINT optional", &statement.what).await?;
            }
        } else {
            execute(&statement.sql, &statement.what).await?;
        }
        reach!("set {}", statement.sql);
    }
    let opening = opening(connection, refused.clone()).await?;
    context
        .record(Change::LetInDatabase {
            database: database.name.clone(),
            opening,
        })
        .await?;
    execute("COMMIT", "owner, privileges and settings").await?;
    Ok(refused)
}

/// Whether the target has a database of this name that is ours, and not another.
async fn is_there(
    connection: &Connection,
    name: &str,
    made: Option<u32>,
) -> Result<bool, StepError> {
    let found = find(connection, name).await?;
    Ok(found.is_some_and(|found| made.is_none_or(|made| made == found.oid)))
}

/// Whether there is nothing to open any more: it is gone, and the plan leaves it out now.
pub(crate) async fn is_left_out(
    context: &Context,
    name: &str,
    made: Option<u32>,
) -> Result<bool, StepError> {
    if context.shared.graph.database_names().any(|one| one == name) {
        return Ok(false);
    }
    let connection = connect_for(context).await?;
    let is_there = is_there(&connection, name, made).await?;
    connection.close().await;
    Ok(!is_there)
}

/// A session without settings of ours gets those of the database, as a client would. A limit of connections keeps
/// superusers out of nothing.
async fn prove_open(context: &Context, database: &Database) -> Result<(), StepError> {
    let is_superuser = context.shared.inspection.target.is_superuser;
    if database.connection_limit == 0 && !is_superuser {
        return Ok(());
    }
    let target = context.endpoint(Side::Target);
    let session = Session::new(&context.application()).like_a_client();
    match connect(target, &database.name, &session).await {
        Ok(connection) => {
            connection.close().await;
            Ok(())
        }
        // May be over at the next attempt.
        Err(error) if error.class() != Class::Fail => Err(error.into()),
        Err(error) => {
            let settings = database.settings.iter();
            let loaded: Vec<String> = settings
                .filter(|setting| setting.role.is_none() && setting.name.ends_with("_libraries"))
                .map(|setting| format!("{} = {}", setting.name, setting.value))
                .collect();
            let named = if loaded.is_empty() {
                "its settings".to_owned()
            } else {
                format!("its settings {}", loaded.join(", "))
            };
            let what = format!(
                "the database \"{}\" is complete, but no client can connect to it with {named}: ",
                escape_control(&database.name)
            );
            let failure: StepError = error.into();
            Err(failure.place(&what).help(
                "install what they name on the target, or remove them (ALTER DATABASE … RESET, on the source as well), \
                 and run again",
            ))
        }
    }
}

/// A database that was there, empty, becomes ours until it is opened.
async fn take_over(connection: &Connection, name: &str) -> Result<(), StepError> {
    let rows = connection
        .query(
            "SELECT DISTINCT pg_catalog.pg_get_userbyid(a.grantee)::text \
             FROM pg_catalog.pg_database d, pg_catalog.aclexplode(d.datacl) a \
             WHERE d.datname = $1 AND a.grantee NOT IN (0, d.datdba) ORDER BY 1",
            &[&name],
        )
        .await
        .map_err(connection.failed("read the privileges of the database"))?;
    let database = quote_identifier(name);
    let revokes = rows.iter().map(|row| {
        let role = quote_identifier(row.get(0));
        format!("REVOKE ALL ON DATABASE {database} FROM {role} CASCADE")
    });
    let statements = [
        format!("REVOKE ALL ON DATABASE {database} FROM PUBLIC"),
        format!("ALTER DATABASE {database} OWNER TO CURRENT_USER"),
        // What its owner has is what the owner of a new one has.
        format!("REVOKE GRANT OPTION FOR ALL ON DATABASE {database} FROM CURRENT_USER"),
        format!("GRANT ALL ON DATABASE {database} TO CURRENT_USER"),
    ];
    for sql in revokes.chain(statements) {
        connection
            .batch_execute(&sql)
            .await
            .map_err(connection.failed(format!("run {sql}, so that nobody else is let in")))?;
    }
    Ok(())
}

fn plan(context: &Context) -> Result<Creation, StepError> {
    let target = Target::new(
        &context.shared.inspection.target,
        &context.plan().tablespaces,
    );
    Ok(creation(context.database()?, &target))
}

async fn connect_for(context: &Context) -> Result<Connection, StepError> {
    let target = context.endpoint(Side::Target);
    Ok(connect(target, &target.database, &context.session(Side::Target)).await?)
}

/// Whether this plan made the database that was found. Killed before its object id was on record, it may have: then
/// nothing was restored into it, and one that holds something is not ours. One that is half dropped holds nothing
/// for anybody any more.
async fn is_own(context: &Context, found: &Found) -> Result<bool, StepError> {
    Ok(match context.created() {
        None | Some(Created::Found(_)) => false,
        Some(Created::WithOid(made)) => made == found.oid,
        Some(Created::Begun) if found.is_bare => found.is_invalid || !found.is_larger,
        Some(Created::Begun) => found.is_invalid || is_empty(context).await?,
    })
}

/// Whether the database was found empty, and holds what this plan filled it with.
async fn is_filled(context: &Context, found: &Found) -> Result<bool, StepError> {
    let is_ours = matches!(context.created(), Some(Created::Found(oid)) if oid == found.oid);
    Ok(is_ours && !found.is_invalid && !is_empty(context).await?)
}

async fn create(connection: &Connection, creation: &Creation) -> Result<(), StepError> {
    let result = connection.batch_execute(&creation.create).await;
    let result = match (result, &creation.create_respelled) {
        (Err(error), Some(respelled)) if error.code() == Some(&SqlState::WRONG_OBJECT_TYPE) => {
            connection.batch_execute(respelled).await
        }
        (result, _) => result,
    };
    result.map_err(connection.failed(format!("run {}", creation.create)))?;
    Ok(())
}

/// Runs statements one by one; which optional ones were refused, a line each.
async fn apply(
    context: &Context,
    connection: &Connection,
    statements: &[Statement],
) -> Result<Vec<String>, StepError> {
    let mut refused = Vec::new();
    for statement in statements {
        refused.extend(attempt(connection, context.database_name(), statement).await?);
        reach!("set {}", statement.sql);
    }
    Ok(refused)
}

/// Runs a statement; a warning where it is optional and the server refuses it.
async fn attempt(
    connection: &Connection,
    database: &str,
    statement: &Statement,
) -> Result<Option<String>, StepError> {
    let Err(error) = connection.batch_execute(&statement.sql).await else {
        return Ok(None);
    };
    let refusal = error.as_db_error().filter(|error| is_refusal(error.code()));
    match refusal {
        Some(refusal) if statement.is_optional => Ok(Some(format!(
            "database {database}: {} is left out on the target, which refused it ({}): fix the cause and make it there",
            statement.what,
            refusal.message()
        ))),
        _ => Err(connection.failed(format!("set {}", statement.what))(error).into()),
    }
}

/// Whether the server understood the statement and will not do it, now or later: a value, a name or an object that it does
/// not have, a right that our role lacks (PostgreSQL manual, appendix A).
fn is_refusal(code: &SqlState) -> bool {
    let class = &code.code()[..2];
    matches!(class, "0L" | "0P" | "22" | "42") || *code == SqlState::CANT_CHANGE_RUNTIME_PARAM
}

/// Another plan, or this one with a state directory that is lost, made it, has not filled it yet, and may go on.
async fn refuse_what_another_made(context: &Context, found: &Found) -> Result<(), StepError> {
    let Some(mark) = &context.shared.mark else {
        return Ok(());
    };
    let Some(plan) = mark.made_by_another(found.oid).await? else {
        return Ok(());
    };
    Err(StepError::new(format!(
        "the empty database \"{}\" on the target was made by the plan \"{}\" with another state directory, which may go on \
         with it",
        context.shown_database(),
        escape_control(&plan)
    ))
    .help(
        "let that plan end; where it was given up, or its state directory is lost, DROP DATABASE on the target, and run again",
    ))
}

async fn is_empty(context: &Context) -> Result<bool, StepError> {
    let connection = context.connect(Side::Target).await?;
    let contents = contents_of(&connection).await?;
    connection.close().await;
    Ok(contents.is_empty())
}

/// It cannot be looked into, and is not what CREATE DATABASE of this plan leaves.
fn refuse_what_lets_nobody_in(context: &Context) -> StepError {
    let name = context.database_name();
    StepError::new(format!(
        "the {} has a database \"{}\" that this plan did not create, or that holds something, and nobody may connect to it \
         (ALLOW_CONNECTIONS false); it was left as it is",
        context.endpoint(Side::Target),
        escape_control(name)
    ))
    .help("find out whose it is; DROP DATABASE or rename it on the target, or exclude it (databases.exclude), and run again")
}

/// Privileges that tables get as they are made, what fires as they are, and the like: what is restored would not be as on the
/// source, and the restore would not say so.
fn refuse_what_changes_a_restore(
    context: &Context,
    own: &[String],
    without_default_privileges: &[String],
) -> Result<(), StepError> {
    let changing = own.iter().map(String::as_str);
    let changing: Vec<&str> = changing
        .filter(|word| CHANGES_WHAT_IS_RESTORED.contains(word))
        .collect();
    if changing.is_empty() {
        return Ok(());
    }
    let line = |sql: &String| format!("\n  {};", escape_control(sql));
    let statements: String = without_default_privileges.iter().map(line).collect();
    let colon = if statements.is_empty() { "" } else { ":" };
    Err(StepError::new(format!(
        "the empty database \"{}\" on the target is not filled: it holds what would change what is restored into it: {}",
        context.shown_database(),
        changing.join(", ")
    ))
    .help(format!(
        "drop the database on the target, and the run creates it; or take these out of it, and run again{colon}{statements}"
    )))
}

/// What the database holds that is no object of a user, in words.
async fn refuse_unless_empty(context: &Context, found: &Found) -> Result<Vec<String>, StepError> {
    if found.is_invalid {
        let name = context.database_name();
        return Err(StepError::new(format!(
            "the {} has a database \"{}\" whose DROP DATABASE was interrupted, and that this plan did not create",
            context.endpoint(Side::Target),
            escape_control(name)
        ))
        .help(format!(
            "run DROP DATABASE {} there, and run again",
            escape_control(&quote_identifier(name))
        )));
    }
    let name = context.database_name();
    let session = context.session(Side::Target);
    let connection = connect(context.endpoint(Side::Target), name, &session).await?;
    let is_empty = contents_of(&connection).await?.is_empty();
    let own = own_of(&connection).await?;
    let statements = without_default_privileges(&connection).await?;
    connection.close().await;
    if is_empty {
        refuse_what_changes_a_restore(context, &own, &statements)?;
        return Ok(own);
    }
    let target = context.endpoint(Side::Target);
    Err(StepError::new(format!(
        "the {target} has a database \"{}\" that is not empty and that this plan did not create; it was left \
         as it is",
        escape_control(name)
    ))
    .help("drop or rename it there, or exclude it (databases.exclude), and run again"))
}
