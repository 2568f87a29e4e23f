//! Carrying the plan of the globals out on the target.

use super::{Action, OnError, Run, Skip, Target, plan, statements};
use crate::failpoint::reach;
use crate::names::Output;
use crate::plan::Side;
use crate::postgres::{Connection, connect, escape_control, quote_identifier};
use crate::step::child::{capture, invocation};
use crate::step::{Context, StepError};

/// Far more than the roles of any server need.
const LARGEST_SCRIPT: usize = 256 << 20;

/// Dumps roles, memberships and tablespaces of the source and brings the target up to them.
pub(crate) async fn run(context: &Context) -> Result<Output, StepError> {
    let child = invocation(context, Side::Source, &context.step().command, &[]);
    let script = capture(context, child, LARGEST_SCRIPT).await?.stdout;
    // It is written in UTF-8 (`--encoding`), but a cluster of encoding SQL_ASCII passes any bytes through.
    let script = String::from_utf8(script).map_err(|error| {
        StepError::new(format!(
            "the roles of the {} have names or comments that are not UTF-8 (byte {}); rename them there",
            context.endpoint(Side::Source),
            error.utf8_error().valid_up_to()
        ))
    })?;
    let statements = statements(&script).map_err(StepError::fault)?;
    let actions = plan(
        &statements,
        &Target::from(&context.shared.inspection.target),
    );

    let target = context.endpoint(Side::Target);
    let connection = connect(target, &target.database, &context.session(Side::Target)).await?;
    let facts = &context.shared.inspection.target;
    if facts.version.major() >= 1600 && !facts.is_superuser {
        // Otherwise it could administer the roles that it makes, and not give them a database.
        connection
            .batch_execute("SET createrole_self_grant = 'set, inherit'")
            .await
            .map_err(connection.failed("set createrole_self_grant"))?;
    }
    let mut output = Output::default();
    for action in &actions {
        match action {
            Action::Run(run) => {
                if let Some(warning) = execute(&connection, run).await? {
                    output.warnings.push(warning);
                }
                reach!("globals statement");
            }
            Action::Skip(Skip {
                sql,
                reason,
                is_loss,
            }) => {
                if *is_loss {
                    output.warnings.push(reason.clone());
                } else {
                    tracing::debug!(%sql, reason, "skipped");
                }
            }
        }
    }
    if facts.version.major() < 1600 && !facts.is_superuser && facts.can_create_role {
        output
            .warnings
            .extend(join_roles(context, &connection).await);
    }
    connection.close().await;
    // A name that holds a line feed makes no second line, and no server's message does.
    for warning in &mut output.warnings {
        *warning = escape_control(warning).into_owned();
    }
    Ok(output)
}

/// Before 16, the creator of a role is not a member of it, and so may not give it a database or a table. A role with
/// CREATEROLE may join any role but superusers (PostgreSQL manual 15, 22.2 "Role Attributes"). Returns warnings.
async fn join_roles(context: &Context, connection: &Connection) -> Vec<String> {
    let inspection = &context.shared.inspection;
    let user = &inspection.target.user;
    let mut warnings = Vec::new();
    let wanted =
        inspection.source.roles.iter().filter(|role| {
            !role.is_superuser && !role.name.starts_with("pg_") && role.name != *user
        });
    for role in wanted {
        let sql = format!(
            "GRANT {} TO {}",
            quote_identifier(&role.name),
            quote_identifier(user)
        );
        if let Err(error) = connection.batch_execute(&sql).await {
            warnings.push(format!(
                "role {user} is not a member of role {}, and cannot give it what it owns on the source ({})",
                role.name,
                reason(&error)
            ));
        }
    }
    warnings
}

/// Runs one statement, or what stands in for it. Returns a warning, if any.
async fn execute(connection: &Connection, run: &Run) -> Result<Option<String>, StepError> {
    let Err(error) = connection.batch_execute(run.sql.expose()).await else {
        return Ok(None);
    };
    let is_one_of = |error: &tokio_postgres::Error, codes: &[tokio_postgres::error::SqlState]| {
        error.code().is_some_and(|code| codes.contains(code))
    };
    if is_one_of(&error, run.tolerated) {
        return Ok(None);
    }
    let mut error = error;
    if let Some(fallback) = run
        .fallback
        .as_ref()
        .filter(|fallback| is_one_of(&error, fallback.on))
    {
        match connection.batch_execute(fallback.sql.expose()).await {
            Ok(()) => return Ok(fallback.warning.clone()),
            Err(again) => error = again,
        }
    }
    let denied = error.code() == Some(&tokio_postgres::error::SqlState::INSUFFICIENT_PRIVILEGE);
    match &run.on_error {
        OnError::Warn(warning) => Ok(Some(format!("{warning} ({})", reason(&error)))),
        OnError::WarnIfDenied(warning) if denied => {
            Ok(Some(format!("{warning} ({})", reason(&error))))
        }
        OnError::Fail | OnError::WarnIfDenied(_) => {
            Err(connection.failed(format!("run {}", run.sql))(error).into())
        }
    }
}

/// The server's own words.
fn reason(error: &tokio_postgres::Error) -> String {
    match error.as_db_error() {
        Some(server) => server.message().to_owned(),
        None => error.to_string(),
    }
}
