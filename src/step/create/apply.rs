//! Making the database on the target, and what comes after its load.

use tokio_postgres::error::SqlState;

use super::sql::{Creation, Target, creation};
use super::statement::Statement;
use crate::failpoint::reach;
use crate::inspect::contents_of;
use crate::journal::{Change, Created};
use crate::names::Output;
use crate::plan::Side;
use crate::postgres::{Connection, connect, escape_control, quote_identifier};
use crate::step::{Context, StepError};

/// Creates the database, empty, as it is on the source. One that this plan made before is dropped first: it
/// holds a restore that did not end. Any other that holds something is left alone, also one that was created in
/// place of ours.
pub async fn run(context: &Context) -> Result<Output, StepError> {
    let creation = plan(context)?;
    let name = context.database_name();
    let connection = open(context).await?;
    let found = oid(&connection, name).await?;
    let mut is_new = true;
    if let Some(found) = found {
        if is_own(context, found).await? {
            drop_own(context, &connection).await?;
        } else {
            refuse_unless_empty(context).await?;
            is_new = false;
        }
    }
    if is_new {
        context
            .record(Change::CreateDatabase {
                database: name.to_owned(),
            })
            .await?;
        create(&connection, &creation).await?;
        reach!("{name}/create made");
        if let Some(oid) = oid(&connection, name).await? {
            let database = name.to_owned();
            context
                .record(Change::CreatedDatabase { database, oid })
                .await?;
        }
    }
    apply(&connection, &creation.before_load).await?;
    connection.close().await;
    Ok(Output::of_warnings(creation.losses))
}

/// What would have disturbed the load, or kept us out: settings, the mark of a template, the connection
/// limit. All of it may be run again.
pub async fn apply_post_load_settings(context: &Context) -> Result<(), StepError> {
    let creation = plan(context)?;
    let connection = open(context).await?;
    apply(&connection, &creation.after_load).await?;
    connection.close().await;
    Ok(())
}

fn plan(context: &Context) -> Result<Creation, StepError> {
    let target = Target::from(&context.shared.inspection.target);
    Ok(creation(context.database()?, &target))
}

async fn open(context: &Context) -> Result<Connection, StepError> {
    let target = context.endpoint(Side::Target);
    Ok(connect(target, &target.database, &context.session(Side::Target)).await?)
}

/// The object id of the database of this name.
async fn oid(connection: &Connection, name: &str) -> Result<Option<u32>, StepError> {
    let row = connection
        .query_opt(
            "SELECT oid FROM pg_catalog.pg_database WHERE datname = $1",
            &[&name],
        )
        .await
        .map_err(connection.failed("look for the database"))?;
    Ok(row.map(|row| row.get(0)))
}

/// Whether this plan made the database that was found. Killed before its object id was on record, it may have: then
/// nothing was restored into it, and one that is not empty is not ours.
async fn is_own(context: &Context, found: u32) -> Result<bool, StepError> {
    Ok(match context.created {
        None => false,
        Some(Created::WithOid(made)) => made == found,
        Some(Created::Begun) => is_empty(context).await?,
    })
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

async fn apply(connection: &Connection, statements: &[Statement]) -> Result<(), StepError> {
    for statement in statements {
        connection
            .batch_execute(&statement.sql)
            .await
            .map_err(connection.failed(format!("set {}", statement.what)))?;
        reach!("set {}", statement.sql);
    }
    Ok(())
}

/// Drops the database that this plan made. Sessions that a killed run left were ended when this one began;
/// other sessions keep the database, and the error says so.
async fn drop_own(context: &Context, connection: &Connection) -> Result<(), StepError> {
    let name = context.database_name();
    tracing::info!(
        database = name,
        "dropping the database that an earlier run of this plan made"
    );
    reach!("{name}/create drops");
    // A template cannot be dropped, and this mark is set only after a load.
    connection
        .batch_execute(&format!("DROP DATABASE {}", quote_identifier(name)))
        .await
        .map_err(connection.failed(format!(
            "drop the database \"{}\", which an earlier run of this plan made",
            escape_control(name)
        )))?;
    reach!("{name}/create dropped");
    Ok(())
}

async fn is_empty(context: &Context) -> Result<bool, StepError> {
    let target = context.endpoint(Side::Target);
    let session = context.session(Side::Target);
    let connection = connect(target, context.database_name(), &session).await?;
    let contents = contents_of(&connection).await?;
    connection.close().await;
    Ok(contents.is_empty())
}

async fn refuse_unless_empty(context: &Context) -> Result<(), StepError> {
    if is_empty(context).await? {
        return Ok(());
    }
    let name = context.database_name();
    let target = context.endpoint(Side::Target);
    Err(StepError::new(format!(
        "the {target} has a database \"{}\" that is not empty and that this plan did not create; it was left \
         as it is",
        escape_control(name)
    ))
    .help("drop or rename it there, or exclude it (databases.exclude), and run again"))
}
