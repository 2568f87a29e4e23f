//! `tune-target` and `restore-settings`: the target's settings for the load, and those from before.

mod auto_conf;
mod backups;
mod durable;
mod opening;
mod restore;
mod restore_settings;
mod started;
mod tune;

pub(super) use restore::{flush_commits, run as restore};
pub(crate) use restore_settings::{Machine, SettingsRestored, identity, restore_settings};
pub(crate) use started::crash_warning;
pub(super) use tune::run as tune;

use std::time::Duration;

use crate::plan::Endpoint;
use crate::postgres::{Connection, Session, connect, quote_identifier};
use crate::step::{StepError, create};

/// How long the server may take to read its configuration files again.
const RELOAD: Duration = Duration::from_secs(30);

/// Who runs statements on the target, and as what.
struct Target<'a> {
    endpoint: &'a Endpoint,
    session: Session,
}

impl Target<'_> {
    async fn connect(&self) -> Result<Connection, StepError> {
        Ok(connect(self.endpoint, &self.endpoint.database, &self.session).await?)
    }
}

/// Sets a parameter for the whole server, or takes it out of `postgresql.auto.conf`. It takes effect when
/// the server reads its configuration files again.
async fn alter_system(
    connection: &Connection,
    name: &str,
    value: Option<&str>,
) -> Result<(), StepError> {
    let parameter = quote_identifier(name);
    let sql = match value {
        Some(value) => format!(
            "ALTER SYSTEM SET {parameter} = {}",
            create::value_of(name, value)
        ),
        None => format!("ALTER SYSTEM RESET {parameter}"),
    };
    connection
        .batch_execute(&sql)
        .await
        .map_err(connection.failed(format!("run {sql}")))?;
    Ok(())
}

/// Lets the server read its configuration files again, waits until new sessions have what they say, and
/// returns one.
///
/// The server's main process first reads them itself, then signals all others before it starts any session
/// (postmaster.c, `process_pm_reload_request`). So whoever is new enough to know of the reload comes after
/// those signals, and what it asks others for, like a checkpoint, they do by the new settings.
async fn reload(connection: Connection, target: &Target<'_>) -> Result<Connection, StepError> {
    let row = connection
        .query_one(
            "SELECT clock_timestamp()::text, pg_catalog.pg_reload_conf()",
            &[],
        )
        .await
        .map_err(connection.failed("reload the configuration"))?;
    let asked: String = row.get(0);
    connection.close().await;

    let deadline = tokio::time::Instant::now() + RELOAD;
    let mut pause = Duration::from_millis(10);
    loop {
        tokio::time::sleep(pause).await;
        let fresh = target.connect().await?;
        let row = fresh
            .query_one(
                "SELECT pg_catalog.pg_conf_load_time() > $1::text::timestamptz",
                &[&asked],
            )
            .await
            .map_err(fresh.failed("ask when the configuration was loaded"))?;
        if row.get(0) {
            return Ok(fresh);
        }
        if tokio::time::Instant::now() > deadline {
            return Err(auto_conf::not_loaded(&fresh, RELOAD).await);
        }
        fresh.close().await;
        pause = (pause * 2).min(Duration::from_secs(1));
    }
}
