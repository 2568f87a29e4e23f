//! Dropping the database that an earlier run of this plan made, where nobody uses it.

use super::found::{Found, find};
use crate::failpoint::reach;
use crate::journal::Created;
use crate::names::Since;
use crate::plan::Side;
use crate::postgres::{Connection, connect, escape_control, quote_identifier};
use crate::step::used::{KEEP_OR_DROP, written_since, written_words};
use crate::step::{Context, StepError};

/// Keeps a database that was verified, so that clients may use it, unless it was named to be dropped and nothing was
/// written to it since. The run looked before its first step already; a client may have come in between.
///
/// One that was not verified may have been completed and opened by hand.
pub(super) async fn refuse_to_drop_what_is_used(
    context: &Context,
    found: &Found,
) -> Result<(), StepError> {
    let name = context.shown_database();
    let Some(verified) = &context.verified else {
        if context.is_closed && found.is_open {
            return Err(StepError::new(format!(
                "the database \"{name}\" was not verified, and other roles may connect to it, which this plan did not \
                 allow; it was left as it is"
            ))
            .help(KEEP_OR_DROP));
        }
        return Ok(());
    };
    if !context.may_drop {
        return Err(StepError::new(format!(
            "the database \"{name}\" was verified, so clients may use it, and nobody asked for it to be dropped; it was left \
             as it is"
        ))
        .help("if nobody needs it: pg-migrate reset PLAN --database NAME --drop NAME, and run again"));
    }
    let target = context.endpoint(Side::Target);
    let session = context.session(Side::Target);
    let application = &context.shared.application;
    let database = context.database_name();
    match written_since(target, database, &session, application, verified.as_ref()).await? {
        Since::Unwritten => Ok(()),
        since => Err(StepError::new(format!(
            "{}; it was left as it is",
            written_words(&name, since)
        ))
        .help(KEEP_OR_DROP)),
    }
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

/// Drops the database that this plan made. Sessions that a killed run left were ended when this one began;
/// other sessions keep the database, and the error says so.
pub(super) async fn drop_own(
    context: &Context,
    connection: &Connection,
    found: &Found,
) -> Result<(), StepError> {
    let name = context.database_name();
    tracing::info!(
        database = name,
        "dropping the database that an earlier run of this plan made"
    );
    if !found.is_invalid && !found.is_bare {
        drop_subscriptions(context).await?;
    }
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

/// A database with a subscription cannot be dropped. Restored ones are not connected, and have no slot of ours on their
/// publisher: nothing is asked of it.
async fn drop_subscriptions(context: &Context) -> Result<(), StepError> {
    let target = context.endpoint(Side::Target);
    let session = context.session(Side::Target);
    let connection = connect(target, context.database_name(), &session).await?;
    if connection.version().major() < 1000 {
        connection.close().await;
        return Ok(());
    }
    let names = connection
        .query(
            "SELECT s.subname::text FROM pg_catalog.pg_subscription s \
             JOIN pg_catalog.pg_database d ON d.oid = s.subdbid \
             WHERE d.datname = pg_catalog.current_database() ORDER BY 1",
            &[],
        )
        .await
        .map_err(connection.failed("list the subscriptions"))?;
    for row in &names {
        let name = quote_identifier(row.get(0));
        for sql in [
            format!("ALTER SUBSCRIPTION {name} DISABLE"),
            format!("ALTER SUBSCRIPTION {name} SET (slot_name = NONE)"),
            format!("DROP SUBSCRIPTION {name}"),
        ] {
            connection
                .batch_execute(&sql)
                .await
                .map_err(connection.failed(format!("run {sql}, to drop its database")))?;
        }
    }
    connection.close().await;
    Ok(())
}
