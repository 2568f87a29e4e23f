//! Copies of the target that are begun while its settings are those for the load: each has the `postgresql.auto.conf` of then.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::warn::warn;
use crate::catalog::SAFEGUARDS;
use crate::graph::Reach;
use crate::journal::{self, Journal};
use crate::postgres::{Connection, escape_control, quote_literal};
use crate::step::Shared;

/// A base backup that a server sends. A replica that connects has no copy from that: it was made by one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Backup {
    pid: String,
    /// When its session began.
    began: String,
    application: String,
    /// In words; empty: it came by a Unix-domain socket, or that may not be seen.
    address: String,
}

/// The base backups that were seen, each with what was off meanwhile. Clones are the same.
#[derive(Debug, Clone, Default)]
pub(super) struct Copies(Arc<Mutex<BTreeMap<Backup, String>>>);

impl Copies {
    /// Looks once, in a session of the target that is not of the load.
    ///
    /// # Errors
    ///
    /// A connection that breaks, or a server that refuses.
    pub(super) async fn look(&self, connection: &Connection) -> Result<(), tokio_postgres::Error> {
        let rows = connection.query(&question(connection), &[]).await?;
        for row in rows {
            let backup = Backup {
                pid: row.try_get(0)?,
                began: row.try_get(1)?,
                application: row.try_get(2)?,
                address: row.try_get(3)?,
            };
            // What is off may have been set since the first look.
            let off: String = row.try_get(4)?;
            let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let known = seen.entry(backup).or_default();
            if known.len() < off.len() {
                *known = off;
            }
        }
        Ok(())
    }

    /// Tells, after a run that set them for the load, which copies have settings that lose data.
    ///
    /// # Errors
    ///
    /// A journal that cannot be written.
    pub(super) fn tell(
        &self,
        shared: &Shared,
        journal: &mut Journal,
    ) -> Result<(), journal::Error> {
        let seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let tuning = shared.graph.tuning.iter();
        let set: Vec<&str> = tuning
            .flat_map(|tuning| &tuning.settings)
            .filter(|setting| setting.reach == Reach::System)
            .map(|setting| setting.name.as_str())
            .collect();
        for (backup, off) in &*seen {
            let off: Vec<&str> = off.split(' ').filter(|name| set.contains(name)).collect();
            if off.is_empty() {
                continue;
            }
            let message = format!(
                "a copy of the target was begun at {} ({}{}) while {} were off: the copy has that in its postgresql.auto.conf, and is \
                 unsafe, whatever the target has now; take it again, or ALTER SYSTEM RESET what was set for the load ({}) on a server \
                 that is started from it, before it is used",
                backup.began,
                escape_control(&backup.application),
                backup.address,
                off.join(", "),
                set.join(", "),
            );
            warn(shared, journal, None, message)?;
        }
        Ok(())
    }
}

/// A base backup that is being sent shows as such from before its checkpoint on. What a role may not see of a session is null; that
/// there is one shows in the progress view of 13 and later.
fn question(connection: &Connection) -> String {
    let progress = match connection.version().major() {
        1300.. => "OR r.pid IN (SELECT pid FROM pg_catalog.pg_stat_progress_basebackup)",
        _ => "",
    };
    let names: Vec<String> = SAFEGUARDS.iter().map(|name| quote_literal(name)).collect();
    format!(
        "SELECT r.pid::text, \
                pg_catalog.to_char(coalesce(r.backend_start, pg_catalog.now()) AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"'), \
                coalesce(nullif(r.application_name, ''), 'unnamed'), \
                coalesce(', from ' || pg_catalog.host(r.client_addr), ''), \
                (SELECT coalesce(pg_catalog.string_agg(s.name, ' ' ORDER BY s.name), '') FROM pg_catalog.pg_settings s \
                 WHERE s.name IN ({}) AND s.reset_val = 'off') \
         FROM pg_catalog.pg_stat_replication r WHERE r.state = 'backup' {progress}",
        names.join(", ")
    )
}
