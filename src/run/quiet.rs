//! A source that nobody writes to, as the plan says (`source.read_only`): whether somebody did.

use std::collections::BTreeMap;

use super::warn::warn;
use crate::inspect::written;
use crate::journal::{self, Journal};
use crate::names::{Since, WriteMark};
use crate::postgres::{self, Session, connect, escape_control};
use crate::step::Shared;

/// How much was written to each database before; `None`: that could not be seen.
pub(super) type Marks = BTreeMap<String, Option<WriteMark>>;

/// How much was written to the source's databases so far, where the plan says that nobody writes to them.
pub(super) async fn marks(shared: &Shared) -> Marks {
    let mut marks = Marks::new();
    if !shared.plan.source_read_only {
        return marks;
    }
    for name in shared.graph.database_names() {
        let mark = look(shared, name).await;
        let mark = mark.unwrap_or_else(|error| {
            tracing::warn!(database = name, %error, "cannot look how much was written to the source");
            None
        });
        marks.insert(name.clone(), mark);
    }
    marks
}

/// Tells which databases of the source were written to since.
///
/// # Errors
///
/// A journal that cannot be written.
pub(super) async fn tell_writes(
    shared: &Shared,
    journal: &mut Journal,
    marks: &Marks,
) -> Result<(), journal::Error> {
    for (name, before) in marks {
        let now = look(shared, name).await;
        let since = match (before, &now) {
            (Some(before), Ok(Some(now))) => before.compare(now),
            _ => Since::Unknown,
        };
        let what = match since {
            Since::Unwritten => continue,
            Since::Written => "it was written to during the run",
            Since::Unknown => "it could not be seen whether it was written to during the run",
        };
        let message = format!(
            "the plan says that nobody writes to the source (source.read_only), and {what}: what was written after its snapshot is \
             not on the target; a session that was connected before writes on after default_transaction_read_only was switched on, \
             until it is ended (pg_terminate_backend); then `pg-migrate reset PLAN --database {0} --drop {0}`, and run again",
            escape_control(name)
        );
        warn(shared, journal, Some(name.clone()), message)?;
    }
    Ok(())
}

async fn look(shared: &Shared, database: &str) -> Result<Option<WriteMark>, postgres::Error> {
    let session = Session::new(&shared.application.application_name_for("quiet"));
    let connection = connect(&shared.source, database, &session).await?;
    let written = written(&connection, &shared.application).await;
    connection.close().await;
    written
}
