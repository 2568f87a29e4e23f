//! The target's database is the one that this plan made, and not another of its name.
//!
//! Databases are told apart by their object ids. A session knows which database it is in for as long as it lasts, so
//! what writes asks in its own session. A client program cannot: while it runs, a session of ours keeps the database
//! from being dropped or renamed (DROP DATABASE waits for no session, it fails; WITH (FORCE) ends ours, which shows).

use tokio_postgres::error::SqlState;

use super::{Context, StepError};
use crate::plan::Side;
use crate::postgres::{Connection, Session, connect};

/// Opens a session in the step's database on the target, if it is ours.
pub(super) async fn open(context: &Context, session: &Session) -> Result<Connection, StepError> {
    let target = context.endpoint(Side::Target);
    let connection = connect(target, context.database_name(), session)
        .await
        .map_err(|error| {
            if error.sqlstate() == Some(SqlState::INVALID_CATALOG_NAME.code()) {
                gone(context)
            } else {
                error.into()
            }
        })?;
    verify(context, &connection).await?;
    Ok(connection)
}

/// Fails where the step's database is another now.
pub(super) async fn check(context: &Context) -> Result<(), StepError> {
    let connection = open(context, &context.session(Side::Target)).await?;
    connection.close().await;
    Ok(())
}

/// Fails where a session is in another database than this plan made.
pub(super) async fn verify(context: &Context, connection: &Connection) -> Result<(), StepError> {
    // A journal of 0.1.0 does not tell it of a database that was there, empty.
    let Some(ours) = context.made() else {
        return Ok(());
    };
    let row = connection
        .query_opt(
            "SELECT oid, datname::text FROM pg_catalog.pg_database \
             WHERE datname = pg_catalog.current_database()",
            &[],
        )
        .await
        .map_err(connection.failed("ask for the object id of the database"))?;
    let found = row.map(|row| (row.get::<_, u32>(0), row.get::<_, String>(1)));
    match found {
        Some((oid, name)) if oid == ours && name == context.database_name() => Ok(()),
        Some(_) => Err(another(context)),
        None => Err(gone(context)),
    }
}

fn another(context: &Context) -> StepError {
    let database = context.shown_database();
    StepError::new(format!(
        "the database \"{database}\" on the target is not the one that this plan made: that was dropped or renamed, \
         and another has its name; nothing more is written to it"
    ))
    .help(
        "find out whose it is; then drop or rename it, and run again: the database is created and restored again",
    )
}

fn gone(context: &Context) -> StepError {
    let database = context.shown_database();
    StepError::new(format!(
        "the database \"{database}\" that this plan made is gone from the target: it was dropped or renamed"
    ))
    .help(if context.verified.is_some() {
        format!(
            "give it its name back if it was renamed, and run again; to create and restore it again: pg-migrate reset PLAN \
             --database \"{database}\" --drop \"{database}\", then run"
        )
    } else {
        "run again: it is created and restored again".to_owned()
    })
}
