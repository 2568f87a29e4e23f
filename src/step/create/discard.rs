//! Dropping the database that an earlier run of this plan made, where nobody uses it.

use super::found::Found;
use crate::failpoint::reach;
use crate::journal::Change;
use crate::names::{Since, WriteMark};
use crate::plan::{Endpoint, Side};
use crate::postgres::{Connection, Session, connect, escape_control, quote_identifier};
use crate::step::others::{names, number, others_in, others_that_stay};
use crate::step::used::{KEEP_OR_DROP, written_since_in, written_words};
use crate::step::{Context, StepError};

/// Drops the database that this plan made. Sessions that a killed run left were ended when this one began. Others have no
/// business in one that was never opened (agents and exporters of superusers, say), and are ended, from 13 on; before, and where
/// our role may not end them, they keep the database, and the error says so.
///
/// One that was verified is kept, since clients may use it, unless it was named to be dropped and nothing was written to it
/// since. One that was not verified may have been completed and opened by hand.
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
    if found.is_invalid {
        return drop_it(connection, name, Force::No).await;
    }
    if let Some(verified) = &context.verified {
        return drop_verified(context, connection, verified.as_ref()).await;
    }
    if context.is_closed && found.is_open {
        return Err(StepError::new(format!(
            "the database \"{}\" was not verified, and other roles may connect to it, which this plan did not allow; it was \
             left as it is",
            context.shown_database()
        ))
        .help(KEEP_OR_DROP));
    }
    if !found.is_bare {
        let session = context.session(Side::Target);
        let inside = connect(context.endpoint(Side::Target), name, &session).await?;
        refuse_written_since_left(context, &inside).await?;
        drop_subscriptions(&inside).await?;
        tell_whom_it_ends(context, &inside).await?;
        inside.close().await;
    }
    let is_able = connection.version().major() >= 1300;
    let force = if context.is_closed && is_able {
        Force::Yes
    } else {
        Force::No
    };
    drop_it(connection, name, force).await
}

/// Drops a database of the target that a person asked to be dropped, outside of a run. One that clients may use is not dropped
/// under a session of theirs; one that was never opened, with those of agents and exporters.
///
/// # Errors
///
/// A server that cannot be reached or refuses; a session in the database.
pub(crate) async fn drop_asked(
    (target, session): (&Endpoint, &Session),
    found: &Existing,
    is_closed: bool,
) -> Result<(), StepError> {
    let connection = connect(target, &target.database, session).await?;
    let Existing { name, .. } = found;
    if !found.is_invalid && found.lets_in {
        let inside = connect(target, name, session).await?;
        drop_subscriptions(&inside).await?;
        inside.close().await;
    }
    if found.is_template {
        let sql = format!(
            "ALTER DATABASE {} WITH IS_TEMPLATE false",
            quote_identifier(name)
        );
        connection
            .batch_execute(&sql)
            .await
            .map_err(connection.failed(format!("run {sql}, to drop it")))?;
    }
    let is_able = connection.version().major() >= 1300 && !found.is_invalid;
    let force = match is_closed && is_able {
        true => Force::Yes,
        false => Force::No,
    };
    drop_it(&connection, name, force).await?;
    connection.close().await;
    Ok(())
}

/// A database of the target that is to be dropped.
pub(crate) struct Existing {
    pub name: String,
    pub oid: u32,
    /// A DROP DATABASE was interrupted.
    pub is_invalid: bool,
    /// Sessions may connect.
    pub lets_in: bool,
    pub is_template: bool,
}

/// Whether sessions in a database are ended for its drop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Force {
    Yes,
    No,
}

/// Lets no session connect before it looks, so that what a client writes after the look is not dropped with the rest. Where it is not
/// dropped, it is open again.
async fn drop_verified(
    context: &Context,
    connection: &Connection,
    verified: Option<&WriteMark>,
) -> Result<(), StepError> {
    if !context.may_drop {
        return Err(StepError::new(format!(
            "the database \"{}\" was verified, so clients may use it, and nobody asked for it to be dropped; it was left \
             as it is",
            context.shown_database()
        ))
        .help("if nobody needs it: pg-migrate reset PLAN --database NAME --drop NAME, and run again"));
    }
    let database = context.database_name().to_owned();
    if context.is_shut {
        // The run that shut it did not come to its end.
        reopen(context, connection).await?;
    }
    // Once it is shut, no session can connect, ours neither.
    let session = context.session(Side::Target);
    let inside = connect(context.endpoint(Side::Target), &database, &session).await?;
    context
        .record(Change::ShutDatabase {
            database: database.clone(),
        })
        .await?;
    allow_connections(connection, &database, false).await?;
    reach!("{database}/create shut");
    let dropped = async {
        refuse_while_connected(context, &inside).await?;
        refuse_written(context, &inside, verified).await?;
        // One that was on its way in when the database was shut.
        refuse_while_connected(context, &inside).await?;
        drop_subscriptions(&inside).await?;
        inside.close().await;
        drop_it(connection, &database, Force::No).await
    };
    let Err(error) = dropped.await else {
        return Ok(());
    };
    match reopen(context, connection).await {
        Ok(()) => Err(error),
        Err(more) => Err(error.place(&format!(
            "the database \"{}\" lets nobody in now, which the next run sets right ({}): ",
            context.shown_database(),
            more.into_parts().0
        ))),
    }
}

async fn reopen(context: &Context, connection: &Connection) -> Result<(), StepError> {
    let database = context.database_name().to_owned();
    allow_connections(connection, &database, true).await?;
    context.record(Change::ReopenDatabase { database }).await
}

async fn allow_connections(
    connection: &Connection,
    database: &str,
    allowed: bool,
) -> Result<(), StepError> {
    let sql = format!(
        "ALTER DATABASE {} WITH ALLOW_CONNECTIONS {allowed}",
        quote_identifier(database)
    );
    connection
        .batch_execute(&sql)
        .await
        .map_err(connection.failed(format!("run {sql}")))?;
    Ok(())
}

/// Fails where another session is in the database, and stays.
async fn refuse_while_connected(context: &Context, inside: &Connection) -> Result<(), StepError> {
    let others = others_that_stay(context, inside, |_| true).await?;
    if others.is_empty() {
        return Ok(());
    }
    Err(StepError::new(format!(
        "the database \"{}\" is not dropped: {} connected to it ({}); it was left as it is",
        context.shown_database(),
        number(&others),
        names(&others)
    ))
    .help(
        "look at pg_stat_activity on the target; if nobody needs what is in the database, end them and run again; to keep it \
         as it is, exclude it (databases.exclude)",
    ))
}

/// A person may have completed it by hand, and a superuser's application may work in it. Where the statistics were lost with a
/// crash, that cannot be known, and the next run goes on.
async fn refuse_written_since_left(
    context: &Context,
    inside: &Connection,
) -> Result<(), StepError> {
    let Some(left) = context.left.as_ref().or(context.restored.as_ref()) else {
        return Ok(());
    };
    match written_since_in(inside, &context.shared.application, Some(left)).await? {
        Since::Unwritten | Since::Unknown => Ok(()),
        Since::Written => {
            let others = others_in(context, inside).await?;
            let now = if others.is_empty() {
                String::new()
            } else {
                format!("; {} connected to it ({})", number(&others), names(&others))
            };
            Err(StepError::new(format!(
                "the database \"{}\" is not dropped: it was not verified, and it was written to since a step in it failed \
                 or its restore was done (pg_stat_database){now}; it was left as it is",
                context.shown_database()
            ))
            .help(KEEP_OR_DROP))
        }
    }
}

/// The drop ends them.
async fn tell_whom_it_ends(context: &Context, inside: &Connection) -> Result<(), StepError> {
    let others = others_in(context, inside).await?;
    if context.is_closed && !others.is_empty() {
        context.notices.extend([format!(
            "database {}: {} connected to it when it was dropped to be made again: {}",
            context.shown_database(),
            number(&others),
            names(&others)
        )]);
    }
    Ok(())
}

async fn refuse_written(
    context: &Context,
    inside: &Connection,
    verified: Option<&WriteMark>,
) -> Result<(), StepError> {
    match written_since_in(inside, &context.shared.application, verified).await? {
        Since::Unwritten => Ok(()),
        since => Err(StepError::new(format!(
            "{}; it was left as it is",
            written_words(&context.shown_database(), since)
        ))
        .help(KEEP_OR_DROP)),
    }
}

async fn drop_it(connection: &Connection, name: &str, force: Force) -> Result<(), StepError> {
    reach!("{name}/create drops");
    let option = match force {
        Force::Yes => " WITH (FORCE)",
        Force::No => "",
    };
    // A template cannot be dropped, and this mark is set only after a load.
    connection
        .batch_execute(&format!("DROP DATABASE {}{option}", quote_identifier(name)))
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
async fn drop_subscriptions(connection: &Connection) -> Result<(), StepError> {
    if connection.version().major() < 1000 {
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
    Ok(())
}
